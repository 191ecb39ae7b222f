//! The waiting room, one for all children: who of them waits for keys, and when an unknown `kid` last
//! caused a fetch. In memory that they share, so that its bounds hold for the host: where the state
//! directory fails too, and whatever becomes of a child.
//!
//! At most half of the workers wait, and an eighth for one issuer; the rest of that half wait a moment
//! only, which is enough where the issuer is well. So an issuer that hangs can't take all workers.

use super::schedule::pauses;
use crate::sys::lock::is_running;
use std::cell::Cell;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

/// Issuers that are told apart; the last place stands for all more.
const ISSUERS: usize = 128;
/// The most that wait for one issuer, and for all.
const SEATS: usize = 64;
const ALL_SEATS: usize = 256;

/// How long somebody waits who has no seat of the issuer's.
const MOMENT: Duration = Duration::from_secs(1);

/// All zeroes: it is empty.
#[derive(Debug)]
pub struct Room {
    workers: AtomicU32,
    seats: [Seat; ALL_SEATS],
    places: [Place; ISSUERS],
}

/// What is known of one issuer.
#[derive(Debug)]
pub struct Place {
    /// 0: free.
    issuer: AtomicU64,
    /// When an unknown `kid` last caused a fetch; 0: never.
    forced_at: AtomicU64,
    /// 1: a child has looked at the keys that were there at start.
    looked: AtomicU32,
    seats: [Seat; SEATS],
}

/// Who sits there (a process) and until when: it is free again afterwards, and once that process is no
/// more. 0: nobody.
#[derive(Debug)]
struct Seat(AtomicU64);

/// A taken seat; left when dropped.
struct Taken {
    seat: &'static Seat,
    mine: u64,
}

impl Drop for Taken {
    fn drop(&mut self) {
        // Another's, where it was held for too long.
        let _ = self.seat.0.compare_exchange(self.mine, 0, Relaxed, Relaxed);
    }
}

/// The right to wait.
pub struct Waiting {
    _any: Taken,
    own: Option<Taken>,
}

impl Waiting {
    /// How long, where the issuer's fetch may take so long; `None`: not at all. `well`: fetches do not
    /// fail.
    pub fn longest(&self, fetch: Duration, well: bool) -> Option<Duration> {
        match &self.own {
            Some(_) => Some(fetch),
            None => well.then_some(MOMENT.min(fetch)),
        }
    }
}

fn take(seats: &'static [Seat], most: usize, now: u64, longest: u64) -> Option<Taken> {
    let me = u64::from(std::process::id());
    let until = now.saturating_add(longest).saturating_add(1) & u64::from(u32::MAX);
    let mine = me << 32 | until;
    seats.iter().take(most).find_map(|seat| {
        let old = seat.0.load(Relaxed);
        let (process, until) = (old >> 32, old & u64::from(u32::MAX));
        // A clock that was set back leaves nobody sitting.
        let over = until < now || until > now.saturating_add(1200);
        let free =
            old == 0 || over || (process != me && !u32::try_from(process).is_ok_and(is_running));
        (free && seat.0.compare_exchange(old, mine, Relaxed, Relaxed).is_ok())
            .then(|| Taken { seat, mine })
    })
}

impl Room {
    /// How many requests the server works on at once, all children together.
    pub fn set_workers(&self, workers: u32) {
        self.workers.store(workers, Relaxed);
    }

    fn share(&self, part: u32) -> usize {
        let share = self.workers.load(Relaxed) / part;
        usize::try_from(share.max(1)).unwrap_or(1)
    }

    /// The place of an issuer, named by any number.
    pub fn place(&'static self, issuer: u64) -> Option<&'static Place> {
        let issuer = issuer.max(1);
        let found = self.places.iter().find(|place| {
            let free = place.issuer.compare_exchange(0, issuer, Relaxed, Relaxed);
            free.is_ok() || free == Err(issuer)
        });
        found.or(self.places.last())
    }

    /// A seat for who waits for this issuer; `None`: too many wait.
    pub fn enter(&'static self, place: &'static Place, now: u64, longest: u64) -> Option<Waiting> {
        Some(Waiting {
            _any: take(&self.seats, self.share(2), now, longest)?,
            own: take(&place.seats, self.share(8), now, longest),
        })
    }
}

impl Place {
    /// Takes the one fetch that unknown `kid`s may cause now, if it is still there to be had.
    pub(super) fn force(&self, now: u64) -> bool {
        let last = self.forced_at.load(Relaxed);
        let won = || self.forced_at.compare_exchange(last, now, Relaxed, Relaxed);
        !pauses(now, last) && won().is_ok()
    }

    /// Whether no child has looked at this issuer's keys since httpd started.
    pub(super) fn is_first_look(&self) -> bool {
        self.looked.swap(1, Relaxed) == 0
    }

