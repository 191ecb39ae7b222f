//! Why a sign-in comes to nothing. Of the issuer's own words only registered error codes are shown.

use crate::verdict::Refusal;
use std::fmt;

/// Why.
#[derive(Clone, Debug)]
pub enum Failure {
    /// A check of the token refused it, with the reason that a bearer token would get.
    Token(Refusal),
    /// The sign-in does not hold: what is wrong, for a log.
    Failed(String),
    /// The issuer can't say now, or too many sign-ins wait for it.
    Unavailable(String),
}

impl Failure {
    /// Something of the sign-in does not hold.
    pub fn failed(detail: impl Into<String>) -> Self {
        Self::Failed(detail.into())
    }

    /// The issuer can't say.
    pub fn unavailable(why: impl fmt::Display) -> Self {
        Self::Unavailable(why.to_string())
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Token(refusal) => f.write_str(&refusal.detail),
            Self::Failed(detail) | Self::Unavailable(detail) => f.write_str(detail),
        }
    }
}
