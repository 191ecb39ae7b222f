//! gate_decide, gate_refuse and their kin: a request of httpd's, seen through borrowed views.

use super::configuration::Handle;
use super::ffi::{
    self, gate_answer, gate_chain, gate_edit, gate_field, gate_outcome, gate_pair, gate_request,
};
use super::panic::boundary;
use super::process::{CRITICAL, ERROR};
use super::text::{Pool, bytes, lossy, slice};
use crate::answer::{Setting as AnswerSetting, compose, wants_json};
use crate::config::{Accept, HeaderChoice, Mode, Setting};
use crate::directive::Slot;
use crate::gate::{Decision, Process, Section};
use crate::headers;
use crate::identity::{Identity, scalar};
use crate::policy::path::ClaimPath;
use crate::policy::require::Rule;
use crate::request::{FieldName, Fields, Found, Target};
use crate::token::source::{Source, Take};
use crate::verdict::{Reason, Refusal};
use serde_json::Value;
use std::borrow::Cow;
use std::ffi::{c_char, c_void};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

const BEARER: &[Source] = &[Source::Bearer];
const PROXY: &[Source] = &[Source::Proxy];

/// httpd's table, read in place; what an earlier request gave up comes first.
pub(super) struct Table<'r> {
    withheld: &'r [gate_field],
    pub(super) fields: &'r [gate_field],
}

impl<'r> Fields<'r> for Table<'r> {
    fn find(&self, name: &FieldName) -> Found<'r> {
        match find(self.withheld, name) {
            Found::None => find(self.fields, name),
            found => found,
        }
    }
}

fn find<'r>(fields: &'r [gate_field], name: &FieldName) -> Found<'r> {
    let mut found = Found::None;
    for field in fields.iter().filter(|it| it.checksum == name.checksum()) {
        // SAFETY: apr_tables.c keeps both texts NUL-terminated; they live as long as the request.
        let (Some(key), Some(value)) = (unsafe { (bytes(field.name), bytes(field.value)) }) else {
            continue;
        };
        if name.is(key) {
            if found != Found::None {
                return Found::Many;
            }
            found = Found::One(value);
        }
    }
    found
}

/// A request and the section it fell into.
pub(super) struct View<'r> {
    pub(super) raw: &'r gate_request,
    pub(super) pool: Pool,
}

impl<'r> View<'r> {
    /// A view for the length of the call.
    pub(super) fn new(raw: &'r gate_request) -> Option<Self> {
        super::process::pool(raw.pool).map(|pool| Self { raw, pool })
    }

    pub(super) const fn pool(&self) -> Pool {
        self.pool
    }

