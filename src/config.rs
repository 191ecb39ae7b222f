//! Typed settings, as the directives gave them, checked as a whole before httpd starts.
//!
//! Nothing here reads httpd's configuration text: `directive` does. Settings never change once
//! httpd runs.

pub mod people; // sign-in and sessions

use crate::audit::chain::ChainKey;
use crate::kind::Kind;
use crate::policy::condition::Condition;
use crate::policy::path::ClaimPath;
use crate::protected::Protected;
use crate::token::source::Source;
use crate::upstream::signer::Signer;
use jsonwebtoken::Algorithm;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

/// Where an issuer's keys are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeyLocation {
    /// `jwks_uri` of `{issuer}/.well-known/openid-configuration`.
    Discovery,
    /// A JWKS at this URL.
    Url(String),
    /// A JWKS in this file.
    File(PathBuf),
}

/// Who a token must be for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Audience {
    /// The check is off (`GateAudience any`).
    Any,
    /// One of these must be in `aud`.
    OneOf(Vec<String>),
}

/// One `GateRole` line: the role is granted where all conditions hold.
#[derive(Debug)]
pub struct RoleRule {
    /// The administrator's word.
    pub role: String,
    /// All of them must hold.
    pub conditions: Vec<Condition>,
}

/// One `<GateIssuer>`.
#[derive(Debug)]
pub struct Issuer {
    /// The name in the configuration.
    pub name: String,
    /// Its make.
    pub kind: Kind,
    /// The exact `iss`; may hold `{tenantid}` where the kind is entra.
    pub url: String,
    /// Who a token must be for.
    pub audience: Audience,
    /// Where the keys are.
    pub keys: KeyLocation,
    /// The signature algorithms accepted.
    pub algorithms: Vec<Algorithm>,
    /// The first of these claims that is there becomes the user.
    pub user_claims: Vec<ClaimPath>,
    /// The claim that holds the e-mail address.
    pub email_claim: Option<ClaimPath>,
    /// Every value of this claim is a role.
    pub role_claim: Option<ClaimPath>,
    /// The role rules, in the order of the configuration.
    pub roles: Vec<RoleRule>,
    /// All must hold, else the token is refused.
    pub require: Vec<Condition>,
    /// Longest `exp - iat`, seconds.
    pub max_lifetime: Option<u64>,
    /// Leeway for `exp`, `nbf`, `iat`, seconds.
    pub clock_skew: u64,
    /// How often keys are fetched anew, seconds.
    pub refresh: u64,
    /// How long the last good keys serve, seconds.
    pub max_stale: u64,
    /// One fetch, seconds.
    pub timeout: u64,
    /// Trust this CA for the issuer, instead of the system's.
    pub ca_file: Option<PathBuf>,
    /// Its certificates' hash, so that keys which came under other trust are not believed.
    pub ca_fingerprint: Option<String>,
    /// Where GateJob asks.
    pub job_api: Option<JobApi>,
}

/// What a header for the upstream holds (GateHeader).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HeaderValue {
    /// `REMOTE_USER`.
    User,
    /// The verified e-mail address.
    Email,
    /// `sub`.
    Subject,
    /// The issuer's name in the configuration.
    Issuer,
    /// The roles, a list.
    Roles,
    /// A claim.
    Claim(ClaimPath),
    /// A statement signed by the gate.
    Assertion,
    /// Nothing: a default header is dropped.
    None,
}

/// One GateHeader line.
#[derive(Clone, Debug)]
pub struct HeaderChoice {
    /// Its own number in this configuration, so that what is rendered for it can be found again.
    pub id: u64,
    /// The header.
    pub name: String,
    /// What it holds.
    pub value: HeaderValue,
}

/// GateAccept's list.
#[derive(Clone, Debug)]
pub struct Accept {
    /// The issuers' names.
    pub issuers: Vec<String>,
    /// The same number for the same list; 0 stands for "all".
    pub scope: u32,
}

/// Whether refusals are meant (GateMode).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// Refuse.
    #[default]
    Enforce,
    /// Write down what would have been refused.
    Observe,
}

