//! How keys come into a process: from the state document, from a fetch of its own ([`super::file`]: from a file).
//!
//! [`Keys`]' side that the refresher drives; the side that requests see is [`super::keys`]. A fetch
//! goes: look whether the schedule has one ([`Keys::ticket`]), with the host's lock in hand look
//! once more, write down that it starts, fetch, write down how it went, tell who waits.

use super::fetch::{self, FetchError, Fetched, Source};
use super::key::Key;
use super::keys::{Desk, Keys, Lockout};
use super::lock;
use super::refresh::Report;
use super::room::Place;
use super::set::{KeySet, PassedOver};
use super::store::{HostLock, Kept, KeptKeys, StoreError};
use crate::clock;
use crate::config::KeyLocation;
use crate::http::Cancel;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// So many seconds after a fetch must be over, its lock holds nobody up any more.
const LOCK_SLACK: u64 = 2;

/// The permission to fetch: the schedule has a fetch in it, and nobody else of the host is at it.
pub(super) struct Ticket {
    /// `None` where the state directory fails, or its lock is held beyond a fetch: each process is on
    /// its own then.
    held: Option<HostLock>,
}

/// What an installed set changed.
#[derive(Default)]
pub(super) struct Changes {
    added: Vec<String>,
    removed: Vec<String>,
    passed_over: Vec<PassedOver>,
    /// No key of it fits, and that is new.
    emptied: bool,
}

impl Changes {
    /// Of a set that was there before: which keys of it do not serve.
    pub(super) fn at_start(self) -> Self {
        Self {
            added: Vec::new(),
            removed: Vec::new(),
            ..self
        }
    }

    pub(super) fn say(&self, name: &str, report: &dyn Report) {
        if self.emptied {
            report.no_key_fits(name);
        }
        for passed in &self.passed_over {
            let kid = passed.kid.as_deref().unwrap_or("(without kid)");
            report.key_passed_over(name, kid, &passed.why.to_string());
        }
        if !self.added.is_empty() || !self.removed.is_empty() {
            report.keys_changed(name, &self.added, &self.removed);
        }
    }
}

impl Keys {
    /// Takes what the state directory or the `file:` holds, without any fetch. To be called once
    /// before the process serves, so that it serves from its first request on.
    pub fn load(&self) {
        match self.file() {
            Some(path) => self.read_file(path, None),
            None => self.pick_up(),
        }
    }

    /// Takes over what another process wrote into the state document, if it is new.
    pub(super) fn pick_up(&self) {
        let stamp = self.store.stamp();
        if stamp == lock(&self.desk).seen {
            return;
        }
        // Nobody waits for the desk meanwhile: a file system may hang.
        let loaded = self.load_kept();
        let mut desk = lock(&self.desk);
        if stamp == desk.seen {
            return;
        }
        desk.seen = stamp;
        match loaded {
            Ok(Some((kept, set))) => self.take_over(&mut desk, kept, set),
            Ok(None) => {}
            Err(error) => desk.unsaid.push(error),
        }
    }

    /// The state document and, where its keys are not the current ones, their set.
    pub(super) fn load_kept(&self) -> Result<Option<(Kept, Option<KeySet>)>, StoreError> {
        let Some(kept) = self.store.load()? else {
            return Ok(None);
        };
        let ours = lock(&self.desk)
            .kept
            .keys
            .as_ref()
            .map(|it| it.text.clone());
        let set = match &kept.keys {
            Some(theirs) if ours.as_ref() != Some(&theirs.text) => {
                // An older gate may have kept what this one does not take: all of it is as good as none.
                match KeySet::parse(theirs.text.as_bytes()) {
                    Ok(set) => Some(set),
                    Err(error) => return Err(self.store.damaged(error.to_string())),
                }
            }
            _ => None,
        };
        Ok(Some((kept, set)))
    }

    fn take_over(&self, desk: &mut Desk, theirs: Kept, set: Option<KeySet>) {
        let newer = theirs.schedule.revision > desk.kept.schedule.revision;
        let failing = theirs.schedule.failures > 0;
        let ended = newer && !theirs.schedule.fetching;
        if let Some(keys) = theirs.keys {
            let ours = desk.kept.keys.as_ref();
            if newer || ours.is_none_or(|ours| ours.fetched_at < keys.fetched_at) {
                self.take_keys(desk, keys, set);
            }
        }
        desk.kept.schedule = std::mem::take(&mut desk.kept.schedule).newest(theirs.schedule);
        // Before there is a refresher nobody of this process's time has said it.
        if newer && self.is_attached() {
            desk.said_failing = failing;
        }
        if newer {
            // Whoever holds the lock works.
            desk.lockout.since = 0;
        }
        if ended {
            self.end_round(desk);
        }
    }

