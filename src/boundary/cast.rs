//! The library's values behind the contract's opaque pointers: one cast each, written once.

use super::configuration::Handle;
use super::ffi;
use crate::config::Setting;
use crate::gate::Process;
use crate::grant::Grant;
use crate::policy::require::Rule;
use crate::port::Port;
use crate::port::cut::Cut;
use crate::upstream::body::Body;

/// A value that C holds by a pointer to an opaque type of its own.
pub(super) trait Castable: Sized {
    /// The type in gate.h.
    type C;

    /// # Safety
    /// NULL, or a live value of this type that nobody changes for `'a`.
    unsafe fn borrow<'a>(pointer: *const Self::C) -> Option<&'a Self> {
        // SAFETY: the caller's promise.
        unsafe { pointer.cast::<Self>().as_ref() }
    }

    /// # Safety
    /// NULL, or a live value of this type that nobody else uses for `'a`.
    unsafe fn borrow_mut<'a>(pointer: *mut Self::C) -> Option<&'a mut Self> {
        // SAFETY: the caller's promise.
        unsafe { pointer.cast::<Self>().as_mut() }
    }

    /// Gives the value to C.
    fn give(self) -> *mut Self::C {
        Box::into_raw(Box::new(self)).cast()
    }

    /// Takes the value back; `None` where it is NULL.
    ///
    /// # Safety
    /// NULL, or what `give` returned, once.
    unsafe fn take(pointer: *mut Self::C) -> Option<Box<Self>> {
        // SAFETY: the caller's promise.
        (!pointer.is_null()).then(|| unsafe { Box::from_raw(pointer.cast::<Self>()) })
    }
}

macro_rules! castable {
    ($($type:ty = $c:ident)*) => {
        $(impl Castable for $type {
            type C = ffi::$c;
        })*
    };
}

castable! {
    Handle = gate_config
    Setting = gate_setting
    Process = gate_process
    Grant = gate_identity
    Rule = gate_rule
    Body = gate_body
    Port = gate_port
    Cut = gate_cut
}
