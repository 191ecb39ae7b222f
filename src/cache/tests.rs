//! What is found again, what makes room for what, and that the bound and the counts stay true.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic
)]

use super::*;
use crate::testing::{NOW, grant, retire};
use serde_json::json;
use std::collections::BTreeSet;

const HERE: Scope = Scope {
    server: 0,
    accept: 0,
    sender: Sender::Client,
};

/// Room for a few dozen tokens in one set of places, so that all of them compete.
const ONE_SET: usize = 2 * WAYS * USUAL_SIZE - 1;

/// A token that is known by its number.
fn token(number: usize) -> Vec<u8> {
    format!("{number:0>200}").into_bytes()
}

/// What an entry takes.
fn size(token: &[u8], grant: &Grant) -> usize {
    size_of::<Entry>() + token.len() + grant.size()
}

/// Which of the tokens 0 to 99 are kept.
fn kept(cache: &Cache, now: u64) -> Vec<usize> {
    (0..100)
        .filter(|number| cache.get(&token(*number), HERE, now).is_some())
        .collect()
}

/// That the counts are what stands in the places.
fn assert_counts(cache: &Cache) {
    let all: Vec<_> = cache
        .places
        .iter()
        .filter_map(|it| it.load_full())
        .collect();
    assert_eq!(cache.entries(), all.len());
    assert_eq!(cache.bytes(), all.iter().map(|it| it.size).sum::<usize>());
    assert!(cache.bytes() <= cache.bound);
}

#[test]
fn the_same_token_in_the_same_scope_is_found() {
    let cache = Cache::new(ONE_SET);
    let it = grant(json!({}));
    let scope = Scope {
        server: 1,
        accept: 2,
        sender: Sender::Client,
    };
    assert!(cache.get(&token(1), scope, NOW).is_none());
    cache.put(&token(1), scope, &it, NOW);
    let found = cache.get(&token(1), scope, NOW).unwrap();
    assert!(Arc::ptr_eq(&found, &it));
    for (server, accept) in [(0, 2), (1, 0), (2, 1), (1, 3), (2, 2)] {
        let other = Scope {
            server,
            accept,
            sender: Sender::Client,
        };
        assert!(cache.get(&token(1), other, NOW).is_none(), "{other:?}");
    }
}

#[test]
fn a_token_that_differs_in_one_byte_is_not_found() {
    let cache = Cache::new(ONE_SET);
    let mine = token(1);
    cache.put(&mine, HERE, &grant(json!({})), NOW);
    for at in 0..mine.len() {
        let mut other = mine.clone();
        other[at] ^= 1;
        assert!(cache.get(&other, HERE, NOW).is_none(), "byte {at}");
    }
    assert!(cache.get(&mine[1..], HERE, NOW).is_none());
    assert!(cache.get(&[b"0", &*mine].concat(), HERE, NOW).is_none());
    assert!(cache.get(b"", HERE, NOW).is_none());
    assert_eq!(kept(&cache, NOW), [1]);
}

#[test]
fn what_no_longer_holds_is_not_found() {
    let cache = Cache::new(ONE_SET);
    cache.put(&token(1), HERE, &grant(json!({"exp": NOW + 300})), NOW);
    let dying = grant(json!({"exp": NOW + 999}));
    cache.put(&token(2), HERE, &dying, NOW);
    assert_eq!(kept(&cache, NOW + 329), [1, 2]);
    assert_eq!(kept(&cache, NOW + 330), [2]);
    retire(dying.identity());
    assert_eq!(kept(&cache, NOW), [1]);
}

#[test]
fn the_same_token_replaces_itself() {
    let cache = Cache::new(ONE_SET);
    let [old, new] = [json!({}), json!({"more": "claims"})].map(grant);
    let other = Scope {
        server: 1,
        accept: 0,
        sender: Sender::Client,
    };
    cache.put(&token(1), other, &old, NOW);
    cache.put(&token(1), HERE, &old, NOW);
    cache.put(&token(1), HERE, &new, NOW);
    assert!(Arc::ptr_eq(&cache.get(&token(1), HERE, NOW).unwrap(), &new));
    assert!(Arc::ptr_eq(
        &cache.get(&token(1), other, NOW).unwrap(),
        &old
    ));
    assert_eq!(cache.entries(), 2);
    assert_eq!(cache.bytes(), size(&token(1), &old) + size(&token(1), &new));
    assert_counts(&cache);
}

#[test]
fn tokens_of_one_signature_do_not_replace_each_other() {
    let cache = Cache::new(ONE_SET);
    let it = grant(json!({}));
    // No two tokens share an end; were there some, each would be its own.
    let [one, two] = ["1", "2"].map(|head| [head.as_bytes(), &token(0)].concat());
    cache.put(&one, HERE, &it, NOW);
    cache.put(&two, HERE, &it, NOW);
    assert!(cache.get(&one, HERE, NOW).is_some());
    assert!(cache.get(&two, HERE, NOW).is_some());
}

#[test]
fn an_empty_place_comes_first() {
    let cache = Cache::new(ONE_SET);
    let (lasting, ending) = (grant(json!({"exp": NOW + 900})), grant(json!({})));
    cache.put(&token(0), HERE, &ending, NOW);
    for number in 1..WAYS {
        cache.put(&token(number), HERE, &lasting, NOW + 400);
    }
    assert_eq!(cache.entries(), WAYS);
    assert_counts(&cache);
}

