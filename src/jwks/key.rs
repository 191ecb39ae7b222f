//! One public key: a JWK judged fit or unfit once, and parsed once.
//!
//! A [`Key`] verifies with what was parsed when it came, which spares the parsing on each token.
//! Each algorithm that it may serve is one [`KeyVerifier`], which is a verifier in jsonwebtoken's
//! own terms. Not here: which key a token asks for (that is [`super::set`]).

use crate::algorithm;
use crate::json::Value;
use crate::shown::quoted;
use aws_lc_rs::signature as aws;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::Algorithm;
use jsonwebtoken::crypto::JwtVerifier;
use jsonwebtoken::signature::{Error as SignatureError, Verifier};
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};

/// Why a signature was not accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyError {
    /// The key may not be used with this algorithm.
    Unfit,
    /// The signature is not this key's over these bytes.
    Signature,
}

impl KeyError {
    /// The code for the caller.
    #[must_use]
    pub fn reason(&self) -> crate::verdict::Reason {
        match self {
            Self::Unfit => crate::verdict::Reason::KeyUnfit,
            Self::Signature => crate::verdict::Reason::Signature,
        }
    }
}

impl fmt::Display for KeyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Unfit => "the key may not be used with the token's algorithm",
            Self::Signature => "the signature does not verify with the key",
        })
    }
}

impl std::error::Error for KeyError {}

/// Why a JWK is passed over. Its text is for the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unfit {
    /// It is not a JSON object.
    NotAnObject,
    /// A member is of the wrong JSON type.
    Type(&'static str),
    /// A member that its `kty` asks for is missing (RFC 7518, section 6).
    Missing(&'static str),
    /// A member is not base64url without padding (RFC 7515, section 2).
    Base64(&'static str),
    /// The key type is none that the gate verifies with; `oct` is a shared secret.
    KeyType(String),
    /// The curve is none that the gate verifies with.
    Curve(String),
    /// `use` is not `sig` (RFC 7517, section 4.2).
    Use(String),
    /// `key_ops` does not hold `verify` (RFC 7517, section 4.3).
    KeyOps,
    /// `alg` is unknown, or not of this key type or curve.
    Algorithm(String),
    /// The RSA modulus has this many bits, instead of 2048 to 8192.
    RsaBits(usize),
    /// The RSA modulus is even: no product of two large primes.
    RsaModulus,
    /// The RSA exponent is even, below 3, or above 33 bits.
    RsaExponent,
    /// A coordinate is empty or longer than its curve asks; Ed25519's is not exactly as long.
    Length(&'static str),
    /// The point is not on its curve.
    Point,
    /// A member of a private or secret key is there (RFC 7518, section 6): whoever read the set can
    /// sign.
    Private(&'static str),
    /// The crypto library does not take it.
    Rejected,
}

impl fmt::Display for Unfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotAnObject => f.write_str("it is not a JSON object"),
            Self::Type(member) => write!(f, "{member} is of the wrong JSON type"),
            Self::Missing(member) => write!(f, "{member} is missing"),
            Self::Base64(member) => write!(f, "{member} is not base64url without padding"),
            Self::KeyType(kty) => write!(f, "kty is {kty}, wanted RSA, EC or OKP"),
            Self::Curve(crv) => write!(f, "crv is {crv}, wanted P-256, P-384 or Ed25519"),
            Self::Use(got) => write!(f, "use is {got}, wanted sig"),
            Self::KeyOps => f.write_str("key_ops does not hold verify"),
            Self::Algorithm(alg) => write!(f, "alg is {alg}, which this key can not verify"),
            Self::RsaBits(bits) => write!(f, "RSA with {bits} bits, wanted 2048 to 8192"),
            Self::RsaModulus => f.write_str("the RSA modulus is even"),
            Self::RsaExponent => f.write_str("the RSA exponent is even, below 3 or above 33 bits"),
            Self::Length(member) => write!(f, "{member} is not as long as the curve asks"),
            Self::Point => f.write_str("the point is not on its curve"),
            Self::Private(member) => write!(f, "it holds the private member {member}"),
            Self::Rejected => f.write_str("the crypto library does not take it"),
        }
    }
}

impl std::error::Error for Unfit {}

/// The members that only a private or secret key has (RFC 7518, sections 6.2.2, 6.3.2, 6.4.1).
const PRIVATE_MEMBERS: [&str; 8] = ["d", "p", "q", "dp", "dq", "qi", "oth", "k"];

/// What an RSA key may serve where its JWK has no `alg`.
const RSA_ALGORITHMS: [Algorithm; 6] = [
    Algorithm::RS256,
    Algorithm::RS384,
    Algorithm::RS512,
    Algorithm::PS256,
    Algorithm::PS384,
    Algorithm::PS512,
];

/// A key ready for one algorithm.
pub struct KeyVerifier {
    algorithm: Algorithm,
    parsed: aws::ParsedPublicKey,
}

impl KeyVerifier {
    fn check(&self, signing_input: &[u8], signature: &[u8]) -> Result<(), KeyError> {
        // The library checks the lengths too; these are the contract (RFC 7518, section 3.4; RFC
        // 8032, section 5.1.6), so they stand here whatever the library comes to accept.
        let wanted = match self.algorithm {
            Algorithm::ES256 | Algorithm::EdDSA => Some(64),
            Algorithm::ES384 => Some(96),
            _ => None,
        };
        if wanted.is_some_and(|length| signature.len() != length) {
            return Err(KeyError::Signature);
        }
        self.parsed
            .verify_sig(signing_input, signature)
            .map_err(|_| KeyError::Signature)
    }
}

impl Verifier<Vec<u8>> for KeyVerifier {
    fn verify(&self, signing_input: &[u8], signature: &Vec<u8>) -> Result<(), SignatureError> {
        self.check(signing_input, signature)
            .map_err(SignatureError::from_source)
    }
}

impl JwtVerifier for KeyVerifier {
    fn algorithm(&self) -> Algorithm {
        self.algorithm
    }
}

/// One fit public key of an issuer.
pub struct Key {
    kid: Option<String>,
    issuer: Option<String>,
    /// `kty` or `crv` and the public numbers, to tell a changed key from an unchanged one.
    public: Vec<u8>,
    verifiers: Vec<KeyVerifier>,
    live: AtomicBool,
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Key")
            .field("kid", &self.kid)
            .field("algorithms", &self.algorithms().collect::<Vec<_>>())
            .field("live", &self.is_live())
            .finish_non_exhaustive()
    }
}

