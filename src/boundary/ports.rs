//! gate_port_…, gate_cut_…: ports and WebSockets, as the shim sees them.

use super::cast::Castable;
use super::configuration::Handle;
use super::ffi::{self, gate_opening, gate_request, gate_verdict};
use super::host::{self, NOTICE, say, stops};
use super::panic::boundary;
use super::text::{Pool, bytes, lossy};
use super::verdict::{fail, with};
use super::view::View;
use super::view::identity_of;
use crate::config::{AuditOn, Lifetime, Setting};
use crate::directive::Slot;
use crate::gate::Process;
use crate::grant::Grant;
use crate::judge::unknown_port;
use crate::port::cut::{Cut, Host};
use crate::port::limit::Cause;
use crate::port::{IDLE, MAX_OPEN, Opened, Port, Wish, name};
use crate::request::{FieldName, Fields, Found};
use crate::sys::shared;
use crate::verdict::Refusal;
use std::ffi::{CStr, c_char, c_void};
use std::net::TcpStream;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::sync::Arc;
use std::time::Duration;

entry! {
    fn gate_port_name(config: *const ffi::gate_config, text: *const c_char, pool: *mut c_void) -> *const c_char {
        // SAFETY: gate.h: a live configuration and pool, text or NULL.
        let (pool, text) = unsafe {
            let host = Handle::borrow(config).map(|it| it.host);
            (
                host.and_then(|host| Pool::new(&host, pool)),
                bytes(text).and_then(|it| std::str::from_utf8(it).ok()),
            )
        };
        pool.zip(text.and_then(name::parse))
            .map_or(std::ptr::null(), |(pool, it)| pool.text(name::written(&it)))
    } else std::ptr::null()
}

entry! {
    fn gate_ports_prepare() {
        shared::table();
        shared::board();
        shared::room();
    } else ()
}

entry! {
    fn gate_ports_workers(process: *mut ffi::gate_process, workers: i32) {
        // SAFETY: gate.h: a live process.
        if let Some(process) = unsafe { Process::borrow(process) } {
            process.set_workers(u32::try_from(workers).unwrap_or(2));
        }
    } else ()
}

/// One more reference to an identity that C holds.
///
/// # Safety
/// NULL, or an identity that gate_decide gave and nobody has released.
pub(super) unsafe fn share(identity: *const ffi::gate_identity) -> Option<Arc<Grant>> {
    let identity = identity.cast::<Grant>();
    // SAFETY: the caller's promise; the pointer came from Arc::into_raw.
    (!identity.is_null()).then(|| unsafe {
        Arc::increment_strong_count(identity);
        Arc::from_raw(identity)
    })
}

/// The wish of a request; never of an unknown client, nor for a port that no section names.
pub(super) fn asked<'a>(view: &View<'a>, verdict: &gate_verdict) -> Result<Wish<'a>, Refusal> {
    // SAFETY: gate.h: an identity or NULL, text or NULL.
    let (grant, name) = unsafe { (share(verdict.identity), bytes(view.raw.port_name)) };
    let name = name.and_then(|it| std::str::from_utf8(it).ok());
    match (grant, name) {
        (Some(grant), Some(name)) => Ok(wish(view, grant, name)),
        (grant, name) => Err(unknown_port(grant.is_some(), name.is_some())),
    }
}

entry! {
    fn gate_port_open(
        process: *mut ffi::gate_process, request: *const gate_request, opening: *mut gate_opening,
        verdict: *mut gate_verdict,
    ) {
        // SAFETY: gate.h: all live.
        let (process, both, opening) = unsafe { (Process::borrow(process), with(request, verdict), opening.as_mut()) };
        let (Some(process), Some((view, verdict)), Some(opening)) = (process, both, opening) else {
            // SAFETY: gate.h: a live verdict.
            return unsafe { fail(request, verdict) };
        };
        *opening = gate_opening::default();
        // SAFETY: gate.h: live text or NULL.
        let peer = unsafe { lossy(view.raw.peer) };
        let id = host::id(view.raw);
        let table = view.table();
        let job_token = match FieldName::new("Gate-Job-Token").map(|it| table.find(&it)) {
            Some(Found::One(value)) => Some(value),
            _ => None,
        };
        let opened = asked(&view, verdict).and_then(|wish| {
            process.ports.open(Wish {
                request: &id,
                peer: peer.as_deref().unwrap_or("unknown"),
                job_token,
                ..wish
            })
        });
        match opened {
            Err(refusal) => view.refuse(&refusal, verdict),
            Ok(Opened { port, expires, line }) => {
                *opening = gate_opening {
                    target: port.socket().as_raw_fd(),
                    port: port.give(),
                    expires: view.pool().text(expires.to_string()),
                    line: view.pool().text(line),
                };
            }
        }
    // SAFETY: gate.h: a live verdict, a writable opening.
    } else unsafe {
        fail(request, verdict);
        opening.write(gate_opening::default());
    }
}

