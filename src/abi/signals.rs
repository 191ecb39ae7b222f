//! Signals, for gatectl: what it is told, it passes on to the command that it runs.

use std::mem::MaybeUninit;

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

/// From now on, in this thread and those that it starts, [`next`] alone sees those signals.
pub fn hold_back() {
    // SAFETY: a whole set.
    unsafe { libc::pthread_sigmask(libc::SIG_BLOCK, &raw const SET.0, std::ptr::null_mut()) };
}

/// Waits for one; its number.
#[must_use]
pub fn next() -> i32 {
    let mut signal = 0;
    // SAFETY: a whole set, and a place for the number.
    unsafe { libc::sigwait(&raw const SET.0, &raw mut signal) };
    signal
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
