//! GateAssertionKey: a private key from a PEM file, as a signer of compact JWS (RFC 7515) and as
//! the public JWK (RFC 7517) that upstreams check by. The key itself is shown to nobody.

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P256_SHA256_FIXED_SIGNING, ED25519, EcdsaKeyPair,
    Ed25519KeyPair, KeyPair as _, RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_SHA256, RsaKeyPair,
    VerificationAlgorithm,
};
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD as BASE64;
use rustls::pki_types::PrivateKeyDer;
use rustls::pki_types::pem::PemObject as _;
use serde_json::{Value, json};
use std::fmt;
use std::path::Path;

/// The longest file.
const MAX_BYTES: usize = 64 * 1024;

/// Why a file gives no signer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unfit {
    /// The system says no.
    Io(String),
    /// No private key in PEM, or an encrypted one.
    Pem,
    /// More than one private key.
    Several,
    /// Not RSA of 2048 bits or more, P-256 or Ed25519.
    Kind,
}

impl fmt::Display for Unfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io(why) => f.write_str(why),
            Self::Pem => f.write_str(
                "it holds no private key in PEM without a pass phrase (openssl genpkey makes one)",
            ),
            Self::Several => f.write_str(
                "it holds more than one private key: give each a file and a line of its own",
            ),
            Self::Kind => f.write_str(
                "the key is of no kind that is used here: RSA of 2048 bits or more, EC P-256, or Ed25519",
            ),
        }
    }
}

enum Pair {
    Rsa(Box<RsaKeyPair>),
    P256(Box<EcdsaKeyPair>),
    Ed25519(Box<Ed25519KeyPair>),
}

/// A key that signs.
pub struct Signer {
    pair: Pair,
    kid: String,
    jwk: Value,
}

impl fmt::Debug for Signer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Signer({} {})", self.algorithm(), self.kid)
    }
}

/// The system's random numbers failed.
#[derive(Debug)]
pub struct NotSigned;

impl Signer {
    /// Reads a PEM file: PKCS#8, PKCS#1 or SEC1.
    ///
    /// # Errors
    /// See [`Unfit`].
    pub fn read(path: &Path) -> Result<Self, Unfit> {
        let pem =
            crate::file::read(path, MAX_BYTES).map_err(|wrong| Unfit::Io(wrong.to_string()))?;
        Self::parse(&pem)
    }

    /// Reads PEM.
    ///
    /// # Errors
    /// See [`Unfit`].
    pub fn parse(pem: &[u8]) -> Result<Self, Unfit> {
        let mut keys = PrivateKeyDer::pem_slice_iter(pem);
        let key = keys.next().and_then(Result::ok).ok_or(Unfit::Pem)?;
        if keys.next().is_some() {
            return Err(Unfit::Several);
        }
        let pair = pair(&key).ok_or(Unfit::Kind)?;
        let (thumb, mut jwk) = public(&pair).ok_or(Unfit::Kind)?;
        let kid = BASE64.encode(digest(&SHA256, thumb.as_bytes()));
        let mut signer = Self {
            pair,
            kid,
            jwk: Value::Null,
        };
        if let Some(members) = jwk.as_object_mut() {
            members.insert("kid".into(), json!(signer.kid));
            members.insert("alg".into(), json!(signer.algorithm()));
            members.insert("use".into(), json!("sig"));
        }
        signer.jwk = jwk;
        Ok(signer)
    }

    /// The key's name: its thumbprint (RFC 7638).
    #[must_use]
    pub fn kid(&self) -> &str {
        &self.kid
    }

