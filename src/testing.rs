//! What the tests of several rooms share: an issuer made of its directives' lines, keys that stand
//! without a fetch, tokens signed by one of them, and what verified tokens become. No test is here.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic
)]

use crate::config::{Issuer, Place, Server};
use crate::directive::Builder;
use crate::grant::Grant;
use crate::identity::{Identity, NoUser};
use crate::json::{self, Object};
use crate::jwks::testing::{ec, encoded, standing};
use crate::jwks::{KeySet, Keys};
use crate::life::{KeyLife, Life};
use crate::token::compact::Unverified;
use crate::token::source::Sender;
use crate::verify::{Error, VerifiedClaims, verify};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::EcdsaKeyPair;
use serde_json::{Value, json};
use std::sync::{Arc, OnceLock};

/// The time of all tokens here.
pub(crate) const NOW: u64 = 1_800_000_000;

/// `iss` of all tokens here, where a test does not say another.
pub(crate) const ISS: &str = "https://issuer.example";

/// The issuer `idp` of these lines.
pub(crate) fn issuer(lines: &[&str]) -> Arc<Issuer> {
    issuer_named("idp", lines)
}

/// The issuer of these lines. `GateIssuerURL` and `GateAudience gate` need not be said.
pub(crate) fn issuer_named(name: &str, lines: &[&str]) -> Arc<Issuer> {
    let mut builder = Builder::default();
    builder.config.servers.push(Server::default());
    let place = Place::default();
    builder.open_issuer(&place, name).unwrap();
    let more = ["GateIssuerURL https://issuer.example", "GateAudience gate"];
    let more = more.into_iter().filter(|line| {
        let name = line.split(' ').next();
        !lines.iter().any(|it| it.split(' ').next() == name)
    });
    for line in lines.iter().copied().chain(more) {
        let words: Vec<_> = line.split(' ').collect();
        builder.issuer_directive(1, words[0], &words[1..]).unwrap();
    }
    builder.close_issuer(&place).unwrap();
    builder.config.servers[0].issuers.remove(0)
}

/// The key `k`, the same for all tests, and its JWK.
pub(crate) fn key() -> &'static (EcdsaKeyPair, Value) {
    static KEY: OnceLock<(EcdsaKeyPair, Value)> = OnceLock::new();
    KEY.get_or_init(|| ec("P-256", "k"))
}

/// The issuer's keys, of which `k` is the only one, as if they had been fetched then.
pub(crate) fn keys(fetched_at: u64) -> Arc<Keys> {
    standing(&json!({ "keys": [key().1] }).to_string(), fetched_at)
}

/// A key set of these JWKs.
pub(crate) fn key_set(jwks: &[&Value]) -> KeySet {
    KeySet::parse(json!({ "keys": jwks }).to_string().as_bytes()).unwrap()
}

/// The claims of a good token, with these members set, or taken out where they are null.
pub(crate) fn claims(changes: Value) -> Value {
    let mut claims = json!({"iss": ISS, "aud": "gate", "sub": "dana", "exp": NOW + 300});
    let members = claims.as_object_mut().unwrap();
    for (name, value) in changes.as_object().unwrap() {
        match value {
            Value::Null => members.remove(name),
            value => members.insert(name.clone(), value.clone()),
        };
    }
    claims
}

/// This JSON as the gate reads it.
pub(crate) fn tree(value: &Value) -> json::Value {
    match value {
        Value::Null => json::Value::Null,
        Value::Bool(flag) => json::Value::Bool(*flag),
        Value::Number(number) => json::Value::Number(number.clone()),
        Value::String(text) => json::Value::String(text.as_str().into()),
        Value::Array(items) => json::Value::Array(items.iter().map(tree).collect()),
        Value::Object(_) => json::Value::Object(object(value)),
    }
}

/// This object as the gate reads it.
pub(crate) fn object(value: &Value) -> Object {
    let members = value.as_object().unwrap().iter();
    let members = members.map(|(name, value)| (name.as_str().into(), tree(value)));
    Object::new(members.collect()).unwrap()
}

/// A token of `k`.
pub(crate) fn token(claims: &Value) -> String {
    signed(&key().0, &json!({"alg": "ES256", "kid": "k"}), claims)
}

/// A token of that key and header.
pub(crate) fn signed(key: &EcdsaKeyPair, header: &Value, claims: &Value) -> String {
    let [header, claims] = [header, claims].map(|part| encoded(part.to_string().as_bytes()));
    let input = format!("{header}.{claims}");
    let signature = key.sign(&SystemRandom::new(), input.as_bytes()).unwrap();
    format!("{input}.{}", encoded(signature.as_ref()))
}

/// What becomes of a token.
pub(crate) fn verified(
    token: &str,
    issuer: &Issuer,
    keys: &KeySet,
    now: u64,
) -> Result<VerifiedClaims, Error> {
    let token = Unverified::parse(token.as_bytes()).unwrap();
    verify(token, issuer, keys, now).map_err(|rejected| rejected.error)
}

/// Whom a token with these changes of the good one's claims speaks for.
pub(crate) fn identity(issuer: &Arc<Issuer>, changes: Value) -> Result<Identity, NoUser> {
    let keys = keys(NOW);
    let set = keys.current().unwrap();
    let verified = verified(&token(&claims(changes)), issuer, &set, NOW).unwrap();
    identity_of(verified, issuer, keys)
}

/// Whom these claims speak for.
pub(crate) fn identity_of(
    verified: VerifiedClaims,
    issuer: &Arc<Issuer>,
    keys: Arc<Keys>,
) -> Result<Identity, NoUser> {
    let life = Life::Key(KeyLife {
        key: Arc::clone(verified.key()),
        keys,
        expires: verified.expires(),
        skew: issuer.clock_skew,
    });
    Identity::new(verified.vouched(), life, Arc::clone(issuer))
}

/// The key that signed leaves the issuer's key set.
pub(crate) fn retire(identity: &Identity) {
    match identity.life() {
        Life::Key(it) => it.key.retire(),
        _ => panic!("not by a signed token"),
    }
}

/// What is granted to a token with these changes.
pub(crate) fn grant(changes: Value) -> Arc<Grant> {
    Arc::new(Grant::new(
        identity(&issuer(&[]), changes).unwrap(),
        Sender::Client,
    ))
}
