//! The whole configuration, when its last line has been read: names that lead nowhere, places left
//! open. Errors refuse to start; warnings are said and httpd starts.

use super::Builder;
use super::open::{ABOUT_THE_GATE, Sections};
use super::words::did_you_mean;
use crate::config::{Issuer, KeyLocation, Place};
use crate::field::folds_to;
use crate::policy::require::Rule;
use crate::request::FieldName;
use crate::status::board::{NAMES, OTHER};
use crate::token::source::Source;
use crate::upstream::login::HANDLER;
use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::fs::MetadataExt as _;

/// What was seen while reading and can be judged only at the end.
#[derive(Debug, Default)]
pub(super) struct Notes {
    accepts: Vec<(Place, Vec<String>)>,
    roles: Vec<(Place, Vec<String>)>,
    issuers: Vec<(Place, Vec<String>)>,
    sources: Vec<(Place, FieldName)>,
    headers: Vec<(Place, String)>,
    jobs: Vec<Place>,
    warnings: Vec<String>,
    assertions: Vec<Place>,
    logins: Vec<Place>,
    published: Vec<Place>,
    sudos: Vec<Place>,
    sections: Sections,
    /// Where each of [`ONCE`] stands.
    once: BTreeMap<&'static str, Place>,
    /// The names of all `<GatePort>` sections.
    ports: BTreeSet<String>,
}

/// What a server has one of: the last one holds, as ever in httpd.
const ONCE: [&str; 4] = [
    "GateAuditLog",
    "GateAuditChainKey",
    "GateAuditRequired",
    "GateStateDir",
];

/// What says something about an upstream's headers.
const UPSTREAM: [&str; 5] = [
    "GateHeader",
    "GateForwardToken",
    "GateUpstreamToken",
    "GateSudo",
    "GateAssertion",
];

/// What `SetHandler gate-…` may name.
const HANDLERS: [&str; 4] = ["gate-status", "gate-explain", "gate-jwks", HANDLER];

impl Notes {
    /// A directive stands there.
    pub(super) fn said(&mut self, place: &Place, name: &str) {
        if place.port
            && let Some(section) = &place.section
        {
            self.ports.insert(section.clone());
            self.sections.port(place);
        }
        if place.port && UPSTREAM.contains(&name) {
            self.warnings.push(format!(
                "GATE223: {name} ({place}) has no effect in <GatePort>: a port carries bytes, and no headers to put it in"
            ));
        }
        if !place.port && place.section.is_some() && name == "GateJob" {
            self.warnings.push(format!(
                "GATE224: {name} ({place}) has no effect here: only a port (<GatePort>) is closed when its job ends"
            ));
        }
        if let Some(name) = ONCE.iter().find(|it| **it == name)
            && let Some(before) = self.once.insert(name, place.clone())
        {
            self.warnings.push(format!(
                "GATE221: {name} ({place}) stands again: what {before} says has no effect"
            ));
        }
    }

    pub(super) fn accept(&mut self, place: &Place, issuers: &[String]) {
        self.accepts.push((place.clone(), issuers.to_vec()));
    }

    pub(super) fn sources(&mut self, place: &Place, sources: &[Source]) {
        for source in sources {
            if let Source::Header(name) = source {
                self.sources.push((place.clone(), name.clone()));
            }
        }
    }

    pub(super) fn header(&mut self, place: &Place, name: &str) {
        self.headers.push((place.clone(), name.to_owned()));
    }

    pub(super) fn any_audience(&mut self, place: &Place, issuer: &str) {
        self.warnings.push(format!(
            "GATE201: GateAudience any in <GateIssuer {issuer}> ({place}): a token that this issuer made for anybody passes"
        ));
    }