/// GateAuditOn: which decisions of a place are written down.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum AuditOn {
    /// Every decision.
    #[default]
    All,
    /// Refusals, meant or observed.
    Refusals,
    /// None.
    None,
}

/// GateAuditLog and what belongs to it.
#[derive(Debug, Default)]
pub struct Audit {
    /// A path, or `|` and a program.
    pub log: Option<String>,
    /// GateAuditChainKey
    pub key: Option<Arc<ChainKey>>,
    /// GateAuditRequired
    pub required: bool,
}

/// The value of a directive that stands in a section.
#[derive(Debug)]
pub enum Setting {
    /// GateAccept
    Accept(Accept),
    /// GateTokenFrom
    TokenFrom(Vec<Source>),
    /// GateHeader
    Header(HeaderChoice),
    /// GateForwardToken
    ForwardToken(bool),
    /// GateMode
    Mode(Mode),
    /// GateAuditOn
    AuditOn(AuditOn),
    /// GateTarget
    Target(Endpoint),
    /// GateLifetime
    Lifetime(Lifetime),
    /// GateIdle, seconds
    Idle(u64),
    /// GateJob
    Job(bool),
    /// GateMaxOpen
    MaxOpen(u32),
    /// GateUpstreamToken
    UpstreamToken(UpstreamToken),
    /// GateSudo
    Sudo(Sudo),
    /// GateAssertion
    Assertion(AssertionSetting),
}

/// A host and a port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// A name in small letters, or an address; IPv6 without its brackets.
    pub host: String,
    /// Never 0.
    pub port: u16,
}

/// How long a connection may be open (GateLifetime); a port always ends at `exp`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Lifetime {
    /// Until `exp`.
    #[default]
    Token,
    /// A WebSocket is never cut.
    Off,
    /// So many seconds, and until `exp`.
    Seconds(u64),
}

/// Where GateJob asks (GateJobAPI).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JobApi {
    /// GitLab's API, without a slash at the end.
    pub url: String,
    /// The gate's own token; without it the job shows its `CI_JOB_TOKEN`.
    pub token_file: Option<PathBuf>,
    /// Between two questions, seconds.
    pub every: u64,
    /// So many answers in a row that say nothing end the port.
    pub misses: u32,
}

/// GateSudo: as whom GitLab is asked to act.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sudo {
    /// Persons.
    pub people: bool,
    /// CI jobs, each as the person who started its pipeline.
    pub jobs: bool,
}

/// Where a person's account is asked about (GateAccountAPI).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccountApi {
    /// GitLab's API, without a slash at the end.
    pub url: String,
    /// An administrator's token.
    pub token_file: PathBuf,
    /// Trust this CA instead of the system's.
    pub ca_file: Option<PathBuf>,
    /// How long an answer is young, seconds.
    pub cache: u64,
    /// How long the last one serves while GitLab can't say, seconds.
    pub stale: u64,
}

/// GateUpstreamToken.
#[derive(Clone, Debug)]
pub struct UpstreamToken {
    /// Which of [`Config::credentials`]; `None`: none here.
    pub file: Option<usize>,
    /// The header that it goes into.
    pub header: String,
    /// The upstream is no GitLab (`paths=any`): it goes to any path.
    pub any_path: bool,
}

/// GateAssertion.
#[derive(Clone, Debug)]
pub struct AssertionSetting {
    /// Its own number in this configuration, so that what was signed for it can be found again.
    pub id: u64,
    /// Whether the header is sent.
    pub on: bool,
    /// `aud`; `None`: the gate's own URL.
    pub audience: Option<String>,
    /// The longest life, seconds.
    pub ttl: u64,
    /// The header.
    pub header: String,
}

impl Default for AssertionSetting {
    fn default() -> Self {
        Self {
            id: 0,
            on: false,
            audience: None,
            ttl: 60,
            header: "X-Gate-Assertion".into(),
        }
    }
}

