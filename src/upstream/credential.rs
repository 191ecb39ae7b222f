//! GateUpstreamToken's files: read after the fork, looked at once a second, read again when they
//! change. What is in force stays in force until something better has been read. What the
//! credential may do is the upstream's matter; its text appears in no log.

use crate::clock;
use crate::jwks::refresh::join_until;
use arc_swap::ArcSwapOption;
use std::fmt;
use std::fs::{File, Metadata, OpenOptions};
use std::io::Read as _;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{Builder, JoinHandle};
use std::time::{Duration, Instant};

/// Between two looks.
const LOOK: Duration = Duration::from_secs(1);
/// How long a stop waits for the thread.
const STOP: Duration = Duration::from_millis(500);
/// The longest credential.
const MAX_BYTES: usize = 4096;
/// A credential that is older is to be changed.
const OLD: u64 = 30 * 86_400;
/// Between two warnings about that.
const DAY: u64 = 86_400;

/// A credential. Its text is shown to nobody but the upstream.
pub struct Secret(Box<str>);

impl Secret {
    /// The text, for the upstream's header.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl Secret {
    /// Whether it is a whole value of `Authorization` with a user and a password.
    #[must_use]
    pub fn is_basic(&self) -> bool {
        let scheme = self.0.split_once(' ').map(|it| it.0);
        scheme.is_some_and(|it| it.eq_ignore_ascii_case("Basic"))
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// Why a file gives no credential.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unfit {
    /// The system says no, or it is a directory, a device, a pipe.
    Io(String),
    /// Nothing in it.
    Empty,
    /// Over 4096 bytes.
    Long,
    /// More than one line.
    Lines,
    /// Something else than printable ASCII.
    Characters,
    /// It changed while it was read.
    Moving,
}

impl From<std::io::Error> for Unfit {
    fn from(wrong: std::io::Error) -> Self {
        Self::Io(wrong.to_string())
    }
}

impl fmt::Display for Unfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io(why) => f.write_str(why),
            Self::Empty => f.write_str("it is empty"),
            Self::Long => write!(f, "it holds more than {MAX_BYTES} bytes"),
            Self::Lines => f.write_str("it holds more than one line"),
            Self::Characters => f.write_str("it holds something else than printable ASCII"),
            Self::Moving => f.write_str("it changed while it was read"),
        }
    }
}

/// What the administrator should hear of.
pub trait News: Send + Sync {
    /// Another credential is in force.
    fn credential_changed(&self, file: &Path);
    /// The file can't be used; `kept`: the one read before stays in force.
    fn credential_unfit(&self, file: &Path, why: &Unfit, kept: bool);
    /// It should be changed.
    fn credential_old(&self, file: &Path, days: u64);
}

/// One file, for the status.
#[derive(Clone, Debug)]
pub struct Status {
    /// The file.
    pub file: PathBuf,
    /// Seconds since it was written, where one is in force.
    pub age: Option<u64>,
    /// What is wrong with the file now.
    pub error: Option<String>,
}

/// What tells one version of a file from another.
type Stamp = (u64, u64, i64, i64, i64, i64, u64);

fn stamp(it: &Metadata) -> Stamp {
    (
        it.dev(),
        it.ino(),
        it.mtime(),
        it.mtime_nsec(),
        it.ctime(),
        it.ctime_nsec(),
        it.size(),
    )
}

/// Reads a credential's file.
///
/// # Errors
/// See [`Unfit`].
pub fn read(file: &Path) -> Result<Secret, Unfit> {
    let (file, before) = crate::file::open(file)?;
    read_open(file, &before)
}

fn read_open(mut file: File, before: &Metadata) -> Result<Secret, Unfit> {
    let mut text = Vec::new();
    (&mut file)
        .take(MAX_BYTES as u64 + 3)
        .read_to_end(&mut text)?;
    if stamp(&file.metadata()?) != stamp(before) {
        return Err(Unfit::Moving);
    }
    parse(&text)
}

fn parse(text: &[u8]) -> Result<Secret, Unfit> {
    let line = text.strip_suffix(b"\n").unwrap_or(text);
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    if line.trim_ascii().is_empty() {
        return Err(Unfit::Empty);
    }
    if line.len() > MAX_BYTES {
        return Err(Unfit::Long);
    }
    if line.contains(&b'\n') {
        return Err(Unfit::Lines);
    }
    // A space at either end would be lost on the way.
    let printable = line.iter().all(|b| matches!(b, b' '..=b'~')) && line.trim_ascii() == line;
    match std::str::from_utf8(line) {
        Ok(text) if printable => Ok(Secret(text.into())),
        _ => Err(Unfit::Characters),
    }
}

/// One file and what it gave.
struct Watched {
    path: PathBuf,
    secret: ArcSwapOption<Secret>,
    seen: Mutex<Seen>,
}

#[derive(Default)]
struct Seen {
    stamp: Option<Stamp>,
    /// When the file that is in force was written.
    modified: Option<u64>,
    error: Option<Unfit>,
    warned: u64,
}

