//! The state directory (`GateStateDir`), in which the processes of a host agree: per issuer one
//! document with its last good keys and its [`Schedule`], and one lock.
//!
//! The document is replaced whole (a new file, then a rename), so that it is read without the lock;
//! only who holds the lock writes it. Its keys are believed, so it must be the gate's own: a file
//! that others own or can write is treated as absent. Keys and times only: no token, no secret.

use super::schedule::Schedule;
use crate::json::Value;
use crate::sys::file::user;
use aws_lc_rs::digest;
use serde_json::json;
use std::fmt;
use std::fs::{DirBuilder, File, OpenOptions, TryLockError};
use std::io::{ErrorKind, Read as _, Write as _};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// The longest document: a JWKS of 1 MiB, every character of it escaped as a JSON string.
const MAX_BYTES: u64 = 8 * 1024 * 1024;

/// The document's layout. Another one's is treated as absent.
const LAYOUT: u64 = 1;

/// The state directory of this process.
pub struct StateDir {
    path: PathBuf,
    failing: AtomicBool,
}

impl StateDir {
    /// The directory at that path; it is made when first needed. Touches nothing.
    #[must_use]
    pub fn new(path: impl Into<PathBuf>) -> Arc<Self> {
        Arc::new(Self {
            path: path.into(),
            failing: AtomicBool::new(false),
        })
    }

    /// Whether that is the first failure in a row.
    pub(super) fn failed_first(&self) -> bool {
        !self.failing.swap(true, Ordering::Relaxed)
    }

    fn works(&self) {
        self.failing.store(false, Ordering::Relaxed);
    }
}

/// Why the state directory could not be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StoreError {
    /// The system says no: which path, and what it says.
    Io(PathBuf, String),
    /// The document was not written by the gate, or not to its end: what is wrong with it.
    Damaged(PathBuf, String),
    /// Others own it or can write it.
    Exposed(PathBuf),
    /// The lock is held beyond any fetch.
    Held(PathBuf),
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io(path, why) => write!(f, "{}: {why}", path.display()),
            Self::Damaged(path, why) => {
                write!(f, "{} is damaged and not used: {why}", path.display())
            }
            Self::Exposed(path) => write!(
                f,
                "{} is not used: another user of this machine could have written it",
                path.display()
            ),
            Self::Held(path) => write!(
                f,
                "{} is locked for longer than a fetch takes, by a process that was stopped or is none of the gate's; each child fetches for itself",
                path.display()
            ),
        }
    }
}

impl std::error::Error for StoreError {}

/// What the host keeps of an issuer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Kept {
    /// The last good keys.
    pub keys: Option<KeptKeys>,
    /// The fetches.
    pub schedule: Schedule,
}

/// The last good JWKS.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeptKeys {
    /// The URL it came from.
    pub source: String,
    /// The JWKS as it came.
    pub text: Arc<str>,
    /// When it came, or was last found unchanged.
    pub fetched_at: u64,
}

/// Tells one version of a file from the next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp {
    inode: u64,
    seconds: i64,
    nanoseconds: i64,
    bytes: u64,
    /// Of the file's owner and mode too: it may have become readable.
    changed: (i64, i64),
}

impl Stamp {
    /// The version that is there now; `None` where there is no file, or none to be seen.
    #[must_use]
    pub fn of(path: &Path) -> Option<Self> {
        let metadata = std::fs::metadata(path).ok()?;
        Some(Self {
            inode: metadata.ino(),
            seconds: metadata.mtime(),
            nanoseconds: metadata.mtime_nsec(),
            bytes: metadata.len(),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        })
    }
}

/// The right to fetch and to write for an issuer, among all processes of the host.
pub struct HostLock(File);

impl Drop for HostLock {
    fn drop(&mut self) {
        // Said explicitly: a child forked meanwhile may hold the open file too, and closing ours
        // would leave it locked.
        let _ = self.0.unlock();
    }
}

/// An issuer's place in the state directory.
pub struct Store {
    dir: Arc<StateDir>,
    document: PathBuf,
    lock: PathBuf,
    fresh: PathBuf,
    issuer: String,
    location: String,
    number: u64,
}

impl Store {
    /// The place of the issuer of that name in the configuration, `iss` and key location. Another
    /// `iss` or location is another place. Touches nothing.
    #[must_use]
    pub fn new(dir: &Arc<StateDir>, name: &str, issuer: &str, location: &str) -> Self {
        let slug: String = name
            .chars()
            .map(|letter| match letter {
                'a'..='z' | 'A'..='Z' | '0'..='9' => letter.to_ascii_lowercase(),
                _ => '-',
            })
            .take(40)
            .collect();
        let hash = digest::digest(&digest::SHA256, format!("{issuer}\n{location}").as_bytes());
        let hash: String = hash
            .as_ref()
            .iter()
            .take(8)
            .map(|byte| format!("{byte:02x}"))
            .collect();
        let file = |ending: &str| dir.path.join(format!("{slug}-{hash}.{ending}"));
        let number = digest::digest(&digest::SHA256, file("").as_os_str().as_bytes());
        let number = number.as_ref().first_chunk().copied();
        Self {
            dir: Arc::clone(dir),
            number: u64::from_ne_bytes(number.unwrap_or_default()),
            document: file("json"),
            lock: file("lock"),
            fresh: file("new"),
            issuer: issuer.to_owned(),
            location: location.to_owned(),
        }
    }

    /// A number that stands for this place, in all processes of the host.
    pub(super) const fn number(&self) -> u64 {
        self.number
    }

    /// The directory, which the issuers share.
    pub(super) fn dir(&self) -> &StateDir {
        &self.dir
    }

    /// The document's version. Cheap: one system call.
    #[must_use]
    pub fn stamp(&self) -> Option<Stamp> {
        Stamp::of(&self.document)
    }

