//! Whether a person's account in GitLab may act by `Sudo` (GateAccountAPI). GitLab checks only the owner of the
//! token that comes with `Sudo`, so an account that is blocked there would go on.
//!
//! The first request of a person waits for GitLab's answer; while answers are young, later ones are asked for in
//! the background. Each question is bounded in time, at most an eighth of the workers ask at once on the whole
//! host, and each child asks about a name once at a time.

pub mod answer; // what GitLab's answer means
pub mod known; //  the answers that this child has, and who asks
pub mod pins; //   which account belongs to a person

use crate::clock;
use crate::config::{AccountApi, Config};
use crate::http::{self, Cancel, Directives, Trust};
use crate::identity::Identity;
use crate::jwks::refresh::join_until;
use crate::jwks::room::{Place, Room, Waiting};
use crate::kind::Kind;
use crate::shown;
use crate::upstream::credential;
use crate::verdict::{Reason, Refusal};
use answer::{Account, Said};
use known::{Known, Next};
use pins::Pins;
use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{Builder, JoinHandle};
use std::time::{Duration, Instant};

/// The longest question, and the longest that a request waits.
pub const LONGEST: Duration = Duration::from_secs(5);
/// How long a request waits until it may ask, and between two looks.
const MOMENT: Duration = Duration::from_secs(2);
const LOOK: Duration = Duration::from_millis(20);
/// The longest answer that is read: one record.
const MAX_BYTES: usize = 1 << 18;
/// Names that wait for a background question.
const QUEUE: usize = 1000;
/// Background questions at once, in one child.
const THREADS: usize = 2;
/// How long a stop waits for the threads.
const STOP: Duration = Duration::from_millis(500);

/// Why there is no question.
const FULL: &str = "an eighth of the workers wait for GitLab already";

/// What error texts name.
const DIRECTIVES: Directives = Directives {
    time_limit: "GateAccountAPI waits 5 s",
    ca_file: "ca-file= of GateAccountAPI",
};

/// What the administrator is told.
pub trait News: Send + Sync {
    /// GitLab can't say: the API's URL, and why.
    fn accounts_unknown(&self, url: &str, why: &str);
    /// It can again.
    fn accounts_known_again(&self, url: &str);
}

/// How one API is, for the status.
#[derive(Clone, Debug)]
pub struct Status {
    /// Its URL.
    pub url: String,
    /// Names that this child has answers about.
    pub names: usize,
    /// Questions that were answered, and that were not.
    pub asked: (u64, u64),
    /// What was wrong with the last one.
    pub last_error: Option<String>,
}

/// One GateAccountAPI in this child.
struct Api {
    settings: Arc<AccountApi>,
    known: Known,
    answered: AtomicU64,
    failed: AtomicU64,
    last_error: Mutex<Option<String>>,
    seats: Option<(&'static Room, &'static Place)>,
    news: Arc<dyn News>,
}

/// What one child has of this, made after the fork.
pub struct Accounts {
    /// That of each server.
    servers: Vec<Option<Arc<Api>>>,
    pins: Pins,
    queue: Arc<Queue>,
    threads: Vec<JoinHandle<()>>,
    wanted: usize,
}

/// What is to be asked in the background, and whether the threads are to stop.
type Names = (VecDeque<(Arc<Api>, String)>, bool);

