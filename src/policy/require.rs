//! `Require gate-role`, `gate-claim` and `gate-issuer`: a compiled line, held against an identity.

use super::condition::Condition;
use crate::identity::Identity;
use crate::verdict::{Reason, Refusal};
use std::fmt::Write as _;

/// One Require line; any one of its words is enough.
#[derive(Debug)]
pub enum Rule {
    /// `gate-role ROLE…`
    Role(Vec<String>),
    /// `gate-claim COND…`
    Claim(Vec<Condition>),
    /// `gate-issuer ISSUER…`
    Issuer(Vec<String>),
}

/// Why a rule does not hold.
#[derive(Debug)]
pub struct Unfulfilled {
    /// With what was wanted and what came.
    pub refusal: Refusal,
    /// Whether the opposite may be taken to hold. Not where the token leaves the answer open: it
    /// lists no groups, or names two projects.
    pub certain: bool,
}

impl Unfulfilled {
    fn new(reason: Reason, certain: bool, detail: String) -> Self {
        Self {
            refusal: Refusal::new(reason, detail),
            certain,
        }
    }
}

impl Rule {
    /// Compiles the words after `Require PROVIDER`.
    ///
    /// # Errors
    /// What is wrong, naming the provider.
    pub fn parse(provider: &str, words: &[&str]) -> Result<Self, String> {
        let all = || words.iter().map(|it| (*it).to_owned()).collect();
        match provider {
            _ if words.is_empty() => Err(format!("Require {provider} takes one or more words")),
            "gate-role" => Ok(Self::Role(all())),
            "gate-issuer" => Ok(Self::Issuer(all())),
            "gate-claim" => Condition::parse_all(words)
                .map(Self::Claim)
                .map_err(|wrong| format!("Require gate-claim {wrong}")),
            _ => Err(format!("Require {provider} is not known")),
        }
    }

