//! One issuer's keys in this process: what a request asks, and, for the first use or a new `kid`,
//! waits for.
//!
//! Reading is lock-free. What changes stands on the [`Desk`], under one lock that is never held
//! during a fetch. A request never fetches: it asks the refresher to, and waits, where the schedule
//! has room for a fetch and the waiting room a seat. How keys come in is [`super::update`]'s.

use super::bell::Bell;
use super::lock;
use super::room::{Patience, Place, Room};
use super::schedule::Pace;
use super::set::KeySet;
use super::store::{Kept, Stamp, StateDir, Store, StoreError};
use super::update::Changes;
use crate::clock;
use crate::config::{Issuer, KeyLocation};
use arc_swap::ArcSwapOption;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

/// The longest fetch, seconds.
const LONGEST_TIMEOUT: u64 = 600;

/// What the keys room needs of an issuer's settings. Durations in seconds.
#[derive(Clone, Debug)]
pub struct KeySettings {
    /// The name in the configuration.
    pub name: String,
    /// The exact `iss`; may hold `{tenantid}`.
    pub url: String,
    /// Where the keys are.
    pub location: KeyLocation,
    /// How often they are fetched anew.
    pub refresh: u64,
    /// How long the last good ones serve.
    pub max_stale: u64,
    /// One fetch.
    pub timeout: u64,
    /// Trust this CA instead of the system's.
    pub ca_file: Option<PathBuf>,
    /// What that CA was when the configuration was read.
    pub ca_fingerprint: Option<String>,
    /// Where requests wait; without it none does.
    pub room: Option<&'static Room>,
}

impl From<&Issuer> for KeySettings {
    fn from(issuer: &Issuer) -> Self {
        Self {
            name: issuer.name.clone(),
            url: issuer.url.clone(),
            location: issuer.keys.clone(),
            refresh: issuer.refresh,
            max_stale: issuer.max_stale,
            timeout: issuer.timeout,
            ca_file: issuer.ca_file.clone(),
            ca_fingerprint: issuer.ca_fingerprint.clone(),
            room: None,
        }
    }
}

/// An issuer's keys, for the status.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KeyStatus {
    /// When they were last had, seconds since the epoch; `None`: never.
    pub fetched_at: Option<u64>,
    /// What the last fetch failed of; `None` where it did not.
    pub last_error: Option<String>,
    /// Fetches of this process that succeeded.
    pub ok: u64,
    /// Fetches of this process that failed.
    pub failed: u64,
    /// Keys that are fit.
    pub keys: usize,
}

/// One issuer's keys in this process. To be made after the fork.
pub struct Keys {
    pub(super) settings: KeySettings,
    pub(super) store: Store,
    pub(super) place: Option<&'static Place>,
    pub(super) current: ArcSwapOption<KeySet>,
    /// 0: never.
    pub(super) fetched_at: AtomicU64,
    pub(super) ok: AtomicU64,
    pub(super) failed: AtomicU64,
    pub(super) desk: Mutex<Desk>,
    /// A round has ended.
    pub(super) news: Condvar,
    waiting: AtomicUsize,
    bell: OnceLock<Arc<Bell>>,
}

/// What changes, under one lock.
#[derive(Default)]
pub(super) struct Desk {
    /// What this process last knew; where the state directory fails it is all there is.
    pub(super) kept: Kept,
    /// The version last read of the state document, or of the `file:` keys.
    pub(super) seen: Option<Stamp>,
    /// A `file:` is read again then, changed or not.
    pub(super) read_at: u64,
    /// A thread of this process fetches.
    pub(super) in_flight: bool,
    /// A request waits for a new `kid`.
    pub(super) forced: bool,
    /// Rises whenever a fetch has ended, or it is clear that none will start.
    pub(super) rounds: u64,
    /// That fetches fail was said, here or by another process.
    pub(super) said_failing: bool,
    /// For the refresher to say at its next look.
    pub(super) unsaid: Vec<StoreError>,
    pub(super) lockout: Lockout,
    /// What the set that was there at start says of its keys, for the refresher's first look.
    pub(super) at_start: Option<Changes>,
}