#[derive(Default)]
struct Stop {
    stopped: Mutex<bool>,
    heard: Condvar,
}

/// The credentials of one process, and the thread that watches their files.
pub struct Credentials {
    watched: Arc<[Watched]>,
    stop: Arc<Stop>,
    thread: Option<JoinHandle<()>>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Credentials {
    /// Reads them all, and starts the thread where there is something to watch.
    #[must_use]
    pub fn start(files: &[PathBuf], state_dir: &Path, news: Arc<dyn News>) -> Self {
        let watched: Arc<[Watched]> = files
            .iter()
            .map(|path| Watched {
                path: path.clone(),
                secret: ArcSwapOption::empty(),
                seen: Mutex::default(),
            })
            .collect();
        let told = Told(state_dir.to_owned());
        watched.iter().for_each(|it| it.look(&*news, &told));
        let stop = Arc::<Stop>::default();
        let thread = (!watched.is_empty())
            .then(|| {
                let (watched, stop) = (Arc::clone(&watched), Arc::clone(&stop));
                Builder::new()
                    .name("gate-credential".to_owned())
                    .spawn(move || watch(&watched, &stop, &*news, &told))
                    .ok()
            })
            .flatten();
        Self {
            watched,
            stop,
            thread,
        }
    }

    /// Whether its thread could be had, where there is a file to watch.
    #[must_use]
    pub fn runs(&self) -> bool {
        self.watched.is_empty() || self.thread.is_some()
    }

    /// The credential in force; `None`: the file was never any good.
    #[must_use]
    pub fn get(&self, file: usize) -> Option<Arc<Secret>> {
        self.watched.get(file)?.secret.load_full()
    }

    /// For the status.
    #[must_use]
    pub fn status(&self) -> Vec<Status> {
        let now = clock::now();
        let status = |it: &Watched| {
            let seen = lock(&it.seen);
            Status {
                file: it.path.clone(),
                age: seen.modified.map(|modified| now.saturating_sub(modified)),
                error: seen.error.as_ref().map(ToString::to_string),
            }
        };
        self.watched.iter().map(status).collect()
    }

    /// Stops the thread. One that is not done in time (a file system that hangs) is left to the
    /// process's end: what is to be stopped after it is not to be lost.
    pub fn stop(mut self) {
        *lock(&self.stop.stopped) = true;
        self.stop.heard.notify_all();
        if let Some(thread) = self.thread.take() {
            join_until(thread, Instant::now() + STOP);
        }
    }
}

fn watch(watched: &[Watched], stop: &Stop, news: &dyn News, told: &Told) {
    let mut stopped = lock(&stop.stopped);
    while !*stopped {
        (stopped, _) = stop
            .heard
            .wait_timeout_while(stopped, LOOK, |stopped| !*stopped)
            .unwrap_or_else(PoisonError::into_inner);
        if !*stopped {
            drop(stopped);
            watched.iter().for_each(|it| it.look(news, told));
            stopped = lock(&stop.stopped);
        }
    }
}

impl Watched {
    fn look(&self, news: &dyn News, told: &Told) {
        // Requests may ask for the status meanwhile, and a file system may hang: the lock comes after.
        let now = std::fs::metadata(&self.path).ok().map(|it| stamp(&it));
        let found = (now.is_none() || now != lock(&self.seen).stamp).then(|| self.read());
        let mut seen = lock(&self.seen);
        if let Some(found) = found {
            self.take(&mut seen, now, found, news);
        }
        let age = seen
            .modified
            .map_or(0, |at| clock::now().saturating_sub(at));
        if age > OLD
            && clock::now().saturating_sub(seen.warned) >= DAY
            && std::mem::replace(&mut seen.warned, clock::now()) <= clock::now()
        {
            drop(seen);
            if told.first(&self.path) {
                news.credential_old(&self.path, age / DAY);
            }
        }
    }

    fn read(&self) -> Result<(Secret, Metadata), Unfit> {
        let (file, metadata) = crate::file::open(&self.path)?;
        read_open(file, &metadata).map(|secret| (secret, metadata))
    }

