//! One sign-in on its way. Nothing of it is kept on the server: `state` is sealed with
//! GateSessionKey for the browser's login cookie, and `nonce` and PKCE verifier (RFC 7636) are
//! derived from both. So any gate with the key can finish what another one began, one cookie serves
//! all tabs, and neither the browser nor who has the key alone can make a verifier.

use crate::json::{self, Value};
use crate::seal::{Key, Keys, Purpose};
use crate::session::cookie::Handle;
use aws_lc_rs::digest;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
use serde_json::json;

/// How long a `state` is good, seconds.
pub const LIFE: u64 = 3600;
/// The longest `state` that is read.
const LONGEST: usize = 4096;

/// What a `state` says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attempt {
    /// The issuer's name in the configuration.
    pub issuer: String,
    /// The page to go on to.
    pub page: String,
    /// When it began, seconds since the epoch.
    pub begin: u64,
    /// It follows an attempt that failed: there is no third one.
    pub second: bool,
}

/// An attempt with what goes into its authorization request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Begun {
    /// `state`
    pub state: String,
    /// `nonce`
    pub nonce: String,
    /// `code_challenge`, method S256.
    pub challenge: String,
}

/// An attempt that came back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Returned {
    /// What it says.
    pub attempt: Attempt,
    /// The `nonce` that the ID token must hold.
    pub nonce: String,
    /// `code_verifier`
    pub verifier: String,
}

/// Why a `state` is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unfit {
    /// Not one of this browser, or of no key here.
    Foreign,
    /// Begun over an hour ago.
    Old,
}

fn derived(key: &Key, purpose: Purpose, login: &Handle<'_>, state: &str) -> String {
    let [secret, server] = login.parts();
    BASE64.encode(key.secret(purpose, &[secret, server, state.as_bytes()]))
}

impl Attempt {
    /// Begins it for the browser of that login cookie. `None`: it can't be sealed.
    #[must_use]
    pub fn begin(&self, keys: &Keys, login: &Handle<'_>) -> Option<Begun> {
        let text = json!({
            "i": self.issuer, "p": self.page, "t": self.begin, "s": self.second,
        });
        let sealed = keys.seal(Purpose::State, &login.parts(), text.to_string().as_bytes())?;
        let state = BASE64.encode(sealed);
        let key = keys.first();
        let verifier = derived(key, Purpose::Verifier, login, &state);
        let hash = digest::digest(&digest::SHA256, verifier.as_bytes());
        Some(Begun {
            nonce: derived(key, Purpose::Nonce, login, &state),
            challenge: BASE64.encode(hash),
            state,
        })
    }

    /// The attempt of a `state` that came back.
    ///
    /// # Errors
    /// See [`Unfit`].
    pub fn back(
        state: &[u8],
        keys: &Keys,
        login: &Handle<'_>,
        now: u64,
    ) -> Result<Returned, Unfit> {
        let (key, attempt) = Self::open(state, keys, login).ok_or(Unfit::Foreign)?;
        if now >= attempt.begin.saturating_add(LIFE) {
            return Err(Unfit::Old);
        }
        let state = std::str::from_utf8(state).map_err(|_| Unfit::Foreign)?;
        Ok(Returned {
            nonce: derived(key, Purpose::Nonce, login, state),
            verifier: derived(key, Purpose::Verifier, login, state),
            attempt,
        })
    }

    fn open<'k>(state: &[u8], keys: &'k Keys, login: &Handle<'_>) -> Option<(&'k Key, Self)> {
        if state.len() > LONGEST {
            return None;
        }
        let sealed = BASE64.decode(state).ok()?;
        let (key, text) = keys.open(Purpose::State, &login.parts(), &sealed)?;
        let all = json::parse(&text).ok()?;
        let text = |name: &str| all.get(name).and_then(Value::as_str).map(str::to_owned);
        let attempt = Self {
            issuer: text("i")?,
            page: text("p")?,
            begin: all.get("t")?.as_u64()?,
            second: all.get("s")?.as_bool()?,
        };
        Some((key, attempt))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing)]
