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
        let _held = Held(self);
        body()
    }
}

/// The lock in this thread's hands: given back whatever becomes of who took it.
struct Held<'l>(&'l Lock);

impl Drop for Held<'_> {
    fn drop(&mut self) {
        // SAFETY: locked by `with`, in this thread.
        unsafe { libc::pthread_mutex_unlock(self.0.0.get()) };
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

#[cfg(test)]
mod tests {
    use super::*;
    use std::panic::{AssertUnwindSafe, catch_unwind};

    #[test]
    fn a_panic_gives_the_lock_back() {
        // SAFETY: all zeroes is a mutex that `prepare` makes.
        let lock: Lock = unsafe { std::mem::zeroed() };
        assert!(lock.prepare());
        let run = AssertUnwindSafe(|| lock.with(|| std::panic::resume_unwind(Box::new(()))));
        assert!(catch_unwind::<_, ()>(run).is_err());
        // SAFETY: prepared above; who can't have it is told so.
        let free = unsafe { libc::pthread_mutex_trylock(lock.0.get()) };
        assert_eq!(free, 0);
        // SAFETY: locked just now, in this thread.
        unsafe { libc::pthread_mutex_unlock(lock.0.get()) };
    }
}
