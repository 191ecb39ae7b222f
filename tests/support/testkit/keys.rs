//! The test keys: names, signing, public halves. Everybody has the private halves (see keys/README.md).
//!
//! It signs with aws-lc-rs and openssl directly, not with the library that the product verifies with.

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::{hmac, signature as sig};
use base64::{Engine, prelude::BASE64_STANDARD};
use serde_json::{Map, Value, json};
use std::io::Write;
use std::process::{Command, Stdio};

/// The secret of the HMAC algorithms.
const HMAC_SECRET: &[u8] =
    b"a test secret that is long enough for HS512, which wants 64 bytes of it or more";
const PUBLIC: &str = include_str!("../keys/public.json");

/// A name that tokens and key sets may use as `kid`.
struct Key {
    name: &'static str,
    /// The entry of public.json.
    public: &'static str,
    alg: &'static str,
    pem: &'static str,
}

const RS1: &str = include_str!("../keys/rs1.pem");
const RS2: &str = include_str!("../keys/rs2.pem");

const fn key(
    name: &'static str,
    public: &'static str,
    alg: &'static str,
    pem: &'static str,
) -> Key {
    Key {
        name,
        public,
        alg,
        pem,
    }
}

const KEYS: &[Key] = &[
    key("rs1", "rs1", "RS256", RS1),
    key("rs2", "rs2", "RS256", RS2),
    key("rsx", "rsx", "RS256", include_str!("../keys/rsx.pem")),
    key(
        "rs1024",
        "rs1024",
        "RS256",
        include_str!("../keys/rs1024.pem"),
    ),
    key("rs384", "rs1", "RS384", RS1),
    key("rs512", "rs1", "RS512", RS1),
    key("ps1", "rs2", "PS256", RS2),
    key("ps384", "rs2", "PS384", RS2),
    key("ps512", "rs2", "PS512", RS2),
    key("es1", "es1", "ES256", include_str!("../keys/es1.pem")),
    key("es2", "es2", "ES256", include_str!("../keys/es2.pem")),
    key("es384", "es384", "ES384", include_str!("../keys/es384.pem")),
    key("ed1", "ed1", "EdDSA", include_str!("../keys/ed1.pem")),
    key("ed2", "ed2", "EdDSA", include_str!("../keys/ed2.pem")),
];

fn find(name: &str) -> Result<&'static Key, String> {
    KEYS.iter()
        .find(|key| key.name == name)
        .ok_or_else(|| format!("no test key {name}"))
}

/// What an issuer publishes: the keys of its generation, which a rotation changes.
pub fn current(generation: u32) -> Vec<&'static str> {
    let (rs, es, ed) = if generation % 2 == 1 {
        ("rs1", "es1", "ed1")
    } else {
        ("rs2", "es2", "ed2")
    };
    vec![
        rs, "rs384", "rs512", "ps1", "ps384", "ps512", es, "es384", ed,
    ]
}

/// The key that signs with an algorithm where the test names none.
pub fn default_for(alg: &str, generation: u32) -> &'static str {
    if alg.starts_with("HS") {
        return "hmac";
    }
    current(generation)
        .into_iter()
        .find(|name| find(name).is_ok_and(|key| key.alg == alg))
        .unwrap_or("none")
}

/// The public half as a JWK with `kid`, `use` and `alg`.
pub fn jwk(name: &str) -> Result<Map<String, Value>, String> {
    let key = find(name)?;
    let all: Value = serde_json::from_str(PUBLIC).map_err(|e| e.to_string())?;
    let mut jwk = all
        .get(key.public)
        .and_then(Value::as_object)
        .cloned()
        .unwrap_or_default();
    jwk.extend(
        [("kid", name), ("use", "sig"), ("alg", key.alg)].map(|(n, v)| (n.to_owned(), json!(v))),
    );
    Ok(jwk)
}

