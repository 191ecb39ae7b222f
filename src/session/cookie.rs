//! Secrets that a browser holds: 256 random bits, and a code with GateSessionKey over them and the
//! server's name. A value whose code is wrong is told without a look into the store.

use crate::seal::{CODE, Key, Keys, Purpose, random};
use crate::store::{Kind, Name};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;

/// Bytes of a secret.
const SECRET: usize = 32;
/// Characters of a value.
pub const LENGTH: usize = (SECRET + CODE) * 4 / 3;

/// A secret whose code was right: what it opens, and what it is called.
pub struct Handle<'k> {
    key: &'k Key,
    secret: [u8; SECRET],
    server: String,
}

impl<'k> Handle<'k> {
    /// A new secret and its value. `purpose`: which cookie; `server`: ServerName without its port.
    #[must_use]
    pub fn new(keys: &'k Keys, purpose: Purpose, server: &str) -> (Self, String) {
        let (key, secret) = (keys.first(), random());
        let server = server.to_ascii_lowercase();
        let code = key.code(purpose, &[&secret, server.as_bytes()]);
        let value = BASE64.encode([&secret[..], &code[..]].concat());
        let handle = Self {
            key,
            secret,
            server,
        };
        (handle, value)
    }

    /// The secret of a value; `None`: it is none of that purpose and server, or of no key here.
    #[must_use]
    pub fn read(keys: &'k Keys, purpose: Purpose, server: &str, value: &[u8]) -> Option<Self> {
        if value.len() != LENGTH {
            return None;
        }
        let bytes = BASE64.decode(value).ok()?;
        let (secret, code) = bytes.split_first_chunk::<SECRET>()?;
        let server = server.to_ascii_lowercase();
        let key = keys.of_code(purpose, &[secret, server.as_bytes()], code)?;
        Some(Self {
            key,
            secret: *secret,
            server,
        })
    }

    /// The session's number, for lists and logs. No cookie can be made from it.
    #[must_use]
    pub fn number(&self) -> [u8; CODE] {
        self.key.code(Purpose::SessionNumber, &self.parts())
    }

    /// The name of a value of that kind about this secret.
    #[must_use]
    pub fn name(&self, kind: Kind) -> Name {
        let [secret, server] = self.parts();
        let parts = [kind.name().as_bytes(), secret, server];
        Name {
            kind,
            hash: self.key.code(Purpose::StoreName, &parts),
        }
    }

    /// Seals a record, so that this secret and the key open it together.
    #[must_use]
    pub fn seal(&self, record: &[u8]) -> Option<Vec<u8>> {
        self.key.seal(Purpose::Record, &self.parts(), record)
    }

    /// Opens a record.
    #[must_use]
    pub fn open(&self, sealed: &[u8]) -> Option<Vec<u8>> {
        self.key.open(Purpose::Record, &self.parts(), sealed)
    }

    /// What is derived from: the secret, then the server's name.
    #[must_use]
    pub fn parts(&self) -> [&[u8]; 2] {
        [&self.secret, self.server.as_bytes()]
    }

    /// The key whose code the value holds.
    #[must_use]
    pub const fn key(&self) -> &'k Key {
        self.key
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing)]
mod tests {
    use super::*;

    fn keys(first: u8, others: &[u8]) -> Keys {
        let key = |seed: &u8| Key::new(&(0..32).map(|at| at ^ seed).collect::<Vec<u8>>()).unwrap();
        Keys::new(key(&first), others.iter().map(key).collect())
    }

    #[test]
    fn a_value_is_read_with_its_purpose_server_and_key_alone() {
        let (keys_1, keys_2, keys_2_1) = (keys(1, &[]), keys(2, &[]), keys(2, &[1]));
        let (handle, value) = Handle::new(&keys_1, Purpose::SessionCookie, "Gate.example");
        assert_eq!(value.len(), LENGTH);
        let read = |keys, purpose, server, value: &str| {
            Handle::read(keys, purpose, server, value.as_bytes()).map(|it| it.number())
        };
        let good = Some(handle.number());
        let session = Purpose::SessionCookie;
        assert_eq!(read(&keys_1, session, "gate.example", &value), good);
        assert_eq!(read(&keys_1, session, "other.example", &value), None);
        assert_eq!(
            read(&keys_1, Purpose::LoginCookie, "gate.example", &value),
            None
        );
        assert_eq!(read(&keys_2, session, "gate.example", &value), None);
        assert_eq!(read(&keys_2_1, session, "gate.example", &value), good);
        for at in 0..value.len() {
            let mut bytes = value.clone().into_bytes();
            bytes[at] = if bytes[at] == b'A' { b'B' } else { b'A' };
            let changed = String::from_utf8(bytes).unwrap();
            assert_eq!(read(&keys_1, session, "gate.example", &changed), None);
        }
        for odd in [
            "",
            "a",
            &value[1..],
            &format!("{value}="),
            &format!("{value}A"),
        ] {
            assert_eq!(read(&keys_1, session, "gate.example", odd), None, "{odd}");
        }
    }

    #[test]
    fn a_record_opens_with_its_own_secret_alone() {
        let keys = keys(1, &[]);
        let (one, _) = Handle::new(&keys, Purpose::SessionCookie, "gate.example");
        let (two, _) = Handle::new(&keys, Purpose::SessionCookie, "gate.example");
        let sealed = one.seal(b"record").unwrap();
        assert_eq!(one.open(&sealed).unwrap(), b"record");
        assert_eq!(two.open(&sealed), None);
        assert_ne!(one.name(Kind::Session), two.name(Kind::Session));
        assert_ne!(one.name(Kind::Session).hash, one.name(Kind::Lease).hash);
        assert_ne!(one.number(), two.number());
    }
}
