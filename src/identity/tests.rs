//! What the claims of a verified token mean, make by make, and how long they do.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic
)]

use super::*;
use crate::json::{self, Text};
use crate::testing::{ISS, NOW, claims, identity, issuer, keys, retire, token, tree, verified};
use serde_json::{Value, json};

/// Whom these changes of the good token speak for, where the issuer has these lines.
fn of(lines: &[&str], changes: Value) -> Identity {
    identity(&issuer(lines), changes).unwrap()
}

/// The roles that they grant.
fn roles_of(lines: &[&str], changes: Value) -> Vec<String> {
    of(lines, changes).roles().to_vec()
}

#[test]
fn an_identity_tells_what_its_token_said() {
    let it = of(
        &["GateKind gitlab", "GateUserClaim user_login sub"],
        json!({"job_id": "7", "pipeline_id": 8, "protected": true, "list": [1]}),
    );
    assert_eq!(it.user(), "dana");
    assert_eq!(it.subject(), Some("dana"));
    assert_eq!(it.issuer_name(), "idp");
    assert_eq!(it.issuer().url, ISS);
    assert_eq!(it.kind(), Kind::Gitlab);
    assert_eq!(it.expires(), NOW + 300);
    assert_eq!(it.claims().get("job_id"), Some(&tree(&json!("7"))));
    for (claim, wanted) in [
        ("job_id", Some("7")),
        ("pipeline_id", Some("8")),
        ("protected", Some("true")),
        ("list", None),
        ("nothing", None),
    ] {
        assert_eq!(it.claim(claim).as_deref(), wanted, "{claim}");
    }
    assert_eq!(
        of(&["GateUserClaim n"], json!({"n": "x", "sub": null})).subject(),
        None
    );
    assert_eq!(
        of(&["GateUserClaim n"], json!({"n": "x", "sub": 1})).subject(),
        None
    );
}

#[test]
fn the_first_user_claim_that_is_there_is_the_user() {
    let lines = &["GateUserClaim login person.name sub"];
    for (changes, wanted) in [
        (json!({"login": "a", "person": {"name": "b"}}), "a"),
        (json!({"person": {"name": "b"}}), "b"),
        (json!({}), "dana"),
        (json!({"login": "Zoë O'Neil"}), "Zoë O'Neil"),
    ] {
        assert_eq!(of(lines, changes).user(), wanted);
    }
}

#[test]
fn a_user_claim_that_is_no_name_is_refused_and_not_passed_over() {
    let issuer = issuer(&["GateUserClaim login sub"]);
    for name in [
        json!(""),
        json!("a\nb"),
        json!("a\u{0}b"),
        json!("a\u{7f}"),
        json!("a\u{85}"),
        json!(1),
        json!(true),
        json!(["dana"]),
        json!({"name": "dana"}),
    ] {
        let wrong = identity(&issuer, json!({ "login": name })).unwrap_err();
        assert_eq!(wrong.reason(), Reason::UserMissing);
        let text = wrong.to_string();
        assert!(text.starts_with("claim login: wanted text"), "{text}");
        assert!(!text.contains('\n'), "{text}");
    }
}

#[test]
fn a_token_that_names_nobody_is_refused() {
    let wrong = identity(&issuer(&["GateUserClaim login a.b"]), json!({})).unwrap_err();
    assert_eq!(wrong.reason(), Reason::UserMissing);
    assert_eq!(wrong.to_string(), "wanted claim login or a.b, got none");
}

#[test]
fn an_address_that_the_issuer_did_not_verify_is_none() {
    for (verified, wanted) in [
        (json!(null), Some("d@example.com")),
        (json!(true), Some("d@example.com")),
        (json!("true"), Some("d@example.com")),
        (json!(false), None),
        (json!("false"), None),
        (json!("False"), None),
        (json!(0), None),
        (json!("0"), None),
        (json!("no"), None),
        (json!("TRUE"), None),
        (json!(1), None),
        (json!(""), None),
        (json!([true]), None),
    ] {
        let changes = json!({"email": "d@example.com", "email_verified": verified});
        assert_eq!(of(&[], changes).email(), wanted, "{verified}");
    }
}

