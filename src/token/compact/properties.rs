//! What holds for every token, and for every text that is none.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic
)]

use super::tests::{encode, with_header};
use super::*;
use proptest::prelude::*;

/// Tokens whose JSON has no two ways to be written: no white space, numbers or escapes.
fn parts_of_a_token() -> impl Strategy<Value = [String; 3]> {
    let claims = prop::collection::btree_map("[a-z]{1,5}", "[a-zA-Z0-9]{0,8}", 0..5);
    (
        "[a-z0-9]{0,5}",
        claims,
        prop::collection::vec(any::<u8>(), 1..40),
    )
        .prop_map(|(kid, claims, signature)| {
            let header = format!(r#"{{"alg":"ES256","kid":"{kid}"}}"#);
            [
                encode(header),
                encode(serde_json::to_string(&claims).unwrap()),
                encode(signature),
            ]
        })
}

proptest! {
    #[test]
    fn any_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let _ = Unverified::parse(&bytes);
    }

    #[test]
    fn any_parts_never_panic(
        header in prop_oneof![Just(&br#"{"alg":"RS256"}"#[..]).prop_map(<[u8]>::to_vec), prop::collection::vec(any::<u8>(), 0..60)],
        claims in prop_oneof![prop::collection::vec(any::<u8>(), 0..60), r#"[\[\]{}:,"ab\\u0 1]{0,30}"#.prop_map(String::into_bytes)],
        signature in prop::collection::vec(any::<u8>(), 0..60),
        tail in "[.=A ]{0,2}",
    ) {
        let text = format!("{}.{}.{}{tail}", encode(header), encode(claims), encode(signature));
        match Unverified::parse(text.as_bytes()) {
            Ok(token) => {
                let _ = token.issuer();
            }
            Err(error) => {
                let _ = (error.reason(), error.to_string());
            }
        }
    }

    #[test]
    fn header_members_of_any_type_never_panic(
        name in "alg|crit|b64|typ|cty|enc|zip|kid|nonce|jwk",
        value in r#"null|true|1|-1\.5|""|"JWT"|"none"|\[\]|\{\}|\["a"\]"#,
    ) {
        let _ = with_header(&format!(r#"{{"{name}":{value}}}"#));
        let _ = with_header(&format!(r#"{{"x":1,"alg":"RS256","{name}":{value}}}"#));
    }

    #[test]
    fn each_part_has_one_encoding_and_no_other(text in "[A-Za-z0-9_=+/ -]{0,12}") {
        let mut buffer = [0; 12];
        if let Ok(bytes) = decode(Part::Claims, &text, &mut buffer) {
            prop_assert_eq!(encode(bytes), text);
        }
    }

    #[test]
    fn a_changed_byte_makes_another_token_or_none(
        mut parts in parts_of_a_token(),
        part in 0_usize..3,
        at in any::<prop::sample::Index>(),
        byte in prop_oneof![any::<u8>(), prop::sample::select(&b"ABQgwxyz0189-_=+/. "[..])],
    ) {
        let text = parts.join(".");
        let before = Unverified::parse(text.as_bytes()).unwrap();
        let mut changed = std::mem::take(&mut parts[part]).into_bytes();
        let at = at.index(changed.len());
        prop_assume!(changed[at] != byte);
        changed[at] = byte;
        let mut bytes = Vec::new();
        for (index, other) in parts.iter().enumerate() {
            bytes.extend_from_slice(if index == part { &changed } else { other.as_bytes() });
            if index < 2 {
                bytes.push(b'.');
            }
        }
        if let Ok(after) = Unverified::parse(&bytes) {
            prop_assert_ne!(after.signing_input() == before.signing_input(), part < 2);
            let same = after.header == before.header && after.claims == before.claims && after.signature == before.signature;
            prop_assert!(!same);
        }
    }

    #[test]
    fn what_is_read_is_what_was_written(parts in parts_of_a_token()) {
        let text = parts.join(".");
        let token = Unverified::parse(text.as_bytes()).unwrap();
        prop_assert_eq!(encode(token.signature()), parts[2].as_str());
        let signed = [parts[0].as_bytes(), parts[1].as_bytes()].join(&b'.');
        prop_assert_eq!(token.signing_input(), signed);
        prop_assert_eq!(encode(serde_json::to_string(&token.into_claims()).unwrap()), parts[1].as_str());
    }
}
