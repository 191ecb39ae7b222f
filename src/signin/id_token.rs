//! The ID token of a sign-in (OpenID Connect Core 1.0, section 3.1.3.7) and the claims of a person:
//! each claim is taken from the first set that has it (GateClaimsFrom).

use super::failure::Failure;
use crate::config::Issuer;
use crate::json::{Object, Text, Value};
use crate::jwks::KeySet;
use crate::kind::Kind;
use crate::token::compact::Unverified;
use crate::verdict::{Reason, Refusal};
use crate::verify;
use aws_lc_rs::digest;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
use jsonwebtoken::Algorithm;

/// The names that an ID token may give itself (`typ`).
pub const TYPES: &[&str] = &["JWT"];
/// How old an ID token may be, seconds.
const OLDEST: u64 = 600;

/// What an ID token must fit.
#[derive(Clone, Copy, Debug)]
pub struct Wanted<'w> {
    /// The client (GateClient).
    pub client: &'w str,
    /// The `nonce` of the attempt; `None`: it was a refresh, and no nonce is asked for.
    pub nonce: Option<&'w str>,
    /// The access token that came with it.
    pub access_token: Option<&'w str>,
    /// Seconds since the epoch.
    pub now: u64,
}

fn failed(detail: impl Into<String>) -> Failure {
    Failure::failed(detail)
}

fn token(reason: Reason, detail: impl Into<String>) -> Failure {
    Failure::Token(Refusal::new(reason, detail))
}

/// The claims of an ID token.
///
/// # Errors
/// The reason of the verifier for signature, issuer, times and audience; [`Failure::Failed`] for
/// `nonce`, `azp`, `at_hash` and age.
pub fn check(
    text: &str,
    issuer: &Issuer,
    keys: &KeySet,
    wanted: &Wanted<'_>,
) -> Result<Object, Failure> {
    let unverified = Unverified::parse_typed(text.as_bytes(), TYPES)
        .map_err(|wrong| token(wrong.reason(), wrong.to_string()))?;
    let signed = verify::signed(&unverified, issuer, keys, wanted.now);
    signed.map_err(|wrong| Failure::Token(wrong.refusal()))?;
    let algorithm = unverified.header().alg;
    let claims = unverified.into_claims();
    audience(&claims, wanted.client)?;
    let member = |name: &str| claims.get(name).and_then(Value::as_str);
    if issuer.kind == Kind::Keycloak && member("typ") != Some("ID") {
        return Err(token(
            Reason::Type,
            "wanted Keycloak's claim typ=ID (an ID token)",
        ));
    }
    if let Some(nonce) = wanted.nonce
        && member("nonce") != Some(nonce)
    {
        return Err(failed("the nonce is not that of this attempt"));
    }
    let issued = claims.get("iat").and_then(seconds);
    let issued = issued.ok_or_else(|| failed("the ID token has no iat"))?;
    if wanted.now > issued.saturating_add(OLDEST + issuer.clock_skew) {
        return Err(failed(format!(
            "the ID token is {} s old, wanted at most {OLDEST} s: compare the clocks",
            wanted.now - issued
        )));
    }
    if let Some(hash) = present(&claims, "at_hash") {
        let fits = wanted
            .access_token
            .is_some_and(|token| hash.as_str() == Some(&at_hash(algorithm, token)));
        if !fits {
            return Err(failed("at_hash is not that of the access token"));
        }
    }
    Ok(claims)
}

/// `aud` contains the client; `azp` is the client where it is there, and must be there where `aud`
/// has others (OpenID Connect Core, section 3.1.3.7, items 3 to 5).
///
/// # Errors
/// `audience`, or [`Failure::Failed`] for `azp`.
pub fn audience(claims: &Object, client: &str) -> Result<(), Failure> {
    let audiences: Vec<&str> = match claims.get("aud") {
        Some(Value::String(one)) => vec![one],
        Some(Value::Array(all)) => all.iter().filter_map(Value::as_str).collect(),
        _ => vec![],
    };
    if !audiences.contains(&client) {
        return Err(token(
            Reason::Audience,
            format!("wanted aud {client} (GateClient)"),
        ));
    }
    match present(claims, "azp") {
        Some(azp) if azp.as_str() == Some(client) => Ok(()),
        Some(_) => Err(failed("azp is another client")),
        None if audiences.iter().any(|it| *it != client) => {
            Err(failed("aud has other values, and azp is missing"))
        }
        None => Ok(()),
    }
}

/// A member that is there; null is absent.
fn present<'c>(claims: &'c Object, name: &str) -> Option<&'c Value> {
    claims.get(name).filter(|it| !it.is_null())
}

/// Whole seconds since the epoch.
#[must_use]
pub fn seconds(value: &Value) -> Option<u64> {
    match value {
        Value::Number(number) => number.as_u64().or_else(|| {
            let number = number.as_f64()?;
            (0.0..9e15).contains(&number).then_some(number as u64)
        }),
        _ => None,
    }
}

