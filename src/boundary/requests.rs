//! gate_decide, gate_refuse and their kin: what is asked of the gate while httpd serves a request.

use super::cast::Castable;
use super::configuration::Handle;
use super::ffi::{self, gate_answer, gate_field, gate_outcome, gate_pair, gate_request};
use super::host::{CRITICAL, ERROR, WARNING};
use super::panic::boundary;
use super::text::{Pool, bytes, lossy, pairs, slice};
use super::view::{View, identity_of};
use crate::answer::{Setting as AnswerSetting, compose, wants_json};
use crate::config::{Mode, Setting};
use crate::directive::Slot;
use crate::gate::{Decision, Process};
use crate::grant::Grant;
use crate::headers;
use crate::request::{FieldName, Fields, Found};
use crate::token::source::Sender;
use crate::verdict::{Reason, Refusal};
use std::ffi::{c_char, c_void};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

impl View<'_> {
    /// GateMode observe: the refusal is only written down. The gate's own failure is never passed
    /// over, a port can't be opened for nobody, what the gate itself tells is not for everybody, a body
    /// that has been cut off can't be passed on, and the gate's credential goes nowhere else.
    fn only_observes(&self, reason: Reason) -> bool {
        // SAFETY: gate.h: live text or NULL.
        let handler = unsafe { bytes(self.raw.handler) }.unwrap_or_default();
        self.raw.connect == 0
            && !matches!(
                reason,
                Reason::Internal
                    | Reason::AuditUnavailable
                    | Reason::SudoBody
                    | Reason::CredentialPath
                    | Reason::CrossSite
                    | Reason::Path
            )
            && !handler.starts_with(b"gate-")
            && matches!(self.setting(Slot::Mode), Some(Setting::Mode(Mode::Observe)))
    }

    fn outcome(&self, decision: Decision<'_>) -> gate_outcome {
        let observe = matches!(self.setting(Slot::Mode), Some(Setting::Mode(Mode::Observe)));
        // What was not verified stays where nothing is refused.
        let edits = if observe && decision.verdict.is_err() {
            Vec::new()
        } else {
            self.edits(&decision.take)
        };
        let mut outcome = gate_outcome {
            edits: self.pool.slice(&edits),
            edit_count: edits.len(),
            observe: i32::from(observe),
            ..gate_outcome::default()
        };
        match decision.verdict {
            Ok(None) => {}
            Ok(Some(grant)) => self.grant(grant, &mut outcome),
            Err(Refusal {
                reason,
                detail,
                issuer,
                check: _,
            }) => {
                outcome.issuer = issuer.map_or(std::ptr::null(), |it| self.pool.text(it));
                outcome.status = i32::from(reason.status());
                outcome.reason = reason.code_c().as_ptr();
                outcome.detail = self.pool.text(detail);
                outcome.log_level = ERROR;
            }
        }
        outcome
    }

    fn grant(&self, grant: Arc<Grant>, outcome: &mut gate_outcome) {
        let environment = pairs(grant.environment());
        outcome.environment = environment.as_ptr();
        outcome.environment_count = environment.len();
        outcome.user = environment.first().map_or(std::ptr::null(), |it| it.value);
        let chosen = if self.raw.headers.is_null() {
            Vec::new()
        } else {
            self.chosen_headers()
        };
        let upstream: &[gate_pair] = match grant.upstream(&chosen) {
            Some(rendered) => {
                let pairs = pairs(rendered);
                outcome.upstream = pairs.as_ptr();
                pairs
            }
            None => {
                let copied: Vec<gate_pair> = headers::render(grant.identity(), &chosen)
                    .iter()
                    .map(|(name, value)| gate_pair {
                        name: self.pool.text(name),
                        value: self.pool.text(value),
                    })
                    .collect();
                outcome.upstream = self.pool.slice(&copied);
                // SAFETY: just written, of that length, in the request's pool.
                unsafe { slice(outcome.upstream, copied.len()) }
            }
        };
        outcome.upstream_count = upstream.len();
        outcome.identity = Arc::into_raw(grant).cast_mut().cast();
    }
}

/// # Safety
/// A live configuration.
pub(super) unsafe fn handle<'c>(config: *const ffi::gate_config) -> Option<&'c Handle> {
    // SAFETY: the caller's promise.
    unsafe { Handle::borrow(config) }
}

