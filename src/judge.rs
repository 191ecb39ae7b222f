//! What follows from what httpd found out about a request: which refusal, and whether GateMode observe lets it pass.
//! Tokens are looked at in `gate`; what the client sees of a refusal is composed in `answer`.

use crate::config::Mode;
use crate::verdict::{Reason, Refusal};

/// What httpd found out, where a refusal follows from it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fact {
    /// The rules want a user, and nobody is known.
    UserNeeded,
    /// A gated request comes to its handler and was never looked at.
    NotJudged,
    /// A body holds what it may not hold.
    Body,
    /// The end of a connection can't be watched.
    Unwatched,
    /// CONNECT over HTTP/2.
    ConnectH2,
    /// CONNECT to a server without `<GatePort>`.
    NoPorts,
    /// Bytes came before the 200 of a CONNECT.
    EarlyBytes,
    /// There is no descriptor left for a tunnel.
    NoDescriptor,
    /// The gate did not start in this child.
    NotStarted,
    /// A part of the gate failed.
    Failed,
}

impl Fact {
    /// The refusal.
    #[must_use]
    pub fn refusal(self) -> Refusal {
        let (reason, detail) = match self {
            Self::UserNeeded => (Reason::TokenMissing, "no token was sent"),
            Self::NotJudged => (Reason::Internal, "the token was never looked at"),
            Self::Body => (
                Reason::SudoBody,
                "the body holds the parameter sudo, or hides its parameters",
            ),
            Self::Unwatched => (
                Reason::Internal,
                "the end of the connection can not be watched",
            ),
            Self::ConnectH2 => (
                Reason::Connect,
                "CONNECT over HTTP/2: a stream has no socket of its own",
            ),
            Self::NoPorts => (Reason::Connect, "this server has no <GatePort>"),
            Self::EarlyBytes => (Reason::EarlyBytes, "bytes came before the 200"),
            Self::NoDescriptor => (Reason::Internal, "no descriptor for the tunnel"),
            Self::Failed => (
                Reason::Internal,
                "the gate failed while it looked at the request",
            ),
            Self::NotStarted => (Reason::Internal, "the gate did not start in this child"),
        };
        Refusal::new(reason, detail)
    }
}

/// What a section and a request say about refusals.
#[derive(Clone, Copy, Debug)]
pub struct Circumstances {
    /// GateMode.
    pub mode: Mode,
    /// CONNECT, or a forward proxy's request.
    pub connect: bool,
    /// The handler is one of the gate (`SetHandler gate-...`).
    pub own_handler: bool,
}

/// Whether GateMode observe lets a refusal pass. Not where the gate itself failed, a tunnel would open for an
/// unknown client, the gate itself would answer, a body was cut off, or the gate's credential would be shown.
#[must_use]
pub fn only_observes(reason: Reason, at: Circumstances) -> bool {
    let never = matches!(
        reason,
        Reason::Internal
            | Reason::AuditUnavailable
            | Reason::SudoBody
            | Reason::CredentialPath
            | Reason::CrossSite
            | Reason::Path
    );
    at.mode == Mode::Observe && !never && !at.connect && !at.own_handler
}

/// The first Require of the gate that was not fulfilled.
#[derive(Clone, Debug, Default)]
pub struct Denial {
    /// Why, and what was wanted and what came.
    pub refusal: Option<Refusal>,
    /// It can't be said whether the rule holds: it refuses, whatever httpd makes of it.
    pub unknown: bool,
    /// An expression asked for claims, and nobody is known.
    pub nobody: bool,
}

/// The refusal that follows from httpd's answer to its rules; `None`: its answer stands.
#[must_use]
pub fn after_rules(status: i32, identified: bool, denial: Denial) -> Option<Refusal> {
    let rule = || Refusal::new(Reason::Rule, "a Require of this section is not fulfilled");
    match (status, denial.refusal) {
        (_, refusal) if denial.unknown => Some(refusal.unwrap_or_else(|| {
            Refusal::new(Reason::Internal, "it can't be said whether a rule holds")
        })),
        (403, _) if denial.nobody => Some(Fact::UserNeeded.refusal()),
        (403, refusal) => Some(refusal.unwrap_or_else(rule)),
        (401, refusal) if identified => Some(refusal.unwrap_or_else(rule)),
        _ => None,
    }
}

