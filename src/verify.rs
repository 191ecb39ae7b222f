//! Signature and claims: the only maker of [`VerifiedClaims`]. Which issuer a token is held against
//! is chosen in `gate`; what the claims mean is said in `identity`.

use crate::config::{Audience, Issuer};
use crate::http::url::difference;
use crate::identity::groups_left_out;
use crate::json::{Object, Value};
use crate::jwks::{Key, KeySet, NoKey};
use crate::kind::Kind;
use crate::shown;
use crate::token::compact::Unverified;
use crate::verdict::{Reason, Refusal};
use serde_json::Number;
use std::fmt;
use std::sync::Arc;

/// The largest number that JSON keeps whole everywhere (2^53).
const MAX_DATE: u64 = 1 << 53;

/// A check that a token passes or fails: what an explanation names. In the order in which they are made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Check {
    Issuer,
    Keys,
    Algorithm,
    Key,
    Signature,
    Exp,
    Nbf,
    Iat,
    Lifetime,
    Audience,
    Type,
    Required,
    User,
    Bound,
}

impl Check {
    /// All of them, with their names, in their order.
    pub const ALL: &'static [(Self, &'static str)] = &[
        (Self::Issuer, "issuer"),
        (Self::Keys, "keys"),
        (Self::Algorithm, "algorithm"),
        (Self::Key, "key"),
        (Self::Signature, "signature"),
        (Self::Exp, "exp"),
        (Self::Nbf, "nbf"),
        (Self::Iat, "iat"),
        (Self::Lifetime, "lifetime"),
        (Self::Audience, "audience"),
        (Self::Type, "type"),
        (Self::Required, "required"),
        (Self::User, "user"),
        (Self::Bound, "cnf"),
    ];
}

/// A claim whose type its RFC fixes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Typed {
    Exp,
    Nbf,
    Iat,
    Aud,
}

impl Typed {
    /// The claim.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Exp => "exp",
            Self::Nbf => "nbf",
            Self::Iat => "iat",
            Self::Aud => "aud",
        }
    }
}

/// Why a token is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Error {
    /// The algorithm is not one of GateAlgorithms.
    Algorithm(String),
    /// `iss` is another.
    Issuer(String),
    /// No key of that name.
    KeyUnknown(String),
    /// There is a key of that name, but not for this.
    KeyUnfit(String),
    /// No key fits the signature.
    Signature(String),
    /// A claim is not of the type that its RFC says.
    ClaimType(Typed, String),
    /// There is no `exp`.
    NoEnd,
    /// `exp` is past.
    Expired { exp: u64, now: u64 },
    /// `nbf` is to come.
    NotYetValid { nbf: u64, now: u64 },
    /// `iat` is to come.
    IssuedInFuture { iat: u64, now: u64 },
    /// `exp - iat` is over GateMaxLifetime, or there is no `iat`.
    Lifetime(String),
    /// None of GateAudience in `aud`.
    Audience(String),
    /// Not the kind of token that is wanted (Keycloak's `typ`).
    Type(String),
    /// A claim that tokens of this make have (a CI job's `job_id`).
    Kind(String),
    /// What GateRequire asks for.
    Required(String),
    /// GateRequire asks for groups that the issuer left out.
    GroupsLeftOut(String),
}

impl Error {
    /// Which check it did not pass.
    #[must_use]
    pub const fn check(&self) -> Check {
        match self {
            Self::Algorithm(_) => Check::Algorithm,
            Self::Issuer(_) => Check::Issuer,
            Self::KeyUnknown(_) | Self::KeyUnfit(_) => Check::Key,
            Self::Signature(_) => Check::Signature,
            Self::NoEnd | Self::Expired { .. } | Self::ClaimType(Typed::Exp, _) => Check::Exp,
            Self::NotYetValid { .. } | Self::ClaimType(Typed::Nbf, _) => Check::Nbf,
            Self::IssuedInFuture { .. } | Self::ClaimType(Typed::Iat, _) => Check::Iat,
            Self::Lifetime(_) => Check::Lifetime,
            Self::Audience(_) | Self::ClaimType(Typed::Aud, _) => Check::Audience,
            Self::Type(_) | Self::Kind(_) => Check::Type,
            Self::Required(_) | Self::GroupsLeftOut(_) => Check::Required,
        }
    }

    /// The refusal that says so.
    #[must_use]
    pub fn refusal(&self) -> Refusal {
        Refusal::new(self.reason(), self.to_string()).at(self.check())
    }

