//! The numbers of `enum gate_slot`, under the names that `directive` uses.

use super::ffi;

pub const ACCEPT: u32 = ffi::GATE_SLOT_ACCEPT;
pub const TOKEN_FROM: u32 = ffi::GATE_SLOT_TOKEN_FROM;
pub const FORWARD_TOKEN: u32 = ffi::GATE_SLOT_FORWARD_TOKEN;
pub const AUDIT_ON: u32 = ffi::GATE_SLOT_AUDIT_ON;
pub const MODE: u32 = ffi::GATE_SLOT_MODE;