    /// The document; `None` where there is none yet.
    ///
    /// # Errors
    ///
    /// [`StoreError`] where there is one that is not used.
    pub fn load(&self) -> Result<Option<Kept>, StoreError> {
        let io = |error: std::io::Error| StoreError::Io(self.document.clone(), error.to_string());
        let mut file = match OpenOptions::new()
            .read(true)
            .custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK)
            .open(&self.document)
        {
            Ok(file) => file,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(io(error)),
        };
        self.check_access(&file)?;
        let mut bytes = Vec::new();
        (&mut file)
            .take(MAX_BYTES + 1)
            .read_to_end(&mut bytes)
            .map_err(io)?;
        let damaged = |why: String| StoreError::Damaged(self.document.clone(), why);
        if bytes.len() as u64 > MAX_BYTES {
            return Err(damaged("it is too long".to_owned()));
        }
        let document = crate::json::parse(&bytes).map_err(|error| damaged(error.to_string()))?;
        self.read(&document)
            .ok_or_else(|| damaged("its members are not this issuer's".to_owned()))
            .map(Some)
    }

    /// A file planted by another user would be another user's keys.
    fn check_access(&self, file: &File) -> Result<(), StoreError> {
        let io = |error: std::io::Error| StoreError::Io(self.document.clone(), error.to_string());
        let file = file.metadata().map_err(io)?;
        let dir = std::fs::metadata(&self.dir.path).map_err(io)?;
        let own = file.is_file()
            && [0, user()].contains(&file.uid())
            && file.mode() & 0o022 == 0
            && dir.mode() & 0o002 == 0;
        own.then_some(())
            .ok_or_else(|| StoreError::Exposed(self.document.clone()))
    }

    fn read(&self, document: &Value) -> Option<Kept> {
        let number = |name: &str| document.get(name).and_then(Value::as_u64);
        let text = |name: &str| document.get(name).and_then(Value::as_str);
        if number("layout") != Some(LAYOUT)
            || text("issuer") != Some(&self.issuer)
            || text("location") != Some(&self.location)
        {
            return None;
        }
        let keys = match document.get("jwks")? {
            Value::Null => None,
            jwks => Some(KeptKeys {
                source: text("source")?.to_owned(),
                text: Arc::from(jwks.as_str()?),
                fetched_at: number("fetched_at")?,
            }),
        };
        Some(Kept {
            keys,
            schedule: Schedule {
                revision: number("revision")?,
                attempted_at: number("attempted_at")?,
                fetching: document.get("fetching")?.as_bool()?,
                next_at: number("next_at")?,
                forced_at: number("forced_at")?,
                failures: u32::try_from(number("failures")?).ok()?,
                error: text("error").map(str::to_owned),
            },
        })
    }

    fn written(&self, kept: &Kept) -> String {
        let schedule = &kept.schedule;
        let keys = kept.keys.as_ref();
        json!({
            "layout": LAYOUT,
            "issuer": self.issuer,
            "location": self.location,
            "source": keys.map(|keys| keys.source.as_str()),
            "fetched_at": keys.map(|keys| keys.fetched_at),
            "jwks": keys.map(|keys| &*keys.text),
            "revision": schedule.revision,
            "attempted_at": schedule.attempted_at,
            "fetching": schedule.fetching,
            "next_at": schedule.next_at,
            "forced_at": schedule.forced_at,
            "failures": schedule.failures,
            "error": schedule.error,
        })
        .to_string()
    }

    /// The issuer's lock, or `None` where another process has it. Never waits.
    ///
    /// # Errors
    ///
    /// [`StoreError`] where there can be no lock.
    pub fn try_lock(&self) -> Result<Option<HostLock>, StoreError> {
        let io = |error: std::io::Error| StoreError::Io(self.lock.clone(), error.to_string());
        let open = || {
            OpenOptions::new()
                .create(true)
                .truncate(false)
                .write(true)
                .mode(0o600)
                .custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK)
                .open(&self.lock)
        };
        let file = match open() {
            Err(error) if error.kind() == ErrorKind::NotFound => {
                DirBuilder::new()
                    .recursive(true)
                    .mode(0o700)
                    .create(&self.dir.path)
                    .map_err(|error| StoreError::Io(self.dir.path.clone(), error.to_string()))?;
                open()
            }
            other => other,
        }
        .map_err(io)?;
        match file.try_lock() {
            Ok(()) => Ok(Some(HostLock(file))),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(error)) => Err(io(error)),
        }
    }

    /// What is said of a document whose keys are none.
    pub(super) fn damaged(&self, why: String) -> StoreError {
        StoreError::Damaged(self.document.clone(), why)
    }

    /// What is said of a lock that is not given back.
    pub(super) fn held_too_long(&self) -> StoreError {
        StoreError::Held(self.lock.clone())
    }

    /// Replaces the document.
    ///
    /// # Errors
    ///
    /// [`StoreError`]; the old document stays then.
    pub fn save(&self, _held: &HostLock, kept: &Kept) -> Result<(), StoreError> {
        self.replace(&self.written(kept))
            .map_err(|error| StoreError::Io(self.document.clone(), error.to_string()))?;
        self.dir.works();
        Ok(())
    }

    fn replace(&self, text: &str) -> std::io::Result<()> {
        // What a process left that died while it wrote.
        match std::fs::remove_file(&self.fresh) {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let mut file = OpenOptions::new()
            .create_new(true)
            .write(true)
            .mode(0o600)
            .open(&self.fresh)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        std::fs::rename(&self.fresh, &self.document)?;
        // The rename itself; where it is lost, the old document is there.
        File::open(&self.dir.path)?.sync_all()
    }
}

#[cfg(test)]
mod tests;
