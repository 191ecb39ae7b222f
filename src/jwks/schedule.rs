//! When an issuer's keys may be fetched: the refresh interval, the back-off after failures and the
//! throttle of unknown `kid`s. Pure arithmetic on what the host remembers; no clock, no file.
//!
//! All times are seconds since the epoch. A time from the future means that the clock was set back:
//! it holds nothing up, else a wrong clock at one moment would stop the fetches for years.

/// Unknown `kid`s cause at most one fetch in this many seconds.
pub const FORCED_PAUSE: u64 = 10;

/// The longest pause after failures, seconds.
const LONGEST_BACK_OFF: u64 = 300;

/// The longest pause after failures while no keys serve at all, seconds: every request is refused
/// then, so that the issuer's return should be seen soon.
const LONGEST_BACK_OFF_WITHOUT_KEYS: u64 = 30;

/// The clocks of one host's processes may look this far ahead of each other, seconds: they read
/// the same clock, one after the other.
const CLOCK_SLACK: u64 = 5;

/// How an issuer is configured to be fetched.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    /// Between fetches that succeed, seconds.
    pub refresh: u64,
    /// How long the last good keys serve, seconds.
    pub max_stale: u64,
    /// One fetch, seconds.
    pub timeout: u64,
}

impl Pace {
    /// Longer than any pause that a schedule can ask for.
    fn longest(self) -> u64 {
        LONGEST_BACK_OFF
            .max(self.refresh)
            .max(FORCED_PAUSE.saturating_add(1))
            .max(self.timeout.saturating_add(1))
            .saturating_add(CLOCK_SLACK)
    }
}

/// What the host remembers of an issuer's fetches.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Schedule {
    /// Rises by one with each change, so that of two the newer is known.
    pub revision: u64,
    /// When the last fetch started; 0 before the first.
    pub attempted_at: u64,
    /// A fetch has started and not ended; true for ever where its process died.
    pub fetching: bool,
    /// When the next is due.
    pub next_at: u64,
    /// When an unknown `kid` last caused one; 0 before the first.
    pub forced_at: u64,
    /// Failures since the last success.
    pub failures: u32,
    /// What the last failure was.
    pub error: Option<String>,
}

impl Schedule {
    /// Whether a fetch is due. `fetched_at`: when the last good keys came. `next_at` may have been
    /// written under another configuration, or while keys served that are too old by now.
    #[must_use]
    pub fn due(&self, now: u64, pace: Pace, fetched_at: Option<u64>) -> bool {
        let late = |since: u64, pause: u64| since != 0 && now >= since.saturating_add(pause);
        let at = fetched_at.unwrap_or_default();
        let serving = at != 0 && !late(at, pace.max_stale);
        let overtaken = (self.failures == 0 && late(at, pace.refresh))
            || (!serving && late(self.attempted_at, LONGEST_BACK_OFF_WITHOUT_KEYS));
        now >= self.next_at
            || self.next_at > now.saturating_add(pace.longest())
            || (!self.fetching && overtaken)
    }

    /// Whether an unknown `kid` may cause a fetch now. Not while fetches fail: the back-off says
    /// then when the issuer is asked.
    #[must_use]
    pub fn may_force(&self, now: u64) -> bool {
        // Longer than the pause, not as long: a second has begun when it is counted.
        self.failures == 0 && !pauses(now, self.forced_at)
    }

    /// Whether a fetch that may still end well is on its way, in whichever process.
    #[must_use]
    pub fn under_way(&self, now: u64, pace: Pace) -> bool {
        self.fetching && age(now, self.attempted_at).is_some_and(|age| age <= pace.timeout + 1)
    }

    /// A fetch starts. Should its process die, the next may start when this one would be over.
    pub fn begin(&mut self, now: u64, forced: bool, pace: Pace) {
        self.changed();
        self.attempted_at = now;
        self.fetching = true;
        self.next_at = now.saturating_add(pace.timeout).saturating_add(1);
        if forced {
            self.forced_at = now;
        }
    }

    /// It brought keys. `dice` is any number, for the jitter.
    pub fn succeeded(&mut self, now: u64, pace: Pace, dice: u64) {
        self.changed();
        self.fetching = false;
        self.failures = 0;
        self.error = None;
        self.next_at = now.saturating_add(jitter(pace.refresh, dice).max(1));
    }

    /// It brought none. `serving`: the last good keys still serve. `dice` is any number, for the
    /// jitter.
    pub fn failed(&mut self, now: u64, pace: Pace, serving: bool, error: String, dice: u64) {
        self.changed();
        self.fetching = false;
        self.failures = self.failures.saturating_add(1);
        self.error = Some(error);
        let most = LONGEST_BACK_OFF
            .min(pace.refresh)
            .min(if serving {
                u64::MAX
            } else {
                LONGEST_BACK_OFF_WITHOUT_KEYS
            })
            .max(1);
        let pause = 1_u64
            .checked_shl(self.failures - 1)
            .unwrap_or(most)
            .min(most);
        // The second that has begun does not count. A tenth of a short pause is nothing: hosts come apart by a second.
        let more = if pause < 10 { 1 + dice % 2 } else { 1 };
        self.next_at = now.saturating_add(jitter(pause, dice)).saturating_add(more);
        // What an unknown `kid` has caused is not tried again within its pause.
        if pauses(now, self.forced_at) {
            self.next_at = self.next_at.max(self.forced_at + FORCED_PAUSE + 1);
        }
    }

