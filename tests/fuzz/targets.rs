//! What is fuzzed: each function takes any bytes and panics where something is wrong. Shared by
//! `cargo fuzz` (fuzz_targets/) and by the short run in tests/properties.rs.

use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED, UnparsedPublicKey};
use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use gitlab_gate::config::{Issuer, Place, Server};
use gitlab_gate::directive::Builder;
use gitlab_gate::json as strict;
use gitlab_gate::jwks::{KeySet, check_url, discovery, discovery_url};
use gitlab_gate::kind::Kind;
use gitlab_gate::policy::condition::Condition;
use gitlab_gate::policy::path::ClaimPath;
use gitlab_gate::policy::require::Rule;
use gitlab_gate::request::{FieldName, Target};
use gitlab_gate::token::compact::Unverified;
use gitlab_gate::token::source::{self, Names, Source};
use gitlab_gate::upstream::body::Body;
use gitlab_gate::verify::{VerifiedClaims, verify};
use serde_json::{Value, json};
use std::sync::{Arc, LazyLock};

/// A name and what it fuzzes.
pub type Fuzzed = (&'static str, fn(&[u8]));
/// All of them, by the name of their corpus.
pub const ALL: &[Fuzzed] = &[
    ("token", token),
    ("keys", keys),
    ("discovery", discovery),
    ("rules", rules),
    ("directives", directives),
    ("sources", sources),
    ("bodies", bodies),
    ("json", json),
];

/// The time of all tokens here.
pub const NOW: u64 = 1_800_000_000;
/// The public half of the test key es1.
pub static KEY: LazyLock<Value> = LazyLock::new(|| {
    let all: Value = serde_json::from_str(include_str!("../support/keys/public.json")).unwrap();
    let mut key = all["es1"].clone();
    key["kid"] = json!("es1");
    key["alg"] = json!("ES256");
    key
});
static KEYS: LazyLock<KeySet> =
    LazyLock::new(|| KeySet::parse(json!({"keys": [*KEY]}).to_string().as_bytes()).unwrap());
static ISSUER: LazyLock<Arc<Issuer>> = LazyLock::new(|| {
    let mut builder = Builder::default();
    builder.config.servers.push(Server::default());
    let place = Place::default();
    builder.open_issuer(&place, "ci").unwrap();
    for (name, words) in [
        ("GateIssuerURL", "https://issuer.example"),
        ("GateAudience", "gate"),
        ("GateRole", "deployer"),
    ] {
        let more: &[&str] = if name == "GateRole" {
            &["ref=main"]
        } else {
            &[]
        };
        let words: Vec<&str> = [words].iter().chain(more).copied().collect();
        builder.issuer_directive(1, name, &words).unwrap();
    }
    builder.close_issuer(&place).map_err(|_| ()).unwrap();
    Arc::clone(&builder.config.issuers(0)[0])
});

/// Verifies as the gate does, against the test key; what passes is checked by the crypto library alone.
pub fn granted(token: &[u8]) -> Option<VerifiedClaims> {
    let unverified = Unverified::parse(token).ok()?;
    let claims = verify(unverified, &ISSUER, &KEYS, NOW).ok()?;
    let part = |name: &str| {
        BASE64_URL_SAFE_NO_PAD
            .decode(KEY[name].as_str().unwrap())
            .unwrap()
    };
    let point = [vec![4], part("x"), part("y")].concat();
    let at = token.iter().rposition(|b| *b == b'.').unwrap();
    let signature = BASE64_URL_SAFE_NO_PAD.decode(&token[at + 1..]).unwrap();
    UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, &point)
        .verify(&token[..at], &signature)
        .expect("a grant without a valid signature");
    assert_eq!(
        claims.claims().get("iss").and_then(strict::Value::as_str),
        Some("https://issuer.example")
    );
    assert!(claims.expires() + 60 > NOW);
    Some(claims)
}

/// Header, claims and signature of a token, and the decision.
pub fn token(data: &[u8]) {
    if let Err(wrong) = Unverified::parse(data) {
        let _ = (wrong.reason(), wrong.to_string());
    }
    let _ = granted(data);
    // The same bytes as the parts of a token, so that the fuzzer need not learn base64.
    let mut parts = data.splitn(3, |b| *b == 0);
    let encoded: Vec<String> = parts
        .by_ref()
        .map(|part| BASE64_URL_SAFE_NO_PAD.encode(part))
        .collect();
    let _ = granted(encoded.join(".").as_bytes());
}

/// A JWKS.
pub fn keys(data: &[u8]) {
    match KeySet::parse(data) {
        Ok(set) => {
            for key in set.keys() {
                let _ = set.knows(key.kid().unwrap_or(""));
            }
            let _ = set.passed_over().len();
        }
        Err(wrong) => drop(wrong.to_string()),
    }
}

/// A discovery document.
pub fn discovery(data: &[u8]) {
    let issuer = "https://issuer.example";
    match discovery::jwks_uri(data, issuer) {
        Ok(uri) => {
            let document: Value = serde_json::from_slice(data).unwrap();
            assert_eq!(document["issuer"], issuer);
            assert_eq!(document["jwks_uri"], uri.as_str());
            // What may be fetched from has no user, no fragment, and is https or this machine.
            if check_url(&uri).is_ok() {
                let lower = uri.to_ascii_lowercase();
                assert!(
                    lower.starts_with("https://") || lower.starts_with("http://"),
                    "{uri}"
                );
                let host = uri.split('/').nth(2).unwrap();
                assert!(!host.contains('@') && !uri.contains('#'), "{uri}");
            }
        }
        Err(unfit) => drop(format!("{unfit:?}")),
    }
    let text = String::from_utf8_lossy(data);
    if let Ok(url) = discovery_url(&text) {
        assert!(check_url(&url).is_ok(), "{url}");
    }
}

