//! Typed settings, as the directives gave them, checked as a whole before httpd starts.
//!
//! Nothing here reads httpd's configuration text: `directive` does. Settings never change once
//! httpd runs.

use crate::policy::condition::Condition;
use crate::policy::path::ClaimPath;
use jsonwebtoken::Algorithm;
use std::path::PathBuf;

/// The make of an issuer, which sets defaults (SPEC section 2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Generic,
    Okta,
    Entra,
    Keycloak,
    Gitlab,
    Aws,
    Google,
}

/// Where an issuer's keys are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeyLocation {
    /// `jwks_uri` of `{issuer}/.well-known/openid-configuration`.
    Discovery,
    /// A JWKS at this URL.
    Url(String),
    /// A JWKS in this file.
    File(PathBuf),
}

/// Who a token must be for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Audience {
    /// The check is off (`GateAudience any`).
    Any,
    /// One of these must be in `aud`.
    OneOf(Vec<String>),
}

/// One `GateRole` line: the role is granted where all conditions hold.
#[derive(Debug)]
pub struct RoleRule {
    /// The administrator's word.
    pub role: String,
    /// All of them must hold.
    pub conditions: Vec<Condition>,
}

/// One `<GateIssuer>`.
#[derive(Debug)]
pub struct Issuer {
    /// The name in the configuration.
    pub name: String,
    /// Its make.
    pub kind: Kind,
    /// The exact `iss`; may hold `{tenantid}` where the kind is entra.
    pub url: String,
    /// Who a token must be for.
    pub audience: Audience,
    /// Where the keys are.
    pub keys: KeyLocation,
    /// The signature algorithms accepted.
    pub algorithms: Vec<Algorithm>,
    /// The first of these claims that is there becomes the user.
    pub user_claims: Vec<ClaimPath>,
    /// The claim that holds the e-mail address.
    pub email_claim: Option<ClaimPath>,
    /// Every value of this claim is a role.
    pub role_claim: Option<ClaimPath>,
    /// The role rules, in the order of the configuration.
    pub roles: Vec<RoleRule>,
    /// All must hold, else the token is refused.
    pub require: Vec<Condition>,
    /// Longest `exp - iat`, seconds.
    pub max_lifetime: Option<u64>,
    /// Leeway for `exp`, `nbf`, `iat`, seconds.
    pub clock_skew: u64,
    /// How often keys are fetched anew, seconds.
    pub refresh: u64,
    /// How long the last good keys serve, seconds.
    pub max_stale: u64,
    /// One fetch, seconds.
    pub timeout: u64,
    /// Trust this CA for the issuer, instead of the system's.
    pub ca_file: Option<PathBuf>,
}
