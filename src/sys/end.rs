//! How a child ends what it has: in a thread of its own, for which the child waits a while.
//!
//! prefork ends its children from within a signal's handler. The thread that was interrupted may hold any
//! lock, malloc's among them, and who stops threads and frees memory there may wait for itself.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicPtr, Ordering};
use std::thread::{Builder, Thread, park, sleep};
use std::time::{Duration, Instant};

/// How long a child waits; httpd signals again after 3 s (ap_reclaim_child_processes), and kills after 9 s.
const PATIENCE: Duration = Duration::from_millis(2500);

/// For the tests: a lock that an interrupted request may hold.
#[cfg(feature = "test-hooks")]
pub static HELD: std::sync::Mutex<()> = std::sync::Mutex::new(());

/// What C holds: a value, and who ends it. C's pointer is one to the value.
#[repr(C)]
pub struct Living<T> {
    value: T,
    ender: Thread,
    shared: Arc<Shared<T>>,
}

struct Shared<T> {
    /// To be ended; NULL: not yet.
    wanted: AtomicPtr<Living<T>>,
    ended: AtomicBool,
    end: fn(T),
}

impl<T: Send + 'static> Living<T> {
    /// Starts the thread that will end it. All signals are blocked by the caller. Where that thread can't be had, or
    /// the value does not run (`runs`), it is ended instead.
    pub fn new(value: T, runs: impl Fn(&T) -> bool, end: fn(T)) -> Option<Box<Self>> {
        let shared = Arc::new(Shared {
            wanted: AtomicPtr::default(),
            ended: AtomicBool::new(false),
            end,
        });
        let ender = {
            let shared = Arc::clone(&shared);
            Builder::new()
                .name("gate-end".to_owned())
                .stack_size(256 << 10)
                .spawn(move || shared.run())
        };
        match ender {
            Ok(ender) if runs(&value) => Some(Box::new(Self {
                value,
                ender: ender.thread().clone(),
                shared,
            })),
            ender => {
                end(value);
                if let Ok(ender) = ender {
                    shared.ended.store(true, Ordering::Release);
                    ender.thread().unpark();
                }
                None
            }
        }
    }

    /// Ends it; whether that was done in time. Takes no lock and touches no memory of malloc's.
    ///
    /// # Safety
    /// `living` is a leaked box that nobody else uses any more.
    pub unsafe fn end(living: *mut Self) -> bool {
        // SAFETY: the caller's promise; the thread frees it once it is told, and these copies stay.
        let (shared, ender) = unsafe { (Arc::clone(&(*living).shared), (*living).ender.clone()) };
        shared.wanted.store(living, Ordering::Release);
        ender.unpark();
        let until = Instant::now() + PATIENCE;
        let ended = || shared.ended.load(Ordering::Acquire);
        while !ended() && Instant::now() < until {
            sleep(Duration::from_millis(1));
        }
        let ended = ended();
        if !ended {
            // Whoever drops the last copy frees it: not where that may wait.
            std::mem::forget((shared, ender));
        }
        ended
    }
}

impl<T> Shared<T> {
    fn run(&self) {
        let living = loop {
            let wanted = self.wanted.load(Ordering::Acquire);
            if !wanted.is_null() {
                break wanted;
            }
            if self.ended.load(Ordering::Acquire) {
                return;
            }
            park();
        };
        // SAFETY: `end` gave it away, once.
        let living = unsafe { Box::from_raw(living) };
        #[cfg(feature = "test-hooks")]
        drop(HELD.lock());
        (self.end)(living.value);
        self.ended.store(true, Ordering::Release);
    }
}
