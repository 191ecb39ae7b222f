//! Memory that all children share: mapped in the parent before the first fork, and kept over
//! restarts, so that ports which an old child still has open are counted on.

use crate::jwks::Room;
use crate::port::table::Table;
use crate::status::Board;
use once_cell::sync::OnceCell;

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

/// Who waits for keys, in all children.
static ROOM: OnceCell<Option<&'static Room>> = OnceCell::new();

/// The waiting room that all children share; in a process whose parent made none, its own.
pub fn room() -> Option<&'static Room> {
    *ROOM.get_or_init(new_room)
}

/// A new waiting room.
pub fn new_room() -> Option<&'static Room> {
    // SAFETY: a Room is made of atomics, for which zeroes are a value.
    unsafe { zeroes::<Room>() }
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
