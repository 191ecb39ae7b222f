//! Tokens verified before, one cache a process: signature work is done once per token.
//!
//! A hit takes no lock: the table is an array of places, each an [`ArcSwapOption`], and a token may
//! stand in [`WAYS`] of them. It is bounded in bytes. Entries are found by the whole token and the
//! scope that verified it; whether one still holds (time, key) is asked on every hit.

use crate::grant::Grant;
use crate::token::source::Sender;
use arc_swap::ArcSwapOption;
use foldhash::fast::RandomState;
use std::hash::BuildHasher;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};

/// Places that one token may stand in.
const WAYS: usize = 8;
/// About what one entry takes; the number of places is the bound over this.
const USUAL_SIZE: usize = 4096;
/// How many bytes of a token its place is chosen by.
const HASHED: usize = 64;

/// What, beside the token, decides how it is verified: the server, and its list of issuers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Scope {
    /// The server's place in the configuration.
    pub server: u32,
    /// GateAccept's list; 0: all issuers.
    pub accept: u32,
    /// Who put the token into the request: what is granted says so.
    pub sender: Sender,
}

#[derive(Debug)]
struct Entry {
    hash: u64,
    scope: Scope,
    token: Box<[u8]>,
    grant: Arc<Grant>,
    size: usize,
    used: AtomicU64,
}

/// The cache of one process.
#[derive(Debug)]
pub struct Cache {
    places: Box<[ArcSwapOption<Entry>]>,
    hasher: RandomState,
    bound: usize,
    size: AtomicUsize,
    hand: AtomicUsize,
    /// How many there are, for all children's sum.
    gauge: Option<&'static AtomicUsize>,
}

impl Cache {
    /// A cache of at most `bound` bytes; 0 keeps nothing.
    // tests/httpd/memcheck.supp knows it by its name, which it has no more where it is inlined.
    #[inline(never)]
    #[must_use]
    pub fn new(bound: usize) -> Self {
        let sets = (bound / USUAL_SIZE / WAYS).max(1).next_power_of_two();
        Self {
            places: (0..sets * WAYS).map(|_| ArcSwapOption::empty()).collect(),
            hasher: RandomState::default(),
            bound,
            size: AtomicUsize::new(0),
            hand: AtomicUsize::new(0),
            gauge: None,
        }
    }

    /// Its entries are counted there from now on.
    #[must_use]
    pub fn counted_by(mut self, gauge: Option<&'static AtomicUsize>) -> Self {
        self.gauge = gauge;
        self
    }

    /// What was granted to a token that was verified before in the same scope and still holds.
    #[must_use]
    pub fn get(&self, token: &[u8], scope: Scope, now: u64) -> Option<Arc<Grant>> {
        let hash = self.hash(token, scope);
        for place in self.set(hash) {
            let entry = place.load();
            if let Some(entry) = entry.as_ref()
                && entry.hash == hash
                && entry.scope == scope
                && *entry.token == *token
            {
                if !entry.grant.identity().life().holds(now) {
                    return None;
                }
                if entry.used.load(Relaxed) != now {
                    entry.used.store(now, Relaxed);
                }
                return Some(Arc::clone(&entry.grant));
            }
        }
        None
    }

    /// Keeps a verified token.
    pub fn put(&self, token: &[u8], scope: Scope, grant: &Arc<Grant>, now: u64) {
        let size = size_of::<Entry>() + token.len() + grant.size();
        if size > self.bound {
            return;
        }
        let hash = self.hash(token, scope);
        let entry = Entry {
            hash,
            scope,
            token: token.into(),
            grant: Arc::clone(grant),
            size,
            used: AtomicU64::new(now),
        };
        // The same token's place, else an empty one, else one that no longer holds, else the one
        // that was used longest ago.
        let rank = |place: &ArcSwapOption<Entry>| match place.load().as_ref() {
            Some(it) if it.hash == hash && it.scope == scope && it.token == entry.token => (0, 0),
            None => (1, 0),
            Some(it) if !it.grant.identity().life().holds(now) => (2, 0),
            Some(it) => (3, it.used.load(Relaxed)),
        };
        if let Some(place) = self.set(hash).iter().min_by_key(|place| rank(place)) {
            self.size.fetch_add(size, Relaxed);
            if let Some(gauge) = self.gauge {
                gauge.fetch_add(1, Relaxed);
            }
            self.release(place.swap(Some(Arc::new(entry))));
        }
        // Over the bound: a hand goes round and empties places.
        for _ in 0..self.places.len() {
            if self.size.load(Relaxed) <= self.bound {
                break;
            }
            let at = self.hand.fetch_add(1, Relaxed) % self.places.len();
            if let Some(place) = self.places.get(at) {
                self.release(place.swap(None));
            }
        }
    }

    /// How many tokens are kept.
    #[must_use]
    pub fn entries(&self) -> usize {
        self.places
            .iter()
            .filter(|place| place.load().is_some())
            .count()
    }

    /// How many bytes, about.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.size.load(Relaxed)
    }

    /// Over the token's end, which is its signature: as good as random for all that is kept here,
    /// since only verified tokens are, and the whole token is compared.
    fn hash(&self, token: &[u8], scope: Scope) -> u64 {
        let end = token.len().saturating_sub(HASHED);
        self.hasher
            .hash_one((token.get(end..).unwrap_or_default(), scope))
    }

    fn set(&self, hash: u64) -> &[ArcSwapOption<Entry>] {
        let sets = self.places.len() / WAYS;
        let at = (hash >> 32) as usize % sets * WAYS;
        self.places.get(at..at + WAYS).unwrap_or_default()
    }

    fn release(&self, entry: Option<Arc<Entry>>) {
        if let Some(entry) = entry {
            self.size.fetch_sub(entry.size, Relaxed);
            if let Some(gauge) = self.gauge {
                gauge.fetch_sub(1, Relaxed);
            }
        }
    }
}

#[cfg(test)]
mod tests;
