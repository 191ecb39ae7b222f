//! The table of directives: name, where it may stand, default, one line of help; and what reads
//! their words into typed settings. docs/directives.md and c_shim/conf.c are held against it by a
//! test. What a whole configuration may not be is said in `directive::check`.

pub mod check; //  the whole: unknown issuers, roles that nobody grants
pub mod issuer; // the lines of <GateIssuer>
mod open; //       sections that look closed and are open
pub mod people; // sign-in and sessions
pub mod place; //  the lines of a section
pub mod upstream; // what goes to the upstream beside the identity
pub mod words; //  durations, sizes, switches

pub(crate) use open::ABOUT_THE_GATE;

use crate::audit::chain::ChainKey;
use crate::config::{Config, Place, Setting};
use std::path::Path;
use std::sync::Arc;

/// The largest GateCacheSize: what is made at once for it stays small beside a child's own size.
const MAX_CACHE: usize = 8 << 30;

/// What a section's directive is worth at run time: its place in the array that C keeps (GATE_SLOTS in gate.h).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(usize)]
pub enum Slot {
    /// GateAccept
    Accept,
    /// GateTokenFrom
    TokenFrom,
    /// GateForwardToken
    ForwardToken,
    /// GateMode
    Mode,
    /// GateAuditOn
    AuditOn,
    /// GateTarget
    Target,
    /// GateLifetime
    Lifetime,
    /// GateIdle
    Idle,
    /// GateJob
    Job,
    /// GateMaxOpen
    MaxOpen,
    /// GateUpstreamToken
    UpstreamToken,
    /// GateSudo
    Sudo,
    /// GateAssertion
    Assertion,
}

impl Slot {
    /// How many there are.
    pub const COUNT: usize = Self::Assertion as usize + 1;
}

/// Where a directive may stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// Inside `<GateIssuer>`.
    Issuer,
    /// In the main server's configuration, outside of sections.
    Server,
    /// In a server's or a virtual host's, outside of sections.
    Host,
    /// Anywhere but .htaccess.
    Section,
}

/// One directive.
#[derive(Debug)]
pub struct Directive {
    /// As it is written.
    pub name: &'static str,
    /// Where it may stand.
    pub scope: Scope,
    /// The slot of a section's directive.
    pub slot: Option<Slot>,
    /// What holds without it, as docs/directives.md says it.
    pub default: &'static str,
}

const fn row(
    name: &'static str,
    scope: Scope,
    slot: Option<Slot>,
    default: &'static str,
) -> Directive {
    Directive {
        name,
        scope,
        slot,
        default,
    }
}

/// Every directive, in the order of docs/directives.md.
pub const TABLE: &[Directive] = &[
    row("GateIssuerURL", Scope::Issuer, None, "required"),
    row("GateKind", Scope::Issuer, None, "generic"),
    row("GateAudience", Scope::Issuer, None, "required"),
    row("GateJWKS", Scope::Issuer, None, "discovery"),
    row("GateAlgorithms", Scope::Issuer, None, "all of them"),
    row("GateUserClaim", Scope::Issuer, None, "by kind"),
    row("GateEmailClaim", Scope::Issuer, None, "by kind"),
    row("GateRoleClaim", Scope::Issuer, None, "by kind, else none"),
    row("GateRole", Scope::Issuer, None, "none"),
    row("GateRequire", Scope::Issuer, None, "none"),
    row("GateMaxLifetime", Scope::Issuer, None, "off"),
    row("GateClockSkew", Scope::Issuer, None, "30s"),
    row("GateRefresh", Scope::Issuer, None, "10m"),
    row("GateMaxStale", Scope::Issuer, None, "24h"),
    row("GateTimeout", Scope::Issuer, None, "5s"),
    row("GateCAFile", Scope::Issuer, None, "system"),
    row("GateJobAPI", Scope::Issuer, None, "none"),
    row("GateIntrospection", Scope::Issuer, None, "off"),
    row(
        "GateStateDir",
        Scope::Server,
        None,
        "gitlab-gate in httpd's runtime directory",
    ),
    row("GateKeepHeader", Scope::Server, None, "none"),
    row("GateCacheSize", Scope::Server, None, "16M"),
    row("GateAuditLog", Scope::Server, None, "none"),
    row("GateAuditChainKey", Scope::Server, None, "none"),
    row("GateAuditRequired", Scope::Server, None, "off"),
    row(
        "GateMaxOpenTotal",
        Scope::Server,
        None,
        "half of the workers",
    ),
    row("GateAccept", Scope::Section, Some(Slot::Accept), "all"),
    row(
        "GateTokenFrom",
        Scope::Section,
        Some(Slot::TokenFrom),
        "bearer",
    ),
    row(
        "GateHeader",
        Scope::Section,
        None,
        "X-Forwarded-User user and the others of docs/headers.md",
    ),
    row(
        "GateForwardToken",
        Scope::Section,
        Some(Slot::ForwardToken),
        "off",
    ),
    row("GateAuditOn", Scope::Section, Some(Slot::AuditOn), "all"),
    row("GateMode", Scope::Section, Some(Slot::Mode), "enforce"),
    row(
        "GateTarget",
        Scope::Section,
        Some(Slot::Target),
        "the name of the <GatePort> itself",
    ),
    row(
        "GateLifetime",
        Scope::Section,
        Some(Slot::Lifetime),
        "token",
    ),
    row("GateIdle", Scope::Section, Some(Slot::Idle), "10m"),
    row("GateJob", Scope::Section, Some(Slot::Job), "off"),
    row("GateMaxOpen", Scope::Section, Some(Slot::MaxOpen), "8"),
    row(
        "GateUpstreamToken",
        Scope::Section,
        Some(Slot::UpstreamToken),
        "none",
    ),
    row("GateSudo", Scope::Section, Some(Slot::Sudo), "off"),
    row("GateAccountAPI", Scope::Host, None, "off"),
    row("GateAssertionKey", Scope::Server, None, "none"),
    row(
        "GateAssertion",
        Scope::Section,
        Some(Slot::Assertion),
        "off",
    ),
];

