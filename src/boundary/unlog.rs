//! gate_reads_query, gate_unlog, gate_referer: parameters that carry tokens somewhere go out of what logs
//! hold, wherever else they stand. Taking a token out of the request that it came with is `token`'s.

use super::ffi::{self, gate_edit, gate_request, gate_verdict};
use super::requests::{handle, pool_of};
use super::text::bytes;
use super::verdict::with;
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

/// # Safety
/// A live verdict.
unsafe fn hide_target(verdict: *mut gate_verdict) {
    // SAFETY: the caller's promise.
    if let Some(verdict) = unsafe { verdict.as_mut() } {
        verdict.edits = WITHOUT_TARGET.as_ptr();
        verdict.edit_count = WITHOUT_TARGET.len();
    }
}

entry! {
    fn gate_unlog(config: *const ffi::gate_config, request: *const gate_request, verdict: *mut gate_verdict) {
        // SAFETY: gate.h: a live configuration, request and verdict.
        let (handle, both) = unsafe { (handle(config), with(request, verdict)) };
        let Some((handle, (view, verdict))) = handle.zip(both) else {
            // SAFETY: as above.
            return unsafe { hide_target(verdict) };
        };
        let take = without_parameters(&view.target(), &is_name(&handle.builder.config.query_names));
        view.set_edits(&view.edits(take.as_slice()), verdict);
    // SAFETY: gate.h: a live verdict.
    } else unsafe { hide_target(verdict) }
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
