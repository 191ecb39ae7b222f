//! What a refusal says: the list of reason codes, and the only file with HTTP statuses.
//!
//! Each [`Reason`] appears under the same code in the client's answer (`X-Gate-Reason`), the error
//! log, the audit log and docs/reasons.md.

use crate::verify::Check;
use std::ffi::CStr;

/// Why a request was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Reason {
    TokenMissing,
    TokenMalformed,
    TokenTooLarge,
    TokenAmbiguous,
    Algorithm,
    KeyUnknown,
    KeyUnfit,
    Signature,
    IssuerUnknown,
    IssuerNotAccepted,
    Audience,
    Expired,
    NotYetValid,
    IssuedInFuture,
    Lifetime,
    Type,
    Critical,
    ClaimType,
    DuplicateMember,
    RequiredClaim,
    UserMissing,
    NotBound,
    Rule,
    Role,
    Claim,
    Issuer,
    GroupsOverage,
    KeysUnavailable,
    PortUnknown,
    PortLimit,
    /// As [`Reason::PortLimit`] for the client, but it is the server that is full: 503.
    PortLimitTotal,
    PortUnreachable,
    EarlyBytes,
    JobEnded,
    JobMismatch,
    JobUnknown,
    Connect,
    AuditUnavailable,
    CredentialUnavailable,
    AccountBlocked,
    AccountChanged,
    AccountUnknown,
    SudoUser,
    SudoBody,
    CredentialPath,
    CrossSite,
    Path,
    Login,
    LoopbackOnly,
    Internal,
}

/// The `error` member of a challenge (RFC 6750, section 3.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Challenge {
    /// No token was shown: a challenge without `error`.
    Plain,
    /// `invalid_request`
    InvalidRequest,
    /// `invalid_token`
    InvalidToken,
    /// `insufficient_scope`
    InsufficientScope,
    /// The fault is not the caller's: no challenge at all.
    None,
}

/// How the shim hands [`Reason::PortLimitTotal`] back, which shares its code with another reason.
pub const TOTAL: &CStr = c"port_limit total";

