//! A line of the log: one JSON object with Elastic Common Schema's names, and `gitlab_gate.*` for what
//! the schema has no name for. Everything that comes from outside is made valid UTF-8 and escaped.
//!
//! A line is made open at its end: `event` is its last member, and [`super::log`] closes it, since the
//! sequence and the hash stand in `event`. Nothing here decides or writes.

use crate::identity::Identity;
use crate::verdict::Reason;
use serde_json::Value;
use std::borrow::Cow;
use std::fmt::Write as _;

/// The version of the schema whose names are used.
const ECS: &str = "9.4.0";
/// The most bytes of one text from outside.
const LONGEST: usize = 2048;

/// Who a line speaks of: made once per token.
#[derive(Clone, Copy, Debug)]
pub struct Person<'a> {
    /// The issuer's name in the configuration.
    pub issuer: &'a str,
    /// See [`fragment`].
    pub text: &'a str,
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
    /// Without the query.
    pub path: Option<&'a [u8]>,
    pub host: Option<&'a [u8]>,
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
pub struct Frame(String);

impl Default for Frame {
    fn default() -> Self {
        Self::new()
    }
}

impl Frame {
    /// For this process.
    #[must_use]
    pub fn new() -> Self {
        let mut text = String::new();
        let _ = write!(
            text,
            ",\"ecs\":{{\"version\":\"{ECS}\"}},\"observer\":{{\"vendor\":\"mod_gitlab_gate\",\"product\":\"mod_gitlab_gate\",\
             \"type\":\"proxy\",\"version\":\"{}\"}},\"process\":{{\"pid\":{}}}",
            env!("CARGO_PKG_VERSION"),
            std::process::id()
        );
        if let Ok(host) = std::fs::read("/proc/sys/kernel/hostname") {
            text.push_str(",\"host\":{\"name\":");
            quote(&mut text, host.trim_ascii());
            text.push('}');
        }
        Self(text)
    }

    fn begin(&self, time: u64) -> String {
        let mut line = String::with_capacity(1536);
        line.push_str("{\"@timestamp\":\"");
        timestamp(&mut line, time);
        line.push('"');
        line.push_str(&self.0);
        line
    }

    /// The line of a decision.
    #[must_use]
    pub fn decision(&self, it: &Decision<'_>) -> String {
        let mut line = self.begin(it.time);
        if let Some(detail) = it.detail.filter(|_| it.reason.is_some()) {
            member(&mut line, ",\"message\":", Some(detail));
        }
        if let Some(peer) = it.peer {
            member(&mut line, ",\"source\":{\"address\":", Some(peer));
            if std::str::from_utf8(peer).is_ok_and(|it| it.parse::<std::net::IpAddr>().is_ok()) {
                member(&mut line, ",\"ip\":", Some(peer));
            }
            if it.peer_port != 0 {
                line.push_str(",\"port\":");
                number(&mut line, it.peer_port.into(), 1);
            }
            line.push('}');
        }
        line.push_str(",\"http\":{\"request\":{\"id\":");
        quote(&mut line, it.id.unwrap_or_default());
        member(&mut line, ",\"method\":", it.method);
        line.push_str("},\"response\":{\"status_code\":");
        number(&mut line, it.status.into(), 1);
        line.push('}');
        let version = it.protocol.and_then(|it| it.strip_prefix(b"HTTP/"));
        member(&mut line, ",\"version\":", version);
        line.push_str("},\"url\":{\"path\":");
        quote(&mut line, it.path.unwrap_or_default());
        member(&mut line, ",\"domain\":", it.host);
        line.push('}');
        if it.agent.is_some() {
            member(&mut line, ",\"user_agent\":{\"original\":", it.agent);
            line.push('}');
        }
        if it.place.is_some() {
            member(&mut line, ",\"rule\":{\"name\":", it.place);
            line.push('}');
        }
        match it.person {
            Some(person) => line.push_str(person.text),
            None => {
                line.push_str(",\"gitlab_gate\":{");
                if it.named.is_some() {
                    member(&mut line, "\"issuer\":", it.named);
                    line.push(',');
                }
            }
        }
        line.push_str(if it.observed {
            "\"mode\":\"observe\"}"
        } else {
            "\"mode\":\"enforce\"}"
        });
        let (category, kind) = match it.reason {
            None => ("network", "\"access\",\"allowed\""),
            Some(reason) if matches!(reason.status(), 400 | 401) => ("authentication", "\"start\""),
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
            let _ = write!(line, ",\"reason\":\"{}\"", reason.code());
        }
        line.push_str(",\"duration\":");
        number(&mut line, it.duration.saturating_mul(1000), 1);
        line
    }

