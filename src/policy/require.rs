//! `Require gate-role`, `gate-claim` and `gate-issuer`: a compiled line, held against an identity.

use super::condition::Condition;
use crate::identity::Identity;
use crate::verdict::{Reason, Refusal};

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
            "gate-claim" => words
                .iter()
                .map(|word| {
                    Condition::parse(word)
                        .map_err(|wrong| format!("Require gate-claim {word}: {wrong}"))
                })
                .collect::<Result<_, _>>()
                .map(Self::Claim),
            _ => Err(format!("Require {provider} is not known")),
        }
    }

    /// Whether the identity fulfils the rule.
    ///
    /// # Errors
    /// The refusal, with what was wanted and what came.
    pub fn check(&self, identity: &Identity) -> Result<(), Refusal> {
        match self {
            Self::Role(roles) => {
                if roles.iter().any(|role| identity.has_role(role)) {
                    return Ok(());
                }
                if identity.roles_unknown() {
                    return Err(Refusal::new(
                        Reason::GroupsOverage,
                        format!(
                            "wanted role {}; the issuer left the groups out since there are too many",
                            roles.join(" or ")
                        ),
                    ));
                }
                Err(Refusal::new(
                    Reason::Role,
                    format!(
                        "wanted role {}, got {}",
                        roles.join(" or "),
                        identity.roles_text()
                    ),
                ))
            }
            Self::Claim(conditions) => {
                if conditions
                    .iter()
                    .any(|it| it.holds(identity.claims(), identity.kind()))
                {
                    return Ok(());
                }
                let reason = if identity.groups_left_out()
                    && conditions.iter().any(|it| it.path().is("groups"))
                {
                    Reason::GroupsOverage
                } else {
                    Reason::Claim
                };
                let wanted: Vec<_> = conditions
                    .iter()
                    .map(|it| it.explain(identity.claims()))
                    .collect();
                Err(Refusal::new(reason, wanted.join("; ")))
            }
            Self::Issuer(names) => {
                if names.iter().any(|name| name == identity.issuer_name()) {
                    return Ok(());
                }
                Err(Refusal::new(
                    Reason::Issuer,
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
            .map_err(|refusal| (refusal.reason, refusal.detail))
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
