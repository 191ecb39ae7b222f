//! Each check of a token by itself: everything else of it is good.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic
)]

use super::*;
use crate::jwks::testing::ec;
use crate::testing::{ISS, NOW, claims, issuer, key, key_set, object, signed, token, verified};
use serde_json::{Value, json};

/// Why a token with these changes of its claims is refused by the issuer of these lines.
fn refused_at(now: u64, lines: &[&str], changes: Value) -> Option<Error> {
    let token = token(&claims(changes));
    verified(&token, &issuer(lines), &key_set(&[&key().1]), now).err()
}

fn refused(lines: &[&str], changes: Value) -> Option<Error> {
    refused_at(NOW, lines, changes)
}

/// The reason alone.
fn reason(lines: &[&str], changes: Value) -> Option<Reason> {
    refused(lines, changes).map(|error| error.reason())
}

/// What becomes of a token of `k` with this header, where these keys stand.
fn by_key(header: &Value, lines: &[&str], keys: &[&Value]) -> Result<(), Error> {
    let token = signed(&key().0, header, &claims(json!({"tid": "t-1"})));
    verified(&token, &issuer(lines), &key_set(keys), NOW).map(drop)
}

/// A JWK with one member set.
fn with(jwk: &Value, member: &str, value: &str) -> Value {
    let mut jwk = jwk.clone();
    jwk[member] = json!(value);
    jwk
}

#[test]
fn a_good_token_s_claims_time_and_key_are_told() {
    let wanted = claims(json!({"exp": NOW + 300, "note": [1, {"a": null}]}));
    let keys = key_set(&[&key().1]);
    let good = verified(&token(&wanted), &issuer(&[]), &keys, NOW).unwrap();
    assert_eq!(*good.claims(), object(&wanted));
    assert_eq!(good.expires(), NOW + 300);
    assert!(Arc::ptr_eq(good.key(), &keys.keys()[0]));
}

#[test]
fn a_refused_token_is_given_back_for_the_next_issuer() {
    let text = token(&claims(json!({"aud": "other"})));
    let (ours, keys) = (issuer(&[]), key_set(&[&key().1]));
    let rejected = verify(
        Unverified::parse(text.as_bytes()).unwrap(),
        &ours,
        &keys,
        NOW,
    )
    .unwrap_err();
    assert_eq!(rejected.token.issuer(), Ok(ISS));
    let theirs = issuer(&["GateAudience other"]);
    assert!(verify(rejected.token, &theirs, &keys, NOW).is_ok());
}

#[test]
fn an_algorithm_that_is_not_listed_is_refused_whatever_the_key() {
    for lines in [
        &["GateAlgorithms ES384"][..],
        &["GateAlgorithms RS256 EdDSA PS256"],
    ] {
        for keys in [&[&key().1][..], &[]] {
            let error = by_key(&json!({"alg": "ES256"}), lines, keys).unwrap_err();
            assert_eq!(
                error,
                Error::Algorithm("ES256 is not one of GateAlgorithms".into())
            );
            assert_eq!(error.reason(), Reason::Algorithm);
        }
    }
    assert_eq!(refused(&["GateAlgorithms RS256 ES256"], json!({})), None);
}

#[test]
fn another_issuer_is_refused() {
    for iss in [
        "",
        "https://issuer.example.org",
        "https://issuer.exampl",
        " https://issuer.example",
    ] {
        assert_eq!(
            refused(&[], json!({ "iss": iss })),
            Some(Error::Issuer(format!("wanted iss {ISS}, got {iss}")))
        );
    }
    for iss in ["https://issuer.example/", "https://ISSUER.example"] {
        let error = refused(&[], json!({ "iss": iss })).unwrap();
        let hint = format!(": write GateIssuerURL {iss}");
        assert!(
            matches!(&error, Error::Issuer(why) if why.ends_with(&hint)),
            "{error}"
        );
    }
    for iss in [json!(null), json!(1), json!([ISS])] {
        assert_eq!(
            reason(&[], json!({ "iss": iss })),
            Some(Reason::IssuerUnknown)
        );
    }
}

