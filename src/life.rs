//! How long an identity holds. The cache asks on each hit; the threads that close ports and cut
//! WebSockets ask while a connection is open.

use crate::jwks::{Key, Keys};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

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

/// A session's. One value for all requests of the session in this process.
#[derive(Debug, Default)]
pub struct SessionLife {
    /// The latest end (seconds since the epoch).
    pub max: u64,
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
    /// A session that ends at `max` (seconds since the epoch) at the latest.
    #[must_use]
    pub const fn until(max: u64) -> Self {
        Self {
            max,
            ended: AtomicBool::new(false),
        }
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
            Self::Session(it) => now < it.max && !it.ended.load(Relaxed),
            Self::Until(end) => now < *end,
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
        let session = Arc::new(SessionLife::until(NOW));
        let life = Life::Session(Arc::clone(&session));
        assert!(life.holds(NOW - 1));
        assert!(!life.holds(NOW));
        assert_eq!(life.expires(), NOW);
        assert_eq!(life.broken(), None);
        session.end();
        assert!(!life.holds(NOW - 1));
        assert_eq!(life.broken(), Some(Broken::Session));
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
