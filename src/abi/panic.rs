//! The panic boundary of every entry: no panic may unwind into C, and what stands in for the
//! answer always refuses.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Once;

/// Runs an entry's body; on a panic the fallback.
pub(super) fn boundary<T>(fallback: impl FnOnce() -> T, body: impl FnOnce() -> T) -> T {
    catch_unwind(AssertUnwindSafe(body)).unwrap_or_else(|payload| {
        // A payload's own destructor may panic.
        std::mem::forget(payload);
        fallback()
    })
}

/// The default hook prints the payload, which may hold a token, and a backtrace, which costs
/// 33 MB a process. Ours says the place only.
pub(super) fn install_hook() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        std::panic::set_hook(Box::new(|info| {
            let place = info.location().map_or_else(
                || "an unknown place".into(),
                |it| format!("{}:{}", it.file(), it.line()),
            );
            super::host::say(
                super::host::CRITICAL,
                &format!("GATE500: a panic at {place}: please report it"),
            );
        }));
    });
}
