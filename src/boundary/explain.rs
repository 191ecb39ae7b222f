//! gate_explain…: questions about requests that nobody sent.

use super::cast::Castable;
use super::ffi::{self, gate_explained, gate_request, gate_verdict};
use super::ports::asked;
use super::text::{bytes, lossy, slice};
use super::verdict::with;
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
        process: *mut ffi::gate_process, request: *const gate_request, verdict: *mut gate_verdict,
    ) -> *const c_char {
        // SAFETY: gate.h: a live process, request and verdict.
        let (process, both) = unsafe { (Process::borrow(process), with(request, verdict)) };
        let Some((process, (view, verdict))) = process.zip(both) else {
            return std::ptr::null();
        };
        let (refusal, told) = match asked(&view, verdict) {
            Ok(wish) => process.ports.explain(&wish),
            Err(refusal) => (Some(refusal), Value::Null),
        };
        if let Some(refusal) = refusal {
            view.refuse(&refusal, verdict);
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
        let (text, verdict, rules) = unsafe {
            (
                |text: *const c_char| lossy(text).map_or(Value::Null, Value::String),
                it.verdict.as_ref().copied().unwrap_or_default(),
                slice(it.rules, it.rule_count),
            )
        };
        // SAFETY: as above.
        let (identity, upstream) =
            unsafe { (identity_of(verdict.identity), slice(verdict.upstream, verdict.upstream_count)) };
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
            "reason": text(verdict.reason),
            "detail": text(verdict.detail),
            "observed": verdict.observed != 0,
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
