//! Appending to the log: one process at a time, whole lines, and the chain's state beside it.
//!
//! The state is a small file of its own: beside the log where that is a file, else in the state
//! directory. It holds where the chain stands and, while a batch is being written, where it will
//! stand: whoever finds that left over by a process that died looks at the log's own end, and so does
//! each start, since after a power loss the one may be older than the other. The file is also the lock. Only writer threads (and the parent) come here, never a request.

use super::chain::{ChainKey, Link, Sealed};
use crate::sys::file::{Inherited, ProcessLock};
use memchr::memchr_iter;
use std::fmt::Write as _;
use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, Instant};

/// How long one batch may wait for a reader, or for another process.
const PATIENCE: Duration = Duration::from_secs(2);
/// How much of the log's end is looked at for its last line.
const TAIL: u64 = 256 << 10;

/// The open log.
#[derive(Debug)]
pub struct Log {
    target: Inherited,
    is_file: bool,
    state: File,
    key: Option<Arc<ChainKey>>,
    /// The log's own end has not been looked at since the start.
    fresh: AtomicBool,
}

/// How a file ends.
struct End {
    link: Link,
    /// Its seal is one that belongs there.
    fits: bool,
}

/// A batch that was not written whole.
#[derive(Debug)]
pub struct Failure {
    /// Lines that were written all the same.
    pub written: usize,
    /// Why not the others.
    pub error: io::Error,
}

/// What the state file says.
#[derive(Clone, Copy, Debug, Default)]
struct State {
    link: Link,
    /// Where the chain will stand when the batch under way is written.
    pending: Option<Link>,
}

impl Log {
    /// Takes over the open descriptor; `path` where it is a file's.
    ///
    /// # Errors
    /// What can't be opened, for the error log.
    pub fn open(
        target: Inherited,
        path: Option<&Path>,
        state_dir: &Path,
        key: Option<Arc<ChainKey>>,
    ) -> Result<Self, String> {
        let is_file = target.file().metadata().is_ok_and(|it| it.is_file());
        let beside = |path: &Path| {
            let mut name = path.as_os_str().to_owned();
            name.push(".chain");
            PathBuf::from(name)
        };
        let state_path = path
            .filter(|_| is_file)
            .map_or_else(|| state_dir.join("audit.chain"), beside);
        let state = OpenOptions::new()
            .create(true)
            .truncate(false)
            .read(true)
            .write(true)
            .mode(0o600)
            .custom_flags(libc::O_NOFOLLOW | libc::O_CLOEXEC)
            .open(&state_path)
            .map_err(|error| format!("{}: {error}", state_path.display()))?;
        if !is_file {
            target.never_wait().map_err(|error| error.to_string())?;
        }
        Ok(Self {
            target,
            is_file,
            state,
            key,
            fresh: AtomicBool::new(true),
        })
    }

    /// The chain would begin behind lines without a seal, where no verification passes.
    #[must_use]
    pub fn has_unsealed_lines(&self) -> bool {
        self.is_file
            && self.key.is_some()
            && self.size() > 0
            && ProcessLock::wait(&self.state, PATIENCE)
                .is_ok_and(|_lock| self.end(Link::default()).is_none())
    }

    /// Appends open lines (each ended by a line feed), all or the first of them.
    ///
    /// # Errors
    /// How many were written, and what happened to the others.
    pub fn append(&self, lines: &[u8]) -> Result<usize, Failure> {
        let nothing = |error| Failure { written: 0, error };
        let _lock = ProcessLock::wait(&self.state, PATIENCE * 2).map_err(nothing)?;
        let mut state = match &self.key {
            Some(_) => self.load().map_err(nothing)?,
            None => State::default(),
        };
        let mut text = Vec::with_capacity(lines.len() + lines.len() / 4 + 128);
        let mut ends: Vec<(usize, Link)> = Vec::new();
        let mut link = state.link;
        let mut start = 0;
        for end in memchr_iter(b'\n', lines) {
            let open = lines.get(start..end).unwrap_or_default();
            start = end + 1;
            match &self.key {
                Some(key) => key.seal(&mut link, open, &mut text),
                None => {
                    text.extend_from_slice(open);
                    text.extend_from_slice(b"}}");
                }
            }
            text.push(b'\n');
            ends.push((text.len(), link));
        }
        if self.key.is_some() {
            state.pending = Some(link);
            self.save(&state).map_err(nothing)?;
        }
        let before = self.size();
        let (bytes, result) = self.write(&text);
        let whole = ends.iter().take_while(|(end, _)| *end <= bytes).count();
        let (end, link) = whole
            .checked_sub(1)
            .and_then(|at| ends.get(at).copied())
            .unwrap_or((0, state.link));
        if bytes > end {
            self.mend(before, end);
        }
        if self.key.is_some() {
            let saved = self.save(&State {
                link,
                pending: None,
            });
            if let (Ok(()), Err(error)) = (&result, saved) {
                return Err(Failure {
                    written: whole,
                    error,
                });
            }
        }
        match result {
            Ok(()) => Ok(whole),
            Err(error) => Err(Failure {
                written: whole,
                error,
            }),
        }
    }

