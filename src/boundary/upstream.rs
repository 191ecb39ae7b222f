//! gate_upstream and gate_handle: what the section's directives towards the upstream do to a
//! request, and what our own handlers answer.

use super::cast::Castable;
use super::ffi::{self, gate_edit, gate_pair, gate_request, gate_verdict};
use super::text::{bytes, lossy, slice};
use super::verdict::{fail, with};
use super::view::View;
use crate::config::{AssertionSetting, HeaderValue, Setting, Sudo, UpstreamToken};
use crate::directive::{ABOUT_THE_GATE, Slot};
use crate::field::folds_to;
use crate::gate::Process;
use crate::grant::Grant;
use crate::identity::Identity;
use crate::status::visitor;
use crate::token::query::without_parameters;
use crate::token::source::Sender;
use crate::token::take::Take;
use crate::upstream::assertion::Gate;
use crate::upstream::body::Body;
use crate::upstream::cross_site::Signs;
use crate::upstream::login::{Callback, Logins, is_callback};
use crate::upstream::paths::Asked;
use crate::upstream::{acts_for, login, signer, spoof, way};
use crate::verdict::{Reason, Refusal};
use std::ffi::{CStr, c_char};

/// How long others may keep the public keys, seconds: a new key is published that long before it
/// signs.
const JWKS_LIFE: &str = "public, max-age=300";

impl View<'_> {
    fn upstream(
        &self,
        process: &Process,
        grant: Option<&Grant>,
        verdict: &mut gate_verdict,
    ) -> Result<(), Refusal> {
        let token = self.upstream_token();
        let sudo = self.sudo();
        let sudo_in_force = sudo != Sudo::default();
        let login = self.login(Some(process));
        let mut edits = self.edits(self.unlogged(login).as_slice());
        if token.is_some() || sudo_in_force {
            edits.extend(self.spoofed(token.map(|it| it.header.as_str())));
        }
        self.set_edits(&edits, verdict);
        if let Some(logins) = login {
            self.callback(logins, grant.map(Grant::identity))?;
        }
        // What the gate answers itself goes to no upstream.
        let Some(grant) = grant.filter(|_| !self.is_ours()) else {
            return Ok(());
        };
        let upstream = process.upstream();
        let assertions = self.assertions();
        if token.is_some() || sudo_in_force || !assertions.is_empty() {
            self.same_site(grant)?;
        }
        let sudo = acts_for(grant.identity(), sudo)?;
        let mut pairs = Vec::new();
        if let Some(token) = token
            && let Some(secret) = upstream.credential(token)?
        {
            pairs.push((token.header.as_str(), self.pool.text(secret.reveal())));
        }
        if sudo {
            let server = usize::try_from(self.raw.server).unwrap_or(usize::MAX);
            let name = upstream.sudo(server, grant.identity())?;
            pairs.push(("Sudo", self.pool.text(name)));
            verdict.guard_body = 1;
        }
        for (name, setting) in assertions {
            let text = upstream.assertion(grant, &setting, &self.gate())?;
            pairs.push((name, self.pool.text(&*text)));
        }
        let pairs: Vec<gate_pair> = pairs
            .into_iter()
            .map(|(name, value)| gate_pair {
                name: self.pool.text(name),
                value,
            })
            .collect();
        verdict.credentials = self.pool.slice(&pairs);
        verdict.credential_count = pairs.len();
        Ok(())
    }

    /// `SetHandler gate-…`
    fn is_ours(&self) -> bool {
        // SAFETY: gate.h: live text or NULL.
        unsafe { bytes(self.raw.handler) }.is_some_and(|it| it.starts_with(b"gate-"))
    }

    fn upstream_token(&self) -> Option<&UpstreamToken> {
        match self.setting(Slot::UpstreamToken) {
            Some(Setting::UpstreamToken(token)) if token.file.is_some() => Some(token),
            _ => None,
        }
    }

    fn sudo(&self) -> Sudo {
        match self.setting(Slot::Sudo) {
            Some(Setting::Sudo(sudo)) => *sudo,
            _ => Sudo::default(),
        }
    }

    /// Whether nobody else made a browser send what the identity came by.
    fn same_site(&self, grant: &Grant) -> Result<(), Refusal> {
        if grant.sender() == Sender::Client {
            return Ok(());
        }
        // SAFETY: apr_tables.c, gate.h: live text or NULL.
        let fields = self.table().fields.iter().map(|it| unsafe {
            (
                bytes(it.name).unwrap_or_default(),
                bytes(it.value).unwrap_or_default(),
            )
        });
        // SAFETY: gate.h: live text or NULL.
        let method = unsafe { bytes(self.raw.method) }.unwrap_or_default();
        Signs::new(fields).check(method, &self.gate())
    }

    /// Whether the request may go on to where mod_proxy will send it; with whose credential.
    fn way(&self, process: &Process, grant: Option<&Grant>, given: bool) -> Result<(), Refusal> {
        if self.is_ours() {
            return Ok(());
        }
        let target = self.target();
        let upstream = process.upstream();
        let sent = way::sent(target.filename, target.args);
        if upstream.protects() && way::is_ambiguous(target.unparsed_uri, sent.as_ref()) {
            return Err(Refusal::new(Reason::Path, "the path has dot segments"));
        }
        if given && let Some(scheme) = way::without_hook(target.filename, self.handler()) {
            return Err(Refusal::new(
                Reason::CredentialPath,
                format!(
                    "the upstream is {scheme}://: mod_proxy puts the credential in for http:// and https:// alone"
                ),
            ));
        }
        let Some((token, grant)) = self.upstream_token().zip(grant) else {
            return Ok(());
        };
        let sudo = self.sudo();
        acts_for(grant.identity(), sudo)?;
        // SAFETY: gate.h: live text or NULL.
        let method = unsafe { bytes(self.raw.method) }.unwrap_or_default();
        let asked = sent.map(|sent| Asked {
            method,
            sent,
            body: self.says_body(),
        });
        upstream.carries(token, sudo, asked.as_ref())
    }

    fn says_body(&self) -> bool {
        let mut fields = self.table().fields.iter();
        // SAFETY: apr_tables.c: live text or NULL.
        fields.any(|it| unsafe {
            login::says_body(
                bytes(it.name).unwrap_or_default(),
                bytes(it.value).unwrap_or_default(),
            )
        })
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
        let body = self.says_body();
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

entry! {
    fn gate_upstream(
        process: *mut ffi::gate_process, request: *const gate_request, proxied: i32, verdict: *mut gate_verdict,
    ) {
        // SAFETY: gate.h: a live process or NULL, a live request and verdict.
        let (process, both) = unsafe { (Process::borrow(process), with(request, verdict)) };
        let Some((process, (view, verdict))) = process.zip(both) else {
            // SAFETY: gate.h: a live verdict.
            return unsafe { fail(request, verdict) };
        };
        // A TRACE comes back to the client with all that is put in, and a forward proxy leads wherever the client says.
        let nothing = view.raw.gated == 0 || view.raw.connect != 0 || view.raw.trace != 0;
        // SAFETY: gate.h: nobody has released its identity.
        let grant = unsafe { View::known(verdict) }.filter(|_| !nothing);
        if let Err(refusal) = view.upstream(process, grant, verdict) {
            view.refuse(&refusal, verdict);
        }
        // Where that was only observed too: the path is asked about all the same.
        if verdict.status == 0
            && proxied != 0
            && let Err(refusal) = view.way(process, grant, verdict.credential_count != 0)
        {
            view.refuse(&refusal, verdict);
        }
    // SAFETY: gate.h: a live verdict.
    } else unsafe { fail(request, verdict) }
}

/// An answer of a handler: status, media type, headers, body.
type Page = (u16, &'static CStr, Vec<(&'static str, String)>, String);

