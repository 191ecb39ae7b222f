//! The compact serialisation of a signed token (RFC 7515 section 3.1, RFC 7519), strictly read.
//!
//! What comes out is *not verified*: the type says so. The one encoding of each token is accepted
//! and no other, so that two texts are never one token. Keys in the header (`jwk`, `jku`, `x5u`,
//! `x5c`) are ignored. Signature, issuer, audience and times are for `verify`.

use crate::algorithm;
use crate::json::{self, JsonError, Object, Value};
use crate::shown;
use crate::verdict::Reason;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use base64::{DecodeError as Fault, DecodeSliceError as Slice, Engine as _};
use jsonwebtoken::Algorithm;
use std::fmt;

/// The largest token, bytes.
pub const MAX_SIZE: usize = 16 * 1024;

/// A size that few tokens pass, bytes.
const USUAL_SIZE: usize = 2048;

/// What the largest token's parts can decode to, bytes.
const MAX_DECODED: usize = MAX_SIZE / 4 * 3;

/// The names that a token may give itself (`typ`), in any case.
const TYPES: [&str; 4] = ["JWT", "at+jwt", "application/jwt", "application/at+jwt"];

/// A part of a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// The first.
    Header,
    /// The second.
    Claims,
    /// The third.
    Signature,
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Header => "header",
            Self::Claims => "claims",
            Self::Signature => "signature",
        })
    }
}

