//! gate_rule_… and gate_identity_…: what a Require line and an expression ask of an identity. What holds is said in
//! policy::require.

use super::cast::Castable;
use super::configuration::{Handle, PANICKED};
use super::ffi::{self, gate_denial};
use super::requests::pool_of;
use super::text::{Pool, lossy, words};
use super::view::identity_of;
use crate::directive::words::utf8;
use crate::field::{list, plain};
use crate::identity::{Identity, scalar};
use crate::json::Value;
use crate::policy::path::ClaimPath;
use crate::policy::require::{Rule, Unfulfilled};
use crate::verdict::Reason;
use std::borrow::Cow;
use std::ffi::{CStr, c_char, c_void};

entry! {
    fn gate_rule_new(
        config: *const ffi::gate_config, provider: *const c_char, argc: i32, argv: *const *const c_char,
        pool: *mut c_void, error: *mut *const c_char,
    ) -> *mut ffi::gate_rule {
        // SAFETY: gate.h.
        let (handle, provider, words) = unsafe {
            (
                Handle::borrow(config),
                lossy(provider),
                words(argc, argv),
            )
        };
        let (Some(handle), Some(provider)) = (handle, provider) else {
            return std::ptr::null_mut();
        };
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let parsed = utf8(&format!("Require {provider}"), &words)
            .and_then(|()| Rule::parse(&provider, &words));
        match parsed {
            Ok(rule) => rule.give(),
            Err(wrong) => {
                // SAFETY: gate.h: a live pool, and `error` is writable.
                unsafe {
                    *error =
                        Pool::new(&handle.host, pool).map_or(PANICKED, |pool| pool.text(wrong));
                }
                std::ptr::null_mut()
            }
        }
    } else std::ptr::null_mut()
}

entry! {
    fn gate_rule_free(rule: *mut ffi::gate_rule) {
        // SAFETY: made by gate_rule_new, and freed once, by the pool's cleanup.
        drop(unsafe { Rule::take(rule) });
    } else ()
}

/// Writes what is known of a rule that was not fulfilled; the first one stands.
///
/// # Safety
/// A writable denial or NULL.
unsafe fn deny(
    denial: *mut gate_denial,
    reason: Reason,
    detail: Option<*const c_char>,
    unknown: bool,
) {
    // SAFETY: the caller's promise.
    if let Some(denial) = unsafe { denial.as_mut() } {
        if denial.unknown == 0 && (unknown || denial.reason.is_null()) {
            denial.reason = reason.code_c().as_ptr();
            denial.detail = detail.unwrap_or(std::ptr::null());
        }
        denial.unknown |= i32::from(unknown);
    }
}

entry! {
    fn gate_rule_holds(
        config: *const ffi::gate_config, rule: *const ffi::gate_rule, negated: i32,
        identity: *const ffi::gate_identity, pool: *mut c_void, denial: *mut gate_denial,
    ) -> i32 {
        // SAFETY: gate.h.
        let (rule, identity, pool) = unsafe { (Rule::borrow(rule), identity_of(identity), pool_of(config, pool)) };
        let (Some(rule), Some(identity)) = (rule, identity) else {
            // SAFETY: gate.h: `denial` is writable.
            unsafe { deny(denial, Reason::Internal, None, true) };
            return 0;
        };
        let Err(Unfulfilled { refusal, certain }) = rule.check(identity) else {
            return 1;
        };
        let detail = pool.map(|pool| pool.text(refusal.detail));
        // SAFETY: gate.h: `denial` is writable.
        unsafe { deny(denial, refusal.reason, detail, !certain && negated != 0) };
        0
    // SAFETY: gate.h: `denial` is writable.
    } else unsafe { deny(denial, Reason::Internal, None, true); 0 }
}

const ASKED_IN_VAIN: &CStr =
    c"an expression asked for groups that the token does not list, or for roles while it names two projects";

/// Notes that an expression asked what can't be said.
///
/// # Safety
/// A writable denial or NULL.
unsafe fn asked_in_vain(denial: *mut gate_denial, identity: Option<&Identity>, path: Option<&str>) {
    // SAFETY: the caller's promise.
    unsafe {
        match identity {
            Some(identity) => {
                if let Some(reason) = left_out(identity, path) {
                    deny(denial, reason, Some(ASKED_IN_VAIN.as_ptr()), true);
                }
            }
            None => {
                if let Some(denial) = denial.as_mut() {
                    denial.nobody = 1;
                }
            }
        }
    }
}

