//! gate_rule_… and gate_identity_…: what a Require line and an expression ask of an identity. What holds is said in
//! policy::require.

use super::cast::Castable;
use super::configuration::{Handle, PANICKED};
use super::ffi;
use super::panic::boundary;
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
use std::ffi::{c_char, c_void};

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

entry! {
    fn gate_rule_holds(
        config: *const ffi::gate_config, rule: *const ffi::gate_rule, identity: *const ffi::gate_identity,
        pool: *mut c_void, reason: *mut *const c_char, detail: *mut *const c_char,
    ) -> i32 {
        // SAFETY: gate.h.
        let (rule, identity, pool) = unsafe {
            (
                Rule::borrow(rule),
                identity_of(identity),
                pool_of(config, pool),
            )
        };
        let (Some(rule), Some(identity)) = (rule, identity) else {
            return -1;
        };
        let Err(Unfulfilled { refusal, certain }) = rule.check(identity) else {
            return 1;
        };
        // SAFETY: gate.h: both are writable.
        unsafe {
            *reason = refusal.reason.code_c().as_ptr();
            *detail = pool.map_or(std::ptr::null(), |pool| pool.text(refusal.detail));
        }
        if certain { 0 } else { -1 }
    } else -1
}

/// See gate.h.
///
/// # Safety
/// As gate.h says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn gate_identity_claim(
    config: *const ffi::gate_config,
    identity: *const ffi::gate_identity,
    path: *const c_char,
    pool: *mut c_void,
    unknown: *mut *const c_char,
) -> *const c_char {
    let failed = || {
        // SAFETY: gate.h: `unknown` is writable.
        unsafe { *unknown = Reason::Internal.code_c().as_ptr() };
        c"".as_ptr()
    };
    boundary("gate_identity_claim", failed, || {
        // SAFETY: gate.h.
        let (identity, path, pool) =
            unsafe { (identity_of(identity), lossy(path), pool_of(config, pool)) };
        let Some(((identity, path), pool)) = identity.zip(path).zip(pool) else {
            return failed();
        };
        // SAFETY: gate.h: `unknown` is writable.
        unsafe { *unknown = left_out(identity, Some(&path)) };
        pool.text(text(identity, &path).as_bytes())
    })
}

/// The code of the refusal where a claim, or the roles, can't be told: the issuer left the groups out, or
/// the token names two projects and one of them would give a role.
fn left_out(identity: &Identity, path: Option<&str>) -> *const c_char {
    let groups = match path {
        Some(path) => {
            identity.groups_left_out()
                && ClaimPath::parse(path).is_ok_and(|it| it.leads_into("groups"))
        }
        None => identity.groups_decide_roles(),
    };
    if groups {
        Reason::GroupsOverage.code_c().as_ptr()
    } else if path.is_none() && !identity.doubtful_roles().is_empty() {
        Reason::Role.code_c().as_ptr()
    } else {
        std::ptr::null()
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

/// See gate.h.
///
/// # Safety
/// As gate.h says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn gate_identity_list(
    config: *const ffi::gate_config,
    identity: *const ffi::gate_identity,
    path: *const c_char,
    pool: *mut c_void,
    list: *mut *const *const c_char,
    unknown: *mut *const c_char,
) -> usize {
    let failed = || {
        // SAFETY: gate.h: `unknown` is writable.
        unsafe { *unknown = Reason::Internal.code_c().as_ptr() };
        0
    };
    boundary("gate_identity_list", failed, || {
        // SAFETY: gate.h.
        let (identity, path, pool) =
            unsafe { (identity_of(identity), lossy(path), pool_of(config, pool)) };
        let Some((identity, pool)) = identity.zip(pool) else {
            return failed();
        };
        let texts: Vec<*const c_char> = items(identity, path.as_deref())
            .iter()
            .map(|it| pool.text(it.as_bytes()))
            .collect();
        // SAFETY: gate.h: both are writable.
        unsafe {
            *unknown = left_out(identity, path.as_deref());
            *list = pool.slice(&texts);
        }
        texts.len()
    })
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

as_declared! {
    gate_identity_claim
    gate_identity_list
}