/// Why a text is not a token that can be verified. Holds what the log may show, never the token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Error {
    /// More than [`MAX_SIZE`] bytes; these many.
    TooLarge(usize),
    /// Not even UTF-8.
    NotText,
    /// Not three parts with dots between them, but so many (five: a JWE).
    Parts(usize),
    /// Another credential, known by its first letters, which are no secret.
    Other(&'static str),
    /// Nothing between the dots.
    Empty(Part),
    /// Not base64url in its one canonical form without padding (RFC 7515 section 2).
    Encoding(Part, &'static str),
    /// Not strict JSON.
    Json(Part, JsonError),
    /// JSON, but not an object.
    NotAnObject(Part),
    /// `alg` is missing (none) or not one that the gate knows (its JSON text).
    Algorithm(Option<String>),
    /// The header has `crit`, whatever it holds, or a `b64` other than true (RFC 7515 section 4.1.11, RFC 7797).
    Critical(&'static str),
    /// `typ` or `cty` says that it is something else: the member and its JSON text.
    Type(&'static str, String),
    /// `kid` is not a string, but this JSON text.
    KeyId(String),
    /// There is no `iss`.
    IssuerMissing,
    /// `iss` is not a string, but this JSON text.
    IssuerType(String),
}

impl Error {
    /// The code of the refusal.
    #[must_use]
    pub fn reason(&self) -> Reason {
        match self {
            Self::TooLarge(_) => Reason::TokenTooLarge,
            Self::Json(_, JsonError::Duplicate(_)) => Reason::DuplicateMember,
            Self::NotText
            | Self::Parts(_)
            | Self::Other(_)
            | Self::Empty(_)
            | Self::Encoding(..)
            | Self::Json(..)
            | Self::NotAnObject(_)
            | Self::KeyId(_) => Reason::TokenMalformed,
            Self::Algorithm(_) => Reason::Algorithm,
            Self::Critical(_) => Reason::Critical,
            Self::Type(..) => Reason::Type,
            Self::IssuerMissing => Reason::IssuerUnknown,
            Self::IssuerType(_) => Reason::ClaimType,
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLarge(size) => {
                write!(f, "the token has {size} bytes, wanted at most {MAX_SIZE}")
            }
            Self::NotText => f.write_str("the token is not text"),
            Self::Parts(5) => f.write_str("the token has 5 parts (encrypted, JWE), wanted 3"),
            Self::Parts(count) => write!(f, "the token has {count} parts, wanted 3"),
            Self::Other(what) => write!(f, "the token looks like {what}, wanted a JWT"),
            Self::Empty(part) => write!(f, "the {part} part is empty"),
            Self::Encoding(part, fault) => {
                write!(f, "the {part} part is not canonical base64url: {fault}")
            }
            Self::Json(part, error) => write!(f, "the {part} part: {error}"),
            Self::NotAnObject(part) => write!(f, "the {part} part: JSON, but not an object"),
            Self::Algorithm(None) => f.write_str("alg is missing in the header"),
            Self::Algorithm(Some(got)) => {
                write!(f, "alg is {got}, wanted one of {}", algorithm::names(" "))
            }
            Self::Critical(name) => {
                write!(f, "the header has {name}, which no token here may have")
            }
            Self::Type("cty", got) => write!(f, "cty is {got}, wanted no token inside the token"),
            Self::Type(name, got) => write!(f, "{name} is {got}, wanted none, JWT or at+jwt"),
            Self::KeyId(got) => write!(f, "kid is {got}, wanted a string"),
            Self::IssuerMissing => f.write_str("iss is missing"),
            Self::IssuerType(got) => write!(f, "iss is {got}, wanted a string"),
        }
    }
}

impl std::error::Error for Error {}

/// What the gate reads of a header (RFC 7515 section 4.1). Not verified either.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    /// `alg`, one of the nine that the gate knows.
    pub alg: Algorithm,
    /// `kid`: which of the issuer's keys.
    pub kid: Option<String>,
    /// There is a `nonce`, as in Microsoft Graph's tokens, whose signature nobody else can verify.
    pub nonce: bool,
}

/// A token that was read and not verified.
pub struct Unverified<'t> {
    header: Header,
    claims: Object,
    signing_input: &'t [u8],
    signature: Vec<u8>,
}

impl<'t> Unverified<'t> {
    /// Reads a token, in this order: its size, its parts, the header, the claims, the signature.
    ///
    /// # Errors
    /// See [`Error`]. A token with an `alg` that isn't accepted is told so, whatever its signature.
    pub fn parse(token: &'t [u8]) -> Result<Self, Error> {
        Self::parse_typed(token, &TYPES)
    }

    /// As [`Unverified::parse`], for another kind of token: the names that it may give itself (`typ`).
    ///
    /// # Errors
    /// See [`Error`].
    pub fn parse_typed(token: &'t [u8], types: &[&str]) -> Result<Self, Error> {
        if token.len() > MAX_SIZE {
            return Err(Error::TooLarge(token.len()));
        }
        let [header, claims, signature] = parts(token)?;
        // One buffer for all three; on the stack where they fit, which nearly all do: a kilobyte from
        // the heap costs glibc more, and sixteen to be zeroed more than that.
        let (mut small, mut large);
        let buffer: &mut [u8] = if token.len() <= USUAL_SIZE {
            small = [0; USUAL_SIZE];
            &mut small
        } else {
            large = vec![0; MAX_DECODED];
            &mut large
        };
        let header = Header::read(&object(Part::Header, header, buffer)?, types)?;
        let claims = object(Part::Claims, claims, buffer)?;
        let decoded = decode(Part::Signature, signature, buffer)?.to_vec();
        let before = token.len() - signature.len() - 1;
        let signing_input = token.get(..before).unwrap_or_default();
        Ok(Self {
            header,
            claims,
            signing_input,
            signature: decoded,
        })
    }

    /// The header.
    #[must_use]
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// What the signature is over: the first two parts as they came (RFC 7515 section 5.2).
    #[must_use]
    pub fn signing_input(&self) -> &'t [u8] {
        self.signing_input
    }

    /// The signature's bytes, never empty.
    #[must_use]
    pub fn signature(&self) -> &[u8] {
        &self.signature
    }

    /// The claims, unverified: for `verify` alone.
    pub(crate) const fn claims(&self) -> &Object {
        &self.claims
    }

    /// The issuer that it claims to be from: to choose the keys, and for nothing else.
    ///
    /// # Errors
    /// `iss` is missing, or not a string.
    pub fn issuer(&self) -> Result<&str, Error> {
        match self.claims.get("iss") {
            Some(Value::String(issuer)) => Ok(issuer),
            Some(other) => Err(Error::IssuerType(shown::value(other))),
            None => Err(Error::IssuerMissing),
        }
    }

    /// A claim that nobody has verified: for `verify`, and for no decision to let anybody in.
    pub(crate) fn peek(&self, name: &str) -> Option<&Value> {
        self.claims.get(name)
    }

    /// All the claims, for `verify` to hand on once it has done its work.
    pub(crate) fn into_claims(self) -> Object {
        self.claims
    }
}

/// Shows neither claims nor signature.
impl fmt::Debug for Unverified<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Unverified")
            .field("header", &self.header)
            .finish_non_exhaustive()
    }
}

