//! What a request is told of the keys, and when it waits for them. With a refresher that fetches they
//! are tried in `refresh`.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic
)]

use super::*;
use crate::jwks::testing::{Dir, jwks, keys, room, settings, standing};
use crate::testing::issuer;
use std::path::Path;

const NOW: u64 = 1_800_000_000;

/// Keys of a fetch that was at that time, in a process that has never seen any.
fn fetched(at: u64) -> Arc<Keys> {
    standing(&jwks(&["a", "b"]), at)
}

/// Keys that a refresher looks after, which never does anything.
fn attached(timeout: u64, workers: u32) -> Arc<Keys> {
    let mut settings = settings("http://nobody.invalid");
    (settings.timeout, settings.room) = (timeout, room(workers));
    let keys = keys(&settings, Path::new("/nowhere"));
    keys.attach(&Arc::default());
    keys
}

/// As if a fetch had ended well just now: none is due.
fn calm(keys: &Keys) {
    let now = clock::now();
    let mut desk = lock(&keys.desk);
    desk.kept.schedule.begin(now, false, keys.pace());
    desk.kept.schedule.succeeded(now, keys.pace(), 0);
}

fn of_file(path: &Path) -> Arc<Keys> {
    let mut settings = settings("");
    settings.location = KeyLocation::File(path.to_owned());
    keys(&settings, path.parent().unwrap())
}

#[test]
fn fetched_keys_serve_for_max_stale_seconds_and_no_longer() {
    let keys = fetched(NOW);
    assert_eq!(keys.max_stale(), 3600);
    for (later, wanted) in [(0, true), (3599, true), (3600, false), (99_999, false)] {
        assert_eq!(keys.usable(NOW + later), wanted, "{later}");
    }
    // A clock set back takes nobody's keys.
    assert!(keys.usable(NOW - 9));
    assert!(!fetched(0).usable(9));
}

#[test]
fn keys_of_a_file_serve_as_long_as_others_after_it_was_last_read() {
    let dir = Dir::new();
    let path = dir.path().join("jwks");
    std::fs::write(&path, jwks(&["a"])).unwrap();
    let keys = of_file(&path);
    assert!(!keys.usable(NOW));
    assert!(keys.current().is_none());
    keys.load();
    assert!(keys.usable(clock::now() + 3590) && !keys.usable(clock::now() + 3600));
    assert!(keys.current().unwrap().knows("a"));
    assert_eq!(keys.file(), Some(&path));
    assert_eq!(fetched(NOW).file(), None);
}

#[test]
fn the_status_is_told() {
    assert_eq!(
        keys(&settings("x"), Path::new("/nowhere")).status(),
        KeyStatus::default()
    );
    let keys = fetched(NOW);
    keys.ok.store(3, Ordering::Relaxed);
    keys.failed.store(4, Ordering::Relaxed);
    lock(&keys.desk).kept.schedule.error = Some("down".into());
    let wanted = KeyStatus {
        fetched_at: Some(NOW),
        last_error: Some("down".into()),
        ok: 3,
        failed: 4,
        keys: 2,
    };
    assert_eq!(keys.status(), wanted);
    assert_eq!(keys.name(), "test");
}

#[test]
fn an_issuer_s_settings_are_taken_and_bounded() {
    let lines = ["GateRefresh 7m", "GateMaxStale 3h", "GateTimeout 9s"];
    let of = KeySettings::from(&*issuer(&lines));
    assert_eq!(
        (of.name.as_str(), of.url.as_str()),
        ("idp", "https://issuer.example")
    );
    assert_eq!(of.location, KeyLocation::Discovery);
    assert_eq!((of.refresh, of.max_stale, of.timeout), (420, 10_800, 9));
    assert_eq!((of.room.is_none(), of.ca_file.as_ref()), (true, None));
    for (timeout, refresh, wanted) in [(0, 0, (1, 1)), (9999, 5, (600, 5)), (5, 600, (5, 600))] {
        let settings = KeySettings {
            timeout,
            refresh,
            ..of.clone()
        };
        let pace = keys(&settings, Path::new("/nowhere")).pace();
        assert_eq!((pace.timeout, pace.refresh), wanted);
    }
}