#[derive(Default)]
struct Queue {
    names: Mutex<Names>,
    filled: Condvar,
    cancel: Cancel,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Accounts {
    /// Starts the threads where some server has a GateAccountAPI. Called after the fork.
    #[must_use]
    pub fn start(
        config: &Config,
        state_dir: &Path,
        room: Option<&'static Room>,
        news: &Arc<dyn News>,
    ) -> Self {
        let mut apis: Vec<Arc<Api>> = Vec::new();
        let mut of = |settings: &Arc<AccountApi>| {
            let known = apis.iter().find(|it| Arc::ptr_eq(&it.settings, settings));
            let api = known.cloned().unwrap_or_else(|| {
                let api = Arc::new(Api::new(settings, room, news));
                apis.push(Arc::clone(&api));
                api
            });
            Some(api)
        };
        let servers: Vec<_> = (0..config.servers.len())
            .map(|server| config.account_api(server).and_then(&mut of))
            .collect();
        let queue = Arc::<Queue>::default();
        let wanted = if apis.is_empty() { 0 } else { THREADS };
        let threads = (0..wanted)
            .filter_map(|_| {
                let queue = Arc::clone(&queue);
                Builder::new()
                    .name("gate-account".to_owned())
                    .spawn(move || queue.run())
                    .ok()
            })
            .collect();
        Self {
            servers,
            pins: Pins::new(state_dir),
            queue,
            threads,
            wanted,
        }
    }

    /// Whether its threads could be had.
    #[must_use]
    pub fn runs(&self) -> bool {
        self.threads.len() == self.wanted
    }

    /// Nobody waits any more: the server stops at once.
    pub fn release(&self) {
        self.queue.stop();
    }

    /// Stops the threads.
    pub fn stop(self) {
        self.queue.stop();
        let deadline = Instant::now() + STOP;
        for thread in self.threads {
            join_until(thread, deadline);
        }
    }

    /// For the status.
    #[must_use]
    pub fn status(&self) -> Vec<Status> {
        let mut seen: Vec<&Arc<Api>> = Vec::new();
        for api in self.servers.iter().flatten() {
            if !seen.iter().any(|it| Arc::ptr_eq(it, api)) {
                seen.push(api);
            }
        }
        seen.into_iter().map(|it| it.status()).collect()
    }

    /// Whether GitLab may be asked to act for the person under this name.
    ///
    /// # Errors
    /// The account is not there or not active; it is another one than before; or GitLab can't say.
    pub fn admit(&self, server: usize, name: &str, identity: &Identity) -> Result<(), Refusal> {
        let Some(Some(api)) = self.servers.get(server) else {
            return Ok(());
        };
        match &*api.ask_about(name, &self.queue)? {
            Said::Nobody => Err(Refusal::new(
                Reason::AccountBlocked,
                format!(
                    "GateAccountAPI: GitLab has no account {}",
                    shown::quoted(name)
                ),
            )),
            Said::Account(Account { state, .. }) if state != "active" => Err(Refusal::new(
                Reason::AccountBlocked,
                format!(
                    "GateAccountAPI: wanted the account {} to be active, it is {}",
                    shown::quoted(name),
                    shown::text(state)
                ),
            )),
            Said::Account(account) => {
                // A job's `sub` is its project and branch: `user_id` is the person.
                let subject = match identity.kind() {
                    Kind::Gitlab => identity.claim("user_id"),
                    _ => identity.claim("sub"),
                };
                let issuer = identity.claim("iss");
                let issuer = issuer.as_deref().unwrap_or(&identity.issuer().url);
                self.pins
                    .check(issuer, subject.as_deref(), name, account.id)
            }
        }
    }
}

fn unknown(why: &str) -> Refusal {
    Refusal::new(Reason::AccountUnknown, format!("GateAccountAPI: {why}"))
}

impl Queue {
    fn stop(&self) {
        lock(&self.names).1 = true;
        self.filled.notify_all();
        self.cancel.cancel();
    }

    /// Whether there was room.
    fn push(&self, api: &Arc<Api>, name: &str) -> bool {
        let mut names = lock(&self.names);
        if names.1 || names.0.len() >= QUEUE {
            return false;
        }
        names.0.push_back((Arc::clone(api), name.to_owned()));
        drop(names);
        self.filled.notify_one();
        true
    }

    fn run(&self) {
        while let Some((api, name)) = self.next() {
            // A panic over one question must not end the thread.
            let _ = catch_unwind(AssertUnwindSafe(|| {
                api.ask_in_background(&name, &self.cancel)
            }));
        }
    }

    fn next(&self) -> Option<(Arc<Api>, String)> {
        let names = lock(&self.names);
        let mut names = self
            .filled
            .wait_while(names, |(names, stopped)| names.is_empty() && !*stopped)
            .unwrap_or_else(PoisonError::into_inner);
        let stopped = names.1;
        names.0.pop_front().filter(|_| !stopped)
    }
}

impl Api {
    fn new(settings: &Arc<AccountApi>, room: Option<&'static Room>, news: &Arc<dyn News>) -> Self {
        let hash = aws_lc_rs::digest::digest(
            &aws_lc_rs::digest::SHA256,
            format!("GateAccountAPI {}", settings.url).as_bytes(),
        );
        let number = hash
            .as_ref()
            .iter()
            .take(8)
            .fold(0, |all, byte| all << 8 | u64::from(*byte));
        Self {
            settings: Arc::clone(settings),
            known: Known::new(settings.cache, settings.stale),
            answered: AtomicU64::new(0),
            failed: AtomicU64::new(0),
            last_error: Mutex::default(),
            seats: room.and_then(|room| Some((room, room.place(number)?))),
            news: Arc::clone(news),
        }
    }