    /// The line of a port's opening, or of its close.
    #[must_use]
    pub fn tunnel(&self, it: &Tunnel<'_>, end: Option<TunnelEnd<'_>>) -> String {
        let mut line = self.begin(now());
        member(
            &mut line,
            ",\"source\":{\"address\":",
            Some(it.peer.as_bytes()),
        );
        if it.peer.parse::<std::net::IpAddr>().is_ok() {
            member(&mut line, ",\"ip\":", Some(it.peer.as_bytes()));
        }
        if let Some(end) = &end {
            let _ = write!(line, ",\"bytes\":{}", end.sent);
        }
        let (ip, port) = (it.target.ip(), it.target.port());
        let _ = write!(
            line,
            "}},\"destination\":{{\"address\":\"{ip}\",\"ip\":\"{ip}\",\"port\":{port}"
        );
        if let Some(end) = &end {
            let _ = write!(line, ",\"bytes\":{}", end.received);
        }
        line.push_str("},\"network\":{\"transport\":\"tcp\"},\"http\":{\"request\":{\"id\":");
        quote(&mut line, it.id.as_bytes());
        line.push_str(",\"method\":\"CONNECT\"}},\"rule\":{\"name\":");
        quote(&mut line, it.name.as_bytes());
        line.push('}');
        line.push_str(it.person.text);
        line.push_str("\"mode\":\"enforce\"}");
        let (kind, action) = match end {
            None => ("\"connection\",\"start\",\"allowed\"", "port-open"),
            Some(_) => ("\"connection\",\"end\"", "port-close"),
        };
        event(&mut line, "network", kind, action, "success");
        if let Some(end) = end {
            let _ = write!(
                line,
                ",\"reason\":\"{}\",\"duration\":{}",
                end.reason, end.nanos
            );
        }
        line
    }

    /// The line of a change of an issuer's keys.
    #[must_use]
    pub fn keys_changed(&self, issuer: &str, added: &[String], removed: &[String]) -> String {
        let mut line = self.begin(now());
        let text = format!(
            "issuer {issuer}: keys added: [{}], removed: [{}]",
            added.join(" "),
            removed.join(" ")
        );
        member(&mut line, ",\"message\":", Some(text.as_bytes()));
        member(
            &mut line,
            ",\"gitlab_gate\":{\"issuer\":",
            Some(issuer.as_bytes()),
        );
        list(&mut line, ",\"keys_added\":", added);
        list(&mut line, ",\"keys_removed\":", removed);
        line.push('}');
        event(
            &mut line,
            "configuration",
            "\"change\"",
            "keys-changed",
            "success",
        );
        line
    }

    /// The line of the gate's own life: `action` is `gate-start`, `gate-restart`, `gate-stop` or
    /// `audit-resumed`.
    #[must_use]
    pub fn life(&self, action: &str, kind: &str, message: &str) -> String {
        let mut line = self.begin(now());
        member(&mut line, ",\"message\":", Some(message.as_bytes()));
        event(
            &mut line,
            "process",
            &format!("\"{kind}\""),
            action,
            "success",
        );
        line
    }
}

fn event(line: &mut String, category: &str, kind: &str, action: &str, outcome: &str) {
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
        line.push_str(piece);
    }
}

/// What depends on the token alone: `user.*`, and the open `gitlab_gate`. Made once per token.
#[must_use]
pub fn fragment(identity: &Identity) -> String {
    let mut line = String::new();
    member(
        &mut line,
        ",\"user\":{\"name\":",
        Some(identity.user().as_bytes()),
    );
    member(&mut line, ",\"id\":", identity.subject().map(str::as_bytes));
    member(
        &mut line,
        ",\"email\":",
        identity.email().map(str::as_bytes),
    );
    list(&mut line, ",\"roles\":", identity.roles());
    member(
        &mut line,
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
        if matches!(
            identity.claims().get(claim),
            Some(Value::String(_) | Value::Number(_))
        ) {
            member(
                &mut line,
                name,
                identity.claim(claim).as_deref().map(str::as_bytes),
            );
        }
    }
    let _ = write!(line, ",\"expires\":{},", identity.expires());
    line
}

