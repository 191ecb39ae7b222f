//! The answers of GitLab that one child has, and who asks for the next one. One lock, which is never held during
//! a question.
//!
//! | age of the answer | what a request gets |
//! | --- | --- |
//! | under `cache` | the answer |
//! | under twice `cache` | the answer; the next one is asked for in the background |
//! | more, or none | it waits for the next answer; where GitLab can't say, the last one up to `stale` |

use super::answer::Said;
use crate::clock;
use std::collections::HashMap;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

/// Names that are kept; the oldest answer gives way.
const NAMES: usize = 10_000;
/// Seconds after a failed question in which there is no other about this name, where an old answer serves.
const PAUSE: u64 = 10;
/// The same where none does.
const SHORT_PAUSE: u64 = 1;

/// What is known about names.
pub struct Known {
    cache: u64,
    /// How long the last answer serves while GitLab can't say.
    stale: u64,
    names: Mutex<HashMap<String, Entry>>,
    news: Condvar,
}

#[derive(Default)]
struct Entry {
    /// The last answer, and when it came.
    said: Option<(Arc<Said>, u64)>,
    /// Why the question after it failed, and when.
    failed: Option<(String, u64)>,
    asking: bool,
    queued: bool,
}

/// What a request does next.
pub enum Next<'k> {
    /// This is the answer.
    Use(Arc<Said>),
    /// It is, and another one is to be asked for in the background.
    Refresh(Arc<Said>),
    /// There is none, and it is too early to ask again.
    Failed(String),
    /// Ask, and say what came.
    Ask(Asking<'k>),
    /// Somebody asks: wait.
    Wait,
}

/// The right to ask about a name; nobody else has it meanwhile.
pub struct Asking<'k> {
    known: &'k Known,
    name: String,
    open: bool,
}

impl Entry {
    /// The answer and its age, where it may serve at all.
    fn serving(&self, now: u64, most: u64) -> Option<(Arc<Said>, u64)> {
        let (said, at) = self.said.as_ref()?;
        // A clock that was set back makes no answer young for ever.
        let age = now.checked_sub(*at)?;
        (age < most).then(|| (Arc::clone(said), age))
    }

    fn failed_lately(&self, now: u64, pause: u64) -> Option<&String> {
        let (why, at) = self.failed.as_ref()?;
        now.checked_sub(*at).filter(|it| *it < pause).map(|_| why)
    }

    fn finish(&mut self, answer: Result<Said, String>, now: u64) {
        self.asking = false;
        match answer {
            Ok(said) => {
                self.said = Some((Arc::new(said), now));
                self.failed = None;
            }
            Err(why) => self.failed = Some((why, now)),
        }
    }
}

fn key(name: &str) -> String {
    name.to_ascii_lowercase()
}

