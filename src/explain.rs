//! What would become of a request, check by check, as JSON. The verdicts are those of the rooms that
//! serve requests ([`crate::gate`], [`crate::verify`], [`crate::policy`]); here they are only told.

use crate::clock;
use crate::config::{Audience, Issuer};
use crate::gate::{Process, Section};
use crate::identity::Identity;
use crate::shown;
use crate::token::compact::Unverified;
use crate::token::source::Sender;
use crate::verdict::Refusal;
use crate::verify::Check;
use crate::way::Asked;
use serde_json::{Value, json};

impl Process {
    /// Each check of the token in this section.
    #[must_use]
    pub fn explain_token(&self, section: &Section<'_>, token: &[u8]) -> Value {
        let refused = |check: &str, refusal: &Refusal| {
            json!({ "checks": [{
                "check": check, "result": "failed", "reason": refusal.reason.code(), "detail": refusal.detail,
            }] })
        };
        let unverified = match Unverified::parse(token) {
            Ok(unverified) => unverified,
            Err(wrong) => {
                return refused("form", &Refusal::new(wrong.reason(), wrong.to_string()));
            }
        };
        let asked = Asked {
            server: section.server,
            accept: section.accept,
            now: clock::now(),
        };
        let issuers = match self.jwt.issuers_of(&asked, &unverified) {
            Ok(issuers) => issuers,
            Err(refusal) => return refused("issuer", &refusal),
        };
        // The same walk that serves requests, with its cache.
        let verdict = self.identify(section, token, Sender::Client);
        let name = match &verdict {
            Ok(grant) => grant.identity().issuer_name().to_owned(),
            Err(refusal) => refusal.issuer.clone().unwrap_or_default(),
        };
        let Some(issuer) = issuers
            .iter()
            .find(|it| it.settings.name == name)
            .or(issuers.first())
        else {
            return Value::Null;
        };
        let failed = verdict.as_ref().err();
        // None where no check is to blame: then it can't be said of any that it was passed.
        let position = failed.map(|it| {
            Check::ALL
                .iter()
                .position(|(check, _)| Some(*check) == it.check)
        });
        let status = issuer.keys.status();
        let mut rows = vec![json!({ "check": "form", "result": "passed" })];
        for (at, (check, name)) in Check::ALL.iter().enumerate() {
            let (wanted, got) = told(*check, &issuer.settings, &unverified, &status);
            let result = match position {
                None => "passed",
                Some(Some(stop)) if at < stop => "passed",
                Some(Some(stop)) if at == stop => "failed",
                Some(_) => "not reached",
            };
            let here = failed.filter(|_| position == Some(Some(at)));
            rows.push(json!({
                "check": name,
                "result": result,
                "wanted": wanted,
                "got": got,
                "reason": here.map(|it| it.reason.code()),
                "detail": here.map(|it| it.detail.as_str()),
            }));
        }
        json!({ "issuer": issuer.settings.name, "checks": rows })
    }
}

fn told(
    check: Check,
    issuer: &Issuer,
    token: &Unverified<'_>,
    keys: &crate::jwks::KeyStatus,
) -> (Value, Value) {
    let header = token.header();
    let claim = |name: &str| {
        token
            .peek(name)
            .map_or(Value::Null, |it| shown::value(it).into())
    };
    let now = clock::now();
    let skew = issuer.clock_skew;
    match check {
        Check::Algorithm => {
            let all: Vec<_> = issuer
                .algorithms
                .iter()
                .map(|it| format!("{it:?}"))
                .collect();
            (all.join(" or ").into(), format!("{:?}", header.alg).into())
        }
        Check::Issuer => (issuer.url.clone().into(), claim("iss")),
        Check::Keys => {
            let age = keys
                .fetched_at
                .map(|at| format!("{} keys, {} s old", keys.keys, now.saturating_sub(at)));
            let none = || keys.last_error.clone().unwrap_or_else(|| "none yet".into());
            (
                format!("no older than {} s", issuer.max_stale).into(),
                age.unwrap_or_else(none).into(),
            )
        }
        Check::Key => (
            "a key of the issuer's".into(),
            header
                .kid
                .as_deref()
                .map_or("(no kid)".into(), shown::text)
                .into(),
        ),
        Check::Exp => (
            format!("after {}", now.saturating_sub(skew)).into(),
            claim("exp"),
        ),
        Check::Nbf | Check::Iat => (
            format!("not after {}", now.saturating_add(skew)).into(),
            claim(if check == Check::Nbf { "nbf" } else { "iat" }),
        ),
        Check::Lifetime => match issuer.max_lifetime {
            Some(most) => (
                format!("at most {most} s").into(),
                format!("iat {} exp {}", claim("iat"), claim("exp")).into(),
            ),
            None => ("any".into(), Value::Null),
        },
        Check::Audience => match &issuer.audience {
            Audience::Any => ("any".into(), claim("aud")),
            Audience::OneOf(list) => (list.join(" or ").into(), claim("aud")),
        },
        Check::Bound => ("none".into(), claim("cnf")),
        Check::Type => (
            format!("as {:?} makes it", issuer.kind).into(),
            claim("typ"),
        ),
        Check::Required => {
            let wanted: Vec<_> = issuer.require.iter().map(ToString::to_string).collect();
            let got: Vec<_> = issuer
                .require
                .iter()
                .map(|it| it.explain(token.claims()))
                .collect();
            (wanted.join(" and ").into(), got.join("; ").into())
        }
        Check::User => {
            let names: Vec<_> = issuer.user_claims.iter().map(ToString::to_string).collect();
            let got = issuer
                .user_claims
                .iter()
                .find_map(|it| it.get(token.claims()));
            (
                names.join(" or ").into(),
                got.map_or(Value::Null, |it| shown::value(it).into()),
            )
        }
        Check::Signature => (Value::Null, Value::Null),
    }
}

/// Each role rule of the identity's issuer, with the conditions that granted or missed it.
#[must_use]
pub fn roles(identity: &Identity) -> Value {
    let issuer = identity.issuer();
    let mut rows: Vec<Value> = issuer
        .roles
        .iter()
        .map(|rule| {
            let conditions: Vec<Value> = rule
                .conditions
                .iter()
                .map(|it| {
                    let holds = it.holds(identity.claims(), identity.kind());
                    json!({ "condition": it.to_string(), "holds": holds, "detail": it.explain(identity.claims()) })
                })
                .collect();
            let granted = conditions.iter().all(|it| it["holds"] == true);
            json!({ "role": rule.role, "granted": granted, "conditions": conditions })
        })
        .collect();
    if let Some(path) = &issuer.role_claim {
        for role in identity.roles() {
            if !issuer.roles.iter().any(|rule| rule.role == *role) {
                rows.push(json!({ "role": role, "granted": true, "claim": path.to_string() }));
            }
        }
    }
    Value::Array(rows)
}
