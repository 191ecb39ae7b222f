//! What comes into a process and what is said of it: documents that are damaged, files that change, the
//! host that tells a thing once. Threads stand for processes, as in the refresher's tests.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic
)]

use super::*;
use crate::jwks::keys::KeySettings;
use crate::jwks::refresh::Refresher;
use crate::jwks::testing::{
    Dir, Heard, Server, down, has, jwks, keys, ok, rsa_jwk, settings, start, within,
};
use serde_json::json;
use std::sync::Mutex;
use std::time::Instant;

#[test]
fn a_state_directory_that_fails_is_said_once_and_stops_nothing() {
    let (dir, heard) = (Dir::new(), Arc::default());
    let file = dir.path().join("file");
    std::fs::write(&file, "").unwrap();
    let shown = Arc::new(Mutex::new(ok(&jwks(&["a"]))));
    let server = Server::showing(&shown);
    let own = keys(
        &KeySettings {
            refresh: 1,
            ..settings(&server.url)
        },
        &file,
    );
    own.load();
    let refresher = start(&own, &heard);
    assert!(own.wait_for_first());
    assert!(within(6, || own.status().ok >= 3));
    refresher.stop();
    assert_eq!(heard.count("store"), 1, "{:?}", heard.lines());
}

#[test]
fn a_damaged_document_is_said_once_and_fetched_over() {
    let (dir, heard) = (Dir::new(), Arc::default());
    let server = Server::saying(ok(&jwks(&["a"])));
    let own = keys(&settings(&server.url), dir.path());
    let refresher = start(&own, &heard);
    assert!(own.wait_for_first());
    refresher.stop();
    let document = std::fs::read_dir(dir.path())
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .find(|path| path.extension().is_some_and(|ending| ending == "json"))
        .unwrap();
    std::fs::write(document, "{\"layout\":1,").unwrap();
    let heard = Arc::default();
    let own = keys(&own.settings, dir.path());
    own.load();
    assert!(!own.usable(clock::now()));
    let refresher = start(&own, &heard);
    assert!(own.wait_for_first());
    refresher.stop();
    assert_eq!(heard.count("store"), 1, "{:?}", heard.lines());
    assert!(heard.lines()[0].contains("damaged"), "{:?}", heard.lines());
}

#[test]
fn a_failure_is_said_once_for_the_host_and_again_after_a_restart() {
    let (dir, heard) = (Dir::new(), Arc::<Heard>::default());
    let server = Server::saying(down());
    let settings = settings(&server.url);
    for generation in 1..=2 {
        let processes: Vec<_> = (0..3).map(|_| keys(&settings, dir.path())).collect();
        processes.iter().for_each(|keys| keys.load());
        let refreshers: Vec<_> = processes.iter().map(|keys| start(keys, &heard)).collect();
        let fetches = || -> u64 { processes.iter().map(|keys| keys.status().failed).sum() };
        assert!(within(12, || fetches() >= 2));
        refreshers.into_iter().for_each(Refresher::stop);
        assert_eq!(heard.count("failed"), generation, "{:?}", heard.lines());
    }
}

#[test]
fn unfit_keys_are_said_once() {
    let (dir, heard) = (Dir::new(), Arc::default());
    let set = json!({"keys": [rsa_jwk("a"), {"kty": "oct", "kid": "s"}]}).to_string();
    let server = Server::saying(ok(&set));
    let own = keys(
        &KeySettings {
            refresh: 1,
            ..settings(&server.url)
        },
        dir.path(),
    );
    let refresher = start(&own, &heard);
    assert!(within(5, || own.status().ok >= 2));
    refresher.stop();
    assert_eq!(heard.count("passed over test s"), 1, "{:?}", heard.lines());
}

#[test]
fn keys_of_a_file_follow_the_file_and_outlive_its_faults() {
    let (dir, heard) = (Dir::new(), Arc::default());
    let path = dir.path().join("keys.json");
    let own = keys(
        &KeySettings {
            location: KeyLocation::File(path.clone()),
            max_stale: 1,
            ..settings("")
        },
        dir.path(),
    );
    own.load();
    assert!(!own.usable(clock::now()));
    let refresher = start(&own, &heard);
    assert!(within(2, || heard.count("failed") == 1));
    assert!(!own.wait_for_first());
    std::fs::write(&path, jwks(&["a"])).unwrap();
    assert!(own.wait_for_first());
    assert!(own.usable(clock::now() + 1_000_000));
    let key = Arc::clone(&own.current().unwrap().keys()[0]);
    for broken in ["{", ""] {
        std::fs::write(&path, broken).unwrap();
        let failed = own.status().failed;
        assert!(within(3, || own.status().failed > failed));
        assert!(has(&own, "a") && key.is_live());
    }
    std::fs::write(&path, jwks(&["b"])).unwrap();
    assert!(own.wait_for_kid("b"));
    assert!(!has(&own, "a") && !key.is_live());
    let begin = Instant::now();
    assert!(!own.wait_for_kid("c"));
    assert!(begin.elapsed() < Duration::from_millis(200));
    refresher.stop();
    assert_eq!(heard.count("failed"), 2, "{:?}", heard.lines());
    assert_eq!(heard.count("recovered"), 2, "{:?}", heard.lines());
}

#[test]
fn whoever_missed_the_last_good_file_has_it_from_the_host() {
    let (dir, heard) = (Dir::new(), Heard::default());
    let path = dir.path().join("keys.json");
    let process_of = |location: &Path, max_stale| {
        let keys = keys(
            &KeySettings {
                location: KeyLocation::File(location.to_owned()),
                max_stale,
                ..settings("")
            },
            dir.path(),
        );
        keys.load();
        keys
    };
    let process = |location| process_of(location, 3600);
    std::fs::write(&path, jwks(&["a"])).unwrap();
    let (first, late) = (process(&path), process(&path));
    let withdrawn = Arc::clone(&late.current().unwrap().keys()[0]);
    // Documents are told apart by the second.
    std::thread::sleep(Duration::from_millis(1100));
    std::fs::write(&path, jwks(&["b"])).unwrap();
    assert!(first.look(&heard).is_none());
    std::fs::write(&path, "{").unwrap();
    assert!(late.look(&heard).is_none());
    assert!(has(&late, "b") && !has(&late, "a") && !withdrawn.is_live());
    let new = process(&path);
    assert!(has(&new, "b"));
    let elsewhere = process(&dir.path().join("other.json"));
    assert!(elsewhere.current().is_none());
    assert!(process_of(&path, 0).current().is_none());
}

#[test]
fn a_changed_file_is_said_once_for_the_host() {
    let (dir, heard) = (Dir::new(), Arc::default());
    let path = dir.path().join("keys.json");
    std::fs::write(&path, jwks(&["a"])).unwrap();
    let settings = KeySettings {
        location: KeyLocation::File(path.clone()),
        ..settings("")
    };
    let processes: Vec<_> = (0..3).map(|_| keys(&settings, dir.path())).collect();
    for keys in &processes {
        keys.load();
        assert!(keys.usable(clock::now()));
    }
    let refreshers: Vec<_> = processes.iter().map(|keys| start(keys, &heard)).collect();
    // In one step: half a file would be a failure to tell of.
    let fresh = dir.path().join("fresh.json");
    std::fs::write(&fresh, jwks(&["b"])).unwrap();
    std::fs::rename(&fresh, &path).unwrap();
    assert!(within(3, || processes.iter().all(|keys| has(keys, "b"))));
    refreshers.into_iter().for_each(Refresher::stop);
    assert_eq!(heard.lines(), [r#"changed test +["b"] -["a"]"#]);
}