/// `name` and the text, where there is one.
fn member(line: &mut String, name: &str, text: Option<&[u8]>) {
    if let Some(text) = text {
        line.push_str(name);
        quote(line, text);
    }
}

fn list(line: &mut String, name: &str, items: &[String]) {
    line.push_str(name);
    line.push('[');
    for (at, item) in items.iter().enumerate() {
        if at > 0 {
            line.push(',');
        }
        quote(line, item.as_bytes());
    }
    line.push(']');
}

/// A JSON string of any bytes; what is not UTF-8 becomes U+FFFD, what is too long is cut.
fn quote(line: &mut String, text: &[u8]) {
    let cut = text.get(..LONGEST).unwrap_or(text);
    line.push('"');
    let plain = |b: &u8| (b' '..0x7f).contains(b) && !matches!(b, b'"' | b'\\');
    let escaped = match std::str::from_utf8(cut) {
        Ok(text) if cut.iter().all(plain) => {
            line.push_str(text);
            &[]
        }
        _ => cut,
    };
    for chunk in escaped.utf8_chunks() {
        for c in chunk.valid().chars() {
            match c {
                '"' => line.push_str("\\\""),
                '\\' => line.push_str("\\\\"),
                c if c.is_control() || matches!(c, '\u{2028}' | '\u{2029}') => {
                    let _ = write!(line, "\\u{:04x}", u32::from(c));
                }
                c => line.push(c),
            }
        }
        if !chunk.invalid().is_empty() {
            line.push('\u{fffd}');
        }
    }
    if cut.len() < text.len() {
        line.push('…');
    }
    line.push('"');
}

fn now() -> u64 {
    std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .map_or(0, |it| u64::try_from(it.as_micros()).unwrap_or(u64::MAX))
}

/// RFC 3339 in UTC, with microseconds.
fn timestamp(line: &mut String, micros: u64) {
    let seconds = micros / 1_000_000;
    let (days, second) = (seconds / 86_400, seconds % 86_400);
    // The civil calendar from days since 1970, in years that begin in March.
    let shifted = days + 719_468;
    let (era, of_era) = (shifted / 146_097, shifted % 146_097);
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let march_month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * march_month + 2) / 5 + 1;
    let month = if march_month < 10 {
        march_month + 3
    } else {
        march_month - 9
    };
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    for (value, width, after) in [
        (year, 4, '-'),
        (month, 2, '-'),
        (day, 2, 'T'),
        (second / 3600, 2, ':'),
        (second / 60 % 60, 2, ':'),
        (second % 60, 2, '.'),
        (micros % 1_000_000, 6, 'Z'),
    ] {
        number(line, value, width);
        line.push(after);
    }
}

/// Decimal, of so many digits or more. Each line has ten of them: `write!` costs five times as much.
fn number(line: &mut String, mut value: u64, width: usize) {
    let mut digits = [b'0'; 20];
    let mut used = 0;
    for digit in digits.iter_mut().rev() {
        if value == 0 && used >= width {
            break;
        }
        *digit = b'0' + (value % 10) as u8;
        value /= 10;
        used += 1;
    }
    let text = digits.get(20 - used..).unwrap_or_default();
    line.push_str(std::str::from_utf8(text).unwrap_or_default());
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]
    use super::*;

    fn closed(line: &str) -> Value {
        serde_json::from_str(&format!("{line}}}}}")).unwrap()
    }

    #[test]
    fn times_are_written_as_the_calendar_has_them() {
        for (seconds, text) in [
            (0, "1970-01-01T00:00:00.000000Z"),
            (951_782_400, "2000-02-29T00:00:00.000000Z"),
            (1_767_225_599, "2025-12-31T23:59:59.000000Z"),
            (4_107_542_400, "2100-03-01T00:00:00.000000Z"),
        ] {
            let mut line = String::new();
            timestamp(&mut line, seconds * 1_000_000);
            assert_eq!(line, text);
        }
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
        assert!(!line.contains('\n'));
        let value = closed(&line);
        assert_eq!(value["event"]["reason"], "role");
        assert_eq!(value["rule"]["name"], "/");
        assert!(value["url"]["path"].as_str().unwrap().contains("ABC\"") || line.contains("\\\""));
    }

    #[test]
    fn a_text_without_end_is_cut() {
        let long = vec![b'a'; 100_000];
        let line = Frame::new().decision(&Decision {
            path: Some(&long),
            ..Decision::default()
        });
        assert!(line.len() < 4096);
        closed(&line);
    }
}