/// What the section says of the port.
pub(super) fn wish<'a>(view: &View<'a>, grant: Arc<Grant>, name: &'a str) -> Wish<'a> {
    Wish {
        name,
        request: "unknown",
        peer: "unknown",
        grant,
        target: match view.setting(Slot::Target) {
            Some(Setting::Target(target)) => Some(target),
            _ => None,
        },
        lifetime: lifetime(view),
        idle: match view.setting(Slot::Idle) {
            Some(Setting::Idle(seconds)) => *seconds,
            _ => IDLE,
        },
        job: matches!(view.setting(Slot::Job), Some(Setting::Job(true))),
        max_open: match view.setting(Slot::MaxOpen) {
            Some(Setting::MaxOpen(most)) => *most,
            _ => MAX_OPEN,
        },
        audit: match view.setting(Slot::AuditOn) {
            Some(Setting::AuditOn(on)) => *on,
            _ => AuditOn::All,
        },
        job_token: None,
    }
}

fn lifetime(view: &View<'_>) -> Lifetime {
    match view.setting(Slot::Lifetime) {
        Some(Setting::Lifetime(lifetime)) => *lifetime,
        _ => Lifetime::Token,
    }
}

entry! {
    fn gate_port_check(port: *mut ffi::gate_port, moved: u64, stopping: i32, wait: *mut i32) -> *const c_char {
        // SAFETY: gate.h: made by gate_port_open, and used by one thread alone.
        let Some(port) = (unsafe { Port::borrow_mut(port) }) else {
            return Cause::Stopping.code().as_ptr();
        };
        match port.look(moved, stopping != 0) {
            Ok(left) => {
                let left = i32::try_from(left.as_millis()).unwrap_or(1).max(1);
                // SAFETY: gate.h: `wait` is writable.
                unsafe { wait.write(left) };
                std::ptr::null()
            }
            Err(cause) => cause.code().as_ptr(),
        }
    } else Cause::Stopping.code().as_ptr()
}

entry! {
    fn gate_port_close(
        port: *mut ffi::gate_port, reason: *const c_char, sent: u64, received: u64, pool: *mut c_void,
    ) -> *const c_char {
        if port.is_null() || reason.is_null() {
            return c"GATE702: a port closed".as_ptr();
        }
        // SAFETY: made by gate_port_open, and closed once; text that lives for ever.
        let (port, cause) = unsafe {
            (
                Box::from_raw(port.cast::<Port>()),
                Cause::from_code(CStr::from_ptr(reason)),
            )
        };
        let line = port.close(cause, sent, received);
        super::host::pool(pool).map_or(c"GATE702: a port closed".as_ptr(), |it| it.text(line))
    } else c"GATE702: a port closed".as_ptr()
}

/// See gate.h.
///
/// # Safety
/// As gate.h says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn gate_cut_at(
    process: *mut ffi::gate_process,
    request: *const gate_request,
    identity: *const ffi::gate_identity,
    socket: i32,
    failed: *mut i32,
) -> *mut ffi::gate_cut {
    // SAFETY: gate.h: `failed` is writable. It says so until the end is reached.
    unsafe { failed.write(1) };
    boundary("gate_cut_at", std::ptr::null_mut, || {
        // SAFETY: gate.h: a live process, request and identity.
        let (process, raw, identity) = unsafe {
            (
                Process::borrow(process),
                request.as_ref(),
                identity_of(identity),
            )
        };
        let (Some(process), Some(raw), Some(identity)) = (process, raw, identity) else {
            return std::ptr::null_mut();
        };
        let Some(view) = View::new(raw) else {
            return std::ptr::null_mut();
        };
        let longest = match lifetime(&view) {
            Lifetime::Off => {
                // SAFETY: as above.
                unsafe { failed.write(0) };
                return std::ptr::null_mut();
            }
            Lifetime::Token => None,
            Lifetime::Seconds(seconds) => Some(Duration::from_secs(seconds)),
        };
        if socket < 0 {
            return std::ptr::null_mut();
        }
        // SAFETY: gate.h: an open descriptor, for the length of this call.
        let Ok(own) = unsafe { BorrowedFd::borrow_raw(socket) }.try_clone_to_owned() else {
            return std::ptr::null_mut();
        };
        let id = host::id(raw);
        let cut = process.ports.cutter.watch(
            TcpStream::from(own),
            id,
            identity.life().clone(),
            longest,
            Host {
                report: |request, cause| {
                    say(
                        NOTICE,
                        &format!(
                            "GATE703: a WebSocket was cut: {} request={request}",
                            cause.name()
                        ),
                    );
                },
                stops,
            },
        );
        cut.map_or(std::ptr::null_mut(), |cut| {
            // SAFETY: as above.
            unsafe { failed.write(0) };
            cut.give()
        })
    })
}

entry! {
    fn gate_cut_fired(cut: *const ffi::gate_cut) -> i32 {
        // SAFETY: made by gate_cut_at, and not forgotten yet.
        unsafe { Cut::borrow(cut) }
            .is_none_or(Cut::fired)
            .into()
    } else 1
}

entry! {
    fn gate_cut_forget(cut: *mut ffi::gate_cut) {
        // SAFETY: made by gate_cut_at, and forgotten once, by the pool's cleanup.
        drop(unsafe { Cut::take(cut) });
    } else ()
}

as_declared! {
    gate_cut_at
}
