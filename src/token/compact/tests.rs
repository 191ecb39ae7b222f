//! Each refusal by name, with its reason.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic
)]

use super::*;
use crate::testing::{object, tree};
use serde_json::json;

pub(super) fn encode(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

fn token(header: &str, claims: &str) -> String {
    format!(
        "{}.{}.{}",
        encode(header),
        encode(claims),
        encode("signature")
    )
}

pub(super) fn with_header(header: &str) -> Result<Header, Error> {
    Unverified::parse(token(header, "{}").as_bytes()).map(|token| token.header)
}

fn reason(text: &str) -> Reason {
    Unverified::parse(text.as_bytes()).unwrap_err().reason()
}

/// The reason for a header with one member more than it needs.
fn reason_with(member: &str) -> Option<Reason> {
    with_header(&format!(r#"{{"alg":"RS256",{member}}}"#))
        .err()
        .map(|error| error.reason())
}

#[test]
fn good_token_is_read() {
    let text = token(
        r#"{"alg":"ES256","kid":"k1","typ":"JWT"}"#,
        r#"{"iss":"https://i","n":[1]}"#,
    );
    let token = Unverified::parse(text.as_bytes()).unwrap();
    assert_eq!(
        *token.header(),
        Header {
            alg: Algorithm::ES256,
            kid: Some("k1".into()),
            nonce: false
        }
    );
    assert_eq!(
        token.signing_input(),
        text.rsplit_once('.').unwrap().0.as_bytes()
    );
    assert_eq!(token.signature(), b"signature");
    assert_eq!(token.issuer(), Ok("https://i"));
    assert_eq!(token.peek("n"), Some(&tree(&json!([1]))));
    assert_eq!(
        token.into_claims(),
        object(&json!({"iss": "https://i", "n": [1]}))
    );
}

#[test]
fn rfc7515_example_is_read_and_its_hmac_refused() {
    // RFC 7515 appendix A.1.
    let text = "eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFt\
                cGxlLmNvbS9pc19yb290Ijp0cnVlfQ.dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
    assert_eq!(reason(text), Reason::Algorithm);
}

#[test]
fn rfc7520_example_is_read() {
    // RFC 7520 section 4.1, header; the payload there is not JSON.
    let header = "eyJhbGciOiJSUzI1NiIsImtpZCI6ImJpbGJvLmJhZ2dpbnNAaG9iYml0b24uZXhhbXBsZSJ9";
    let text = format!("{header}.{}.AA", encode("{}"));
    let token = Unverified::parse(text.as_bytes()).unwrap();
    assert_eq!(
        token.header().kid.as_deref(),
        Some("bilbo.baggins@hobbiton.example")
    );
}

#[test]
fn size_16384_passes_and_16385_is_refused() {
    let unsigned = format!("{}.{}.", encode(r#"{"alg":"RS256"}"#), encode("{}"));
    let of_size = |size: usize| format!("{unsigned}{}", "A".repeat(size - unsigned.len()));
    assert!(Unverified::parse(of_size(16_384).as_bytes()).is_ok());
    assert_eq!(reason(&of_size(16_385)), Reason::TokenTooLarge);
    // Before anything else is looked at.
    assert_eq!(reason(&".".repeat(16_385)), Reason::TokenTooLarge);
}

#[test]
fn other_than_three_parts_is_refused() {
    let good = token(r#"{"alg":"RS256"}"#, "{}");
    for (text, count) in [
        (String::new(), 1),
        ("opaque".into(), 1),
        (good.rsplit_once('.').unwrap().0.into(), 2),
        (format!("{good}."), 4),
        (format!("{good}.AAAA"), 4),
        (format!("{good}.AAAA.AAAA"), 5),
        (format!(".{good}"), 4),
    ] {
        let error = Unverified::parse(text.as_bytes()).unwrap_err();
        assert_eq!(error, Error::Parts(count), "{text}");
        assert_eq!(error.reason(), Reason::TokenMalformed);
    }
}

#[test]
fn bytes_that_are_no_text_are_refused() {
    let mut text = token(r#"{"alg":"RS256"}"#, "{}").into_bytes();
    text.push(0xFF);
    let error = Unverified::parse(&text).unwrap_err();
    assert_eq!(
        (error.reason(), error),
        (Reason::TokenMalformed, Error::NotText)
    );
}

#[test]
fn empty_parts_are_refused() {
    let (header, claims) = (encode(r#"{"alg":"RS256"}"#), encode("{}"));
    for text in [
        format!(".{claims}.AA"),
        format!("{header}..AA"),
        format!("{header}.{claims}."),
        "..".into(),
    ] {
        assert_eq!(reason(&text), Reason::TokenMalformed, "{text}");
    }
}

#[test]
fn other_encodings_of_the_same_bytes_are_refused() {
    let good = format!("{}.{}.AA", encode(r#"{"alg":"RS256"}"#), encode("{ }"));
    assert!(Unverified::parse(good.as_bytes()).is_ok());
    let (header, rest) = good.split_once('.').unwrap();
    let claims = encode("{ }");
    for text in [
        format!("{good}=="),
        format!("{good}="),
        format!("{good} "),
        format!("{good}\n"),
        format!(" {good}"),
        format!("{header}=.{rest}"),
        format!("{header}\n.{rest}"),
        format!("{header}.{claims}.A\tA"),
        format!("{header}.{claims}.AB"), // bits left over
        format!("{header}.{claims}.A"),  // no such length
        format!("{header}.{claims}.A+AA"),
        format!("{header}.{claims}.A/AA"),
        format!("{header}.{claims}.AA%3D"),
        format!("{header}.{claims}.\u{ff21}\u{ff21}"),
        format!("{header}.{claims}.AA\0"),
    ] {
        let error = Unverified::parse(text.as_bytes()).unwrap_err();
        assert!(matches!(error, Error::Encoding(..)), "{text:?}: {error}");
        assert_eq!(error.reason(), Reason::TokenMalformed);
    }
    let faults = ["AA==", "A A", "A+A", "A", "AB"].map(|text| {
        decode(Part::Claims, text, &mut [0; 12])
            .unwrap_err()
            .to_string()
    });
    let wanted = [
        "padding",
        "white space",
        "a character outside the alphabet",
        "an impossible length",
        "bits left over in the last character",
    ];
    assert_eq!(
        faults,
        wanted.map(|fault| format!("the claims part is not canonical base64url: {fault}"))
    );
}

#[test]
fn parts_that_are_not_strict_json_objects_are_refused() {
    let good = r#"{"alg":"RS256"}"#;
    let deep = format!(
        r#"{{"alg":"RS256","a":{}{}}}"#,
        "[".repeat(64),
        "]".repeat(64)
    );
    let fits = format!(
        r#"{{"alg":"RS256","a":{}{}}}"#,
        "[".repeat(63),
        "]".repeat(63)
    );
    assert!(Unverified::parse(token(&fits, &fits).as_bytes()).is_ok());
    let bad = [
        "[]",
        "1",
        "null",
        r#""x""#,
        "",
        "{",
        r#"{"alg":"RS256"}x"#,
        "\u{feff}{\"alg\":\"RS256\"}",
        &deep,
        "{'a':1}",
    ];
    for bad in bad {
        assert_eq!(
            reason(&token(bad, "{}")),
            Reason::TokenMalformed,
            "header {bad}"
        );
        assert_eq!(
            reason(&token(good, bad)),
            Reason::TokenMalformed,
            "claims {bad}"
        );
    }
    let latin1 = format!("{}.{}.AA", encode(good), encode(b"{\"a\":\"\xE9\"}"));
    assert_eq!(reason(&latin1), Reason::TokenMalformed);
}

#[test]
fn duplicate_members_are_refused() {
    for twice in [
        r#"{"alg":"RS256","alg":"RS256"}"#,
        r#"{"alg":"RS256","a":[{"b":1,"\u0062":2}]}"#,
    ] {
        assert_eq!(reason(&token(twice, "{}")), Reason::DuplicateMember);
        assert_eq!(
            reason(&token(r#"{"alg":"RS256"}"#, twice)),
            Reason::DuplicateMember
        );
    }
}

#[test]
fn the_algorithms_are_read_by_each_of_their_names() {
    for (name, alg) in [
        ("RS256", Algorithm::RS256),
        ("RS384", Algorithm::RS384),
        ("RS512", Algorithm::RS512),
        ("PS256", Algorithm::PS256),
        ("PS384", Algorithm::PS384),
        ("PS512", Algorithm::PS512),
        ("ES256", Algorithm::ES256),
        ("ES384", Algorithm::ES384),
        ("EdDSA", Algorithm::EdDSA),
        ("Ed25519", Algorithm::EdDSA),
    ] {
        assert_eq!(
            with_header(&format!(r#"{{"alg":"{name}"}}"#)).unwrap().alg,
            alg
        );
    }
}

#[test]
fn other_algorithms_are_refused() {
    let spellings = [
        "none",
        "None",
        "NONE",
        "nOnE",
        "",
        " ",
        "HS256",
        "HS384",
        "HS512",
        "hs256",
        "rs256",
        "Rs256",
        "RS256 ",
        " RS256",
        "RS256\\u0000",
        "ES512",
        "ES256K",
        "eddsa",
        "EDDSA",
        "ED25519",
        "Ed448",
        "RSA-OAEP",
        "dir",
        "RS1",
        "RS2565",
    ];
    for alg in spellings {
        let error = with_header(&format!(r#"{{"alg":"{alg}"}}"#)).unwrap_err();
        assert_eq!(error.reason(), Reason::Algorithm, "{alg}");
    }
    for header in [
        "{}",
        r#"{"Alg":"RS256"}"#,
        r#"{"alg":null}"#,
        r#"{"alg":256}"#,
        r#"{"alg":["RS256"]}"#,
    ] {
        assert_eq!(
            with_header(header).unwrap_err().reason(),
            Reason::Algorithm,
            "{header}"
        );
    }
}

#[test]
fn algorithm_none_with_an_empty_signature_is_refused_as_algorithm() {
    let text = format!("{}.{}.", encode(r#"{"alg":"none"}"#), encode("{}"));
    assert_eq!(reason(&text), Reason::Algorithm);
}

#[test]
fn critical_headers_are_refused() {
    for crit in [
        r#"["exp"]"#,
        "[]",
        "null",
        r#""b64""#,
        "false",
        r#"["b64"],"b64":true"#,
    ] {
        assert_eq!(
            reason_with(&format!(r#""crit":{crit}"#)),
            Some(Reason::Critical),
            "{crit}"
        );
    }
    for b64 in ["false", r#""true""#, "1", "[true]"] {
        assert_eq!(
            reason_with(&format!(r#""b64":{b64}"#)),
            Some(Reason::Critical),
            "{b64}"
        );
    }
    assert_eq!(reason_with(r#""b64":true"#), None);
}

#[test]
fn types_other_than_jwt_are_refused() {
    for typ in [
        "JWT",
        "jwt",
        "Jwt",
        "at+jwt",
        "AT+JWT",
        "application/jwt",
        "application/JWT",
        "Application/At+Jwt",
    ] {
        assert_eq!(reason_with(&format!(r#""typ":"{typ}""#)), None, "{typ}");
    }
    for typ in [
        r#""""#,
        r#""JWS""#,
        r#""JOSE""#,
        r#""dpop+jwt""#,
        r#""logout+jwt""#,
        r#""gate-assertion+jwt""#,
        r#""secevent+jwt""#,
        r#""text/jwt""#,
        r#""application/application/jwt""#,
        r#""jwt ""#,
        r#""jwt; charset=utf-8""#,
        "1",
        r#"["JWT"]"#,
    ] {
        assert_eq!(
            reason_with(&format!(r#""typ":{typ}"#)),
            Some(Reason::Type),
            "{typ}"
        );
    }
}

#[test]
fn nested_tokens_are_refused() {
    for cty in [r#""JWT""#, r#""jwt""#, r#""application/jwt""#, "[]"] {
        assert_eq!(
            reason_with(&format!(r#""cty":{cty}"#)),
            Some(Reason::Type),
            "{cty}"
        );
    }
    assert_eq!(reason_with(r#""cty":"json""#), None);
}

#[test]
fn members_of_encrypted_tokens_are_unknown_members_of_a_signed_one() {
    for member in [
        r#""enc":"A256GCM""#,
        r#""zip":"DEF""#,
        r#""zip":null"#,
        r#""enc":[{}]"#,
        r#""epk":1,"apu":{}"#,
    ] {
        assert_eq!(reason_with(member), None, "{member}");
    }
    let five = format!(
        "{}.a.b.c.d",
        encode(r#"{"alg":"RSA-OAEP","enc":"A256GCM"}"#)
    );
    assert_eq!(reason(&five), Reason::TokenMalformed);
}

#[test]
fn a_member_that_is_null_is_absent() {
    for name in [
        "kid", "typ", "cty", "b64", "nonce", "enc", "zip", "jwk", "jku", "x5u", "x5c", "x5t",
        "x5t#S256",
    ] {
        let header = with_header(&format!(r#"{{"alg":"RS256","{name}":null}}"#)).unwrap();
        assert_eq!(header, with_header(r#"{"alg":"RS256"}"#).unwrap(), "{name}");
    }
    assert_eq!(with_header(r#"{"alg":null}"#), Err(Error::Algorithm(None)));
}

#[test]
fn key_id_of_the_wrong_type_is_refused() {
    for kid in ["1", "[]", "{}", "true"] {
        assert_eq!(
            reason_with(&format!(r#""kid":{kid}"#)),
            Some(Reason::TokenMalformed),
            "{kid}"
        );
    }
    assert_eq!(reason_with(r#""kid":"""#), None);
}

#[test]
fn keys_in_the_header_are_ignored() {
    let keys = r#""jwk":{"kty":"oct"},"jku":"http://x","x5u":7,"x5c":null,"x5t":"x""#;
    assert_eq!(reason_with(keys), None);
}

#[test]
fn nonce_of_microsoft_graph_is_seen_and_accepted() {
    assert!(with_header(r#"{"alg":"RS256","nonce":"x"}"#).unwrap().nonce);
    assert!(!with_header(r#"{"alg":"RS256"}"#).unwrap().nonce);
}

#[test]
fn issuer_that_is_not_a_string_is_refused() {
    for (claims, wanted) in [
        (r#"{"iss":["https://i"]}"#, Reason::ClaimType),
        (r#"{"iss":null}"#, Reason::ClaimType),
        (r#"{"iss":1}"#, Reason::ClaimType),
        (r#"{"ISS":"https://i"}"#, Reason::IssuerUnknown),
    ] {
        let text = token(r#"{"alg":"RS256"}"#, claims);
        assert_eq!(
            Unverified::parse(text.as_bytes())
                .unwrap()
                .issuer()
                .unwrap_err()
                .reason(),
            wanted
        );
    }
}

#[test]
fn the_first_fault_on_the_way_is_told() {
    assert_eq!(
        with_header(r#"{"alg":"none","crit":[],"typ":"x"}"#)
            .unwrap_err()
            .reason(),
        Reason::Algorithm
    );
    assert_eq!(
        reason_with(r#""crit":[],"typ":"x""#),
        Some(Reason::Critical)
    );
    assert_eq!(
        reason(&token(r#"{"alg":"HS256"}"#, "not json")),
        Reason::Algorithm
    );
    assert_eq!(
        reason(&format!("{}.a b.AA", encode(r#"{"alg":"HS256"}"#))),
        Reason::Algorithm
    );
}

#[test]
fn errors_and_debug_show_no_token_text() {
    let secret = "c2VjcmV0LXRva2Vu";
    for text in [
        secret.to_owned(),
        format!("{secret}.{secret}.{secret}"),
        format!("{secret}!.{secret}.{secret}"),
    ] {
        let error = Unverified::parse(text.as_bytes()).unwrap_err();
        assert!(
            !error.to_string().contains("c2V") && !error.to_string().contains("secret"),
            "{error}"
        );
    }
    let text = token(r#"{"alg":"RS256"}"#, r#"{"sub":"secret"}"#);
    let shown = format!("{:?}", Unverified::parse(text.as_bytes()).unwrap());
    assert!(
        !shown.contains("secret") && !shown.contains("sub"),
        "{shown}"
    );
    let long = with_header(&format!(r#"{{"alg":"{}\n"}}"#, "x".repeat(500)))
        .unwrap_err()
        .to_string();
    assert!(long.len() < 250, "{long}");
}

#[test]
fn another_credential_is_named_and_its_secret_is_not_shown() {
    for (text, wanted) in [
        ("$GATE_TOKEN", "a variable"),
        ("${GATE_TOKEN}", "a variable"),
        ("%GATE_TOKEN%", "a variable"),
        ("glpat-S3CRET", "a personal access token"),
        ("glpat-S3CRET.01.S3CRET", "a personal access token"),
        ("glcbt-64_S3CRET", "a CI_JOB_TOKEN"),
        ("gldt-S3CRET", "a deploy token"),
        ("Bearer S3CRET.a.b", "its scheme"),
    ] {
        let shown = parts(text.as_bytes()).unwrap_err().to_string();
        assert!(
            shown.contains(wanted) && !shown.contains("S3CRET"),
            "{shown}"
        );
    }
}