    /// The code of the refusal.
    #[must_use]
    pub const fn reason(&self) -> Reason {
        match self {
            Self::Algorithm(_) => Reason::Algorithm,
            Self::Issuer(_) => Reason::IssuerUnknown,
            Self::KeyUnknown(_) => Reason::KeyUnknown,
            Self::KeyUnfit(_) => Reason::KeyUnfit,
            Self::Signature(_) => Reason::Signature,
            Self::ClaimType(..) => Reason::ClaimType,
            Self::NoEnd | Self::Kind(_) | Self::Required(_) => Reason::RequiredClaim,
            Self::GroupsLeftOut(_) => Reason::GroupsOverage,
            Self::Expired { .. } => Reason::Expired,
            Self::NotYetValid { .. } => Reason::NotYetValid,
            Self::IssuedInFuture { .. } => Reason::IssuedInFuture,
            Self::Lifetime(_) => Reason::Lifetime,
            Self::Audience(_) => Reason::Audience,
            Self::Type(_) => Reason::Type,
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Algorithm(text)
            | Self::Issuer(text)
            | Self::KeyUnknown(text)
            | Self::KeyUnfit(text)
            | Self::Signature(text)
            | Self::Lifetime(text)
            | Self::Audience(text)
            | Self::Type(text)
            | Self::Kind(text)
            | Self::Required(text)
            | Self::GroupsLeftOut(text) => f.write_str(text),
            Self::ClaimType(claim, text) => write!(f, "claim {}: {text}", claim.name()),
            Self::NoEnd => f.write_str("wanted claim exp, got none"),
            Self::Expired { exp, now } => {
                let ago = Span(now.saturating_sub(*exp));
                write!(
                    f,
                    "exp is {ago} ago: get a new token, or compare the clocks"
                )
            }
            Self::NotYetValid { nbf, now } => {
                let ahead = Span(nbf.saturating_sub(*now));
                write!(
                    f,
                    "nbf is {ahead} ahead: compare the clocks of this host and the issuer"
                )
            }
            Self::IssuedInFuture { iat, now } => {
                let ahead = Span(iat.saturating_sub(*now));
                write!(
                    f,
                    "iat is {ahead} ahead: compare the clocks of this host and the issuer"
                )
            }
        }
    }
}

/// Seconds, as people say them.
struct Span(u64);

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            seconds @ ..120 => write!(f, "{seconds} s"),
            seconds @ ..7200 => write!(f, "{} min", (seconds + 30) / 60),
            seconds @ ..172_800 => write!(f, "{} h", (seconds + 1800) / 3600),
            seconds => write!(f, "{} days", seconds / 86_400),
        }
    }
}

/// A token that an issuer did not vouch for.
#[derive(Debug)]
pub struct Rejected<'t> {
    /// Why.
    pub error: Error,
    /// The token, still unverified.
    pub token: Unverified<'t>,
}

/// Claims whose signature, times, issuer and audience have been checked. Nothing else makes one.
#[derive(Debug)]
pub struct VerifiedClaims {
    claims: Object,
    expires: u64,
    key: Arc<Key>,
}

impl VerifiedClaims {
    /// The claims.
    #[must_use]
    pub const fn claims(&self) -> &Object {
        &self.claims
    }

    /// `exp`, rounded down, without leeway.
    #[must_use]
    pub const fn expires(&self) -> u64 {
        self.expires
    }

    /// The key that signed. The claims hold no longer than it.
    #[must_use]
    pub const fn key(&self) -> &Arc<Key> {
        &self.key
    }

    /// The claims alone.
    #[must_use]
    pub fn vouched(self) -> Vouched {
        Vouched(self.claims)
    }
}

/// Claims that an issuer has vouched for. Two rooms make them: this one, of a signed token, and
/// `session`, of a record that it has sealed itself.
#[derive(Debug)]
pub struct Vouched(Object);

impl Vouched {
    /// The claims of a record that was sealed after a sign-in.
    pub(crate) const fn of_record(claims: Object) -> Self {
        Self(claims)
    }

    /// The claims.
    pub(crate) fn into_claims(self) -> Object {
        self.0
    }
}

/// The first condition of GateRequire that the claims do not fulfil.
///
/// # Errors
/// `required_claim`, or `groups_overage` where the issuer left the groups out.
pub fn required(claims: &Object, issuer: &Issuer) -> Result<(), Error> {
    let failed = issuer
        .require
        .iter()
        .find(|it| !it.holds(claims, issuer.kind));
    let Some(failed) = failed else {
        return Ok(());
    };
    let why = format!("GateRequire: {}", failed.explain(claims));
    let left_out = failed.path().leads_into("groups") && groups_left_out(claims, issuer.kind);
    Err(if left_out {
        Error::GroupsLeftOut(why)
    } else {
        Error::Required(why)
    })
}

