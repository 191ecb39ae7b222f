//! Marks of ended sessions. A session ends by its record being removed, and by a mark, so that a
//! record that is put back (a failover, a copy) does not bring it back to life. Ends that come
//! without the cookie (back-channel, front-channel, an administrator) are marks alone, by what they
//! know of the session.

use crate::json::{self, Value};
use crate::seal::{Keys, Purpose};
use crate::store::{Kind, Name};
use serde_json::json;
use std::collections::HashMap;

/// Why a session ended: `event.reason` of its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum End {
    /// No request for GateSession idle.
    Idle,
    /// GateSession max.
    Max,
    /// The issuer said no at a check, or GateRequire no longer holds.
    Checked,
    /// The person signed out.
    SignedOut,
    /// The person signed in again in the same browser.
    Replaced,
    /// The issuer's back-channel logout.
    BackChannel,
    /// The issuer's front-channel logout.
    FrontChannel,
    /// An administrator ended it.
    Admin,
}

impl End {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::Idle,
        Self::Max,
        Self::Checked,
        Self::SignedOut,
        Self::Replaced,
        Self::BackChannel,
        Self::FrontChannel,
        Self::Admin,
    ];

    /// Its code.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::Idle => "idle",
            Self::Max => "max",
            Self::Checked => "checked",
            Self::SignedOut => "signed_out",
            Self::Replaced => "replaced",
            Self::BackChannel => "back_channel",
            Self::FrontChannel => "front_channel",
            Self::Admin => "admin",
        }
    }

    fn of(code: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|it| it.code() == code)
    }
}

/// Whose sessions end.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Whose {
    /// The session of that number.
    Session([u8; 16]),
    /// The issuer's own session: issuer (its name in the configuration) and `sid`.
    Sid(String, String),
    /// All of a person: issuer and `sub`.
    Subject(String, String),
    /// All of a user, whatever the issuer.
    User(String),
    /// All of an issuer.
    Issuer(String),
    /// Everybody's.
    All,
}

/// A mark: the sessions of somebody that are not younger than a moment have ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mark {
    /// Whose.
    pub whose: Whose,
    /// The moment, seconds since the epoch. By the issuer's clock for a logout token (compared with
    /// the ID token's `iat`), else by the store's (compared with the session's begin).
    pub until: u64,
    /// Why.
    pub end: End,
}

/// What a mark is compared with.
#[derive(Clone, Copy, Debug)]
pub struct Facts<'s> {
    /// The session's number.
    pub number: [u8; 16],
    /// The issuer's name in the configuration.
    pub issuer: &'s str,
    /// `sid` of the ID token.
    pub sid: Option<&'s str>,
    /// `sub`.
    pub subject: &'s str,
    /// The user.
    pub user: &'s str,
    /// `iat` of the sign-in's ID token: the issuer's clock.
    pub issued: u64,
    /// When the session began: the store's clock.
    pub begin: u64,
}

impl Whose {
    /// A tag and its texts, in one form for names and values.
    fn words(&self) -> (&'static str, String, String) {
        let none = String::new;
        match self {
            Self::Session(number) => (
                "session",
                number.iter().map(|b| format!("{b:02x}")).collect(),
                none(),
            ),
            Self::Sid(issuer, sid) => ("sid", issuer.clone(), sid.clone()),
            Self::Subject(issuer, subject) => ("sub", issuer.clone(), subject.clone()),
            Self::User(user) => ("user", user.clone(), none()),
            Self::Issuer(issuer) => ("issuer", issuer.clone(), none()),
            Self::All => ("all", none(), none()),
        }
    }

    fn of(tag: &str, one: &str, two: &str) -> Option<Self> {
        Some(match tag {
            "session" => Self::Session(Name::from_hex(Kind::Mark, one)?.hash),
            "sid" => Self::Sid(one.into(), two.into()),
            "sub" => Self::Subject(one.into(), two.into()),
            "user" => Self::User(one.into()),
            "issuer" => Self::Issuer(one.into()),
            "all" => Self::All,
            _ => return None,
        })
    }
}

impl Mark {
    /// The mark as the store holds it. `None`: it can't be sealed.
    #[must_use]
    pub fn seal(&self, keys: &Keys) -> Option<(Name, Vec<u8>)> {
        let (tag, one, two) = self.whose.words();
        let parts = [b"mark", tag.as_bytes(), one.as_bytes(), two.as_bytes()];
        // Two ends of one person at different clocks are two marks.
        let clock: &[u8] = if self.end == End::BackChannel {
            b"issuer"
        } else {
            b"store"
        };
        let name = Name {
            kind: Kind::Mark,
            hash: keys
                .first()
                .code(Purpose::StoreName, &[&parts[..], &[clock]].concat()),
        };
        let text = json!({ "w": [tag, one, two], "t": self.until, "e": self.end.code() });
        let sealed = keys.seal(Purpose::Mark, &[], text.to_string().as_bytes())?;
        Some((name, sealed))
    }

