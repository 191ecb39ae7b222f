//! The settings of sign-in and sessions: GateClient, GateClaimsFrom, GateSignIn, GateSession,
//! GateStore, GateSessionKey, GateEndpoint, GateContact.

use crate::upstream::signer::Signer;
use std::fmt;
use std::sync::Arc;

/// How a client says who it is at the issuer's token endpoint.
#[derive(Clone)]
pub enum ClientSecret {
    /// It does not: a public client, with PKCE alone.
    None,
    /// A secret (`client_secret_basic` or `client_secret_post`).
    Shared(Arc<str>),
    /// A key (`private_key_jwt`, RFC 7523).
    Key(Arc<Signer>),
}

impl fmt::Debug for ClientSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::None => "none",
            Self::Shared(_) => "a secret",
            Self::Key(_) => "a key",
        })
    }
}

/// GateClient: people may sign in with this issuer.
#[derive(Clone, Debug)]
pub struct Client {
    /// `client_id`
    pub id: String,
    /// secret-file or key-file.
    pub secret: ClientSecret,
    /// `scope`
    pub scope: String,
    /// The name on the pages of the gate.
    pub label: Option<String>,
}

/// A set of claims (GateClaimsFrom).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClaimSet {
    /// The ID token.
    IdToken,
    /// The userinfo endpoint.
    UserInfo,
    /// The access token, where it is a JWT of this issuer.
    AccessToken,
}

/// GateSession, seconds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Session {
    /// A session ends after this time without a request.
    pub idle: u64,
    /// A session ends after this time in any case.
    pub max: u64,
    /// How often the issuer is asked about the person.
    pub check: u64,
    /// How long a session goes on while the issuer can't be asked.
    pub stale: u64,
    /// The upstream's own session cookies; a trailing `*` stands for any ending.
    pub forget: Vec<String>,
}

impl Default for Session {
    fn default() -> Self {
        Self {
            idle: 3600,
            max: 12 * 3600,
            check: 600,
            stale: 4 * 3600,
            forget: vec!["_gitlab_session".into(), "remember_user_token".into()],
        }
    }
}

/// GateSignIn.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SignIn {
    /// With any accepted issuer that has a GateClient.
    On,
    /// Nobody is sent to a sign-in.
    Off,
    /// With these issuers.
    Only(Vec<String>),
}

/// GateEndpoint's default.
pub const ENDPOINT: &str = "/-/gate";
