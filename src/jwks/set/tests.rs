#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic
)]

use super::*;
use crate::jwks::testing::{ec, ed25519, jwks, rsa_jwk};
use serde_json::{Value, json};

fn parsed(keys: &[Value]) -> KeySet {
    KeySet::parse(json!({ "keys": keys }).to_string().as_bytes()).unwrap()
}

fn kids(keys: &[Arc<Key>]) -> Vec<Option<&str>> {
    keys.iter().map(|key| key.kid()).collect()
}

#[test]
fn what_is_no_key_set_is_refused() {
    for text in ["[]", "{}", "1", r#"{"keys":{}}"#, r#"{"keys":null}"#] {
        assert_eq!(
            KeySet::parse(text.as_bytes()).unwrap_err(),
            SetError::NotASet,
            "{text}"
        );
    }
    for text in [&b""[..], b"<html>", b"{\"keys\":[", b"\xff"] {
        assert!(matches!(KeySet::parse(text), Err(SetError::NotJson(_))));
    }
    assert!(KeySet::parse(b"{\"keys\":[]}").unwrap().keys().is_empty());
}

#[test]
fn a_set_over_a_mebibyte_is_refused_whole() {
    let mut text = jwks(&["a"]);
    text.push_str(&" ".repeat(MAX_BYTES - text.len()));
    assert_eq!(KeySet::parse(text.as_bytes()).unwrap().keys().len(), 1);
    text.push(' ');
    assert_eq!(
        KeySet::parse(text.as_bytes()).unwrap_err(),
        SetError::TooLarge(MAX_BYTES + 1)
    );
}

#[test]
fn a_set_of_more_than_100_keys_is_refused_whole() {
    let (_, jwk) = ed25519("o");
    assert_eq!(parsed(&vec![jwk.clone(); 100]).keys().len(), 100);
    let text = json!({ "keys": vec![jwk; 101] }).to_string();
    assert_eq!(
        KeySet::parse(text.as_bytes()).unwrap_err(),
        SetError::TooManyKeys(101)
    );
    // Unfit ones count: they are work too.
    let text = json!({ "keys": vec![1; 101] }).to_string();
    assert_eq!(
        KeySet::parse(text.as_bytes()).unwrap_err(),
        SetError::TooManyKeys(101)
    );
}

#[test]
fn an_unfit_key_is_passed_over_alone_and_remembered() {
    let set = parsed(&[
        json!("no key"),
        json!({"kty": "oct", "kid": "secret"}),
        rsa_jwk("a"),
        json!({"kty": "RSA", "kid": 7}),
    ]);
    assert_eq!(kids(set.keys()), [Some("a")]);
    assert_eq!(
        set.passed_over(),
        [
            PassedOver {
                kid: None,
                why: Unfit::NotAnObject
            },
            PassedOver {
                kid: Some("secret".to_owned()),
                why: Unfit::KeyType("\"oct\"".to_owned())
            },
            PassedOver {
                kid: None,
                why: Unfit::Type("kid")
            },
        ]
    );
    assert!(set.knows("a") && set.knows("secret") && !set.knows("b"));
    let error = set
        .candidates(Some("secret"), Algorithm::RS256)
        .unwrap_err();
    assert_eq!(error.reason(), Reason::KeyUnfit);
    assert!(error.to_string().contains("oct"), "{error}");
}

#[test]
fn a_kid_brings_its_keys_that_fit_the_algorithm() {
    let set = parsed(&[
        rsa_jwk("a"),
        ec("P-256", "a").1,
        ec("P-256", "b").1,
        ec("P-256", "a").1,
    ]);
    let found = set.candidates(Some("a"), Algorithm::ES256).unwrap();
    assert_eq!(found.len(), 2);
    assert!(found.iter().all(|key| key.kid() == Some("a")));
    assert_eq!(
        set.candidates(Some("a"), Algorithm::PS512).unwrap().len(),
        1
    );
}

#[test]
fn a_kid_whose_key_is_for_another_algorithm_is_unfit() {
    let set = parsed(&[rsa_jwk("a"), ec("P-256", "b").1]);
    for (kid, algorithm) in [
        ("a", Algorithm::ES256),
        ("b", Algorithm::RS256),
        ("b", Algorithm::ES384),
        ("a", Algorithm::HS256),
    ] {
        let error = set.candidates(Some(kid), algorithm).unwrap_err();
        assert_eq!(error.reason(), Reason::KeyUnfit, "{kid} {algorithm:?}");
    }
}

