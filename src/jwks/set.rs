//! A JWKS: which of an issuer's keys may have signed a token. Judges no key (that is
//! [`super::key`]) and fetches nothing.

use super::key::{Key, Unfit};
use crate::json::Value;
use crate::shown::quoted;
use crate::verdict::Reason;
use jsonwebtoken::Algorithm;
use std::fmt;
use std::sync::Arc;

/// The longest JWKS, bytes.
pub const MAX_BYTES: usize = 1024 * 1024;

/// The most keys, unfit ones included.
pub const MAX_KEYS: usize = 100;

/// The most keys that one token is tried with.
pub const MAX_CANDIDATES: usize = 16;

/// So many keys are named where another one was looked for.
const NAMED: usize = 4;

/// Why a JWKS is refused whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SetError {
    /// It has this many bytes, or more.
    TooLarge(usize),
    /// It is not JSON; the text says where.
    NotJson(String),
    /// It is not an object with an array `keys` (RFC 7517, section 5).
    NotASet,
    /// It has this many keys.
    TooManyKeys(usize),
}

impl fmt::Display for SetError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLarge(bytes) => {
                write!(
                    f,
                    "the key set has {bytes} bytes, at most {MAX_BYTES} are read"
                )
            }
            Self::NotJson(why) => write!(f, "the key set is not JSON: {why}"),
            Self::NotASet => f.write_str("the key set is not an object with an array \"keys\""),
            Self::TooManyKeys(count) => {
                write!(
                    f,
                    "the key set has {count} keys, at most {MAX_KEYS} are taken"
                )
            }
        }
    }
}

impl std::error::Error for SetError {}

/// Why no key of the set can be tried.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NoKey {
    /// No key has this `kid`; without a `kid`, none is there for the algorithm. The second: which are there.
    Unknown(Option<String>, String),
    /// The key is there and must not be used; the text says why.
    Unfit(String),
}

impl NoKey {
    /// The code for the caller.
    #[must_use]
    pub fn reason(&self) -> Reason {
        match self {
            Self::Unknown(..) => Reason::KeyUnknown,
            Self::Unfit(_) => Reason::KeyUnfit,
        }
    }
}

impl fmt::Display for NoKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unknown(Some(kid), there) => {
                write!(f, "the issuer has no key {}; {there}", quoted(kid))
            }
            Self::Unknown(None, there) => write!(
                f,
                "the token names no key, and the issuer has none for its algorithm; {there}"
            ),
            Self::Unfit(why) => f.write_str(why),
        }
    }
}

impl std::error::Error for NoKey {}

/// A key that is passed over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PassedOver {
    /// Its `kid`, where that is a string.
    pub kid: Option<String>,
    /// Why.
    pub why: Unfit,
}

/// An issuer's keys at one time.
#[derive(Debug, Default)]
pub struct KeySet {
    keys: Vec<Arc<Key>>,
    passed_over: Vec<PassedOver>,
}

/// What changes from one set to the next.
pub(super) struct Succession {
    pub(super) set: KeySet,
    pub(super) added: Vec<Arc<Key>>,
    pub(super) removed: Vec<Arc<Key>>,
}

impl KeySet {
    /// The keys of a JWKS (RFC 7517, section 5). Unfit ones are passed over, and remembered.
    ///
    /// # Errors
    ///
    /// [`SetError`] where it is refused whole.
    pub fn parse(bytes: &[u8]) -> Result<Self, SetError> {
        if bytes.len() > MAX_BYTES {
            return Err(SetError::TooLarge(bytes.len()));
        }
        let document =
            crate::json::parse(bytes).map_err(|error| SetError::NotJson(error.to_string()))?;
        let jwks = document
            .as_object()
            .and_then(|object| object.get("keys"))
            .and_then(Value::as_array)
            .ok_or(SetError::NotASet)?;
        if jwks.len() > MAX_KEYS {
            return Err(SetError::TooManyKeys(jwks.len()));
        }
        let mut set = Self::default();
        for jwk in jwks {
            match Key::from_jwk(jwk) {
                Ok(key) => set.keys.push(Arc::new(key)),
                Err(why) => {
                    let kid = jwk.member("kid").and_then(Value::as_str).map(str::to_owned);
                    set.passed_over.push(PassedOver { kid, why });
                }
            }
        }
        Ok(set)
    }