    /// When that last was.
    pub(super) fn forced_at(&self) -> u64 {
        self.forced_at.load(Relaxed)
    }
}

/// How long one request waits, for however many issuers, one after the other.
#[derive(Debug, Default)]
pub struct Patience {
    since: Cell<Option<Instant>>,
}

impl Patience {
    /// When it ends for an issuer that may be waited for so long.
    pub(super) fn ends(&self, longest: Duration) -> Instant {
        let since = self.since.get().unwrap_or_else(Instant::now);
        self.since.set(Some(since));
        since + longest
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]
    use super::*;
    use crate::sys::shared::new_room;

    const NOW: u64 = 1_800_000_000;

    fn room(workers: u32) -> &'static Room {
        let room = new_room().unwrap();
        room.set_workers(workers);
        room
    }

    #[test]
    fn an_eighth_of_the_workers_waits_long_for_an_issuer_and_half_of_them_at_all() {
        for (workers, long, all) in [
            (0, 1, 1),
            (1, 1, 1),
            (8, 1, 4),
            (32, 4, 16),
            (9999, 64, 256),
        ] {
            let room = room(workers);
            let place = room.place(7).unwrap();
            let taken: Vec<_> = (0..300).map_while(|_| room.enter(place, NOW, 6)).collect();
            assert_eq!(taken.len(), all, "{workers}");
            let fetch = Duration::from_secs(6);
            let waits = |well| {
                taken
                    .iter()
                    .filter(|it| it.longest(fetch, well) == Some(fetch))
                    .count()
            };
            assert_eq!((waits(true), waits(false)), (long, long), "{workers}");
            let moments = taken
                .iter()
                .filter(|it| it.longest(fetch, true) == Some(MOMENT));
            assert_eq!(moments.count(), all - long, "{workers}");
            let never = taken.iter().filter(|it| it.longest(fetch, false).is_none());
            assert_eq!(never.count(), all - long, "{workers}");
            drop(taken);
            assert!(room.enter(place, NOW, 6).unwrap().own.is_some());
        }
    }

    #[test]
    fn who_waits_for_one_issuer_leaves_seats_for_another() {
        let room = room(16);
        let [one, two] = [1, 2].map(|it| room.place(it).unwrap());
        let taken: Vec<_> = (0..4).map(|_| room.enter(one, NOW, 6).unwrap()).collect();
        assert_eq!(taken.iter().filter(|it| it.own.is_some()).count(), 2);
        assert!(room.enter(two, NOW, 6).unwrap().own.is_some());
    }

    #[test]
    fn the_seats_of_a_process_that_is_no_more_are_free() {
        let room = room(1);
        let place = room.place(1).unwrap();
        let mut child = std::process::Command::new("true").spawn().unwrap();
        let gone = u64::from(child.id());
        child.wait().unwrap();
        for seat in [&room.seats, &place.seats[..]].map(|it| it.first().unwrap()) {
            seat.0.store(gone << 32 | (NOW + 6), Relaxed);
        }
        assert!(room.enter(place, NOW, 6).unwrap().own.is_some());
    }

    #[test]
    fn a_seat_is_held_no_longer_than_one_may_wait() {
        let room = room(1);
        let place = room.place(1).unwrap();
        let early = room.enter(place, NOW, 6).unwrap();
        assert!(room.enter(place, NOW + 7, 6).is_none());
        let late = room.enter(place, NOW + 8, 6).unwrap();
        drop(early);
        assert!(room.enter(place, NOW + 8, 6).is_none());
        drop(late);
        assert!(room.enter(place, NOW + 8, 6).is_some());
    }

    #[test]
    fn unknown_kids_cause_one_fetch_in_ten_seconds_however_many_processes_ask() {
        let room = room(8);
        let place = room.place(1).unwrap();
        assert!(place.force(NOW));
        for later in 0..=10 {
            assert!(!place.force(NOW + later), "{later}");
        }
        assert_eq!(place.forced_at(), NOW);
        assert!(place.force(NOW + 11));
        assert!(room.place(2).unwrap().force(NOW + 11));
    }

    #[test]
    fn issuers_without_number_share_the_last_place() {
        let room = room(8);
        let places: Vec<_> = (1..=200).map(|it| room.place(it).unwrap()).collect();
        assert!(std::ptr::eq(places[0], room.place(1).unwrap()));
        assert!(!std::ptr::eq(places[0], places[1]));
        assert!(std::ptr::eq(places[128], places[199]));
    }

    #[test]
    fn patience_is_not_had_anew_for_each_issuer() {
        let patience = Patience::default();
        let first = patience.ends(Duration::from_secs(6));
        std::thread::sleep(Duration::from_millis(20));
        assert_eq!(patience.ends(Duration::from_secs(6)), first);
        assert_eq!(
            patience.ends(Duration::from_secs(2)),
            first - Duration::from_secs(4)
        );
    }
}
