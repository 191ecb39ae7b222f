//! A line of the log: one JSON object with Elastic Common Schema's names, and `gitlab_gate.*` for what
//! the schema has no name for. Everything that comes from outside is made valid UTF-8 and escaped.
//!
//! A line is made open at its end: `event` is its last member, and [`super::log`] closes it, since the
//! sequence and the hash stand in `event`. Nothing here decides or writes.

use super::text::Text;
use crate::identity::{Identity, scalar};
use crate::json::Value;
use crate::verdict::{Challenge, Reason};
use std::borrow::Cow;

/// The version of the schema whose names are used.
const ECS: &str = "9.4.0";

/// Who a line speaks of: made once per token.
#[derive(Clone, Copy, Debug)]
pub struct Person<'a> {
    /// The issuer's name in the configuration.
    pub issuer: &'a str,
    /// See [`fragment`].
    pub text: &'a [u8],
}

/// What a finished request was decided to be.
#[derive(Clone, Copy, Debug, Default)]
pub struct Decision<'a> {
    /// Who it is.
    pub person: Option<Person<'a>>,
    /// Why it was refused; `None`: granted.
    pub reason: Option<Reason>,
    /// The issuer that a refused token named, where it is one of the configuration's.
    pub named: Option<&'a [u8]>,
    /// The refusal was only written down (GateMode observe).
    pub observed: bool,
    /// What was wanted and what came.
    pub detail: Option<&'a [u8]>,
    /// The HTTP status that the client got.
    pub status: u16,
    /// The section's argument.
    pub place: Option<&'a [u8]>,
    /// The request's id.
    pub id: Option<&'a [u8]>,
    pub method: Option<&'a [u8]>,
    /// Without the query; `None`: a CONNECT, to `port` of `host`.
    pub path: Option<&'a [u8]>,
    pub host: Option<&'a [u8]>,
    pub port: u16,
    /// `HTTP/1.1`
    pub protocol: Option<&'a [u8]>,
    /// `User-Agent`
    pub agent: Option<&'a [u8]>,
    /// The client's address.
    pub peer: Option<&'a [u8]>,
    pub peer_port: u16,
    /// When it came, microseconds since the epoch.
    pub time: u64,
    /// Microseconds.
    pub duration: u64,
}

impl Decision<'_> {
    /// The issuer: the identity's, or the one that a refused token named.
    #[must_use]
    pub fn issuer(&self) -> Option<Cow<'_, str>> {
        match self.person {
            Some(person) => Some(Cow::Borrowed(person.issuer)),
            None => self.named.map(String::from_utf8_lossy),
        }
    }
}

/// An open port.
#[derive(Clone, Copy, Debug)]
pub struct Tunnel<'a> {
    /// NAME:PORT of the section.
    pub name: &'a str,
    pub id: &'a str,
    pub peer: &'a str,
    pub target: std::net::SocketAddr,
    pub person: Person<'a>,
}

/// How a port ended.
#[derive(Clone, Copy, Debug)]
pub struct TunnelEnd<'a> {
    /// `event.reason`
    pub reason: &'a str,
    /// Bytes from the client to the target.
    pub sent: u64,
    /// Bytes from the target to the client.
    pub received: u64,
    pub nanos: u64,
}

/// What is the same in all lines of a process, rendered once.
#[derive(Debug)]
pub struct Frame(Vec<u8>);

impl Default for Frame {
    fn default() -> Self {
        Self::new()
    }
}

impl Frame {
    /// For this process.
    #[must_use]
    pub fn new() -> Self {
        let mut text = Text::default();
        text.push(&format!(
            ",\"ecs\":{{\"version\":\"{ECS}\"}},\"observer\":{{\"vendor\":\"mod_gitlab_gate\",\"product\":\"mod_gitlab_gate\",\
             \"type\":\"proxy\",\"version\":\"{}\"}},\"process\":{{\"pid\":{}}}",
            env!("CARGO_PKG_VERSION"),
            std::process::id()
        ));
        if let Ok(host) = std::fs::read("/proc/sys/kernel/hostname") {
            text.member(",\"host\":{\"name\":", Some(host.trim_ascii()));
            text.push("}");
        }
        Self(text.into_bytes())
    }

    fn begin(&self, time: u64) -> Text {
        let mut line = Text::with_capacity(1536);
        line.push("{\"@timestamp\":");
        line.time(time);
        line.join(&self.0);
        line
    }

