//! A child's queue and the one thread that empties it. A request appends its line to the queue and
//! goes on; it never waits for the disk, a reader or another process. Bounded: over the bound, and
//! where a write fails, lines are counted as lost, told once, and written down when the log works
//! again.

use super::line::Frame;
use super::log::Log;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, TryLockError};
use std::thread::{Builder, JoinHandle};
use std::time::{Duration, Instant};

/// The queue's bound, bytes: about 10,000 lines.
const BOUND: usize = 8 << 20;
/// How long lines gather before they are written together.
const GATHER: Duration = Duration::from_millis(5);
/// Between two tries while the log can't be written.
const RETRY: Duration = Duration::from_secs(1);
/// How long a child's end waits for the last lines.
const LAST: Duration = Duration::from_secs(2);

const TOO_FAST: &str = "lines come faster than they are written";

/// What the administrator should hear of.
pub trait Report: Send + Sync {
    /// Lines are lost from now on.
    fn failing(&self, why: &str);
    /// The log is written again; so many lines were lost.
    fn resumed(&self, lost: u64);
    /// So many more lines are lost.
    fn lost(&self, lines: u64);
}

#[derive(Default)]
struct Queue {
    /// Open lines, each with its line feed.
    lines: Vec<u8>,
    stopping: bool,
    /// The thread waits to be woken.
    idle: bool,
}

struct Shared {
    log: Arc<Log>,
    frame: Arc<Frame>,
    queue: Mutex<Queue>,
    woken: Condvar,
    failing: AtomicBool,
    /// Lost since the log last worked.
    lost: AtomicU64,
    report: Box<dyn Report>,
}

/// The running writer.
pub struct Writer {
    shared: Arc<Shared>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Writer {
    /// Starts the thread: after the fork, with all signals blocked. `failing`: the parent could
    /// not write.
    #[must_use]
    pub fn start(log: Arc<Log>, frame: Arc<Frame>, report: Box<dyn Report>, failing: bool) -> Self {
        let shared = Arc::new(Shared {
            log,
            frame,
            queue: Mutex::default(),
            woken: Condvar::new(),
            failing: AtomicBool::new(failing),
            lost: AtomicU64::new(0),
            report,
        });
        let thread = {
            let shared = Arc::clone(&shared);
            Builder::new()
                .name("gate-audit".to_owned())
                .spawn(move || shared.run())
        };
        Self {
            shared,
            thread: Mutex::new(thread.ok()),
        }
    }

    /// Whether its thread could be had, and was not stopped.
    #[must_use]
    pub fn runs(&self) -> bool {
        lock(&self.thread).is_some()
    }

    /// Queues an open line.
    pub fn push(&self, line: &[u8]) {
        let mut queue = lock(&self.shared.queue);
        if queue.lines.len() + line.len() >= BOUND {
            drop(queue);
            self.shared.lose(1);
            self.shared.fail(TOO_FAST);
            return;
        }
        queue.lines.extend_from_slice(line);
        queue.lines.push(b'\n');
        let wake = std::mem::take(&mut queue.idle);
        drop(queue);
        if wake {
            self.shared.woken.notify_one();
        }
    }

    /// Whether lines are being lost now.
    #[must_use]
    pub fn is_failing(&self) -> bool {
        self.shared.failing.load(Relaxed)
    }

    /// Writes what is queued, and ends.
    pub fn stop(&self) {
        let until = Instant::now() + LAST;
        // prefork may come here out of a signal that interrupted a request's own push.
        loop {
            match self.shared.queue.try_lock() {
                Ok(mut queue) => {
                    queue.stopping = true;
                    break;
                }
                Err(TryLockError::Poisoned(queue)) => {
                    queue.into_inner().stopping = true;
                    break;
                }
                Err(TryLockError::WouldBlock) if Instant::now() >= until => return,
                Err(TryLockError::WouldBlock) => std::thread::sleep(Duration::from_millis(1)),
            }
        }
        self.shared.woken.notify_one();
        let thread = self.thread.try_lock().ok().and_then(|mut it| it.take());
        if let Some(thread) = thread {
            while !thread.is_finished() {
                if Instant::now() >= until {
                    return;
                }
                std::thread::sleep(Duration::from_millis(1));
            }
            let _ = thread.join();
        }
    }
}

impl Shared {
    fn run(&self) {
        let mut tried = Instant::now();
        loop {
            let (lines, stopping) = self.take();
            let done = catch_unwind(AssertUnwindSafe(|| {
                if !lines.is_empty() {
                    self.deliver(&lines);
                } else if self.failing.load(Relaxed) && !stopping && tried.elapsed() >= RETRY {
                    tried = Instant::now();
                    self.deliver(&[]);
                }
            }));
            if done.is_err() {
                self.lose(count(&lines));
            }
            if stopping && lines.is_empty() {
                return;
            }
        }
    }

