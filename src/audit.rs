//! The audit log: who did what, and what was refused, one line each (docs/audit.md).
//!
//! Read it in this order:
//!
//! - [`line`]: a decision, a change of keys, a start or an end, as a line of Elastic Common Schema.
//! - [`text`]: JSON of what comes from outside: strings, numbers, times.
//! - [`chain`]: the keyed hash from line to line, and its state between processes.
//! - [`log`]: appending lines to the log, one process at a time, nothing torn.
//! - [`writer`]: a child's queue and the thread that empties it; requests never wait.
//! - [`verify`]: the other side of the chain, for `gatectl audit verify`.
//!
//! What was decided is not questioned here, and no token ever comes here.

pub mod chain;
pub mod line;
pub mod log;
pub mod text;
pub mod verify;
pub mod writer;

use crate::config::AuditOn;
use line::Frame;
use std::sync::Arc;

pub use line::Decision;
pub use log::Log;
pub use writer::Writer;

/// What one child writes down, and whether it may go on without.
#[derive(Clone, Default)]
pub struct Recorder {
    frame: Arc<Frame>,
    writer: Option<Arc<Writer>>,
    required: bool,
}

impl Recorder {
    /// `required`: GateAuditRequired.
    #[must_use]
    pub const fn new(frame: Arc<Frame>, writer: Option<Arc<Writer>>, required: bool) -> Self {
        Self {
            frame,
            writer,
            required,
        }
    }

    /// GateAuditRequired is on and the log can't be written.
    #[must_use]
    pub fn must_refuse(&self) -> bool {
        self.required && self.writer.as_ref().is_some_and(|it| it.is_failing())
    }

    /// Writes a decision down, where its place wants that.
    pub fn record(&self, decision: &Decision<'_>, on: AuditOn) {
        let wanted = match on {
            AuditOn::All => true,
            AuditOn::Refusals => decision.reason.is_some(),
            AuditOn::None => false,
        };
        if let Some(writer) = self.writer.as_ref().filter(|_| wanted) {
            writer.push(&self.frame.decision(decision));
        }
    }

    /// An open line of another kind, as a port's.
    pub fn push(&self, line: impl FnOnce(&Frame) -> Vec<u8>) {
        if let Some(writer) = &self.writer {
            writer.push(&line(&self.frame));
        }
    }

    /// Whether what it is told is written down, where there is a log.
    #[must_use]
    pub fn runs(&self) -> bool {
        self.writer.as_ref().is_none_or(|it| it.runs())
    }

    /// Writes what is queued, and ends.
    pub fn stop(&self) {
        if let Some(writer) = &self.writer {
            writer.stop();
        }
    }
}