fn handle(
    process: &Process,
    handler: &str,
    view: &View<'_>,
    grant: Option<&Grant>,
) -> Result<Page, Refusal> {
    let upstream = process.upstream();
    // SAFETY: gate.h: live text or NULL.
    let (path, args) = unsafe {
        (
            bytes(view.raw.uri).unwrap_or_default(),
            bytes(view.raw.args).unwrap_or_default(),
        )
    };
    if ABOUT_THE_GATE.contains(&handler) {
        // SAFETY: gate.h: live text or NULL.
        let [peer, client, user] =
            unsafe { [view.raw.client_ip, view.raw.peer, view.raw.user].map(|it| bytes(it)) };
        let known = grant.is_some() || user.is_some();
        let origin = visitor::Origin {
            peer: peer.unwrap_or_default(),
            client: client.unwrap_or_default(),
        };
        visitor::admit(known, origin, &view.table())?;
    }
    match handler {
        // Its answer needs httpd, which the shim asks.
        "gate-explain" => Ok((200, c"", Vec::new(), String::new())),
        "gate-status" => {
            let (content_type, text) = process.status(args).ok_or_else(|| {
                Refusal::new(Reason::Internal, "the counters of the gate are not there")
            })?;
            let fields = [
                ("Cache-Control", "no-store"),
                (
                    "Content-Security-Policy",
                    "default-src 'none'; style-src 'unsafe-inline'",
                ),
                ("X-Content-Type-Options", "nosniff"),
            ];
            let fields = fields.map(|(name, value)| (name, value.to_owned()));
            Ok((200, content_type, fields.into(), text))
        }
        "gate-jwks" if !upstream.signers().is_empty() => Ok((
            200,
            c"application/jwk-set+json",
            vec![("Cache-Control", JWKS_LIFE.to_owned())],
            signer::jwks(upstream.signers()),
        )),
        login::HANDLER => {
            let grant =
                grant.ok_or_else(|| Refusal::new(Reason::TokenMissing, "nobody is known"))?;
            view.same_site(grant)?;
            let location = login::location(upstream.signers(), grant.identity(), path, args)?;
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

entry! {
    fn gate_handle(
        process: *mut ffi::gate_process, request: *const gate_request, handler: *const c_char,
        verdict: *mut gate_verdict,
    ) {
        // SAFETY: gate.h: all live; the process may be NULL.
        let (process, both, handler) =
            unsafe { (Process::borrow(process), with(request, verdict), lossy(handler).unwrap_or_default()) };
        let Some((process, (view, verdict))) = process.zip(both) else {
            // SAFETY: gate.h: a live verdict.
            return unsafe { fail(request, verdict) };
        };
        // SAFETY: gate.h: nobody has released its identity.
        let grant = unsafe { View::known(verdict) };
        match handle(process, &handler, &view, grant) {
            Ok((status, content_type, fields, body)) => {
                view.fields(fields.iter().map(|(name, value)| (*name, value.as_str())), verdict);
                verdict.status = i32::from(status);
                verdict.content_type = content_type.as_ptr();
                verdict.body = view.pool().text(body);
            }
            Err(refusal) => view.refuse(&refusal, verdict),
        }
    // SAFETY: gate.h: a live verdict.
    } else unsafe { fail(request, verdict) }
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
