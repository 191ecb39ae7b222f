//! What wakes the refresher before its time.

use super::lock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::Duration;

/// Wakes the refresher.
#[derive(Default)]
pub(super) struct Wakeup {
    woken: Mutex<bool>,
    changed: Condvar,
    /// Nobody hears it any more.
    closed: AtomicBool,
}

impl Wakeup {
    /// Whether somebody hears it.
    pub(super) fn wake(&self) -> bool {
        *lock(&self.woken) = true;
        self.changed.notify_all();
        !self.closed.load(Ordering::Acquire)
    }

    /// Nobody listens from now on.
    pub(super) fn close(&self) {
        self.closed.store(true, Ordering::Release);
    }

    /// Until it is woken, or that long.
    pub(super) fn wait(&self, longest: Duration) {
        let woken = lock(&self.woken);
        let (mut woken, _) = self
            .changed
            .wait_timeout_while(woken, longest, |woken| !*woken)
            .unwrap_or_else(PoisonError::into_inner);
        *woken = false;
    }
}
