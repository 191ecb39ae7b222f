//! The sessions of one process: a cookie is looked up here when the cache of verified tokens has no
//! hit. Whatever the store can't say is `Unavailable`, never "no session".

use super::cookie::Handle;
use super::mark::{End, Facts, Mark, Marks, Whose};
use super::record::Record;
use crate::json::{self, Value};
use crate::life::SessionLife;
use crate::seal::{Keys, Purpose};
use crate::store::{Kind, Name, Store, Unavailable};
use serde_json::json;
use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

/// How long a process relies on what the store said, seconds.
pub const RECHECK: u64 = 5;
/// How often the time of a session's last request is written, seconds.
const MINUTE: u64 = 60;
/// Marks live a day longer than the longest session that a configuration allows by default.
const MARK_AGE: u64 = 8 * 86_400;
/// The value that says that a store has not lost everything.
const SENTINEL: Name = Name {
    kind: Kind::Lease,
    hash: *b"gate store alive",
};
/// As long as marks.
const SENTINEL_AGE: u64 = MARK_AGE;

/// Why a cookie gives nobody.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NoSession {
    /// The value is none of this server's: it costs no look into the store.
    Forged,
    /// The session has ended; why, where that is known.
    Ended(Option<End>),
    /// The store can't say.
    Unavailable(String),
}

impl From<Unavailable> for NoSession {
    fn from(why: Unavailable) -> Self {
        Self::Unavailable(why.0)
    }
}

/// What the list of sessions shows of one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listing {
    /// The session's number.
    pub number: [u8; 16],
    /// The user.
    pub user: String,
    /// The issuer's name in the configuration.
    pub issuer: String,
    /// `browser`, or `terminal`.
    pub kind: String,
    /// When it began, seconds since the epoch.
    pub begin: u64,
    /// Its last request, to the minute.
    pub last: u64,
    /// Its latest end.
    pub end: u64,
    /// The address that it was made from.
    pub address: String,
}

/// A session that was found.
pub struct Found {
    /// Its record.
    pub record: Record,
    /// Its number.
    pub number: [u8; 16],
    /// How long it lasts, in this process.
    pub life: Arc<SessionLife>,
}

/// A session that this process knows.
struct Known {
    life: Arc<SessionLife>,
    /// The highest serial number that was seen.
    serial: u64,
    /// The last time that was written into the list.
    written: u64,
    listing: Listing,
    sid: Option<String>,
    subject: String,
    issued: u64,
}

/// How long sessions last (GateSession), seconds.
#[derive(Clone, Copy, Debug)]
pub struct Times {
    /// Without a request.
    pub idle: u64,
    /// In any case.
    pub max: u64,
}

/// The sessions of a process.
pub struct Sessions {
    keys: Arc<Keys>,
    store: Arc<dyn Store>,
    marks: RwLock<Marks>,
    known: Mutex<HashMap<[u8; 16], Known>>,
    ends: &'static AtomicU64,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Sessions {
    /// `ends`: counted by all processes of the host.
    #[must_use]
    pub fn new(keys: Arc<Keys>, store: Arc<dyn Store>, ends: &'static AtomicU64) -> Self {
        Self {
            keys,
            store,
            marks: RwLock::default(),
            known: Mutex::default(),
            ends,
        }
    }

    /// The keys.
    #[must_use]
    pub fn keys(&self) -> &Keys {
        &self.keys
    }

    /// The store.
    #[must_use]
    pub fn store(&self) -> &dyn Store {
        &*self.store
    }