/// # Safety
/// A live configuration and pool.
pub(super) unsafe fn pool_of(config: *const ffi::gate_config, pool: *mut c_void) -> Option<Pool> {
    // SAFETY: the caller's promise.
    unsafe { handle(config).and_then(|it| Pool::new(&it.host, pool)) }
}

/// See gate.h.
///
/// # Safety
/// As gate.h says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn gate_next_spoofed(
    config: *const ffi::gate_config,
    fields: *const gate_field,
    count: usize,
    from: usize,
) -> usize {
    // The fallback names each field in turn: all of them are removed.
    boundary(
        "gate_next_spoofed",
        || from,
        || {
            // SAFETY: gate.h.
            let (handle, fields) = unsafe { (handle(config), slice(fields, count)) };
            let Some(handle) = handle else { return from };
            let protected = &handle.builder.config.protected;
            let later = fields.get(from..).unwrap_or_default();
            later
                .iter()
                // SAFETY: as in `find`.
                .position(|field| {
                    unsafe { bytes(field.name) }.is_some_and(|name| protected.is_protected(name))
                })
                .map_or(count, |at| from + at)
        },
    )
}

entry! {
    fn gate_connection_without(
        config: *const ffi::gate_config, value: *const c_char, pool: *mut c_void,
    ) -> *const c_char {
        // SAFETY: gate.h.
        let (handle, value, pool) =
            unsafe { (handle(config), bytes(value), pool_of(config, pool)) };
        let kept = handle
            .zip(value)
            .and_then(|(it, value)| it.builder.config.protected.connection_without(value));
        kept.zip(pool)
            .map_or(std::ptr::null(), |(kept, pool)| pool.text(kept))
    } else c"close".as_ptr()
}

/// See gate.h.
///
/// # Safety
/// As gate.h says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn gate_request_id(
    config: *const ffi::gate_config,
    pool: *mut c_void,
) -> *const c_char {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    boundary(
        "gate_request_id",
        || c"unknown".as_ptr(),
        || {
            let nanos = std::time::SystemTime::now()
                .duration_since(std::time::UNIX_EPOCH)
                .map_or(0, |it| it.as_nanos());
            let id = format!(
                "{:x}-{:x}-{:x}",
                nanos,
                std::process::id(),
                COUNT.fetch_add(1, Relaxed)
            );
            // SAFETY: gate.h.
            unsafe { pool_of(config, pool) }.map_or(c"unknown".as_ptr(), |pool| pool.text(id))
        },
    )
}

/// See gate.h.
///
/// # Safety
/// As gate.h says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn gate_decide(
    process: *mut ffi::gate_process,
    request: *const gate_request,
    outcome: *mut gate_outcome,
) {
    let failed = || gate_outcome {
        status: i32::from(Reason::Internal.status()),
        reason: Reason::Internal.code_c().as_ptr(),
        detail: c"the gate failed while it looked at the token".as_ptr(),
        log_level: CRITICAL,
        ..gate_outcome::default()
    };
    let decided = boundary("gate_decide", failed, || {
        // SAFETY: gate.h: a live process, a live request.
        let (process, raw) = unsafe { (Process::borrow(process), request.as_ref()) };
        let Some((process, raw)) = process.zip(raw) else {
            return failed();
        };
        let Some(pool) = super::host::pool(raw.pool) else {
            return failed();
        };
        let view = View { raw, pool };
        #[cfg(feature = "test-hooks")]
        panic_on_purpose(&view.table());
        #[cfg(feature = "test-hooks")]
        // SAFETY: gate.h: text or NULL.
        hold_on_purpose(&view.table(), unsafe { bytes(raw.uri) });
        if raw.explain != 0 {
            // SAFETY: gate.h: text or NULL.
            let token = unsafe { bytes(raw.token) };
            let verdict = token
                .map(|token| process.identify(&view.section(), token, Sender::Client))
                .transpose();
            let take = Vec::new();
            return view.outcome(Decision { verdict, take });
        }
        let mut decision = process.decide(&view.section(), &view.table(), &view.token_target());
        // At once: a login's end that is refused for its token is logged too.
        let unlogged = view.unlogged(view.login(Some(process)));
        decision.take.extend(unlogged);
        view.outcome(decision)
    });
    // SAFETY: gate.h: `outcome` is writable.
    unsafe { outcome.write(decided) };
}

