#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic
)]

//! The refresher with all that it drives. Threads with a `Keys` of their own on one state directory
//! stand for the processes of a host: the lock is per open file, so it parts them alike.

use super::*;
use crate::clock;
use crate::jwks::Patience;
use crate::jwks::keys::KeySettings;
use crate::jwks::testing::{
    Dir, Heard, Server, down, ec, has, jwks, keys, loaded, ok, room, settings, start, within,
};
use serde_json::json;
use std::io::{Read as _, Write as _};

/// A server that hangs for ever.
fn hanging() -> Server {
    Server::start(|_, _, stream| {
        let _ = stream.read(&mut [0]);
    })
}

/// A server that answers so after a while.
fn slow(text: String, pause: u64) -> Server {
    Server::start(move |_, _, stream| {
        std::thread::sleep(Duration::from_millis(pause));
        let _ = stream.write_all(text.as_bytes());
    })
}

#[test]
fn keys_come_without_any_request_and_are_kept_for_the_next_start() {
    let (dir, heard) = (Dir::new(), Arc::default());
    let server = Server::saying(ok(&jwks(&["a"])));
    let own = loaded(&settings(&server.url), dir.path());
    assert!(!own.usable(clock::now()) && own.current().is_none());
    let refresher = start(&own, &heard);
    assert!(within(2, || own.usable(clock::now())));
    refresher.stop();
    assert_eq!(heard.lines(), [r#"changed test +["a"] -[]"#]);
    let status = own.status();
    assert_eq!((status.ok, status.failed, status.keys), (1, 0, 1));
    assert!(status.fetched_at.is_some() && status.last_error.is_none());

    // The issuer is down, and another process starts: it serves before any fetch.
    drop(server);
    let next = loaded(&own.settings, dir.path());
    assert!(next.usable(clock::now()) && has(&next, "a"));
    assert_eq!(next.status().ok, 0);
}

#[test]
fn keys_serve_on_while_the_issuer_is_down_until_they_are_too_old() {
    let (dir, heard) = (Dir::new(), Arc::default());
    let shown = Arc::new(Mutex::new(ok(&jwks(&["a"]))));
    let server = Server::showing(&shown);
    let own = keys(
        &KeySettings {
            refresh: 1,
            ..settings(&server.url)
        },
        dir.path(),
    );
    let refresher = start(&own, &heard);
    assert!(within(2, || has(&own, "a")));
    for broken in [down(), ok("<html>"), ok(r#"{"keys":{}}"#)] {
        *lock(&shown) = broken;
        let failed = own.status().failed;
        assert!(within(5, || own.status().failed > failed));
        assert!(has(&own, "a") && own.usable(clock::now()));
        assert!(own.current().unwrap().keys()[0].is_live());
    }
    let error = own.status().last_error.unwrap();
    assert!(error.contains("not an object with an array"), "{error}");
    let fetched_at = own.status().fetched_at.unwrap();
    assert!(own.usable(fetched_at + 3599) && !own.usable(fetched_at + 3600));
    *lock(&shown) = ok(&jwks(&["b"]));
    assert!(within(5, || has(&own, "b")));
    refresher.stop();
    assert_eq!(own.status().last_error, None);
    assert_eq!(heard.count("failed"), 1, "{:?}", heard.lines());
    assert_eq!(heard.count("recovered"), 1, "{:?}", heard.lines());
}

#[test]
fn a_key_that_leaves_the_set_dies_and_one_that_stays_lives() {
    let (dir, heard) = (Dir::new(), Arc::default());
    let (_, stays) = ec("P-256", "stays");
    let (_, goes) = ec("P-256", "goes");
    let set = |keys: &[&serde_json::Value]| ok(&json!({ "keys": keys }).to_string());
    let shown = Arc::new(Mutex::new(set(&[&stays, &goes])));
    let server = Server::showing(&shown);
    let one = keys(
        &KeySettings {
            refresh: 1,
            ..settings(&server.url)
        },
        dir.path(),
    );
    // The other process never fetches: it learns from the state directory.
    let two = keys(&one.settings, dir.path());
    let (first, second) = (start(&one, &heard), start(&two, &heard));
    assert!(within(4, || has(&one, "goes") && has(&two, "goes")));
    let before: Vec<_> = [&one, &two]
        .iter()
        .flat_map(|keys| keys.current().unwrap().keys().to_vec())
        .collect();
    *lock(&shown) = set(&[&stays]);
    assert!(within(5, || !has(&one, "goes") && !has(&two, "goes")));
    for key in before {
        assert_eq!(key.is_live(), key.kid() == Some("stays"), "{key:?}");
    }
    first.stop();
    second.stop();
    assert_eq!(
        heard.lines(),
        [
            r#"changed test +["stays", "goes"] -[]"#,
            r#"changed test +[] -["goes"]"#
        ],
        "once for the host"
    );
}

#[test]
fn one_fetch_serves_all_processes_and_all_their_first_requests() {
    let (dir, heard) = (Dir::new(), Arc::default());
    let server = slow(ok(&jwks(&["a"])), 300);
    let processes: Vec<Arc<Keys>> = (0..6)
        .map(|_| keys(&settings(&server.url), dir.path()))
        .collect();
    let refreshers: Vec<Refresher> = processes.iter().map(|keys| start(keys, &heard)).collect();
    std::thread::scope(|scope| {
        let waits: Vec<_> = processes
            .iter()
            .flat_map(|keys| {
                (0..8).map(|_| scope.spawn(|| keys.wait_for_first(&Patience::default())))
            })
            .collect();
        for wait in waits {
            assert!(wait.join().unwrap());
        }
    });
    assert_eq!(server.paths().len(), 1);
    refreshers.into_iter().for_each(Refresher::stop);
    assert_eq!(heard.lines().len(), 1, "{:?}", heard.lines());
}

#[test]
fn each_due_time_brings_one_fetch_for_the_host() {
    let (dir, heard) = (Dir::new(), Arc::default());
    let server = slow(ok(&jwks(&["a"])), 50);
    let one = keys(
        &KeySettings {
            refresh: 2,
            ..settings(&server.url)
        },
        dir.path(),
    );
    let processes: Vec<_> = (0..4).map(|_| keys(&one.settings, dir.path())).collect();
    let refreshers: Vec<Refresher> = processes.iter().map(|keys| start(keys, &heard)).collect();
    std::thread::sleep(Duration::from_millis(5200));
    refreshers.into_iter().for_each(Refresher::stop);
    let fetches = server.paths().len();
    assert!((2..=4).contains(&fetches), "{fetches} fetches in 5 s");
    assert!(heard.count("failed") == 0, "{:?}", heard.lines());
}

#[test]
fn a_new_kid_is_had_by_one_fetch_and_then_the_throttle_holds_for_the_host() {
    let (dir, heard) = (Dir::new(), Arc::default());
    let shown = Arc::new(Mutex::new(ok(&jwks(&["a"]))));
    let server = Server::showing(&shown);
    let settings = KeySettings {
        room: room(800),
        ..settings(&server.url)
    };
    let processes: Vec<_> = (0..4).map(|_| keys(&settings, dir.path())).collect();
    let refreshers: Vec<_> = processes.iter().map(|keys| start(keys, &heard)).collect();
    assert!(within(4, || processes.iter().all(|keys| has(keys, "a"))));
    *lock(&shown) = ok(&jwks(&["a", "b"]));
    let ask = |kid: &str| -> usize {
        std::thread::scope(|scope| {
            let waits: Vec<_> = processes
                .iter()
                .flat_map(|keys| {
                    (0..16).map(|_| scope.spawn(|| keys.wait_for_kid(kid, &Patience::default())))
                })
                .collect();
            let found = waits.into_iter().map(|wait| wait.join().unwrap());
            found.filter(|found| *found).count()
        })
    };
    assert_eq!(ask("b"), 64, "each has a seat");
    assert_eq!(server.paths().len(), 2);
    // Unknown ones by the thousand: no fetch, and no waiting.
    let begin = Instant::now();
    for number in 0..500 {
        let kid = format!("forged-{number}");
        assert!(!processes[number % 4].wait_for_kid(&kid, &Patience::default()));
    }
    assert!(begin.elapsed() < Duration::from_secs(1));
    assert_eq!(ask("forged"), 0);
    assert_eq!(server.paths().len(), 2);
    // A process that starts now is bound by it too.
    let late = loaded(&settings, dir.path());
    let refresher = start(&late, &heard);
    assert!(!late.wait_for_kid("forged", &Patience::default()));
    assert_eq!(server.paths().len(), 2);
    refresher.stop();
    refreshers.into_iter().for_each(Refresher::stop);
}

#[test]
fn a_kid_that_another_process_fetched_is_there_at_once() {
    let (dir, heard) = (Dir::new(), Arc::default());
    let server = Server::saying(ok(&jwks(&["a"])));
    let one = keys(&settings(&server.url), dir.path());
    let two = loaded(&one.settings, dir.path());
    let refresher = start(&one, &heard);
    assert!(within(2, || has(&one, "a")));
    refresher.stop();
    // No refresher looks after this one: the request itself sees the new document.
    assert!(!has(&two, "a"));
    assert!(two.wait_for_kid("a", &Patience::default()));
    assert!(two.wait_for_first(&Patience::default()));
}

#[test]
fn requests_are_released_when_the_first_fetch_fails_and_then_do_not_wait() {
    let (dir, heard) = (Dir::new(), Arc::default());
    let server = slow(down(), 200);
    let own = keys(
        &KeySettings {
            timeout: 20,
            ..settings(&server.url)
        },
        dir.path(),
    );
    let refresher = start(&own, &heard);
    let begin = Instant::now();
    assert!(!own.wait_for_first(&Patience::default()));
    assert!(begin.elapsed() < Duration::from_secs(3));
    let begin = Instant::now();
    for _ in 0..50 {
        assert!(
            !own.wait_for_first(&Patience::default())
                && !own.wait_for_kid("a", &Patience::default())
        );
    }
    assert!(begin.elapsed() < Duration::from_millis(300));
    assert_eq!(server.paths().len(), 1);
    refresher.stop();
    assert_eq!(heard.count("failed test"), 1, "{:?}", heard.lines());
}

#[test]
fn waiting_is_bounded_in_time_and_number() {
    let (dir, heard) = (Dir::new(), Arc::default());
    let server = hanging();
    let own = keys(
        &KeySettings {
            timeout: 3,
            room: room(24),
            ..settings(&server.url)
        },
        dir.path(),
    );
    let refresher = start(&own, &heard);
    let begin = Instant::now();
    let waited: Vec<Duration> = std::thread::scope(|scope| {
        let waits: Vec<_> = (0..20)
            .map(|_| {
                scope.spawn(|| {
                    assert!(!own.wait_for_first(&Patience::default()));
                    begin.elapsed()
                })
            })
            .collect();
        waits.into_iter().map(|wait| wait.join().unwrap()).collect()
    });
    let over = |least: u64| {
        let longer = |time: &&Duration| **time > Duration::from_millis(least);
        waited.iter().filter(longer).count()
    };
    assert_eq!(over(2000), 3, "an eighth of 24: {waited:?}");
    assert!((3..=12).contains(&over(500)), "half of 24: {waited:?}");
    assert_eq!(over(8000), 0, "{waited:?}");
    refresher.stop();
}

#[test]
fn back_off_holds_for_the_host_and_over_a_restart() {
    let (dir, heard) = (Dir::new(), Arc::default());
    let server = Server::saying(down());
    let settings = settings(&server.url);
    let one = keys(&settings, dir.path());
    let refresher = start(&one, &heard);
    assert!(within(8, || one.status().failed == 3));
    refresher.stop();
    // After the third failure five seconds are to pass.
    let two = loaded(&settings, dir.path());
    let refresher = start(&two, &heard);
    std::thread::sleep(Duration::from_millis(2500));
    assert!(!two.wait_for_first(&Patience::default()));
    assert_eq!(server.paths().len(), 3);
    assert!(two.status().last_error.unwrap().contains("503"));
    refresher.stop();
}

#[test]
fn without_a_state_directory_the_throttle_still_holds() {
    let (dir, heard) = (Dir::new(), Arc::default());
    let file = dir.path().join("file");
    std::fs::write(&file, "").unwrap();
    let server = Server::saying(ok(&jwks(&["a"])));
    let own = keys(&settings(&server.url), &file);
    let refresher = start(&own, &heard);
    assert!(own.wait_for_first(&Patience::default()));
    for number in 0..200 {
        assert!(!own.wait_for_kid(&number.to_string(), &Patience::default()));
    }
    assert_eq!(server.paths().len(), 2);
    refresher.stop();
}

#[test]
fn without_a_state_directory_the_throttle_holds_for_the_host_all_the_same() {
    let (dir, heard) = (Dir::new(), Arc::default());
    let file = dir.path().join("file");
    std::fs::write(&file, "").unwrap();
    let server = Server::saying(ok(&jwks(&["a"])));
    let settings = settings(&server.url);
    let processes: Vec<_> = (0..4).map(|_| keys(&settings, &file)).collect();
    let refreshers: Vec<_> = processes.iter().map(|keys| start(keys, &heard)).collect();
    assert!(within(5, || processes.iter().all(|keys| has(keys, "a"))));
    std::thread::scope(|scope| {
        for keys in &processes {
            scope.spawn(|| assert!(!keys.wait_for_kid("forged", &Patience::default())));
        }
    });
    assert_eq!(server.paths().len(), 5, "the first of each, and one more");
    refreshers.into_iter().for_each(Refresher::stop);
}

#[test]
fn a_slow_issuer_does_not_hold_up_another() {
    let (dir, heard) = (Dir::new(), Arc::default());
    let (slow, quick) = (hanging(), Server::saying(ok(&jwks(&["a"]))));
    let stuck = keys(
        &KeySettings {
            timeout: 20,
            ..settings(&slow.url)
        },
        dir.path(),
    );
    let own = keys(&settings(&quick.url), dir.path());
    let report: Arc<dyn Report> = Arc::<Heard>::clone(&heard);
    let refresher = Refresher::start(vec![stuck, Arc::clone(&own)], report);
    assert!(within(2, || slow.paths().len() == 1));
    let begin = Instant::now();
    assert!(own.wait_for_first(&Patience::default()));
    assert!(begin.elapsed() < Duration::from_secs(1));
    // Nor does a fetch in flight hold up the stop.
    let begin = Instant::now();
    refresher.stop();
    assert!(begin.elapsed() < Duration::from_millis(1200));
    assert_eq!(heard.count("failed"), 0, "a stop is no failure");
}

#[test]
fn a_stop_in_the_middle_of_a_fetch_leaves_it_to_the_next_process() {
    let (dir, heard) = (Dir::new(), Arc::default());
    let server = hanging();
    let settings = KeySettings {
        timeout: 20,
        ..settings(&server.url)
    };
    let one = keys(&settings, dir.path());
    let refresher = start(&one, &heard);
    assert!(within(2, || server.paths().len() == 1));
    refresher.stop();
    let two = loaded(&settings, dir.path());
    let refresher = start(&two, &heard);
    assert!(within(2, || server.paths().len() == 2));
    refresher.stop();
}

#[test]
fn an_idle_refresher_stops_at_once() {
    let (dir, heard) = (Dir::new(), Arc::default());
    let server = Server::saying(ok(&jwks(&["a"])));
    let own = keys(&settings(&server.url), dir.path());
    let refresher = start(&own, &heard);
    assert!(own.wait_for_first(&Patience::default()));
    let begin = Instant::now();
    refresher.stop();
    assert!(begin.elapsed() < Duration::from_millis(100));
    // Nobody looks after the keys any more: nobody waits for them.
    let begin = Instant::now();
    assert!(!own.wait_for_kid("b", &Patience::default()));
    assert!(begin.elapsed() < Duration::from_millis(100));
}

#[test]
fn a_stop_releases_the_requests_that_wait() {
    let (dir, heard) = (Dir::new(), Arc::default());
    let server = hanging();
    let own = keys(
        &KeySettings {
            timeout: 20,
            ..settings(&server.url)
        },
        dir.path(),
    );
    let refresher = start(&own, &heard);
    let begin = Instant::now();
    std::thread::scope(|scope| {
        let waits: Vec<_> = (0..4)
            .map(|_| scope.spawn(|| own.wait_for_first(&Patience::default())))
            .collect();
        assert!(within(2, || own.is_waited_for() && server.paths().len() == 1));
        refresher.stop();
        for wait in waits {
            assert!(!wait.join().unwrap());
        }
    });
    assert!(begin.elapsed() < Duration::from_secs(4));
}