    /// What is queued; waits for it.
    fn take(&self) -> (Vec<u8>, bool) {
        let mut queue = lock(&self.queue);
        if queue.lines.is_empty() && !queue.stopping {
            queue.idle = true;
            queue = self
                .woken
                .wait_timeout(queue, RETRY)
                .unwrap_or_else(PoisonError::into_inner)
                .0;
            queue.idle = false;
        }
        if !queue.lines.is_empty() && !queue.stopping {
            drop(queue);
            std::thread::sleep(GATHER);
            queue = lock(&self.queue);
        }
        (std::mem::take(&mut queue.lines), queue.stopping)
    }

    /// Writes the lines. While the log fails, a line that tells of the gap goes first and tries it.
    fn deliver(&self, lines: &[u8]) {
        if self.failing.load(Relaxed) {
            let lost = self.lost.load(Relaxed);
            let text = format!(
                "{lost} lines of this process were lost: GateAuditLog could not be written"
            );
            let mut gap = self.frame.life("audit-resumed", "info", &text);
            gap.push(b'\n');
            if self.log.append(&gap).is_err() {
                return self.lose(count(lines));
            }
            self.lost.fetch_sub(lost, Relaxed);
            self.failing.store(false, Relaxed);
            self.report.resumed(lost);
        }
        if lines.is_empty() {
            return;
        }
        if let Err(failure) = self.log.append(lines) {
            self.lose(count(lines).saturating_sub(failure.written as u64));
            self.fail(&failure.error.to_string());
        } else if self.lost.load(Relaxed) > 0 {
            // The queue ran over while the log began to work again: told by the line of the gap.
            self.fail(TOO_FAST);
        }
    }

    fn fail(&self, why: &str) {
        if !self.failing.swap(true, Relaxed) {
            self.report.failing(why);
        }
    }

    fn lose(&self, lines: u64) {
        self.lost.fetch_add(lines, Relaxed);
        self.report.lost(lines);
    }
}

fn count(lines: &[u8]) -> u64 {
    lines.iter().filter(|b| **b == b'\n').count() as u64
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::jwks::testing::Dir;
    use crate::sys::file::Inherited;
    use std::os::fd::AsRawFd as _;

    #[derive(Clone, Default)]
    struct Heard(Arc<AtomicU64>);

    impl Report for Heard {
        fn failing(&self, _: &str) {
            self.0.fetch_add(1, Relaxed);
        }
        fn resumed(&self, _: u64) {}
        fn lost(&self, _: u64) {}
    }

    #[test]
    fn a_queue_that_runs_over_is_a_log_that_fails() {
        let dir = Dir::new();
        let null = std::fs::File::options()
            .write(true)
            .open("/dev/null")
            .unwrap();
        let target = Inherited::new(null.as_raw_fd()).unwrap();
        let heard = Heard::default();
        // Nobody empties the queue.
        let writer = Writer {
            shared: Arc::new(Shared {
                log: Arc::new(Log::open(target, None, dir.path(), None).unwrap()),
                frame: Arc::new(Frame::new()),
                queue: Mutex::default(),
                woken: Condvar::new(),
                failing: AtomicBool::new(false),
                lost: AtomicU64::new(0),
                report: Box::new(heard.clone()),
            }),
            thread: Mutex::new(None),
        };
        writer.push(b"{");
        assert!(!writer.is_failing());
        let line = vec![b'x'; BOUND];
        for _ in 0..2 {
            writer.push(&line);
            assert!(writer.is_failing());
        }
        assert_eq!(heard.0.load(Relaxed), 1, "said once");
        // The line of the gap goes first, and it works again.
        let (lines, _) = writer.shared.take();
        writer.shared.deliver(&lines);
        assert!(!writer.is_failing());
    }
}
