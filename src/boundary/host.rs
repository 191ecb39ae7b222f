//! httpd, as far as the library may use it from anywhere: its error log and its pools.

use super::ffi::{gate_host, gate_request};
use super::text::{Pool, lossy};
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
/// APLOG_INFO
pub(super) const INFO: i32 = 6;

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

/// AuthName of the request's section.
pub(super) fn realm(request: &gate_request) -> Option<String> {
    let realm = HOST.get().and_then(|host| host.realm)?;
    // SAFETY: `realm` is the shim's; it takes what the shim put into the request, and its text lives as long as that.
    unsafe { lossy(realm(request.httpd)) }
}

/// The request's id.
pub(super) fn id(request: &gate_request) -> String {
    let id = HOST.get().and_then(|host| host.id);
    // SAFETY: as for `realm`.
    let id = id.and_then(|id| unsafe { lossy(id(request.httpd)) });
    id.unwrap_or_else(|| "unknown".to_owned())
}

/// A request's pool.
pub(super) fn pool(pool: *mut c_void) -> Option<Pool> {
    // SAFETY: gate.h: the pool of a live request, of the one host there is.
    HOST.get().and_then(|host| unsafe { Pool::new(host, pool) })
}