#[test]
fn entra_s_tenant_is_the_token_s_own() {
    let url = "https://login.example/{tenantid}/v2.0";
    let cases = [
        ("https://login.example/t-1/v2.0", Some("t-1"), true),
        ("https://login.example/t-2/v2.0", Some("t-1"), false),
        ("https://login.example/t-1/v2.0", None, false),
        ("https://login.example//v2.0", Some(""), false),
        ("https://login.example/v2.0", Some(""), false),
        ("https://login.example/t-1/v1.0", Some("t-1"), false),
        ("https://login.example/t-1/v2.0/", Some("t-1"), false),
        ("https://other.example/t-1/v2.0", Some("t-1"), false),
        ("https://login.example/a/b/v2.0", Some("a/b"), false),
        ("https://login.example/a.b/v2.0", Some("a.b"), false),
        ("https://login.example/a_b/v2.0", Some("a_b"), false),
        (url, Some("{tenantid}"), false),
        ("https://login.example/A0-z/v2.0", Some("A0-z"), true),
    ];
    for (iss, tenant, wanted) in cases {
        assert_eq!(is_issuer(url, iss, tenant), wanted, "{iss} {tenant:?}");
    }
    assert!(is_issuer(ISS, ISS, None));
    assert!(is_issuer(ISS, ISS, Some("../")));
    assert!(!is_issuer(ISS, "https://issuer.example/x", Some("x")));
}

#[test]
fn a_token_of_another_tenant_is_refused() {
    let lines = [
        "GateKind entra",
        "GateIssuerURL https://login.example/{tenantid}/v2.0",
        "GateRequire tid=t-1",
    ];
    let of = |iss: &str, tid: &str| reason(&lines, json!({"iss": iss, "tid": tid}));
    assert_eq!(of("https://login.example/t-1/v2.0", "t-1"), None);
    assert_eq!(
        of("https://login.example/t-1/v2.0", "t-2"),
        Some(Reason::IssuerUnknown)
    );
    assert_eq!(
        of("https://login.example/t-2/v2.0", "t-2"),
        Some(Reason::RequiredClaim)
    );
}