    /// Takes what was read. `now`: the version that was there before.
    fn take(
        &self,
        seen: &mut Seen,
        now: Option<Stamp>,
        found: Result<(Secret, Metadata), Unfit>,
        news: &dyn News,
    ) {
        match found {
            Ok((secret, metadata)) => {
                seen.stamp = Some(stamp(&metadata));
                seen.modified = Some(u64::try_from(metadata.mtime()).unwrap_or(0));
                let recovered = seen.error.take().is_some();
                let before = self.secret.load_full();
                let same = before.as_ref().is_some_and(|it| it.0 == secret.0);
                if !same {
                    self.secret.store(Some(Arc::new(secret)));
                    if before.is_some() {
                        seen.warned = 0;
                    }
                }
                if recovered || (before.is_some() && !same) {
                    news.credential_changed(&self.path);
                }
            }
            Err(Unfit::Moving) => {} // the next look has it whole
            Err(why) => {
                seen.stamp = now;
                if seen.error.as_ref() != Some(&why) {
                    news.credential_unfit(&self.path, &why, self.secret.load().is_some());
                    seen.error = Some(why);
                }
            }
        }
    }
}

/// Which warnings the host has had today: a file each in the state directory, so that not every
/// child says the same.
struct Told(PathBuf);

impl Told {
    /// Whether nobody has said it today (UTC). Where the directory can't be used, each says it.
    fn first(&self, about: &Path) -> bool {
        let hash = aws_lc_rs::digest::digest(
            &aws_lc_rs::digest::SHA256,
            about.as_os_str().as_encoded_bytes(),
        );
        let name: String = hash
            .as_ref()
            .iter()
            .take(8)
            .map(|b| format!("{b:02x}"))
            .collect();
        // The day is in the name: to make a file that is not there yet is the one step that no two
        // processes can both take.
        let mark = |day: u64| self.0.join(format!("told-{name}-{day}"));
        let today = clock::now() / DAY;
        let _ = std::fs::remove_file(mark(today.saturating_sub(1)));
        match OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(mark(today))
        {
            Ok(_) => true,
            Err(wrong) => wrong.kind() != std::io::ErrorKind::AlreadyExists,
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn reads(text: &[u8]) -> Result<String, Unfit> {
        parse(text).map(|it| it.reveal().to_owned())
    }

    #[test]
    fn one_printable_line_is_a_credential() {
        for text in ["glpat-x", "glpat-x\n", "glpat-x\r\n", "Bearer a.b"] {
            assert_eq!(reads(text.as_bytes()).unwrap(), text.trim_end());
        }
        assert_eq!(reads(&[b'x'; 4096]).unwrap().len(), 4096);
    }

    #[test]
    fn anything_else_is_unfit() {
        for (text, why) in [
            (&b""[..], Unfit::Empty),
            (b"\n", Unfit::Empty),
            (b"  \n", Unfit::Empty),
            (b"a\nb", Unfit::Lines),
            (b"a\n\n", Unfit::Lines),
            (b"a\x00b", Unfit::Characters),
            (b"a\tb", Unfit::Characters),
            (b"a\rb", Unfit::Characters),
            (b" a", Unfit::Characters),
            (b"a ", Unfit::Characters),
            (b"\xc3\xa9", Unfit::Characters),
            (&[b'x'; 4097], Unfit::Long),
        ] {
            assert_eq!(reads(text), Err(why), "{text:?}");
        }
    }

    #[test]
    fn a_secret_is_not_shown_by_debug() {
        assert!(!format!("{:?}", parse(b"glpat-secret")).contains("secret"));
    }

    #[derive(Default)]
    struct Heard(Mutex<Vec<String>>);

    impl News for Heard {
        fn credential_changed(&self, _: &Path) {
            lock(&self.0).push("changed".into());
        }
        fn credential_unfit(&self, _: &Path, why: &Unfit, kept: bool) {
            lock(&self.0).push(format!("unfit {why} {kept}"));
        }
        fn credential_old(&self, _: &Path, days: u64) {
            lock(&self.0).push(format!("old {days}"));
        }
    }

    #[test]
    fn a_thread_that_hangs_is_not_waited_for() {
        let hung = Builder::new().spawn(|| std::thread::sleep(Duration::from_secs(30)));
        let credentials = Credentials {
            watched: Arc::new([]),
            stop: Arc::default(),
            thread: hung.ok(),
        };
        let begin = Instant::now();
        credentials.stop();
        assert!(begin.elapsed() < Duration::from_secs(20));
    }

    #[test]
    fn the_last_good_one_stays_in_force() {
        let dir = std::env::temp_dir().join(format!("gate-credential-{}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        let path = dir.join("token");
        std::fs::write(&path, "one\n").unwrap();
        let news = Arc::new(Heard::default());
        let watched = Watched {
            path: path.clone(),
            secret: ArcSwapOption::empty(),
            seen: Mutex::default(),
        };
        let told = Told(dir.clone());
        let look = || watched.look(&*news, &told);
        let now = || watched.secret.load_full().map(|it| it.reveal().to_owned());
        look();
        assert_eq!(now().as_deref(), Some("one"));
        std::fs::write(&path, "two\nlines\n").unwrap();
        look();
        look();
        assert_eq!(now().as_deref(), Some("one"));
        std::fs::remove_file(&path).unwrap();
        look();
        assert_eq!(now().as_deref(), Some("one"));
        std::fs::write(&path, "three").unwrap();
        File::open(&path)
            .unwrap()
            .set_modified(std::time::SystemTime::now() - Duration::from_secs(31 * 86_400))
            .unwrap();
        look();
        look();
        assert_eq!(now().as_deref(), Some("three"));
        let heard = lock(&news.0).join(", ");
        assert!(
            heard.starts_with("unfit it holds more than one line true, unfit No such file"),
            "{heard}"
        );
        assert!(heard.ends_with("changed, old 31"), "{heard}");
        assert!(!told.first(&path));
        std::fs::remove_dir_all(&dir).unwrap();
    }
}