/// What becomes of a CONNECT that no `<GatePort>` of the server answers.
#[must_use]
pub fn unknown_port(identified: bool, in_section: bool) -> Refusal {
    match (identified, in_section) {
        (false, _) => Fact::UserNeeded.refusal(),
        (true, true) => Refusal::new(
            Reason::PortUnknown,
            "AuthType Gate is not in force in this <GatePort>",
        ),
        (true, false) => Refusal::new(
            Reason::PortUnknown,
            "no <GatePort> of this server has that name and port",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OBSERVE: Circumstances = Circumstances {
        mode: Mode::Observe,
        connect: false,
        own_handler: false,
    };

    #[test]
    fn observe_lets_a_refusal_of_a_token_pass() {
        assert!(only_observes(Reason::Expired, OBSERVE));
        assert!(only_observes(Reason::Role, OBSERVE));
        let enforce = Circumstances {
            mode: Mode::Enforce,
            ..OBSERVE
        };
        assert!(!only_observes(Reason::Expired, enforce));
    }

    #[test]
    fn observe_lets_no_failure_and_no_tunnel_pass() {
        for reason in [
            Reason::Internal,
            Reason::AuditUnavailable,
            Reason::SudoBody,
            Reason::CredentialPath,
            Reason::CrossSite,
            Reason::Path,
        ] {
            assert!(!only_observes(reason, OBSERVE), "{reason:?}");
        }
        let connect = Circumstances {
            connect: true,
            ..OBSERVE
        };
        let own_handler = Circumstances {
            own_handler: true,
            ..OBSERVE
        };
        assert!(!only_observes(Reason::Expired, connect));
        assert!(!only_observes(Reason::Expired, own_handler));
    }

    fn reason(status: i32, identified: bool, denial: Denial) -> Option<Reason> {
        after_rules(status, identified, denial).map(|it| it.reason)
    }

    fn role() -> Denial {
        Denial {
            refusal: Some(Refusal::new(Reason::Role, "")),
            ..Denial::default()
        }
    }

    #[test]
    fn the_first_rule_that_was_not_fulfilled_gives_the_reason() {
        assert_eq!(reason(403, true, role()), Some(Reason::Role));
        assert_eq!(reason(401, true, role()), Some(Reason::Role));
        assert_eq!(reason(403, true, Denial::default()), Some(Reason::Rule));
        assert_eq!(reason(401, false, role()), None);
        assert_eq!(reason(0, true, role()), None);
        assert_eq!(reason(-1, false, Denial::default()), None);
        assert_eq!(reason(500, true, role()), None);
    }

    #[test]
    fn what_can_not_be_said_refuses_whatever_httpd_makes_of_it() {
        let unknown = || Denial {
            unknown: true,
            ..role()
        };
        for status in [0, -1, 401, 403] {
            assert_eq!(reason(status, true, unknown()), Some(Reason::Role));
        }
        let none = Denial {
            refusal: None,
            ..unknown()
        };
        assert_eq!(reason(0, true, none), Some(Reason::Internal));
    }

    #[test]
    fn an_expression_that_nobody_can_fulfil_asks_for_a_token() {
        let nobody = Denial {
            nobody: true,
            ..Denial::default()
        };
        assert_eq!(reason(403, false, nobody), Some(Reason::TokenMissing));
    }

    #[test]
    fn an_unknown_port_asks_who_it_is_first() {
        assert_eq!(unknown_port(false, true).reason, Reason::TokenMissing);
        assert_eq!(unknown_port(true, true).reason, Reason::PortUnknown);
        assert_eq!(unknown_port(true, false).reason, Reason::PortUnknown);
    }
}
