//! What comes into a process and what is said of it: documents that are damaged, files that change, the
//! host that tells a thing once. Threads stand for processes, as in the refresher's tests.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic
)]

use super::*;
use crate::jwks::Patience;
use crate::jwks::keys::KeySettings;
use crate::jwks::refresh::Refresher;
use crate::jwks::store::Stamp;
use crate::jwks::testing::{
    Dir, Heard, Server, down, has, jwks, keys, loaded, of_file, ok, rsa_jwk, settings, start,
    within,
};
use serde_json::json;
use std::path::Path;
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
    assert!(own.wait_for_first(&Patience::default()));
    assert!(within(6, || own.status().ok >= 3));
    refresher.stop();
    assert_eq!(heard.count("store"), 1, "{:?}", heard.lines());
}

#[test]
fn a_lock_that_is_not_given_back_holds_nobody_up_for_long() {
    let (dir, heard) = (Dir::new(), Arc::default());
    let server = Server::saying(ok(&jwks(&["a"])));
    let of = || {
        let settings = KeySettings {
            refresh: 1,
            timeout: 1,
            ..settings(&server.url)
        };
        keys(&settings, dir.path())
    };
    let (stopped, own) = (of(), of());
    let held = stopped.store.try_lock().unwrap();
    assert!(held.is_some());
    let refresher = start(&own, &heard);
    assert!(within(20, || own.status().ok >= 3));
    assert_eq!(heard.count("store"), 1, "{:?}", heard.lines());
    assert!(heard.lines()[0].contains("locked"), "{:?}", heard.lines());
    // Nothing was written without the lock, and with it all is as ever.
    assert_eq!(own.store.stamp(), None);
    drop(held);
    assert!(within(20, || own.store.stamp().is_some()));
    refresher.stop();
    assert_eq!(heard.count("store"), 1, "{:?}", heard.lines());
}

#[test]
fn a_damaged_document_is_said_once_and_fetched_over() {
    let (dir, heard) = (Dir::new(), Arc::default());
    let server = Server::saying(ok(&jwks(&["a"])));
    let own = keys(&settings(&server.url), dir.path());
    let refresher = start(&own, &heard);
    assert!(own.wait_for_first(&Patience::default()));
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
    assert!(own.wait_for_first(&Patience::default()));
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
    let own = loaded(&of_file(&path), dir.path());
    assert!(!own.usable(clock::now()));
    let refresher = start(&own, &heard);
    assert!(within(2, || heard.count("failed") == 1));
    assert!(!own.wait_for_first(&Patience::default()));
    std::fs::write(&path, jwks(&["a"])).unwrap();
    assert!(own.wait_for_first(&Patience::default()));
    let key = Arc::clone(&own.current().unwrap().keys()[0]);
    for broken in ["{", ""] {
        std::fs::write(&path, broken).unwrap();
        let failed = own.status().failed;
        assert!(within(3, || own.status().failed > failed));
        assert!(has(&own, "a") && key.is_live());
    }
    std::fs::write(&path, jwks(&["b"])).unwrap();
    assert!(own.wait_for_kid("b", &Patience::default()));
    assert!(!has(&own, "a") && !key.is_live());
    let begin = Instant::now();
    assert!(!own.wait_for_kid("c", &Patience::default()));
    assert!(begin.elapsed() < Duration::from_millis(200));
    refresher.stop();
    assert_eq!(heard.count("failed"), 2, "{:?}", heard.lines());
    assert_eq!(heard.count("recovered"), 2, "{:?}", heard.lines());
}

#[test]
fn a_set_without_any_key_that_fits_is_an_answer() {
    let (dir, heard) = (Dir::new(), Arc::default());
    let shown = Arc::new(Mutex::new(ok(&jwks(&["a"]))));
    let server = Server::showing(&shown);
    let of = |url: &str, location: Option<&Path>| KeySettings {
        refresh: 1,
        location: location.map_or(KeyLocation::Url(url.to_owned()), |path| {
            KeyLocation::File(path.to_owned())
        }),
        ..settings(url)
    };
    let path = dir.path().join("keys.json");
    std::fs::write(&path, jwks(&["a"])).unwrap();
    let own = keys(&of(&server.url, None), dir.path());
    let file = keys(&of("", Some(&path)), dir.path());
    file.load();
    let refreshers = [start(&own, &heard), start(&file, &heard)];
    assert!(within(5, || has(&own, "a") && has(&file, "a")));
    let before = [&own, &file].map(|keys| Arc::clone(&keys.current().unwrap().keys()[0]));
    let none = json!({"keys": [{"kty": "oct", "kid": "s"}]}).to_string();
    *lock(&shown) = ok(&none);
    std::fs::write(&path, r#"{"keys":[]}"#).unwrap();
    assert!(within(8, || !has(&own, "a") && !has(&file, "a")));
    assert!(before.iter().all(|key| !key.is_live()));
    assert!([&own, &file].iter().all(|keys| keys.usable(clock::now())));
    assert!(within(5, || heard.count("none fits test") == 2));
    // It is no failure, and said once; another process takes it over.
    assert!(within(8, || own.status().ok >= 4));
    assert_eq!(heard.count("none fits test"), 2, "{:?}", heard.lines());
    assert_eq!(heard.count("failed"), 0, "{:?}", heard.lines());
    let other = keys(&own.settings, dir.path());
    other.load();
    assert!(other.usable(clock::now()) && has(&other, "s"));
    refreshers.into_iter().for_each(Refresher::stop);
}

#[test]
fn keys_under_other_trust_are_not_believed() {
    let (dir, heard) = (Dir::new(), Arc::default());
    let server = Server::saying(ok(&jwks(&["a"])));
    let with = |ca: Option<&str>| KeySettings {
        ca_fingerprint: ca.map(str::to_owned),
        ..settings(&server.url)
    };
    let own = keys(&with(Some("one")), dir.path());
    let refresher = start(&own, &heard);
    assert!(within(5, || has(&own, "a")));
    refresher.stop();
    for (ca, believed) in [(Some("one"), true), (Some("two"), false), (None, false)] {
        let other = keys(&with(ca), dir.path());
        other.load();
        assert_eq!(other.current().is_some(), believed, "{ca:?}");
    }
}

#[test]
fn a_pipe_in_the_place_of_a_file_holds_nobody_up() {
    let dir = Dir::new();
    let path = dir.path().join("keys.json");
    let made = std::process::Command::new("mkfifo").arg(&path).status();
    assert!(made.unwrap().success());
    let own = loaded(&of_file(&path), dir.path());
    let error = own.status().last_error.unwrap();
    assert!(error.contains("no regular file"), "{error}");
}

#[test]
fn a_file_that_becomes_readable_is_seen() {
    use std::os::unix::fs::PermissionsExt as _;
    let dir = Dir::new();
    let path = dir.path().join("keys.json");
    std::fs::write(&path, jwks(&["a"])).unwrap();
    let before = Stamp::of(&path);
    std::thread::sleep(Duration::from_millis(20));
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o604)).unwrap();
    assert_ne!(Stamp::of(&path), before);
}