#[test]
fn nobody_waits_for_what_is_there() {
    let keys = fetched(clock::now());
    assert!(keys.wait_for_first(&Patience::default()));
    assert!(keys.wait_for_kid("a", &Patience::default()));
    // It is there, only too old: another fetch would not bring it.
    assert!(fetched(NOW - 999_999_999).wait_for_kid("b", &Patience::default()));
}

#[test]
fn nobody_waits_where_nobody_fetches() {
    let keys = fetched(clock::now());
    assert!(!keys.is_attached());
    assert!(!keys.wait_for_kid("c", &Patience::default()));
    assert!(!fetched(1).wait_for_first(&Patience::default()));
}

#[test]
fn nobody_waits_for_a_refresher_that_has_stopped() {
    let keys = attached(600, 8);
    assert!(keys.is_attached());
    keys.bell.get().unwrap().close();
    assert!(!keys.wait_for_first(&Patience::default()));
}

#[test]
fn another_process_s_keys_are_seen_without_a_fetch() {
    let dir = Dir::new();
    let [ours, theirs] = [0, 1].map(|_| keys(&settings("http://nobody.invalid"), dir.path()));
    let mut kept = Kept::default();
    kept.schedule.revision = 1;
    kept.keys = Some(super::super::store::KeptKeys {
        source: "http://nobody.invalid".into(),
        text: jwks(&["z"]).into(),
        fetched_at: clock::now(),
    });
    let held = theirs.store.try_lock().unwrap().unwrap();
    theirs.store.save(&held, &kept).unwrap();
    assert!(ours.wait_for_kid("z", &Patience::default()));
    assert!(ours.wait_for_first(&Patience::default()));
    assert!(!ours.wait_for_kid("y", &Patience::default()));
}

#[test]
fn who_waits_is_told_when_the_keys_come() {
    let keys = attached(600, 8);
    std::thread::scope(|scope| {
        let waits = scope.spawn(|| keys.wait_for_first(&Patience::default()));
        while !keys.is_waited_for() {
            std::thread::yield_now();
        }
        let set = KeySet::parse(jwks(&["a"]).as_bytes()).unwrap();
        let mut desk = lock(&keys.desk);
        keys.current.store(Some(Arc::new(set)));
        keys.fetched_at.store(clock::now(), Ordering::Release);
        desk.rounds += 1;
        keys.news.notify_all();
        drop(desk);
        assert!(waits.join().unwrap());
    });
    assert!(!keys.is_waited_for());
}

#[test]
fn who_waits_is_told_when_they_do_not_come() {
    let keys = attached(600, 8);
    std::thread::scope(|scope| {
        let waits = scope.spawn(|| keys.wait_for_kid("a", &Patience::default()));
        while !waits.is_finished() {
            lock(&keys.desk).rounds += 1;
            keys.news.notify_all();
            std::thread::sleep(Duration::from_millis(5));
        }
        assert!(!waits.join().unwrap());
    });
}

#[test]
fn who_waits_in_vain_waits_as_long_as_a_fetch_may_take_and_a_second() {
    let keys = attached(1, 8);
    let start = Instant::now();
    assert!(!keys.wait_for_first(&Patience::default()));
    assert!(start.elapsed() >= Duration::from_secs(2));
    assert!(!keys.is_waited_for());
}

#[test]
fn a_full_waiting_room_takes_nobody_in() {
    let keys = attached(600, 2);
    let (room, place) = (keys.settings.room.unwrap(), keys.place.unwrap());
    let seat = room.enter(place, clock::now(), 601).unwrap();
    let begin = Instant::now();
    assert!(!keys.wait_for_first(&Patience::default()));
    drop(seat);
    lock(&keys.desk).kept.schedule.failures = 1;
    let keys = Arc::new(Keys {
        settings: KeySettings {
            room: None,
            ..keys.settings.clone()
        },
        ..Arc::into_inner(keys).unwrap()
    });
    assert!(!keys.wait_for_first(&Patience::default()), "no room at all");
    assert!(begin.elapsed() < Duration::from_millis(500));
    assert!(!keys.is_waited_for());
}

