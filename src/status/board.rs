//! The counters of all children, in one block of shared memory. Every place is an atomic and every
//! step a relaxed increment: nobody waits. Zeroes are an empty board. Names (issuers and ports)
//! are written once and never taken back, so that a place keeps its meaning over restarts.

use crate::config::Config;
use crate::port::limit::Cause;
use crate::sys::lock::is_running;
use crate::verdict::Reason;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use std::sync::atomic::{AtomicU32, AtomicU64, AtomicUsize};

/// Issuers and ports that are told apart; the last place is [`OTHER`]'s.
pub const NAMES: usize = 256;
/// All those for which there was no place.
pub const OTHER: &str = "(other)";
/// How often a name that is being written is looked at before it is given up.
const PATIENCE: u32 = 100_000;
/// Bytes of a name that are kept.
const NAME: usize = 96;
/// Places for the causes of a port's end.
const CAUSES: usize = 16;
/// Places for reasons; 0 is "granted".
const REASONS: usize = 64;
/// Minutes that are remembered.
pub const MINUTES: usize = 60;
/// Children that are counted at once.
const CHILDREN: usize = 512;

/// What became of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    Success,
    Failure,
    /// It would have been refused (GateMode observe).
    Observed,
}

impl Outcome {
    /// In the order of their places.
    pub const ALL: [Self; 3] = [Self::Success, Self::Failure, Self::Observed];

    /// As metrics name it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Success => "success",
            Self::Failure => "failure",
            Self::Observed => "observed",
        }
    }
}

/// Names, each written once.
struct Names {
    state: [AtomicU32; NAMES],
    bytes: [[AtomicU64; NAME / 8]; NAMES],
}

/// A name's states. One that is given up was being written by a process that died.
const FREE: u32 = 0;
const WRITING: u32 = 1;
const THERE: u32 = 2;
const GIVEN_UP: u32 = 3;

/// Whether the name can be read: waits for who writes it, but not for ever.
fn is_there(state: &AtomicU32) -> bool {
    for _ in 0..PATIENCE {
        match state.load(Acquire) {
            WRITING => std::hint::spin_loop(),
            settled => return settled == THERE,
        }
    }
    state.compare_exchange(WRITING, GIVEN_UP, Relaxed, Acquire) == Err(THERE)
}

impl Names {
    /// The place of a name, which it is given where it has none.
    fn place(&self, name: &str) -> usize {
        let mut wanted = [0_u8; NAME];
        for (to, from) in wanted.iter_mut().zip(name.bytes()) {
            *to = from;
        }
        let places = self.state.iter().zip(&self.bytes).take(NAMES - 1);
        for (at, (state, bytes)) in places.enumerate() {
            if state
                .compare_exchange(FREE, WRITING, Relaxed, Relaxed)
                .is_ok()
            {
                for (to, from) in bytes.iter().zip(wanted.as_chunks::<8>().0) {
                    to.store(u64::from_ne_bytes(*from), Relaxed);
                }
                if state
                    .compare_exchange(WRITING, THERE, Release, Relaxed)
                    .is_ok()
                {
                    return at;
                }
                continue;
            }
            if !is_there(state) {
                continue;
            }
            let same = bytes
                .iter()
                .zip(wanted.as_chunks::<8>().0)
                .all(|(to, from)| to.load(Relaxed) == u64::from_ne_bytes(*from));
            if same {
                return at;
            }
        }
        if let Some(last) = self.state.last() {
            last.store(THERE, Release);
        }
        NAMES - 1
    }

    fn get(&self, at: usize) -> Option<String> {
        if self.state.get(at)?.load(Acquire) != THERE {
            return None;
        }
        if at == NAMES - 1 {
            return Some(OTHER.to_owned());
        }
        let bytes: Vec<u8> = self
            .bytes
            .get(at)?
            .iter()
            .flat_map(|it| it.load(Relaxed).to_ne_bytes())
            .take_while(|b| *b != 0)
            .collect();
        Some(String::from_utf8_lossy(&bytes).into_owned())
    }

    fn all(&self) -> impl Iterator<Item = (usize, String)> {
        (0..NAMES).filter_map(|at| Some((at, self.get(at)?)))
    }
}

struct Child {
    /// 0: free.
    process: AtomicU32,
    cached: AtomicUsize,
}

/// What has become of the ports of one name.
struct Tunnels {
    opened: AtomicU64,
    /// To the target, and from it.
    moved: [AtomicU64; 2],
    ends: [AtomicU64; CAUSES],
}

/// What happened in one minute.
struct Minute {
    /// Minutes since the epoch.
    stamp: AtomicU64,
    outcomes: [AtomicU64; 3],
    reasons: [AtomicU64; REASONS],
}