impl Known {
    /// Nothing is known yet. Both in seconds.
    #[must_use]
    pub fn new(cache: u64, stale: u64) -> Self {
        Self {
            cache,
            stale: stale.max(cache),
            names: Mutex::default(),
            news: Condvar::new(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Entry>> {
        self.names.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many names there are answers about.
    #[must_use]
    pub fn len(&self) -> usize {
        self.lock().values().filter(|it| it.said.is_some()).count()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// What a request about this name does at `now`.
    pub fn look(&self, name: &str, now: u64) -> Next<'_> {
        let name = key(name);
        let mut names = self.lock();
        if names.len() >= NAMES && !names.contains_key(&name) {
            drop_oldest(&mut names);
        }
        let entry = names.entry(name.clone()).or_default();
        if let Some((said, age)) = entry.serving(now, self.stale) {
            if age < self.cache || entry.failed_lately(now, PAUSE).is_some() {
                return Next::Use(said);
            }
            if age < self.cache.saturating_mul(2) {
                let asked = entry.asking || std::mem::replace(&mut entry.queued, true);
                return if asked {
                    Next::Use(said)
                } else {
                    Next::Refresh(said)
                };
            }
        } else if let Some(why) = entry.failed_lately(now, SHORT_PAUSE) {
            return Next::Failed(why.clone());
        }
        if std::mem::replace(&mut entry.asking, true) {
            return Next::Wait;
        }
        drop(names);
        Next::Ask(self.asking(name))
    }

    /// The right to ask in the background; `None`: it is asked about already, or forgotten.
    pub fn take(&self, name: &str, now: u64) -> Option<Asking<'_>> {
        let name = key(name);
        let mut names = self.lock();
        let entry = names.get_mut(&name)?;
        entry.queued = false;
        let young = entry.serving(now, self.cache).is_some();
        if young || std::mem::replace(&mut entry.asking, true) {
            return None;
        }
        drop(names);
        Some(self.asking(name))
    }

    const fn asking(&self, name: String) -> Asking<'_> {
        Asking {
            known: self,
            name,
            open: true,
        }
    }

    /// There was no room for a background question.
    pub fn not_queued(&self, name: &str) {
        if let Some(entry) = self.lock().get_mut(&key(name)) {
            entry.queued = false;
        }
    }

    /// Waits until nobody asks about the name any more, or until the deadline.
    ///
    /// # Errors
    /// There is no answer that may serve.
    pub fn wait(&self, name: &str, deadline: Instant) -> Result<Arc<Said>, String> {
        let name = key(name);
        let left = deadline.saturating_duration_since(Instant::now());
        let asked =
            |names: &mut HashMap<String, Entry>| names.get(&name).is_some_and(|it| it.asking);
        let (names, _) = self
            .news
            .wait_timeout_while(self.lock(), left, asked)
            .unwrap_or_else(PoisonError::into_inner);
        self.last(names.get(&name), "no answer in time")
    }

    /// The last answer, while it may serve.
    ///
    /// # Errors
    /// There is none: `why`.
    pub fn fall_back(&self, name: &str, why: &str) -> Result<Arc<Said>, String> {
        self.last(self.lock().get(&key(name)), why)
    }

    fn last(&self, entry: Option<&Entry>, why: &str) -> Result<Arc<Said>, String> {
        let serving = entry.and_then(|it| it.serving(clock::now(), self.stale));
        serving.map(|(said, _)| said).ok_or_else(|| {
            let failed = entry.and_then(|it| it.failed.as_ref());
            failed.map_or_else(|| why.to_owned(), |(why, _)| why.clone())
        })
    }
}

/// Makes room for a name. One that is asked about stays.
fn drop_oldest(names: &mut HashMap<String, Entry>) {
    let oldest = names
        .iter()
        .filter(|(_, it)| !it.asking)
        .min_by_key(|(_, it)| it.said.as_ref().map_or(0, |(_, at)| *at))
        .map(|(name, _)| name.clone());
    if let Some(name) = oldest {
        names.remove(&name);
    }
}

impl Asking<'_> {
    /// What came; the answer that holds now: this one, or the last while it may serve.
    ///
    /// # Errors
    /// There is none: why.
    pub fn done(mut self, answer: Result<Said, String>, now: u64) -> Result<Arc<Said>, String> {
        self.finish(answer, now);
        self.known.fall_back(&self.name, "no answer")
    }

    fn finish(&mut self, answer: Result<Said, String>, now: u64) {
        self.open = false;
        if let Some(entry) = self.known.lock().get_mut(&self.name) {
            entry.finish(answer, now);
        }
        self.known.news.notify_all();
    }
}

impl Drop for Asking<'_> {
    /// Whoever waits is not left waiting, whatever happened.
    fn drop(&mut self) {
        if self.open {
            self.finish(
                Err("the question failed inside the gate".into()),
                clock::now(),
            );
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic)]
mod tests {
    use super::super::answer::Account;
    use super::*;
    use std::time::Duration;

