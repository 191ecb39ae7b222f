//! What the store holds of a session, sealed by the secret in the cookie: claims and where they came
//! from, times, and the tokens that a check or a sign-out needs. Roles are not in it: they are
//! computed from the claims by the configuration that runs.

use crate::json::{self, Object, Value};
use crate::verify::Vouched;
use serde_json::json;

/// The format. A record of another one is no session.
const VERSION: u64 = 1;
/// The longest record, bytes.
pub const LONGEST: usize = 16 << 10;

/// A session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Rises with each write: one older than a process has seen is not taken.
    pub serial: u64,
    /// The issuer's name in the configuration.
    pub issuer: String,
    /// Its URL, kind and client when the session was made: where one has changed, the session has ended.
    pub made_with: [String; 3],
    /// `sub`.
    pub subject: String,
    /// The issuer's own session (`sid`).
    pub sid: Option<String>,
    /// `iat` of the ID token of the sign-in: what a logout token is compared with.
    pub issued: u64,
    /// The claims.
    pub claims: Object,
    /// The ID token, a hint at sign-out.
    pub id_token: String,
    /// The access token, and when it ends.
    pub access_token: Option<(String, u64)>,
    /// The refresh token.
    pub refresh_token: Option<String>,
    /// When it began, seconds since the epoch, as all times here.
    pub begin: u64,
    /// The last check that succeeded.
    pub checked: u64,
}

impl Record {
    /// The claims, as the issuer vouched for them at the sign-in or at the last check.
    #[must_use]
    pub fn vouched(&self) -> Vouched {
        Vouched::of_record(self.claims.clone())
    }

    /// The record as bytes; `None`: it is too long.
    #[must_use]
    pub fn to_bytes(&self) -> Option<Vec<u8>> {
        let text = json!({
            "v": VERSION, "n": self.serial, "issuer": self.issuer, "made_with": self.made_with,
            "sub": self.subject, "sid": self.sid, "iat": self.issued, "claims": self.claims,
            "id_token": self.id_token, "access_token": self.access_token,
            "refresh_token": self.refresh_token, "begin": self.begin, "checked": self.checked,
        });
        let bytes = text.to_string().into_bytes();
        (bytes.len() <= LONGEST).then_some(bytes)
    }

    /// The record of these bytes; `None`: another version, or no record.
    #[must_use]
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let all = json::parse(bytes).ok()?;
        let number = |name: &str| all.get(name).and_then(Value::as_u64);
        let text = |name: &str| all.get(name).and_then(Value::as_str).map(str::to_owned);
        if number("v")? != VERSION {
            return None;
        }
        let made_with = match all.get("made_with")?.as_array()? {
            [url, kind, client] => [url, kind, client].map(|it| it.as_str().map(str::to_owned)),
            _ => return None,
        };
        let [Some(url), Some(kind), Some(client)] = made_with else {
            return None;
        };
        let access_token = match all.get("access_token").and_then(Value::as_array) {
            Some([token, end]) => Some((token.as_str()?.to_owned(), end.as_u64()?)),
            _ => None,
        };
        Some(Self {
            serial: number("n")?,
            issuer: text("issuer")?,
            made_with: [url, kind, client],
            subject: text("sub")?,
            sid: text("sid"),
            issued: number("iat")?,
            claims: all.get("claims")?.as_object()?.clone(),
            id_token: text("id_token")?,
            access_token,
            refresh_token: text("refresh_token"),
            begin: number("begin")?,
            checked: number("checked")?,
        })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::testing::object;

    fn record() -> Record {
        Record {
            serial: 3,
            issuer: "corp".into(),
            made_with: [
                "https://id.example".into(),
                "keycloak".into(),
                "gate".into(),
            ],
            subject: "0001".into(),
            sid: Some("s-1".into()),
            issued: 1_800_000_000,
            claims: object(&json!({"sub": "0001", "groups": ["a", "b"], "n": 1.5, "\"": null})),
            id_token: "a.b.c".into(),
            access_token: Some(("opaque".into(), 1_800_000_300)),
            refresh_token: None,
            begin: 1_800_000_001,
            checked: 1_800_000_002,
        }
    }

    #[test]
    fn a_record_comes_back_as_it_was() {
        for it in [
            record(),
            Record {
                sid: None,
                access_token: None,
                refresh_token: Some("r".into()),
                ..record()
            },
        ] {
            assert_eq!(Record::from_bytes(&it.to_bytes().unwrap()), Some(it));
        }
    }

    #[test]
    fn a_record_of_another_version_or_without_a_member_is_none() {
        let text = String::from_utf8(record().to_bytes().unwrap()).unwrap();
        let later = text.replace("\"v\":1", "\"v\":2");
        assert_ne!(later, text);
        assert_eq!(Record::from_bytes(later.as_bytes()), None);
        for member in [
            "v",
            "n",
            "issuer",
            "made_with",
            "sub",
            "iat",
            "claims",
            "begin",
        ] {
            let without = text.replace(&format!("\"{member}\":"), "\"x-x\":");
            assert_eq!(Record::from_bytes(without.as_bytes()), None, "{member}");
        }
        for odd in ["", "{}", "[]", "null"] {
            assert_eq!(Record::from_bytes(odd.as_bytes()), None);
        }
    }

    #[test]
    fn a_record_that_is_too_long_is_not_written() {
        let groups: Vec<_> = (0..2000).map(|it| format!("group-{it}")).collect();
        let it = Record {
            claims: object(&json!({ "groups": groups })),
            ..record()
        };
        assert_eq!(it.to_bytes(), None);
    }
}