/// The left half of the hash that the algorithm uses (OpenID Connect Core, section 3.1.3.6).
fn at_hash(algorithm: Algorithm, token: &str) -> String {
    let hash = match algorithm {
        Algorithm::RS384 | Algorithm::PS384 | Algorithm::ES384 => &digest::SHA384,
        // Ed25519 hashes with SHA-512 (RFC 8032, section 5.1).
        Algorithm::RS512 | Algorithm::PS512 | Algorithm::EdDSA => &digest::SHA512,
        _ => &digest::SHA256,
    };
    let hash = digest::digest(hash, token.as_bytes());
    let half = hash.as_ref().len() / 2;
    BASE64.encode(hash.as_ref().get(..half).unwrap_or_default())
}

/// The claims of all sets, each from the first set that has it; null is absent.
#[must_use]
pub fn merged(sets: &[&Object]) -> Object {
    let mut all: Vec<(Text, Value)> = Vec::new();
    for set in sets {
        for (name, value) in set.iter() {
            let known = all.iter().any(|(it, _)| **it == **name);
            if !known && !value.is_null() {
                all.push((name.clone(), value.clone()));
            }
        }
    }
    // No name stands twice.
    Object::new(all).unwrap_or_default()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing)]
mod tests {
    use super::*;
    use crate::testing::{NOW, claims, issuer, key, key_set, object, signed};
    use serde_json::{Value as Json, json};

    const WANTED: Wanted<'_> = Wanted {
        client: "gate-client",
        nonce: Some("n-1"),
        access_token: Some("access"),
        now: NOW,
    };

    /// What becomes of an ID token with these changes of a good one.
    fn checked(header: &Json, changes: &Json, wanted: &Wanted<'_>) -> Result<Object, Failure> {
        let good = json!({
            "aud": "gate-client", "nonce": "n-1", "iat": NOW - 5,
            "at_hash": at_hash(Algorithm::ES256, "access"),
        });
        let mut all = claims(good);
        for (name, value) in changes.as_object().unwrap() {
            all[name] = value.clone();
        }
        let token = signed(&key().0, header, &all);
        check(&token, &issuer(&[]), &key_set(&[&key().1]), wanted)
    }

    fn of(changes: &Json) -> Result<Object, Failure> {
        checked(&json!({"alg": "ES256", "kid": "k"}), changes, &WANTED)
    }

    #[test]
    fn a_good_one_gives_its_claims() {
        assert!(of(&json!({})).unwrap().has("nonce"));
        assert!(of(&json!({"at_hash": null, "azp": "gate-client"})).is_ok());
        let many = json!({"aud": ["gate-client", "api"], "azp": "gate-client"});
        assert!(of(&many).is_ok());
        let jwt = json!({"alg": "ES256", "kid": "k", "typ": "JWT"});
        assert!(checked(&jwt, &json!({}), &WANTED).is_ok());
        let refreshed = Wanted {
            nonce: None,
            ..WANTED
        };
        let plain = json!({"alg": "ES256", "kid": "k"});
        assert!(checked(&plain, &json!({"nonce": null}), &refreshed).is_ok());
    }

    #[test]
    fn what_does_not_fit_the_attempt_fails() {
        for changes in [
            json!({"nonce": "n-2"}),
            json!({"nonce": null}),
            json!({"azp": "other"}),
            json!({"aud": ["gate-client", "api"]}),
            json!({"at_hash": "x"}),
            json!({"at_hash": at_hash(Algorithm::ES256, "another")}),
            json!({"iat": NOW - 700}),
        ] {
            let failed = matches!(of(&changes), Err(Failure::Failed(_)));
            assert!(failed, "{changes}");
        }
    }

    #[test]
    fn what_no_token_may_be_is_refused_with_its_reason() {
        let reason = |got: Result<Object, Failure>| match got {
            Err(Failure::Token(refusal)) => Some(refusal.reason),
            _ => None,
        };
        for (changes, wanted) in [
            (json!({"aud": "gate"}), Reason::Audience),
            (json!({"aud": null}), Reason::Audience),
            (
                json!({"iss": "https://other.example"}),
                Reason::IssuerUnknown,
            ),
            (json!({"exp": NOW - 60}), Reason::Expired),
            (json!({"iat": NOW + 60}), Reason::IssuedInFuture),
            (json!({"iat": null}), Reason::ClaimType),
        ] {
            assert_eq!(reason(of(&changes)), Some(wanted), "{changes}");
        }
        for (header, wanted) in [
            (json!({"alg": "none"}), Reason::Algorithm),
            (json!({"alg": "HS256", "kid": "k"}), Reason::Algorithm),
            (
                json!({"alg": "ES256", "kid": "k", "typ": "at+jwt"}),
                Reason::Type,
            ),
            (
                json!({"alg": "ES256", "kid": "k", "typ": "logout+jwt"}),
                Reason::Type,
            ),
            (json!({"alg": "ES256", "kid": "x"}), Reason::KeyUnknown),
        ] {
            let got = checked(&header, &json!({}), &WANTED);
            assert_eq!(reason(got), Some(wanted), "{header}");
        }
    }

    #[test]
    fn each_claim_comes_from_the_first_set_that_has_it() {
        let one = object(&json!({"sub": "1", "email": null}));
        let two = object(&json!({"sub": "2", "email": "a@b", "groups": ["x"]}));
        let all = merged(&[&one, &two]);
        let text = |name: &str| all.get(name).and_then(Value::as_str);
        assert_eq!((text("sub"), text("email")), (Some("1"), Some("a@b")));
        assert!(all.has("groups"));
    }
}