    pub(super) fn setting(&self, slot: Slot) -> Option<&'r Setting> {
        // SAFETY: gate.h: GATE_SLOTS pointers, each NULL or a Setting that the configuration owns,
        // which outlives every request.
        unsafe {
            let slots = slice(self.raw.slots, ffi::GATE_SLOTS as usize);
            slots.get(slot as usize)?.cast::<Setting>().as_ref()
        }
    }

    fn sources(&self) -> &'r [Source] {
        match self.setting(Slot::TokenFrom) {
            _ if self.raw.port != 0 => PROXY,
            Some(Setting::TokenFrom(sources)) => sources,
            _ => BEARER,
        }
    }

    pub(super) fn section(&self) -> Section<'r> {
        let accept: Option<&Accept> = match self.setting(Slot::Accept) {
            Some(Setting::Accept(accept)) => Some(accept),
            _ => None,
        };
        Section {
            server: usize::try_from(self.raw.server).unwrap_or(usize::MAX),
            accept,
            sources: self.sources(),
            forward_token: matches!(
                self.setting(Slot::ForwardToken),
                Some(Setting::ForwardToken(true))
            ),
        }
    }

    /// The GateHeader lines in force, inner section first.
    pub(super) fn chosen_headers(&self) -> Vec<&'r HeaderChoice> {
        let mut chosen = Vec::new();
        let mut link: *const gate_chain = self.raw.headers;
        // SAFETY: gate.h: a list that ends in NULL; its values as in `setting`.
        while let Some(it) = unsafe { link.as_ref() } {
            // SAFETY: as above.
            if let Some(Setting::Header(choice)) = unsafe { it.own.cast::<Setting>().as_ref() } {
                chosen.push(choice);
            }
            link = it.outer;
        }
        chosen
    }

    pub(super) fn table(&self) -> Table<'r> {
        // SAFETY: gate.h: live arrays of these lengths.
        unsafe {
            Table {
                withheld: slice(self.raw.withheld, self.raw.withheld_count),
                fields: slice(self.raw.fields, self.raw.field_count),
            }
        }
    }

    /// The target, where a token may be in it: most places read none from the query, and then
    /// nobody looks at the rest.
    fn token_target(&self) -> Target<'r> {
        let reads_query = |it: &Source| matches!(it, Source::Query(_));
        if self.sources().iter().any(reads_query) {
            self.target()
        } else {
            Target::default()
        }
    }

    pub(super) fn target(&self) -> Target<'r> {
        let query = FieldName::withheld_query();
        // SAFETY: gate.h: live text or NULL.
        unsafe {
            Target {
                args: bytes(self.raw.args),
                unparsed_uri: bytes(self.raw.unparsed_uri).unwrap_or_default(),
                the_request: bytes(self.raw.the_request).unwrap_or_default(),
                filename: bytes(self.raw.filename).unwrap_or_default(),
                withheld_args: match find(self.table().withheld, &query) {
                    Found::One(args) => Some(args),
                    Found::None | Found::Many => None,
                },
            }
        }
    }

    pub(super) fn edits(&self, take: &[Take<'_>]) -> Vec<gate_edit> {
        let edit = |kind: u32, name: *const c_char, value: Option<&[u8]>| gate_edit {
            kind: kind.cast_signed(),
            name,
            value: value.map_or(std::ptr::null(), |it| self.pool.text(it)),
        };
        let mut edits = Vec::with_capacity(take.len() * 4);
        for it in take {
            match it {
                Take::Header(name) => edits.push(edit(
                    ffi::GATE_EDIT_HEADER,
                    self.pool.text(name.as_bytes()),
                    None,
                )),
                Take::Cookies(kept) => edits.push(edit(
                    ffi::GATE_EDIT_HEADER,
                    c"Cookie".as_ptr(),
                    kept.as_deref(),
                )),
                Take::Query {
                    args,
                    unparsed_uri,
                    the_request,
                    filename,
                    forward,
                } => {
                    if !forward {
                        edits.push(edit(ffi::GATE_EDIT_ARGS, std::ptr::null(), args.as_deref()));
                    }
                    for (kind, text) in [
                        (ffi::GATE_EDIT_UNPARSED_URI, unparsed_uri),
                        (ffi::GATE_EDIT_THE_REQUEST, the_request),
                        (ffi::GATE_EDIT_FILENAME, filename),
                    ] {
                        if let Some(text) = text {
                            edits.push(edit(kind, std::ptr::null(), Some(text)));
                        }
                    }
                }
            }
        }
        edits
    }

    /// GateMode observe: the refusal is only written down. The gate's own failure is never passed
    /// over, and a port can't be opened for nobody.
    fn only_observes(&self, reason: Reason) -> bool {
        self.raw.connect == 0
            && reason != Reason::Internal
            && matches!(self.setting(Slot::Mode), Some(Setting::Mode(Mode::Observe)))
    }

    fn outcome(&self, decision: Decision<'_>) -> gate_outcome {
        let observe = matches!(self.setting(Slot::Mode), Some(Setting::Mode(Mode::Observe)));
        // What was not verified stays where nothing is refused.
        let edits = if observe && decision.verdict.is_err() {
            Vec::new()
        } else {
            self.edits(&decision.take)
        };
        let mut outcome = gate_outcome {
            edits: self.pool.slice(&edits),
            edit_count: edits.len(),
            observe: i32::from(observe),
            ..gate_outcome::default()
        };
        match decision.verdict {
            Ok(None) => {}
            Ok(Some(identity)) => self.grant(identity, &mut outcome),
            Err(Refusal {
                reason,
                detail,
                issuer,
            }) => {
                outcome.issuer = issuer.map_or(std::ptr::null(), |it| self.pool.text(it));
                outcome.status = i32::from(reason.status());
                outcome.reason = reason.code_c().as_ptr();
                outcome.detail = self.pool.text(detail);
                outcome.log_level = ERROR;
            }
        }
        outcome
    }

    fn grant(&self, identity: Arc<Identity>, outcome: &mut gate_outcome) {
        let environment = identity.environment().as_slice();
        outcome.environment = environment.as_ptr();
        outcome.environment_count = environment.len();
        outcome.user = environment.first().map_or(std::ptr::null(), |it| it.value);
        let chosen = if self.raw.headers.is_null() {
            Vec::new()
        } else {
            self.chosen_headers()
        };
        let upstream: &[gate_pair] = match identity.upstream(&chosen) {
            Some(pairs) => {
                outcome.upstream = pairs.as_slice().as_ptr();
                pairs.as_slice()
            }
            None => {
                let copied: Vec<gate_pair> = headers::render(&identity, &chosen)
                    .iter()
                    .map(|(name, value)| gate_pair {
                        name: self.pool.text(name),
                        value: self.pool.text(value),
                    })
                    .collect();
                outcome.upstream = self.pool.slice(&copied);
                // SAFETY: just written, of that length, in the request's pool.
                unsafe { slice(outcome.upstream, copied.len()) }
            }
        };
        outcome.upstream_count = upstream.len();
        outcome.identity = Arc::into_raw(identity).cast_mut().cast();
    }
}

