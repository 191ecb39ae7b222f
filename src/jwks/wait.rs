//! How many requests of a child wait for keys, and how long one of them does.
//!
//! At most half of the child's workers wait, and an eighth for one issuer. The rest of that half wait a moment only,
//! which is enough where the issuer answers. So an issuer that hangs can't take all workers. A child of the prefork
//! MPM is one worker, and may wait.

use std::cell::Cell;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::time::{Duration, Instant};

/// How long a request waits that is one too many for its issuer.
const MOMENT: Duration = Duration::from_secs(1);

/// Who waits in this child, for any issuer.
#[derive(Debug, Default)]
pub struct WaitLimit {
    workers: AtomicU32,
    waiting: AtomicU32,
}

/// A request that is counted; until it is dropped.
struct Counted<'l>(&'l AtomicU32);

impl<'l> Counted<'l> {
    fn among(count: &'l AtomicU32, most: u32) -> Option<Self> {
        let more = |now: u32| (now < most).then_some(now + 1);
        count.fetch_update(Relaxed, Relaxed, more).ok()?;
        Some(Self(count))
    }
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Relaxed);
    }
}

/// The right to wait.
pub struct WaitSlot<'l> {
    _all: Counted<'l>,
    issuer: Option<Counted<'l>>,
}

impl WaitSlot<'_> {
    /// How long, where the issuer's fetch may take so long; `None`: not at all. `well`: fetches do not
    /// fail.
    #[must_use]
    pub fn longest(&self, fetch: Duration, well: bool) -> Option<Duration> {
        match &self.issuer {
            Some(_) => Some(fetch),
            None => well.then_some(MOMENT.min(fetch)),
        }
    }
}

impl WaitLimit {
    /// For a child that works on so many requests at once.
    #[must_use]
    pub fn new(workers: u32) -> Self {
        let limit = Self::default();
        limit.set_workers(workers);
        limit
    }

    /// How many requests this child works on at once.
    pub fn set_workers(&self, workers: u32) {
        self.workers.store(workers, Relaxed);
    }

    fn share(&self, part: u32) -> u32 {
        (self.workers.load(Relaxed) / part).max(1)
    }

    /// A slot for a request that waits for an issuer, among whose waiting ones it is counted; `None`: too many
    /// wait.
    pub fn enter<'l>(&'l self, issuer: &'l AtomicU32) -> Option<WaitSlot<'l>> {
        Some(WaitSlot {
            _all: Counted::among(&self.waiting, self.share(2))?,
            issuer: Counted::among(issuer, self.share(8)),
        })
    }
}

/// How long one request waits, for however many issuers, one after the other.
#[derive(Debug, Default)]
pub struct WaitBudget {
    since: Cell<Option<Instant>>,
}

impl WaitBudget {
    /// When it ends for an issuer that may be waited for so long.
    pub(super) fn ends(&self, longest: Duration) -> Instant {
        let since = self.since.get().unwrap_or_else(Instant::now);
        self.since.set(Some(since));
        since + longest
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn an_eighth_of_the_workers_waits_long_for_an_issuer_and_half_of_them_at_all() {
        for (workers, long, all) in [(0, 1, 1), (1, 1, 1), (8, 1, 4), (32, 4, 16), (640, 80, 320)] {
            let (limit, issuer) = (WaitLimit::new(workers), AtomicU32::new(0));
            let taken: Vec<_> = (0..400).map_while(|_| limit.enter(&issuer)).collect();
            assert_eq!(taken.len(), all, "{workers}");
            let fetch = Duration::from_secs(6);
            let waits = |well, longest| {
                let these = taken.iter().filter(|it| it.longest(fetch, well) == longest);
                these.count()
            };
            assert_eq!(
                (waits(true, Some(fetch)), waits(false, Some(fetch))),
                (long, long),
                "{workers}"
            );
            assert_eq!(waits(true, Some(MOMENT)), all - long, "{workers}");
            assert_eq!(waits(false, None), all - long, "{workers}");
            drop(taken);
            assert!(limit.enter(&issuer).unwrap().issuer.is_some());
        }
    }

    #[test]
    fn who_waits_for_one_issuer_leaves_slots_for_another() {
        let limit = WaitLimit::new(16);
        let [one, two] = [0, 0].map(AtomicU32::new);
        let taken: Vec<_> = (0..4).map(|_| limit.enter(&one).unwrap()).collect();
        assert_eq!(taken.iter().filter(|it| it.issuer.is_some()).count(), 2);
        assert!(limit.enter(&two).unwrap().issuer.is_some());
    }

    #[test]
    fn a_budget_is_not_had_anew_for_each_issuer() {
        let budget = WaitBudget::default();
        let first = budget.ends(Duration::from_secs(6));
        std::thread::sleep(Duration::from_millis(20));
        assert_eq!(budget.ends(Duration::from_secs(6)), first);
        assert_eq!(
            budget.ends(Duration::from_secs(2)),
            first - Duration::from_secs(4)
        );
    }
}
