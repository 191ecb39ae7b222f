//! CI ports: whether one may be opened, how long it may be open, and what is told of it. The bytes
//! are moved by c_shim/tunnel.c, which asks [`Port::look`] in each round.

pub mod cut; //   WebSockets in ordinary sections: their connections are cut from outside
pub mod dial; //  the way to the target
pub mod event; // what is told of an opening and a close
pub mod explain; // what would become of a wish
pub mod job; //   whether the job still runs
pub mod limit; // when a port ends
pub mod name; //  NAME:PORT
pub mod table; // the open ports of all children

use crate::audit::Recorder;
use crate::clock;
use crate::config::{AuditOn, Endpoint, Lifetime};
use crate::grant::Grant;
use crate::http::Cancel;
use crate::identity::Identity;
use crate::status::Outcome;
use crate::sys::shared;
use crate::verdict::{Reason, Refusal};
use cut::Cutter;
use event::{End, Subject};
use job::{Answer, Found, Question, Watch};
use limit::{Cause, Limits, Moment};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::net::TcpStream;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, Instant};
use table::{Full, Held};

/// GateIdle's default, seconds.
pub const IDLE: u64 = 600;
/// GateMaxOpen's default.
pub const MAX_OPEN: u32 = 8;

/// The open ports of one child.
pub struct Ports {
    /// GateMaxOpenTotal.
    total: Option<u32>,
    workers: AtomicU32,
    watches: Mutex<Vec<Weak<Watch>>>,
    cancel: Cancel,
    /// Cuts WebSockets.
    pub cutter: Cutter,
    recorder: Recorder,
}

/// Who wants which port, and what its section says.
pub struct Wish<'a> {
    /// NAME:PORT
    pub name: &'a str,
    /// The request's id.
    pub request: &'a str,
    /// The client's address.
    pub peer: &'a str,
    /// Who it is.
    pub grant: Arc<Grant>,
    /// GateTarget
    pub target: Option<&'a Endpoint>,
    /// GateLifetime
    pub lifetime: Lifetime,
    /// GateIdle, seconds
    pub idle: u64,
    /// GateJob
    pub job: bool,
    /// GateMaxOpen
    pub max_open: u32,
    /// GateAuditOn
    pub audit: AuditOn,
    /// What came in `Gate-Job-Token`, if it came once.
    pub job_token: Option<&'a [u8]>,
}

/// An open port.
pub struct Port {
    subject: Subject,
    limits: Limits,
    opened: Instant,
    moved: u64,
    moved_at: Instant,
    watch: Option<Arc<Watch>>,
    socket: TcpStream,
    /// Writes nothing where the place wants none of it.
    recorder: Recorder,
    _held: Held,
}

/// A port that has been opened.
pub struct Opened {
    /// The port.
    pub port: Port,
    /// `Gate-Expires`
    pub expires: u64,
    /// The line for the error log.
    pub line: String,
}

impl Ports {
    /// Called after the fork.
    #[must_use]
    pub fn start(total: Option<u32>, recorder: Recorder) -> Arc<Self> {
        if let Some(table) = shared::table() {
            table.forget(std::process::id());
        }
        Arc::new(Self {
            total,
            workers: AtomicU32::new(2),
            watches: Mutex::default(),
            cancel: Cancel::default(),
            cutter: Cutter::default(),
            recorder,
        })
    }

    /// How many requests the server can work on at once.
    pub fn set_workers(&self, workers: u32) {
        self.workers.store(workers, Ordering::Relaxed);
    }

    /// Ends the threads, and questions in flight.
    pub fn stop(&self) {
        self.cancel.cancel();
        self.cutter.stop();
        let watches = self.watches.lock().unwrap_or_else(PoisonError::into_inner);
        for watch in watches.iter().filter_map(Weak::upgrade) {
            watch.stop();
        }
    }

    /// How many ports of that name are open in all children.
    #[must_use]
    pub fn open_count(name: &str) -> usize {
        shared::table().map_or(0, |table| table.count(hash(&name)))
    }

    /// How many ports are open in all children.
    #[must_use]
    pub fn all_open() -> usize {
        shared::table().map_or(0, |table| table.open_of(0).1)
    }

    /// Opens a port: a place among those that may be open, the job, the target.
    ///
    /// # Errors
    /// The refusal; nothing was connected to, or nothing was sent there.
    pub fn open(&self, wish: Wish<'_>) -> Result<Opened, Refusal> {
        wish.in_time(clock::now())?;
        let held = self.hold(&wish)?;
        let watch = wish
            .job
            .then(|| self.watch(wish.grant.identity(), wish.job_token))
            .transpose()?;
        let (socket, address) = dial::dial(&wish.target()?)
            .map_err(|why| Refusal::new(Reason::PortUnreachable, why))?;
        // Asking and dialling took their time, and the token may have ended meanwhile.
        let now = clock::now();
        wish.in_time(now)?;
        let limits = wish.limits();
        let subject = Subject {
            name: wish.name.to_owned(),
            request: wish.request.to_owned(),
            peer: wish.peer.to_owned(),
            grant: wish.grant,
            target: address,
        };
        let expires = limits.end(now);
        let line = event::opened(&subject, expires);
        if let Some(board) = shared::board() {
            let issuer = subject.grant.identity().issuer_name();
            board.decided(Outcome::Success, None, Some(issuer), now);
            board.opened(wish.name);
        }
        let recorder = match wish.audit {
            AuditOn::All => self.recorder.clone(),
            AuditOn::Refusals | AuditOn::None => Recorder::default(),
        };
        recorder.push(|frame| event::opening(frame, &subject));
        let opened = Instant::now();
        Ok(Opened {
            port: Port {
                subject,
                limits,
                opened,
                moved: 0,
                moved_at: opened,
                watch,
                socket,
                recorder,
                _held: held,
            },
            expires,
            line,
        })
    }