/// # Safety
/// A live configuration.
unsafe fn handle<'c>(config: *const ffi::gate_config) -> Option<&'c Handle> {
    // SAFETY: the caller's promise.
    unsafe { config.cast::<Handle>().as_ref() }
}

/// # Safety
/// A live configuration and pool.
unsafe fn pool_of(config: *const ffi::gate_config, pool: *mut c_void) -> Option<Pool> {
    // SAFETY: the caller's promise.
    unsafe { handle(config).and_then(|it| Pool::new(&it.host, pool)) }
}

/// # Safety
/// NULL, or an identity that gate_decide gave and nobody has released.
pub(super) unsafe fn identity_of<'i>(identity: *const ffi::gate_identity) -> Option<&'i Identity> {
    // SAFETY: the caller's promise.
    unsafe { identity.cast::<Identity>().as_ref() }
}

/// See gate.h.
///
/// # Safety
/// As gate.h says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn gate_next_spoofed(
    config: *const ffi::gate_config,
    fields: *const gate_field,
    count: usize,
    from: usize,
) -> usize {
    // The fallback names each field in turn: all of them are removed.
    boundary(
        || from,
        || {
            // SAFETY: gate.h.
            let (handle, fields) = unsafe { (handle(config), slice(fields, count)) };
            let Some(handle) = handle else { return from };
            let protected = &handle.builder.config.protected;
            let later = fields.get(from..).unwrap_or_default();
            later
                .iter()
                // SAFETY: as in `find`.
                .position(|field| {
                    unsafe { bytes(field.name) }.is_some_and(|name| protected.is_protected(name))
                })
                .map_or(count, |at| from + at)
        },
    )
}

/// See gate.h.
///
/// # Safety
/// As gate.h says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn gate_connection_without(
    config: *const ffi::gate_config,
    value: *const c_char,
    pool: *mut c_void,
) -> *const c_char {
    boundary(
        || c"close".as_ptr(),
        || {
            // SAFETY: gate.h.
            let (handle, value, pool) =
                unsafe { (handle(config), bytes(value), pool_of(config, pool)) };
            let kept = handle
                .zip(value)
                .and_then(|(it, value)| it.builder.config.protected.connection_without(value));
            kept.zip(pool)
                .map_or(std::ptr::null(), |(kept, pool)| pool.text(kept))
        },
    )
}