impl Key {
    /// The key of a JWK (RFC 7517, section 4).
    ///
    /// # Errors
    ///
    /// [`Unfit`] where it can not or must not be used to verify.
    pub fn from_jwk(jwk: &Value) -> Result<Self, Unfit> {
        let kid = text(jwk, "kid")?.map(str::to_owned);
        let issuer = text(jwk, "issuer")?.map(str::to_owned);
        if jwk.as_object().is_none() {
            return Err(Unfit::NotAnObject);
        }
        if let Some(member) = PRIVATE_MEMBERS
            .into_iter()
            .find(|name| jwk.member(name).is_some())
        {
            return Err(Unfit::Private(member));
        }
        check_purpose(jwk)?;
        let (public, verifiers) = match text(jwk, "kty")?.ok_or(Unfit::Missing("kty"))? {
            "RSA" => rsa(jwk)?,
            "EC" => elliptic(jwk)?,
            "OKP" => edwards(jwk)?,
            other => return Err(Unfit::KeyType(quoted(other))),
        };
        Ok(Self {
            kid,
            issuer,
            public,
            verifiers,
            live: AtomicBool::new(true),
        })
    }

    /// The JWK's `kid`.
    #[must_use]
    pub fn kid(&self) -> Option<&str> {
        self.kid.as_deref()
    }

    /// The JWK's `issuer`: Entra ID's word for whose tokens the key may sign; may hold
    /// `{tenantid}`.
    #[must_use]
    pub fn issuer(&self) -> Option<&str> {
        self.issuer.as_deref()
    }