#[test]
fn who_has_no_seat_of_the_issuer_s_waits_a_moment_where_the_issuer_is_well() {
    let keys = attached(600, 8);
    let (room, place) = (keys.settings.room.unwrap(), keys.place.unwrap());
    let _seat = room.enter(place, clock::now(), 601).unwrap();
    let waits = || {
        let begin = Instant::now();
        assert!(!keys.wait_for_first(&Patience::default()));
        begin.elapsed()
    };
    let moment = waits();
    assert!((900..20_000).contains(&moment.as_millis()), "{moment:?}");
    lock(&keys.desk).kept.schedule.failures = 1;
    assert!(waits() < Duration::from_millis(500));
}

#[test]
fn a_request_waits_once_however_many_issuers_it_asks() {
    let [one, two] = [0, 1].map(|_| attached(1, 64));
    let patience = Patience::default();
    let begin = Instant::now();
    assert!(!one.wait_for_first(&patience) && !two.wait_for_first(&patience));
    let took = begin.elapsed();
    assert!((1900..3900).contains(&took.as_millis()), "{took:?}");
}

#[test]
fn no_kid_waits_for_an_issuer_that_fails() {
    let keys = attached(600, 64);
    let may = |forced| keys.fetch_may_come(&mut lock(&keys.desk), forced, None);
    assert!(may(true), "never fetched: due");
    lock(&keys.desk).kept.schedule.failures = 1;
    assert!(!may(true));
    assert!(may(false), "without any keys a retry is waited for");
}

#[test]
fn a_fetch_may_come_where_one_is_due_or_on_its_way() {
    let keys = attached(5, 8);
    let may = |forced| keys.fetch_may_come(&mut lock(&keys.desk), forced, None);
    assert!(may(false), "never fetched: due");
    calm(&keys);
    assert!(!may(false));
    lock(&keys.desk).in_flight = true;
    assert!(may(false), "this process is at it");
    lock(&keys.desk).in_flight = false;
    assert!(!may(false));
    lock(&keys.desk).kept.schedule.fetching = true;
    assert!(may(false), "another process is at it");
    lock(&keys.desk).kept.schedule.fetching = false;
    lock(&keys.desk).kept.schedule.next_at = clock::now();
    assert!(may(false), "due again");
    assert!(!lock(&keys.desk).forced);
}

#[test]
fn an_unknown_kid_asks_for_a_fetch_as_often_as_the_throttle_lets_it() {
    let keys = attached(5, 8);
    calm(&keys);
    let may = |forced| keys.fetch_may_come(&mut lock(&keys.desk), forced, None);
    lock(&keys.desk).kept.schedule.forced_at = clock::now();
    assert!(!may(true));
    assert!(!lock(&keys.desk).forced);
    lock(&keys.desk).kept.schedule.forced_at = 0;
    assert!(!may(false));
    assert!(may(true));
    assert!(lock(&keys.desk).forced);
    // It has been asked for: whoever comes now waits for the same one.
    lock(&keys.desk).kept.schedule.forced_at = clock::now();
    assert!(may(true));
    assert!(may(false));
}

#[test]
fn keys_of_a_file_may_come_where_the_file_has_changed() {
    let dir = Dir::new();
    let path = dir.path().join("jwks");
    std::fs::write(&path, jwks(&["a"])).unwrap();
    let keys = of_file(&path);
    let may = || keys.fetch_may_come(&mut lock(&keys.desk), true, Some(Stamp::of(&path)));
    assert!(may());
    keys.load();
    assert!(!may());
    std::fs::write(&path, jwks(&["a", "b"])).unwrap();
    assert!(may());
}