    /// The mark of a value; `None`: no key here sealed it.
    #[must_use]
    pub fn open(keys: &Keys, sealed: &[u8]) -> Option<Self> {
        let (_, text) = keys.open(Purpose::Mark, &[], sealed)?;
        let all = json::parse(&text).ok()?;
        let [tag, one, two] = all.get("w")?.as_array()? else {
            return None;
        };
        Some(Self {
            whose: Whose::of(tag.as_str()?, one.as_str()?, two.as_str()?)?,
            until: all.get("t").and_then(Value::as_u64)?,
            end: End::of(all.get("e")?.as_str()?)?,
        })
    }
}

/// All marks that a process knows.
#[derive(Clone, Debug, Default)]
pub struct Marks {
    /// Of each person the latest moment of each clock.
    known: HashMap<Whose, [Option<(u64, End)>; 2]>,
}

impl Marks {
    /// Adds a mark; whether it says something new.
    pub fn add(&mut self, mark: Mark) -> bool {
        let clock = usize::from(mark.end == End::BackChannel);
        let both = self.known.entry(mark.whose).or_default();
        match both.get_mut(clock) {
            Some(at) if at.is_none_or(|(until, _)| until < mark.until) => {
                *at = Some((mark.until, mark.end));
                true
            }
            _ => false,
        }
    }

    /// Why the session has ended; `None`: no mark says that it has.
    #[must_use]
    pub fn ended(&self, it: &Facts<'_>) -> Option<End> {
        if self.known.is_empty() {
            return None;
        }
        let whose = [
            Some(Whose::Session(it.number)),
            it.sid.map(|sid| Whose::Sid(it.issuer.into(), sid.into())),
            Some(Whose::Subject(it.issuer.into(), it.subject.into())),
            Some(Whose::User(it.user.to_ascii_lowercase())),
            Some(Whose::Issuer(it.issuer.into())),
            Some(Whose::All),
        ];
        let clocks = [it.begin, it.issued];
        whose.iter().flatten().find_map(|whose| {
            let marks = self.known.get(whose)?.iter().zip(clocks);
            let mut over = marks.filter_map(|(mark, moment)| {
                let (until, end) = (*mark)?;
                (moment <= until).then_some(end)
            });
            over.next()
        })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::seal::Key;

    fn keys(seed: u8) -> Keys {
        let bytes: Vec<u8> = (0..32).map(|at| at ^ seed).collect();
        Keys::new(Key::new(&bytes).unwrap(), vec![])
    }

    const FACTS: Facts<'_> = Facts {
        number: [7; 16],
        issuer: "corp",
        sid: Some("s1"),
        subject: "0001",
        user: "Dana",
        issued: 1000,
        begin: 2000,
    };

    fn mark(whose: Whose, until: u64, end: End) -> Mark {
        Mark { whose, until, end }
    }

    #[test]
    fn a_mark_comes_back_with_its_key_alone() {
        for whose in [
            Whose::Session([7; 16]),
            Whose::Sid("corp".into(), "s1".into()),
            Whose::Subject("corp".into(), "0001".into()),
            Whose::User("dana".into()),
            Whose::Issuer("corp".into()),
            Whose::All,
        ] {
            let it = mark(whose, 9, End::Admin);
            let (name, sealed) = it.seal(&keys(1)).unwrap();
            assert_eq!(name.kind, Kind::Mark);
            assert_eq!(Mark::open(&keys(1), &sealed), Some(it));
            assert_eq!(Mark::open(&keys(2), &sealed), None);
        }
    }

    #[test]
    fn a_mark_ends_the_sessions_that_are_not_younger() {
        let ends = |whose: Whose, until, end| {
            let mut marks = Marks::default();
            marks.add(mark(whose, until, end));
            marks.ended(&FACTS)
        };
        for whose in [
            Whose::Session([7; 16]),
            Whose::Sid("corp".into(), "s1".into()),
            Whose::Subject("corp".into(), "0001".into()),
            Whose::User("dana".into()),
            Whose::Issuer("corp".into()),
            Whose::All,
        ] {
            assert_eq!(ends(whose.clone(), 2000, End::Admin), Some(End::Admin));
            assert_eq!(ends(whose.clone(), 1999, End::Admin), None);
            // By the issuer's clock, which is behind.
            assert_eq!(
                ends(whose.clone(), 1000, End::BackChannel),
                Some(End::BackChannel)
            );
            assert_eq!(ends(whose, 999, End::BackChannel), None);
        }
        for other in [
            Whose::Session([8; 16]),
            Whose::Sid("corp".into(), "s2".into()),
            Whose::Sid("other".into(), "s1".into()),
            Whose::Subject("other".into(), "0001".into()),
            Whose::User("daniel".into()),
            Whose::Issuer("other".into()),
        ] {
            assert_eq!(ends(other, u64::MAX, End::Admin), None);
        }
    }

    #[test]
    fn an_older_mark_does_not_replace_a_younger_one() {
        let mut marks = Marks::default();
        assert!(marks.add(mark(Whose::All, 3000, End::Admin)));
        assert!(!marks.add(mark(Whose::All, 10, End::Admin)));
        assert!(!marks.add(mark(Whose::All, 3000, End::Admin)));
        assert_eq!(marks.ended(&FACTS), Some(End::Admin));
        let replay = mark(Whose::All, 10, End::BackChannel);
        assert!(marks.add(replay));
        assert_eq!(marks.ended(&FACTS), Some(End::Admin));
    }
}