    /// The line of a decision.
    #[must_use]
    pub fn decision(&self, it: &Decision<'_>) -> Vec<u8> {
        let mut line = self.begin(it.time);
        if let Some(detail) = it.detail.filter(|_| it.reason.is_some()) {
            line.member(",\"message\":", Some(detail));
        }
        if let Some(peer) = it.peer {
            line.member(",\"source\":{\"address\":", Some(peer));
            if std::str::from_utf8(peer).is_ok_and(|it| it.parse::<std::net::IpAddr>().is_ok()) {
                line.member(",\"ip\":", Some(peer));
            }
            if it.peer_port != 0 {
                line.push(",\"port\":");
                line.number(it.peer_port.into());
            }
            line.push("}");
        }
        line.push(",\"http\":{\"request\":{\"id\":");
        line.quote(it.id.unwrap_or_default());
        line.member(",\"method\":", it.method);
        line.push("},\"response\":{\"status_code\":");
        line.number(it.status.into());
        line.push("}");
        let version = it.protocol.and_then(|it| it.strip_prefix(b"HTTP/"));
        line.member(",\"version\":", version);
        if let Some(path) = it.path {
            line.push("},\"url\":{\"path\":");
            line.quote(path);
        } else {
            line.push("},\"url\":{\"port\":");
            line.number(it.port.into());
        }
        line.member(",\"domain\":", it.host);
        line.push("}");
        if it.agent.is_some() {
            line.member(",\"user_agent\":{\"original\":", it.agent);
            line.push("}");
        }
        if it.place.is_some() {
            line.member(",\"rule\":{\"name\":", it.place);
            line.push("}");
        }
        match it.person {
            Some(person) => line.join(person.text),
            None => {
                line.push(",\"gitlab_gate\":{");
                if it.named.is_some() {
                    line.member("\"issuer\":", it.named);
                    line.push(",");
                }
            }
        }
        line.push(if it.observed {
            "\"mode\":\"observe\"}"
        } else {
            "\"mode\":\"enforce\"}"
        });
        let (category, kind) = match it.reason {
            None => ("network", "\"access\",\"allowed\""),
            Some(reason) if is_of_authentication(reason) => ("authentication", "\"start\""),
            Some(_) => ("network", "\"access\",\"denied\""),
        };
        event(
            &mut line,
            category,
            kind,
            "access",
            if it.reason.is_none() {
                "success"
            } else {
                "failure"
            },
        );
        if let Some(reason) = it.reason {
            line.member(",\"reason\":", Some(reason.code().as_bytes()));
        }
        line.push(",\"duration\":");
        line.number(it.duration.saturating_mul(1000));
        line.into_bytes()
    }

    /// The line of a port's opening, or of its close.
    #[must_use]
    pub fn tunnel(&self, it: &Tunnel<'_>, end: Option<TunnelEnd<'_>>) -> Vec<u8> {
        let mut line = self.begin(now());
        line.member(",\"source\":{\"address\":", Some(it.peer.as_bytes()));
        if it.peer.parse::<std::net::IpAddr>().is_ok() {
            line.member(",\"ip\":", Some(it.peer.as_bytes()));
        }
        if let Some(end) = &end {
            line.push(",\"bytes\":");
            line.number(end.sent);
        }
        let (ip, port) = (it.target.ip(), it.target.port());
        line.push(&format!(
            "}},\"destination\":{{\"address\":\"{ip}\",\"ip\":\"{ip}\",\"port\":{port}"
        ));
        if let Some(end) = &end {
            line.push(",\"bytes\":");
            line.number(end.received);
        }
        line.push("},\"network\":{\"transport\":\"tcp\"},\"http\":{\"request\":{\"id\":");
        line.quote(it.id.as_bytes());
        line.push(",\"method\":\"CONNECT\"}},\"rule\":{\"name\":");
        line.quote(it.name.as_bytes());
        line.push("}");
        line.join(it.person.text);
        line.push("\"mode\":\"enforce\"}");
        let (kind, action) = match end {
            None => ("\"connection\",\"start\",\"allowed\"", "port-open"),
            Some(_) => ("\"connection\",\"end\"", "port-close"),
        };
        event(&mut line, "network", kind, action, "success");
        if let Some(end) = end {
            line.member(",\"reason\":", Some(end.reason.as_bytes()));
            line.push(",\"duration\":");
            line.number(end.nanos);
        }
        line.into_bytes()
    }

