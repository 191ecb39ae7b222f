//! A lock in memory that processes share, and who of them still runs.

use std::cell::UnsafeCell;
use std::mem::MaybeUninit;

/// A lock between processes, that survives the end of who holds it. Zeroes: not yet prepared.
pub struct Lock(UnsafeCell<libc::pthread_mutex_t>);

// SAFETY: the mutex is only used by pthread's functions, which are made for many threads.
unsafe impl Sync for Lock {}

impl Lock {
    /// Makes it usable. Once, before anybody else sees it.
    pub fn prepare(&self) -> bool {
        let mut attributes = MaybeUninit::<libc::pthread_mutexattr_t>::uninit();
        // SAFETY: `attributes` is initialised before it is used, and nobody uses the mutex yet.
        unsafe {
            libc::pthread_mutexattr_init(attributes.as_mut_ptr()) == 0
                && libc::pthread_mutexattr_setpshared(
                    attributes.as_mut_ptr(),
                    libc::PTHREAD_PROCESS_SHARED,
                ) == 0
                && libc::pthread_mutexattr_setrobust(
                    attributes.as_mut_ptr(),
                    libc::PTHREAD_MUTEX_ROBUST,
                ) == 0
                && libc::pthread_mutex_init(self.0.get(), attributes.as_ptr()) == 0
        }
    }

    /// Runs `body` alone among all processes. What it guards is whole at every step, so that a
    /// holder may die in the middle.
    pub fn with<T>(&self, body: impl FnOnce() -> T) -> T {
        // SAFETY: prepared by `new_table`, which gives no table where that failed.
        unsafe {
            if libc::pthread_mutex_lock(self.0.get()) == libc::EOWNERDEAD {
                libc::pthread_mutex_consistent(self.0.get());
            }
        }
        let result = body();
        // SAFETY: locked above, by this thread.
        unsafe { libc::pthread_mutex_unlock(self.0.get()) };
        result
    }
}

/// Whether a process of that id runs; what can't be asked does.
pub fn is_running(process: u32) -> bool {
    let Ok(process) = libc::pid_t::try_from(process) else {
        return false;
    };
    // SAFETY: signal 0 only asks.
    let answer = unsafe { libc::kill(process, 0) };
    answer == 0 || std::io::Error::last_os_error().raw_os_error() != Some(libc::ESRCH)
}