    /// The session of a cookie's value.
    ///
    /// # Errors
    /// See [`NoSession`].
    pub fn ask(
        &self,
        server: &str,
        value: &[u8],
        times: Times,
        now: u64,
    ) -> Result<Found, NoSession> {
        let handle = Handle::read(&self.keys, Purpose::SessionCookie, server, value);
        let handle = handle.ok_or(NoSession::Forged)?;
        let number = handle.number();
        let seen = self.ends.load(Relaxed);
        let Some(sealed) = self.store.get(&handle.name(Kind::Session))? else {
            // A store that has lost everything says "not found" too.
            return Err(if self.store.get(&SENTINEL)?.is_some() {
                self.forget(number);
                NoSession::Ended(None)
            } else {
                NoSession::Unavailable("the store has lost what it held".into())
            });
        };
        let record = handle.open(&sealed).and_then(|it| Record::from_bytes(&it));
        let record = record.ok_or(NoSession::Ended(None))?;
        let listing = self.listing(&number)?.ok_or(NoSession::Ended(None))?;
        let facts = Facts {
            number,
            issuer: &record.issuer,
            sid: record.sid.as_deref(),
            subject: &record.subject,
            user: &listing.user,
            issued: record.issued,
            begin: record.begin,
        };
        let mut over = self.ended_by_mark(&facts);
        let last = self.last(&number).max(listing.last);
        if over.is_none() && now >= record.begin.saturating_add(times.max) {
            over = Some(End::Max);
        }
        if over.is_none() && now >= last.saturating_add(times.idle) {
            over = Some(End::Idle);
        }
        if let Some(end) = over {
            self.drop_record(&handle, end, now)?;
            return Err(NoSession::Ended(Some(end)));
        }
        let max = record.begin.saturating_add(times.max);
        let mut known = lock(&self.known);
        let it = known.entry(number).or_insert_with(|| Known {
            life: Arc::new(SessionLife::new(max, times.idle, last, self.ends)),
            serial: record.serial,
            written: listing.last,
            sid: record.sid.clone(),
            subject: record.subject.clone(),
            issued: record.issued,
            listing,
        });
        if record.serial < it.serial {
            // From before a check: somebody has put it back.
            return Err(NoSession::Ended(None));
        }
        it.serial = record.serial;
        it.life.renew(now.saturating_add(RECHECK), seen);
        it.life.used(now);
        let life = Arc::clone(&it.life);
        drop(known);
        Ok(Found {
            record,
            number,
            life,
        })
    }

    fn last(&self, number: &[u8; 16]) -> u64 {
        lock(&self.known).get(number).map_or(0, |it| it.life.last())
    }

    fn ended_by_mark(&self, facts: &Facts<'_>) -> Option<End> {
        let marks = self.marks.read().unwrap_or_else(PoisonError::into_inner);
        marks.ended(facts)
    }

    /// This process no longer knows it; whatever goes on by it ends.
    fn forget(&self, number: [u8; 16]) {
        if let Some(known) = lock(&self.known).remove(&number) {
            known.life.end();
        }
    }

    fn drop_record(&self, handle: &Handle<'_>, end: End, now: u64) -> Result<(), Unavailable> {
        let number = handle.number();
        self.forget(number);
        self.mark(&Mark {
            whose: Whose::Session(number),
            until: now,
            end,
        })?;
        self.store.remove(&handle.name(Kind::Session))?;
        self.store.remove(&listing_name(&number))?;
        Ok(())
    }

    /// Begins a session for a new cookie; its value.
    ///
    /// # Errors
    /// The store can't say whether it was written.
    pub fn begin(
        &self,
        server: &str,
        record: &Record,
        user: &str,
        address: &str,
        times: Times,
    ) -> Result<(String, [u8; 16]), Unavailable> {
        let (handle, value) = Handle::new(&self.keys, Purpose::SessionCookie, server);
        let number = handle.number();
        let sealed = record.to_bytes().and_then(|it| handle.seal(&it));
        let sealed = sealed.ok_or_else(|| Unavailable("the record is too long".into()))?;
        let listing = Listing {
            number,
            user: user.to_owned(),
            issuer: record.issuer.clone(),
            kind: "browser".into(),
            begin: record.begin,
            last: record.begin,
            end: record.begin.saturating_add(times.max),
            address: address.to_owned(),
        };
        self.store.add(&SENTINEL, b"alive", SENTINEL_AGE)?;
        self.list(&listing, times.max)?;
        self.store
            .put(&handle.name(Kind::Session), &sealed, times.max)?;
        Ok((value, number))
    }