    /// The line of a change of an issuer's keys.
    #[must_use]
    pub fn keys_changed(&self, issuer: &str, added: &[String], removed: &[String]) -> Vec<u8> {
        let mut line = self.begin(now());
        let text = format!(
            "issuer {issuer}: keys added: [{}], removed: [{}]",
            added.join(" "),
            removed.join(" ")
        );
        line.member(",\"message\":", Some(text.as_bytes()));
        line.member(",\"gitlab_gate\":{\"issuer\":", Some(issuer.as_bytes()));
        line.list(",\"keys_added\":", added);
        line.list(",\"keys_removed\":", removed);
        line.push("}");
        event(
            &mut line,
            "configuration",
            "\"change\"",
            "keys-changed",
            "success",
        );
        line.into_bytes()
    }

    /// The line of the gate's own life: `action` is `gate-start`, `gate-restart`, `gate-stop` or
    /// `audit-resumed`.
    #[must_use]
    pub fn life(&self, action: &str, kind: &str, message: &str) -> Vec<u8> {
        let mut line = self.begin(now());
        line.member(",\"message\":", Some(message.as_bytes()));
        event(
            &mut line,
            "process",
            &format!("\"{kind}\""),
            action,
            "success",
        );
        line.into_bytes()
    }
}

/// Whether who asks was not believed: an attempt to authenticate, of which nothing was asked yet.
const fn is_of_authentication(reason: Reason) -> bool {
    matches!(
        reason.challenge(),
        Challenge::Plain | Challenge::InvalidRequest | Challenge::InvalidToken
    )
}

fn event(line: &mut Text, category: &str, kind: &str, action: &str, outcome: &str) {
    for piece in [
        ",\"event\":{\"kind\":\"event\",\"category\":[\"",
        category,
        "\"],\"type\":[",
        kind,
        "],\"action\":\"",
        action,
        "\",\"outcome\":\"",
        outcome,
        "\",\"module\":\"gitlab_gate\",\"dataset\":\"gitlab_gate.audit\"",
    ] {
        line.push(piece);
    }
}

/// What depends on the token alone: `user.*`, and the open `gitlab_gate`. Made once per token.
#[must_use]
pub fn fragment(identity: &Identity) -> Vec<u8> {
    let mut line = Text::with_capacity(512);
    line.member(",\"user\":{\"name\":", Some(identity.user().as_bytes()));
    line.member(",\"id\":", identity.subject().map(str::as_bytes));
    line.member(",\"email\":", identity.email().map(str::as_bytes));
    line.list(",\"roles\":", identity.roles());
    line.member(
        "},\"gitlab_gate\":{\"issuer\":",
        Some(identity.issuer_name().as_bytes()),
    );
    for (name, claim) in [
        (",\"project\":", "project_path"),
        (",\"pipeline\":", "pipeline_id"),
        (",\"job\":", "job_id"),
        (",\"ref\":", "ref"),
        (",\"sha\":", "sha"),
        (",\"token_id\":", "jti"),
    ] {
        if let Some(value @ (Value::String(_) | Value::Number(_))) = identity.claims().get(claim) {
            line.member(name, scalar(value).as_deref().map(str::as_bytes));
        }
    }
    line.push(&format!(",\"expires\":{},", identity.expires()));
    line.into_bytes()
}

fn now() -> u64 {
    std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .map_or(0, |it| u64::try_from(it.as_micros()).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]
    use super::*;

    fn closed(line: &[u8]) -> serde_json::Value {
        serde_json::from_slice(&[line, b"}}"].concat()).unwrap()
    }

    #[test]
    fn any_bytes_become_one_line_of_json() {
        let all: Vec<u8> = (0..=255).collect();
        let line = Frame::new().decision(&Decision {
            reason: Some(Reason::Role),
            detail: Some(&all),
            path: Some(&all),
            place: Some(b"/"),
            peer: Some(b"::1"),
            ..Decision::default()
        });
        assert!(!line.contains(&b'\n'));
        let value = closed(&line);
        assert_eq!(value["event"]["reason"], "role");
        assert_eq!(value["rule"]["name"], "/");
        assert!(value["url"]["path"].as_str().unwrap().contains(" !\"#"));
    }

    #[test]
    fn who_is_not_believed_attempts_to_authenticate_and_who_is_refused_for_else_is_denied() {
        for (reason, category, kind) in [
            (Reason::TokenMissing, "authentication", "start"),
            (Reason::TokenAmbiguous, "authentication", "start"),
            (Reason::Expired, "authentication", "start"),
            (Reason::Role, "network", "access"),
            (Reason::SudoBody, "network", "access"),
            (Reason::EarlyBytes, "network", "access"),
        ] {
            let value = closed(&Frame::new().decision(&Decision {
                reason: Some(reason),
                ..Decision::default()
            }));
            assert_eq!(value["event"]["category"][0], category, "{reason:?}");
            assert_eq!(value["event"]["type"][0], kind, "{reason:?}");
        }
    }
}