#[test]
fn whoever_missed_the_last_good_file_has_it_from_the_host() {
    let (dir, heard) = (Dir::new(), Heard::default());
    let path = dir.path().join("keys.json");
    let process_of = |location: &Path, max_stale| {
        let settings = KeySettings {
            max_stale,
            ..of_file(location)
        };
        loaded(&settings, dir.path())
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
fn keys_that_were_in_the_file_for_a_moment_are_not_what_the_host_remembers() {
    let (dir, heard) = (Dir::new(), Heard::default());
    let path = dir.path().join("keys.json");
    let process = || loaded(&of_file(&path), dir.path());
    let write = |text: &str| std::fs::write(&path, text).unwrap();
    let (usual, other) = (jwks(&["a"]), jwks(&["b"]));
    write(&usual);
    let (first, second) = (process(), process());
    write(&other);
    assert!(second.look(&heard).is_none() && has(&second, "b"));
    write(&usual);
    assert!(first.look(&heard).is_none() && has(&first, "a"));
    write("{");
    let new = process();
    assert!(has(&new, "a") && !has(&new, "b"));
}

#[test]
fn whoever_starts_when_the_file_is_broken_serves_as_the_others_do() {
    let (dir, heard) = (Dir::new(), Heard::default());
    let path = dir.path().join("keys.json");
    let process = || {
        let settings = KeySettings {
            refresh: 1,
            max_stale: 6,
            ..of_file(&path)
        };
        loaded(&settings, dir.path())
    };
    std::fs::write(&path, jwks(&["a"])).unwrap();
    let old = process();
    // Longer than what was written at first may serve.
    let end = Instant::now() + Duration::from_secs(8);
    while Instant::now() < end {
        assert!(old.look(&heard).is_none());
        std::thread::sleep(Duration::from_millis(200));
    }
    std::fs::write(&path, "{").unwrap();
    let new = process();
    assert!(has(&new, "a") && new.usable(clock::now()));
    // It was read anew, and not changed.
    assert_eq!(heard.count("changed"), 0, "{:?}", heard.lines());
}

#[test]
fn a_document_whose_keys_are_none_is_as_good_as_absent() {
    let (dir, heard) = (Dir::new(), Arc::default());
    let server = Server::saying(ok(&jwks(&["a"])));
    let own = keys(&settings(&server.url), dir.path());
    let held = own.store.try_lock().unwrap().unwrap();
    let mut kept = Kept {
        keys: Some(KeptKeys {
            source: server.url.clone(),
            text: Arc::from("[]"),
            fetched_at: clock::now(),
        }),
        ..Kept::default()
    };
    kept.schedule.succeeded(clock::now(), own.pace(), 0);
    own.store.save(&held, &kept).unwrap();
    drop(held);
    own.load();
    let refresher = start(&own, &heard);
    assert!(own.wait_for_first(&Patience::default()));
    refresher.stop();
    assert_eq!(heard.count("store"), 1, "{:?}", heard.lines());
}

#[test]
fn keys_from_a_time_to_come_age_from_now_on() {
    let (dir, heard) = (Dir::new(), Heard::default());
    let server = Server::saying(down());
    let own = keys(&settings(&server.url), dir.path());
    let now = clock::now();
    own.fetched_at.store(now + 86_400, Ordering::Release);
    let _ = own.look(&heard);
    let counted = own.status().fetched_at.unwrap();
    assert!((now..now + 60).contains(&counted), "{counted} {now}");
}

#[test]
fn a_changed_file_is_said_once_for_the_host() {
    let (dir, heard) = (Dir::new(), Arc::default());
    let path = dir.path().join("keys.json");
    std::fs::write(&path, jwks(&["a"])).unwrap();
    let settings = of_file(&path);
    let processes: Vec<_> = (0..3).map(|_| loaded(&settings, dir.path())).collect();
    for keys in &processes {
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
