#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic
)]

use super::*;
use crate::jwks::testing::Dir;
use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt as _, chown};

fn store(dir: &Path) -> Store {
    Store::new(
        &StateDir::new(dir),
        "Okta/../x",
        "https://issuer.example",
        "discovery",
    )
}

fn kept() -> Kept {
    Kept {
        keys: Some(KeptKeys {
            source: "https://issuer.example/keys".to_owned(),
            text: Arc::from(r#"{"keys":[{"kid":"ä\n"}]}"#),
            fetched_at: 17,
        }),
        schedule: Schedule {
            revision: 9,
            attempted_at: 18,
            fetching: true,
            next_at: 24,
            forced_at: 11,
            failures: 2,
            error: Some("\"down\"\n".to_owned()),
        },
    }
}

fn save(store: &Store, kept: &Kept) -> Result<(), StoreError> {
    store.save(&store.try_lock().unwrap().unwrap(), kept)
}

#[test]
fn what_is_saved_is_loaded_again() {
    let dir = Dir::new();
    let store = store(dir.path());
    assert_eq!(store.load(), Ok(None));
    assert_eq!(store.stamp(), None);
    for kept in [kept(), Kept::default()] {
        save(&store, &kept).unwrap();
        assert_eq!(store.load(), Ok(Some(kept)));
    }
}

#[test]
fn the_document_is_for_its_owner_only_and_leaves_nothing_beside_it() {
    let dir = Dir::new();
    let made = dir.path().join("not/yet");
    let store = store(&made);
    save(&store, &kept()).unwrap();
    save(&store, &kept()).unwrap();
    assert_eq!(fs::metadata(&made).unwrap().mode() & 0o777, 0o700);
    let names: Vec<String> = fs::read_dir(&made)
        .unwrap()
        .map(|entry| {
            let entry = entry.unwrap();
            assert_eq!(entry.metadata().unwrap().mode() & 0o777, 0o600);
            entry.file_name().into_string().unwrap()
        })
        .collect();
    assert_eq!(names.len(), 2, "{names:?}");
    for name in names {
        assert!(name.starts_with("okta----x-"), "{name}");
    }
}

#[test]
fn each_save_has_its_own_stamp() {
    let dir = Dir::new();
    let store = store(dir.path());
    save(&store, &kept()).unwrap();
    let first = store.stamp();
    assert_eq!(store.stamp(), first);
    save(&store, &kept()).unwrap();
    assert_ne!(store.stamp(), first);
}

#[test]
fn a_damaged_document_is_not_used() {
    let dir = Dir::new();
    let store = store(dir.path());
    save(&store, &kept()).unwrap();
    let whole = fs::read(&store.document).unwrap();
    for half in [&b""[..], b"{}", b"null", &whole[..whole.len() / 2]] {
        fs::write(&store.document, half).unwrap();
        assert!(matches!(store.load(), Err(StoreError::Damaged(..))));
    }
    // The next save mends it.
    save(&store, &kept()).unwrap();
    assert_eq!(store.load(), Ok(Some(kept())));
}

#[test]
fn a_document_of_another_issuer_location_or_layout_is_not_used() {
    let dir = Dir::new();
    let store = store(dir.path());
    save(&store, &kept()).unwrap();
    let text = fs::read_to_string(&store.document).unwrap();
    for (from, to) in [
        ("\"discovery\"", "\"https://evil.example\""),
        ("issuer.example\"", "issuer.example/\""),
        ("\"layout\":1", "\"layout\":2"),
        ("\"failures\":2", "\"failures\":-2"),
        ("\"fetching\":true", "\"fetching\":1"),
    ] {
        assert!(text.contains(from), "{from} in {text}");
        fs::write(&store.document, text.replace(from, to)).unwrap();
        assert!(matches!(store.load(), Err(StoreError::Damaged(..))), "{to}");
    }
}

#[test]
fn another_issuer_or_location_has_another_place() {
    let dir = StateDir::new("/state");
    let place = |name, issuer, location| Store::new(&dir, name, issuer, location).document;
    let own = place("a", "https://a.example", "discovery");
    assert_eq!(own, place("a", "https://a.example", "discovery"));
    assert_ne!(own, place("a", "https://b.example", "discovery"));
    assert_ne!(own, place("a", "https://a.example", "https://a.example/k"));
    assert_ne!(own, place("b", "https://a.example", "discovery"));
}

#[test]
fn a_document_that_another_user_owns_is_not_used() {
    let dir = Dir::new();
    let store = store(dir.path());
    save(&store, &kept()).unwrap();
    // Only root can give a file away.
    if chown(&store.document, Some(1), None).is_ok() {
        assert!(matches!(store.load(), Err(StoreError::Exposed(_))));
        chown(&store.document, Some(0), None).unwrap();
    }
    assert_eq!(store.load().unwrap(), Some(kept()));
}

#[test]
fn a_document_that_others_can_write_is_not_used() {
    let dir = Dir::new();
    let store = store(dir.path());
    save(&store, &kept()).unwrap();
    let mode = |path: &Path, mode| fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
    for exposed in [0o620, 0o602, 0o666] {
        mode(&store.document, exposed);
        assert!(matches!(store.load(), Err(StoreError::Exposed(_))));
    }
    mode(&store.document, 0o600);
    mode(dir.path(), 0o1777);
    assert!(matches!(store.load(), Err(StoreError::Exposed(_))));
    mode(dir.path(), 0o700);
    assert!(store.load().is_ok());
}

#[test]
fn a_symbolic_link_is_not_followed() {
    let dir = Dir::new();
    let store = store(dir.path());
    save(&store, &kept()).unwrap();
    let elsewhere = dir.path().join("elsewhere");
    fs::rename(&store.document, &elsewhere).unwrap();
    std::os::unix::fs::symlink(&elsewhere, &store.document).unwrap();
    assert!(matches!(store.load(), Err(StoreError::Io(..))));
    fs::remove_file(&store.lock).unwrap();
    std::os::unix::fs::symlink(&elsewhere, &store.lock).unwrap();
    assert!(matches!(store.try_lock(), Err(StoreError::Io(..))));
}

#[test]
fn one_has_the_lock_and_nobody_waits_for_it() {
    let dir = Dir::new();
    let (one, two) = (store(dir.path()), store(dir.path()));
    let held = one.try_lock().unwrap().unwrap();
    assert!(two.try_lock().unwrap().is_none());
    assert!(one.try_lock().unwrap().is_none());
    drop(held);
    assert!(two.try_lock().unwrap().is_some());
}

#[test]
fn a_directory_that_can_not_be_is_told() {
    let dir = Dir::new();
    let file = dir.path().join("file");
    fs::write(&file, "").unwrap();
    let store = store(&file);
    assert!(matches!(store.try_lock(), Err(StoreError::Io(..))));
    assert!(matches!(store.load(), Err(StoreError::Io(..))));
}
