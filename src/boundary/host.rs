//! httpd, as far as the library may use it from anywhere: its error log and its pools.

use super::ffi::gate_host;
use super::text::Pool;
use once_cell::sync::OnceCell;
use std::ffi::{CString, c_void};

/// APLOG_CRIT
pub(super) const CRITICAL: i32 = 2;
/// APLOG_ERR
pub(super) const ERROR: i32 = 3;
/// APLOG_WARNING
pub(super) const WARNING: i32 = 4;
/// APLOG_NOTICE
pub(super) const NOTICE: i32 = 5;

/// httpd's logging function, the same for every configuration.
static HOST: OnceCell<gate_host> = OnceCell::new();

pub(super) fn remember(host: gate_host) {
    let _ = HOST.set(host);
}

/// A line in the main server's error log.
pub(super) fn say(level: i32, text: &str) {
    let Some(log) = HOST.get().and_then(|host| host.log) else {
        return;
    };
    if let Ok(text) = CString::new(text.replace('\0', " ")) {
        // SAFETY: `log` is the shim's, which copies the text before it returns.
        unsafe { log(level, text.as_ptr()) };
    }
}

/// Whether httpd stops at once, and this child with it.
pub(super) fn stops() -> bool {
    let stops = HOST.get().and_then(|host| host.stops);
    // SAFETY: `stops` is the shim's, which reads a flag.
    stops.is_some_and(|stops| unsafe { stops() } != 0)
}

/// A request's pool.
pub(super) fn pool(pool: *mut c_void) -> Option<Pool> {
    // SAFETY: gate.h: the pool of a live request, of the one host there is.
    HOST.get().and_then(|host| unsafe { Pool::new(host, pool) })
}
