//! Connections whose bytes other modules move (mod_proxy's WebSockets) are cut from outside when
//! their time is up: a thread of the process shuts a duplicate of the socket down. The duplicate is
//! the cutter's own, so that a number that httpd has given to another connection is never hit.

use super::limit::{Cause, LOOK, Limits, Moment};
use crate::clock;
use crate::life::Life;
use std::net::{Shutdown, TcpStream};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::Builder;
use std::time::{Duration, Instant};

/// Whose connections they are.
#[derive(Clone, Copy)]
pub struct Host {
    /// Is told of a cut: the request's id, and why.
    pub report: fn(&str, Cause),
    /// Whether it stops at once. httpd closes its own descriptors then, but waits for whoever moves the bytes.
    pub stops: fn() -> bool,
}

struct Entry {
    id: u64,
    request: String,
    socket: TcpStream,
    life: Life,
    fired: Arc<AtomicBool>,
    limits: Limits,
    since: Instant,
}

impl Entry {
    fn fired(&self) -> bool {
        self.fired.load(Ordering::Acquire)
    }

    /// Whoever moves its bytes reads an end, and is told that it is none of the peer's. The duplicate stays
    /// until that is done: a poll forgets a socket that nobody has any more.
    fn cut(&self) {
        self.fired.store(true, Ordering::Release);
        let _ = self.socket.shutdown(Shutdown::Both);
    }
}

#[derive(Default)]
struct Watched {
    entries: Vec<Entry>,
    next: u64,
    running: bool,
    stopped: bool,
}

#[derive(Default)]
struct Shared {
    watched: Mutex<Watched>,
    changed: Condvar,
}

/// The cutter of a process. Its thread starts with the first connection.
#[derive(Default)]
pub struct Cutter {
    shared: Arc<Shared>,
}

/// A connection that is cut at its moment, unless this is dropped before.
pub struct Cut {
    shared: Arc<Shared>,
    id: u64,
    fired: Arc<AtomicBool>,
}

impl Cut {
    /// Whether its moment has come.
    #[must_use]
    pub fn fired(&self) -> bool {
        self.fired.load(Ordering::Acquire)
    }
}

impl Drop for Cut {
    fn drop(&mut self) {
        self.shared.lock().entries.retain(|it| it.id != self.id);
    }
}

impl Cutter {
    /// Cuts the connection when `life` or `lifetime` is over. `None`: no thread could be made for it.
    /// The caller blocks all signals.
    #[must_use]
    pub fn watch(
        &self,
        socket: TcpStream,
        request: String,
        life: Life,
        lifetime: Option<Duration>,
        host: Host,
    ) -> Option<Cut> {
        let mut watched = self.shared.lock();
        if !watched.running {
            let shared = Arc::clone(&self.shared);
            Builder::new()
                .name("gate-cut".to_owned())
                .stack_size(256 << 10)
                .spawn(move || {
                    while catch_unwind(AssertUnwindSafe(|| shared.run(host))).is_err() {
                        shared.cut_all();
                    }
                })
                .ok()?;
            watched.running = true;
        }
        watched.next += 1;
        let id = watched.next;
        let fired = Arc::<AtomicBool>::default();
        watched.entries.push(Entry {
            id,
            request,
            socket,
            limits: Limits {
                expires: life.expires(),
                lifetime,
                idle: Duration::MAX,
            },
            life,
            fired: Arc::clone(&fired),
            since: Instant::now(),
        });
        drop(watched);
        self.shared.changed.notify_all();
        Some(Cut {
            shared: Arc::clone(&self.shared),
            id,
            fired,
        })
    }

