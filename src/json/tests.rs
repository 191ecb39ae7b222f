//! What is read, what is refused, and that serde_json agrees.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic
)]
use super::*;
use crate::testing::tree;
use proptest::prelude::*;
use serde_json::{Value, json};

fn nested(depth: usize, open: &str, close: &str) -> String {
    format!("{}1{}", open.repeat(depth), close.repeat(depth))
}

#[test]
fn every_kind_of_value_is_read() {
    let text = br#" {"n":null,"b":true,"i":-3,"u":18446744073709551615,"f":1.5,"s":"\u00e9\n","a":[1,"x",{}]} "#;
    let wanted = json!({"n": null, "b": true, "i": -3, "u": u64::MAX, "f": 1.5, "s": "é\n", "a": [1, "x", {}]});
    assert_eq!(parse(text), Ok(tree(&wanted)));
}

#[test]
fn duplicate_members_are_refused() {
    let duplicate = |name: &str| Err(JsonError::Duplicate(name.into()));
    assert_eq!(parse(br#"{"a":1,"a":1}"#), duplicate("a"));
    assert_eq!(
        parse(br#"{"x":[{"y":{"a":1,"b":2,"a":3}}]}"#),
        duplicate("a")
    );
    assert_eq!(parse(br#"{"":1,"":2}"#), duplicate(""));
}

#[test]
fn duplicate_members_after_unescaping_are_refused() {
    assert_eq!(
        parse(br#"{"iss":1,"\u0069ss":2}"#),
        Err(JsonError::Duplicate("iss".into()))
    );
    let pair = "{\"\u{1f600}\":1,\"\\ud83d\\ude00\":2}";
    assert_eq!(
        parse(pair.as_bytes()),
        Err(JsonError::Duplicate("\u{1f600}".into()))
    );
}

#[test]
fn same_name_in_another_object_is_accepted() {
    assert!(parse(br#"{"a":{"a":1},"b":{"a":1},"A":2}"#).is_ok());
}

#[test]
fn depth_64_passes_and_65_is_refused() {
    for (open, close) in [("[", "]"), (r#"{"a":"#, "}")] {
        assert!(parse(nested(64, open, close).as_bytes()).is_ok());
        assert_eq!(
            parse(nested(65, open, close).as_bytes()),
            Err(JsonError::TooDeep)
        );
    }
    assert_eq!(
        parse(nested(33, r#"[{"a":"#, "}]").as_bytes()),
        Err(JsonError::TooDeep)
    );
}

#[test]
fn many_brackets_do_not_overflow_the_stack() {
    assert_eq!(
        parse("[".repeat(16 * 1024).as_bytes()),
        Err(JsonError::TooDeep)
    );
    assert_eq!(
        parse(r#"{"":"#.repeat(4 * 1024).as_bytes()),
        Err(JsonError::TooDeep)
    );
}

#[test]
fn byte_order_mark_is_refused() {
    assert_eq!(parse(b"\xEF\xBB\xBF{}"), Err(JsonError::ByteOrderMark));
    assert_eq!(parse(b"\xFF\xFE{\0}\0"), Err(JsonError::NotUtf8));
}

#[test]
fn invalid_utf8_is_refused() {
    for text in [
        &b"\"\xFF\""[..],
        b"\"\xC0\xAF\"",
        b"\"\xED\xA0\x80\"",
        b"\xC3",
    ] {
        assert_eq!(parse(text), Err(JsonError::NotUtf8));
    }
}

#[test]
fn half_a_surrogate_pair_is_refused() {
    for text in [r#""\ud800""#, r#""\udc00""#, r#""\ud800\ud800""#] {
        assert!(
            matches!(parse(text.as_bytes()), Err(JsonError::Syntax(_))),
            "{text}"
        );
    }
}

#[test]
fn anything_after_the_value_is_refused() {
    for text in ["{} {}", "{}x", "{}\0", "1 2", "{},", "{}//", "{}\u{feff}"] {
        assert!(
            matches!(parse(text.as_bytes()), Err(JsonError::Syntax(_))),
            "{text:?}"
        );
    }
}

#[test]
fn what_is_not_json_is_refused() {
    let texts = [
        "",
        " ",
        "{",
        "[1,]",
        "{\"a\":1,}",
        "{a:1}",
        "'a'",
        "NaN",
        "Infinity",
        "01",
        "+1",
        "1.",
        ".5",
        "1e999",
        "\"\t\"",
        "\"\\x41\"",
        "/**/1",
        "tru",
        "{1:2}",
        "{null:1}",
    ];
    for text in texts {
        assert!(
            matches!(parse(text.as_bytes()), Err(JsonError::Syntax(_))),
            "{text:?}"
        );
    }
}

#[test]
fn syntax_errors_tell_the_place_and_no_content() {
    let error = parse(br#"{"password" "hunter2"}"#).unwrap_err();
    assert_eq!(error.to_string(), "not JSON: syntax, line 1 column 13");
    let error = parse(b"{").unwrap_err();
    assert_eq!(
        error.to_string(),
        "not JSON: ends too early, line 1 column 1"
    );
}

fn any_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        ".{0,8}".prop_map(Value::from),
    ];
    leaf.prop_recursive(6, 40, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
            prop::collection::btree_map("[a-c\"\\\\é]{0,3}", inner, 0..6)
                .prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn any_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = parse(&bytes);
    }

    #[test]
    fn json_like_text_never_panics_and_agrees_with_serde_json(text in r#"[\[\]{}:,"a\\u0e1 -]{0,40}"#) {
        match (parse(text.as_bytes()), serde_json::from_str::<Value>(&text)) {
            (Ok(ours), Ok(theirs)) => prop_assert_eq!(ours, tree(&theirs)),
            (Err(JsonError::Duplicate(_)), _) | (Err(_), Err(_)) => {}
            (ours, theirs) => prop_assert!(false, "{:?} {:?}", ours, theirs),
        }
    }

    #[test]
    fn what_serde_json_writes_is_read_back(value in any_value()) {
        prop_assert_eq!(parse(&serde_json::to_vec(&value).unwrap()), Ok(tree(&value)));
        prop_assert_eq!(parse(&serde_json::to_vec_pretty(&value).unwrap()), Ok(tree(&value)));
    }

    #[test]
    fn a_member_said_again_is_refused_wherever_it_stands(value in any_value(), name in "[a-z]{1,4}", depth in 0_usize..60) {
        let escaped: String = name.bytes().map(|byte| format!("\\u{byte:04x}")).collect();
        let object = format!(r#"{{"{name}":{value},"x1":0,"{escaped}":{value}}}"#);
        let text = format!("{}{object}{}", "[".repeat(depth), "]".repeat(depth));
        let refused = parse(text.as_bytes());
        // The value itself may be too deep at that place.
        prop_assert!(refused == Err(JsonError::Duplicate(name)) || refused == Err(JsonError::TooDeep));
    }
}
