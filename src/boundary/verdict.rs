//! A verdict on its way to C: refusals composed where they are decided, grants, and the entries that answer with one.

use super::cast::Castable;
use super::ffi::{self, gate_denial, gate_edit, gate_pair, gate_request, gate_verdict};
use super::host::{self, CRITICAL, ERROR, INFO, NOTICE, WARNING};
use super::panic::boundary;
use super::text::{lossy, pairs};
use super::view::{View, grant_of};
use crate::answer::{Setting as AnswerSetting, compose, wants_json};
use crate::config::{Mode, Setting};
use crate::directive::Slot;
use crate::gate::{Decision, Process};
use crate::grant::Grant;
use crate::headers;
use crate::judge::{Circumstances, Denial, Fact, after_rules, only_observes, unknown_port};
use crate::request::{FieldName, Fields, Found};
use crate::token::source::Sender;
use crate::verdict::{Reason, Refusal};
use std::ffi::{CStr, c_char};
use std::sync::Arc;

/// How C holds a reason.
pub(super) const fn reason_c(reason: Reason) -> &'static CStr {
    match reason {
        Reason::PortLimitTotal => crate::verdict::TOTAL,
        other => other.code_c(),
    }
}

/// Whatever may hold a credential: nobody knows which of these did where the gate failed.
const ALL_CREDENTIALS: &[gate_edit] = &[
    gone(c"Authorization"),
    gone(c"Proxy-Authorization"),
    gone(c"Cookie"),
    gone(c"Gate-Job-Token"),
];

const fn gone(name: &'static CStr) -> gate_edit {
    gate_edit {
        kind: ffi::GATE_EDIT_HEADER.cast_signed(),
        name: name.as_ptr(),
        value: std::ptr::null(),
    }
}

/// What stands in for a verdict where the gate failed.
///
/// # Safety
/// A live request, a writable verdict; or NULL.
pub(super) unsafe fn fail(request: *const gate_request, verdict: *mut gate_verdict) {
    // SAFETY: the caller's promise.
    if let Some(verdict) = unsafe { verdict.as_mut() } {
        verdict.status = i32::from(Reason::Internal.status());
        verdict.reason = Reason::Internal.code_c().as_ptr();
        verdict.detail = c"the gate failed".as_ptr();
        verdict.line = c"GATE401: refused: internal: the gate failed".as_ptr();
        verdict.level = CRITICAL;
        if verdict.edit_count == 0 && verdict.edited == 0 {
            verdict.edits = ALL_CREDENTIALS.as_ptr();
            verdict.edit_count = ALL_CREDENTIALS.len();
        }
    }
    // In words, where these can be found without another failure.
    boundary(
        "a refusal",
        || (),
        || {
            // SAFETY: the caller's promise.
            if let Some((view, verdict)) = unsafe { with(request, verdict) } {
                view.refuse(&Fact::Failed.refusal(), verdict);
            }
        },
    );
}