    /// `alg`.
    #[must_use]
    pub const fn algorithm(&self) -> &'static str {
        match self.pair {
            Pair::Rsa(_) => "RS256",
            Pair::P256(_) => "ES256",
            Pair::Ed25519(_) => "EdDSA",
        }
    }

    /// Whether that is this key's signature.
    #[must_use]
    pub fn verifies(&self, message: &[u8], signature: &[u8]) -> bool {
        let (algorithm, key): (&dyn VerificationAlgorithm, &[u8]) = match &self.pair {
            Pair::Rsa(pair) => (&RSA_PKCS1_2048_8192_SHA256, pair.public_key().as_ref()),
            Pair::P256(pair) => (&ECDSA_P256_SHA256_FIXED, pair.public_key().as_ref()),
            Pair::Ed25519(pair) => (&ED25519, pair.public_key().as_ref()),
        };
        algorithm.verify_sig(key, message, signature).is_ok()
    }

    /// The public half.
    #[must_use]
    pub const fn jwk(&self) -> &Value {
        &self.jwk
    }

    /// A compact JWS of these claims.
    ///
    /// # Errors
    /// No random numbers, or no memory.
    pub fn sign(&self, typ: &str, claims: &Value) -> Result<String, NotSigned> {
        let header = json!({ "alg": self.algorithm(), "typ": typ, "kid": self.kid });
        let mut text = BASE64.encode(header.to_string());
        text.push('.');
        BASE64.encode_string(claims.to_string(), &mut text);
        let random = SystemRandom::new();
        let signature = match &self.pair {
            Pair::Rsa(pair) => {
                let mut signature = vec![0; pair.public_modulus_len()];
                pair.sign(&RSA_PKCS1_SHA256, &random, text.as_bytes(), &mut signature)
                    .map_err(|_| NotSigned)?;
                signature
            }
            Pair::P256(pair) => pair
                .sign(&random, text.as_bytes())
                .map_err(|_| NotSigned)?
                .as_ref()
                .to_vec(),
            Pair::Ed25519(pair) => pair.sign(text.as_bytes()).as_ref().to_vec(),
        };
        text.push('.');
        BASE64.encode_string(signature, &mut text);
        Ok(text)
    }
}

/// The JWKS of these signers.
#[must_use]
pub fn jwks(signers: &[std::sync::Arc<Signer>]) -> String {
    let keys: Vec<_> = signers.iter().map(|it| it.jwk()).collect();
    json!({ "keys": keys }).to_string()
}

fn pair(key: &PrivateKeyDer<'_>) -> Option<Pair> {
    let der = key.secret_der();
    let rsa = || {
        let pair = match key {
            PrivateKeyDer::Pkcs1(_) => RsaKeyPair::from_der(der),
            _ => RsaKeyPair::from_pkcs8(der),
        };
        pair.ok().filter(|it| it.public_modulus_len() >= 256)
    };
    let p256 = || EcdsaKeyPair::from_private_key_der(&ECDSA_P256_SHA256_FIXED_SIGNING, der).ok();
    let ed25519 = || Ed25519KeyPair::from_pkcs8_maybe_unchecked(der).ok();
    None.or_else(|| rsa().map(|it| Pair::Rsa(Box::new(it))))
        .or_else(|| p256().map(|it| Pair::P256(Box::new(it))))
        .or_else(|| ed25519().map(|it| Pair::Ed25519(Box::new(it))))
}