#[test]
fn what_no_longer_holds_goes_before_what_was_used_longest_ago() {
    let cache = Cache::new(ONE_SET);
    let (lasting, ending) = (grant(json!({"exp": NOW + 900})), grant(json!({})));
    for number in 0..WAYS {
        let it = if number == 5 { &ending } else { &lasting };
        cache.put(&token(number), HERE, it, NOW + number as u64);
    }
    cache.put(&token(50), HERE, &lasting, NOW + 400);
    assert_eq!(kept(&cache, NOW + 400), [0, 1, 2, 3, 4, 6, 7, 50]);
    assert_counts(&cache);
    // It was not only passed over.
    assert!(cache.get(&token(5), HERE, NOW).is_none());
}

#[test]
fn what_was_used_longest_ago_goes() {
    let cache = Cache::new(ONE_SET);
    let it = grant(json!({}));
    for number in 0..WAYS {
        cache.put(&token(number), HERE, &it, NOW + number as u64);
    }
    assert!(cache.get(&token(0), HERE, NOW + 50).is_some());
    assert!(cache.get(&token(2), HERE, NOW + 51).is_some());
    cache.put(&token(50), HERE, &it, NOW + 60);
    cache.put(&token(51), HERE, &it, NOW + 60);
    assert_eq!(kept(&cache, NOW + 60), [0, 2, 4, 5, 6, 7, 50, 51]);
    assert_counts(&cache);
}

#[test]
fn what_is_larger_than_the_bound_is_not_kept() {
    let it = grant(json!({}));
    let size = size(&token(1), &it);
    for (bound, wanted) in [(0, 0), (size - 1, 0), (size, 1), (2 * size - 1, 1)] {
        let cache = Cache::new(bound);
        cache.put(&token(1), HERE, &it, NOW);
        assert_eq!(cache.entries(), wanted, "{bound}");
        assert_counts(&cache);
    }
}

#[test]
fn the_bound_in_bytes_holds_and_no_more_goes_than_must() {
    let it = grant(json!({"text": "x".repeat(3000)}));
    let size = size(&token(0), &it);
    for bound in [5 * size, 6 * size - 1, 40 * size] {
        let cache = Cache::new(bound);
        let most = bound / size;
        for number in 0..100 {
            cache.put(&token(number), HERE, &it, NOW + number as u64);
            assert_counts(&cache);
        }
        assert!(cache.bytes() <= bound);
        // A set may be full before the bound is reached, so that not every byte is used.
        let least = if most > WAYS { most / 2 } else { most };
        assert!(cache.entries() >= least, "{} of {most}", cache.entries());
    }
}

#[test]
fn its_gauge_is_the_sum_of_the_children_s_entries() {
    let gauge: &'static AtomicUsize = Box::leak(Box::default());
    let [one, two] = [0, 1].map(|_| Cache::new(ONE_SET).counted_by(Some(gauge)));
    let it = grant(json!({}));
    for number in 0..3 {
        one.put(&token(number), HERE, &it, NOW);
    }
    for number in 0..20 {
        two.put(&token(number), HERE, &it, NOW);
        two.put(&token(number), HERE, &it, NOW);
    }
    assert_eq!(one.entries(), 3);
    assert_eq!(two.entries(), WAYS);
    assert_eq!(gauge.load(Relaxed), 3 + WAYS);
    let uncounted = Cache::new(ONE_SET).counted_by(None);
    uncounted.put(&token(1), HERE, &it, NOW);
    assert_eq!(gauge.load(Relaxed), 3 + WAYS);
}

#[test]
fn it_has_places_for_usual_tokens_up_to_the_bound() {
    let set = WAYS * USUAL_SIZE;
    for (bound, places) in [
        (0, WAYS),
        (set, WAYS),
        (2 * set - 1, WAYS),
        (2 * set, 2 * WAYS),
        (3 * set, 4 * WAYS),
        (16 << 20, 4096),
    ] {
        assert_eq!(Cache::new(bound).places.len(), places, "{bound}");
    }
}

#[test]
fn each_hash_has_one_whole_set_of_places() {
    let cache = Cache::new(4 * WAYS * USUAL_SIZE);
    let start = cache.places.as_ptr().addr();
    let width = size_of::<ArcSwapOption<Entry>>();
    let mut seen = BTreeSet::new();
    for number in 0..64 {
        for hash in [number << 32, number << 32 | 0xffff_ffff] {
            let set = cache.set(hash);
            assert_eq!(set.len(), WAYS);
            let at = (set.as_ptr().addr() - start) / width;
            assert_eq!(at, number as usize % 4 * WAYS);
            seen.insert(at);
        }
    }
    assert_eq!(seen.len(), 4);
}

#[test]
fn a_place_is_chosen_by_the_token_s_end_and_the_scope() {
    let cache = Cache::new(ONE_SET);
    let hash = |text: &[u8]| cache.hash(text, HERE);
    let end = [7; HASHED];
    assert_eq!(hash(&[&[1][..], &end].concat()), hash(&end));
    assert_ne!(hash(&end), hash(&end[1..]));
    let hashes: BTreeSet<_> = (0..100).map(|number| hash(&token(number))).collect();
    assert_eq!(hashes.len(), 100);
    let other = Scope {
        server: 0,
        accept: 1,
        sender: Sender::Client,
    };
    assert_ne!(hash(&end), cache.hash(&end, other));
}