entry! {
    fn gate_identity_claim(
        config: *const ffi::gate_config, identity: *const ffi::gate_identity, path: *const c_char, pool: *mut c_void,
        denial: *mut gate_denial,
    ) -> *const c_char {
        // SAFETY: gate.h.
        let (identity, path, pool) = unsafe { (identity_of(identity), lossy(path), pool_of(config, pool)) };
        // SAFETY: gate.h: `denial` is writable, or NULL.
        unsafe { asked_in_vain(denial, identity, path.as_deref()) };
        match (identity, path, pool) {
            (Some(identity), Some(path), Some(pool)) => pool.text(text(identity, &path).as_bytes()),
            _ => c"".as_ptr(),
        }
    // SAFETY: gate.h: `denial` is writable, or NULL.
    } else unsafe { deny(denial, Reason::Internal, None, true); c"".as_ptr() }
}

/// The code of the refusal where a claim, or the roles, can't be told: the issuer left the groups out, or
/// the token names two projects and one of them would give a role.
fn left_out(identity: &Identity, path: Option<&str>) -> Option<Reason> {
    let groups = match path {
        Some(path) => {
            identity.groups_left_out()
                && ClaimPath::parse(path).is_ok_and(|it| it.leads_into("groups"))
        }
        None => identity.groups_decide_roles(),
    };
    if groups {
        Some(Reason::GroupsOverage)
    } else if path.is_none() && !identity.doubtful_roles().is_empty() {
        Some(Reason::Role)
    } else {
        None
    }
}

fn claim<'i>(identity: &'i Identity, path: &str) -> Option<&'i Value> {
    ClaimPath::parse(path).ok()?.get(identity.claims())
}

/// A claim as one text; an array's items joined as in a header, so that none can forge a second one.
fn text<'i>(identity: &'i Identity, path: &str) -> Cow<'i, str> {
    match claim(identity, path) {
        Some(Value::Array(items)) => list(items.iter().filter_map(scalar)).into(),
        Some(value) => plain(scalar(value).unwrap_or_default()),
        None => Cow::default(),
    }
}

/// A claim's items as text: an array's, or the one that it is. Without a path the roles.
fn items<'i>(identity: &'i Identity, path: Option<&str>) -> Vec<Cow<'i, str>> {
    let found: Vec<_> = match path.map(|path| claim(identity, path)) {
        None => {
            let roles = identity.roles().iter();
            roles.map(|it| Cow::Borrowed(it.as_str())).collect()
        }
        Some(Some(Value::Array(items))) => items.iter().filter_map(scalar).collect(),
        Some(value) => value.and_then(scalar).into_iter().collect(),
    };
    found.into_iter().map(plain).collect()
}

entry! {
    fn gate_identity_list(
        config: *const ffi::gate_config, identity: *const ffi::gate_identity, path: *const c_char, pool: *mut c_void,
        list: *mut *const *const c_char, denial: *mut gate_denial,
    ) -> usize {
        // SAFETY: gate.h.
        let (identity, path, pool) = unsafe { (identity_of(identity), lossy(path), pool_of(config, pool)) };
        // SAFETY: gate.h: `denial` is writable, or NULL.
        unsafe { asked_in_vain(denial, identity, path.as_deref()) };
        let Some((identity, pool)) = identity.zip(pool) else {
            return 0;
        };
        let all = items(identity, path.as_deref());
        let texts: Vec<*const c_char> = all.iter().map(|it| pool.text(it.as_bytes())).collect();
        // SAFETY: gate.h: `list` is writable.
        unsafe { *list = pool.slice(&texts) };
        texts.len()
    // SAFETY: gate.h: `denial` is writable, or NULL.
    } else unsafe { deny(denial, Reason::Internal, None, true); 0 }
}

entry! {
    fn gate_claim_path_wrong(path: *const c_char, pool: *mut c_void) -> *const c_char {
        // SAFETY: gate.h.
        let (path, pool) = unsafe { (lossy(path), super::host::pool(pool)) };
        let path = path.unwrap_or_default();
        let parsed = utf8("gate_claim()", &[&path])
            .and_then(|()| ClaimPath::parse(&path).map_err(|wrong| wrong.to_string()));
        match parsed {
            Ok(_) => std::ptr::null(),
            Err(wrong) => pool.map_or(PANICKED, |pool| pool.text(wrong)),
        }
    } else PANICKED
}