    /// Ends the session of a cookie; what it was. `Ok(None)`: there was none.
    ///
    /// # Errors
    /// The store can't say; in this process and on this host it has ended all the same.
    pub fn end(
        &self,
        server: &str,
        value: &[u8],
        end: End,
        now: u64,
    ) -> Result<Option<Record>, Unavailable> {
        let handle = Handle::read(&self.keys, Purpose::SessionCookie, server, value);
        let Some(handle) = handle else {
            return Ok(None);
        };
        let sealed = self.store.get(&handle.name(Kind::Session));
        let dropped = self.drop_record(&handle, end, now);
        self.ends.fetch_add(1, Relaxed);
        let record = sealed?.and_then(|it| handle.open(&it));
        dropped?;
        Ok(record.and_then(|it| Record::from_bytes(&it)))
    }

    /// Ends all sessions of somebody that are not younger than the mark's moment.
    ///
    /// # Errors
    /// The store can't say whether it was written; on this host they have ended all the same.
    pub fn mark(&self, mark: &Mark) -> Result<(), Unavailable> {
        let new = self
            .marks
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .add(mark.clone());
        if new {
            self.end_marked();
        }
        self.ends.fetch_add(1, Relaxed);
        let (name, sealed) = mark
            .seal(&self.keys)
            .ok_or_else(|| Unavailable("the mark can't be sealed".into()))?;
        self.store.put(&name, &sealed, MARK_AGE)
    }

    /// Ends what the marks end, in this process.
    fn end_marked(&self) {
        lock(&self.known).retain(|number, it| {
            let facts = Facts {
                number: *number,
                issuer: &it.listing.issuer,
                sid: it.sid.as_deref(),
                subject: &it.subject,
                user: &it.listing.user,
                issued: it.issued,
                begin: it.listing.begin,
            };
            let over = self.ended_by_mark(&facts).is_some();
            if over {
                it.life.end();
            }
            !over
        });
    }