impl Reason {
    /// Every reason, in the order of docs/reasons.md.
    pub const ALL: &'static [Self] = &[
        Self::TokenMissing,
        Self::TokenMalformed,
        Self::TokenTooLarge,
        Self::TokenAmbiguous,
        Self::Algorithm,
        Self::KeyUnknown,
        Self::KeyUnfit,
        Self::Signature,
        Self::IssuerUnknown,
        Self::IssuerNotAccepted,
        Self::Audience,
        Self::Expired,
        Self::NotYetValid,
        Self::IssuedInFuture,
        Self::Lifetime,
        Self::Type,
        Self::Critical,
        Self::ClaimType,
        Self::DuplicateMember,
        Self::RequiredClaim,
        Self::UserMissing,
        Self::NotBound,
        Self::Rule,
        Self::Role,
        Self::Claim,
        Self::Issuer,
        Self::GroupsOverage,
        Self::KeysUnavailable,
        Self::PortUnknown,
        Self::PortLimit,
        Self::PortUnreachable,
        Self::EarlyBytes,
        Self::JobEnded,
        Self::JobMismatch,
        Self::JobUnknown,
        Self::Connect,
        Self::AuditUnavailable,
        Self::CredentialUnavailable,
        Self::AccountBlocked,
        Self::AccountChanged,
        Self::AccountUnknown,
        Self::SudoUser,
        Self::SudoBody,
        Self::CredentialPath,
        Self::CrossSite,
        Self::Path,
        Self::Login,
        Self::LoopbackOnly,
        Self::Internal,
    ];

    /// The code, NUL-terminated so that C can borrow it for ever, its HTTP status, its challenge
    /// and its one sentence for the client (printable ASCII without `"` and `\`, RFC 6750
    /// section 3): one row a reason, so that nothing can be forgotten.
    const fn row(self) -> (&'static CStr, u16, Challenge, &'static str) {
        use Challenge::{InsufficientScope, InvalidRequest, InvalidToken, None, Plain};
        match self {
            Self::TokenMissing => (c"token_missing", 401, Plain, "A token is required"),
            Self::TokenMalformed => (
                c"token_malformed",
                401,
                InvalidToken,
                "The token is malformed",
            ),
            Self::TokenTooLarge => (
                c"token_too_large",
                401,
                InvalidToken,
                "The token is too large",
            ),
            Self::TokenAmbiguous => (
                c"token_ambiguous",
                400,
                InvalidRequest,
                "More than one token was sent",
            ),
            Self::Algorithm => (
                c"algorithm",
                401,
                InvalidToken,
                "The token's algorithm is not accepted",
            ),
            Self::KeyUnknown => (
                c"key_unknown",
                401,
                InvalidToken,
                "The token's key is unknown. Get a new token",
            ),
            Self::KeyUnfit => (
                c"key_unfit",
                401,
                InvalidToken,
                "The token's key can't be used for its algorithm",
            ),
            Self::Signature => (
                c"signature",
                401,
                InvalidToken,
                "The token's signature is invalid",
            ),
            Self::IssuerUnknown => (
                c"issuer_unknown",
                401,
                InvalidToken,
                "The token's issuer is unknown",
            ),
            Self::IssuerNotAccepted => (
                c"issuer_not_accepted",
                401,
                InvalidToken,
                "The token's issuer is not accepted here",
            ),
            Self::Audience => (
                c"audience",
                401,
                InvalidToken,
                "The token is for another audience",
            ),
            Self::Expired => (
                c"expired",
                401,
                InvalidToken,
                "The token has expired. Get a new one",
            ),
            Self::NotYetValid => (
                c"not_yet_valid",
                401,
                InvalidToken,
                "The token is not valid yet. Compare the clocks",
            ),
            Self::IssuedInFuture => (
                c"issued_in_future",
                401,
                InvalidToken,
                "The token was issued in the future. Compare the clocks",
            ),
            Self::Lifetime => (
                c"lifetime",
                401,
                InvalidToken,
                "The token's lifetime is too long",
            ),
            Self::Type => (
                c"type",
                401,
                InvalidToken,
                "The token's type is not accepted",
            ),
            Self::Critical => (
                c"critical",
                401,
                InvalidToken,
                "The token has a critical header that is not supported",
            ),
            Self::ClaimType => (
                c"claim_type",
                401,
                InvalidToken,
                "A claim of the token is of the wrong type",
            ),
            Self::DuplicateMember => (
                c"duplicate_member",
                401,
                InvalidToken,
                "The token has a duplicate member",
            ),
            Self::RequiredClaim => (
                c"required_claim",
                401,
                InvalidToken,
                "The token lacks a claim that is required of its issuer",
            ),
            Self::UserMissing => (
                c"user_missing",
                401,
                InvalidToken,
                "The token names no user",
            ),
            Self::NotBound => (
                c"not_bound",
                401,
                InvalidToken,
                "The token is bound to a key. Send proof of that key",
            ),
            Self::Rule => (
                c"rule",
                403,
                InsufficientScope,
                "Access denied by the rules of this location",
            ),
            Self::Role => (
                c"role",
                403,
                InsufficientScope,
                "This location requires a role that the token does not give",
            ),
            Self::Claim => (
                c"claim",
                403,
                InsufficientScope,
                "This location requires a claim that the token does not have",
            ),
            Self::Issuer => (
                c"issuer",
                403,
                InsufficientScope,
                "This location requires a token of another issuer",
            ),
            Self::GroupsOverage => (
                c"groups_overage",
                403,
                InsufficientScope,
                "The token does not list its groups, because there are too many",
            ),
            Self::KeysUnavailable => (
                c"keys_unavailable",
                503,
                None,
                "The issuer's keys are temporarily unavailable. Try again later",
            ),
            Self::PortUnknown => (
                c"port_unknown",
                403,
                InsufficientScope,
                "There is no such port",
            ),
            Self::PortLimit => (
                c"port_limit",
                429,
                None,
                "Too many ports are open. Try again later",
            ),
            Self::PortLimitTotal => (
                c"port_limit",
                503,
                None,
                "Too many ports are open. Try again later",
            ),
            Self::EarlyBytes => (
                c"early_bytes",
                400,
                None,
                "Bytes came before the tunnel was open",
            ),
            Self::PortUnreachable => (
                c"port_unreachable",
                502,
                None,
                "The port's target is unreachable",
            ),
            Self::JobEnded => (c"job_ended", 403, InsufficientScope, "The job has ended"),
            Self::JobMismatch => (
                c"job_mismatch",
                403,
                InsufficientScope,
                "The job token belongs to another job",
            ),
            Self::JobUnknown => (
                c"job_unknown",
                503,
                None,
                "The state of the job is temporarily unknown. Try again later",
            ),
            Self::Connect => (c"connect", 405, None, "CONNECT is not supported here"),
            Self::AuditUnavailable => (
                c"audit_unavailable",
                503,
                None,
                "The audit log is temporarily unavailable. Try again later",
            ),
            Self::AccountBlocked => (
                c"account_blocked",
                403,
                InsufficientScope,
                "The account in GitLab is missing or not active: ask a GitLab administrator",
            ),
            Self::AccountChanged => (
                c"account_changed",
                403,
                InsufficientScope,
                "The name now belongs to another account in GitLab: ask an administrator",
            ),
            Self::AccountUnknown => (
                c"account_unknown",
                503,
                None,
                "GitLab can not say at present whether the account is active: try again later",
            ),
            Self::CredentialUnavailable => (
                c"credential_unavailable",
                503,
                None,
                "The gate's GitLab token is temporarily unavailable. Try again later",
            ),
            Self::SudoUser => (
                c"sudo_user",
                403,
                InsufficientScope,
                "The user's name can't be sent to GitLab",
            ),
            Self::SudoBody => (
                c"sudo_body",
                400,
                None,
                "The body has the parameter sudo. Remove it",
            ),
            Self::CredentialPath => (
                c"credential_path",
                403,
                None,
                "This path gets no credential of the gate",
            ),
            Self::CrossSite => (
                c"cross_site",
                403,
                None,
                "Another site made the browser send this request",
            ),
            Self::Path => (c"path", 400, None, "The path has dot segments"),
            Self::LoopbackOnly => (
                c"loopback_only",
                403,
                None,
                "Without signing in, this page is for clients on this host alone",
            ),
            Self::Login => (
                c"login",
                403,
                None,
                "GitLab's login is not given here, or too old. Sign in again",
            ),
            Self::Internal => (c"internal", 500, None, "Internal error of the gate"),
        }
    }

    /// The code as C text.
    #[must_use]
    pub const fn code_c(self) -> &'static CStr {
        self.row().0
    }

    /// The code.
    #[must_use]
    pub fn code(self) -> &'static str {
        self.row().0.to_str().unwrap_or("internal")
    }

    /// The HTTP status of the refusal. On CONNECT, 401 is answered as 407.
    #[must_use]
    pub const fn status(self) -> u16 {
        self.row().1
    }

    /// What the challenge says.
    #[must_use]
    pub const fn challenge(self) -> Challenge {
        self.row().2
    }

    /// One short fixed sentence for the client; never token content.
    #[must_use]
    pub const fn description(self) -> &'static str {
        self.row().3
    }

    /// The reason of that code.
    #[must_use]
    pub fn from_code(code: impl AsRef<[u8]>) -> Option<Self> {
        let code = code.as_ref();
        if code == TOTAL.to_bytes() {
            return Some(Self::PortLimitTotal);
        }
        let mut all = Self::ALL.iter().copied();
        all.find(|reason| reason.code_c().to_bytes() == code)
    }
}

/// A refusal: the code for everybody, the detail (what was wanted, what came) for the log alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// Why.
    pub reason: Reason,
    /// Got and wanted; never a token, a secret or a key.
    pub detail: String,
    /// The issuer that the token named, where it is one of the configuration's.
    pub issuer: Option<String>,
    /// Which check of the token refused, where one did.
    pub check: Option<Check>,
}

impl Refusal {
    /// A refusal with what the log should say of it.
    pub fn new(reason: Reason, detail: impl Into<String>) -> Self {
        Self {
            reason,
            detail: detail.into(),
            issuer: None,
            check: None,
        }
    }

    /// The same, by this check.
    #[must_use]
    pub const fn at(mut self, check: Check) -> Self {
        self.check = Some(check);
        self
    }

    /// The same, of a token that named this issuer.
    #[must_use]
    pub fn of(mut self, issuer: &str) -> Self {
        self.issuer = Some(issuer.to_owned());
        self
    }
}