impl View<'_> {
    pub(super) fn mode(&self) -> Mode {
        match self.setting(Slot::Mode) {
            Some(Setting::Mode(mode)) => *mode,
            _ => Mode::Enforce,
        }
    }

    fn circumstances(&self) -> Circumstances {
        Circumstances {
            mode: self.mode(),
            connect: self.raw.connect != 0,
            own_handler: self.handler().starts_with(b"gate-"),
        }
    }

    /// Refuses, or writes down that it would have been refused.
    pub(super) fn refuse(&self, refusal: &Refusal, verdict: &mut gate_verdict) {
        let Refusal { reason, issuer, .. } = refusal;
        let (unread, detail, level) = match reason {
            Reason::TokenMissing => (self.unread(), &refusal.detail, INFO),
            Reason::Internal => (None, &refusal.detail, CRITICAL),
            _ => (None, &refusal.detail, ERROR),
        };
        let (detail, level) = unread.as_ref().map_or((detail, level), |it| (it, WARNING));
        let id = &*host::id(self.raw);
        let observed = only_observes(*reason, self.circumstances());
        let first = verdict.observed == 0;
        verdict.status = 0;
        if first || !observed {
            let code = reason.code();
            let (line, level) = if observed {
                let line =
                    format!("GATE403: would have been refused: {code}: {detail} (request {id})");
                (line, level.max(NOTICE))
            } else {
                let line = format!("GATE401: refused: {code}: {detail} (request {id})");
                (line, level)
            };
            verdict.line = self.pool.text(line);
            verdict.level = level;
            verdict.reason = reason_c(*reason).as_ptr();
            verdict.detail = self.pool.text(detail);
            verdict.observed = i32::from(observed);
            if let Some(issuer) = issuer {
                verdict.issuer = self.pool.text(issuer);
            }
        }
        if !observed {
            self.answer(*reason, id, verdict);
        }
    }

    fn answer(&self, reason: Reason, id: &str, verdict: &mut gate_verdict) {
        // ap_auth_name has escaped its quotes, as who puts it between some needs it.
        let realm = host::realm(self.raw).map(|it| it.replace("\\\"", "\""));
        let field = |name| FieldName::new(name).map_or(Found::None, |it| self.table().find(&it));
        let composed = compose(
            reason,
            &AnswerSetting {
                realm: realm.as_deref().unwrap_or("gate"),
                sources: self.sources(),
                connect: self.raw.connect != 0,
                id,
                json: matches!(field("Accept"), Found::One(accept) if wants_json(accept)),
                identified: !verdict.identity.is_null(),
                browser: field("Sec-Fetch-Mode") != Found::None,
            },
        );
        let fields = composed
            .fields
            .iter()
            .map(|(name, value)| (*name, value.as_str()));
        self.fields(fields, verdict);
        verdict.status = i32::from(composed.status);
        verdict.content_type = composed.content_type.as_ptr();
        verdict.body = self.pool.text(composed.body);
        if reason == Reason::Internal && verdict.edit_count == 0 && verdict.edited == 0 {
            verdict.edits = ALL_CREDENTIALS.as_ptr();
            verdict.edit_count = ALL_CREDENTIALS.len();
        }
    }

    /// The answer's headers.
    pub(super) fn fields<'a>(
        &self,
        fields: impl Iterator<Item = (&'a str, &'a str)>,
        verdict: &mut gate_verdict,
    ) {
        let fields = self.pairs(fields);
        verdict.answer = self.pool.slice(&fields);
        verdict.answer_count = fields.len();
    }

    pub(super) fn pairs<'a>(
        &self,
        all: impl Iterator<Item = (&'a str, &'a str)>,
    ) -> Vec<gate_pair> {
        let pair = |(name, value): (&str, &str)| gate_pair {
            name: self.pool.text(name),
            value: self.pool.text(value),
        };
        all.map(pair).collect()
    }

    pub(super) fn set_edits(&self, edits: &[gate_edit], verdict: &mut gate_verdict) {
        verdict.edits = self.pool.slice(edits);
        verdict.edit_count = edits.len();
    }

    fn judge(&self, process: Option<&Process>, verdict: &mut gate_verdict) {
        let Some(process) = process else {
            return self.refuse(&Fact::NotStarted.refusal(), verdict);
        };
        #[cfg(feature = "test-hooks")]
        super::requests::on_purpose(self);
        let decision = if self.raw.explain != 0 {
            let token = self.token();
            Decision {
                verdict: token
                    .map(|token| process.identify(&self.section(), token, Sender::Client))
                    .transpose(),
                take: Vec::new(),
            }
        } else {
            let table = self.table();
            let mut decision = process.decide(&self.section(), &table, &self.token_target());
            // At once: a login's end that is refused for its token is logged too.
            let unlogged = self.unlogged(self.login(Some(process)));
            decision.take.extend(unlogged);
            decision
        };
        // What was not verified stays where nothing is refused.
        if self.mode() == Mode::Enforce || decision.verdict.is_ok() || self.raw.document != 0 {
            self.set_edits(&self.edits(&decision.take), verdict);
        }
        if self.raw.document != 0 {
            return;
        }
        match decision.verdict {
            Ok(None) => {}
            Ok(Some(grant)) => self.grant(grant, verdict),
            Err(refusal) => self.refuse(&refusal, verdict),
        }
        let in_section = !self.raw.port_name.is_null();
        if verdict.status == 0 && self.raw.port != 0 && !(in_section && self.raw.gated != 0) {
            let identified = !verdict.identity.is_null();
            self.refuse(&unknown_port(identified, in_section), verdict);
        }
    }

    fn grant(&self, grant: Arc<Grant>, verdict: &mut gate_verdict) {
        let environment = pairs(grant.environment());
        verdict.environment = environment.as_ptr();
        verdict.environment_count = environment.len();
        verdict.user = environment.first().map_or(std::ptr::null(), |it| it.value);
        let chosen = if self.raw.headers.is_null() {
            Vec::new()
        } else {
            self.chosen_headers()
        };
        match grant.upstream(&chosen).map(pairs) {
            Some(rendered) => {
                verdict.upstream = rendered.as_ptr();
                verdict.upstream_count = rendered.len();
            }
            None => {
                let rendered = headers::render(grant.identity(), &chosen);
                let copied = self.pairs(rendered.iter());
                verdict.upstream = self.pool.slice(&copied);
                verdict.upstream_count = copied.len();
            }
        }
        verdict.identity = Arc::into_raw(grant).cast_mut().cast();
    }

    /// The identity of the verdict so far.
    ///
    /// # Safety
    /// As gate.h says: an identity that nobody has released.
    pub(super) unsafe fn known<'g>(verdict: &gate_verdict) -> Option<&'g Grant> {
        // SAFETY: the caller's promise.
        unsafe { grant_of(verdict.identity) }
    }
}