impl Minute {
    /// Ready to count in; nothing of an earlier hour is left.
    fn at(minutes: &[Self; MINUTES], now: u64) -> Option<&Self> {
        let stamp = now / 60;
        let minute = minutes.get(usize::try_from(stamp).ok()? % MINUTES)?;
        let old = minute.stamp.load(Relaxed);
        let first = old != stamp
            && minute
                .stamp
                .compare_exchange(old, stamp, Relaxed, Relaxed)
                .is_ok();
        if first {
            // Who is first in a minute empties it; a count that comes at that very moment may be
            // missing in the last hour, never in the counters.
            let all = minute.outcomes.iter().chain(&minute.reasons);
            all.for_each(|it| it.store(0, Relaxed));
        }
        Some(minute)
    }
}

/// The board.
pub struct Board {
    issuers: Names,
    ports: Names,
    /// By issuer (0: none known), reason and outcome.
    decisions: [[[AtomicU64; 3]; REASONS]; NAMES + 1],
    /// Succeeded and failed.
    fetches: [[AtomicU64; 2]; NAMES],
    tunnels: [Tunnels; NAMES],
    hits: AtomicU64,
    misses: AtomicU64,
    lost: AtomicU64,
    children: [Child; CHILDREN],
    minutes: [Minute; MINUTES],
}

/// Reasons of one code share a place.
fn place_of(reason: Option<Reason>) -> usize {
    let at = |reason: Reason| {
        let same = |it: &Reason| *it == reason || it.code_c() == reason.code_c();
        Reason::ALL.iter().position(same)
    };
    reason.map_or(0, |reason| {
        at(reason).map_or(REASONS - 1, |at| (at + 1).min(REASONS - 1))
    })
}

/// The code of that place; "" where nothing was refused.
fn code_of(place: usize) -> &'static str {
    place
        .checked_sub(1)
        .and_then(|at| Reason::ALL.get(at))
        .map_or("", |it| it.code())
}

/// A count with its labels.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Count {
    pub outcome: Outcome,
    /// The reason's code; "": granted.
    pub reason: &'static str,
    /// The issuer's name; "": none known.
    pub issuer: String,
    pub count: u64,
}

/// The ports of one name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PortCount {
    pub name: String,
    /// Ever opened.
    pub opened: u64,
    /// Bytes to the target, and from it, of those that have ended.
    pub sent: u64,
    pub received: u64,
    /// Why they ended, and how many so.
    pub ends: Vec<(&'static str, u64)>,
}

/// One minute.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Slice {
    /// Success, failure, observed.
    pub outcomes: [u64; 3],
    /// By code.
    pub reasons: Vec<(&'static str, u64)>,
}

impl Board {
    /// Gives the configuration's issuers and ports their places: they are shown from now on.
    pub fn know(&self, config: &Config) {
        config.issuer_names.iter().for_each(|it| {
            self.issuers.place(it);
        });
        config.ports.iter().for_each(|it| {
            self.ports.place(it);
        });
    }

    /// Counts a decision.
    pub fn decided(
        &self,
        outcome: Outcome,
        reason: Option<Reason>,
        issuer: Option<&str>,
        now: u64,
    ) {
        let (issuer, reason) = (
            issuer.map_or(0, |it| self.issuers.place(it) + 1),
            place_of(reason),
        );
        let of = self.decisions.get(issuer).and_then(|it| it.get(reason));
        if let Some(count) = of.and_then(|it| it.get(outcome as usize)) {
            count.fetch_add(1, Relaxed);
        }
        let Some(minute) = Minute::at(&self.minutes, now) else {
            return;
        };
        for count in [
            minute.outcomes.get(outcome as usize),
            minute.reasons.get(reason),
        ]
        .into_iter()
        .flatten()
        {
            count.fetch_add(1, Relaxed);
        }
    }

    /// Counts a fetch.
    pub fn fetched(&self, issuer: &str, ok: bool) {
        let of = self.fetches.get(self.issuers.place(issuer));
        if let Some(count) = of.and_then(|it| it.get(usize::from(!ok))) {
            count.fetch_add(1, Relaxed);
        }
    }

    /// Counts a look into the cache.
    pub fn looked_up(&self, hit: bool) {
        if hit { &self.hits } else { &self.misses }.fetch_add(1, Relaxed);
    }

    /// Counts lines that the audit log has lost.
    pub fn lost(&self, lines: u64) {
        self.lost.fetch_add(lines, Relaxed);
    }

    /// A port of this name has been opened.
    pub fn opened(&self, name: &str) {
        if let Some(of) = self.tunnels.get(self.ports.place(name)) {
            of.opened.fetch_add(1, Relaxed);
        }
    }

    /// A port of this name has ended, after so many bytes to the target and from it.
    pub fn closed(&self, name: &str, cause: Cause, sent: u64, received: u64) {
        let Some(of) = self.tunnels.get(self.ports.place(name)) else {
            return;
        };
        for (count, bytes) in of.moved.iter().zip([sent, received]) {
            count.fetch_add(bytes, Relaxed);
        }
        if let Some(count) = of.ends.get(cause as usize) {
            count.fetch_add(1, Relaxed);
        }
    }

