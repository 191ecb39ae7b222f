//! What C asks of every request before it is judged: headers that no client may send, ids.

use super::cast::Castable;
use super::configuration::Handle;
use super::ffi::{self, gate_field};
use super::panic::boundary;
use super::text::{Pool, bytes, slice};
#[cfg(feature = "test-hooks")]
use crate::request::{FieldName, Fields, Found};
use std::ffi::{c_char, c_void};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

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

/// What the tests ask for by a header.
#[cfg(feature = "test-hooks")]
pub(super) fn on_purpose(view: &super::view::View<'_>) {
    panic_on_purpose(&view.table());
    // SAFETY: gate.h: text or NULL.
    hold_on_purpose(&view.table(), unsafe { bytes(view.raw.uri) });
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

as_declared! {
    gate_next_spoofed
    gate_request_id
}