    /// One write for all, on a file; a pipe may take it in pieces.
    fn write(&self, text: &[u8]) -> (usize, io::Result<()>) {
        let until = Instant::now() + PATIENCE;
        let mut done = 0;
        while let Some(rest) = text.get(done..).filter(|it| !it.is_empty()) {
            match self.target.file().write(rest) {
                Ok(0) => return (done, Err(io::ErrorKind::WriteZero.into())),
                Ok(count) => done += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    let left = until.saturating_duration_since(Instant::now());
                    if left.is_zero() || !self.target.writable_within(left) {
                        let slow = io::Error::other("its reader does not read");
                        return (done, Err(slow));
                    }
                }
                Err(error) => return (done, Err(error)),
            }
        }
        (done, Ok(()))
    }

    /// Takes back the beginning of a line: from a file by cutting it, else by ending the line.
    fn mend(&self, before: u64, end: usize) {
        if self.is_file {
            let _ = self.target.file().set_len(before + end as u64);
        } else {
            let _ = self.target.file().write(b"\n");
        }
    }

    fn size(&self) -> u64 {
        self.target.file().metadata().map_or(0, |it| it.len())
    }

    fn load(&self) -> io::Result<State> {
        let mut bytes = [0; 512];
        let length = self.state.read_at(&mut bytes, 0)?;
        let text = bytes
            .get(..length)
            .and_then(|it| std::str::from_utf8(it).ok());
        let text = text.unwrap_or_default().trim_end();
        let mut words = text.split(' ');
        let link = words.next().and_then(Link::parse);
        let pending = words.next().and_then(Link::parse);
        let fresh = self.fresh.swap(false, Relaxed);
        let end = if fresh || link.is_none() || pending.is_some() {
            self.end(link.unwrap_or_default())
        } else {
            None
        };
        let further = |than: Link| {
            end.as_ref()
                .filter(|it| it.fits && it.link.sequence > than.sequence)
                .map_or(than, |it| it.link)
        };
        let link = match (link, pending) {
            (Some(link), None) => further(link),
            // A process died while it wrote: the log's end says how far it came. Where the log has
            // been moved away meanwhile nothing says so: better a gap than a number given twice.
            (Some(link), Some(pending)) => match &end {
                Some(end) if (link.sequence..=pending.sequence).contains(&end.link.sequence) => {
                    end.link
                }
                None if self.is_file && link.sequence == 0 => link,
                _ => further(pending),
            },
            // A new state, as after the runtime directory was emptied: the log goes on.
            (None, _) => end.map(|it| it.link).unwrap_or_default(),
        };
        Ok(State {
            link,
            pending: None,
        })
    }

    fn save(&self, state: &State) -> io::Result<()> {
        let mut text = state.link.to_string();
        if let Some(pending) = &state.pending {
            let _ = write!(text, " {pending}");
        }
        let mut line = format!("{text:<200}").into_bytes();
        line.push(b'\n');
        self.state.write_all_at(&line, 0)
    }

    /// The seal of a file's last whole line; `before`: of the line before it, where that stands elsewhere.
    /// The beginning of a line after it is cut off.
    fn end(&self, before: Link) -> Option<End> {
        if !self.is_file {
            return None;
        }
        let size = self.size();
        let from = size.saturating_sub(TAIL);
        let mut tail = vec![0; usize::try_from(size - from).ok()?];
        self.target.file().read_exact_at(&mut tail, from).ok()?;
        let end = tail.iter().rposition(|b| *b == b'\n')? + 1;
        if end < tail.len() {
            let _ = self.target.file().set_len(from + end as u64);
        }
        let mut lines = tail.get(..end - 1)?.rsplit(|b| *b == b'\n');
        let last = Sealed::parse(lines.next()?)?;
        let before = lines
            .next()
            .and_then(Sealed::parse)
            .map_or(before, |it| it.link);
        Some(End {
            link: last.link,
            fits: self.key.as_ref().is_some_and(|it| it.fits(&before, &last)),
        })
    }
}