/// Conditions and claim paths, held against claims that hold one of everything.
pub fn rules(data: &[u8]) {
    let claims = json!({"a": "x", "b": ["x", 1, null], "c": {"d": true, "e/f": [{"g": 1.5}]}, "ref": "main"});
    let claims = strict::parse(claims.to_string().as_bytes()).unwrap();
    let claims = claims.as_object().unwrap();
    let text = String::from_utf8_lossy(data);
    let text: &str = &text;
    if let Ok(path) = ClaimPath::parse(text) {
        let _ = path.get(claims);
        assert_eq!(
            ClaimPath::parse(&path.to_string()).ok().as_ref(),
            Some(&path),
            "{text}"
        );
    }
    if let Ok(condition) = Condition::parse(text) {
        for kind in [Kind::Generic, Kind::Gitlab] {
            let _ = condition.holds(claims, kind);
            let _ = condition.explain(claims);
            // Nothing is granted on claims that are not there.
            assert!(
                !condition.holds(&strict::Object::default(), kind) || text.contains('!'),
                "{text}"
            );
        }
    }
    let words: Vec<&str> = text.split(' ').collect();
    for provider in ["gate-role", "gate-claim", "gate-issuer"] {
        let _ = Rule::parse(provider, &words);
    }
}

/// Arguments of directives: the first word is the directive's name.
pub fn directives(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let mut builder = Builder::default();
    builder.config.servers.push(Server::default());
    let place = Place::default();
    let _ = builder.open_issuer(&place, "ci");
    let mut outside = Builder::default();
    outside.config.servers.push(Server::default());
    for line in text.lines() {
        let words: Vec<&str> = line.split(' ').collect();
        if let Some((name, words)) = words.split_first() {
            let _ = builder.issuer_directive(1, name, words);
            let _ = outside.directive(&place, name, words);
        }
    }
    let _ = builder.close_issuer(&place);
}

/// Authorization, cookies and queries: lines of a request.
pub fn sources(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let mut lines = text.lines();
    let query = lines.next().unwrap_or("");
    let fields: Vec<(&str, &str)> = lines.filter_map(|line| line.split_once(':')).collect();
    let names = Names::new().unwrap();
    let all = [
        Source::Bearer,
        Source::Basic,
        Source::Proxy,
        Source::Header(FieldName::new("X-Token").unwrap()),
        Source::Cookie("t".into()),
        Source::Query("t".into()),
    ];
    let the_request = format!("GET /?{query} HTTP/1.1");
    let target = Target {
        args: Some(query.as_bytes()),
        the_request: the_request.as_bytes(),
        ..Target::default()
    };
    let _ = source::collect(&all, &names, &fields.as_slice(), &target);
    for one in &all {
        let shown = source::collect(
            std::slice::from_ref(one),
            &names,
            &fields.as_slice(),
            &target,
        );
        // What was a token is taken out of the request, so that nobody behind sees it.
        if let Some(Ok(token)) = shown.token {
            assert!(!token.is_empty());
            assert!(!shown.take.is_empty(), "{text:?}");
        }
    }
}

/// Request bodies: the first line is the media type. What another reader finds `sudo` in never passes.
pub fn bodies(data: &[u8]) {
    let at = data.iter().position(|b| *b == b'\n').unwrap_or(data.len());
    let (kind, rest) = data.split_at(at);
    let body = rest.get(1..).unwrap_or_default();
    let passes = |kind: &[u8], post: bool, body: &[u8]| {
        let mut guard = Body::new(Some(kind), None, post);
        guard.passes(body) && guard.may_end()
    };
    let _ = (passes(kind, true, body), passes(kind, false, body));
    if passes(b"application/json", false, body)
        && let Ok(Value::Object(members)) = serde_json::from_slice(body)
    {
        assert!(!members.contains_key("sudo"), "{members:?}");
    }
    if passes(b"application/x-www-form-urlencoded", true, body) {
        for pair in body.split(|b| matches!(b, b'&' | b';')) {
            let name = pair.split(|b| *b == b'=').next().unwrap_or_default();
            assert_ne!(unescaped(name), b"sudo");
        }
    }
}

fn unescaped(name: &[u8]) -> Vec<u8> {
    let mut bytes = name.iter().copied();
    let mut out = Vec::new();
    while let Some(b) = bytes.next() {
        let hex = |b: u8| char::from(b).to_digit(16);
        let ahead: Vec<u8> = bytes.clone().take(2).collect();
        match (b, ahead.as_slice()) {
            (b'%', [high, low]) if hex(*high).is_some() && hex(*low).is_some() => {
                let value = hex(*high).unwrap() * 16 + hex(*low).unwrap();
                out.push(u8::try_from(value).unwrap());
                bytes.nth(1);
            }
            _ => out.push(b),
        }
    }
    out
}

/// Strict JSON agrees with serde_json on all that it takes.
pub fn json(data: &[u8]) {
    match strict::parse(data) {
        Ok(value) => assert_eq!(
            serde_json::from_slice::<Value>(data).ok(),
            serde_json::to_value(value).ok()
        ),
        Err(wrong) => drop(wrong.to_string()),
    }
}