#[test]
fn each_make_has_its_own_claim_for_the_address() {
    let both = json!({
        "email": "e", "user_email": "u", "user_login": "d", "preferred_username": "d",
        "email_verified": true, "job_id": 1, "pipeline_id": 2, "typ": "Bearer",
    });
    for (make, wanted) in [
        ("generic", Some("e")),
        ("okta", Some("e")),
        ("entra", Some("e")),
        ("keycloak", Some("e")),
        ("gitlab", Some("u")),
        ("aws", None),
        ("google", Some("e")),
    ] {
        let it = of(&[&format!("GateKind {make}")], both.clone());
        assert_eq!(it.email(), wanted, "{make}");
    }
    assert_eq!(of(&[], json!({"email": ["e"]})).email(), None);
    for (line, claims) in [
        (
            "GateEmailClaim /emails/0",
            json!({"emails": ["e", "f"], "email": "x"}),
        ),
        ("GateEmailClaim mail", json!({"mail": "e", "email": "x"})),
        ("GateEmailClaim a.b", json!({"a": {"b": "e"}})),
    ] {
        assert_eq!(of(&[line], claims).email(), Some("e"), "{line}");
        assert_eq!(of(&[line], json!({"email": "x"})).email(), None, "{line}");
    }
    assert_eq!(of(&[], json!({})).email(), None);
}

#[test]
fn a_role_is_granted_where_all_conditions_of_a_line_hold() {
    let lines = &[
        "GateRole admin groups=ops ref=main",
        "GateRole reader sub=dana",
        "GateRole reader groups=all",
        "GateRole other sub=eve",
    ];
    for (changes, wanted) in [
        (
            json!({"groups": ["ops"], "ref": "main"}),
            &["admin", "reader"][..],
        ),
        (json!({"groups": ["ops"]}), &["reader"]),
        (json!({"ref": "main"}), &["reader"]),
        (json!({"groups": ["all"]}), &["reader"]),
    ] {
        assert_eq!(roles_of(lines, changes.clone()), wanted, "{changes}");
    }
}

#[test]
fn every_value_of_the_role_claim_is_a_role_once() {
    let lines = &["GateRoleClaim r", "GateRole a sub=dana"];
    for (value, wanted) in [
        (json!(["b", "a", "b", "c"]), &["a", "b", "c"][..]),
        (json!("b"), &["a", "b"]),
        (json!(7), &["a", "7"]),
        (
            json!([7, true, null, ["x"], {"y": 1}, ""]),
            &["a", "7", "true"],
        ),
        (json!(""), &["a"]),
        (json!({"b": 1}), &["a"]),
        (json!(null), &["a"]),
    ] {
        assert_eq!(roles_of(lines, json!({ "r": value })), wanted, "{value}");
    }
    assert!(roles_of(&[], json!({"roles": ["x"], "groups": ["y"]})).is_empty());
}

#[test]
fn a_fork_has_no_role_by_its_parent_s_name() {
    let job = json!({"user_login": "dana", "job_id": "7", "pipeline_id": "8", "project_path": "shop/orders", "project_id": 4});
    for (kind, path, twin, granted) in [
        ("gitlab", "project_path", json!({}), true),
        (
            "gitlab",
            "project_path",
            json!({"job_project_path": null}),
            true,
        ),
        (
            "gitlab",
            "project_path",
            json!({"job_project_path": "shop/orders"}),
            true,
        ),
        (
            "gitlab",
            "project_path",
            json!({"job_project_path": "mallory/orders"}),
            false,
        ),
        (
            "gitlab",
            "project_path",
            json!({"job_project_path": ["shop/orders"]}),
            false,
        ),
        ("gitlab", "project_id", json!({"job_project_id": "4"}), true),
        (
            "gitlab",
            "project_id",
            json!({"job_project_id": "5"}),
            false,
        ),
        (
            "generic",
            "project_path",
            json!({"job_project_path": "mallory/orders"}),
            true,
        ),
    ] {
        let lines = [format!("GateKind {kind}"), format!("GateRoleClaim {path}")];
        let lines: Vec<_> = lines.iter().map(String::as_str).collect();
        let mut claims = job.clone();
        claims
            .as_object_mut()
            .unwrap()
            .extend(twin.as_object().unwrap().clone());
        assert_eq!(
            roles_of(&lines, claims).len(),
            usize::from(granted),
            "{kind} {path} {twin}"
        );
    }
}

#[test]
fn a_role_is_compared_whole_and_told_to_the_log() {
    let it = of(&["GateRoleClaim r"], json!({"r": ["dev", "ops\n"]}));
    assert!(it.has_role("dev"));
    assert!(!it.has_role("de") && !it.has_role("Dev") && !it.has_role("ops") && !it.has_role(""));
    assert_eq!(it.roles_text(), r"dev ops\n");
    assert_eq!(of(&[], json!({})).roles_text(), "no role");
}

#[test]
fn entra_tells_that_it_left_the_groups_out() {
    let user = json!("d");
    for (changes, wanted) in [
        (json!({"hasgroups": true}), true),
        (json!({"hasgroups": "true"}), true),
        (json!({"hasgroups": false}), false),
        (json!({"hasgroups": "1"}), false),
        (json!({"_claim_names": {"groups": "src1"}}), true),
        (json!({"_claim_names": {"other": "src1"}}), false),
        (json!({"_claim_names": "groups"}), false),
        (json!({"hasgroups": true, "groups": ["a"]}), false),
        (json!({}), false),
    ] {
        let mut all = changes.clone();
        all["preferred_username"] = user.clone();
        let it = of(&["GateKind entra"], all.clone());
        assert_eq!(it.groups_left_out(), wanted, "{changes}");
        assert!(!of(&[], all).groups_left_out(), "generic: {changes}");
    }
}