    /// What the key may be used with.
    pub fn algorithms(&self) -> impl Iterator<Item = Algorithm> + '_ {
        self.verifiers.iter().map(|verifier| verifier.algorithm)
    }

    /// The key as jsonwebtoken's verifier of this algorithm; `None` where it is unfit for it.
    #[must_use]
    pub fn verifier(&self, algorithm: Algorithm) -> Option<&KeyVerifier> {
        self.verifiers
            .iter()
            .find(|verifier| verifier.algorithm == algorithm)
    }

    /// Whether `signature` is this key's over `signing_input`.
    ///
    /// # Errors
    ///
    /// [`KeyError::Unfit`] where the key may not be used with `algorithm`,
    /// [`KeyError::Signature`] where the signature is not its own.
    pub fn verify(
        &self,
        algorithm: Algorithm,
        signing_input: &[u8],
        signature: &[u8],
    ) -> Result<(), KeyError> {
        self.verifier(algorithm)
            .ok_or(KeyError::Unfit)?
            .check(signing_input, signature)
    }

    /// Whether the key is still in its issuer's set. A token that was verified with a key that is
    /// not must be refused, however long it was cached.
    #[must_use]
    pub fn is_live(&self) -> bool {
        self.live.load(Ordering::Acquire)
    }

    /// The key has left its issuer's set; for ever.
    pub fn retire(&self) {
        self.live.store(false, Ordering::Release);
    }

    /// Whether both are one key: the same name, numbers and uses.
    pub(super) fn same_as(&self, other: &Self) -> bool {
        self.kid == other.kid
            && self.issuer == other.issuer
            && self.public == other.public
            && self.algorithms().eq(other.algorithms())
    }
}

/// A member that must be a string where it is there; null is absent.
fn text<'a>(jwk: &'a Value, member: &'static str) -> Result<Option<&'a str>, Unfit> {
    match jwk.member(member) {
        None => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(_) => Err(Unfit::Type(member)),
    }
}

/// The bytes of a member in base64url, strict: no padding, no white space, canonical end.
fn bytes(jwk: &Value, member: &'static str) -> Result<Vec<u8>, Unfit> {
    let text = text(jwk, member)?.ok_or(Unfit::Missing(member))?;
    URL_SAFE_NO_PAD
        .decode(text)
        .map_err(|_| Unfit::Base64(member))
}

/// `use` and `key_ops` must allow verifying, where they are there.
fn check_purpose(jwk: &Value) -> Result<(), Unfit> {
    match text(jwk, "use")? {
        None | Some("sig") => {}
        Some(other) => return Err(Unfit::Use(quoted(other))),
    }
    match jwk.member("key_ops") {
        None => Ok(()),
        Some(Value::Array(operations)) if operations.iter().all(Value::is_string) => operations
            .iter()
            .any(|operation| operation.as_str() == Some("verify"))
            .then_some(())
            .ok_or(Unfit::KeyOps),
        Some(_) => Err(Unfit::Type("key_ops")),
    }
}

type Parts = (Vec<u8>, Vec<KeyVerifier>);

/// RFC 7518, section 6.3.1.
fn rsa(jwk: &Value) -> Result<Parts, Unfit> {
    let modulus = bytes(jwk, "n")?;
    let exponent = bytes(jwk, "e")?;
    // Leading zeros are not allowed, but section 6.3.1.1 itself warns that libraries write them.
    let n = without_zeros(&modulus);
    let e = without_zeros(&exponent);
    let bits = n
        .first()
        .map_or(0, |first| n.len() * 8 - first.leading_zeros() as usize);
    if !(2048..=8192).contains(&bits) {
        return Err(Unfit::RsaBits(bits));
    }
    if n.last().is_none_or(|last| last % 2 == 0) {
        return Err(Unfit::RsaModulus);
    }
    let value = e
        .iter()
        .try_fold(0_u64, |sum, byte| {
            Some(sum.checked_mul(256)? + u64::from(*byte))
        })
        .unwrap_or(u64::MAX);
    // 33 bits is the library's own limit, at each verification.
    if value < 3 || value % 2 == 0 || value >= 1 << 33 {
        return Err(Unfit::RsaExponent);
    }
    let verifiers = allowed(jwk, &RSA_ALGORITHMS)?
        .into_iter()
        .map(|algorithm| {
            let parsed = aws::RsaPublicKeyComponents { n, e }
                .to_parsed_public_key(rsa_parameters(algorithm)?)
                .map_err(|_| Unfit::Rejected)?;
            Ok(KeyVerifier { algorithm, parsed })
        })
        .collect::<Result<_, Unfit>>()?;
    Ok(([b"RSA ", n, b" ", e].concat(), verifiers))
}

