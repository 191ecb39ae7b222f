//! What several processes, and several gates, share about people: sessions, marks of ended sessions,
//! used codes and logins, leases. A value is bytes that only a GateSessionKey opens (`seal`); a name
//! is a keyed hash. So whoever reads the store alone learns nothing and can make nothing.
//!
//! A store answers `Unavailable` when it can't say. The caller never takes that for "not there".

pub mod files; // GateStore files: one host, in GateStateDir

use std::fmt;

/// What a value is about. Each kind is listed for itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// A session's record.
    Session,
    /// What the list of sessions shows of one.
    Listing,
    /// A session, or all sessions of somebody, that ended.
    Mark,
    /// What works once: an authorization code, a login.
    Used,
    /// Who does something for all gates: the check of a session.
    Lease,
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 5] = [
        Self::Session,
        Self::Listing,
        Self::Mark,
        Self::Used,
        Self::Lease,
    ];

    /// Its name in the store.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Session => "session",
            Self::Listing => "listing",
            Self::Mark => "mark",
            Self::Used => "used",
            Self::Lease => "lease",
        }
    }
}

/// The name of a value: its kind and a keyed hash.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Name {
    /// What it is about.
    pub kind: Kind,
    /// A keyed hash of what it is about (`seal::Purpose::StoreName`).
    pub hash: [u8; 16],
}

impl Name {
    /// The hash in hexadecimal digits.
    #[must_use]
    pub fn hex(&self) -> String {
        self.hash.iter().map(|b| format!("{b:02x}")).collect()
    }

    /// The name of these digits.
    #[must_use]
    pub fn from_hex(kind: Kind, text: &str) -> Option<Self> {
        let mut hash = [0; 16];
        if text.len() != 32 || !text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')) {
            return None;
        }
        for (at, byte) in hash.iter_mut().enumerate() {
            *byte = u8::from_str_radix(text.get(at * 2..at * 2 + 2)?, 16).ok()?;
        }
        Some(Self { kind, hash })
    }
}

/// The store can't say. The text is for a log; it holds no value and no secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unavailable(pub String);

impl fmt::Display for Unavailable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A store. Each call may be made from any thread, and may block as long as the system lets it: the
/// callers on the way of a request bound the time.
pub trait Store: Send + Sync {
    /// The value; `None`: there is none, or its time is over.
    ///
    /// # Errors
    /// The store can't say.
    fn get(&self, name: &Name) -> Result<Option<Vec<u8>>, Unavailable>;

    /// Writes the value, which goes after that many seconds. Replaces the one that is there.
    ///
    /// # Errors
    /// The store can't say whether it was written.
    fn put(&self, name: &Name, value: &[u8], seconds: u64) -> Result<(), Unavailable>;

    /// Writes the value if there is none. Of all callers at once, one is told `true`.
    ///
    /// # Errors
    /// The store can't say whether it was written.
    fn add(&self, name: &Name, value: &[u8], seconds: u64) -> Result<bool, Unavailable>;

    /// Takes the value away; whether there was one.
    ///
    /// # Errors
    /// The store can't say whether it is gone.
    fn remove(&self, name: &Name) -> Result<bool, Unavailable>;

    /// All values of a kind.
    ///
    /// # Errors
    /// The store can't say.
    fn list(&self, kind: Kind) -> Result<Vec<(Name, Vec<u8>)>, Unavailable>;

    /// The time of the store (seconds since the epoch): the same for all gates that share it.
    ///
    /// # Errors
    /// The store can't say.
    fn now(&self) -> Result<u64, Unavailable>;

    /// Takes away what is over, where the store does not do that by itself. For a background thread.
    ///
    /// # Errors
    /// The store can't say.
    fn sweep(&self) -> Result<(), Unavailable>;
}
