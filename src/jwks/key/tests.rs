#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic
)]

use super::*;
use crate::jwks::testing::{ec, ed25519, encoded, modulus, rsa_jwk, rsa_pair, rsa_sign};
use crate::testing::tree;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use serde_json::{Value, json};

const MESSAGE: &[u8] = b"header.claims";

/// The JWK with one member set, or removed where the value is null.
fn with(mut jwk: Value, member: &str, value: Value) -> Value {
    let object = jwk.as_object_mut().unwrap();
    match value {
        Value::Null => object.remove(member),
        value => object.insert(member.to_owned(), value),
    };
    jwk
}

fn unfit(jwk: &Value) -> Unfit {
    Key::from_jwk(&tree(jwk)).unwrap_err()
}

#[test]
fn an_rsa_key_without_alg_serves_each_rsa_algorithm_and_no_other() {
    let key = Key::from_jwk(&tree(&rsa_jwk("a"))).unwrap();
    let cases: [(Algorithm, &'static dyn aws::RsaEncoding); 6] = [
        (Algorithm::RS256, &aws::RSA_PKCS1_SHA256),
        (Algorithm::RS384, &aws::RSA_PKCS1_SHA384),
        (Algorithm::RS512, &aws::RSA_PKCS1_SHA512),
        (Algorithm::PS256, &aws::RSA_PSS_SHA256),
        (Algorithm::PS384, &aws::RSA_PSS_SHA384),
        (Algorithm::PS512, &aws::RSA_PSS_SHA512),
    ];
    for (algorithm, encoding) in cases {
        let signature = rsa_sign(encoding, MESSAGE);
        assert_eq!(key.verify(algorithm, MESSAGE, &signature), Ok(()));
        assert_eq!(
            key.verify(algorithm, b"another", &signature),
            Err(KeyError::Signature)
        );
        let other = if algorithm == Algorithm::RS256 {
            Algorithm::PS256
        } else {
            Algorithm::RS256
        };
        assert_eq!(
            key.verify(other, MESSAGE, &signature),
            Err(KeyError::Signature)
        );
    }
    for algorithm in [Algorithm::ES256, Algorithm::EdDSA, Algorithm::HS256] {
        assert_eq!(key.verify(algorithm, MESSAGE, &[]), Err(KeyError::Unfit));
    }
}

#[test]
fn an_rsa_key_with_alg_serves_that_one_only() {
    let key = Key::from_jwk(&tree(&with(rsa_jwk("a"), "alg", json!("RS512")))).unwrap();
    assert_eq!(key.algorithms().collect::<Vec<_>>(), [Algorithm::RS512]);
    let signature = rsa_sign(&aws::RSA_PKCS1_SHA256, MESSAGE);
    assert_eq!(
        key.verify(Algorithm::RS256, MESSAGE, &signature),
        Err(KeyError::Unfit)
    );
}

#[test]
fn elliptic_keys_serve_their_curve_s_algorithm_only() {
    for (curve, own, other, length) in [
        ("P-256", Algorithm::ES256, Algorithm::ES384, 64),
        ("P-384", Algorithm::ES384, Algorithm::ES256, 96),
    ] {
        let (pair, jwk) = ec(curve, "e");
        let key = Key::from_jwk(&tree(&jwk)).unwrap();
        let signature = pair.sign(&SystemRandom::new(), MESSAGE).unwrap();
        let signature = signature.as_ref();
        assert_eq!(signature.len(), length);
        assert_eq!(key.verify(own, MESSAGE, signature), Ok(()));
        assert_eq!(key.verify(other, MESSAGE, signature), Err(KeyError::Unfit));
    }
}

#[test]
fn a_key_whose_alg_is_its_own_is_fit() {
    for (jwk, name, algorithm) in [
        (ec("P-256", "e").1, "ES256", Algorithm::ES256),
        (ec("P-384", "e").1, "ES384", Algorithm::ES384),
        (ed25519("o").1, "EdDSA", Algorithm::EdDSA),
    ] {
        let key = Key::from_jwk(&tree(&with(jwk, "alg", json!(name)))).unwrap();
        assert_eq!(key.algorithms().collect::<Vec<_>>(), [algorithm]);
    }
}

#[test]
fn an_ecdsa_signature_that_is_not_exactly_r_and_s_is_refused() {
    let (pair, jwk) = ec("P-256", "e");
    let key = Key::from_jwk(&tree(&jwk)).unwrap();
    let good = pair.sign(&SystemRandom::new(), MESSAGE).unwrap();
    let good = good.as_ref();
    let der = {
        let pair = aws::EcdsaKeyPair::from_pkcs8(
            &aws::ECDSA_P256_SHA256_ASN1_SIGNING,
            pair.to_pkcs8v1().unwrap().as_ref(),
        )
        .unwrap();
        pair.sign(&SystemRandom::new(), MESSAGE)
            .unwrap()
            .as_ref()
            .to_vec()
    };
    let padded = [&[0][..], &good[..32], &[0], &good[32..]].concat();
    for bad in [
        &good[..63],
        &[good, &[0]].concat(),
        &padded,
        &der,
        &[0; 64],
        &[],
    ] {
        assert_eq!(
            key.verify(Algorithm::ES256, MESSAGE, bad),
            Err(KeyError::Signature),
            "{} bytes",
            bad.len()
        );
    }
}

#[test]
fn an_ed25519_key_serves_eddsa_only() {
    let (pair, jwk) = ed25519("o");
    for jwk in [
        jwk.clone(),
        with(jwk.clone(), "alg", json!("EdDSA")),
        with(jwk.clone(), "alg", json!("Ed25519")),
    ] {
        let key = Key::from_jwk(&tree(&jwk)).unwrap();
        let signature = pair.sign(MESSAGE);
        let signature = signature.as_ref();
        assert_eq!(key.verify(Algorithm::EdDSA, MESSAGE, signature), Ok(()));
        assert_eq!(
            key.verify(Algorithm::EdDSA, MESSAGE, &signature[..63]),
            Err(KeyError::Signature)
        );
        assert_eq!(
            key.verify(Algorithm::ES256, MESSAGE, signature),
            Err(KeyError::Unfit)
        );
    }
    assert_eq!(
        unfit(&with(jwk, "alg", json!("ES256"))),
        Unfit::Algorithm("\"ES256\"".to_owned())
    );
}

#[test]
fn a_key_is_jsonwebtoken_s_own_kind_of_verifier() {
    let key = Key::from_jwk(&tree(&rsa_jwk("a"))).unwrap();
    let verifier: &dyn JwtVerifier = key.verifier(Algorithm::PS256).unwrap();
    let signature = rsa_sign(&aws::RSA_PSS_SHA256, MESSAGE);
    assert_eq!(verifier.algorithm(), Algorithm::PS256);
    assert!(verifier.verify(MESSAGE, &signature).is_ok());
    assert!(verifier.verify(b"another", &signature).is_err());
    assert!(key.verifier(Algorithm::ES256).is_none());
}

#[test]
fn a_key_for_another_use_is_unfit() {
    let jwk = rsa_jwk("a");
    assert_eq!(
        unfit(&with(jwk.clone(), "use", json!("enc"))),
        Unfit::Use("\"enc\"".to_owned())
    );
    assert_eq!(
        unfit(&with(jwk.clone(), "use", json!(1))),
        Unfit::Type("use")
    );
    for operations in [json!([]), json!(["sign"]), json!(["Verify"])] {
        assert_eq!(
            unfit(&with(jwk.clone(), "key_ops", operations)),
            Unfit::KeyOps
        );
    }
    for operations in [json!("verify"), json!(["verify", 1]), json!({"verify": 1})] {
        assert_eq!(
            unfit(&with(jwk.clone(), "key_ops", operations)),
            Unfit::Type("key_ops")
        );
    }
    assert!(
        Key::from_jwk(&tree(&with(
            jwk.clone(),
            "key_ops",
            json!(["sign", "verify"])
        )))
        .is_ok()
    );
    assert!(Key::from_jwk(&tree(&with(jwk, "use", Value::Null))).is_ok());
}

#[test]
fn a_key_of_an_unknown_kind_is_unfit() {
    let jwk = rsa_jwk("a");
    assert_eq!(unfit(&json!([])), Unfit::NotAnObject);
    assert_eq!(unfit(&json!(null)), Unfit::NotAnObject);
    assert_eq!(unfit(&json!({})), Unfit::Missing("kty"));
    assert_eq!(
        unfit(&with(jwk.clone(), "kty", json!(3))),
        Unfit::Type("kty")
    );
    assert_eq!(
        unfit(&json!({"kty": "oct"})),
        Unfit::KeyType("\"oct\"".to_owned())
    );
    assert_eq!(
        unfit(&with(jwk.clone(), "kty", json!("rsa"))),
        Unfit::KeyType("\"rsa\"".to_owned())
    );
    for name in ["none", "HS256", "ES256", "RSA-OAEP", "rs256", ""] {
        assert_eq!(
            unfit(&with(jwk.clone(), "alg", json!(name))),
            Unfit::Algorithm(format!("\"{name}\""))
        );
    }
    assert_eq!(
        unfit(&with(jwk.clone(), "alg", json!(1))),
        Unfit::Type("alg")
    );
    assert_eq!(unfit(&with(jwk, "kid", json!(7))), Unfit::Type("kid"));
    let (_, p256) = ec("P-256", "e");
    for name in ["ES384", "RS256", "HS256"] {
        assert_eq!(
            unfit(&with(p256.clone(), "alg", json!(name))),
            Unfit::Algorithm(format!("\"{name}\""))
        );
    }
    for curve in ["P-521", "secp256k1", "Ed448"] {
        assert_eq!(
            unfit(&with(p256.clone(), "crv", json!(curve))),
            Unfit::Curve(format!("\"{curve}\""))
        );
    }
    let (_, edwards) = ed25519("o");
    assert_eq!(
        unfit(&with(edwards, "crv", json!("X25519"))),
        Unfit::Curve("\"X25519\"".to_owned())
    );
}

#[test]
fn a_key_with_private_members_is_unfit() {
    for member in ["d", "p", "q", "dp", "dq", "qi", "oth", "k"] {
        for (_, jwk) in [
            (0, rsa_jwk("a")),
            (1, ec("P-256", "e").1),
            (2, ed25519("o").1),
        ] {
            assert_eq!(
                unfit(&with(jwk, member, json!("AQAB"))),
                Unfit::Private(member)
            );
        }
    }
}

#[test]
fn a_key_whose_numbers_are_missing_or_no_base64url_is_unfit() {
    for (jwk, member) in [
        (rsa_jwk("a"), "n"),
        (rsa_jwk("a"), "e"),
        (ec("P-256", "e").1, "x"),
        (ec("P-384", "e").1, "y"),
        (ed25519("o").1, "x"),
    ] {
        let good = jwk[member].as_str().unwrap().to_owned();
        assert_eq!(
            unfit(&with(jwk.clone(), member, Value::Null)),
            Unfit::Missing(member)
        );
        assert_eq!(
            unfit(&with(jwk.clone(), member, json!([1]))),
            Unfit::Type(member)
        );
        for bad in [
            format!("{good}="),
            format!(" {good}"),
            format!("{good}\n"),
            "+/+/".to_owned(),
            // The last character holds bits that no byte takes.
            "AQB".to_owned(),
        ] {
            assert_eq!(
                unfit(&with(jwk.clone(), member, json!(bad))),
                Unfit::Base64(member),
                "{bad}"
            );
        }
    }
    let (_, jwk) = ec("P-256", "e");
    assert_eq!(unfit(&with(jwk, "crv", Value::Null)), Unfit::Missing("crv"));
}

#[test]
fn an_rsa_key_under_2048_or_over_8192_bits_is_unfit() {
    let sized = |bits: usize| {
        let mut n = vec![0xff; bits.div_ceil(8)];
        n[0] = 0xff >> (n.len() * 8 - bits);
        with(rsa_jwk("a"), "n", json!(encoded(&n)))
    };
    for bits in [1, 1024, 2047, 8193, 16_384] {
        assert_eq!(unfit(&sized(bits)), Unfit::RsaBits(bits));
    }
    for bits in [2048, 2049, 8192] {
        assert!(Key::from_jwk(&tree(&sized(bits))).is_ok(), "{bits}");
    }
    let zeros = with(rsa_jwk("a"), "n", json!(encoded(&[0; 256])));
    assert_eq!(unfit(&zeros), Unfit::RsaBits(0));
    let empty = with(rsa_jwk("a"), "n", json!(""));
    assert_eq!(unfit(&empty), Unfit::RsaBits(0));
}

#[test]
fn an_rsa_key_with_weak_numbers_is_unfit() {
    for exponent in [
        &[][..],
        &[0],
        &[1],
        &[2],
        &[1, 0, 0],
        &[2, 0, 0, 0, 1],
        &[1; 9],
        &[1; 300],
    ] {
        let jwk = with(rsa_jwk("a"), "e", json!(encoded(exponent)));
        assert_eq!(unfit(&jwk), Unfit::RsaExponent, "{exponent:?}");
    }
    assert!(Key::from_jwk(&tree(&with(rsa_jwk("a"), "e", json!("Aw")))).is_ok());
    let mut even = modulus(rsa_pair());
    *even.last_mut().unwrap() &= 0xfe;
    let jwk = with(rsa_jwk("a"), "n", json!(encoded(&even)));
    assert_eq!(unfit(&jwk), Unfit::RsaModulus);
}

#[test]
fn leading_zeros_of_an_rsa_number_change_nothing() {
    let zeros = [&[0, 0][..], &modulus(rsa_pair())].concat();
    let jwk = with(rsa_jwk("a"), "n", json!(encoded(&zeros)));
    let jwk = with(jwk, "e", json!(encoded(&[0, 1, 0, 1])));
    let key = Key::from_jwk(&tree(&jwk)).unwrap();
    assert!(key.same_as(&Key::from_jwk(&tree(&rsa_jwk("a"))).unwrap()));
    let signature = rsa_sign(&aws::RSA_PKCS1_SHA256, MESSAGE);
    assert_eq!(key.verify(Algorithm::RS256, MESSAGE, &signature), Ok(()));
}

#[test]
fn a_point_off_its_curve_or_of_the_wrong_length_is_unfit() {
    for curve in ["P-256", "P-384"] {
        let (_, jwk) = ec(curve, "e");
        let y = URL_SAFE_NO_PAD.decode(jwk["y"].as_str().unwrap()).unwrap();
        let mut wrong = y.clone();
        wrong[5] ^= 1;
        let off = with(jwk.clone(), "y", json!(encoded(&wrong)));
        assert_eq!(unfit(&off), Unfit::Point);
        let zero = vec![0; y.len()];
        let origin = with(jwk.clone(), "x", json!(encoded(&zero)));
        let origin = with(origin, "y", json!(encoded(&zero)));
        assert_eq!(unfit(&origin), Unfit::Point);
        for length in [0, y.len() + 1, y.len() + 40] {
            let long = with(jwk.clone(), "y", json!(encoded(&vec![1; length])));
            assert_eq!(unfit(&long), Unfit::Length("y"));
        }
        for short in [&y[1..], &y[..y.len() - 1], &[0], &[1]] {
            let short = with(jwk.clone(), "y", json!(encoded(short)));
            assert_eq!(unfit(&short), Unfit::Point);
        }
    }
    let (_, p256) = ec("P-256", "e");
    assert_eq!(unfit(&with(p256, "crv", json!("P-384"))), Unfit::Point);
    let (_, p384) = ec("P-384", "e");
    assert_eq!(
        unfit(&with(p384, "crv", json!("P-256"))),
        Unfit::Length("x")
    );
    let (_, edwards) = ed25519("o");
    assert_eq!(
        unfit(&with(edwards, "x", json!(encoded(&[1; 31])))),
        Unfit::Length("x")
    );
}

#[test]
fn zero_bytes_in_front_of_a_coordinate_change_nothing() {
    for (curve, algorithm) in [("P-256", Algorithm::ES256), ("P-384", Algorithm::ES384)] {
        // One key in 128 has a coordinate that begins with a zero byte.
        let (pair, jwk, member, number) = std::iter::repeat_with(|| ec(curve, "e"))
            .find_map(|(pair, jwk)| {
                let member = ["x", "y"].into_iter().find(|member| {
                    URL_SAFE_NO_PAD
                        .decode(jwk[*member].as_str().unwrap())
                        .unwrap()[0]
                        == 0
                })?;
                let number = URL_SAFE_NO_PAD
                    .decode(jwk[member].as_str().unwrap())
                    .unwrap();
                Some((pair, jwk, member, number))
            })
            .unwrap();
        let signature = pair.sign(&SystemRandom::new(), MESSAGE).unwrap();
        let whole = Key::from_jwk(&tree(&jwk)).unwrap();
        for written in [
            number[1..].to_vec(),
            [&[0], &number[..]].concat(),
            [&[0, 0, 0], &number[..]].concat(),
        ] {
            let key =
                Key::from_jwk(&tree(&with(jwk.clone(), member, json!(encoded(&written))))).unwrap();
            assert!(key.same_as(&whole));
            assert_eq!(key.verify(algorithm, MESSAGE, signature.as_ref()), Ok(()));
        }
    }
}

#[test]
fn a_member_that_is_null_is_absent() {
    let keys = [rsa_jwk("a"), ec("P-256", "e").1, ed25519("o").1];
    for jwk in keys {
        let null = |member: &str| {
            let mut jwk = jwk.clone();
            jwk[member] = Value::Null;
            Key::from_jwk(&tree(&jwk))
        };
        for member in [
            "kid", "use", "key_ops", "alg", "issuer", "x5c", "x5t", "d", "p", "k", "oth",
        ] {
            let key = null(member).unwrap();
            let without = Key::from_jwk(&tree(&with(jwk.clone(), member, Value::Null))).unwrap();
            assert!(key.same_as(&without), "{member}");
        }
        let needed: &[&str] = match jwk["kty"].as_str() {
            Some("RSA") => &["kty", "n", "e"],
            Some("EC") => &["kty", "crv", "x", "y"],
            _ => &["kty", "crv", "x"],
        };
        for member in needed {
            assert!(
                matches!(null(member), Err(Unfit::Missing(missing)) if missing == *member),
                "{member}"
            );
        }
    }
}

#[test]
fn a_key_keeps_its_name_and_entra_s_issuer() {
    let template = "https://login.microsoftonline.com/{tenantid}/v2.0";
    let key = Key::from_jwk(&tree(&with(rsa_jwk("a"), "issuer", json!(template)))).unwrap();
    assert_eq!(key.kid(), Some("a"));
    assert_eq!(key.issuer(), Some(template));
    let key = Key::from_jwk(&tree(&with(rsa_jwk("a"), "kid", Value::Null))).unwrap();
    assert_eq!((key.kid(), key.issuer()), (None, None));
}

#[test]
fn a_key_lives_until_it_is_retired() {
    let key = Key::from_jwk(&tree(&rsa_jwk("a"))).unwrap();
    assert!(key.is_live());
    key.retire();
    assert!(!key.is_live());
}

#[test]
fn a_key_that_differs_in_anything_is_another_key() {
    let key = |jwk: &Value| Key::from_jwk(&tree(jwk)).unwrap();
    let jwk = rsa_jwk("a");
    assert!(key(&jwk).same_as(&key(&jwk)));
    assert!(key(&jwk).same_as(&key(&with(jwk.clone(), "x5t", json!("new")))));
    let other = RsaKeyPair::generate(KeySize::Rsa2048).unwrap();
    for (member, value) in [
        ("kid", json!("b")),
        ("alg", json!("RS256")),
        ("issuer", json!("x")),
        ("e", json!("Aw")),
        ("n", json!(encoded(&modulus(&other)))),
    ] {
        assert!(
            !key(&jwk).same_as(&key(&with(jwk.clone(), member, value))),
            "{member}"
        );
    }
}

#[test]
fn what_the_log_is_told_is_escaped_and_short() {
    let jwk = json!({"kty": format!("\n\u{1b}[31m{}", "x".repeat(500))});
    let told = unfit(&jwk).to_string();
    assert!(told.len() < 250, "{told}");
    assert!(told.chars().all(|letter| !letter.is_control()), "{told}");
}

use aws_lc_rs::signature::RsaKeyPair;