#[test]
fn a_kid_that_is_not_there_is_unknown_and_those_that_are_there_are_named() {
    let set = parsed(&[rsa_jwk("a"), rsa_jwk("b\n")]);
    for kid in ["c", "A", "", "a "] {
        let error = set.candidates(Some(kid), Algorithm::RS256).unwrap_err();
        assert_eq!(error.reason(), Reason::KeyUnknown);
        let wanted = format!("the issuer has no key {kid:?}; it has \"a\", \"b\\n\"");
        assert_eq!(error.to_string(), wanted);
    }
    let error = set.candidates(None, Algorithm::ES256).unwrap_err();
    assert_eq!(error.reason(), Reason::KeyUnknown);
    let names: Vec<_> = ["1", "2", "3", "4", "5", "6"]
        .into_iter()
        .map(rsa_jwk)
        .collect();
    for (keys, wanted) in [
        (&names[..], "it has \"1\", \"2\", \"3\", \"4\" and 2 more"),
        (&[], "it has no key that fits"),
        (&[with_no_kid()], "it has one without a name"),
    ] {
        let error = parsed(keys)
            .candidates(Some("x"), Algorithm::ES256)
            .unwrap_err();
        assert!(error.to_string().ends_with(wanted), "{error}");
    }
}

#[test]
fn after_the_keys_of_that_name_those_without_a_name_are_tried() {
    let (es, mut unnamed_es) = (ec("P-256", "a").1, ec("P-256", "").1);
    unnamed_es["kid"] = Value::Null;
    let set = parsed(&[with_no_kid(), unnamed_es, rsa_jwk("a"), rsa_jwk("b"), es]);
    let found = |kid| {
        kids(&set.candidates(Some(kid), Algorithm::RS256).unwrap())
            .into_iter()
            .map(|it| it.map(str::to_owned))
            .collect::<Vec<_>>()
    };
    assert_eq!(found("a"), [Some("a".to_owned()), None]);
    assert_eq!(found("r1"), [None]);
    assert!(!set.knows("r1"));
    let mut many = vec![with_no_kid(); 20];
    many.push(rsa_jwk("a"));
    let found = parsed(&many)
        .candidates(Some("a"), Algorithm::RS256)
        .unwrap();
    assert_eq!((found.len(), found[0].kid()), (16, Some("a")));
    assert_eq!(
        parsed(&many)
            .candidates(Some("x"), Algorithm::RS256)
            .unwrap()
            .len(),
        16
    );
}

#[test]
fn a_key_of_that_name_that_is_unfit_is_no_reason_to_try_those_without_a_name() {
    let mut encrypts = rsa_jwk("a");
    encrypts["use"] = json!("enc");
    for set in [
        parsed(&[encrypts, with_no_kid()]),
        parsed(&[ec("P-256", "a").1, with_no_kid()]),
    ] {
        let error = set.candidates(Some("a"), Algorithm::RS256).unwrap_err();
        assert_eq!(error.reason(), Reason::KeyUnfit);
    }
}

fn with_no_kid() -> Value {
    let mut jwk = rsa_jwk("");
    jwk.as_object_mut().unwrap().remove("kid");
    jwk
}

#[test]
fn a_token_without_kid_is_tried_with_each_fitting_key_at_most_16() {
    let set = parsed(&[rsa_jwk("a"), ec("P-256", "b").1, with_no_kid()]);
    let found = set.candidates(None, Algorithm::RS256).unwrap();
    assert_eq!(kids(&found), [Some("a"), None]);
    let (_, jwk) = ed25519("o");
    let set = parsed(&vec![jwk; 40]);
    assert_eq!(set.candidates(None, Algorithm::EdDSA).unwrap().len(), 16);
    assert_eq!(
        set.candidates(Some("o"), Algorithm::EdDSA).unwrap().len(),
        16
    );
}

#[test]
fn a_succession_keeps_unchanged_keys_and_names_the_others() {
    let (_, stays) = ec("P-256", "stays");
    let old = parsed(&[
        stays.clone(),
        ec("P-256", "goes").1,
        ec("P-256", "changes").1,
    ]);
    let before: Vec<Arc<Key>> = old.keys().to_vec();
    let new = parsed(&[ec("P-256", "comes").1, ec("P-256", "changes").1, stays]);
    let next = new.succeed(Some(&old));
    assert_eq!(
        kids(next.set.keys()),
        [Some("comes"), Some("changes"), Some("stays")]
    );
    assert!(Arc::ptr_eq(&next.set.keys()[2], &before[0]));
    assert_eq!(kids(&next.added), [Some("comes"), Some("changes")]);
    assert_eq!(kids(&next.removed), [Some("goes"), Some("changes")]);
    assert!(next.removed.iter().all(|key| key.is_live()));
}
