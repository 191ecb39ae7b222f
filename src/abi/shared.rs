//! Memory that all children share: mapped in the parent before the first fork, and kept over
//! restarts, so that ports which an old child still has open are counted on.

use crate::port::table::Table;
use crate::status::Board;
use once_cell::sync::OnceCell;
use std::cell::UnsafeCell;
use std::mem::MaybeUninit;

/// The one table. It holds nothing of the configuration.
static TABLE: OnceCell<Option<&'static Table>> = OnceCell::new();

/// The table that all children share; in a process whose parent made none, its own.
pub fn table() -> Option<&'static Table> {
    *TABLE.get_or_init(new_table)
}

/// The counters that all children share.
static BOARD: OnceCell<Option<&'static Board>> = OnceCell::new();

/// The board that all children share; in a process whose parent made none, its own.
pub fn board() -> Option<&'static Board> {
    *BOARD.get_or_init(new_board)
}

/// A new board.
pub fn new_board() -> Option<&'static Board> {
    // SAFETY: a Board is made of atomics, for which zeroes are a value.
    unsafe { zeroes::<Board>() }
}

/// A new table.
pub fn new_table() -> Option<&'static Table> {
    // SAFETY: a Table is made of atomics and a Lock, for which zeroes are a value.
    let table = unsafe { zeroes::<Table>() }?;
    table.prepare().then_some(table)
}

/// Shared memory that holds a `T` of zeroes, and is never given back.
///
/// # Safety
/// Zeroes are a `T`, and a `T` may be used by many processes at once.
unsafe fn zeroes<T>() -> Option<&'static T> {
    // SAFETY: a mapping of its own; the flags ask for zeroed memory, and nothing else is changed.
    let memory = unsafe {
        libc::mmap(
            std::ptr::null_mut(),
            size_of::<T>(),
            libc::PROT_READ | libc::PROT_WRITE,
            libc::MAP_SHARED | libc::MAP_ANONYMOUS,
            -1,
            0,
        )
    };
    if memory == libc::MAP_FAILED {
        return None;
    }
    // SAFETY: page-aligned, of that size, never unmapped; the rest is the caller's promise.
    Some(unsafe { &*memory.cast::<T>() })
}

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