#[test]
fn the_key_is_the_one_that_the_token_names() {
    let (ours, named) = (&key().1, json!({"alg": "ES256", "kid": "k"}));
    let (_, other) = ec("P-256", "k");
    let (_, longer) = ec("P-384", "k");
    assert_eq!(by_key(&named, &[], &[ours]), Ok(()));
    assert_eq!(by_key(&json!({"alg": "ES256"}), &[], &[ours]), Ok(()));
    assert_eq!(by_key(&named, &[], &[&other, ours]), Ok(()));
    assert_eq!(by_key(&named, &[], &[&longer, ours]), Ok(()));
    let elsewhere = with(ours, "kid", "l");
    for (keys, wanted) in [
        (&[][..], Reason::KeyUnknown),
        (&[&elsewhere], Reason::KeyUnknown),
        (&[&longer], Reason::KeyUnfit),
        (&[&with(ours, "use", "enc")], Reason::KeyUnfit),
        (&[&other], Reason::Signature),
        (&[&other, &elsewhere], Reason::Signature),
    ] {
        let error = by_key(&named, &[], keys).unwrap_err();
        assert_eq!(error.reason(), wanted, "{error}");
    }
    let error = by_key(&named, &[], &[&elsewhere]).unwrap_err();
    assert_eq!(
        error,
        Error::KeyUnknown(r#"the issuer has no key "k"; it has "l""#.into())
    );
}

#[test]
fn a_signature_over_other_bytes_is_refused() {
    let (keys, issuer) = (key_set(&[&key().1]), issuer(&[]));
    let good = token(&claims(json!({})));
    let [mine, theirs] =
        [good, token(&claims(json!({"sub": "root"})))].map(|it| it.replace('.', " "));
    let (mine, theirs): (Vec<_>, Vec<_>) = (mine.split(' ').collect(), theirs.split(' ').collect());
    let forged = [mine[0], theirs[1], mine[2]].join(".");
    let error = verified(&forged, &issuer, &keys, NOW).unwrap_err();
    assert_eq!(
        error,
        Error::Signature("kid k, alg ES256: the signature does not fit".into())
    );
    // Whatever else is wrong: nobody learns more of a token that nobody signed.
    let expired = verified(&forged, &issuer, &keys, NOW + 9999).unwrap_err();
    assert_eq!(expired.reason(), Reason::Signature);
}

#[test]
fn a_token_for_graph_is_told_from_a_forged_one() {
    let (_, other) = ec("P-256", "k");
    let header = json!({"alg": "ES256", "nonce": "x"});
    let error = by_key(&header, &[], &[&other]).unwrap_err();
    assert_eq!(
        error.to_string(),
        "kid (none), alg ES256: the signature does not fit; a token for Microsoft Graph can be verified by Graph alone"
    );
}

#[test]
fn entra_s_keys_sign_for_the_issuer_that_stands_beside_them() {
    let header = json!({"alg": "ES256", "kid": "k"});
    let entra = |named: &str| {
        by_key(
            &header,
            &["GateKind entra"],
            &[&with(&key().1, "issuer", named)],
        )
    };
    assert_eq!(entra(ISS), Ok(()));
    assert_eq!(
        entra("https://other.example").unwrap_err().reason(),
        Reason::Signature
    );
    assert_eq!(by_key(&header, &["GateKind entra"], &[&key().1]), Ok(()));
    // Beside another make's key the member means nothing.
    let elsewhere = with(&key().1, "issuer", "https://other.example");
    assert_eq!(by_key(&header, &[], &[&elsewhere]), Ok(()));
    // Of two keys of one name the bound one is the one that counts.
    let (_, other) = ec("P-256", "k");
    let keys = [&with(&other, "issuer", ISS), &elsewhere];
    assert!(by_key(&header, &["GateKind entra"], &keys).is_err());
}

#[test]
fn entra_s_keys_of_all_tenants_sign_for_the_token_s() {
    let lines = [
        "GateKind entra",
        "GateIssuerURL https://login.example/{tenantid}/v2.0",
        "GateRequire tid=t-1",
    ];
    let token = token(&claims(
        json!({"tid": "t-1", "iss": "https://login.example/t-1/v2.0"}),
    ));
    for (named, wanted) in [
        ("https://login.example/{tenantid}/v2.0", None),
        ("https://login.example/t-1/v2.0", None),
        (
            "https://login.example/t-2/v2.0",
            Some(
                "kid k, alg ES256: the signature does not fit; the key signs for issuer https://login.example/t-2/v2.0 alone",
            ),
        ),
    ] {
        let keys = key_set(&[&with(&key().1, "issuer", named)]);
        let error = verified(&token, &issuer(&lines), &keys, NOW).err();
        assert_eq!(error.map(|it| it.to_string()).as_deref(), wanted, "{named}");
    }
}

#[test]
fn times_hold_to_the_second_with_the_clock_s_leeway() {
    use Reason::{Expired, IssuedInFuture, NotYetValid};
    let at = |seconds: f64| NOW as f64 + seconds;
    for (leeway, lines) in [
        (30.0, &[][..]),
        (0.0, &["GateClockSkew 0s"]),
        (7.0, &["GateClockSkew 7s"]),
    ] {
        let cases = [
            (json!({"exp": NOW + 1}), None),
            (json!({"exp": at(1.0 - leeway)}), None),
            (json!({"exp": at(1.9 - leeway)}), None),
            (json!({"exp": at(0.9 - leeway)}), Some(Expired)),
            (json!({"exp": at(-leeway)}), Some(Expired)),
            (json!({"exp": 0}), Some(Expired)),
            (json!({"nbf": at(leeway)}), None),
            (json!({"nbf": at(leeway + 0.1)}), Some(NotYetValid)),
            (json!({"nbf": at(leeway + 1.0)}), Some(NotYetValid)),
            (json!({"nbf": 0}), None),
            (json!({"iat": at(leeway)}), None),
            (json!({"iat": at(leeway + 0.1)}), Some(IssuedInFuture)),
            (json!({"iat": at(leeway + 1.0)}), Some(IssuedInFuture)),
            (json!({"iat": 0}), None),
        ];
        for (changes, wanted) in cases {
            assert_eq!(
                reason(lines, changes.clone()),
                wanted,
                "{leeway} s, {changes}"
            );
        }
    }
}

#[test]
fn what_was_wrong_with_a_time_is_told() {
    for (now, changes, text) in [
        (
            NOW + 30,
            json!({"exp": NOW}),
            "exp is 30 s ago: get a new token, or compare the clocks",
        ),
        (
            NOW - 31,
            json!({"nbf": NOW}),
            "nbf is 31 s ahead: compare the clocks of this host and the issuer",
        ),
        (
            NOW - 31,
            json!({"iat": NOW}),
            "iat is 31 s ahead: compare the clocks of this host and the issuer",
        ),
    ] {
        let error = refused_at(now, &[], changes).unwrap();
        assert_eq!(error.to_string(), text);
    }
}

#[test]
fn exp_is_rounded_down_and_told_without_leeway() {
    let token = token(&claims(json!({"exp": NOW as f64 + 9.7})));
    let good = verified(&token, &issuer(&[]), &key_set(&[&key().1]), NOW).unwrap();
    assert_eq!(good.expires(), NOW + 9);
}

#[test]
fn a_token_without_exp_is_refused() {
    let error = refused(&[], json!({"exp": null})).unwrap();
    assert_eq!(error, Error::NoEnd);
    assert_eq!(error.reason(), Reason::RequiredClaim);
    assert_eq!(error.to_string(), "wanted claim exp, got none");
}

#[test]
fn a_time_that_is_no_number_from_0_to_2_to_the_53_is_refused() {
    for claim in ["exp", "nbf", "iat"] {
        for value in [
            json!("1800000000"),
            json!(true),
            json!([NOW]),
            json!({}),
            json!(-1),
            json!(-0.5),
            json!(9_007_199_254_740_993_u64),
            json!(9_007_199_254_740_994_u64),
            json!(9_007_199_254_740_992.5),
            json!(-0.0),
            json!(1e300),
        ] {
            let error = refused(&[], json!({ claim: value })).unwrap();
            assert!(
                matches!(error, Error::ClaimType(it, _) if it.name() == claim),
                "{claim} {value}: {error}"
            );
            assert_eq!(error.reason(), Reason::ClaimType);
        }
    }
    assert_eq!(
        refused(&[], json!({"exp": 9_007_199_254_740_992_u64})),
        None
    );
    assert_eq!(
        refused(&[], json!({"exp": "soon"})).unwrap().to_string(),
        r#"claim exp: wanted a number, got "soon""#
    );
    assert_eq!(
        refused(&[], json!({"nbf": -1})).unwrap().to_string(),
        "claim nbf: wanted a number from 0 to 2^53, got -1"
    );
}

#[test]
fn a_time_that_is_null_is_not_a_time_that_is_missing() {
    for claim in ["exp", "nbf", "iat"] {
        let mut changed = claims(json!({}));
        changed[claim] = Value::Null;
        let error = verified(&token(&changed), &issuer(&[]), &key_set(&[&key().1]), NOW);
        assert_eq!(error.unwrap_err().reason(), Reason::ClaimType, "{claim}");
    }
}

#[test]
fn a_token_may_live_as_long_as_gate_max_lifetime() {
    let lines = &["GateMaxLifetime 10m"];
    for (iat, exp, wanted) in [
        (json!(NOW - 100), json!(NOW + 500), None),
        (json!(NOW - 100), json!(NOW + 501), Some(Reason::Lifetime)),
        (
            json!(NOW - 100),
            json!(NOW as f64 + 500.5),
            Some(Reason::Lifetime),
        ),
        (json!(NOW), json!(NOW - 5), None),
        (json!(null), json!(NOW + 1), Some(Reason::Lifetime)),
    ] {
        let changes = json!({"iat": iat, "exp": exp});
        assert_eq!(reason(lines, changes.clone()), wanted, "{changes}");
    }
    let told = |changes| refused(lines, changes).unwrap().to_string();
    assert_eq!(
        told(json!({"iat": NOW, "exp": NOW + 601})),
        "wanted at most 600 s, got 601 s"
    );
    assert_eq!(
        told(json!({})),
        "GateMaxLifetime is 600 s, and the token has no iat"
    );
    assert_eq!(refused(&[], json!({"exp": NOW + 99_999_999})), None);
}

#[test]
fn one_of_the_audiences_must_be_in_aud() {
    let lines = &["GateAudience gate other"];
    for (aud, wanted) in [
        (json!("gate"), None),
        (json!("other"), None),
        (json!(["gate"]), None),
        (json!(["x", "other"]), None),
        (json!("x"), Some(Reason::Audience)),
        (json!("gat"), Some(Reason::Audience)),
        (json!("gate other"), Some(Reason::Audience)),
        (json!("Gate"), Some(Reason::Audience)),
        (json!(["x", "y"]), Some(Reason::Audience)),
        (json!([]), Some(Reason::Audience)),
        (json!(null), Some(Reason::Audience)),
        (json!(["gate", 1]), Some(Reason::ClaimType)),
        (json!(["gate", null]), Some(Reason::ClaimType)),
        (json!([["gate"]]), Some(Reason::ClaimType)),
        (json!(1), Some(Reason::ClaimType)),
        (json!(true), Some(Reason::ClaimType)),
        (json!({"gate": "gate"}), Some(Reason::ClaimType)),
    ] {
        assert_eq!(reason(lines, json!({ "aud": aud })), wanted, "{aud}");
        assert_eq!(
            reason(&["GateAudience any"], json!({ "aud": aud })),
            None,
            "{aud}"
        );
    }
    let mut null = claims(json!({}));
    null["aud"] = Value::Null;
    let error = verified(&token(&null), &issuer(lines), &key_set(&[&key().1]), NOW).unwrap_err();
    assert_eq!(error.to_string(), "wanted aud gate or other, got null");
    let told = |aud: Value| refused(lines, json!({ "aud": aud })).unwrap().to_string();
    assert_eq!(told(json!(null)), "wanted aud gate or other, got none");
    assert_eq!(
        told(json!({})),
        "claim aud: wanted a string or an array of strings, got {}"
    );
}

#[test]
fn each_make_s_token_is_of_the_right_kind() {
    use Reason::{RequiredClaim, Type};
    let cases = [
        ("keycloak", json!({"typ": "Bearer"}), None),
        ("keycloak", json!({}), Some(Type)),
        ("keycloak", json!({"typ": "ID"}), Some(Type)),
        ("keycloak", json!({"typ": "bearer"}), Some(Type)),
        ("keycloak", json!({"typ": ["Bearer"]}), Some(Type)),
        ("gitlab", json!({"job_id": "1", "pipeline_id": "2"}), None),
        ("gitlab", json!({"job_id": 1, "pipeline_id": 2}), None),
        ("gitlab", json!({"job_id": "1"}), Some(RequiredClaim)),
        (
            "gitlab",
            json!({"job_id": "", "pipeline_id": "2"}),
            Some(RequiredClaim),
        ),
        (
            "gitlab",
            json!({"job_id": false, "pipeline_id": "2"}),
            Some(RequiredClaim),
        ),
        (
            "gitlab",
            json!({"job_id": "1", "pipeline_id": []}),
            Some(RequiredClaim),
        ),
        (
            "gitlab",
            json!({"job_id": {}, "pipeline_id": "2"}),
            Some(RequiredClaim),
        ),
        ("gitlab", json!({"pipeline_id": "2"}), Some(RequiredClaim)),
        ("gitlab", json!({}), Some(RequiredClaim)),
        ("google", json!({"email_verified": true}), None),
        ("google", json!({"email_verified": "true"}), None),
        (
            "google",
            json!({"email_verified": false}),
            Some(RequiredClaim),
        ),
        (
            "google",
            json!({"email_verified": "false"}),
            Some(RequiredClaim),
        ),
        (
            "google",
            json!({"email_verified": "yes"}),
            Some(RequiredClaim),
        ),
        ("google", json!({"email_verified": 1}), Some(RequiredClaim)),
        ("google", json!({}), Some(RequiredClaim)),
        ("generic", json!({}), None),
        ("okta", json!({}), None),
        ("entra", json!({}), None),
        ("aws", json!({}), None),
    ];
    for (make, changes, wanted) in cases {
        let lines = &[&*format!("GateKind {make}")];
        assert_eq!(reason(lines, changes.clone()), wanted, "{make} {changes}");
    }
    let told = |make: &str, changes| {
        let lines = &[&*format!("GateKind {make}")];
        refused(lines, changes).unwrap().to_string()
    };
    assert_eq!(
        told("gitlab", json!({"job_id": "1"})),
        "wanted a CI job's token, got one without pipeline_id"
    );
    assert_eq!(
        told("keycloak", json!({"typ": "ID"})),
        r#"wanted Keycloak's claim typ=Bearer (an access token), got "ID""#
    );
}

#[test]
fn a_job_s_claims_may_not_be_null() {
    for claim in ["job_id", "pipeline_id"] {
        let mut changed = claims(json!({"job_id": "1", "pipeline_id": "2"}));
        changed[claim] = Value::Null;
        let issuer = issuer(&["GateKind gitlab"]);
        let error = verified(&token(&changed), &issuer, &key_set(&[&key().1]), NOW);
        assert_eq!(error.unwrap_err().reason(), Reason::RequiredClaim);
    }
}

#[test]
fn every_condition_of_gate_require_must_hold() {
    let lines = &["GateRequire ref=main", "GateRequire env=prod sub=dana"];
    let holds = |changes| refused(lines, changes);
    assert_eq!(holds(json!({"ref": "main", "env": "prod"})), None);
    for changes in [
        json!({"ref": "main"}),
        json!({"env": "prod"}),
        json!({"ref": "main", "env": "prod", "sub": "eve"}),
        json!({}),
    ] {
        let error = holds(changes).unwrap();
        assert!(error.to_string().starts_with("GateRequire: "), "{error}");
        assert_eq!(error.reason(), Reason::RequiredClaim);
    }
}

#[test]
fn a_condition_on_groups_that_were_left_out_is_told_as_that() {
    let groups = &["GateKind entra", "GateRequire groups=dev"];
    let other = &["GateKind entra", "GateRequire ref=main"];
    assert_eq!(reason(groups, json!({"groups": ["dev"]})), None);
    for (lines, changes, wanted) in [
        (groups, json!({"groups": ["ops"]}), Reason::RequiredClaim),
        (groups, json!({"hasgroups": true}), Reason::GroupsOverage),
        (other, json!({"hasgroups": true}), Reason::RequiredClaim),
    ] {
        assert_eq!(reason(lines, changes), Some(wanted), "{lines:?}");
    }
}

#[test]
fn a_template_is_filled_wherever_it_stands() {
    let url = "https://login.example/{tenantid}/v2.0/{tenantid}";
    assert!(is_issuer(
        url,
        "https://login.example/t-1/v2.0/t-1",
        Some("t-1")
    ));
    for (iss, tenant) in [
        ("https://login.example/t-1/v2.0/t-2", Some("t-1")),
        ("https://login.example/t-1/v2.0/{tenantid}", Some("t-1")),
        ("https://login.example/t-1/v2.0/t-1", None),
        ("https://login.example//v2.0/", Some("")),
        ("https://login.example/a/b/v2.0/a/b", Some("a/b")),
        (url, Some("{tenantid}")),
    ] {
        assert!(!is_issuer(url, iss, tenant), "{iss}");
    }
}
