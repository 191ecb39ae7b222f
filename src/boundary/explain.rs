//! gate_explain…: questions about requests that nobody sent.

use super::cast::Castable;
use super::ffi::{self, gate_explained, gate_request};
use super::ports::{reason_c, share, wish};
use super::text::{bytes, lossy, slice};
use super::view::{View, identity_of};
use crate::explain::roles;
use crate::gate::Process;
use serde_json::{Value, json};
use std::ffi::{c_char, c_void};

entry! {
    fn gate_explain_token(process: *mut ffi::gate_process, request: *const gate_request) -> *const c_char {
        // SAFETY: gate.h: a live process and request, text or NULL.
        let (process, raw) = unsafe { (Process::borrow(process), request.as_ref()) };
        let Some((process, raw)) = process.zip(raw) else {
            return std::ptr::null();
        };
        // SAFETY: as above.
        let token = unsafe { bytes(raw.token) };
        let Some((view, token)) = View::new(raw).zip(token) else {
            return std::ptr::null();
        };
        let told = process.explain_token(&view.section(), token);
        view.pool().text(told.to_string())
    } else std::ptr::null()
}

entry! {
    fn gate_explain_port(
        process: *mut ffi::gate_process, request: *const gate_request, identity: *const ffi::gate_identity,
        name: *const c_char, reason: *mut *const c_char, detail: *mut *const c_char,
    ) -> *const c_char {
        // SAFETY: gate.h: a live process, request and identity; text.
        let (process, raw, identity, name) = unsafe {
            (
                Process::borrow(process),
                request.as_ref(),
                share(identity),
                lossy(name),
            )
        };
        let (Some(process), Some(raw), Some(identity), Some(name)) = (process, raw, identity, name)
        else {
            return std::ptr::null();
        };
        let Some(view) = View::new(raw) else {
            return std::ptr::null();
        };
        let (refusal, told) = process.ports.explain(&wish(&view, identity, &name));
        if let Some(refusal) = refusal {
            // SAFETY: gate.h: both are writable.
            unsafe {
                reason.write(reason_c(refusal.reason).as_ptr());
                detail.write(view.pool().text(refusal.detail));
            }
        }
        view.pool().text(told.to_string())
    } else std::ptr::null()
}

entry! {
    fn gate_explain(explained: *const gate_explained, pool: *mut c_void) -> *const c_char {
        // SAFETY: gate.h: a live answer.
        let Some((it, pool)) = unsafe { explained.as_ref() }.zip(super::host::pool(pool)) else {
            return std::ptr::null();
        };
        // SAFETY: gate.h: text or NULL, an identity or NULL, arrays of these lengths.
        let (text, identity, upstream, rules) = unsafe {
            (
                |text: *const c_char| lossy(text).map_or(Value::Null, Value::String),
                identity_of(it.identity),
                slice(it.upstream, it.upstream_count),
                slice(it.rules, it.rule_count),
            )
        };
        // SAFETY: as above.
        let (checks, port) = unsafe { (bytes(it.checks), bytes(it.port)) };
        let parsed = |it: Option<&[u8]>| it.and_then(|it| serde_json::from_slice::<Value>(it).ok());
        let granted = it.status == 200;
        let value = json!({
            "server": text(it.server),
            "method": text(it.method),
            "path": text(it.path),
            "peer": text(it.peer),
            "place": text(it.place),
            "gated": it.gated != 0,
            "granted": granted,
            "status": it.status,
            "reason": text(it.reason),
            "detail": text(it.detail),
            "observed": it.observed != 0,
            "token": parsed(checks),
            "user": identity.map(|it| it.user().to_owned()),
            "roles": identity.map(roles),
            "rules": rules.iter().map(|rule| {
                let missing = text(rule.value);
                json!({ "require": text(rule.name), "holds": missing == "", "detail": missing })
            }).collect::<Vec<_>>(),
            "port": parsed(port),
            "handler": text(it.handler),
            "forward": text(it.forward),
            "upstream": upstream.iter().map(|pair| {
                json!({ "name": text(pair.name), "value": text(pair.value) })
            }).collect::<Vec<_>>(),
        });
        pool.text(format!("{value:#}\n"))
    } else std::ptr::null()
}
