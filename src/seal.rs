//! What only gates with the same GateSessionKey can read or make: sealed values (AES-256-GCM),
//! codes (HMAC-SHA256) and secrets that both sides of a request can make again (HKDF-SHA256,
//! RFC 5869). Each use has its own [`Purpose`]: what was made for one is never good for another.

use aws_lc_rs::aead::{AES_256_GCM, Aad, MAX_TAG_LEN, NONCE_LEN, Nonce, RandomizedNonceKey};
use aws_lc_rs::{constant_time, digest, hkdf, hmac, rand};
use std::fmt;
use std::path::Path;

/// The fewest bytes of a key file.
const SHORTEST: usize = 32;
/// The most.
const LONGEST: usize = 4096;
/// Bytes of a code.
pub const CODE: usize = 16;
/// Which key sealed a value: the first bytes of it.
const NAME: usize = 4;

/// What a derived key is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// The code in a session cookie.
    SessionCookie,
    /// The code in the login cookie.
    LoginCookie,
    /// The number of a session, which lists and logs show.
    SessionNumber,
    /// The name of a record in the store.
    StoreName,
    /// A session's record.
    Record,
    /// What the list of sessions shows of one.
    Listing,
    /// A mark: a session that was ended.
    Mark,
    /// `state` of an authorization request.
    State,
    /// `nonce` of an authorization request.
    Nonce,
    /// The PKCE verifier of an authorization request.
    Verifier,
    /// The token of a form on a page of the gate.
    Form,
    /// Which person a cookie of the upstream was set for.
    BoundCookie,
}

impl Purpose {
    const fn label(self) -> &'static [u8] {
        match self {
            Self::SessionCookie => b"session cookie",
            Self::LoginCookie => b"login cookie",
            Self::SessionNumber => b"session number",
            Self::StoreName => b"store name",
            Self::Record => b"record",
            Self::Listing => b"listing",
            Self::Mark => b"mark",
            Self::State => b"state",
            Self::Nonce => b"nonce",
            Self::Verifier => b"verifier",
            Self::Form => b"form",
            Self::BoundCookie => b"bound cookie",
        }
    }
}

/// Why a key file can't be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum UnfitKey {
    /// The system's words.
    Io(String),
    /// Fewer than 32 bytes.
    Short(usize),
    /// One byte again and again, as of /dev/zero.
    Plain,
}

impl fmt::Display for UnfitKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io(why) => f.write_str(why),
            Self::Short(len) => write!(
                f,
                "it holds {len} bytes, {SHORTEST} or more are needed: head -c 32 /dev/urandom"
            ),
            Self::Plain => f.write_str("all its bytes are the same: head -c 32 /dev/urandom"),
        }
    }
}

/// One GateSessionKey.
pub struct Key {
    root: hkdf::Prk,
    name: [u8; NAME],
}

struct Len(usize);

impl hkdf::KeyType for Len {
    fn len(&self) -> usize {
        self.0
    }
}

impl Key {
    /// A key of these bytes.
    ///
    /// # Errors
    /// They are too few, or no secret.
    pub fn new(bytes: &[u8]) -> Result<Self, UnfitKey> {
        if bytes.len() < SHORTEST {
            return Err(UnfitKey::Short(bytes.len()));
        }
        if bytes.windows(2).all(|it| it.first() == it.last()) {
            return Err(UnfitKey::Plain);
        }
        let salt = hkdf::Salt::new(hkdf::HKDF_SHA256, b"mod_gitlab_gate GateSessionKey");
        let root = salt.extract(bytes);
        let mut name = [0; NAME];
        let hash = digest::digest(&digest::SHA256, bytes);
        let hash = digest::digest(&digest::SHA256, hash.as_ref());
        name.iter_mut()
            .zip(hash.as_ref())
            .for_each(|(to, from)| *to = *from);
        Ok(Self { root, name })
    }