    /// Reads the marks of other processes, and writes the time of each session's last request. For a
    /// background thread, every few seconds.
    ///
    /// # Errors
    /// The store can't say.
    pub fn look(&self, now: u64) -> Result<(), Unavailable> {
        let mut new = false;
        for (_, sealed) in self.store.list(Kind::Mark)? {
            if let Some(mark) = Mark::open(&self.keys, &sealed) {
                let mut marks = self.marks.write().unwrap_or_else(PoisonError::into_inner);
                new |= marks.add(mark);
            }
        }
        if new {
            self.end_marked();
            self.ends.fetch_add(1, Relaxed);
        }
        let mut used = Vec::new();
        lock(&self.known).retain(|_, it| {
            let last = it.life.last();
            if last >= it.written.saturating_add(MINUTE) {
                it.written = last;
                it.listing.last = last;
                used.push(it.listing.clone());
            }
            // One that is over is looked up again if its cookie comes.
            now < it.listing.end
        });
        for listing in used {
            // What another process has written since may be younger.
            match self.listing(&listing.number)? {
                Some(there) if there.last < listing.last => {
                    self.list(&listing, listing.end.saturating_sub(now))?;
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn list(&self, it: &Listing, seconds: u64) -> Result<(), Unavailable> {
        let text = json!({
            "user": it.user, "issuer": it.issuer, "kind": it.kind, "begin": it.begin,
            "last": it.last, "end": it.end, "address": it.address,
        });
        let parts: &[&[u8]] = &[&it.number];
        let sealed = self
            .keys
            .seal(Purpose::Listing, parts, text.to_string().as_bytes())
            .ok_or_else(|| Unavailable("the list can't be sealed".into()))?;
        self.store.put(&listing_name(&it.number), &sealed, seconds)
    }

    fn listing(&self, number: &[u8; 16]) -> Result<Option<Listing>, Unavailable> {
        let sealed = self.store.get(&listing_name(number))?;
        Ok(sealed.and_then(|it| self.open_listing(*number, &it)))
    }

    fn open_listing(&self, number: [u8; 16], sealed: &[u8]) -> Option<Listing> {
        let (_, text) = self.keys.open(Purpose::Listing, &[&number], sealed)?;
        let all = json::parse(&text).ok()?;
        let text = |name: &str| all.get(name).and_then(Value::as_str).map(str::to_owned);
        let time = |name: &str| all.get(name).and_then(Value::as_u64);
        Some(Listing {
            number,
            user: text("user")?,
            issuer: text("issuer")?,
            kind: text("kind")?,
            begin: time("begin")?,
            last: time("last")?,
            end: time("end")?,
            address: text("address")?,
        })
    }

    /// All sessions that live.
    ///
    /// # Errors
    /// The store can't say.
    pub fn all(&self) -> Result<Vec<Listing>, Unavailable> {
        let all = self.store.list(Kind::Listing)?.into_iter();
        let opened = all.filter_map(|(name, sealed)| self.open_listing(name.hash, &sealed));
        Ok(opened.collect())
    }
}

/// The name of what the list shows: the number itself, which is a keyed hash.
const fn listing_name(number: &[u8; 16]) -> Name {
    Name {
        kind: Kind::Listing,
        hash: *number,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::jwks::testing::Dir;
    use crate::seal::Key;
    use crate::store::files::Files;
    use crate::testing::{NOW, object};
    use std::os::unix::fs::MetadataExt as _;

    const SERVER: &str = "gate.example";
    const TIMES: Times = Times {
        idle: 3600,
        max: 43_200,
    };

    fn keys() -> Arc<Keys> {
        let bytes: Vec<u8> = (0..32).collect();
        Arc::new(Keys::new(Key::new(&bytes).unwrap(), vec![]))
    }

    /// Two processes of one host.
    struct Host {
        one: Sessions,
        two: Sessions,
        dir: Dir,
    }

    fn host() -> Host {
        let dir = Dir::new();
        let user = std::fs::metadata(dir.path()).unwrap().uid();
        let ends: &'static AtomicU64 = Box::leak(Box::default());
        let process = || {
            let store = Arc::new(Files::new(dir.path(), user));
            Sessions::new(keys(), store, ends)
        };
        Host {
            one: process(),
            two: process(),
            dir,
        }
    }

    fn record(begin: u64) -> Record {
        Record {
            serial: 1,
            issuer: "corp".into(),
            made_with: ["https://id.example".into(), "Generic".into(), "gate".into()],
            subject: "0001".into(),
            sid: Some("s1".into()),
            issued: begin - 2,
            claims: object(&json!({"sub": "0001"})),
            id_token: "a.b.c".into(),
            access_token: None,
            refresh_token: None,
            begin,
            checked: begin,
        }
    }

    fn begin(sessions: &Sessions) -> String {
        sessions
            .begin(SERVER, &record(NOW), "dana", "192.0.2.1", TIMES)
            .unwrap()
            .0
    }

    fn ask(sessions: &Sessions, value: &str, now: u64) -> Result<Arc<SessionLife>, NoSession> {
        sessions
            .ask(SERVER, value.as_bytes(), TIMES, now)
            .map(|it| it.life)
    }

    #[test]
    fn a_session_lives_in_every_process_until_it_ends() {
        let host = host();
        let value = begin(&host.one);
        let lives = [&host.one, &host.two].map(|it| ask(it, &value, NOW + 1).unwrap());
        let life = |at: usize| crate::life::Life::Session(Arc::clone(lives.get(at).unwrap()));
        assert!(life(0).holds(NOW + 2) && life(1).holds(NOW + 2));
        let ended = host
            .one
            .end(SERVER, value.as_bytes(), End::SignedOut, NOW + 2);
        assert_eq!(ended.unwrap().unwrap().subject, "0001");
        assert!(!life(0).holds(NOW + 2));
        assert!(!life(1).holds(NOW + 2), "the other process asks again");
        for process in [&host.one, &host.two] {
            let ended = ask(process, &value, NOW + 2).err();
            assert_eq!(ended, Some(NoSession::Ended(None)));
        }
        assert_eq!(host.one.all().unwrap(), []);
    }

    #[test]
    fn a_record_that_is_put_back_stays_dead() {
        let host = host();
        let value = begin(&host.one);
        let handle = Handle::read(
            host.one.keys(),
            Purpose::SessionCookie,
            SERVER,
            value.as_bytes(),
        );
        let handle = handle.unwrap();
        let names = [handle.name(Kind::Session), listing_name(&handle.number())];
        let kept = names.map(|it| host.one.store().get(&it).unwrap().unwrap());
        host.one
            .end(SERVER, value.as_bytes(), End::SignedOut, NOW)
            .unwrap();
        for (name, value) in names.iter().zip(&kept) {
            host.two.store().put(name, value, 60).unwrap();
        }
        host.two.look(NOW).unwrap();
        let ended = ask(&host.two, &value, NOW).err();
        assert_eq!(ended, Some(NoSession::Ended(Some(End::SignedOut))));
    }

    #[test]
    fn a_session_ends_by_idle_and_by_max() {
        let host = host();
        let value = begin(&host.one);
        assert!(ask(&host.one, &value, NOW + 3599).is_ok());
        assert_eq!(
            ask(&host.two, &value, NOW + 3600).err(),
            Some(NoSession::Ended(Some(End::Idle)))
        );
        let value = begin(&host.one);
        for hour in 1..12 {
            let now = NOW + hour * 3000;
            assert!(ask(&host.one, &value, now).is_ok(), "{hour}");
            host.one.look(now).unwrap();
            assert!(ask(&host.two, &value, now + 3000).is_ok(), "{hour}");
        }
        let long = Times {
            idle: 43_200,
            ..TIMES
        };
        let end = |now| host.one.ask(SERVER, value.as_bytes(), long, now).err();
        assert_eq!(end(NOW + 43_199), None);
        assert_eq!(end(NOW + 43_200), Some(NoSession::Ended(Some(End::Max))));
    }

    #[test]
    fn a_mark_of_another_process_ends_what_is_not_younger() {
        let host = host();
        let value = begin(&host.one);
        let life = ask(&host.one, &value, NOW).unwrap();
        let mark = Mark {
            whose: Whose::Sid("corp".into(), "s1".into()),
            until: NOW - 2,
            end: End::BackChannel,
        };
        host.two.mark(&mark).unwrap();
        host.one.look(NOW).unwrap();
        assert_eq!(
            crate::life::Life::Session(life).broken(),
            Some(crate::life::Broken::Session)
        );
        let ended = ask(&host.one, &value, NOW).err();
        assert_eq!(ended, Some(NoSession::Ended(Some(End::BackChannel))));
        let mut younger = record(NOW);
        younger.issued = NOW - 1;
        let (value, _) = host
            .one
            .begin(SERVER, &younger, "dana", "192.0.2.1", TIMES)
            .unwrap();
        assert!(ask(&host.one, &value, NOW).is_ok());
    }

    #[test]
    fn a_forged_cookie_costs_no_look_into_the_store() {
        let host = host();
        let value = begin(&host.one);
        std::fs::remove_dir_all(host.dir.path().join("store")).unwrap();
        std::fs::write(host.dir.path().join("store"), b"a file").unwrap();
        for forged in ["", "x", &"A".repeat(64)] {
            assert_eq!(
                ask(&host.one, forged, NOW).err(),
                Some(NoSession::Forged),
                "{forged}"
            );
        }
        let unavailable = ask(&host.one, &value, NOW).err();
        assert!(matches!(unavailable, Some(NoSession::Unavailable(_))));
    }

    #[test]
    fn a_store_that_has_lost_everything_can_not_say_that_a_session_has_ended() {
        let host = host();
        let value = begin(&host.one);
        std::fs::remove_dir_all(host.dir.path().join("store")).unwrap();
        let lost = ask(&host.one, &value, NOW).err();
        assert!(matches!(lost, Some(NoSession::Unavailable(_))), "{lost:?}");
        begin(&host.one);
        assert_eq!(
            ask(&host.one, &value, NOW).err(),
            Some(NoSession::Ended(None))
        );
    }

    #[test]
    fn the_list_shows_who_is_there() {
        let host = host();
        begin(&host.one);
        begin(&host.two);
        let all = host.one.all().unwrap();
        assert_eq!(all.len(), 2);
        let it = all.first().unwrap();
        assert_eq!(
            (&*it.user, &*it.issuer, &*it.address, it.end),
            ("dana", "corp", "192.0.2.1", NOW + 43_200)
        );
    }
}