    /// Ends the thread; nothing is cut any more.
    pub fn stop(&self) {
        self.shared.lock().stopped = true;
        self.shared.changed.notify_all();
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Watched> {
        self.watched.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// After a panic, which has been said: whose moment is not known any more does not stay open, and the
    /// next are watched as ever.
    fn cut_all(&self) {
        self.lock().entries.iter().for_each(Entry::cut);
    }

    fn run(&self, host: Host) {
        let mut watched = self.lock();
        while !watched.stopped {
            let (now, stops) = (clock::now(), (host.stops)());
            let mut over = Vec::new();
            for it in watched.entries.iter().filter(|it| !it.fired()) {
                let at = Moment {
                    now,
                    open: it.since.elapsed(),
                    quiet: Duration::ZERO,
                };
                let cause = match (it.life.broken(), it.limits.look(at)) {
                    _ if stops => Cause::Stopping,
                    (Some(broken), _) => broken.into(),
                    (None, Err(cause)) => cause,
                    (None, Ok(_)) => continue,
                };
                it.cut();
                over.push((it.request.clone(), cause));
            }
            if !over.is_empty() {
                drop(watched);
                over.iter()
                    .for_each(|(request, cause)| (host.report)(request, *cause));
                watched = self.lock();
                continue;
            }
            let idle = watched.entries.iter().all(Entry::fired);
            watched = if idle {
                self.changed
                    .wait(watched)
                    .unwrap_or_else(PoisonError::into_inner)
            } else {
                self.changed
                    .wait_timeout(watched, LOOK)
                    .unwrap_or_else(PoisonError::into_inner)
                    .0
            };
        }
    }
}

#[cfg(test)]
#[allow(clippy::panic)]
mod tests {
    use super::*;
    use crate::life::{KeyLife, SessionLife};
    use crate::testing::{identity, issuer};
    use serde_json::json;
    use std::io::Read;
    use std::net::TcpListener;
    use std::sync::atomic::AtomicU64;

    fn pair() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap_or_else(|e| panic!("{e}"));
        let address = listener.local_addr().unwrap_or_else(|e| panic!("{e}"));
        let one = TcpStream::connect(address).unwrap_or_else(|e| panic!("{e}"));
        let (other, _) = listener.accept().unwrap_or_else(|e| panic!("{e}"));
        (one, other)
    }

    fn host(report: fn(&str, Cause)) -> Host {
        Host {
            report,
            stops: || false,
        }
    }

    /// A life that ends then, if nothing ends it before.
    fn life(expires: u64) -> Life {
        let identity = identity(&issuer(&[]), json!({})).unwrap_or_else(|e| panic!("{e}"));
        match identity.life().clone() {
            Life::Key(it) => Life::Key(KeyLife { expires, ..it }),
            other => other,
        }
    }

    #[test]
    fn a_connection_is_cut_when_its_time_is_up_and_not_when_it_was_forgotten() {
        let cutter = Cutter::default();
        let (mut one, other) = pair();
        let (mut kept, kept_other) = pair();
        let past = clock::now();
        let forgotten = cutter.watch(
            kept_other,
            "b".into(),
            life(u64::MAX),
            Some(Duration::from_millis(300)),
            host(|_, _| ()),
        );
        drop(forgotten);
        let host = host(|_, cause| assert_eq!(cause, Cause::Expired));
        let cut = cutter.watch(other, "a".into(), life(past), None, host);
        assert_eq!(one.read(&mut [0; 1]).ok(), Some(0));
        assert!(cut.is_some_and(|it| it.fired()));
        let _ = kept.set_read_timeout(Some(Duration::from_millis(900)));
        // Its own descriptor went with the watch: the peer sees an orderly end of that alone.
        assert_eq!(kept.read(&mut [0; 1]).ok(), Some(0));
        cutter.stop();
    }

    #[test]
    fn after_a_panic_all_that_was_watched_is_cut_and_the_next_are_cut_at_their_moment() {
        fn fails_at_first(request: &str, _: Cause) {
            assert_ne!(request, "first", "as a bug would");
        }
        let cutter = Cutter::default();
        let now = clock::now();
        let mut held = Vec::new();
        let mut watch = |request: &str, expires| {
            let (one, other) = pair();
            let cut = cutter.watch(
                other,
                request.into(),
                life(expires),
                None,
                host(fails_at_first),
            );
            let fired = cut.as_ref().map(|it| Arc::clone(&it.fired));
            held.push(cut);
            (one, fired)
        };
        let ends = |(mut one, fired): (TcpStream, Option<Arc<AtomicBool>>)| {
            let _ = one.set_read_timeout(Some(Duration::from_secs(20)));
            one.read(&mut [0; 1]).ok() == Some(0)
                && fired.is_some_and(|it| it.load(Ordering::Acquire))
        };
        let beside = watch("beside", u64::MAX);
        assert!(ends(watch("first", now)));
        assert!(ends(beside));
        assert!(ends(watch("next", now)));
        cutter.stop();
    }

    #[test]
    fn a_connection_is_cut_when_the_key_leaves_the_set() {
        let cutter = Cutter::default();
        let (mut one, other) = pair();
        let life = life(u64::MAX);
        let host = host(|_, cause| assert_eq!(cause, Cause::KeyRevoked));
        let cut = cutter.watch(other, "a".into(), life.clone(), None, host);
        assert!(cut.is_some());
        match life {
            Life::Key(it) => it.key.retire(),
            _ => panic!("a signed token"),
        }
        let _ = one.set_read_timeout(Some(Duration::from_secs(20)));
        assert_eq!(one.read(&mut [0; 1]).ok(), Some(0));
        cutter.stop();
    }

    #[test]
    fn a_connection_is_cut_when_the_session_ends() {
        let cutter = Cutter::default();
        let (mut one, other) = pair();
        static ENDS: AtomicU64 = AtomicU64::new(0);
        let session = Arc::new(SessionLife::new(u64::MAX, u64::MAX, 0, &ENDS));
        let host = host(|_, cause| assert_eq!(cause, Cause::SessionEnded));
        let life = Life::Session(Arc::clone(&session));
        let cut = cutter.watch(other, "a".into(), life, None, host);
        assert!(cut.is_some());
        session.end();
        let _ = one.set_read_timeout(Some(Duration::from_secs(20)));
        assert_eq!(one.read(&mut [0; 1]).ok(), Some(0));
        cutter.stop();
    }

    #[test]
    fn a_connection_is_cut_when_the_host_stops_and_a_poll_hears_of_it_that_has_no_other_descriptor()
    {
        let cutter = Cutter::default();
        let (mut one, other) = pair();
        let host = Host {
            report: |_, cause| assert_eq!(cause, Cause::Stopping),
            stops: || true,
        };
        let cut = cutter.watch(other, "a".into(), life(u64::MAX), None, host);
        let _ = one.set_read_timeout(Some(Duration::from_secs(20)));
        assert_eq!(one.read(&mut [0; 1]).ok(), Some(0));
        assert_eq!(cutter.shared.lock().entries.len(), 1);
        drop(cut);
        assert_eq!(cutter.shared.lock().entries.len(), 0);
        cutter.stop();
    }
}
