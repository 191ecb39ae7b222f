//! The makes of issuer: which claims each fills, and how, is said where a claim is read.

/// The make of an issuer, which sets defaults (docs/directives.md).
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