/// Whether the issuer's URL is filled from the token (Entra's `{tenantid}`).
#[must_use]
pub fn is_template(url: &str) -> bool {
    url.contains("{tenantid}")
}

/// Whether the issuer's URL is this `iss`, with Entra's `{tenantid}` filled from `tid`.
#[must_use]
pub fn is_issuer(url: &str, iss: &str, tenant: Option<&str>) -> bool {
    if !is_template(url) {
        return url == iss;
    }
    let is_id =
        |id: &&str| !id.is_empty() && id.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
    tenant
        .filter(is_id)
        .is_some_and(|tenant| url.replace("{tenantid}", tenant) == iss)
}

/// Verifies a token against one issuer (RFC 7515 section 5.2, RFC 7519 section 7.2, RFC 8725).
///
/// # Errors
/// The first check that fails, and the token, for the next issuer of the same `iss` to try.
pub fn verify<'t>(
    token: Unverified<'t>,
    issuer: &Issuer,
    keys: &KeySet,
    now: u64,
) -> Result<VerifiedClaims, Box<Rejected<'t>>> {
    match check(&token, issuer, keys, now) {
        Ok((key, expires)) => Ok(VerifiedClaims {
            claims: token.into_claims(),
            expires,
            key,
        }),
        Err(error) => Err(Box::new(Rejected { error, token })),
    }
}

fn check(
    token: &Unverified<'_>,
    issuer: &Issuer,
    keys: &KeySet,
    now: u64,
) -> Result<(Arc<Key>, u64), Error> {
    let key = signature(token, issuer, keys)?;
    let claims = token.claims();
    let expires = times(claims, issuer, now)?;
    audience(claims, &issuer.audience)?;
    kind(claims, issuer.kind)?;
    required(claims, issuer)?;
    Ok((key, expires))
}

/// The key that signed, the issuer and the times: what every kind of token must show. Whom it is for
/// is for the caller to check.
///
/// # Errors
/// The first check that fails.
pub fn signed(
    token: &Unverified<'_>,
    issuer: &Issuer,
    keys: &KeySet,
    now: u64,
) -> Result<Arc<Key>, Error> {
    let key = signature(token, issuer, keys)?;
    times(token.claims(), issuer, now)?;
    Ok(key)
}

fn signature(token: &Unverified<'_>, issuer: &Issuer, keys: &KeySet) -> Result<Arc<Key>, Error> {
    let algorithm = token.header().alg;
    if !issuer.algorithms.contains(&algorithm) {
        return Err(Error::Algorithm(format!(
            "{algorithm:?} is not one of GateAlgorithms"
        )));
    }
    let tenant = token.peek("tid").and_then(Value::as_str);
    let iss = token.issuer().unwrap_or_default();
    if !is_issuer(&issuer.url, iss, tenant) {
        return Err(Error::Issuer(format!(
            "wanted iss {}, got {}{}",
            issuer.url,
            shown::text(iss),
            difference(&issuer.url, iss)
        )));
    }
    signing_key(token, issuer, keys, iss, tenant)
}

fn signing_key(
    token: &Unverified<'_>,
    issuer: &Issuer,
    keys: &KeySet,
    iss: &str,
    tenant: Option<&str>,
) -> Result<Arc<Key>, Error> {
    let header = token.header();
    let kid = header.kid.as_deref();
    let candidates = keys
        .candidates(kid, header.alg)
        .map_err(|none| match none {
            NoKey::Unknown(..) => Error::KeyUnknown(none.to_string()),
            NoKey::Unfit(_) => Error::KeyUnfit(none.to_string()),
        })?;
    let mut others = None;
    for key in candidates {
        // Entra names the issuer that a key may sign for beside the key.
        let bound = key
            .issuer()
            .is_none_or(|named| is_issuer(named, iss, tenant));
        if (issuer.kind != Kind::Entra || bound)
            && key
                .verify(header.alg, token.signing_input(), token.signature())
                .is_ok()
        {
            return Ok(key);
        }
        others = others.or_else(|| key.issuer().filter(|_| !bound).map(shown::text));
    }
    let hint = match others {
        _ if header.nonce => "; a token for Microsoft Graph can be verified by Graph alone".into(),
        Some(other) if issuer.kind == Kind::Entra => {
            format!("; the key signs for issuer {other} alone")
        }
        _ => String::new(),
    };
    Err(Error::Signature(format!(
        "kid {}, alg {:?}: the signature does not fit{hint}",
        shown::text(kid.unwrap_or("(none)")),
        header.alg
    )))
}