    /// 32 bytes that this key alone gives for the purpose and these parts.
    #[must_use]
    pub fn secret(&self, purpose: Purpose, parts: &[&[u8]]) -> [u8; 32] {
        // Each part with its length before it: ("ab", "c") is not ("a", "bc").
        let mut info = Vec::with_capacity(64);
        for part in [&[purpose.label()], parts].concat() {
            info.extend_from_slice(&(part.len() as u64).to_be_bytes());
            info.extend_from_slice(part);
        }
        let mut bytes = [0; 32];
        let filled = self
            .root
            .expand(&[&info], Len(bytes.len()))
            .and_then(|it| it.fill(&mut bytes));
        // HKDF gives up to 255 * 32 bytes (RFC 5869, section 2.3). A key of zeroes is never used.
        if filled.is_err() {
            unreachable!("HKDF gives 32 bytes");
        }
        bytes
    }

    /// A code over the parts.
    #[must_use]
    pub fn code(&self, purpose: Purpose, parts: &[&[u8]]) -> [u8; CODE] {
        let key = hmac::Key::new(hmac::HMAC_SHA256, &self.secret(purpose, &[]));
        let mut context = hmac::Context::with_key(&key);
        for part in parts {
            context.update(&(part.len() as u64).to_be_bytes());
            context.update(part);
        }
        let mut code = [0; CODE];
        let tag = context.sign();
        code.iter_mut()
            .zip(tag.as_ref())
            .for_each(|(to, from)| *to = *from);
        code
    }

    /// Whether the code is that of the parts. Takes the same time whatever differs.
    #[must_use]
    pub fn code_fits(&self, purpose: Purpose, parts: &[&[u8]], code: &[u8]) -> bool {
        constant_time::verify_slices_are_equal(&self.code(purpose, parts), code).is_ok()
    }

    /// Seals a text. Only [`Key::open`] with the same purpose and parts gives it back.
    #[must_use]
    pub fn seal(&self, purpose: Purpose, parts: &[&[u8]], text: &[u8]) -> Option<Vec<u8>> {
        let key = self.sealing(purpose, parts)?;
        let mut body = text.to_vec();
        let nonce = key
            .seal_in_place_append_tag(Aad::from(self.name), &mut body)
            .ok()?;
        let mut sealed = Vec::with_capacity(NAME + NONCE_LEN + body.len());
        sealed.extend_from_slice(&self.name);
        sealed.extend_from_slice(nonce.as_ref());
        sealed.append(&mut body);
        Some(sealed)
    }

    /// The text of a sealed value; `None`: another key, purpose or parts, or it was changed.
    #[must_use]
    pub fn open(&self, purpose: Purpose, parts: &[&[u8]], sealed: &[u8]) -> Option<Vec<u8>> {
        let (nonce, body) = sealed
            .strip_prefix(&self.name)?
            .split_at_checked(NONCE_LEN)?;
        if body.len() < MAX_TAG_LEN {
            return None;
        }
        let key = self.sealing(purpose, parts)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
        let mut body = body.to_vec();
        let text = key.open_in_place(nonce, Aad::from(self.name), &mut body);
        let len = text.ok()?.len();
        body.truncate(len);
        Some(body)
    }

    fn sealing(&self, purpose: Purpose, parts: &[&[u8]]) -> Option<RandomizedNonceKey> {
        RandomizedNonceKey::new(&AES_256_GCM, &self.secret(purpose, parts)).ok()
    }
}

/// All GateSessionKeys of a configuration: the first seals, all of them open.
pub struct Keys {
    first: Key,
    others: Vec<Key>,
}

impl Keys {
    /// `first` seals.
    #[must_use]
    pub const fn new(first: Key, others: Vec<Key>) -> Self {
        Self { first, others }
    }

    /// The key that seals.
    #[must_use]
    pub const fn first(&self) -> &Key {
        &self.first
    }

    /// All keys, the first first.
    pub fn all(&self) -> impl Iterator<Item = &Key> {
        std::iter::once(&self.first).chain(&self.others)
    }

    /// Seals with the first key.
    #[must_use]
    pub fn seal(&self, purpose: Purpose, parts: &[&[u8]], text: &[u8]) -> Option<Vec<u8>> {
        self.first.seal(purpose, parts, text)
    }

    /// Opens with whichever key sealed, and says which.
    #[must_use]
    pub fn open(
        &self,
        purpose: Purpose,
        parts: &[&[u8]],
        sealed: &[u8],
    ) -> Option<(&Key, Vec<u8>)> {
        self.all()
            .find_map(|it| Some((it, it.open(purpose, parts, sealed)?)))
    }

