//! The thread that keeps the keys fresh: one a process, started after the fork.
//!
//! About once a second, and at once when a request rings, it looks at each issuer. A fetch runs in a
//! short-lived thread of its own, because an issuer that hangs must not hold up the first use of
//! another; for nearly all of the time there is no such thread. What a look does is
//! [`super::update`]'s.

use super::bell::Bell;
use super::keys::Keys;
use super::lock;
use crate::http::Cancel;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex};
use std::thread::{Builder, JoinHandle};
use std::time::{Duration, Instant};

/// Between two looks.
const LOOK: Duration = Duration::from_secs(1);

/// Between two looks while requests wait: another process may be fetching for them.
const LOOK_IN_HASTE: Duration = Duration::from_millis(50);

/// How long a stop waits for threads that are still at it.
const STOP: Duration = Duration::from_secs(1);

/// What the administrator should hear of: said once per change of state, not per attempt, and
/// where the state directory works once per host.
pub trait Report: Send + Sync {
    /// The issuer's keys changed; names are `kid`s, which come from outside.
    fn keys_changed(&self, issuer: &str, added: &[String], removed: &[String]);
    /// Fetches fail from now on; the last good keys serve on until they are too old.
    fn fetch_failed(&self, issuer: &str, detail: &str, next_try_seconds: u64);
    /// Fetches succeed again.
    fn fetch_recovered(&self, issuer: &str);
    /// The issuer's set holds no key that fits: no token of it is accepted.
    fn no_key_fits(&self, issuer: &str);
    /// A key is unfit, the others serve. `kid` comes from outside.
    fn key_passed_over(&self, issuer: &str, kid: &str, why: &str);
    /// A fetch has ended, or a `file:` was read. For counting; said of each.
    fn fetched(&self, _issuer: &str, _ok: bool) {}
    /// The state directory does not work; each process is on its own.
    fn store_failed(&self, detail: &str);
}

/// What the threads share.
struct Shared {
    keys: Vec<Arc<Keys>>,
    report: Arc<dyn Report>,
    bell: Arc<Bell>,
    cancel: Cancel,
    fetches: Mutex<Vec<JoinHandle<()>>>,
}

/// The running refresher. Dropped, it stops.
pub struct Refresher {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

impl Refresher {
    /// Starts it. After the fork only, with all signals blocked: its threads inherit that, and
    /// httpd's signals stay httpd's. See [`Refresher::runs`].
    #[must_use]
    pub fn start(keys: Vec<Arc<Keys>>, report: Arc<dyn Report>) -> Self {
        let shared = Arc::new(Shared {
            keys,
            report,
            bell: Arc::default(),
            cancel: Cancel::default(),
            fetches: Mutex::default(),
        });
        let thread = {
            let shared = Arc::clone(&shared);
            Builder::new()
                .name("gate-keys".to_owned())
                .spawn(move || shared.run())
        };
        for keys in &shared.keys {
            keys.attach(&shared.bell);
        }
        shared.bell.ring();
        Self {
            shared,
            thread: thread.ok(),
        }
    }

    /// Whether its thread could be had. Without it a key that is withdrawn would be in force on.
    #[must_use]
    pub const fn runs(&self) -> bool {
        self.thread.is_some()
    }

    /// Stops it, and whoever waits: within a moment where no fetch is in flight, else within a second. A thread that is
    /// not done by then (a name lookup that hangs) is left to the process's end.
    pub fn stop(mut self) {
        self.halt();
    }

    /// Lets go whoever waits, and takes in nobody more. It still runs.
    pub fn release(&self) {
        self.shared.bell.close();
        for keys in &self.shared.keys {
            keys.release();
        }
    }

    fn halt(&mut self) {
        self.shared.cancel.cancel();
        self.release();
        self.shared.bell.ring();
        let deadline = Instant::now() + STOP;
        if let Some(thread) = self.thread.take() {
            join_until(thread, deadline);
        }
        let fetches = std::mem::take(&mut *lock(&self.shared.fetches));
        for fetch in fetches {
            join_until(fetch, deadline);
        }
    }
}

impl Drop for Refresher {
    fn drop(&mut self) {
        self.halt();
    }
}

/// Joins the thread if it ends by then.
pub(crate) fn join_until(thread: JoinHandle<()>, deadline: Instant) {
    while !thread.is_finished() {
        if Instant::now() >= deadline {
            return;
        }
        std::thread::sleep(Duration::from_millis(2));
    }
    let _ = thread.join();
}

impl Shared {
    fn run(self: &Arc<Self>) {
        while !self.cancel.is_cancelled() {
            for keys in &self.keys {
                // A panic over one issuer's keys must not end the refreshing of all.
                let _ = catch_unwind(AssertUnwindSafe(|| self.look(keys)));
            }
            lock(&self.fetches).retain(|fetch| !fetch.is_finished());
            let hasty = self.keys.iter().any(|keys| keys.is_waited_for());
            self.bell.wait(if hasty { LOOK_IN_HASTE } else { LOOK });
        }
    }

    fn look(self: &Arc<Self>, keys: &Arc<Keys>) {
        let Some(ticket) = keys.look(&*self.report) else {
            return;
        };
        let thread = {
            let (shared, keys) = (Arc::clone(self), Arc::clone(keys));
            Builder::new().name("gate-fetch".to_owned()).spawn(move || {
                let _ = catch_unwind(AssertUnwindSafe(|| {
                    keys.fetch(ticket, &*shared.report, &shared.cancel);
                }));
            })
        };
        match thread {
            Ok(thread) => lock(&self.fetches).push(thread),
            Err(_) => keys.not_started(&*self.report),
        }
    }
}

#[cfg(test)]
mod tests;