    /// Whether the identity fulfils the rule.
    ///
    /// # Errors
    /// See [`Unfulfilled`].
    pub fn check(&self, identity: &Identity) -> Result<(), Unfulfilled> {
        match self {
            Self::Role(roles) => {
                if roles.iter().any(|role| identity.has_role(role)) {
                    return Ok(());
                }
                if identity.groups_decide_roles() {
                    return Err(Unfulfilled::new(
                        Reason::GroupsOverage,
                        false,
                        format!(
                            "wanted role {}; the issuer left the groups out since there are too many",
                            roles.join(" or ")
                        ),
                    ));
                }
                let mut detail = format!(
                    "wanted role {}, got {}",
                    roles.join(" or "),
                    identity.roles_text()
                );
                let doubtful = identity.doubtful_roles();
                let doubtful = roles.iter().find(|it| doubtful.contains(it));
                if let Some(role) = doubtful {
                    // Writing into a String can't fail.
                    let _ = write!(
                        detail,
                        "; the token names two projects, and only one of them gives {role}"
                    );
                }
                let rules = identity.issuer().roles.iter();
                let granting = rules.filter(|it| roles.contains(&it.role));
                let conditions = granting.flat_map(|it| &it.conditions);
                if let Some(hint) = conditions.map(|it| it.hint()).find(|it| !it.is_empty()) {
                    detail.push_str(&hint);
                }
                Err(Unfulfilled::new(Reason::Role, doubtful.is_none(), detail))
            }
            Self::Claim(conditions) => {
                let mut two_projects = false;
                for it in conditions {
                    match it.answer(identity.claims(), identity.kind()) {
                        Some(true) => return Ok(()),
                        Some(false) => {}
                        None => two_projects = true,
                    }
                }
                let no_groups = identity.groups_left_out()
                    && conditions.iter().any(|it| it.path().leads_into("groups"));
                let reason = if no_groups {
                    Reason::GroupsOverage
                } else {
                    Reason::Claim
                };
                let wanted: Vec<_> = conditions
                    .iter()
                    .map(|it| it.explain(identity.claims()))
                    .collect();
                let certain = !no_groups && !two_projects;
                Err(Unfulfilled::new(reason, certain, wanted.join("; ")))
            }
            Self::Issuer(names) => {
                if names.iter().any(|name| name == identity.issuer_name()) {
                    return Ok(());
                }
                Err(Unfulfilled::new(
                    Reason::Issuer,
                    true,
                    format!(
                        "wanted issuer {}, got {}",
                        names.join(" or "),
                        identity.issuer_name()
                    ),
                ))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::testing::{identity, issuer};
    use serde_json::{Value, json};

    /// Whether a token with these changes, of an issuer with these lines, fulfils the rule; else why
    /// not.
    fn check(rule: &str, lines: &[&str], changes: Value) -> Result<(), (Reason, String)> {
        let (provider, words) = rule.split_once(' ').unwrap();
        let words: Vec<_> = words.split(' ').collect();
        let identity = identity(&issuer(lines), changes).unwrap();
        Rule::parse(provider, &words)
            .unwrap()
            .check(&identity)
            .map_err(|it| (it.refusal.reason, it.refusal.detail))
    }

    #[test]
    fn any_one_word_of_a_line_is_enough() {
        let lines = &["GateRole dev sub=dana"];
        let claims = json!({"ref": "main"});
        for (rule, wanted) in [
            ("gate-role dev", Ok(())),
            ("gate-role ops dev", Ok(())),
            (
                "gate-role ops",
                Err((Reason::Role, "wanted role ops, got dev")),
            ),
            (
                "gate-role De dev2",
                Err((Reason::Role, "wanted role De or dev2, got dev")),
            ),
            ("gate-issuer idp", Ok(())),
            ("gate-issuer ci idp", Ok(())),
            (
                "gate-issuer ci id",
                Err((Reason::Issuer, "wanted issuer ci or id, got idp")),
            ),
            ("gate-claim ref=main", Ok(())),
            ("gate-claim ref=dev sub=dana", Ok(())),
        ] {
            let wanted = wanted.map_err(|(reason, text)| (reason, text.to_owned()));
            let got = check(rule, lines, claims.clone());
            assert_eq!(got, wanted, "{rule}");
        }
        let refused = check("gate-claim ref=dev sub=eve", lines, claims).unwrap_err();
        assert_eq!(refused.0, Reason::Claim);
    }

    #[test]
    fn a_claim_that_no_token_has_had_is_likely_misspelt() {
        let lines = &["GateRole dev gruops=devs", "GateRole ops sub=root"];
        let (_, role) = check("gate-role dev", lines, json!({"groups": ["devs"]})).unwrap_err();
        assert!(
            role.ends_with("; no token has had the claim gruops so far: is its name right?"),
            "{role}"
        );
        let (_, role) = check("gate-role ops", lines, json!({})).unwrap_err();
        assert_eq!(role, "wanted role ops, got no role");
        let (_, claim) = check("gate-claim reff=main", &[], json!({"ref": "main"})).unwrap_err();
        assert!(claim.contains("no token has had the claim reff"), "{claim}");
        let (_, claim) = check("gate-claim ref=dev", &[], json!({"ref": "main"})).unwrap_err();
        assert_eq!(claim, "ref: wanted =\"dev\", got \"main\"");
    }

    #[test]
    fn groups_that_were_left_out_are_no_missing_role() {
        let entra = &["GateKind entra", "GateRole dev groups=x"][..];
        let left_out = json!({"preferred_username": "d", "hasgroups": true});
        let listed = json!({"preferred_username": "d", "groups": ["y"]});
        let reason = |rule, claims: &Value| check(rule, entra, claims.clone()).map_err(|it| it.0);
        for (rule, unknown, known) in [
            ("gate-role dev", Reason::GroupsOverage, Reason::Role),
            ("gate-claim groups=x", Reason::GroupsOverage, Reason::Claim),
            (
                "gate-claim ref=x groups=x",
                Reason::GroupsOverage,
                Reason::Claim,
            ),
            ("gate-claim ref=x", Reason::Claim, Reason::Claim),
        ] {
            assert_eq!(reason(rule, &left_out), Err(unknown), "{rule}");
            assert_eq!(reason(rule, &listed), Err(known), "{rule}");
        }
        let by_claim = &["GateKind entra"];
        let refused = check("gate-role dev", by_claim, left_out).unwrap_err();
        assert_eq!(refused.0, Reason::Role);
    }

    #[test]
    fn what_a_token_leaves_open_is_not_certain() {
        let gitlab = &[
            "GateKind gitlab",
            "GateUserClaim sub",
            "GateRole badp project_path=bad/x",
            "GateRole goodbad project_path=bad/x ref=other",
            "GateRole badp2 project_path=bad/x ref=main",
        ][..];
        let certain = |lines: &[&str], rule: &str, changes: Value| {
            let (provider, words) = rule.split_once(' ').unwrap();
            let rule = Rule::parse(provider, &words.split(' ').collect::<Vec<_>>()).unwrap();
            let identity = identity(&issuer(lines), changes).unwrap();
            rule.check(&identity).err().map(|it| it.certain)
        };
        let job = |own: &str, other: &str| {
            json!({"job_id": "7", "pipeline_id": "8", "ref": "main",
                "project_path": own, "job_project_path": other})
        };
        for (rule, forked, neither) in [
            ("gate-claim project_path=bad/x", Some(false), Some(true)),
            ("gate-claim project_path!=good/y", Some(false), Some(true)),
            (
                "gate-claim ref=x project_path~bad/.*",
                Some(false),
                Some(true),
            ),
            ("gate-claim ref=main project_path=bad/x", None, None),
            ("gate-claim ref=x", Some(true), Some(true)),
            ("gate-role badp", Some(false), Some(true)),
            ("gate-role other badp2", Some(false), Some(true)),
            ("gate-role goodbad", Some(true), Some(true)),
            ("gate-issuer x", Some(true), Some(true)),
        ] {
            for (own, other) in [("bad/x", "good/y"), ("good/y", "bad/x")] {
                assert_eq!(certain(gitlab, rule, job(own, other)), forked, "{rule}");
            }
            assert_eq!(
                certain(gitlab, rule, job("good/y", "good/y")),
                neither,
                "{rule}"
            );
        }
        // Both name it: it is so, and its opposite is not.
        assert_eq!(
            certain(gitlab, "gate-role badp", job("bad/x", "bad/x")),
            None
        );
        let by_claim = &[
            "GateKind gitlab",
            "GateUserClaim sub",
            "GateRoleClaim project_path",
        ];
        for (rule, forked) in [
            ("gate-role bad/x", Some(false)),
            ("gate-role good/y", Some(false)),
            ("gate-role other", Some(true)),
        ] {
            assert_eq!(
                certain(by_claim, rule, job("bad/x", "good/y")),
                forked,
                "{rule}"
            );
        }
        assert_eq!(
            certain(by_claim, "gate-role bad/x", job("bad/x", "bad/x")),
            None
        );
        let entra = &["GateKind entra", "GateRole dev groups=x"][..];
        let left_out = json!({"preferred_username": "d", "hasgroups": true});
        for rule in ["gate-role dev", "gate-claim groups=x"] {
            assert_eq!(
                certain(entra, rule, left_out.clone()),
                Some(false),
                "{rule}"
            );
        }
    }

    #[test]
    fn each_provider_takes_one_or_more_words() {
        assert!(
            matches!(Rule::parse("gate-role", &["a", "b"]), Ok(Rule::Role(it)) if it == ["a", "b"])
        );
        assert!(
            matches!(Rule::parse("gate-issuer", &["ci"]), Ok(Rule::Issuer(it)) if it == ["ci"])
        );
        assert!(
            matches!(Rule::parse("gate-claim", &["ref=main"]), Ok(Rule::Claim(it)) if it.len() == 1)
        );
        for (provider, words) in [
            ("gate-role", &[][..]),
            ("gate-issuer", &[]),
            ("gate-claim", &[]),
            ("gate-claim", &["ref"]),
            ("gate-other", &["x"]),
        ] {
            let wrong = Rule::parse(provider, words).unwrap_err();
            assert!(wrong.starts_with(&format!("Require {provider}")), "{wrong}");
        }
    }
}
