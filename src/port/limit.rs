//! When a port ends: the earliest of the token's end, GateLifetime, GateIdle, and what others say
//! (the job, the key, the server). Arithmetic alone; it neither waits nor closes.

use crate::life::Broken;
use std::ffi::CStr;
use std::time::Duration;

/// The longest time between two looks: what has no moment of its own is seen by then.
pub const LOOK: Duration = Duration::from_millis(250);

/// Why a port ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    Expired,
    Lifetime,
    Idle,
    JobEnded,
    JobUnknown,
    KeyRevoked,
    SessionEnded,
    Client,
    Target,
    Stopping,
}

impl Cause {
    /// In the order of their places.
    pub const ALL: [Self; 10] = [
        Self::Expired,
        Self::Lifetime,
        Self::Idle,
        Self::JobEnded,
        Self::JobUnknown,
        Self::KeyRevoked,
        Self::SessionEnded,
        Self::Client,
        Self::Target,
        Self::Stopping,
    ];

    /// `event.reason` of the close.
    #[must_use]
    pub const fn code(self) -> &'static CStr {
        match self {
            Self::Expired => c"expired",
            Self::Lifetime => c"lifetime",
            Self::Idle => c"idle",
            Self::JobEnded => c"job_ended",
            Self::JobUnknown => c"job_unknown",
            Self::KeyRevoked => c"key_revoked",
            Self::SessionEnded => c"session_ended",
            Self::Client => c"client",
            Self::Target => c"target",
            Self::Stopping => c"stopping",
        }
    }

    /// The same as text.
    #[must_use]
    pub fn name(self) -> &'static str {
        self.code().to_str().unwrap_or("client")
    }

    /// The cause of that code; a code of nobody's is the client's.
    #[must_use]
    pub fn from_code(code: &CStr) -> Self {
        Self::ALL
            .into_iter()
            .find(|it| it.code() == code)
            .unwrap_or(Self::Client)
    }
}

impl From<Broken> for Cause {
    fn from(broken: Broken) -> Self {
        match broken {
            Broken::Key => Self::KeyRevoked,
            Broken::Session => Self::SessionEnded,
        }
    }
}

/// What a port was opened with.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// `exp`, seconds since the epoch: no skew.
    pub expires: u64,
    /// GateLifetime, where it is a duration.
    pub lifetime: Option<Duration>,
    /// GateIdle.
    pub idle: Duration,
}

/// The moment of a look.
#[derive(Clone, Copy, Debug)]
pub struct Moment {
    /// Seconds since the epoch.
    pub now: u64,
    /// Since the port was opened.
    pub open: Duration,
    /// Since a byte went either way.
    pub quiet: Duration,
}

impl Limits {
    /// How long until the next look.
    ///
    /// # Errors
    /// The port ends, and why.
    pub fn look(&self, at: Moment) -> Result<Duration, Cause> {
        if at.now >= self.expires {
            return Err(Cause::Expired);
        }
        let left =
            |limit: Duration, gone: Duration| limit.checked_sub(gone).filter(|it| !it.is_zero());
        let mut wait = LOOK;
        if let Some(lifetime) = self.lifetime {
            wait = wait.min(left(lifetime, at.open).ok_or(Cause::Lifetime)?);
        }
        Ok(wait.min(left(self.idle, at.quiet).ok_or(Cause::Idle)?))
    }

    /// When it ends at the latest, for a port that opens now: `Gate-Expires`.
    #[must_use]
    pub fn end(&self, now: u64) -> u64 {
        match self.lifetime {
            Some(lifetime) => self.expires.min(now.saturating_add(lifetime.as_secs())),
            None => self.expires,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: Limits = Limits {
        expires: 1000,
        lifetime: Some(Duration::from_secs(60)),
        idle: Duration::from_secs(10),
    };

    fn look(now: u64, open: u64, quiet_ms: u64) -> Result<Duration, Cause> {
        LIMITS.look(Moment {
            now,
            open: Duration::from_secs(open),
            quiet: Duration::from_millis(quiet_ms),
        })
    }

    #[test]
    fn a_port_ends_at_the_earliest_of_its_limits() {
        assert_eq!(look(999, 59, 0), Ok(LOOK));
        assert_eq!(look(1000, 0, 0), Err(Cause::Expired));
        assert_eq!(look(0, 60, 0), Err(Cause::Lifetime));
        assert_eq!(look(0, 0, 10_000), Err(Cause::Idle));
    }

    #[test]
    fn the_next_look_is_no_later_than_the_next_limit() {
        assert_eq!(look(0, 0, 9_900), Ok(Duration::from_millis(100)));
    }

    #[test]
    fn what_the_client_is_told_is_the_earlier_one() {
        assert_eq!(LIMITS.end(900), 960);
        assert_eq!(LIMITS.end(990), 1000);
    }

    #[test]
    fn every_code_leads_back_to_its_cause() {
        for cause in Cause::ALL {
            assert_eq!(Cause::from_code(cause.code()), cause);
        }
    }
}