/// Where something stands in the configuration's text.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Place {
    /// The server's place in [`Config::servers`].
    pub server: usize,
    /// The file.
    pub file: String,
    /// The line, from 1.
    pub line: u32,
    /// The section's argument; `None` outside of one.
    pub section: Option<String>,
    /// The section's directive, as `<Location`.
    pub container: Option<String>,
    /// What groups the rule, as `<RequireAll`; `None`: nothing does.
    pub group: Option<String>,
    /// The section is a `<GatePort>`.
    pub port: bool,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {} of {}", self.line, self.file)
    }
}

/// One server or virtual host.
#[derive(Debug, Default)]
pub struct Server {
    /// Not the main server: it inherits the main server's issuers.
    pub is_virtual: bool,
    /// Its own issuers.
    pub issuers: Vec<Arc<Issuer>>,
    /// Its own GateAccountAPI.
    pub account_api: Option<Arc<AccountApi>>,
}

/// One reading of the configuration.
#[derive(Debug, Default)]
pub struct Config {
    /// The main server first.
    pub servers: Vec<Server>,
    /// GateStateDir
    pub state_dir: Option<String>,
    /// GateCacheSize, bytes per child.
    pub cache_size: Option<usize>,
    /// GateAuditLog, GateAuditChainKey, GateAuditRequired
    pub audit: Audit,
    /// GateKeepHeader
    pub keep_headers: Vec<String>,
    /// The parameters that some place takes tokens from (GateTokenFrom `query:NAME`).
    pub query_names: Vec<String>,
    /// The names of every GateHeader in the configuration.
    pub header_names: Vec<String>,
    /// GateMaxOpenTotal; without it half of the workers.
    pub max_open_total: Option<u32>,
    /// The files of GateUpstreamToken.
    pub credentials: Vec<PathBuf>,
    /// The headers that GateUpstreamToken and GateSudo set.
    pub credential_names: Vec<String>,
    /// GateAssertionKey: the first signs.
    pub signers: Vec<Arc<Signer>>,
    /// Some place says `SetHandler gate-gitlab-login`.
    pub login: bool,
    /// The configuration has a directive of this module, or puts it in force.
    pub protects: bool,
    /// The names of all `<GatePort>` sections, NAME:PORT; made by the check.
    pub ports: Vec<String>,
    /// The names of all issuers; made by the check.
    pub issuer_names: Vec<String>,
    /// What no client may send; made by [`Config::seal`].
    pub protected: Protected,
}

/// GateCacheSize's default: about 2,000 tokens a child.
pub const CACHE_SIZE: usize = 16 << 20;

impl Config {
    /// The issuers of a server: its own, and those of the main server whose names it does not use.
    #[must_use]
    pub fn issuers(&self, server: usize) -> Vec<Arc<Issuer>> {
        let Some(own) = self.servers.get(server) else {
            return Vec::new();
        };
        let mut all = own.issuers.clone();
        if own.is_virtual
            && let Some(main) = self.servers.first()
        {
            all.extend(
                main.issuers
                    .iter()
                    .filter(|it| !own.issuers.iter().any(|mine| mine.name == it.name))
                    .cloned(),
            );
        }
        all
    }

    /// The GateAccountAPI of a server: its own, else the main server's.
    #[must_use]
    pub fn account_api(&self, server: usize) -> Option<&Arc<AccountApi>> {
        let own = self.servers.get(server)?;
        let main = self.servers.first();
        own.account_api.as_ref().or(main?.account_api.as_ref())
    }

    /// Whether some place gives the upstream more than the identity: a credential, `Sudo`, an
    /// assertion, GitLab's login. The last two need a key.
    #[must_use]
    pub fn adds_to_upstream(&self) -> bool {
        self.login || !self.credential_names.is_empty() || !self.signers.is_empty()
    }

    /// Makes what is derived from the whole configuration. Called once, after the last directive.
    pub fn seal(&mut self) {
        self.protected = Protected::new(
            self.header_names.iter().map(String::as_str),
            self.keep_headers.iter().map(String::as_str),
        )
        .and_set(self.credential_names.iter().map(String::as_str));
    }
}