/// Signs. `name` may also be `none` (no signature), `hmac`, or `hmac:KEY`: the public half's
/// modulus as an HMAC secret, as in the well-known confusion of algorithms.
///
/// `alg` counts where the key can do it, else the key's own algorithm does, so that a header may lie.
pub fn sign(name: &str, alg: &str, message: &[u8], der_ecdsa: bool) -> Result<Vec<u8>, String> {
    if name == "none" {
        return Ok(Vec::new());
    }
    if let Some(public) = name.strip_prefix("hmac:") {
        let jwk = jwk(public)?;
        let secret = jwk
            .get("n")
            .or_else(|| jwk.get("x"))
            .and_then(Value::as_str)
            .unwrap_or("");
        return Ok(mac(alg, secret.as_bytes(), message));
    }
    if name == "hmac" {
        return Ok(mac(alg, HMAC_SECRET, message));
    }
    let key = find(name)?;
    if key.public == "rs1024" {
        return openssl("-sha256", key.pem, message);
    }
    let no = |e: &dyn std::fmt::Display| format!("{name}: {e}");
    let pkcs8 = BASE64_STANDARD
        .decode(
            key.pem
                .lines()
                .filter(|line| !line.starts_with('-'))
                .collect::<String>(),
        )
        .map_err(|e| no(&e))?;
    let random = SystemRandom::new();
    if key.public.starts_with("rs") {
        let padding: &dyn sig::RsaEncoding = match alg {
            "RS384" => &sig::RSA_PKCS1_SHA384,
            "RS512" => &sig::RSA_PKCS1_SHA512,
            "PS256" => &sig::RSA_PSS_SHA256,
            "PS384" => &sig::RSA_PSS_SHA384,
            "PS512" => &sig::RSA_PSS_SHA512,
            _ => &sig::RSA_PKCS1_SHA256,
        };
        let pair = sig::RsaKeyPair::from_pkcs8(&pkcs8).map_err(|e| no(&e))?;
        let mut out = vec![0; pair.public_modulus_len()];
        pair.sign(padding, &random, message, &mut out)
            .map_err(|e| no(&e))?;
        return Ok(out);
    }
    if key.public.starts_with("ed") {
        let pair = sig::Ed25519KeyPair::from_pkcs8(&pkcs8).map_err(|e| no(&e))?;
        return Ok(pair.sign(message).as_ref().to_vec());
    }
    let kind = match (key.public == "es384", der_ecdsa) {
        (false, false) => &sig::ECDSA_P256_SHA256_FIXED_SIGNING,
        (false, true) => &sig::ECDSA_P256_SHA256_ASN1_SIGNING,
        (true, false) => &sig::ECDSA_P384_SHA384_FIXED_SIGNING,
        (true, true) => &sig::ECDSA_P384_SHA384_ASN1_SIGNING,
    };
    let pair = sig::EcdsaKeyPair::from_pkcs8(kind, &pkcs8).map_err(|e| no(&e))?;
    Ok(pair
        .sign(&random, message)
        .map_err(|e| no(&e))?
        .as_ref()
        .to_vec())
}

fn mac(alg: &str, secret: &[u8], message: &[u8]) -> Vec<u8> {
    let kind = match alg {
        "HS384" => hmac::HMAC_SHA384,
        "HS512" => hmac::HMAC_SHA512,
        _ => hmac::HMAC_SHA256,
    };
    hmac::sign(&hmac::Key::new(kind, secret), message)
        .as_ref()
        .to_vec()
}

/// What aws-lc-rs rightly refuses to do, openssl still does: a signature with a key of 1024 bits.
fn openssl(digest: &str, pem: &str, message: &[u8]) -> Result<Vec<u8>, String> {
    let file = std::env::temp_dir().join(format!("testkit-{}.pem", std::process::id()));
    std::fs::write(&file, pem).map_err(|e| e.to_string())?;
    let run = || -> std::io::Result<Vec<u8>> {
        let mut child = Command::new("openssl")
            .args(["dgst", digest, "-sign"])
            .arg(&file)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        if let Some(mut stdin) = child.stdin.take() {
            stdin.write_all(message)?;
        }
        Ok(child.wait_with_output()?.stdout)
    };
    let signature = run().map_err(|e| format!("openssl: {e}"));
    let _ = std::fs::remove_file(&file);
    signature
}