    /// Whoever writes keys, or a certificate to trust, makes tokens.
    pub(super) fn exposed_files(&mut self, place: &Place, issuer: &Issuer) {
        let keys = match &issuer.keys {
            KeyLocation::File(file) => Some(("GateJWKS", file)),
            _ => None,
        };
        let trust = issuer.ca_file.as_ref().map(|file| ("GateCAFile", file));
        for (directive, file) in keys.into_iter().chain(trust) {
            if std::fs::metadata(file).is_ok_and(|it| it.mode() & 0o002 != 0) {
                self.warnings.push(format!(
                    "GATE211: {directive} {} in <GateIssuer {}> ({place}): everybody may write that file, and so make tokens. Say chmod o-w",
                    file.display(),
                    issuer.name
                ));
            }
        }
    }

    pub(super) fn job(&mut self, place: &Place) {
        self.jobs.push(place.clone());
    }

    pub(super) fn observe(&mut self, place: &Place) {
        let so = if place.port {
            "it does not hold for ports, which refuse as ever"
        } else {
            "nothing is refused there"
        };
        self.warnings
            .push(format!("GATE202: GateMode observe ({place}): {so}"));
    }

    pub(super) fn warn(&mut self, text: String) {
        self.warnings.push(text);
    }

    pub(super) fn sudo(&mut self, place: &Place) {
        self.sudos.push(place.clone());
    }

    pub(super) fn assertion(&mut self, place: &Place) {
        self.assertions.push(place.clone());
    }
}

/// What the check found.
#[derive(Debug, Default)]
pub struct Findings {
    /// httpd may not start.
    pub errors: Vec<String>,
    /// It starts, and the administrator is told.
    pub warnings: Vec<String>,
    /// What would be better.
    pub advice: Vec<String>,
}

impl Builder {
    /// A directive of httpd's own stood in this section; an unknown one says nothing.
    pub fn note(&mut self, place: &Place, directive: &str, arguments: &str) {
        self.notes.said(place, directive);
        self.config.protects |= place.port || arguments.starts_with("gate-");
        match directive {
            "AuthType" => {
                self.config.protects |= arguments
                    .trim_matches(['"', '\''])
                    .eq_ignore_ascii_case("Gate");
                self.notes.sections.auth_type(place, arguments);
            }
            "Require" => {
                let words: Vec<_> = arguments
                    .split_whitespace()
                    .map(|word| word.trim_matches(['"', '\'']))
                    .collect();
                let words = words.join(" ");
                self.notes.sections.require(place, words);
            }
            "SetHandler" if ABOUT_THE_GATE.contains(&arguments) => {
                self.notes.sections.handler(place, arguments);
            }
            "SetHandler" if arguments == HANDLER => {
                self.config.login = true;
                self.notes.logins.push(place.clone());
            }
            "SetHandler" if arguments == "gate-jwks" => self.notes.published.push(place.clone()),
            "SetHandler" if arguments.starts_with("gate-") && !HANDLERS.contains(&arguments) => {
                self.notes.warn(format!(
                    "GATE222: SetHandler {arguments} ({place}): {}the gate has no such handler, and answers 404; there are {}",
                    did_you_mean(arguments, HANDLERS),
                    HANDLERS.join(", ")
                ));
            }
            _ => {}
        }
    }

    /// A Require of ours was compiled.
    pub fn note_rule(&mut self, place: &Place, rule: &Rule) {
        self.config.protects = true;
        match rule {
            Rule::Role(roles) => self.notes.roles.push((place.clone(), roles.clone())),
            Rule::Issuer(issuers) => self.notes.issuers.push((place.clone(), issuers.clone())),
            Rule::Claim(_) => {}
        }
    }