impl Header {
    /// A member that is null is absent, but for `crit`. Members that are not read here, those of encrypted tokens
    /// (`enc`, `zip`) too, are ignored (RFC 7515 section 4).
    fn read(header: &Object, types: &[&str]) -> Result<Self, Error> {
        let alg = algorithm(header.member("alg"))?;
        if header.has("crit") {
            return Err(Error::Critical("crit"));
        }
        if header
            .member("b64")
            .is_some_and(|b64| *b64 != Value::Bool(true))
        {
            return Err(Error::Critical("b64"));
        }
        let typed = |wanted: &str, got: &Value| {
            got.as_str()
                .is_some_and(|got| got.eq_ignore_ascii_case(wanted))
        };
        if let Some(got) = header.member("typ")
            && !types.iter().any(|wanted| typed(wanted, got))
        {
            return Err(Error::Type("typ", shown::value(got)));
        }
        // RFC 7519 section 5.2: a token inside the token. What is not a string says nothing good.
        if let Some(got) = header.member("cty")
            && (!got.is_string() || typed("JWT", got) || typed("application/jwt", got))
        {
            return Err(Error::Type("cty", shown::value(got)));
        }
        let kid = match header.member("kid") {
            None => None,
            Some(Value::String(kid)) => Some(kid.to_string()),
            Some(other) => return Err(Error::KeyId(shown::value(other))),
        };
        Ok(Self {
            alg,
            kid,
            nonce: header.member("nonce").is_some(),
        })
    }
}

fn algorithm(alg: Option<&Value>) -> Result<Algorithm, Error> {
    let alg = alg.ok_or(Error::Algorithm(None))?;
    alg.as_str()
        .and_then(algorithm::named)
        .ok_or_else(|| Error::Algorithm(Some(shown::value(alg))))
}

/// The three parts, not decoded.
/// How other credentials begin that are sent by mistake.
const OTHERS: &[(&str, &str)] = &[
    ("$", "the name of a variable that was not expanded"),
    ("%", "the name of a variable that was not expanded"),
    ("glpat-", "a personal access token of GitLab (glpat-)"),
    ("gldt-", "a deploy token of GitLab (gldt-)"),
    ("glcbt-", "a CI_JOB_TOKEN of GitLab (glcbt-)"),
    ("glrt-", "a runner's token of GitLab (glrt-)"),
    ("glptt-", "a trigger token of GitLab (glptt-)"),
    (
        "glagent-",
        "a Kubernetes agent's token of GitLab (glagent-)",
    ),
    ("glft-", "a feed token of GitLab (glft-)"),
    ("gloas-", "an OAuth secret of GitLab (gloas-)"),
    ("ghp_", "a token of GitHub (ghp_)"),
    ("Bearer ", "a header's value with its scheme (Bearer)"),
    ("{", "a JSON object"),
    ("<", "XML or HTML"),
];

fn other(text: &str) -> Option<&'static str> {
    let found = OTHERS.iter().find(|(begin, _)| text.starts_with(begin));
    found.map(|(_, what)| *what)
}

fn parts(token: &[u8]) -> Result<[&str; 3], Error> {
    // As text, because that is searched by the word and not by the byte.
    let text = std::str::from_utf8(token).map_err(|_| Error::NotText)?;
    // None of them can begin a JWT, whose first bytes are those of a JSON object in base64url.
    if let Some(what) = other(text) {
        return Err(Error::Other(what));
    }
    let mut parts = text.split('.');
    match (parts.next(), parts.next(), parts.next(), parts.next()) {
        (Some(header), Some(claims), Some(signature), None) => Ok([header, claims, signature]),
        _ => Err(Error::Parts(text.split('.').count())),
    }
}

fn object(part: Part, text: &str, buffer: &mut [u8]) -> Result<Object, Error> {
    match json::parse(decode(part, text, buffer)?) {
        Ok(Value::Object(object)) => Ok(object),
        Ok(_) => Err(Error::NotAnObject(part)),
        Err(error) => Err(Error::Json(part, error)),
    }
}

/// Decodes into the buffer, over what it held.
fn decode<'b>(part: Part, text: &str, buffer: &'b mut [u8]) -> Result<&'b [u8], Error> {
    if text.is_empty() {
        return Err(Error::Empty(part));
    }
    let decoded = URL_SAFE_NO_PAD.decode_slice(text, buffer);
    let length = decoded.map_err(|error| {
        // Not the crate's own words: they show a byte of the token.
        Error::Encoding(
            part,
            match error {
                Slice::DecodeError(Fault::InvalidByte(_, b'=') | Fault::InvalidPadding) => {
                    "padding"
                }
                Slice::DecodeError(Fault::InvalidByte(_, byte)) if byte.is_ascii_whitespace() => {
                    "white space"
                }
                Slice::DecodeError(Fault::InvalidByte(..)) => "a character outside the alphabet",
                Slice::DecodeError(Fault::InvalidLength(_)) => "an impossible length",
                Slice::DecodeError(Fault::InvalidLastSymbol(..)) => {
                    "bits left over in the last character"
                }
                // Not with a token of a size that passes.
                Slice::OutputSliceTooSmall => "too long",
            },
        )
    })?;
    Ok(buffer.get(..length).unwrap_or_default())
}

#[cfg(test)]
mod properties;
#[cfg(test)]
mod tests;