/// # Safety
/// gate.h: a live request and a verdict.
pub(super) unsafe fn with<'r>(
    request: *const gate_request,
    verdict: *mut gate_verdict,
) -> Option<(View<'r>, &'r mut gate_verdict)> {
    // SAFETY: the caller's promise.
    unsafe { View::new(request.as_ref()?).zip(verdict.as_mut()) }
}

entry! {
    fn gate_judge(process: *mut ffi::gate_process, request: *const gate_request, verdict: *mut gate_verdict) {
        // SAFETY: gate.h: a live process or NULL, a live request and verdict.
        let (process, both) = unsafe { (Process::borrow(process), with(request, verdict)) };
        match both {
            Some((view, verdict)) => view.judge(process, verdict),
            // SAFETY: gate.h: a live verdict.
            None => unsafe { fail(request, verdict) },
        }
    // SAFETY: gate.h: a live verdict.
    } else unsafe { fail(request, verdict) }
}

entry! {
    fn gate_rules(
        request: *const gate_request, status: i32, denial: *const gate_denial, verdict: *mut gate_verdict,
    ) -> i32 {
        // SAFETY: gate.h: a live request, denial and verdict.
        let (both, denial) = unsafe { (with(request, verdict), denial.as_ref()) };
        let Some(((view, verdict), denial)) = both.zip(denial) else {
            // SAFETY: gate.h: a live verdict.
            unsafe { fail(request, verdict) };
            return 1;
        };
        // SAFETY: gate.h: live text or NULL.
        let refusal = unsafe { written(denial.reason, denial.detail) };
        let denial = Denial { refusal, unknown: denial.unknown != 0, nobody: denial.nobody != 0 };
        let refusal = after_rules(status, !verdict.identity.is_null(), denial);
        if let Some(refusal) = &refusal {
            view.refuse(refusal, verdict);
        }
        i32::from(refusal.is_some())
    // SAFETY: gate.h: a live verdict.
    } else unsafe { fail(request, verdict); 1 }
}

/// A refusal that C held.
///
/// # Safety
/// Live text or NULL.
unsafe fn written(reason: *const c_char, detail: *const c_char) -> Option<Refusal> {
    // SAFETY: the caller's promise.
    let (reason, detail) = unsafe { (lossy(reason)?, lossy(detail).unwrap_or_default()) };
    let reason = Reason::from_code(reason).unwrap_or(Reason::Internal);
    Some(Refusal::new(reason, detail))
}

const fn fact(fact: ffi::gate_fact) -> Option<Fact> {
    Some(match fact {
        ffi::GATE_FACT_USER_NEEDED => Fact::UserNeeded,
        ffi::GATE_FACT_NOT_JUDGED => Fact::NotJudged,
        ffi::GATE_FACT_BODY => Fact::Body,
        ffi::GATE_FACT_UNWATCHED => Fact::Unwatched,
        ffi::GATE_FACT_CONNECT_H2 => Fact::ConnectH2,
        ffi::GATE_FACT_NO_PORTS => Fact::NoPorts,
        ffi::GATE_FACT_EARLY_BYTES => Fact::EarlyBytes,
        ffi::GATE_FACT_NO_DESCRIPTOR => Fact::NoDescriptor,
        _ => return None,
    })
}

entry! {
    fn gate_refuse(request: *const gate_request, what: ffi::gate_fact, verdict: *mut gate_verdict) {
        // SAFETY: gate.h: a live request and verdict.
        let Some((view, verdict)) = (unsafe { with(request, verdict) }) else {
            // SAFETY: gate.h: a live verdict.
            return unsafe { fail(request, verdict) };
        };
        // A refusal that was only observed stands again where the gate itself would answer.
        // SAFETY: gate.h: live text or NULL.
        let observed = || unsafe { written(verdict.reason, verdict.detail) };
        let refusal = fact(what).map(Fact::refusal).or_else(observed);
        view.refuse(&refusal.unwrap_or_else(|| Fact::NotJudged.refusal()), verdict);
    // SAFETY: gate.h: a live verdict.
    } else unsafe { fail(request, verdict) }
}

entry! {
    fn gate_identity_release(identity: *mut ffi::gate_identity) {
        #[cfg(feature = "test-hooks")]
        drop(crate::sys::end::HELD.lock()); // as free() may wait
        if !identity.is_null() {
            // SAFETY: one reference, made by Arc::into_raw in `grant`, given back once.
            drop(unsafe { Arc::from_raw(identity.cast::<Grant>()) });
        }
    } else ()
}