    fn status(&self) -> Status {
        Status {
            url: self.settings.url.clone(),
            names: self.known.len(),
            asked: (self.answered.load(Relaxed), self.failed.load(Relaxed)),
            last_error: lock(&self.last_error).clone(),
        }
    }

    /// What is known of the name; where that is nothing, or too old, GitLab is asked.
    fn ask_about(self: &Arc<Self>, name: &str, queue: &Queue) -> Result<Arc<Said>, Refusal> {
        match self.known.look(name, clock::now()) {
            Next::Use(said) => Ok(said),
            Next::Refresh(said) => {
                if !queue.push(self, name) {
                    self.known.not_queued(name);
                }
                Ok(said)
            }
            Next::Failed(why) => Err(unknown(&why)),
            Next::Ask(asking) => asking
                .done(self.question(name, &queue.cancel), clock::now())
                .map_err(|why| unknown(&why)),
            Next::Wait => {
                let deadline = Instant::now() + LONGEST;
                let waited = match self.seat() {
                    Some(_seat) => self.known.wait(name, deadline),
                    None => self.known.fall_back(name, FULL),
                };
                waited.map_err(|why| unknown(&why))
            }
        }
    }

    /// The right to wait for GitLab; `None`: an eighth of the workers do so already. While GitLab answers, a request
    /// waits a moment for it, as long as no more than half of the workers wait for anything.
    fn seat(&self) -> Option<Waiting> {
        let (room, place) = self.seats?;
        let enter = || room.enter(place, clock::now(), LONGEST.as_secs());
        let has_own = |it: &Waiting| it.longest(LONGEST, false).is_some();
        let waiting = enter()?;
        if has_own(&waiting) {
            return Some(waiting);
        }
        let until = Instant::now() + MOMENT;
        while Instant::now() < until && lock(&self.last_error).is_none() {
            std::thread::sleep(LOOK);
            let own = enter().filter(has_own);
            if own.is_some() {
                return own;
            }
        }
        None
    }

    fn ask_in_background(&self, name: &str, cancel: &Cancel) {
        if let Some(asking) = self.known.take(name, clock::now()) {
            let answer = self.question(name, cancel);
            let _ = asking.done(answer, clock::now());
        }
    }

    /// One question, where the host has room for it.
    fn question(&self, name: &str, cancel: &Cancel) -> Result<Said, String> {
        let Some(_seat) = self.seat() else {
            return Err(FULL.to_owned());
        };
        let said = self.get(name, cancel);
        match &said {
            Ok(_) => {
                self.answered.fetch_add(1, Relaxed);
                if lock(&self.last_error).take().is_some() {
                    self.news.accounts_known_again(&self.settings.url);
                }
            }
            Err(_) if cancel.is_cancelled() => {}
            Err(why) => {
                self.failed.fetch_add(1, Relaxed);
                if lock(&self.last_error).replace(why.clone()).is_none() {
                    self.news.accounts_unknown(&self.settings.url, why);
                }
            }
        }
        said
    }

    fn get(&self, name: &str, cancel: &Cancel) -> Result<Said, String> {
        let file = &self.settings.token_file;
        let secret =
            credential::read(file).map_err(|unfit| format!("{}: {unfit}", file.display()))?;
        let url = answer::url(&self.settings.url, name);
        let request = http::Request {
            url: &url,
            headers: &[("PRIVATE-TOKEN", secret.reveal())],
            form: None,
            deadline: Instant::now() + LONGEST,
            max_bytes: MAX_BYTES,
            trust: &Trust::new(self.settings.ca_file.as_deref()),
            directives: DIRECTIVES,
        };
        let response = request.send(cancel).map_err(|it| it.to_string())?;
        let body = match response.status {
            200 => response.body.map_err(|it| it.to_string())?,
            _ => Vec::new(),
        };
        answer::judge(response.status, &body, name).map_err(|why| format!("{url} {why}"))
    }
}