/// The directive of that name; httpd compares names without case.
#[must_use]
pub fn find(name: &str) -> Option<&'static Directive> {
    TABLE.iter().find(|it| it.name.eq_ignore_ascii_case(name))
}

/// The configuration while it is being read.
#[derive(Debug, Default)]
pub struct Builder {
    /// What the directives gave so far.
    pub config: Config,
    /// The `<GateIssuer>` that is open.
    open: Option<issuer::Draft>,
    next_id: u64,
    accepts: Vec<Vec<String>>,
    notes: check::Notes,
}

impl Builder {
    /// A server's or section's directive; gives the setting where it has one.
    ///
    /// # Errors
    /// What is wrong, naming the directive and what would be right.
    pub fn directive(
        &mut self,
        place: &Place,
        name: &str,
        words: &[&str],
    ) -> Result<Option<Setting>, String> {
        words::utf8(name, words)?;
        self.config.protects = true;
        self.notes.said(place, name);
        match name {
            "GateStateDir" => {
                self.main_server_only(place, name)?;
                self.config.state_dir = Some(words::one(name, words)?.to_owned());
                Ok(None)
            }
            "GateCacheSize" => {
                self.main_server_only(place, name)?;
                let size = words::size(name, words)?;
                if size > MAX_CACHE {
                    return Err(format!(
                        "{name} {}: each child keeps so much; at most 8G",
                        words.join(" ")
                    ));
                }
                self.config.cache_size = Some(size);
                Ok(None)
            }
            "GateAuditLog" | "GateAuditChainKey" | "GateAuditRequired" => {
                self.main_server_only(place, name)?;
                self.audit_directive(name, words).map(|()| None)
            }
            "GateMaxOpenTotal" => {
                self.main_server_only(place, name)?;
                self.config.max_open_total = Some(words::count(name, words)?);
                Ok(None)
            }
            "GateKeepHeader" => {
                self.main_server_only(place, name)?;
                if words.is_empty() {
                    return Err("GateKeepHeader takes one or more header names".into());
                }
                if let Some(other) = words
                    .iter()
                    .find(|it| !crate::protected::may_be_kept(it.as_bytes()))
                {
                    return Err(format!(
                        "GateKeepHeader {other}: only GitLab's internal headers and method overrides can be let through, \
                         each by its whole name (docs/headers.md lists them); identity headers never"
                    ));
                }
                if let Some(other) = words.iter().find(|it| it.contains('*')) {
                    return Err(format!(
                        "GateKeepHeader {other}: write each header by its whole name; * stands for nothing here"
                    ));
                }
                self.config
                    .keep_headers
                    .extend(words.iter().map(|it| (*it).to_owned()));
                Ok(None)
            }
            "GateAssertionKey" => {
                self.main_server_only(place, name)?;
                self.assertion_key(words).map(|()| None)
            }
            "GateAccountAPI" => self.account_api(place, words).map(|()| None),
            "GateUpstreamToken" | "GateSudo" | "GateAssertion" => {
                self.upstream_directive(place, name, words).map(Some)
            }
            _ => self.section_directive(place, name, words).map(Some),
        }
    }

    fn audit_directive(&mut self, name: &str, words: &[&str]) -> Result<(), String> {
        let audit = &mut self.config.audit;
        match name {
            "GateAuditLog" => {
                let log = words::one(name, words)?;
                if log.trim_start_matches('|').trim().is_empty() {
                    return Err("GateAuditLog takes a path, or \"|program\"".into());
                }
                audit.log = Some(log.to_owned());
            }
            "GateAuditChainKey" => {
                let word = words::one(name, words)?;
                let path = word
                    .strip_prefix("file:")
                    .filter(|it| it.starts_with('/'))
                    .ok_or_else(|| format!("{name} {word}: write file: and an absolute path"))?;
                let key = ChainKey::read(Path::new(path))
                    .map_err(|wrong| format!("{name} {word}: {wrong}"))?;
                audit.key = Some(Arc::new(key));
            }
            _ => audit.required = words::switch(name, words)?,
        }
        Ok(())
    }

    fn main_server_only(&self, place: &Place, name: &str) -> Result<(), String> {
        if place.section.is_some()
            || self
                .config
                .servers
                .get(place.server)
                .is_some_and(|it| it.is_virtual)
        {
            return Err(format!(
                "{name} holds for the whole server: write it outside of <VirtualHost> and of sections"
            ));
        }
        Ok(())
    }

    fn new_id(&mut self) -> u64 {
        self.next_id += 1;
        self.next_id
    }
}
