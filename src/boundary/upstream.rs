//! gate_upstream and gate_handle: what the section's directives towards the upstream do to a
//! request, and what our own handlers answer.

use super::cast::Castable;
use super::ffi::{self, gate_answer, gate_edit, gate_outcome, gate_pair, gate_request};
use super::host::{CRITICAL, ERROR, pool};
use super::panic::boundary;
use super::text::{bytes, lossy, slice};
use super::view::{View, grant_of, identity_of};
use crate::config::{AssertionSetting, HeaderValue, Setting};
use crate::directive::Slot;
use crate::field::folds_to;
use crate::gate::Process;
use crate::grant::Grant;
use crate::identity::Identity;
use crate::token::query::without_parameters;
use crate::token::take::Take;
use crate::upstream::assertion::Gate;
use crate::upstream::body::Body;
use crate::upstream::login::{Callback, Logins, is_callback};
use crate::upstream::{Upstream, login, signer, spoof, sudo_name, way};
use crate::verdict::{Reason, Refusal};
use std::ffi::{CStr, c_char};

/// How long others may keep the public keys, seconds: a new key is published that long before it
/// signs.
const JWKS_LIFE: &str = "public, max-age=300";

impl View<'_> {
    fn upstream(
        &self,
        process: Option<&Process>,
        grant: Option<&Grant>,
        outcome: &mut gate_outcome,
    ) -> Result<(), Refusal> {
        let failed = || Refusal::new(Reason::Internal, "the gate did not start in this child");
        let token = match self.setting(Slot::UpstreamToken) {
            Some(Setting::UpstreamToken(token)) if token.file.is_some() => Some(token),
            _ => None,
        };
        let sudo = matches!(self.setting(Slot::Sudo), Some(Setting::Sudo(true)));
        let login = self.login(process);
        let mut edits = self.edits(self.unlogged(login).as_slice());
        if token.is_some() || sudo {
            edits.extend(self.spoofed(token.map(|it| it.header.as_str())));
        }
        outcome.edits = self.pool.slice(&edits);
        outcome.edit_count = edits.len();
        if let Some(logins) = login {
            self.callback(logins, grant.map(Grant::identity))?;
        }
        let Some(grant) = grant else {
            return Ok(());
        };
        let upstream = || process.map(Process::upstream).ok_or_else(failed);
        let mut pairs = Vec::new();
        if token.is_some() && self.asks_about_the_token() {
            return Err(Refusal::new(
                Reason::CredentialSelf,
                "GitLab would show or renew the token of GateUpstreamToken",
            ));
        }
        if let Some(token) = token
            && let Some(secret) = upstream()?.credential(token)?
        {
            pairs.push((token.header.as_str(), self.pool.text(secret.reveal())));
        }
        if sudo {
            pairs.push(("Sudo", self.pool.text(sudo_name(grant.identity())?)));
            outcome.guard_body = 1;
        }
        for (name, setting) in self.assertions() {
            let text = upstream()?.assertion(grant, &setting, &self.gate())?;
            pairs.push((name, self.pool.text(&*text)));
        }
        let pairs: Vec<gate_pair> = pairs
            .into_iter()
            .map(|(name, value)| gate_pair {
                name: self.pool.text(name),
                value,
            })
            .collect();
        outcome.upstream = self.pool.slice(&pairs);
        outcome.upstream_count = pairs.len();
        Ok(())
    }

    /// As the client wrote it, as httpd reads it, as mod_proxy sends it.
    fn asks_about_the_token(&self) -> bool {
        let target = self.target();
        // SAFETY: gate.h: live text or NULL.
        let uri = unsafe { bytes(self.raw.uri) }.unwrap_or_default();
        [uri, target.unparsed_uri, target.filename]
            .into_iter()
            .any(way::is_about_the_token)
    }

    /// GitLab's end of a login: only a fresh one of ours goes on.
    fn callback(&self, logins: &Logins, identity: Option<&Identity>) -> Result<(), Refusal> {
        // SAFETY: gate.h: live text or NULL.
        let (method, args) = unsafe {
            (
                lossy(self.raw.method).unwrap_or_default(),
                bytes(self.raw.args),
            )
        };
        let mut fields = self.table().fields.iter();
        // SAFETY: apr_tables.c: live text or NULL.
        let body = fields.any(|it| unsafe {
            login::says_body(
                bytes(it.name).unwrap_or_default(),
                bytes(it.value).unwrap_or_default(),
            )
        });
        let method = &method;
        logins.pass(&Callback { method, args, body }, identity)
    }

    /// Who looks at it, where this is GitLab's end of a login.
    pub(super) fn login<'p>(&self, process: Option<&'p Process>) -> Option<&'p Logins> {
        let logins = process.and_then(|it| it.upstream().logins());
        // SAFETY: gate.h: live text or NULL.
        logins.filter(|_| is_callback(unsafe { bytes(self.raw.uri) }.unwrap_or_default()))
    }

    /// Takes a login's statement out of the request line, which logs hold; GitLab gets the query.
    pub(super) fn unlogged(&self, login: Option<&Logins>) -> Option<Take<'_>> {
        let mut take =
            login.and_then(|_| without_parameters(&self.target(), &login::is_parameter))?;
        take.keep_for_upstream().then_some(take)
    }

    /// What takes the client's copies out; `own` is the credential's header.
    fn spoofed(&self, own: Option<&str>) -> Vec<gate_edit> {
        let mut edits = self.edits(spoof::take(&self.target()).as_slice());
        for field in self.table().fields {
            // SAFETY: apr_tables.c keeps the name NUL-terminated as long as the request lives.
            if unsafe { bytes(field.name) }.is_some_and(|name| spoof::is_header(name, own)) {
                edits.push(gate_edit {
                    kind: ffi::GATE_EDIT_HEADER.cast_signed(),
                    name: field.name,
                    value: std::ptr::null(),
                });
            }
        }
        edits
    }

    /// The assertions that are sent here: each header, and what its assertion is like.
    fn assertions(&self) -> Vec<(&str, std::borrow::Cow<'_, AssertionSetting>)> {
        let setting = match self.setting(Slot::Assertion) {
            Some(Setting::Assertion(setting)) => Some(setting),
            _ => None,
        };
        let mut all = Vec::new();
        if let Some(setting) = setting.filter(|it| it.on) {
            all.push((setting.header.as_str(), std::borrow::Cow::Borrowed(setting)));
        }
        if self.raw.headers.is_null() {
            return all;
        }
        let chosen = self.chosen_headers();
        for (at, choice) in chosen.iter().enumerate() {
            let inner = chosen.get(..at).unwrap_or_default();
            if choice.value == HeaderValue::Assertion
                && !inner
                    .iter()
                    .any(|it| folds_to(&it.name, choice.name.as_bytes()))
            {
                let setting = setting.map_or_else(
                    || std::borrow::Cow::Owned(AssertionSetting::default()),
                    std::borrow::Cow::Borrowed,
                );
                all.push((choice.name.as_str(), setting));
            }
        }
        all
    }

    fn gate(&self) -> Gate<'_> {
        // SAFETY: gate.h: live text or NULL.
        let name = unsafe { bytes(self.raw.server_name) }.unwrap_or_default();
        Gate {
            secure: self.raw.secure != 0,
            name: std::str::from_utf8(name).unwrap_or_default(),
            port: u16::try_from(self.raw.server_port).unwrap_or(0),
        }
    }
}

