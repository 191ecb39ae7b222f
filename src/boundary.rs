//! The boundary to the C shim. The contract is c_shim/gate.h, which bindgen reads; each exported function is
//! checked against what bindgen made of it. No other room imports this one.
//!
//! Rust names no symbol of httpd: what it needs of its host comes in `gate_host`.
#![allow(unsafe_code)]

/// An entry from C: its body within the panic boundary, and what stands in for it where it panics. The function has
/// the type that gate.h declares.
macro_rules! entry {
    (fn $name:ident($($argument:ident: $type:ty),* $(,)?) $(-> $result:ty)? $body:block else $fallback:expr) => {
        /// See gate.h.
        ///
        /// # Safety
        /// As gate.h says.
        #[unsafe(no_mangle)]
        pub unsafe extern "C" fn $name($($argument: $type),*) $(-> $result)? {
            $crate::boundary::panic::boundary(stringify!($name), || $fallback, || $body)
        }
        const _: usize = [$crate::boundary::ffi::$name, $name].len();
    };
}

/// Each of these entries has the type that gate.h declares.
macro_rules! as_declared {
    ($($entry:ident)*) => {
        $(const _: usize = [ffi::$entry, $entry].len();)*
    };
}

mod audit; //        gate_audit_…: the log, its lines
mod cast; //          opaque pointers and the values behind them
mod configuration; // gate_config_…, gate_directive, gate_issuer_…
mod explain; //      gate_explain…: questions about requests that nobody sent
mod host; //         httpd's log and pools
mod panic; //       every entry's panic boundary
mod ports; //       gate_port_…, gate_cut_…
mod process; //     gate_child_…, log lines
mod requests; //    gate_next_spoofed and its kin: before a request is judged
mod rules; //       gate_rule_…, gate_identity_…: Require lines and expressions
mod text; //        C text in and out
mod unlog; //       gate_reads_query, gate_unlog, gate_referer: what no log may hold
mod upstream; //    gate_upstream, gate_handle
mod verdict; //       gate_judge, gate_rules, gate_refuse: a verdict, and refusals as they are sent
mod view; //        a request of httpd's

/// What bindgen made of c_shim/gate.h.
#[allow(
    missing_docs,
    non_camel_case_types,
    non_upper_case_globals,
    non_snake_case,
    dead_code,
    clippy::all,
    clippy::pedantic,
    clippy::indexing_slicing,
    unreachable_pub
)]
pub(crate) mod ffi {
    include!(concat!(env!("OUT_DIR"), "/gate.rs"));
}
