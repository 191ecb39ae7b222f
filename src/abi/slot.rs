//! The numbers of `enum gate_slot`, under the names that `directive` uses.

use super::ffi;

pub const ACCEPT: u32 = ffi::GATE_SLOT_ACCEPT;
pub const TOKEN_FROM: u32 = ffi::GATE_SLOT_TOKEN_FROM;
pub const FORWARD_TOKEN: u32 = ffi::GATE_SLOT_FORWARD_TOKEN;
pub const AUDIT_ON: u32 = ffi::GATE_SLOT_AUDIT_ON;
pub const MODE: u32 = ffi::GATE_SLOT_MODE;
pub const TARGET: u32 = ffi::GATE_SLOT_TARGET;
pub const LIFETIME: u32 = ffi::GATE_SLOT_LIFETIME;
pub const IDLE: u32 = ffi::GATE_SLOT_IDLE;
pub const JOB: u32 = ffi::GATE_SLOT_JOB;
pub const MAX_OPEN: u32 = ffi::GATE_SLOT_MAX_OPEN;
pub const UPSTREAM_TOKEN: u32 = ffi::GATE_SLOT_UPSTREAM_TOKEN;
pub const SUDO: u32 = ffi::GATE_SLOT_SUDO;
pub const ASSERTION: u32 = ffi::GATE_SLOT_ASSERTION;
