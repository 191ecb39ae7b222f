//! C text in and out: borrowed views of what C hands over, and copies in a pool.

use super::ffi::{gate_host, gate_pair};
use crate::sys::pairs::{Pair, Pairs};
use std::ffi::{CStr, c_char, c_void};

/// The bytes of C text; `None` where it is NULL.
///
/// # Safety
/// `text` is NULL, or NUL-terminated and unchanged for `'a`.
pub(super) unsafe fn bytes<'a>(text: *const c_char) -> Option<&'a [u8]> {
    // SAFETY: the caller's promise.
    (!text.is_null()).then(|| unsafe { CStr::from_ptr(text) }.to_bytes())
}

/// C text as Rust text; what is not UTF-8 becomes U+FFFD.
///
/// # Safety
/// As [`bytes`].
pub(super) unsafe fn lossy(text: *const c_char) -> Option<String> {
    // SAFETY: the caller's promise.
    unsafe { bytes(text) }.map(|it| String::from_utf8_lossy(it).into_owned())
}

/// The words of an argument vector.
///
/// # Safety
/// `argv` points to `argc` texts as [`bytes`] wants them.
pub(super) unsafe fn words(argc: i32, argv: *const *const c_char) -> Vec<String> {
    (0..usize::try_from(argc).unwrap_or(0))
        // SAFETY: the caller's promise.
        .map(|at| unsafe { lossy(*argv.add(at)) }.unwrap_or_default())
        .collect()
}

/// A slice of C's.
///
/// # Safety
/// `start` points to `count` values that are unchanged for `'a`, or `count` is 0.
pub(super) unsafe fn slice<'a, T>(start: *const T, count: usize) -> &'a [T] {
    if start.is_null() || count == 0 {
        return &[];
    }
    // SAFETY: the caller's promise.
    unsafe { std::slice::from_raw_parts(start, count) }
}

const _: () = {
    assert!(size_of::<Pair>() == size_of::<gate_pair>());
    assert!(std::mem::offset_of!(Pair, value) == std::mem::offset_of!(gate_pair, value));
};

/// A rendered list, as C reads it.
pub(super) fn pairs(list: &Pairs) -> &[gate_pair] {
    let list = list.as_slice();
    // SAFETY: the same layout, asserted above; borrowed as long as the list.
    unsafe { slice(list.as_ptr().cast(), list.len()) }
}

/// A pool of httpd's, for what an answer holds.
#[derive(Clone, Copy)]
pub(super) struct Pool {
    alloc: unsafe extern "C" fn(*mut c_void, usize) -> *mut c_void,
    pool: *mut c_void,
}

impl Pool {
    /// # Safety
    /// `pool` is a live pool of the host's.
    pub(super) unsafe fn new(host: &gate_host, pool: *mut c_void) -> Option<Self> {
        host.alloc.map(|alloc| Self { alloc, pool })
    }

    /// Text in the pool, cut at its first NUL.
    pub(super) fn text(self, text: impl AsRef<[u8]>) -> *const c_char {
        let text = text.as_ref();
        let end = memchr::memchr(0, text).unwrap_or(text.len());
        let text = text.get(..end).unwrap_or_default();
        // SAFETY: alloc is apr_palloc, which gives that many bytes or ends the process; the copy
        // and its NUL fit.
        unsafe {
            let start = (self.alloc)(self.pool, text.len() + 1).cast::<u8>();
            std::ptr::copy_nonoverlapping(text.as_ptr(), start, text.len());
            start.add(text.len()).write(0);
            start.cast()
        }
    }

    /// Values in the pool.
    pub(super) fn slice<T: Copy>(self, values: &[T]) -> *const T {
        if values.is_empty() {
            return std::ptr::null();
        }
        // SAFETY: as above; apr_palloc aligns to 8 bytes, which is enough for the ABI's types.
        unsafe {
            let start = (self.alloc)(self.pool, size_of_val(values)).cast::<T>();
            std::ptr::copy_nonoverlapping(values.as_ptr(), start, values.len());
            start
        }
    }
}