/// See gate.h.
///
/// # Safety
/// As gate.h says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn gate_request_id(
    config: *const ffi::gate_config,
    pool: *mut c_void,
) -> *const c_char {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    boundary(
        || c"unknown".as_ptr(),
        || {
            let nanos = std::time::SystemTime::now()
                .duration_since(std::time::UNIX_EPOCH)
                .map_or(0, |it| it.as_nanos());
            let id = format!(
                "{:x}-{:x}-{:x}",
                nanos,
                std::process::id(),
                COUNT.fetch_add(1, Relaxed)
            );
            // SAFETY: gate.h.
            unsafe { pool_of(config, pool) }.map_or(c"unknown".as_ptr(), |pool| pool.text(id))
        },
    )
}

/// See gate.h.
///
/// # Safety
/// As gate.h says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn gate_decide(
    process: *mut ffi::gate_process,
    request: *const gate_request,
    outcome: *mut gate_outcome,
) {
    let failed = || gate_outcome {
        status: i32::from(Reason::Internal.status()),
        reason: Reason::Internal.code_c().as_ptr(),
        detail: c"the gate failed while it looked at the token".as_ptr(),
        log_level: CRITICAL,
        ..gate_outcome::default()
    };
    let decided = boundary(failed, || {
        // SAFETY: gate.h: a live process, a live request.
        let (process, raw) = unsafe { (process.cast::<Process>().as_ref(), request.as_ref()) };
        let Some((process, raw)) = process.zip(raw) else {
            return failed();
        };
        let Some(pool) = super::process::pool(raw.pool) else {
            return failed();
        };
        let view = View { raw, pool };
        #[cfg(feature = "test-hooks")]
        panic_on_purpose(&view.table());
        if raw.explain != 0 {
            // SAFETY: gate.h: text or NULL.
            let token = unsafe { bytes(raw.token) };
            let verdict = token
                .map(|token| process.identify(&view.section(), token))
                .transpose();
            let take = Vec::new();
            return view.outcome(Decision { verdict, take });
        }
        view.outcome(process.decide(&view.section(), &view.table(), &view.token_target()))
    });
    // SAFETY: gate.h: `outcome` is writable.
    unsafe { outcome.write(decided) };
}

/// The tests ask for a panic by a header.
#[cfg(feature = "test-hooks")]
fn panic_on_purpose(table: &Table<'_>) {
    if let Some(name) = FieldName::new("X-Gate-Test-Panic")
        && table.find(&name) != Found::None
    {
        std::panic::panic_any("a panic on purpose");
    }
}

/// See gate.h.
///
/// # Safety
/// As gate.h says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn gate_refuse(
    config: *const ffi::gate_config,
    request: *const gate_request,
    reason: *const c_char,
    identity: *const ffi::gate_identity,
    answer: *mut gate_answer,
) {
    let failed = || gate_answer {
        status: i32::from(Reason::Internal.status()),
        ..gate_answer::default()
    };
    let composed = boundary(failed, || {
        // SAFETY: gate.h.
        let (raw, reason, identity) =
            unsafe { (request.as_ref(), lossy(reason), identity_of(identity)) };
        // SAFETY: gate.h.
        let Some((raw, pool)) =
            raw.and_then(|raw| Some((raw, unsafe { pool_of(config, raw.pool) }?)))
        else {
            return failed();
        };
        let view = View { raw, pool };
        let reason = reason
            .as_deref()
            .and_then(Reason::from_code)
            .unwrap_or(Reason::Internal);
        if view.only_observes(reason) {
            return gate_answer::default();
        }
        // SAFETY: gate.h: live text or NULL.
        let (realm, id) = unsafe { (lossy(raw.realm), lossy(raw.id)) };
        let accept = FieldName::new("Accept").map_or(Found::None, |name| view.table().find(&name));
        let composed = compose(
            reason,
            &AnswerSetting {
                realm: realm.as_deref().unwrap_or("gate"),
                sources: view.sources(),
                connect: raw.connect != 0,
                id: id.as_deref().unwrap_or("unknown"),
                json: matches!(accept, Found::One(accept) if wants_json(accept)),
                identified: identity.is_some(),
            },
        );
        let fields: Vec<gate_pair> = composed
            .fields
            .iter()
            .map(|(name, value)| gate_pair {
                name: pool.text(name),
                value: pool.text(value),
            })
            .collect();
        gate_answer {
            status: i32::from(composed.status),
            fields: pool.slice(&fields),
            field_count: fields.len(),
            content_type: composed.content_type.as_ptr(),
            body: pool.text(composed.body),
        }
    });
    // SAFETY: gate.h: `answer` is writable.
    unsafe { answer.write(composed) };
}