    /// Judges the whole, and makes what is derived from it.
    pub fn check(&mut self) -> Findings {
        let mut found = Findings {
            warnings: std::mem::take(&mut self.notes.warnings),
            ..Findings::default()
        };
        for (place, names) in &self.notes.accepts {
            self.names_exist("GateAccept", place, names, &mut found);
        }
        for (place, names) in &self.notes.issuers {
            self.names_exist("Require gate-issuer", place, names, &mut found);
        }
        for (place, roles) in &self.notes.roles {
            let issuers: Vec<_> = self
                .servers_of(place)
                .flat_map(|at| self.config.issuers(at))
                .collect();
            if issuers.iter().any(|it| it.role_claim.is_some()) {
                continue;
            }
            let granted: Vec<&str> = issuers
                .iter()
                .flat_map(|it| &it.roles)
                .map(|rule| &*rule.role)
                .collect();
            for role in roles.iter().filter(|role| {
                !issuers
                    .iter()
                    .flat_map(|it| &it.roles)
                    .any(|rule| rule.role == **role)
            }) {
                found.warnings.push(format!(
                    "GATE203: Require gate-role {role} ({place}): {}no issuer grants that role; write GateRole {role} CONDITION in a <GateIssuer>",
                    did_you_mean(role, granted.iter().copied())
                ));
            }
        }
        for place in &self.notes.jobs {
            self.job_can_be_asked(place, &mut found);
        }
        for place in self.notes.sections.gates() {
            if self.config.issuers(place.server).is_empty()
                && !self
                    .servers_of(place)
                    .any(|at| !self.config.issuers(at).is_empty())
            {
                found.errors.push(format!("AuthType Gate ({place}): there is no <GateIssuer> whose tokens could be accepted"));
            }
        }
        let servers: Vec<bool> = self.config.servers.iter().map(|it| it.is_virtual).collect();
        found.warnings.extend(self.notes.sections.open(&servers));
        self.check_keys(&mut found);
        self.check_accounts(&mut found);
        self.check_audit(&mut found);
        self.check_names(&mut found);
        self.config.seal();
        self.check_sources(&mut found);
        found
    }

    /// Without mod_authn_core and mod_authz_core httpd asks no `AuthType` and no `Require`: every
    /// section would be open.
    #[must_use]
    pub fn without_authorization(&self) -> Option<String> {
        let gate = self.notes.sections.gates().next()?;
        Some(format!(
            "AuthType Gate ({gate}) needs mod_authn_core and mod_authz_core, and one of them is not loaded: no Require would be asked; write LoadModule lines for both"
        ))
    }

    fn check_audit(&self, found: &mut Findings) {
        let audit = &self.config.audit;
        for (name, given) in [
            ("GateAuditChainKey", audit.key.is_some()),
            ("GateAuditRequired", audit.required),
        ] {
            if given
                && audit.log.is_none()
                && let Some(place) = self.notes.once.get(name)
            {
                found.errors.push(format!(
                    "{name} ({place}) needs a GateAuditLog: there is none"
                ));
            }
        }
    }

    /// The figures tell so many names apart.
    fn check_names(&mut self, found: &mut Findings) {
        self.config.ports = std::mem::take(&mut self.notes.ports).into_iter().collect();
        let issuers: BTreeSet<_> = (0..self.config.servers.len())
            .flat_map(|at| self.config.issuers(at))
            .map(|it| it.name.clone())
            .collect();
        self.config.issuer_names = issuers.into_iter().collect();
        for (what, names) in [
            ("<GatePort>", &self.config.ports),
            ("<GateIssuer>", &self.config.issuer_names),
        ] {
            if names.len() >= NAMES {
                found.warnings.push(format!(
                    "GATE220: there are {} {what} sections: the status and the metrics tell {} apart and count the others as one, \"{OTHER}\"",
                    names.len(),
                    NAMES - 1
                ));
            }
        }
    }

    /// Some issuer whose tokens are accepted there says where to ask.
    fn job_can_be_asked(&self, place: &Place, found: &mut Findings) {
        let accepted = self
            .notes
            .accepts
            .iter()
            .rev()
            .find(|(at, _)| at.server == place.server && at.section == place.section)
            .map(|(_, names)| names);
        let can = self
            .servers_of(place)
            .flat_map(|at| self.config.issuers(at))
            .any(|it| {
                it.job_api.is_some() && accepted.is_none_or(|names| names.contains(&it.name))
            });
        if can {
            return;
        }
        let who = accepted.map_or("no <GateIssuer> says".to_owned(), |names| {
            format!(
                "GateAccept {} stands there, and none of these says",
                names.join(" ")
            )
        });
        found.errors.push(format!(
            "GateJob on ({place}): {who} where to ask; write GateJobAPI https://gitlab.example.com/api/v4 in the <GateIssuer>"
        ));
    }