    fn hold(&self, wish: &Wish<'_>) -> Result<Held, Refusal> {
        let total = self.total();
        own_table()?
            .hold(
                holder(wish.grant.identity()),
                hash(&wish.name),
                wish.max_open,
                total,
            )
            .map_err(|full| full_of(full, wish, total))
    }

    /// GateMaxOpenTotal, or its default.
    fn total(&self) -> u32 {
        let workers = self.workers.load(Ordering::Relaxed);
        self.total.unwrap_or((workers / 2).max(1))
    }

    /// Asks whether the job runs now, and sees to it that somebody goes on asking.
    fn watch(&self, identity: &Identity, token: Option<&[u8]>) -> Result<Arc<Watch>, Refusal> {
        let question = Question::new(identity, token)?;
        match question.ask(&self.cancel) {
            Answer::Alive => {}
            Answer::Ended(state) => {
                return Err(Refusal::new(
                    Reason::JobEnded,
                    format!("wanted a job that runs, got {}", crate::shown::text(&state)),
                ));
            }
            Answer::Mismatch => {
                return Err(Refusal::new(
                    Reason::JobMismatch,
                    "the CI_JOB_TOKEN in Gate-Job-Token is another job's",
                ));
            }
            Answer::Unknown(why) => return Err(Refusal::new(Reason::JobUnknown, why)),
        }
        let mut watches = self.watches.lock().unwrap_or_else(PoisonError::into_inner);
        watches.retain(|it| it.strong_count() > 0);
        let known = watches
            .iter()
            .filter_map(Weak::upgrade)
            .find(|it| it.found() == Found::Alive && it.asks(&question));
        if let Some(watch) = known {
            return Ok(watch);
        }
        let watch = Watch::start(question)
            .map(Arc::new)
            .ok_or_else(|| Refusal::new(Reason::JobUnknown, "no thread to watch the job in"))?;
        watches.push(Arc::downgrade(&watch));
        Ok(watch)
    }
}

fn own_table() -> Result<&'static table::Table, Refusal> {
    shared::table()
        .ok_or_else(|| Refusal::new(Reason::Internal, "there is no shared memory to count in"))
}

fn full_of(full: Full, wish: &Wish<'_>, total: u32) -> Refusal {
    match full {
        Full::Holder => Refusal::new(
            Reason::PortLimit,
            format!("this job has {} ports open (GateMaxOpen)", wish.max_open),
        ),
        Full::Total => Refusal::new(
            Reason::PortLimitTotal,
            format!("{total} ports are open (GateMaxOpenTotal)"),
        ),
    }
}

impl Wish<'_> {
    /// Within GateClockSkew the token still holds, but no port may outlive exp.
    fn in_time(&self, now: u64) -> Result<(), Refusal> {
        if now >= self.grant.identity().expires() {
            return Err(Refusal::new(
                Reason::Expired,
                "exp has passed: a port would end at once",
            ));
        }
        Ok(())
    }

    /// GateTarget, or the port's own name.
    fn target(&self) -> Result<Endpoint, Refusal> {
        self.target
            .cloned()
            .or_else(|| name::parse(self.name))
            .ok_or_else(|| Refusal::new(Reason::Internal, "the port has no name"))
    }

    fn limits(&self) -> Limits {
        Limits {
            expires: self.grant.identity().expires(),
            lifetime: match self.lifetime {
                Lifetime::Seconds(seconds) => Some(Duration::from_secs(seconds)),
                Lifetime::Token | Lifetime::Off => None,
            },
            idle: Duration::from_secs(self.idle),
        }
    }
}

/// Whose ports are counted together: a job's, else a subject's. Two sections may be for one issuer.
fn holder(identity: &Identity) -> u64 {
    let issuer = identity.claim("iss");
    match identity.claim("job_id") {
        Some(job) => hash(&(issuer, identity.claim("project_id"), job)),
        None => hash(&(issuer, identity.subject().unwrap_or(identity.user()))),
    }
}

/// The same in every process.
fn hash(what: &impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    what.hash(&mut hasher);
    hasher.finish()
}

impl Port {
    /// The socket to the target.
    #[must_use]
    pub const fn socket(&self) -> &TcpStream {
        &self.socket
    }

    /// How long until the next look. `moved`: bytes both ways so far.
    ///
    /// # Errors
    /// The port ends, and why.
    pub fn look(&mut self, moved: u64, stopping: bool) -> Result<Duration, Cause> {
        let now = Instant::now();
        if moved != self.moved {
            self.moved = moved;
            self.moved_at = now;
        }
        if stopping {
            return Err(Cause::Stopping);
        }
        if let Some(broken) = self.subject.grant.identity().life().broken() {
            return Err(broken.into());
        }
        match self.watch.as_ref().map(|it| it.found()) {
            Some(Found::Ended) => return Err(Cause::JobEnded),
            Some(Found::Unknown) => return Err(Cause::JobUnknown),
            Some(Found::Alive) | None => {}
        }
        self.limits.look(Moment {
            now: clock::now(),
            open: now.saturating_duration_since(self.opened),
            quiet: now.saturating_duration_since(self.moved_at),
        })
    }

    /// Closes it; the line for the error log.
    #[must_use]
    pub fn close(self, cause: Cause, sent: u64, received: u64) -> String {
        let end = End {
            cause,
            sent,
            received,
            duration: self.opened.elapsed(),
        };
        if let Some(board) = shared::board() {
            board.closed(&self.subject.name, cause, sent, received);
        }
        self.recorder
            .push(|frame| event::closing(frame, &self.subject, &end));
        event::closed(&self.subject, &end)
    }
}
