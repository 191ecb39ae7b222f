//! The time, in one place, so that tests can move it. Not a scheduler.

use std::time::{SystemTime, UNIX_EPOCH};

/// Seconds since the epoch (RFC 7519's NumericDate), never before 1970.
#[must_use]
pub fn now() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_secs())
}