fn rsa_parameters(algorithm: Algorithm) -> Result<&'static aws::RsaParameters, Unfit> {
    Ok(match algorithm {
        Algorithm::RS256 => &aws::RSA_PKCS1_2048_8192_SHA256,
        Algorithm::RS384 => &aws::RSA_PKCS1_2048_8192_SHA384,
        Algorithm::RS512 => &aws::RSA_PKCS1_2048_8192_SHA512,
        Algorithm::PS256 => &aws::RSA_PSS_2048_8192_SHA256,
        Algorithm::PS384 => &aws::RSA_PSS_2048_8192_SHA384,
        Algorithm::PS512 => &aws::RSA_PSS_2048_8192_SHA512,
        _ => return Err(Unfit::Rejected),
    })
}

fn without_zeros(number: &[u8]) -> &[u8] {
    let zeros = number.iter().take_while(|byte| **byte == 0).count();
    number.get(zeros..).unwrap_or_default()
}

/// RFC 7518, section 6.2.1: both coordinates have their curve's full length. Libraries write numbers instead, with
/// a zero byte in front or without those that belong there.
fn elliptic(jwk: &Value) -> Result<Parts, Unfit> {
    let (length, algorithm, method): (usize, _, &'static aws::EcdsaVerificationAlgorithm) =
        match text(jwk, "crv")?.ok_or(Unfit::Missing("crv"))? {
            "P-256" => (32, Algorithm::ES256, &aws::ECDSA_P256_SHA256_FIXED),
            "P-384" => (48, Algorithm::ES384, &aws::ECDSA_P384_SHA384_FIXED),
            other => return Err(Unfit::Curve(quoted(other))),
        };
    let x = bytes(jwk, "x")?;
    let y = bytes(jwk, "y")?;
    allowed(jwk, &[algorithm])?;
    // SEC 1, section 2.3.3: an uncompressed point starts with 4.
    let mut point = vec![4];
    for (member, coordinate) in [("x", &x), ("y", &y)] {
        let number = without_zeros(coordinate);
        let zeros = length.checked_sub(number.len());
        let zeros = zeros.filter(|_| !coordinate.is_empty());
        point.resize(point.len() + zeros.ok_or(Unfit::Length(member))?, 0);
        point.extend_from_slice(number);
    }
    let parsed = aws::ParsedPublicKey::new(method, &point).map_err(|_| Unfit::Point)?;
    Ok((
        [b"EC ", &point[..]].concat(),
        vec![KeyVerifier { algorithm, parsed }],
    ))
}

/// RFC 8037, section 2.
fn edwards(jwk: &Value) -> Result<Parts, Unfit> {
    match text(jwk, "crv")?.ok_or(Unfit::Missing("crv"))? {
        "Ed25519" => {}
        other => return Err(Unfit::Curve(quoted(other))),
    }
    let x = bytes(jwk, "x")?;
    if x.len() != 32 {
        return Err(Unfit::Length("x"));
    }
    let algorithm = Algorithm::EdDSA;
    allowed(jwk, &[algorithm])?;
    let parsed = aws::ParsedPublicKey::new(&aws::ED25519, &x).map_err(|_| Unfit::Point)?;
    Ok((
        [b"Ed25519 ", &x[..]].concat(),
        vec![KeyVerifier { algorithm, parsed }],
    ))
}

/// Of the algorithms of a key's type, those that its `alg` allows; all where it has none.
fn allowed(jwk: &Value, of_type: &[Algorithm]) -> Result<Vec<Algorithm>, Unfit> {
    let Some(name) = text(jwk, "alg")? else {
        return Ok(of_type.to_vec());
    };
    match algorithm::named(name).filter(|it| of_type.contains(it)) {
        Some(algorithm) => Ok(vec![algorithm]),
        None => Err(Unfit::Algorithm(quoted(name))),
    }
}

#[cfg(test)]
mod tests;