    /// What no client may send can hold no token.
    fn check_sources(&self, found: &mut Findings) {
        for (place, name) in &self.notes.sources {
            let text = name.as_str().as_bytes();
            if !self.config.protected.is_protected(text) {
                continue;
            }
            let sent = self
                .notes
                .headers
                .iter()
                .find(|(_, sent)| folds_to(sent, text));
            let why = match sent {
                Some((at, sent)) => format!("GateHeader {sent} ({at}) sends it"),
                None => {
                    "it is one of those that only the gate or GitLab's own components send".into()
                }
            };
            found.errors.push(format!(
                "GateTokenFrom header:{} ({place}): that header is taken from every client, since {why}; choose another name",
                name.as_str()
            ));
        }
    }

    /// GitLab looks at the state of the token's owner alone, not of the person in `Sudo`.
    fn check_accounts(&self, found: &mut Findings) {
        let unasked = |at: &&Place| {
            self.servers_of(at)
                .any(|server| self.config.account_api(server).is_none())
        };
        if let Some(place) = self.notes.sudos.iter().find(unasked) {
            found.advice.push(format!(
                "GATE234: GateSudo on ({place}) without GateAccountAPI: an account that is blocked in GitLab goes on there; write GateAccountAPI https://gitlab.example.com/api/v4 token-file=PATH"
            ));
        }
    }

    fn check_keys(&self, found: &mut Findings) {
        if self.config.signers.is_empty() {
            for place in &self.notes.published {
                found.warnings.push(format!(
                    "GATE209: SetHandler gate-jwks ({place}): there is no GateAssertionKey whose public half could be published; it answers 404"
                ));
            }
            for place in &self.notes.assertions {
                found.errors.push(format!(
                    "an assertion is asked for ({place}): there is no GateAssertionKey that could sign it"
                ));
            }
        }
        if !crate::upstream::login::can_sign(&self.config.signers) {
            for place in &self.notes.logins {
                found.errors.push(format!(
                    "SetHandler gate-gitlab-login ({place}): GitLab's provider takes RS256 and ES256; write a GateAssertionKey of RSA or P-256"
                ));
            }
        }
    }

    /// The main server's sections hold in virtual hosts too.
    fn servers_of(&self, place: &Place) -> impl Iterator<Item = usize> {
        let is_virtual = self
            .config
            .servers
            .get(place.server)
            .is_some_and(|it| it.is_virtual);
        if is_virtual {
            place.server..place.server + 1
        } else {
            0..self.config.servers.len()
        }
    }

    fn names_exist(&self, directive: &str, place: &Place, names: &[String], found: &mut Findings) {
        let known: Vec<String> = self
            .servers_of(place)
            .flat_map(|at| self.config.issuers(at))
            .map(|it| it.name.clone())
            .collect();
        let own = self.config.issuers(place.server);
        for name in names {
            if known.contains(name) && !own.iter().any(|it| it.name == *name) {
                found.warnings.push(format!(
                    "GATE206: {directive} {name} ({place}): only virtual hosts have a <GateIssuer {name}>; everywhere else its tokens are unknown. Write the section outside of <VirtualHost>, or this line inside of it"
                ));
            }
        }
        for name in names.iter().filter(|name| !known.contains(name)) {
            let mut known = known.clone();
            known.sort();
            known.dedup();
            let have = if known.is_empty() {
                "there is none at all".to_owned()
            } else {
                format!("there are {}", known.join(", "))
            };
            found.errors.push(format!(
                "{directive} {name} ({place}): {}there is no <GateIssuer {name}>; {have}",
                did_you_mean(name, known.iter().map(String::as_str))
            ));
        }
    }
}
