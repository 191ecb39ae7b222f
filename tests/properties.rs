//! The short fuzz run: every input that was ever kept, changes of each, and any bytes at all. Nothing
//! panics, and nothing passes without a signature that the crypto library alone finds valid.
//! The long run is tests/fuzz/run.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic
)]

#[path = "support/testkit/keys.rs"]
#[allow(dead_code)]
mod keys;
#[path = "support/testkit/mint.rs"]
mod mint;
#[path = "support/testkit/shapes.rs"]
mod shapes;
#[path = "fuzz/targets.rs"]
mod targets;

use proptest::prelude::*;
use serde_json::json;
use targets::{ALL, NOW, granted};

fn good() -> String {
    let spec = json!({
        "alg": "ES256", "kid": "es1",
        "claims": {"iss": "https://issuer.example", "sub": "dana", "ref": "main", "exp": NOW + 300, "iat": NOW, "nbf": NOW},
    });
    mint::mint(&spec, "https://issuer.example", 1).unwrap()
}

#[test]
fn a_good_token_passes_so_that_the_rest_means_something() {
    assert!(granted(good().as_bytes()).is_some());
}

#[test]
fn every_single_changed_byte_is_refused() {
    let token = good();
    for at in 0..token.len() {
        for with in *b"A_.=\0 \xff" {
            let mut changed = token.clone().into_bytes();
            if changed[at] != with {
                changed[at] = with;
                assert!(granted(&changed).is_none(), "byte {at} as {with}");
            }
        }
        let mut shorter = token.clone().into_bytes();
        shorter.remove(at);
        assert!(
            granted(&shorter).is_none() || shorter == token.as_bytes(),
            "without byte {at}"
        );
    }
}

/// How many changed inputs of a corpus are tried, so that a run stays short however much is kept.
const CHANGED: usize = 6000;

#[test]
fn the_corpora_hold() {
    for (name, target) in ALL {
        let dir = format!("{}/tests/fuzz/corpus/{name}", env!("CARGO_MANIFEST_DIR"));
        let entries = std::fs::read_dir(&dir).unwrap().flatten();
        let inputs: Vec<_> = entries
            .map(|it| std::fs::read(it.path()).unwrap())
            .collect();
        assert!(!inputs.is_empty(), "{dir} is empty");
        let bytes: usize = inputs.iter().map(Vec::len).sum();
        let step = (bytes * 3 / CHANGED).max(1);
        for data in &inputs {
            target(data);
            // And cut at each end, and with bytes changed.
            for at in (0..data.len()).step_by(step) {
                target(&data[..at]);
                target(&data[at..]);
                let mut changed = data.clone();
                changed[at] ^= 1 << (at % 8);
                target(&changed);
            }
        }
    }
}

proptest! {
    #[test]
    fn any_bytes_panic_nowhere(data in prop::collection::vec(any::<u8>(), 0..600)) {
        ALL.iter().for_each(|(_, target)| target(&data));
    }

    #[test]
    fn what_looks_like_something_panics_nowhere(text in r#"[a-z/\\.=~!|{}\[\]":,0-9 \n%;&*-]{0,80}"#) {
        ALL.iter().for_each(|(_, target)| target(text.as_bytes()));
    }

    #[test]
    fn parts_of_two_tokens_are_no_token(cut in 0usize..400, other in "[a-zA-Z0-9_.-]{0,200}") {
        let token = good();
        let cut = cut.min(token.len() - 1);
        let mixed = format!("{}{other}", &token[..cut]);
        prop_assert!(mixed == token || granted(mixed.as_bytes()).is_none());
    }
}