    /// It was cut short, since its process stops: whoever goes on may start at once.
    pub fn given_up(&mut self, now: u64) {
        self.changed();
        self.fetching = false;
        self.next_at = now;
    }

    /// The newer of both. The throttle's memory is never lost to either.
    #[must_use]
    pub fn newest(self, other: Self) -> Self {
        let forced_at = self.forced_at.max(other.forced_at);
        let newest = if other.revision > self.revision {
            other
        } else {
            self
        };
        Self {
            forced_at,
            ..newest
        }
    }

    fn changed(&mut self) {
        self.revision = self.revision.saturating_add(1);
    }
}

/// Whether unknown `kid`s may cause no fetch yet after that one.
pub fn pauses(now: u64, forced_at: u64) -> bool {
    age(now, forced_at).is_some_and(|age| age <= FORCED_PAUSE)
}

/// Seconds since then; `None` where it never was, or lies in the future.
fn age(now: u64, then: u64) -> Option<u64> {
    (then != 0 && then <= now.saturating_add(CLOCK_SLACK)).then(|| now.saturating_sub(then))
}

/// Up to ten percent less, so that many hosts do not ask at one moment; never more, since what is
/// configured is a promise.
fn jitter(seconds: u64, dice: u64) -> u64 {
    let tenth = seconds / 10;
    (seconds - tenth).saturating_add(dice % (tenth + 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    const PACE: Pace = Pace {
        refresh: 600,
        max_stale: 86_400,
        timeout: 5,
    };
    const NOW: u64 = 1_800_000_000;

    fn failed(times: u32, serving: bool) -> Schedule {
        let mut schedule = Schedule::default();
        for _ in 0..times {
            schedule.begin(NOW, false, PACE);
            schedule.failed(NOW, PACE, serving, "down".to_owned(), 0);
        }
        schedule
    }

    #[test]
    fn what_was_never_fetched_is_due() {
        assert!(Schedule::default().due(NOW, PACE, None));
    }

    #[test]
    fn a_success_is_due_again_after_the_refresh_interval_or_a_little_less() {
        for dice in 0..1000 {
            let mut schedule = failed(3, true);
            schedule.succeeded(NOW, PACE, dice);
            assert!(!schedule.due(NOW + 539, PACE, Some(NOW)), "{dice}");
            assert!(schedule.next_at <= NOW + 600, "{dice}");
            assert!(schedule.due(NOW + 600, PACE, None), "{dice}");
            assert_eq!((schedule.failures, &schedule.error), (0, &None));
        }
        let mut first = Schedule::default();
        first.succeeded(NOW, PACE, 0);
        let mut second = Schedule::default();
        second.succeeded(NOW, PACE, 77);
        assert_ne!(first.next_at, second.next_at);
    }

    #[test]
    fn failures_back_off_doubling_up_to_five_minutes() {
        let pauses: Vec<u64> = (1..=12)
            .map(|times| failed(times, true).next_at - NOW)
            .collect();
        assert_eq!(
            pauses,
            [2, 3, 5, 9, 16, 30, 59, 117, 232, 271, 271, 271],
            "one second more than 1, 2, 4 …, less ten percent"
        );
        assert_eq!(failed(100, true).next_at - NOW, 271);
    }

    #[test]
    fn hosts_that_fail_together_do_not_ask_again_together() {
        for times in [1, 4, 8] {
            let mut one = failed(times - 1, true);
            let mut other = one.clone();
            one.failed(NOW, PACE, true, "down".to_owned(), 2);
            other.failed(NOW, PACE, true, "down".to_owned(), 3);
            assert_ne!(one.next_at, other.next_at, "{times}");
        }
        for dice in 0..10 {
            let mut first = Schedule::default();
            first.failed(NOW, PACE, true, "down".to_owned(), dice);
            assert!([2, 3].contains(&(first.next_at - NOW)), "{dice}");
        }
    }

    #[test]
    fn a_time_that_no_pause_reaches_is_another_configuration_s() {
        let at = |next_at| Schedule {
            next_at,
            ..Schedule::default()
        };
        let last = NOW + PACE.longest();
        assert!(!at(last).due(NOW, PACE, Some(NOW)));
        assert!(at(last + 1).due(NOW, PACE, Some(NOW)));
    }

    #[test]
    fn failures_without_any_keys_back_off_up_to_half_a_minute() {
        assert_eq!(failed(40, false).next_at - NOW, 28);
    }

    #[test]
    fn failures_never_wait_longer_than_the_refresh_interval() {
        let mut schedule = failed(10, true);
        let short = Pace {
            refresh: 2,
            timeout: 1,
            ..PACE
        };
        schedule.failed(NOW, short, true, "down".to_owned(), 0);
        assert_eq!(schedule.next_at - NOW, 3);
    }

    #[test]
    fn unknown_kids_cause_one_fetch_in_ten_seconds() {
        let mut schedule = Schedule::default();
        assert!(schedule.may_force(NOW));
        schedule.begin(NOW, true, PACE);
        schedule.succeeded(NOW + 1, PACE, 0);
        for later in 0..=10 {
            assert!(!schedule.may_force(NOW + later), "{later}");
        }
        assert!(schedule.may_force(NOW + 11));
    }

    #[test]
    fn unknown_kids_cause_no_fetch_while_fetches_fail() {
        assert!(!failed(1, true).may_force(NOW + 100));
    }

    #[test]
    fn a_process_that_died_while_fetching_holds_nobody_up_for_long() {
        let mut schedule = Schedule::default();
        schedule.begin(NOW, false, PACE);
        assert!(schedule.under_way(NOW + 6, PACE));
        assert!(!schedule.due(NOW + 5, PACE, Some(NOW - 9999)));
        assert!(!schedule.under_way(NOW + 7, PACE));
        assert!(schedule.due(NOW + 6, PACE, None));
    }

    #[test]
    fn a_clock_set_back_stops_neither_fetches_nor_the_throttle() {
        let mut schedule = Schedule::default();
        schedule.begin(NOW, true, PACE);
        schedule.succeeded(NOW, PACE, 0);
        let before = NOW - 86_400;
        assert!(schedule.due(before, PACE, Some(NOW)));
        assert!(schedule.may_force(before));
        schedule.begin(before, true, PACE);
        assert!(!schedule.may_force(before + 1));
    }

    #[test]
    fn a_process_a_moment_behind_sees_the_other_s_fetch() {
        let mut schedule = Schedule::default();
        schedule.begin(NOW, true, PACE);
        assert!(!schedule.may_force(NOW - 1));
        assert!(!schedule.due(NOW - 1, PACE, None));
        assert!(schedule.under_way(NOW - 1, PACE));
    }

    #[test]
    fn of_two_schedules_the_newer_holds_and_no_throttle_is_lost() {
        let mut ours = Schedule::default();
        ours.begin(NOW, true, PACE);
        let mut theirs = failed(3, true);
        theirs.forced_at = 0;
        let both = ours.newest(theirs.clone());
        assert_eq!(both.failures, 3);
        assert_eq!(both.forced_at, NOW);
        assert_eq!(theirs.clone().newest(Schedule::default()), theirs);
    }

    #[test]
    fn a_stopping_process_leaves_the_fetch_to_the_next() {
        let mut schedule = Schedule::default();
        schedule.begin(NOW, false, PACE);
        schedule.given_up(NOW + 1);
        assert!(schedule.due(NOW + 1, PACE, None));
        assert!(!schedule.under_way(NOW + 1, PACE));
    }

    #[test]
    fn a_shorter_refresh_interval_counts_at_once() {
        let mut schedule = Schedule::default();
        let [before, shorter] = [60, 2].map(|refresh| Pace { refresh, ..PACE });
        schedule.succeeded(NOW, before, 0);
        assert!(!schedule.due(NOW + 1, shorter, Some(NOW)));
        assert!(schedule.due(NOW + 2, shorter, Some(NOW)));
        assert!(!schedule.due(NOW + 2, before, Some(NOW)));
        // Not while fetches fail: the back-off says when.
        schedule.failed(NOW + 2, PACE, true, "down".to_owned(), 0);
        assert!(!schedule.due(NOW + 3, shorter, Some(NOW)));
    }

    #[test]
    fn keys_that_have_gone_stale_are_due_as_if_there_were_none() {
        let mut schedule = failed(20, true);
        assert_eq!(schedule.next_at - NOW, 271);
        let stale = Some(NOW - PACE.max_stale);
        assert!(!schedule.due(NOW + 30, PACE, Some(NOW - 1)));
        assert!(!schedule.due(NOW + 29, PACE, stale));
        assert!(schedule.due(NOW + 30, PACE, stale));
        schedule.begin(NOW + 30, false, PACE);
        assert!(!schedule.due(NOW + 31, PACE, stale));
    }

    #[test]
    fn a_fetch_that_an_unknown_kid_caused_is_not_repeated_within_its_pause() {
        let mut schedule = Schedule::default();
        schedule.begin(NOW, true, PACE);
        schedule.failed(NOW + 1, PACE, true, "down".to_owned(), 0);
        assert_eq!(schedule.next_at, NOW + FORCED_PAUSE + 1);
        schedule.begin(NOW + 11, false, PACE);
        schedule.failed(NOW + 12, PACE, true, "down".to_owned(), 0);
        assert_eq!(schedule.next_at, NOW + 12 + 3);
    }
}