#[test]
fn null_groups_are_left_out_too() {
    let mut claims = claims(json!({"preferred_username": "d", "hasgroups": true}));
    claims["groups"] = Value::Null;
    let (issuer, keys) = (issuer(&["GateKind entra"]), keys(NOW));
    let set = keys.current().unwrap();
    let verified = verified(&token(&claims), &issuer, &set, NOW).unwrap();
    let it = crate::testing::identity_of(verified, &issuer, keys).unwrap();
    assert!(it.groups_left_out());
}

#[test]
fn a_role_is_unknown_where_it_may_come_from_groups_that_were_left_out() {
    let left_out = json!({"preferred_username": "d", "hasgroups": true});
    let listed = json!({"preferred_username": "d", "groups": ["x"]});
    for (lines, wanted) in [
        (&["GateKind entra"][..], false),
        (&["GateKind entra", "GateRoleClaim groups"], true),
        (&["GateKind entra", "GateRole a groups=x"], true),
        (
            &[
                "GateKind entra",
                "GateRole a sub=x",
                "GateRole b sub=y groups=x",
            ],
            true,
        ),
        (&["GateKind entra", "GateRole a other=x"], false),
        (&["GateKind entra", "GateRoleClaim other"], false),
    ] {
        let unknown = |claims: &Value| of(lines, claims.clone()).groups_decide_roles();
        assert_eq!(unknown(&left_out), wanted, "{lines:?}");
        assert!(!unknown(&listed), "{lines:?}");
    }
}

#[test]
fn it_holds_until_exp_and_the_clock_s_leeway() {
    let it = of(&["GateClockSkew 7s"], json!({"exp": NOW + 300}));
    assert!(it.life().holds(NOW));
    assert!(it.life().holds(NOW + 306));
    assert!(!it.life().holds(NOW + 307));
    assert!(!it.life().holds(NOW + 999));
}

#[test]
fn it_holds_no_longer_than_its_key() {
    let it = of(&[], json!({}));
    assert!(it.life().holds(NOW));
    retire(&it);
    assert!(!it.life().holds(NOW));
}

#[test]
fn it_holds_no_longer_than_keys_that_are_not_stale() {
    // Fetched at NOW, good for an hour.
    let it = of(&[], json!({"exp": NOW + 99_999}));
    assert!(it.life().holds(NOW + 3599));
    assert!(!it.life().holds(NOW + 3600));
}

#[test]
fn a_string_a_number_and_a_boolean_are_text() {
    for (value, wanted) in [
        (json!("x"), Some("x")),
        (json!(""), Some("")),
        (json!(-1.5), Some("-1.5")),
        (json!(u64::MAX), Some("18446744073709551615")),
        (json!(true), Some("true")),
        (json!(false), Some("false")),
        (json!(null), None),
        (json!([]), None),
        (json!({}), None),
    ] {
        assert_eq!(scalar(&tree(&value)).as_deref(), wanted, "{value}");
    }
}

#[test]
fn its_size_is_that_of_its_claims_and_roles() {
    // A member's place, and what stands around it in the text; an item's place.
    let place = size_of::<(Text, json::Value)>() + 6;
    let item = size_of::<json::Value>();
    let of = |changes| of(&["GateRoleClaim r"], changes).size();
    let empty = of(json!({}));
    // iss, aud, sub, exp.
    let texts = ISS.len() + "gate".len() + "dana".len();
    assert_eq!(empty, 4 * (place + 3) + texts);
    for (name, value, more) in [
        ("ab", json!(1), place + 2),
        ("ab", json!(true), place + 2),
        ("a", json!("12345"), place + 1 + 5),
        ("a", json!(["12", "345", []]), place + 1 + 3 * item + 5),
        (
            "a",
            json!({"bcd": "ef", "g": 1}),
            place + 1 + (place + 3 + 2) + (place + 1),
        ),
        (
            "r",
            json!(["dev", "admin"]),
            place + 1 + 2 * item + 8 + (24 + 3) + (24 + 5),
        ),
    ] {
        assert_eq!(of(json!({ name: value })), empty + more, "{name} {value}");
    }
}

#[test]
fn debug_shows_no_claims() {
    let text = format!("{:?}", of(&[], json!({"secret": "hunter2"})));
    assert_eq!(text, r#"Identity { issuer: "idp", user: "dana", .. }"#);
}
