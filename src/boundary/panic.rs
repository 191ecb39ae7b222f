//! The panic boundary of every entry: no panic may unwind into C, and what stands in for the
//! answer always refuses.

use super::host;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Once;

/// Runs the body of an entry of that name; on a panic the fallback.
pub(super) fn boundary<T>(
    entry: &'static str,
    fallback: impl FnOnce() -> T,
    body: impl FnOnce() -> T,
) -> T {
    let body = || {
        #[cfg(feature = "test-hooks")]
        panic_on_purpose(entry);
        body()
    };
    catch_unwind(AssertUnwindSafe(body)).unwrap_or_else(|payload| {
        // A payload's own destructor may panic.
        std::mem::forget(payload);
        host::say(
            host::CRITICAL,
            &format!("GATE500: {entry} failed: its fallback stands in"),
        );
        fallback()
    })
}

/// The tests name an entry that panics whenever it is called.
#[allow(clippy::panic, reason = "it is what the tests ask for")]
#[cfg(feature = "test-hooks")]
fn panic_on_purpose(entry: &str) {
    static NAMED: std::sync::OnceLock<Option<String>> = std::sync::OnceLock::new();
    let named = NAMED.get_or_init(|| std::env::var("GATE_TEST_PANIC").ok());
    if named.as_deref() == Some(entry) {
        std::panic::panic_any("a panic on purpose");
    }
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
            host::say(
                host::CRITICAL,
                &format!("GATE500: a panic at {place}: please report it"),
            );
        }));
    });
}
