//! gate_audit_…: the audit log that the parent opened, and the lines that children write.

use super::cast::Castable;
use super::configuration::handle;
use super::ffi::{self, gate_event};
use super::host::{ERROR, NOTICE, WARNING, say};
use super::text::{bytes, lossy, slice};
use super::view::grant_of;
use crate::audit::line::Frame;
use crate::audit::writer::Report;
use crate::audit::{Decision, Log};
use crate::config::AuditOn;
use crate::config::Setting;
use crate::directive::Slot;
use crate::gate::Process;
use crate::grant::Grant;
use crate::status::Outcome;
use crate::sys::file::Inherited;
use crate::sys::shared;
use crate::verdict::Reason;
use std::ffi::c_char;
use std::path::Path;
use std::sync::Arc;

/// Failures of the audit log, in the error log.
pub(super) struct AuditLog;

impl Report for AuditLog {
    fn failing(&self, why: &str) {
        say(
            ERROR,
            &format!("GATE601: GateAuditLog can't be written: {why}; lines are lost until GATE602"),
        );
    }

    fn resumed(&self, lost: u64) {
        say(
            NOTICE,
            &format!(
                "GATE602: GateAuditLog is written again; {lost} lines of this process were lost"
            ),
        );
    }

    fn lost(&self, lines: u64) {
        if let Some(board) = shared::board() {
            board.lost(lines);
        }
    }
}

entry! {
    fn gate_audit_open(config: *mut ffi::gate_config, descriptor: i32, path: *const c_char) -> i32 {
        // SAFETY: gate.h.
        let (handle, path) = unsafe { (handle(config), lossy(path)) };
        let (Some(handle), Some(target)) = (handle, Inherited::new(descriptor)) else {
            return 1;
        };
        let key = handle.builder.config.audit.key.clone();
        let path = path.as_deref().map(Path::new);
        let log = match Log::open(target, path, &handle.state_path, key) {
            Ok(log) => log,
            Err(wrong) => {
                say(ERROR, &format!("GATE600: GateAuditLog: {wrong}"));
                return 1;
            }
        };
        if log.has_unsealed_lines() {
            say(
                WARNING,
                "GATE603: GateAuditChainKey: GateAuditLog ends in a line without a seal, where gatectl audit verify \
                 will end with 1: move the log away and restart, so that the chain begins with a new file",
            );
        }
        let text = if handle.builder.config.audit.required {
            "the gate starts; GateAuditRequired on: no request passes while this log can't be written"
        } else {
            "the gate starts"
        };
        let failing = write(&log, "gate-start", "start", text);
        handle.audit = Some((Arc::new(log), failing));
        0
    } else 1
}

/// Writes a line at once; whether that failed.
fn write(log: &Log, action: &str, kind: &str, text: &str) -> bool {
    let mut line = Frame::new().life(action, kind, text);
    line.push(b'\n');
    match log.append(&line) {
        Ok(_) => false,
        Err(failure) => {
            AuditLog.failing(&failure.error.to_string());
            true
        }
    }
}

entry! {
    fn gate_audit_close(config: *mut ffi::gate_config, stopping: i32) {
        // SAFETY: gate.h.
        let log = unsafe { handle(config) }.and_then(|it| it.audit.take());
        if let Some((log, _)) = log {
            let (action, kind, text) = if stopping != 0 {
                ("gate-stop", "end", "the gate stops")
            } else {
                ("gate-restart", "change", "the configuration is read anew")
            };
            write(&log, action, kind, text);
        }
    } else ()
}

entry! {
    fn gate_audit(process: *mut ffi::gate_process, event: *const gate_event) {
        // SAFETY: gate.h: a live process, a live event.
        let (process, event) = unsafe { (Process::borrow(process), event.as_ref()) };
        if let Some((process, event)) = process.zip(event) {
            // SAFETY: as above.
            let (decision, on) = unsafe { (decision_of(event), audit_on(event)) };
            if let Some(board) = shared::board() {
                let outcome = match (decision.reason, decision.observed) {
                    (None, _) => Outcome::Success,
                    (Some(_), false) => Outcome::Failure,
                    (Some(_), true) => Outcome::Observed,
                };
                let issuer = decision.issuer();
                board.decided(
                    outcome,
                    decision.reason,
                    issuer.as_deref(),
                    decision.time / 1_000_000,
                );
            }
            process.recorder().record(&decision, on);
        }
    } else ()
}

/// # Safety
/// A live event.
unsafe fn audit_on(event: &gate_event) -> AuditOn {
    // SAFETY: gate.h: GATE_SLOTS pointers, each NULL or a Setting that the configuration owns.
    let setting = unsafe {
        slice(event.slots, Slot::COUNT)
            .get(Slot::AuditOn as usize)
            .and_then(|it| Setting::borrow(*it))
    };
    match setting {
        Some(Setting::AuditOn(on)) => *on,
        _ => AuditOn::All,
    }
}

/// # Safety
/// A live event.
unsafe fn decision_of(event: &gate_event) -> Decision<'_> {
    // SAFETY: gate.h: text or NULL, an identity or NULL.
    unsafe {
        let verdict = event.verdict.as_ref().copied().unwrap_or_default();
        let reason = bytes(verdict.reason)
            .map(Reason::from_code)
            .map(|reason| reason.unwrap_or(Reason::Internal));
        Decision {
            person: grant_of(verdict.identity).map(Grant::person),
            reason,
            named: bytes(verdict.issuer),
            observed: verdict.observed != 0,
            detail: bytes(verdict.detail),
            status: u16::try_from(event.status).unwrap_or_default(),
            place: bytes(event.place),
            id: bytes(event.id),
            method: bytes(event.method),
            path: bytes(event.path),
            host: bytes(event.host),
            port: u16::try_from(event.port).unwrap_or_default(),
            protocol: bytes(event.protocol),
            agent: bytes(event.agent),
            peer: bytes(event.peer),
            peer_port: u16::try_from(event.peer_port).unwrap_or_default(),
            time: u64::try_from(event.time).unwrap_or_default(),
            duration: u64::try_from(event.duration).unwrap_or_default(),
        }
    }
}