    /// `set`: `None` where they were the current ones when they were read.
    pub(super) fn take_keys(&self, desk: &mut Desk, keys: KeptKeys, set: Option<KeySet>) {
        let ours = desk.kept.keys.as_ref();
        match set {
            _ if ours.is_some_and(|ours| ours.text == keys.text) => {}
            Some(set) => {
                let changes = self.install(set);
                // The process that fetched it has said it, if there was one since httpd started.
                if !self.is_attached() {
                    desk.at_start = Some(changes.at_start());
                }
            }
            // The current ones have changed meanwhile: they are newer.
            None => return,
        }
        self.fetched_at
            .store(keys.fetched_at.min(clock::now()), Ordering::Release);
        desk.kept.keys = Some(keys);
    }

    /// Puts the set in the place of the current one. The desk is locked by the caller: one at a
    /// time.
    pub(super) fn install(&self, set: KeySet) -> Changes {
        let old = self.current.load_full();
        let succession = set.succeed(old.as_deref());
        let before = old.as_deref().map_or(&[][..], KeySet::passed_over);
        let passed_over = succession
            .set
            .passed_over()
            .iter()
            .filter(|passed| !before.contains(passed))
            .cloned()
            .collect();
        let none = |set: &KeySet| set.keys().is_empty();
        let emptied = none(&succession.set) && !old.as_deref().is_some_and(none);
        self.current.store(Some(Arc::new(succession.set)));
        for key in &succession.removed {
            key.retire();
        }
        Changes {
            added: names(&succession.added),
            removed: names(&succession.removed),
            passed_over,
            emptied,
        }
    }

    /// The refresher's look, about once a second: takes what is new, and says whether to fetch.
    pub(super) fn look(&self, report: &dyn Report) -> Option<Ticket> {
        // Where the clock was set back they age from now on, and not from a time that is to come.
        self.fetched_at.fetch_min(clock::now(), Ordering::AcqRel);
        let at_start = lock(&self.desk).at_start.take();
        if let Some(changes) = at_start.filter(|_| self.place.is_none_or(Place::is_first_look)) {
            changes.say(self.name(), report);
        }
        if let Some(path) = self.file() {
            self.read_file(path, Some(report));
            return None;
        }
        self.pick_up();
        for error in std::mem::take(&mut lock(&self.desk).unsaid) {
            report.store_failed(&error.to_string());
        }
        self.ticket(report)
    }

    fn ticket(&self, report: &dyn Report) -> Option<Ticket> {
        if !self.may_start(&mut lock(&self.desk)) {
            return None;
        }
        let held = match self.store.try_lock() {
            Ok(Some(held)) => Some(held),
            // Another process is at it: what it brings is picked up.
            Ok(None) if !self.locked_out(report) => return None,
            Ok(None) => None,
            Err(error) => {
                self.store_failed(&error, report);
                None
            }
        };
        if held.is_some() {
            lock(&self.desk).lockout = Lockout::default();
        }
        // It may just have been done by another process.
        self.pick_up();
        let mut desk = lock(&self.desk);
        if !self.may_start(&mut desk) {
            return None;
        }
        let now = clock::now();
        let forced = !self.is_due(&desk, now);
        // The state directory may fail, and another process may have had it.
        if forced && !self.place.is_none_or(|place| place.force(now)) {
            let theirs = self.place.map_or(now, |place| place.forced_at());
            desk.kept.schedule.forced_at = theirs;
            self.end_round(&mut desk);
            return None;
        }
        desk.kept.schedule.begin(now, forced, self.pace());
        desk.in_flight = true;
        let kept = desk.kept.clone();
        drop(desk);
        let ticket = Ticket { held };
        // Before the fetch: even where the process dies in it, the throttle has counted it.
        self.save(&ticket, &kept, report);
        Some(ticket)
    }

    /// Whether the lock is held although the fetch that it is for must be over: its process was
    /// stopped, or is none of ours. Said once, until the lock is to be had again.
    fn locked_out(&self, report: &dyn Report) -> bool {
        let now = clock::now();
        let mut desk = lock(&self.desk);
        let schedule = &desk.kept.schedule;
        let longest = self.settings.timeout + 1 + LOCK_SLACK;
        let since = match desk.lockout.since {
            // The fetch that is known may be this one; an older one's process has long died.
            0 if schedule.fetching && now <= schedule.attempted_at.saturating_add(longest) => {
                schedule.attempted_at
            }
            0 => now,
            since => since,
        };
        desk.lockout.since = since.min(now);
        if now <= since.saturating_add(longest) {
            return false;
        }
        let said = std::mem::replace(&mut desk.lockout.said, true);
        drop(desk);
        if !said {
            report.store_failed(&self.store.held_too_long().to_string());
        }
        true
    }

