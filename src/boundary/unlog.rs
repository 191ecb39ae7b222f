//! gate_reads_query, gate_unlog, gate_referer: parameters that carry tokens somewhere go out of what logs
//! hold, wherever else they stand. Taking a token out of the request that it came with is `token`'s.

use super::ffi::{self, gate_edit, gate_outcome, gate_request};
use super::panic::boundary;
use super::requests::{handle, pool_of};
use super::text::bytes;
use super::view::View;
use crate::token::query::{target_without, without_parameters};
use std::ffi::c_char;

entry! {
    fn gate_reads_query(config: *const ffi::gate_config) -> i32 {
        // SAFETY: gate.h.
        let handle = unsafe { handle(config) };
        i32::from(handle.is_none_or(|it| !it.builder.config.query_names.is_empty()))
    } else 1
}

/// For a log that must not be told the target, since nobody knows what it holds.
const WITHOUT_TARGET: &[gate_edit] = &[
    edit(ffi::GATE_EDIT_ARGS, std::ptr::null()),
    edit(ffi::GATE_EDIT_UNPARSED_URI, c"-".as_ptr()),
    edit(ffi::GATE_EDIT_THE_REQUEST, c"-".as_ptr()),
    edit(ffi::GATE_EDIT_FILENAME, c"-".as_ptr()),
];

const fn edit(kind: ffi::gate_edit_kind, value: *const c_char) -> gate_edit {
    gate_edit {
        kind: kind.cast_signed(),
        name: std::ptr::null(),
        value,
    }
}

/// See gate.h.
///
/// # Safety
/// As gate.h says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn gate_unlog(
    config: *const ffi::gate_config,
    request: *const gate_request,
    outcome: *mut gate_outcome,
) {
    let failed = || gate_outcome {
        edits: WITHOUT_TARGET.as_ptr(),
        edit_count: WITHOUT_TARGET.len(),
        ..gate_outcome::default()
    };
    let edited = boundary("gate_unlog", failed, || {
        // SAFETY: gate.h: a live configuration and request.
        let (handle, raw) = unsafe { (handle(config), request.as_ref()) };
        let mut outcome = gate_outcome::default();
        if let Some((handle, view)) = handle.zip(raw.and_then(View::new)) {
            let is_name = is_name(&handle.builder.config.query_names);
            let take = without_parameters(&view.target(), &is_name);
            let edits = view.edits(take.as_slice());
            outcome.edits = view.pool().slice(&edits);
            outcome.edit_count = edits.len();
        }
        outcome
    });
    // SAFETY: gate.h: `outcome` is writable.
    unsafe { outcome.write(edited) };
}

entry! {
    fn gate_referer(
        config: *const ffi::gate_config, value: *const c_char, pool: *mut std::ffi::c_void,
    ) -> *const c_char {
        // SAFETY: gate.h.
        let (handle, value, pool) =
            unsafe { (handle(config), bytes(value), pool_of(config, pool)) };
        let Some(((handle, value), pool)) = handle.zip(value).zip(pool) else {
            return c"".as_ptr();
        };
        target_without(value, &is_name(&handle.builder.config.query_names))
            .map_or(std::ptr::null(), |kept| pool.text(kept))
    } else c"".as_ptr()
}

fn is_name(names: &[String]) -> impl Fn(&[u8]) -> bool {
    |key| names.iter().any(|name| name.as_bytes() == key)
}

as_declared! {
    gate_unlog
}