/// A fetch is due, and another process has the lock.
#[derive(Default)]
pub(super) struct Lockout {
    /// Since when; 0: it is not so.
    pub(super) since: u64,
    pub(super) said: bool,
}

impl Keys {
    /// An issuer's keys, of which there are none yet. Touches nothing.
    #[must_use]
    pub fn new(mut settings: KeySettings, dir: &Arc<StateDir>) -> Self {
        // No wait without end, and no fetch without pause, whatever the configuration let pass.
        settings.timeout = settings.timeout.clamp(1, LONGEST_TIMEOUT);
        settings.refresh = settings.refresh.max(1);
        let mut location = match &settings.location {
            KeyLocation::Discovery => "discovery".to_owned(),
            KeyLocation::Url(url) => url.clone(),
            KeyLocation::File(path) => format!("file:{}", path.display()),
        };
        // Keys that came under other trust are another issuer's.
        if let Some(ca) = &settings.ca_fingerprint {
            location.push_str("\nCA ");
            location.push_str(ca);
        }
        let store = Store::new(dir, &settings.name, &settings.url, &location);
        Self {
            place: settings.room.and_then(|room| room.place(store.number())),
            store,
            settings,
            current: ArcSwapOption::empty(),
            fetched_at: AtomicU64::new(0),
            ok: AtomicU64::new(0),
            failed: AtomicU64::new(0),
            desk: Mutex::new(Desk::default()),
            news: Condvar::new(),
            waiting: AtomicUsize::new(0),
            bell: OnceLock::new(),
        }
    }

