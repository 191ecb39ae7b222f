//! What wakes the refresher before its time.

use super::lock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::Duration;

/// Wakes the refresher.
#[derive(Default)]
pub(super) struct Bell {
    rung: Mutex<bool>,
    heard: Condvar,
    /// Nobody hears it any more.
    closed: AtomicBool,
}

impl Bell {
    /// Whether somebody hears it.
    pub(super) fn ring(&self) -> bool {
        *lock(&self.rung) = true;
        self.heard.notify_all();
        !self.closed.load(Ordering::Acquire)
    }

    /// Nobody listens from now on.
    pub(super) fn close(&self) {
        self.closed.store(true, Ordering::Release);
    }

    /// Until it rings, or that long.
    pub(super) fn wait(&self, longest: Duration) {
        let rung = lock(&self.rung);
        let (mut rung, _) = self
            .heard
            .wait_timeout_while(rung, longest, |rung| !*rung)
            .unwrap_or_else(PoisonError::into_inner);
        *rung = false;
    }
}