/// The tests ask for a request that is interrupted at that path with a lock in its hands.
#[cfg(feature = "test-hooks")]
fn hold_on_purpose(table: &super::view::Table<'_>, path: Option<&[u8]>) {
    if let Some(name) = FieldName::new("X-Gate-Test-Hold")
        && let Found::One(wanted) = table.find(&name)
        && path == Some(wanted)
    {
        let held = crate::sys::end::HELD.lock();
        std::thread::sleep(std::time::Duration::from_secs(60));
        drop(held);
    }
}

/// The tests ask for a panic by a header.
#[allow(clippy::panic, reason = "it is what the tests ask for")]
#[cfg(feature = "test-hooks")]
fn panic_on_purpose(table: &super::view::Table<'_>) {
    if let Some(name) = FieldName::new("X-Gate-Test-Panic")
        && table.find(&name) != Found::None
    {
        std::panic::panic_any("a panic on purpose");
    }
}

/// See gate.h.
///
/// # Safety
/// As gate.h says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn gate_refuse(
    config: *const ffi::gate_config,
    request: *const gate_request,
    reason: *const c_char,
    identity: *const ffi::gate_identity,
    answer: *mut gate_answer,
) {
    let failed = || gate_answer {
        status: i32::from(Reason::Internal.status()),
        ..gate_answer::default()
    };
    let composed = boundary("gate_refuse", failed, || {
        // SAFETY: gate.h.
        let (raw, reason, identity) =
            unsafe { (request.as_ref(), bytes(reason), identity_of(identity)) };
        // SAFETY: gate.h.
        let Some((raw, pool)) =
            raw.and_then(|raw| Some((raw, unsafe { pool_of(config, raw.pool) }?)))
        else {
            return failed();
        };
        let view = View { raw, pool };
        let reason = reason
            .and_then(Reason::from_code)
            .unwrap_or(Reason::Internal);
        let unread = (reason == Reason::TokenMissing).then(|| view.unread());
        let logged = gate_answer {
            detail: unread
                .flatten()
                .map_or(std::ptr::null(), |it| pool.text(it)),
            log_level: WARNING,
            ..gate_answer::default()
        };
        if view.only_observes(reason) {
            return logged;
        }
        // SAFETY: gate.h: live text or NULL.
        let (realm, id) = unsafe { (lossy(raw.realm), lossy(raw.id)) };
        // ap_auth_name has escaped its quotes, as who puts it between some needs it.
        let realm = realm.map(|it| it.replace("\\\"", "\""));
        let field = |name| FieldName::new(name).map_or(Found::None, |it| view.table().find(&it));
        let accept = field("Accept");
        let composed = compose(
            reason,
            &AnswerSetting {
                realm: realm.as_deref().unwrap_or("gate"),
                sources: view.sources(),
                connect: raw.connect != 0,
                id: id.as_deref().unwrap_or("unknown"),
                json: matches!(accept, Found::One(accept) if wants_json(accept)),
                identified: identity.is_some(),
                browser: field("Sec-Fetch-Mode") != Found::None,
            },
        );
        let fields: Vec<gate_pair> = composed
            .fields
            .iter()
            .map(|(name, value)| gate_pair {
                name: pool.text(name),
                value: pool.text(value),
            })
            .collect();
        gate_answer {
            status: i32::from(composed.status),
            fields: pool.slice(&fields),
            field_count: fields.len(),
            content_type: composed.content_type.as_ptr(),
            body: pool.text(composed.body),
            ..logged
        }
    });
    // SAFETY: gate.h: `answer` is writable.
    unsafe { answer.write(composed) };
}

entry! {
    fn gate_identity_release(identity: *mut ffi::gate_identity) {
        #[cfg(feature = "test-hooks")]
        drop(crate::sys::end::HELD.lock()); // as free() may wait
        if !identity.is_null() {
            // SAFETY: one reference, made by Arc::into_raw in `grant`, given back once.
            drop(unsafe { Arc::from_raw(identity.cast::<Grant>()) });
        }
    } else ()
}

as_declared! {
    gate_next_spoofed
    gate_request_id
    gate_decide
    gate_refuse
}