    fn account(state: &str) -> Said {
        Said::Account(Account {
            id: 7,
            state: state.to_owned(),
        })
    }

    fn ask(known: &Known, at: u64, answer: Result<Said, String>) -> Result<Arc<Said>, String> {
        let Next::Ask(asking) = known.look("dana", at) else {
            panic!("nothing is asked")
        };
        asking.done(answer, at)
    }

    fn next(known: &Known, at: u64) -> &'static str {
        match known.look("Dana", at) {
            Next::Use(_) => "use",
            Next::Refresh(_) => "refresh",
            Next::Failed(_) => "failed",
            Next::Ask(_) => "ask",
            Next::Wait => "wait",
        }
    }

    #[test]
    fn an_answer_serves_young_then_with_a_question_then_after_one() {
        let now = clock::now();
        let known = Known::new(60, 3600);
        assert_eq!(
            *ask(&known, now, Ok(account("active"))).unwrap(),
            account("active")
        );
        assert_eq!((next(&known, now), next(&known, now + 59)), ("use", "use"));
        assert_eq!(next(&known, now + 60), "refresh");
        // Once: it is asked already.
        assert_eq!(next(&known, now + 60), "use");
        assert_eq!(next(&known, now + 120), "ask");
    }

    #[test]
    fn one_asks_and_the_others_wait_for_the_same_answer() {
        let now = clock::now();
        let known = Known::new(60, 3600);
        let Next::Ask(asking) = known.look("dana", now) else {
            panic!("nothing is asked")
        };
        assert_eq!(next(&known, now), "wait");
        let soon = Instant::now() + Duration::from_millis(20);
        assert_eq!(known.wait("dana", soon), Err("no answer in time".into()));
        std::thread::scope(|scope| {
            let late = Instant::now() + Duration::from_secs(30);
            let known = &known;
            let waits = scope.spawn(move || known.wait("DANA", late));
            asking.done(Ok(account("blocked")), now).unwrap();
            assert_eq!(*waits.join().unwrap().unwrap(), account("blocked"));
        });
    }

    #[test]
    fn the_last_answer_serves_while_gitlab_can_not_say_and_no_longer_than_stale() {
        let now = clock::now();
        let known = Known::new(60, 3600);
        let no = || Err("500".to_owned());
        assert_eq!(ask(&known, now, no()), Err("500".into()));
        assert_eq!(next(&known, now), "failed");
        assert!(ask(&known, now - 3000, Ok(account("active"))).is_ok());
        assert_eq!(*ask(&known, now, no()).unwrap(), account("active"));
        assert_eq!(
            (next(&known, now + 9), next(&known, now + 10)),
            ("use", "ask")
        );
        let known = Known::new(60, 3600);
        assert!(ask(&known, now - 3600, Ok(account("active"))).is_err());
        assert_eq!(ask(&known, now, no()), Err("500".into()));
        // Nor for ever where the clock was set back.
        let known = Known::new(60, 3600);
        assert!(ask(&known, now + 9000, Ok(account("active"))).is_err());
        assert_eq!(next(&known, now), "ask");
    }

    #[test]
    fn a_question_that_panics_leaves_nobody_waiting() {
        let known = Known::new(60, 3600);
        drop(known.look("dana", clock::now()));
        let late = Instant::now() + Duration::from_secs(30);
        assert!(
            known
                .wait("dana", late)
                .unwrap_err()
                .contains("inside the gate")
        );
    }

    #[test]
    fn names_are_bounded_and_the_oldest_gives_way() {
        let now = clock::now();
        let known = Known::new(60, 3600);
        for at in 0..=NAMES {
            let Next::Ask(asking) = known.look(&format!("u{at}"), now) else {
                panic!("nothing is asked")
            };
            let age = u64::try_from(NAMES - at).unwrap() / 1000;
            asking.done(Ok(Said::Nobody), now - age).unwrap();
        }
        assert_eq!(known.len(), NAMES);
    }
}