fn refused(view: &View<'_>, refusal: &Refusal, outcome: &mut gate_outcome) {
    outcome.status = i32::from(refusal.reason.status());
    outcome.reason = refusal.reason.code_c().as_ptr();
    outcome.detail = view.pool.text(&refusal.detail);
    outcome.log_level = ERROR;
}

/// See gate.h.
///
/// # Safety
/// As gate.h says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn gate_upstream(
    process: *mut ffi::gate_process,
    request: *const gate_request,
    identity: *const ffi::gate_identity,
    outcome: *mut gate_outcome,
) {
    let failed = || gate_outcome {
        status: i32::from(Reason::Internal.status()),
        reason: Reason::Internal.code_c().as_ptr(),
        detail: c"the gate failed on the way to the upstream".as_ptr(),
        log_level: CRITICAL,
        ..gate_outcome::default()
    };
    let done = boundary("gate_upstream", failed, || {
        // SAFETY: gate.h: a live process or NULL, a live request, an identity or NULL.
        let (process, raw, grant) = unsafe {
            (
                Process::borrow(process),
                request.as_ref(),
                grant_of(identity),
            )
        };
        let Some((raw, pool)) = raw.and_then(|raw| Some((raw, pool(raw.pool)?))) else {
            return failed();
        };
        let view = View { raw, pool };
        let mut outcome = gate_outcome::default();
        if let Err(refusal) = view.upstream(process, grant, &mut outcome) {
            refused(&view, &refusal, &mut outcome);
        }
        outcome
    });
    // SAFETY: gate.h: `outcome` is writable.
    unsafe { outcome.write(done) };
}