/// See gate.h.
///
/// # Safety
/// As gate.h says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn gate_rule_holds(
    config: *const ffi::gate_config,
    rule: *const ffi::gate_rule,
    identity: *const ffi::gate_identity,
    pool: *mut c_void,
    reason: *mut *const c_char,
    detail: *mut *const c_char,
) -> i32 {
    boundary(
        || 0,
        || {
            // SAFETY: gate.h.
            let (rule, identity, pool) = unsafe {
                (
                    rule.cast::<Rule>().as_ref(),
                    identity_of(identity),
                    pool_of(config, pool),
                )
            };
            let (Some(rule), Some(identity)) = (rule, identity) else {
                return 0;
            };
            let Err(refusal) = rule.check(identity) else {
                return 1;
            };
            // SAFETY: gate.h: both are writable.
            unsafe {
                *reason = refusal.reason.code_c().as_ptr();
                *detail = pool.map_or(std::ptr::null(), |pool| pool.text(refusal.detail));
            }
            0
        },
    )
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
) -> *const c_char {
    boundary(
        || c"".as_ptr(),
        || {
            // SAFETY: gate.h.
            let (identity, path, pool) =
                unsafe { (identity_of(identity), lossy(path), pool_of(config, pool)) };
            let Some(((identity, path), pool)) = identity.zip(path).zip(pool) else {
                return c"".as_ptr();
            };
            pool.text(items(identity, &path).join(","))
        },
    )
}

/// A claim's items as text: an array's, or the one that it is.
fn items<'i>(identity: &'i Identity, path: &str) -> Vec<Cow<'i, str>> {
    let path = ClaimPath::parse(path).ok();
    match path.as_ref().and_then(|path| path.get(identity.claims())) {
        Some(Value::Array(items)) => items.iter().filter_map(scalar).collect(),
        Some(value) => scalar(value).into_iter().collect(),
        None => Vec::new(),
    }
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
) -> usize {
    boundary(
        || 0,
        || {
            // SAFETY: gate.h.
            let (identity, path, pool) =
                unsafe { (identity_of(identity), lossy(path), pool_of(config, pool)) };
            let Some((identity, pool)) = identity.zip(pool) else {
                return 0;
            };
            let texts: Vec<*const c_char> = match path {
                Some(path) => items(identity, &path)
                    .iter()
                    .map(|it| pool.text(it.as_bytes()))
                    .collect(),
                None => identity.roles().iter().map(|it| pool.text(it)).collect(),
            };
            // SAFETY: gate.h: `list` is writable.
            unsafe { *list = pool.slice(&texts) };
            texts.len()
        },
    )
}

/// See gate.h.
///
/// # Safety
/// As gate.h says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn gate_identity_release(identity: *mut ffi::gate_identity) {
    boundary(
        || (),
        || {
            if !identity.is_null() {
                // SAFETY: one reference, made by Arc::into_raw in `grant`, given back once.
                drop(unsafe { Arc::from_raw(identity.cast::<Identity>()) });
            }
        },
    );
}

const _: usize = [ffi::gate_next_spoofed, gate_next_spoofed].len();
const _: usize = [ffi::gate_connection_without, gate_connection_without].len();
const _: usize = [ffi::gate_request_id, gate_request_id].len();
const _: usize = [ffi::gate_decide, gate_decide].len();
const _: usize = [ffi::gate_refuse, gate_refuse].len();
const _: usize = [ffi::gate_rule_holds, gate_rule_holds].len();
const _: usize = [ffi::gate_identity_claim, gate_identity_claim].len();
const _: usize = [ffi::gate_identity_list, gate_identity_list].len();
const _: usize = [ffi::gate_identity_release, gate_identity_release].len();