    /// A child's own gauge: how many tokens it has in its cache. Of a child that is no more, the
    /// place is taken over.
    pub fn child(&self) -> Option<&AtomicUsize> {
        let me = std::process::id();
        self.children.iter().find_map(|child| {
            let old = child.process.load(Relaxed);
            let free = old == 0 || old == me || !is_running(old);
            (free
                && child
                    .process
                    .compare_exchange(old, me, Relaxed, Relaxed)
                    .is_ok())
            .then(|| {
                child.cached.store(0, Relaxed);
                &child.cached
            })
        })
    }

    /// A child leaves.
    pub fn leave(&self) {
        let me = std::process::id();
        for child in self
            .children
            .iter()
            .filter(|it| it.process.load(Relaxed) == me)
        {
            child.cached.store(0, Relaxed);
            child.process.store(0, Relaxed);
        }
    }

    /// The decisions that were ever counted.
    #[must_use]
    pub fn decisions(&self) -> Vec<Count> {
        let mut found = Vec::new();
        for (issuer, reasons) in self.decisions.iter().enumerate() {
            for (reason, outcomes) in reasons.iter().enumerate() {
                for (outcome, count) in Outcome::ALL.into_iter().zip(outcomes) {
                    let count = count.load(Relaxed);
                    if count > 0 {
                        found.push(Count {
                            outcome,
                            reason: code_of(reason),
                            issuer: issuer
                                .checked_sub(1)
                                .and_then(|it| self.issuers.get(it))
                                .unwrap_or_default(),
                            count,
                        });
                    }
                }
            }
        }
        found
    }

    /// Fetches that succeeded, and that failed.
    #[must_use]
    pub fn fetches(&self, issuer: &str) -> (u64, u64) {
        let of = self.fetches.get(self.issuers.place(issuer));
        of.map_or((0, 0), |[ok, failed]| {
            (ok.load(Relaxed), failed.load(Relaxed))
        })
    }

    /// Entries, hits and misses of all caches.
    #[must_use]
    pub fn cache(&self) -> (usize, u64, u64) {
        let entries = self
            .children
            .iter()
            .filter(|it| it.cached.load(Relaxed) > 0 && is_running(it.process.load(Relaxed)))
            .map(|it| it.cached.load(Relaxed))
            .sum();
        (entries, self.hits.load(Relaxed), self.misses.load(Relaxed))
    }

    /// How many children there are.
    #[must_use]
    pub fn children(&self) -> usize {
        let runs = |it: &&Child| matches!(it.process.load(Relaxed), process if process != 0 && is_running(process));
        self.children.iter().filter(runs).count()
    }

    /// Lines that the audit log has lost.
    #[must_use]
    pub fn audit_lost(&self) -> u64 {
        self.lost.load(Relaxed)
    }

    /// The ports that were ever known.
    #[must_use]
    pub fn ports(&self) -> Vec<PortCount> {
        self.ports
            .all()
            .filter_map(|(at, name)| Some((name, self.tunnels.get(at)?)))
            .map(|(name, of)| {
                let [sent, received] = of.moved.each_ref().map(|it| it.load(Relaxed));
                let ends = Cause::ALL.into_iter().zip(&of.ends);
                PortCount {
                    name,
                    opened: of.opened.load(Relaxed),
                    sent,
                    received,
                    ends: ends
                        .map(|(cause, count)| (cause.name(), count.load(Relaxed)))
                        .filter(|(_, count)| *count > 0)
                        .collect(),
                }
            })
            .collect()
    }

    /// The last minutes, the oldest first; `None`: nothing happened in it.
    fn hour(&self, now: u64) -> impl Iterator<Item = Option<&Minute>> {
        let last = now / 60;
        (0..MINUTES as u64).rev().map(move |back| {
            let stamp = last.saturating_sub(back);
            usize::try_from(stamp)
                .ok()
                .and_then(|it| self.minutes.get(it % MINUTES))
                .filter(|it| it.stamp.load(Relaxed) == stamp)
        })
    }

    /// The last minutes, the oldest first.
    #[must_use]
    pub fn minutes(&self, now: u64) -> Vec<Slice> {
        let slice = |it: &Minute| Slice {
            outcomes: it.outcomes.each_ref().map(|it| it.load(Relaxed)),
            reasons: it
                .reasons
                .iter()
                .enumerate()
                .skip(1)
                .map(|(at, count)| (code_of(at), count.load(Relaxed)))
                .filter(|(_, count)| *count > 0)
                .collect(),
        };
        self.hour(now)
            .map(|it| it.map(slice).unwrap_or_default())
            .collect()
    }
}

#[cfg(test)]
mod tests;