/// An answer of a handler: status, media type, headers, body.
type Page = (u16, &'static CStr, Vec<(&'static str, String)>, String);

fn handle(
    upstream: &Upstream,
    handler: &str,
    view: &View<'_>,
    identity: Option<&Identity>,
) -> Result<Page, Refusal> {
    match handler {
        "gate-jwks" if !upstream.signers().is_empty() => Ok((
            200,
            c"application/jwk-set+json",
            vec![("Cache-Control", JWKS_LIFE.to_owned())],
            signer::jwks(upstream.signers()),
        )),
        login::HANDLER => {
            let identity =
                identity.ok_or_else(|| Refusal::new(Reason::TokenMissing, "nobody is known"))?;
            // SAFETY: gate.h: live text or NULL.
            let (path, args) = unsafe {
                (
                    bytes(view.raw.uri).unwrap_or_default(),
                    bytes(view.raw.args).unwrap_or_default(),
                )
            };
            let location = login::location(upstream.signers(), identity, path, args)?;
            let fields = vec![
                ("Location", location),
                ("Cache-Control", "no-store".to_owned()),
                ("Referrer-Policy", "no-referrer".to_owned()),
            ];
            Ok((302, c"text/html", fields, String::new()))
        }
        _ => Ok((404, c"text/html", Vec::new(), String::new())),
    }
}

/// See gate.h.
///
/// # Safety
/// As gate.h says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn gate_handle(
    process: *mut ffi::gate_process,
    request: *const gate_request,
    handler: *const c_char,
    identity: *const ffi::gate_identity,
    answer: *mut gate_answer,
    detail: *mut *const c_char,
) -> *const c_char {
    let failed = || Reason::Internal.code_c().as_ptr();
    boundary("gate_handle", failed, || {
        // SAFETY: gate.h: all live, or NULL.
        let (process, raw, handler, identity) = unsafe {
            (
                Process::borrow(process),
                request.as_ref(),
                lossy(handler).unwrap_or_default(),
                identity_of(identity),
            )
        };
        let Some(((process, raw), pool)) =
            process.zip(raw).and_then(|it| Some((it, pool(it.1.pool)?)))
        else {
            return failed();
        };
        let view = View { raw, pool };
        match handle(process.upstream(), &handler, &view, identity) {
            Ok((status, content_type, fields, body)) => {
                let fields: Vec<gate_pair> = fields
                    .iter()
                    .map(|(name, value)| gate_pair {
                        name: pool.text(name),
                        value: pool.text(value),
                    })
                    .collect();
                let page = gate_answer {
                    status: i32::from(status),
                    fields: pool.slice(&fields),
                    field_count: fields.len(),
                    content_type: content_type.as_ptr(),
                    body: pool.text(body),
                    ..gate_answer::default()
                };
                // SAFETY: gate.h: `answer` is writable.
                unsafe { answer.write(page) };
                std::ptr::null()
            }
            Err(refusal) => {
                // SAFETY: gate.h: `detail` is writable.
                unsafe { detail.write(pool.text(&refusal.detail)) };
                refusal.reason.code_c().as_ptr()
            }
        }
    })
}

entry! {
    fn gate_has_dots(target: *const c_char) -> i32 {
        // SAFETY: gate.h: live text or NULL.
        i32::from(unsafe { bytes(target) }.is_some_and(way::has_dots))
    } else 1
}

entry! {
    fn gate_body_new(content_type: *const c_char, coding: *const c_char, post: i32) -> *mut ffi::gate_body {
        // SAFETY: gate.h: live text or NULL.
        let (content_type, coding) = unsafe { (bytes(content_type), bytes(coding)) };
        let body = Body::new(content_type, coding, post != 0);
        body.give()
    } else std::ptr::null_mut()
}

entry! {
    fn gate_body_passes(body: *mut ffi::gate_body, data: *const c_char, length: usize) -> i32 {
        // SAFETY: gate.h: a body of gate_body_new or NULL, used by one thread at a time; data
        // of that length or NULL.
        let (body, bytes) = unsafe {
            (
                Body::borrow_mut(body),
                slice(data.cast::<u8>(), length),
            )
        };
        body.is_some_and(|body| {
            if data.is_null() {
                body.may_end()
            } else {
                body.passes(bytes)
            }
        })
        .into()
    } else 0
}

entry! {
    fn gate_body_free(body: *mut ffi::gate_body) {
        // SAFETY: made by gate_body_new, and freed once, by the pool's cleanup.
        drop(unsafe { Body::take(body) });
    } else ()
}

as_declared! {
    gate_upstream
    gate_handle
}