    /// The fit keys.
    #[must_use]
    pub fn keys(&self) -> &[Arc<Key>] {
        &self.keys
    }

    /// The unfit ones.
    #[must_use]
    pub fn passed_over(&self) -> &[PassedOver] {
        &self.passed_over
    }

    /// Whether a key of that name is there, fit or not: to fetch anew would bring nothing.
    #[must_use]
    pub fn knows(&self, kid: &str) -> bool {
        self.keys.iter().any(|key| key.kid() == Some(kid)) || self.unfit(kid).is_some()
    }

    /// The keys to try, at most [`MAX_CANDIDATES`] and at least one: those named `kid` that fit the
    /// algorithm, then those without a name that do; without a `kid` every one that fits it.
    ///
    /// # Errors
    ///
    /// [`NoKey`] where there is none.
    pub fn candidates(
        &self,
        kid: Option<&str>,
        algorithm: Algorithm,
    ) -> Result<Vec<Arc<Key>>, NoKey> {
        let fit = |key: &&Arc<Key>| key.verifier(algorithm).is_some();
        let Some(kid) = kid else {
            let all: Vec<_> = self
                .keys
                .iter()
                .filter(fit)
                .take(MAX_CANDIDATES)
                .cloned()
                .collect();
            return if all.is_empty() {
                Err(NoKey::Unknown(None, self.names()))
            } else {
                Ok(all)
            };
        };
        let mut same_name = self.keys.iter().filter(|key| key.kid() == Some(kid));
        let nameless = self.keys.iter().filter(|key| key.kid().is_none());
        let fitting: Vec<_> = same_name.clone().filter(fit).collect();
        if fitting.is_empty() {
            // A key of that name that must not be used is no reason to try others.
            if let Some(key) = same_name.next() {
                return Err(NoKey::Unfit(format!(
                    "key {} is for {:?}, the token says {algorithm:?}",
                    quoted(kid),
                    key.algorithms().collect::<Vec<_>>()
                )));
            }
            if let Some(why) = self.unfit(kid) {
                return Err(NoKey::Unfit(format!("key {} is unfit: {why}", quoted(kid))));
            }
        }
        let all: Vec<_> = fitting
            .into_iter()
            .chain(nameless.filter(fit))
            .take(MAX_CANDIDATES)
            .cloned()
            .collect();
        if all.is_empty() {
            return Err(NoKey::Unknown(Some(kid.to_owned()), self.names()));
        }
        Ok(all)
    }

    /// The first few names of fit keys, for the log.
    fn names(&self) -> String {
        let few = self.keys.iter().take(NAMED).map(|key| {
            key.kid()
                .map_or_else(|| "one without a name".to_owned(), quoted)
        });
        let few: Vec<_> = few.collect();
        match self.keys.len().saturating_sub(NAMED) {
            _ if few.is_empty() => "it has no key that fits".to_owned(),
            0 => format!("it has {}", few.join(", ")),
            more => format!("it has {} and {more} more", few.join(", ")),
        }
    }

    fn unfit(&self, kid: &str) -> Option<&Unfit> {
        self.passed_over
            .iter()
            .find(|passed| passed.kid.as_deref() == Some(kid))
            .map(|passed| &passed.why)
    }

    /// This set in the place of `old`: unchanged keys stay the same objects, so that what was
    /// verified with them stays good. The removed ones are still live: they are to be retired once
    /// the new set stands.
    pub(super) fn succeed(mut self, old: Option<&Self>) -> Succession {
        let old = old.map_or(&[][..], |set| &set.keys);
        let mut added = Vec::new();
        for key in &mut self.keys {
            match old.iter().find(|before| before.same_as(key)) {
                Some(before) => *key = Arc::clone(before),
                None => added.push(Arc::clone(key)),
            }
        }
        let removed = old
            .iter()
            .filter(|before| !self.keys.iter().any(|key| Arc::ptr_eq(key, before)))
            .cloned()
            .collect();
        Succession {
            set: self,
            added,
            removed,
        }
    }
}

#[cfg(test)]
mod tests;
