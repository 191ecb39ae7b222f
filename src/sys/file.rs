//! Descriptors that the parent opened as root and every child inherits: what std has no safe name
//! for. Locks are the process's own (fcntl), since inherited descriptors share everything else.

use std::fs::File;
use std::io;
use std::mem::ManuallyDrop;
use std::os::fd::{AsRawFd, FromRawFd};
use std::time::{Duration, Instant};

/// The user that this process runs as.
#[must_use]
pub fn user() -> u32 {
    // SAFETY: takes nothing and can't fail.
    unsafe { libc::geteuid() }
}

/// A descriptor of the host's, which closes it.
#[derive(Debug)]
pub struct Inherited(ManuallyDrop<File>);

impl Inherited {
    /// `None`: that is no descriptor.
    #[must_use]
    pub(crate) fn new(descriptor: i32) -> Option<Self> {
        // SAFETY: gate.h: it stays open as long as this value; it is never closed here.
        (descriptor >= 0).then(|| Self(ManuallyDrop::new(unsafe { File::from_raw_fd(descriptor) })))
    }

    /// As a file.
    #[must_use]
    pub fn file(&self) -> &File {
        &self.0
    }

    /// From now on a write that would wait fails instead.
    ///
    /// # Errors
    /// The kernel's.
    pub fn never_wait(&self) -> io::Result<()> {
        let descriptor = self.0.as_raw_fd();
        // SAFETY: an open descriptor, and flags alone.
        let done = unsafe {
            let flags = libc::fcntl(descriptor, libc::F_GETFL);
            flags >= 0 && libc::fcntl(descriptor, libc::F_SETFL, flags | libc::O_NONBLOCK) >= 0
        };
        done.then_some(()).ok_or_else(io::Error::last_os_error)
    }

    /// Waits until something can be written; whether it can.
    #[must_use]
    pub fn writable_within(&self, longest: Duration) -> bool {
        let mut poll = libc::pollfd {
            fd: self.0.as_raw_fd(),
            events: libc::POLLOUT,
            revents: 0,
        };
        let millis = i32::try_from(longest.as_millis()).unwrap_or(i32::MAX);
        // SAFETY: one live pollfd.
        unsafe { libc::poll(&raw mut poll, 1, millis) == 1 }
    }
}

/// The lock on a whole file, between processes; given back when dropped.
#[derive(Debug)]
pub struct ProcessLock<'f>(&'f File);

impl<'f> ProcessLock<'f> {
    /// Waits for it. Only one thread of a process may ask.
    ///
    /// # Errors
    /// It was not given within `longest`.
    pub fn wait(file: &'f File, longest: Duration) -> io::Result<Self> {
        let until = Instant::now() + longest;
        loop {
            match set(file, libc::F_WRLCK) {
                Ok(()) => return Ok(Self(file)),
                Err(error) if Instant::now() >= until => return Err(error),
                Err(_) => std::thread::sleep(Duration::from_micros(300)),
            }
        }
    }
}

impl Drop for ProcessLock<'_> {
    fn drop(&mut self) {
        let _ = set(self.0, libc::F_UNLCK);
    }
}

fn set(file: &File, kind: i32) -> io::Result<()> {
    let lock = libc::flock {
        l_type: i16::try_from(kind).unwrap_or_default(),
        l_whence: 0, // SEEK_SET
        l_start: 0,
        l_len: 0,
        l_pid: 0,
    };
    // SAFETY: an open descriptor and a live flock.
    let result = unsafe { libc::fcntl(file.as_raw_fd(), libc::F_SETLK, &raw const lock) };
    (result == 0)
        .then_some(())
        .ok_or_else(io::Error::last_os_error)
}
