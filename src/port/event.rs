//! What is told of a port's opening and close: one place that knows every field (docs/audit.md).

use super::limit::Cause;
use crate::audit::line::{Frame, Tunnel, TunnelEnd};
use crate::grant::Grant;
use crate::identity::Identity;
use crate::shown;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

/// Whose port it is.
#[derive(Debug)]
pub struct Subject {
    /// NAME:PORT of the section.
    pub name: String,
    /// `http.request.id`
    pub request: String,
    /// The client's address.
    pub peer: String,
    /// The person and the job.
    pub grant: Arc<Grant>,
    /// The address that was connected to.
    pub target: SocketAddr,
}

/// How it ended.
#[derive(Clone, Copy, Debug)]
pub struct End {
    /// `event.reason`
    pub cause: Cause,
    /// `source.bytes`: from the client to the target.
    pub sent: u64,
    /// `destination.bytes`: from the target to the client.
    pub received: u64,
    /// `event.duration`
    pub duration: Duration,
}

/// The port is open; the line for the error log.
#[must_use]
pub fn opened(subject: &Subject, expires: u64) -> String {
    format!(
        "GATE701: port {} opened: user={} job={} target={} expires={expires} request={}",
        subject.name,
        plain(subject.grant.identity().user()),
        job(subject.grant.identity()),
        subject.target,
        subject.request
    )
}

/// The port is closed; the line for the error log.
#[must_use]
pub fn closed(subject: &Subject, end: &End) -> String {
    format!(
        "GATE702: port {} closed: {} source.bytes={} destination.bytes={} duration={}ms job={} request={}",
        subject.name,
        end.cause.code().to_string_lossy(),
        end.sent,
        end.received,
        end.duration.as_millis(),
        job(subject.grant.identity()),
        subject.request
    )
}

/// The opening, for the audit log.
#[must_use]
pub fn opening(frame: &Frame, subject: &Subject) -> Vec<u8> {
    frame.tunnel(&tunnel(subject), None)
}

/// The close, for the audit log.
#[must_use]
pub fn closing(frame: &Frame, subject: &Subject, end: &End) -> Vec<u8> {
    let nanos = u64::try_from(end.duration.as_nanos()).unwrap_or(u64::MAX);
    frame.tunnel(
        &tunnel(subject),
        Some(TunnelEnd {
            reason: end.cause.code().to_str().unwrap_or("client"),
            sent: end.sent,
            received: end.received,
            nanos,
        }),
    )
}

fn tunnel(subject: &Subject) -> Tunnel<'_> {
    Tunnel {
        name: &subject.name,
        id: &subject.request,
        peer: &subject.peer,
        target: subject.target,
        person: subject.grant.person(),
    }
}

fn job(identity: &Identity) -> String {
    identity.claim("job_id").map_or("-".into(), |it| plain(&it))
}

/// A word as it is, everything else quoted and escaped.
fn plain(text: &str) -> String {
    let word = |b: u8| b.is_ascii_alphanumeric() || b"-_.@/:+".contains(&b);
    if !text.is_empty() && text.len() < 120 && text.bytes().all(word) {
        text.to_owned()
    } else {
        shown::text(text)
    }
}