/// `exp`, `nbf`, `iat` (RFC 7519, section 4.1.4 on); gives `exp`.
fn times(claims: &Object, issuer: &Issuer, now: u64) -> Result<u64, Error> {
    let skew = issuer.clock_skew;
    let exp = date(claims, Typed::Exp)?.ok_or(Error::NoEnd)?;
    let expires = exp.floor() as u64;
    if now >= expires.saturating_add(skew) {
        return Err(Error::Expired { exp: expires, now });
    }
    if let Some(nbf) = date(claims, Typed::Nbf)?.map(|it| it.ceil() as u64)
        && nbf > now.saturating_add(skew)
    {
        return Err(Error::NotYetValid { nbf, now });
    }
    let iat = date(claims, Typed::Iat)?;
    if let Some(iat) = iat.map(|it| it.ceil() as u64)
        && iat > now.saturating_add(skew)
    {
        return Err(Error::IssuedInFuture { iat, now });
    }
    if let Some(most) = issuer.max_lifetime {
        let Some(iat) = iat else {
            return Err(Error::Lifetime(format!(
                "GateMaxLifetime is {most} s, and the token has no iat"
            )));
        };
        if exp - iat > most as f64 {
            return Err(Error::Lifetime(format!(
                "wanted at most {most} s, got {} s",
                exp - iat
            )));
        }
    }
    Ok(expires)
}

fn date(claims: &Object, claim: Typed) -> Result<Option<f64>, Error> {
    let Some(value) = claims.get(claim.name()) else {
        return Ok(None);
    };
    match value {
        Value::Number(number) => match exact(number) {
            Some(date) => Ok(Some(date)),
            None => Err(Error::ClaimType(
                claim,
                format!(
                    "wanted a number from 0 to 2^53, got {}",
                    shown::value(value)
                ),
            )),
        },
        _ => Err(Error::ClaimType(
            claim,
            format!("wanted a number, got {}", shown::value(value)),
        )),
    }
}

/// A number from 0 to 2^53. A whole one is compared as such: 2^53 + 1 would be rounded to fit, as is
/// what has a fraction and lies there.
fn exact(number: &Number) -> Option<f64> {
    if let Some(whole) = number.as_u64() {
        return (whole <= MAX_DATE).then_some(whole as f64);
    }
    let date = number.as_f64()?;
    (date.is_sign_positive() && date < MAX_DATE as f64).then_some(date)
}

fn audience(claims: &Object, wanted: &Audience) -> Result<(), Error> {
    let Audience::OneOf(wanted) = wanted else {
        return Ok(());
    };
    let is_wanted = |aud: &str| wanted.iter().any(|it| it == aud);
    let found = match claims.get("aud") {
        None | Some(Value::Null) => false,
        Some(Value::String(aud)) => is_wanted(aud),
        Some(Value::Array(list)) => {
            if !list.iter().all(Value::is_string) {
                return Err(Error::ClaimType(Typed::Aud, "wanted strings alone".into()));
            }
            list.iter().filter_map(Value::as_str).any(is_wanted)
        }
        Some(other) => {
            return Err(Error::ClaimType(
                Typed::Aud,
                format!(
                    "wanted a string or an array of strings, got {}",
                    shown::value(other)
                ),
            ));
        }
    };
    if found {
        return Ok(());
    }
    let got = claims
        .get("aud")
        .map_or_else(|| "none".into(), shown::value);
    Err(Error::Audience(format!(
        "wanted aud {}, got {got}",
        wanted.join(" or ")
    )))
}

/// What a make of issuer must say (docs/directives.md, GateKind).
fn kind(claims: &Object, kind: Kind) -> Result<(), Error> {
    let is_id = |claim: &str| match claims.get(claim) {
        Some(Value::String(id)) => !id.is_empty(),
        Some(value) => matches!(value, Value::Number(_)),
        None => false,
    };
    match kind {
        Kind::Keycloak => match claims.get("typ") {
            Some(Value::String(typ)) if **typ == *"Bearer" => Ok(()),
            other => {
                let got = other.map_or_else(|| "none".into(), shown::value);
                Err(Error::Type(format!(
                    "wanted Keycloak's claim typ=Bearer (an access token), got {got}"
                )))
            }
        },
        Kind::Gitlab => match ["job_id", "pipeline_id"]
            .into_iter()
            .find(|claim| !is_id(claim))
        {
            None => Ok(()),
            Some(claim) => Err(Error::Kind(format!(
                "wanted a CI job's token, got one without {claim}"
            ))),
        },
        Kind::Google => match claims.get("email_verified") {
            Some(Value::Bool(true)) => Ok(()),
            Some(Value::String(text)) if **text == *"true" => Ok(()),
            _ => Err(Error::Kind("wanted email_verified true".into())),
        },
        Kind::Generic | Kind::Okta | Kind::Entra | Kind::Aws => Ok(()),
    }
}

#[cfg(test)]
mod tests;