mod tests {
    use super::*;

    const NOW: u64 = 1_800_000_000;

    fn keys(first: u8, others: &[u8]) -> Keys {
        let key = |seed: &u8| Key::new(&(0..32).map(|at| at ^ seed).collect::<Vec<u8>>()).unwrap();
        Keys::new(key(&first), others.iter().map(key).collect())
    }

    fn attempt() -> Attempt {
        Attempt {
            issuer: "corp".into(),
            page: "/shop/orders?a=b".into(),
            begin: NOW,
            second: false,
        }
    }

    #[test]
    fn an_attempt_comes_back_to_the_browser_that_began_it() {
        let keys_1 = keys(1, &[]);
        let (login, _) = Handle::new(&keys_1, Purpose::LoginCookie, "gate.example");
        let (other, _) = Handle::new(&keys_1, Purpose::LoginCookie, "gate.example");
        let begun = attempt().begin(&keys_1, &login).unwrap();
        let back = Attempt::back(begun.state.as_bytes(), &keys_1, &login, NOW + 9).unwrap();
        assert_eq!(back.attempt, attempt());
        assert_eq!(back.nonce, begun.nonce);
        let hash = digest::digest(&digest::SHA256, back.verifier.as_bytes());
        assert_eq!(BASE64.encode(hash), begun.challenge);
        assert_ne!(back.verifier, back.nonce);
        assert!((43..=128).contains(&back.verifier.len()));
        let state = begun.state.as_bytes();
        assert_eq!(
            Attempt::back(state, &keys_1, &other, NOW),
            Err(Unfit::Foreign)
        );
        assert_eq!(
            Attempt::back(state, &keys_1, &login, NOW + LIFE),
            Err(Unfit::Old)
        );
        let rotated = keys(2, &[1]);
        assert_eq!(Attempt::back(state, &rotated, &login, NOW), Ok(back));
        assert_eq!(
            Attempt::back(state, &keys(2, &[]), &login, NOW),
            Err(Unfit::Foreign)
        );
    }

    #[test]
    fn a_state_that_was_changed_is_foreign() {
        let keys = keys(1, &[]);
        let (login, _) = Handle::new(&keys, Purpose::LoginCookie, "gate.example");
        let state = attempt().begin(&keys, &login).unwrap().state;
        let back = |state: &[u8]| Attempt::back(state, &keys, &login, NOW);
        for at in 0..state.len() {
            let mut bytes = state.clone().into_bytes();
            bytes[at] = if bytes[at] == b'A' { b'B' } else { b'A' };
            assert_eq!(back(&bytes), Err(Unfit::Foreign), "{at}");
            assert_eq!(back(&state.as_bytes()[..at]), Err(Unfit::Foreign));
        }
        assert_eq!(back(&[b'A'; 5000]), Err(Unfit::Foreign));
    }

    #[test]
    fn each_attempt_has_its_own_nonce_and_verifier() {
        let keys = keys(1, &[]);
        let (login, _) = Handle::new(&keys, Purpose::LoginCookie, "gate.example");
        let [one, two] = [(); 2].map(|()| attempt().begin(&keys, &login).unwrap());
        assert_ne!(one.state, two.state);
        assert_ne!(one.nonce, two.nonce);
        assert_ne!(one.challenge, two.challenge);
    }

    #[test]
    fn a_state_with_the_longest_page_stays_below_what_an_issuer_takes() {
        let keys = keys(1, &[]);
        let (login, _) = Handle::new(&keys, Purpose::LoginCookie, "gate.example");
        let it = Attempt {
            page: format!("/{}", "a".repeat(1023)),
            ..attempt()
        };
        assert!(it.begin(&keys, &login).unwrap().state.len() < 1600);
    }
}
