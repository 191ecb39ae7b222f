//! How long an identity holds. The cache asks on each hit; the threads that close ports and cut
//! WebSockets ask while a connection is open.

use crate::jwks::{Key, Keys};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};

/// What an identity depends on.
#[derive(Clone)]
pub enum Life {
    /// A token that the issuer signed: its `exp`, the key that signed, and keys that are not stale.
    Key(KeyLife),
    /// A session: its end, and whether it has been ended before.
    Session(Arc<SessionLife>),
    /// Whatever an issuer's answer vouches for until a moment (seconds since the epoch), as the answer
    /// about an opaque token.
    Until(u64),
}

/// A signed token's.
#[derive(Clone)]
pub struct KeyLife {
    /// The key that signed. It dies when it leaves the issuer's key set.
    pub key: Arc<Key>,
    /// The issuer's keys.
    pub keys: Arc<Keys>,
    /// `exp`, seconds since the epoch.
    pub expires: u64,
    /// GateClockSkew, seconds.
    pub skew: u64,
}

/// A session's. One value for all requests of the session in this process. It holds until it ends,
/// and only as long as the store need not be asked again: then the cache has no hit, and the session
/// is looked up.
#[derive(Debug)]
pub struct SessionLife {
    /// The latest end (seconds since the epoch).
    pub max: u64,
    /// It ends after so many seconds without a request.
    idle: u64,
    /// The last request in this process (seconds since the epoch).
    last: AtomicU64,
    /// The store is asked again after this moment.
    fresh: AtomicU64,
    /// How many sessions of this host had ended when the store was asked.
    seen: AtomicU64,
    /// How many have ended: shared by all processes of the host.
    ends: &'static AtomicU64,
    ended: AtomicBool,
}

/// Why an identity holds no longer although its time is not over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Broken {
    /// The key that signed left the issuer's key set.
    Key,
    /// The session was ended.
    Session,
}

impl SessionLife {
    /// A session that ends at `max` (seconds since the epoch) at the latest, and after `idle` seconds
    /// without a request. The store is asked at the first use.
    #[must_use]
    pub const fn new(max: u64, idle: u64, last: u64, ends: &'static AtomicU64) -> Self {
        Self {
            max,
            idle,
            last: AtomicU64::new(last),
            fresh: AtomicU64::new(0),
            seen: AtomicU64::new(0),
            ends,
            ended: AtomicBool::new(false),
        }
    }

    /// The store has just said that it lives: it need not be asked before `until`. `seen`: the count
    /// of ends from before the store was asked.
    pub fn renew(&self, until: u64, seen: u64) {
        self.seen.store(seen, Relaxed);
        self.fresh.store(until, Relaxed);
    }

    /// A request used it.
    pub fn used(&self, now: u64) {
        if self.last.load(Relaxed) < now {
            self.last.store(now, Relaxed);
        }
    }

    /// The last request that this process knows of.
    #[must_use]
    pub fn last(&self) -> u64 {
        self.last.load(Relaxed)
    }

    fn holds(&self, now: u64) -> bool {
        now < self.max
            && now < self.fresh.load(Relaxed)
            && now < self.last.load(Relaxed).saturating_add(self.idle)
            && self.seen.load(Relaxed) == self.ends.load(Relaxed)
            && !self.ended.load(Relaxed)
    }

    /// The session has ended, whatever the time.
    pub fn end(&self) {
        self.ended.store(true, Relaxed);
    }
}

impl Life {
    /// Whether the identity still holds at `now` (seconds since the epoch).
    #[must_use]
    pub fn holds(&self, now: u64) -> bool {
        match self {
            Self::Key(it) => {
                now < it.expires.saturating_add(it.skew) && it.key.is_live() && it.keys.usable(now)
            }
            Self::Session(it) => it.holds(now),
            Self::Until(end) => now < *end,
        }
    }

    /// A request used it.
    pub fn used(&self, now: u64) {
        if let Self::Session(it) = self {
            it.used(now);
        }
    }

    /// What ended it before its time.
    #[must_use]
    pub fn broken(&self) -> Option<Broken> {
        match self {
            Self::Key(it) => (!it.key.is_live()).then_some(Broken::Key),
            Self::Session(it) => it.ended.load(Relaxed).then_some(Broken::Session),
            Self::Until(_) => None,
        }
    }

    /// The latest end (seconds since the epoch), without leeway.
    #[must_use]
    pub fn expires(&self) -> u64 {
        match self {
            Self::Key(it) => it.expires,
            Self::Session(it) => it.max,
            Self::Until(end) => *end,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{NOW, identity, issuer};
    use serde_json::json;

    #[test]
    fn a_token_holds_until_exp_and_the_leeway_while_its_key_lives() {
        let Ok(it) = identity(&issuer(&["GateClockSkew 7s"]), json!({"exp": NOW + 300})) else {
            unreachable!("a good token")
        };
        let Life::Key(key) = it.life() else {
            unreachable!("a signed token")
        };
        assert!(it.life().holds(NOW + 306));
        assert!(!it.life().holds(NOW + 307));
        assert_eq!(it.life().expires(), NOW + 300);
        assert_eq!(it.life().broken(), None);
        key.key.retire();
        assert!(!it.life().holds(NOW));
        assert_eq!(it.life().broken(), Some(Broken::Key));
    }

    #[test]
    fn a_session_holds_until_its_end_or_until_it_is_ended() {
        static ENDS: AtomicU64 = AtomicU64::new(7);
        let session = Arc::new(SessionLife::new(NOW, 60, NOW - 30, &ENDS));
        let life = Life::Session(Arc::clone(&session));
        assert!(!life.holds(NOW - 9), "the store was never asked");
        session.renew(NOW + 9, 7);
        assert!(life.holds(NOW - 1));
        assert!(!life.holds(NOW), "max");
        session.renew(NOW - 5, 7);
        assert!(!life.holds(NOW - 5), "the store is to be asked again");
        session.renew(NOW + 9, 6);
        assert!(!life.holds(NOW - 1), "a session has ended on this host");
        session.renew(NOW + 9, 7);
        assert_eq!(life.expires(), NOW);
        assert_eq!(life.broken(), None);
        session.end();
        assert!(!life.holds(NOW - 1));
        assert_eq!(life.broken(), Some(Broken::Session));
    }

    #[test]
    fn a_session_is_idle_after_its_last_request() {
        static ENDS: AtomicU64 = AtomicU64::new(0);
        let session = Arc::new(SessionLife::new(u64::MAX, 60, NOW, &ENDS));
        session.renew(u64::MAX, 0);
        let life = Life::Session(Arc::clone(&session));
        assert!(life.holds(NOW + 59));
        assert!(!life.holds(NOW + 60));
        life.used(NOW + 30);
        life.used(NOW + 10);
        assert_eq!(session.last(), NOW + 30);
        assert!(life.holds(NOW + 89));
        assert!(!life.holds(NOW + 90));
    }

    #[test]
    fn an_answer_holds_until_its_moment() {
        let life = Life::Until(NOW);
        assert!(life.holds(NOW - 1));
        assert!(!life.holds(NOW));
        assert_eq!(life.expires(), NOW);
        assert_eq!(life.broken(), None);
    }
}