    /// Whether the schedule has a fetch now. Where it has none, and none is on its way, whoever
    /// waits is told.
    fn may_start(&self, desk: &mut Desk) -> bool {
        if desk.in_flight {
            return false;
        }
        let now = clock::now();
        let schedule = &desk.kept.schedule;
        if self.is_due(desk, now) || (desk.forced && schedule.may_force(now)) {
            return true;
        }
        if !schedule.under_way(now, self.pace()) {
            self.end_round(desk);
        }
        false
    }

    /// Whoever waits waits in vain: the refresher stops.
    pub(super) fn release(&self) {
        self.end_round(&mut lock(&self.desk));
    }

    pub(super) fn end_round(&self, desk: &mut Desk) {
        desk.forced = false;
        desk.rounds += 1;
        self.news.notify_all();
    }

    /// Fetches, in the thread that calls, and takes what comes.
    pub(super) fn fetch(&self, ticket: Ticket, report: &dyn Report, cancel: &Cancel) {
        let source = match &self.settings.location {
            KeyLocation::Discovery => Source::Discovery {
                issuer: &self.settings.url,
            },
            KeyLocation::Url(url) => Source::Url(url),
            KeyLocation::File(_) => return,
        };
        let timeout = Duration::from_secs(self.settings.timeout);
        let ca_file = self.settings.ca_file.as_deref();
        let result = catch_unwind(AssertUnwindSafe(|| {
            fetch::fetch(source, timeout, ca_file, cancel)
        }))
        .unwrap_or_else(|_| Err(FetchError::Panicked));
        self.finish(&ticket, result, report);
    }

    /// The fetch could not even start.
    pub(super) fn not_started(&self, report: &dyn Report) {
        self.finish(&Ticket { held: None }, Err(FetchError::NoThread), report);
    }

    fn finish(&self, ticket: &Ticket, result: Result<Fetched, FetchError>, report: &dyn Report) {
        let now = clock::now();
        let name = self.name();
        let mut desk = lock(&self.desk);
        let was_failing = desk.kept.schedule.failures > 0 || desk.said_failing;
        let say: Box<dyn FnOnce()> = match result {
            Ok(fetched) => {
                self.ok.fetch_add(1, Ordering::Relaxed);
                report.fetched(name, true);
                desk.kept.schedule.succeeded(now, self.pace(), dice());
                desk.said_failing = false;
                let changes = self.install(fetched.set);
                desk.kept.keys = Some(KeptKeys {
                    source: fetched.source,
                    text: Arc::from(fetched.text),
                    fetched_at: now,
                });
                self.fetched_at.store(now, Ordering::Release);
                Box::new(move || {
                    if was_failing {
                        report.fetch_recovered(name);
                    }
                    changes.say(name, report);
                })
            }
            Err(FetchError::Cancelled) => {
                desk.kept.schedule.given_up(now);
                Box::new(|| ())
            }
            Err(error) => {
                self.failed.fetch_add(1, Ordering::Relaxed);
                report.fetched(name, false);
                let detail = error.to_string();
                let serving = self.usable(now);
                desk.kept
                    .schedule
                    .failed(now, self.pace(), serving, detail.clone(), dice());
                let next = desk.kept.schedule.next_at.saturating_sub(now);
                let first = !std::mem::replace(&mut desk.said_failing, true);
                Box::new(move || {
                    if first {
                        report.fetch_failed(name, &detail, next);
                    }
                })
            }
        };
        desk.in_flight = false;
        self.end_round(&mut desk);
        let kept = desk.kept.clone();
        drop(desk);
        self.save(ticket, &kept, report);
        say();
    }

    /// Writes the state document, where the lock is held.
    fn save(&self, ticket: &Ticket, kept: &Kept, report: &dyn Report) {
        let Some(held) = &ticket.held else {
            return;
        };
        match self.store.save(held, kept) {
            // One's own document need not be read again. The lock is held: nobody else wrote.
            Ok(()) => lock(&self.desk).seen = self.store.stamp(),
            Err(error) => self.store_failed(&error, report),
        }
    }

    fn store_failed(&self, error: &StoreError, report: &dyn Report) {
        if self.store.dir().failed_first() {
            report.store_failed(&error.to_string());
        }
    }
}

fn names(keys: &[Arc<Key>]) -> Vec<String> {
    keys.iter()
        .map(|key| key.kid().unwrap_or("(without kid)").to_owned())
        .collect()
}

/// Any number.
fn dice() -> u64 {
    let mut bytes = [0; 8];
    // Without chance there is no jitter, which harms nothing.
    let _ = aws_lc_rs::rand::fill(&mut bytes);
    u64::from_ne_bytes(bytes)
}

#[cfg(test)]
mod tests;