    /// The key whose code this is.
    #[must_use]
    pub fn of_code(&self, purpose: Purpose, parts: &[&[u8]], code: &[u8]) -> Option<&Key> {
        self.all().find(|it| it.code_fits(purpose, parts, code))
    }
}

/// Reads a key file: 32 bytes or more, whatever they are.
///
/// # Errors
/// See [`UnfitKey`].
pub fn read(path: &Path) -> Result<Key, UnfitKey> {
    let bytes =
        crate::file::read(path, LONGEST).map_err(|wrong| UnfitKey::Io(wrong.to_string()))?;
    Key::new(&bytes)
}

/// Random bytes.
#[must_use]
pub fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    // aws-lc's generator ends the process rather than fail. Bytes of zeroes are never used.
    if rand::fill(&mut bytes).is_err() {
        unreachable!("aws-lc gives random bytes");
    }
    bytes
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing)]
mod tests {
    use super::*;

    fn key(byte: u8) -> Key {
        let bytes: Vec<u8> = (0..32).map(|at| at ^ byte).collect();
        Key::new(&bytes).unwrap()
    }

    #[test]
    fn what_was_sealed_opens_with_the_same_key_purpose_and_parts_alone() {
        let (key, other) = (key(1), key(2));
        let parts: &[&[u8]] = &[b"cookie", b"server"];
        let sealed = key.seal(Purpose::Record, parts, b"text").unwrap();
        assert_eq!(key.open(Purpose::Record, parts, &sealed).unwrap(), b"text");
        assert!(other.open(Purpose::Record, parts, &sealed).is_none());
        assert!(key.open(Purpose::State, parts, &sealed).is_none());
        assert!(
            key.open(Purpose::Record, &[b"cookies", b"erver"], &sealed)
                .is_none()
        );
        assert!(key.open(Purpose::Record, &[b"cookie"], &sealed).is_none());
        for at in 0..sealed.len() {
            let mut changed = sealed.clone();
            changed[at] ^= 1;
            assert!(key.open(Purpose::Record, parts, &changed).is_none(), "{at}");
            assert!(key.open(Purpose::Record, parts, &sealed[..at]).is_none());
        }
        assert_ne!(sealed, key.seal(Purpose::Record, parts, b"text").unwrap());
    }

    #[test]
    fn a_code_is_that_of_one_key_purpose_and_list_of_parts() {
        let (key, other) = (key(1), key(2));
        let code = key.code(Purpose::SessionCookie, &[b"ab", b"c"]);
        assert!(key.code_fits(Purpose::SessionCookie, &[b"ab", b"c"], &code));
        assert!(!key.code_fits(Purpose::SessionCookie, &[b"a", b"bc"], &code));
        assert!(!key.code_fits(Purpose::LoginCookie, &[b"ab", b"c"], &code));
        assert!(!other.code_fits(Purpose::SessionCookie, &[b"ab", b"c"], &code));
        assert!(!key.code_fits(Purpose::SessionCookie, &[b"ab", b"c"], &code[..8]));
        assert!(!key.code_fits(Purpose::SessionCookie, &[b"ab", b"c"], b""));
    }

    #[test]
    fn all_keys_open_what_the_first_of_another_list_sealed() {
        let before = Keys::new(key(1), vec![]);
        let after = Keys::new(key(2), vec![key(1)]);
        let sealed = before.seal(Purpose::State, &[], b"x").unwrap();
        assert_eq!(after.open(Purpose::State, &[], &sealed).unwrap().1, b"x");
        let code = before.first().code(Purpose::Form, &[b"x"]);
        assert!(after.of_code(Purpose::Form, &[b"x"], &code).is_some());
        assert!(after.of_code(Purpose::Form, &[b"y"], &code).is_none());
        let sealed = after.seal(Purpose::State, &[], b"x").unwrap();
        assert!(before.open(Purpose::State, &[], &sealed).is_none());
    }

    #[test]
    fn a_key_is_long_and_no_row_of_one_byte() {
        assert_eq!(Key::new(&[7; 31]).err(), Some(UnfitKey::Short(31)));
        assert_eq!(Key::new(&[7; 64]).err(), Some(UnfitKey::Plain));
        assert_eq!(Key::new(b"").err(), Some(UnfitKey::Short(0)));
    }
}
