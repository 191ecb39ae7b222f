//! Signals, for gatectl: what it is told, it passes on to the command that it runs.

use std::mem::MaybeUninit;
use std::os::unix::process::CommandExt;
use std::process::Command;

const PASSED_ON: [i32; 6] = [
    libc::SIGTERM,
    libc::SIGHUP,
    libc::SIGINT,
    libc::SIGQUIT,
    libc::SIGUSR1,
    libc::SIGUSR2,
];

fn set() -> libc::sigset_t {
    let mut set = MaybeUninit::uninit();
    // SAFETY: sigemptyset makes it whole before anything reads it.
    unsafe {
        libc::sigemptyset(set.as_mut_ptr());
        for signal in PASSED_ON {
            libc::sigaddset(set.as_mut_ptr(), signal);
        }
        set.assume_init()
    }
}

/// The signals that came through before [`hold_back`].
#[derive(Clone, Copy)]
pub struct Before(libc::sigset_t);

/// From now on, in this thread and those that it starts, [`next`] alone sees those signals.
#[must_use]
pub fn hold_back() -> Before {
    let mut before = SET.0;
    // SAFETY: a whole set, and a place for what was.
    unsafe { libc::pthread_sigmask(libc::SIG_BLOCK, &raw const SET.0, &raw mut before) };
    Before(before)
}

impl Before {
    /// The command sees its signals as if none had been held back.
    pub fn holds_for(self, command: &mut Command) {
        let restore = move || {
            // SAFETY: a whole set; between fork and exec this call is allowed (POSIX, fork).
            unsafe {
                libc::pthread_sigmask(libc::SIG_SETMASK, &raw const self.0, std::ptr::null_mut())
            };
            Ok(())
        };
        // SAFETY: it allocates nothing and takes no lock.
        unsafe { command.pre_exec(restore) };
    }
}

/// Waits for one; its number.
#[must_use]
pub fn next() -> i32 {
    let mut signal = 0;
    // SAFETY: a whole set, and a place for the number.
    unsafe { libc::sigwait(&raw const SET.0, &raw mut signal) };
    signal
}

/// Whether this process was started with that signal ignored (`nohup`, a shell's `&`).
#[must_use]
pub fn is_ignored(signal: i32) -> bool {
    let mut now = MaybeUninit::<libc::sigaction>::zeroed();
    // SAFETY: only asks, into a place for the answer; zeroes are a whole sigaction.
    unsafe {
        libc::sigaction(signal, std::ptr::null(), now.as_mut_ptr()) == 0
            && now.assume_init().sa_sigaction == libc::SIG_IGN
    }
}

/// Sends a process a signal.
pub fn send(process: u32, signal: i32) {
    if let Ok(process) = libc::pid_t::try_from(process) {
        // SAFETY: no memory is touched.
        unsafe { libc::kill(process, signal) };
    }
}

struct Set(libc::sigset_t);

static SET: std::sync::LazyLock<Set> = std::sync::LazyLock::new(|| Set(set()));