/// What RFC 7638 hashes, and the JWK.
fn public(pair: &Pair) -> Option<(String, Value)> {
    Some(match pair {
        Pair::Rsa(pair) => {
            let (n, e) = modulus_and_exponent(pair.public_key().as_ref())?;
            let (n, e) = (BASE64.encode(n), BASE64.encode(e));
            (
                format!(r#"{{"e":"{e}","kty":"RSA","n":"{n}"}}"#),
                json!({ "kty": "RSA", "n": n, "e": e }),
            )
        }
        Pair::P256(pair) => {
            let point = pair.public_key().as_ref().strip_prefix(&[4])?;
            let (x, y) = point.split_at_checked(32)?;
            let (x, y) = (BASE64.encode(x), BASE64.encode(y));
            (
                format!(r#"{{"crv":"P-256","kty":"EC","x":"{x}","y":"{y}"}}"#),
                json!({ "kty": "EC", "crv": "P-256", "x": x, "y": y }),
            )
        }
        Pair::Ed25519(pair) => {
            let x = BASE64.encode(pair.public_key().as_ref());
            (
                format!(r#"{{"crv":"Ed25519","kty":"OKP","x":"{x}"}}"#),
                json!({ "kty": "OKP", "crv": "Ed25519", "x": x }),
            )
        }
    })
}

/// The two numbers of an RSAPublicKey (RFC 8017, appendix A.1.1).
fn modulus_and_exponent(der: &[u8]) -> Option<(&[u8], &[u8])> {
    let (sequence, _) = element(der, 0x30)?;
    let (n, rest) = element(sequence, 0x02)?;
    let (e, _) = element(rest, 0x02)?;
    Some((
        n.strip_prefix(&[0]).unwrap_or(n),
        e.strip_prefix(&[0]).unwrap_or(e),
    ))
}

/// The content of a DER element with that tag, and what follows it.
fn element(der: &[u8], tag: u8) -> Option<(&[u8], &[u8])> {
    let [found, length, rest @ ..] = der else {
        return None;
    };
    if *found != tag {
        return None;
    }
    let (length, rest) = match length {
        0..0x80 => (usize::from(*length), rest),
        _ => {
            let (bytes, rest) = rest.split_at_checked(usize::from(length & 0x7f))?;
            let length = bytes.iter().try_fold(0_usize, |sum, b| {
                sum.checked_mul(256)?.checked_add((*b).into())
            })?;
            (length, rest)
        }
    };
    rest.split_at_checked(length)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing)]
mod tests {
    use super::*;
    use crate::jwks::Key;

    fn test_key(name: &str) -> Vec<u8> {
        let keys = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/support/keys");
        std::fs::read(format!("{keys}/{name}.pem")).unwrap()
    }

    #[test]
    fn what_is_signed_is_verified_by_what_is_published() {
        for (name, algorithm) in [
            ("rs1", jsonwebtoken::Algorithm::RS256),
            ("es1", jsonwebtoken::Algorithm::ES256),
            ("ed1", jsonwebtoken::Algorithm::EdDSA),
        ] {
            let signer = Signer::parse(&test_key(name)).unwrap();
            let token = signer.sign("x+jwt", &json!({ "a": 1 })).unwrap();
            let (message, signature) = token.rsplit_once('.').unwrap();
            let key = Key::from_jwk(&crate::testing::tree(signer.jwk())).unwrap();
            assert_eq!(key.kid(), Some(signer.kid()));
            assert!(
                key.verify(
                    algorithm,
                    message.as_bytes(),
                    &BASE64.decode(signature).unwrap()
                )
                .is_ok(),
                "{name}"
            );
        }
    }

    #[test]
    fn unfit_keys_are_refused_with_the_reason() {
        for name in ["rs1024", "es384"] {
            assert_eq!(Signer::parse(&test_key(name)).unwrap_err(), Unfit::Kind);
        }
        assert_eq!(Signer::parse(b"no key").unwrap_err(), Unfit::Pem);
        assert!(matches!(
            Signer::read(Path::new("/nonexistent")).unwrap_err(),
            Unfit::Io(_)
        ));
    }

    #[test]
    fn no_private_member_is_published() {
        let signers: Vec<_> = ["rs1", "es1", "ed1"]
            .iter()
            .map(|it| std::sync::Arc::new(Signer::parse(&test_key(it)).unwrap()))
            .collect();
        let published: Value = serde_json::from_str(&jwks(&signers)).unwrap();
        for key in published["keys"].as_array().unwrap() {
            for private in ["d", "p", "q", "dp", "dq", "qi", "k"] {
                assert!(key.get(private).is_none(), "{private}");
            }
        }
    }
}