    /// The issuer's name in the configuration.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.settings.name
    }

    /// Whether keys are there that may still serve: fetched, or read, less than `max_stale` ago. Where
    /// not, no token of the issuer may pass, however it was verified before. `now` in
    /// seconds since the epoch.
    #[must_use]
    pub fn usable(&self, now: u64) -> bool {
        match self.fetched_at.load(Ordering::Acquire) {
            0 => false,
            fetched_at => now < fetched_at.saturating_add(self.settings.max_stale),
        }
    }

    /// The keys; `None` where there never were any. Whether they may serve, [`Keys::usable`] says.
    #[must_use]
    pub fn current(&self) -> Option<Arc<KeySet>> {
        self.current.load_full()
    }

    /// How they are.
    #[must_use]
    pub fn status(&self) -> KeyStatus {
        let fetched_at = self.fetched_at.load(Ordering::Acquire);
        KeyStatus {
            fetched_at: (fetched_at != 0).then_some(fetched_at),
            last_error: lock(&self.desk).kept.schedule.error.clone(),
            ok: self.ok.load(Ordering::Relaxed),
            failed: self.failed.load(Ordering::Relaxed),
            keys: self
                .current
                .load()
                .as_ref()
                .map_or(0, |set| set.keys().len()),
        }
    }

    /// How long the last good ones serve, seconds.
    #[must_use]
    pub const fn max_stale(&self) -> u64 {
        self.settings.max_stale
    }

    /// Waits for keys where none serve, and says whether some do now. At once where no fetch is on
    /// its way or due, or too many wait; after the timeout of a fetch and a second at the latest.
    #[must_use]
    pub fn wait_for_first(&self, patience: &Patience) -> bool {
        self.wait(None, patience)
    }

    /// Waits for a key named `kid` (fit or not) that the current set lacks, and says whether it is
    /// there now. At once where no fetch is on its way and the host's throttle has no room for one,
    /// fetches fail, or too many wait; after the timeout of a fetch and a second at the latest.
    #[must_use]
    pub fn wait_for_kid(&self, kid: &str, patience: &Patience) -> bool {
        self.wait(Some(kid), patience)
    }

    fn wait(&self, kid: Option<&str>, patience: &Patience) -> bool {
        // Before the desk: a file system may hang.
        let stamp = self.file().map(|path| Stamp::of(path));
        let there = || match kid {
            None => self.usable(clock::now()),
            Some(kid) => self
                .current
                .load()
                .as_ref()
                .is_some_and(|set| set.knows(kid)),
        };
        if there() {
            return true;
        }
        if self.file().is_none() {
            // Another process may have fetched since the refresher last looked.
            self.pick_up();
            if there() {
                return true;
            }
        }
        let (Some(bell), Some(room), Some(place)) =
            (self.bell.get(), self.settings.room, self.place)
        else {
            return false;
        };
        let mut desk = lock(&self.desk);
        if !self.fetch_may_come(&mut desk, kid.is_some(), stamp) {
            return there();
        }
        let fetch = self.settings.timeout + 1;
        let seat = room.enter(place, clock::now(), fetch);
        let well = desk.kept.schedule.failures == 0;
        let Some(longest) = seat
            .as_ref()
            .and_then(|it| it.longest(Duration::from_secs(fetch), well))
        else {
            return there();
        };
        let _counted = Counted::among(&self.waiting);
        let deadline = patience.ends(longest);
        let round = desk.rounds;
        if !bell.ring() {
            return there();
        }
        while !there() {
            let left = deadline.saturating_duration_since(Instant::now());
            if desk.rounds != round || left.is_zero() {
                return false;
            }
            desk = self
                .news
                .wait_timeout(desk, left)
                .unwrap_or_else(PoisonError::into_inner)
                .0;
        }
        true
    }

    /// Whether a fetch is on its way, due, or may be forced; then it is asked for.
    /// `file`: the version of the `file:` that is there now.
    fn fetch_may_come(&self, desk: &mut Desk, forced: bool, file: Option<Option<Stamp>>) -> bool {
        if let Some(stamp) = file {
            return desk.in_flight || stamp != desk.seen;
        }
        let now = clock::now();
        let schedule = &desk.kept.schedule;
        if forced && schedule.failures > 0 {
            // What is fetched is the issuer's return, which may take long to be seen.
            return false;
        }
        if desk.in_flight || schedule.under_way(now, self.pace()) || self.is_due(desk, now) {
            return true;
        }
        desk.forced |= forced && schedule.may_force(now);
        desk.forced
    }

    /// Whether requests wait.
    pub(super) fn is_waited_for(&self) -> bool {
        self.waiting.load(Ordering::Relaxed) > 0
    }

    /// From now on a refresher answers this bell.
    pub(super) fn attach(&self, bell: &Arc<Bell>) {
        let _ = self.bell.set(Arc::clone(bell));
    }

    /// Whether a refresher looks after the keys.
    pub(super) fn is_attached(&self) -> bool {
        self.bell.get().is_some()
    }

    /// The path of `file:` keys.
    pub(super) fn file(&self) -> Option<&PathBuf> {
        match &self.settings.location {
            KeyLocation::File(path) => Some(path),
            _ => None,
        }
    }

    /// Whether a fetch is due.
    pub(super) fn is_due(&self, desk: &Desk, now: u64) -> bool {
        let fetched_at = desk.kept.keys.as_ref().map(|keys| keys.fetched_at);
        desk.kept.schedule.due(now, self.pace(), fetched_at)
    }

    pub(super) fn pace(&self) -> Pace {
        Pace {
            refresh: self.settings.refresh,
            max_stale: self.settings.max_stale,
            timeout: self.settings.timeout,
        }
    }
}

/// One who waits.
struct Counted<'a>(&'a AtomicUsize);

impl<'a> Counted<'a> {
    fn among(waiting: &'a AtomicUsize) -> Self {
        waiting.fetch_add(1, Ordering::Relaxed);
        Self(waiting)
    }
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests;
