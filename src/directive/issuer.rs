//! The lines of `<GateIssuer>`: a draft that becomes an [`Issuer`] when the section closes, with
//! the defaults of its kind.

use super::{Builder, Scope, find, words};
use crate::algorithm;
use crate::config::{Audience, Issuer, JobApi, KeyLocation, Place, RoleRule};
use crate::http::url::check_url;
use crate::kind::Kind;
use crate::policy::condition::Condition;
use crate::policy::path::ClaimPath;
use jsonwebtoken::Algorithm;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Why a section can't be closed.
#[derive(Debug, PartialEq, Eq)]
pub struct Wrong {
    /// What is wrong and what would be right.
    pub text: String,
    /// The line to blame; `None`: the section as a whole.
    pub line: Option<u32>,
}

impl Wrong {
    fn section(text: impl Into<String>) -> Self {
        Self {
            text: text.into(),
            line: None,
        }
    }
}

/// A section that is being read. What may stand once only is an `Option`.
#[derive(Debug, Default)]
pub(super) struct Draft {
    name: String,
    seen: Vec<&'static str>,
    kind: Option<Kind>,
    url: Option<String>,
    url_line: Option<u32>,
    audience: Option<Audience>,
    keys: Option<KeyLocation>,
    /// No key of the file fits.
    unfit_keys: bool,
    algorithms: Option<Vec<Algorithm>>,
    user_claims: Option<Vec<ClaimPath>>,
    email_claim: Option<ClaimPath>,
    role_claim: Option<ClaimPath>,
    roles: Vec<RoleRule>,
    require: Vec<Condition>,
    max_lifetime: Option<u64>,
    clock_skew: Option<u64>,
    refresh: Option<u64>,
    max_stale: Option<u64>,
    timeout: Option<u64>,
    ca_file: Option<PathBuf>,
    ca_fingerprint: Option<String>,
    job_api: Option<JobApi>,
}

impl Builder {
    /// `<GateIssuer name>`
    ///
    /// # Errors
    /// The name can't be used, or is used already in this server.
    pub fn open_issuer(&mut self, place: &Place, name: &str) -> Result<(), String> {
        self.config.protects = true;
        let word = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
        if name.is_empty() || !name.bytes().all(word) {
            return Err(format!(
                "<GateIssuer {name}>: a name is made of letters, digits, '-', '_' and '.'"
            ));
        }
        let own = self
            .config
            .servers
            .get(place.server)
            .map(|server| &server.issuers);
        if own.is_some_and(|issuers| issuers.iter().any(|it| it.name == name)) {
            return Err(format!(
                "<GateIssuer {name}> stands twice in this server: give each issuer a name of its own"
            ));
        }
        self.open = Some(Draft {
            name: name.to_owned(),
            ..Draft::default()
        });
        Ok(())
    }

    /// One line of the open section.
    ///
    /// # Errors
    /// What is wrong, naming the directive and what would be right.
    pub fn issuer_directive(
        &mut self,
        line: u32,
        name: &str,
        words: &[&str],
    ) -> Result<(), String> {
        let row = find(name)
            .filter(|row| row.scope == Scope::Issuer)
            .ok_or_else(|| {
                let all: Vec<_> = super::TABLE
                    .iter()
                    .filter(|row| row.scope == Scope::Issuer)
                    .map(|row| row.name)
                    .collect();
                let meant = if find(name).is_some() {
                    String::new()
                } else {
                    words::did_you_mean(name, all.iter().copied())
                };
                format!(
                    "{meant}{name} has no place in <GateIssuer>, which takes {}",
                    all.join(" ")
                )
            })?;
        words::utf8(row.name, words)?;
        let draft = self.open.as_mut().ok_or("no <GateIssuer> is open")?;
        if !matches!(row.name, "GateRole" | "GateRequire") {
            if draft.seen.contains(&row.name) {
                return Err(format!(
                    "{} stands twice in <GateIssuer {}>",
                    row.name, draft.name
                ));
            }
            draft.seen.push(row.name);
            if row.name == "GateIssuerURL" {
                draft.url_line = Some(line);
            }
        }
        draft.line(row.name, words)
    }

    /// `</GateIssuer>`
    ///
    /// # Errors
    /// Something required is missing, or two lines contradict each other.
    pub fn close_issuer(&mut self, place: &Place) -> Result<(), Wrong> {
        let draft = self
            .open
            .take()
            .ok_or_else(|| Wrong::section("no <GateIssuer> is open"))?;
        let (asked, unfit_keys) = (draft.refresh, draft.unfit_keys);
        let issuer = draft.finish()?;
        if let Some(asked) = asked.filter(|it| *it > issuer.refresh) {
            self.notes.warn(format!(
                "GATE210: <GateIssuer {}> ({place}): GateRefresh is {} s and not {asked} s, half of GateMaxStale ({} s): else an issuer that is well could have no keys",
                issuer.name, issuer.refresh, issuer.max_stale
            ));
        }
        self.notes.exposed_files(place, &issuer);
        if issuer.audience == Audience::Any {
            self.notes.any_audience(place, &issuer.name);
        }
        if unfit_keys {
            self.notes.warn(format!(
                "GATE207: <GateIssuer {}> ({place}): the file of GateJWKS holds no key that fits: no token of this issuer is accepted",
                issuer.name
            ));
        }
        let server = self
            .config
            .servers
            .get_mut(place.server)
            .ok_or_else(|| Wrong::section("the server is not known"))?;
        server.issuers.push(Arc::new(issuer));
        Ok(())
    }
}

impl Draft {
    fn line(&mut self, name: &'static str, words: &[&str]) -> Result<(), String> {
        match name {
            "GateIssuerURL" => self.url = Some(words::one(name, words)?.to_owned()),
            "GateKind" => self.kind = Some(kind(words::one(name, words)?)?),
            "GateAudience" => self.audience = Some(audience(words)?),
            "GateJWKS" => (self.keys, self.unfit_keys) = keys(words::one(name, words)?)?,
            "GateAlgorithms" => self.algorithms = Some(algorithms(words)?),
            "GateUserClaim" => self.user_claims = Some(paths(name, words)?),
            "GateEmailClaim" => self.email_claim = Some(path(name, words::one(name, words)?)?),
            "GateRoleClaim" => self.role_claim = Some(path(name, words::one(name, words)?)?),
            "GateRole" => {
                let [role, conditions @ ..] = words else {
                    return Err("GateRole takes a role and one or more conditions, as in GateRole developer groups=gitlab-devs".into());
                };
                if role.is_empty() || !crate::field::is_plain(role) {
                    return Err(format!("GateRole {role}: that is no name for a role"));
                }
                if conditions.is_empty() {
                    return Err(format!(
                        "GateRole {role}: at least one condition is needed, as in GateRole {role} groups={role}s"
                    ));
                }
                self.roles.push(RoleRule {
                    role: (*role).to_owned(),
                    conditions: conditions_of(name, conditions)?,
                });
            }
            "GateRequire" => {
                if words.is_empty() {
                    return Err(
                        "GateRequire takes one or more conditions, as in GateRequire tid=TENANT"
                            .into(),
                    );
                }
                self.require.extend(conditions_of(name, words)?);
            }
            "GateMaxLifetime" => {
                self.max_lifetime = match words {
                    ["off"] => None,
                    words => Some(words::some_time(name, words)?),
                }
            }
            "GateClockSkew" => self.clock_skew = Some(words::leeway(name, words)?),
            "GateRefresh" => self.refresh = Some(words::some_time(name, words)?),
            "GateMaxStale" => self.max_stale = Some(words::some_time(name, words)?),
            "GateTimeout" => self.timeout = Some(words::some_time(name, words)?),
            "GateCAFile" => {
                let file = readable(name, words::one(name, words)?)?;
                let ca = crate::jwks::ca_fingerprint(&file)
                    .map_err(|wrong| format!("GateCAFile: {wrong}"))?;
                self.ca_fingerprint = Some(ca);
                self.ca_file = Some(file);
            }
            "GateJobAPI" => self.job_api = Some(job_api(words)?),
            _ => return Err(format!("{name} is not supported yet")),
        }
        Ok(())
    }

    fn finish(self) -> Result<Issuer, Wrong> {
        let name = self.name;
        let missing = |directive: &str, example: &str| {
            Wrong::section(format!(
                "<GateIssuer {name}> lacks {directive}: write {example}"
            ))
        };
        let url_line = self.url_line;
        let wrong_url = |text| Wrong {
            text,
            line: url_line,
        };
        let url = self.url.ok_or_else(|| {
            missing(
                "GateIssuerURL",
                "the exact iss of its tokens, as GateIssuerURL https://idp.example.com",
            )
        })?;
        let audience = self.audience.ok_or_else(|| {
            missing("GateAudience", "whom its tokens must be for, as GateAudience https://gitlab.example.com (or any, to turn the check off)")
        })?;
        let kind = self.kind.unwrap_or(Kind::Generic);
        check_issuer_url(&url, kind, self.keys.is_some()).map_err(wrong_url)?;
        if url.contains("{tenantid}")
            && !self
                .require
                .iter()
                .any(|it| it.path().is("tid") && it.names_a_tenant())
        {
            return Err(wrong_url(format!(
                "GateIssuerURL {url} takes tokens of every tenant: name yours, as GateRequire tid=TENANT (a pattern that any tenant fits names none)"
            )));
        }
        let max_stale = self.max_stale.unwrap_or(86_400);
        // Keys may not go stale between two fetches.
        let refresh = self.refresh.unwrap_or(600).min((max_stale / 2).max(1));
        let (user, email, role) = defaults(kind);
        let fixed = |paths: &[&str]| {
            paths
                .iter()
                .map(|it| ClaimPath::parse(it))
                .collect::<Result<Vec<_>, _>>()
                .map_err(|wrong| Wrong::section(wrong.to_string()))
        };
        Ok(Issuer {
            kind,
            url,
            audience,
            keys: self.keys.unwrap_or(KeyLocation::Discovery),
            algorithms: self.algorithms.unwrap_or_else(algorithm::all),
            user_claims: match self.user_claims {
                Some(paths) => paths,
                None => fixed(user)?,
            },
            email_claim: match self.email_claim {
                Some(path) => Some(path),
                None => fixed(email)?.pop(),
            },
            role_claim: match self.role_claim {
                Some(path) => Some(path),
                None => fixed(role)?.pop(),
            },
            roles: self.roles,
            require: self.require,
            max_lifetime: self.max_lifetime,
            clock_skew: self.clock_skew.unwrap_or(30),
            refresh,
            max_stale,
            timeout: self.timeout.unwrap_or(5),
            ca_file: self.ca_file,
            ca_fingerprint: self.ca_fingerprint,
            job_api: self.job_api,
            name,
        })
    }
}

/// The user, e-mail and role claims of a kind (docs/directives.md, GateKind).
const fn defaults(
    kind: Kind,
) -> (
    &'static [&'static str],
    &'static [&'static str],
    &'static [&'static str],
) {
    match kind {
        Kind::Generic => (&["sub"], &["email"], &[]),
        Kind::Okta => (&["sub"], &["email"], &["groups"]),
        Kind::Entra => (
            &["preferred_username", "upn", "oid", "appid", "azp"],
            &["email"],
            &["roles"],
        ),
        Kind::Keycloak => (&["preferred_username"], &["email"], &["realm_access.roles"]),
        Kind::Gitlab => (&["user_login"], &["user_email"], &[]),
        Kind::Aws => (&["sub"], &[], &[]),
        Kind::Google => (&["email"], &["email"], &[]),
    }
}

fn kind(word: &str) -> Result<Kind, String> {
    Ok(match word {
        "generic" => Kind::Generic,
        "okta" => Kind::Okta,
        "entra" => Kind::Entra,
        "keycloak" => Kind::Keycloak,
        "gitlab" => Kind::Gitlab,
        "aws" => Kind::Aws,
        "google" => Kind::Google,
        _ => {
            let kinds = [
                "generic", "okta", "entra", "keycloak", "gitlab", "aws", "google",
            ];
            return Err(format!(
                "GateKind {word}: {}write generic, okta, entra, keycloak, gitlab, aws or google",
                words::did_you_mean(word, kinds)
            ));
        }
    })
}

fn audience(words: &[&str]) -> Result<Audience, String> {
    match words {
        [] => Err("GateAudience takes one or more audiences, or any".into()),
        ["any"] => Ok(Audience::Any),
        all if all.contains(&"any") => Err(
            "GateAudience any turns the check off: it can't stand beside other audiences".into(),
        ),
        all if all.contains(&"") => Err("GateAudience: an audience can't be empty".into()),
        all => Ok(Audience::OneOf(
            all.iter().map(|it| (*it).to_owned()).collect(),
        )),
    }
}

/// Where the keys are, and whether that is a file in which none fits.
fn keys(word: &str) -> Result<(Option<KeyLocation>, bool), String> {
    if let Some(file) = word.strip_prefix("file:") {
        let file = readable("GateJWKS", file)?;
        let text = crate::file::read(&file, crate::jwks::set::MAX_BYTES)
            .map_err(|error| format!("GateJWKS file:{}: {error}", file.display()))?;
        let set = crate::jwks::set::KeySet::parse(&text)
            .map_err(|wrong| format!("GateJWKS file:{}: {wrong}", file.display()))?;
        return Ok((Some(KeyLocation::File(file)), set.keys().is_empty()));
    }
    check_url(word).map_err(|wrong| format!("GateJWKS {word}: {wrong}"))?;
    Ok((Some(KeyLocation::Url(word.to_owned())), false))
}

fn job_api(words: &[&str]) -> Result<JobApi, String> {
    let [url, options @ ..] = words else {
        return Err(
            "GateJobAPI takes GitLab's API, as https://gitlab.example.com/api/v4 token-file=PATH"
                .into(),
        );
    };
    check_url(url).map_err(|wrong| format!("GateJobAPI {url}: {wrong}"))?;
    if url.contains('?') {
        return Err(format!(
            "GateJobAPI {url}: write it without a query, as https://gitlab.example.com/api/v4"
        ));
    }
    words::once_each("GateJobAPI", options)?;
    let mut api = JobApi {
        url: url.trim_end_matches('/').to_owned(),
        token_file: None,
        every: 10,
        misses: 3,
    };
    for option in options {
        match option.split_once('=') {
            Some(("token-file", file)) => {
                api.token_file = Some(readable("GateJobAPI token-file", file)?);
            }
            Some(("every", value)) => {
                api.every = words::some_time("GateJobAPI every", &[value])?;
            }
            Some(("misses", value)) => api.misses = words::count("GateJobAPI misses", &[value])?,
            _ => {
                return Err(format!(
                    "GateJobAPI {option}: write token-file=PATH, every=10s or misses=3"
                ));
            }
        }
    }
    Ok(api)
}

pub(super) fn readable(name: &str, file: &str) -> Result<PathBuf, String> {
    let path = Path::new(file);
    if !path.is_absolute() {
        return Err(format!("{name} {file}: write the whole path, from /"));
    }
    crate::file::open(path).map_err(|error| format!("{name} {file}: {error}"))?;
    Ok(path.to_owned())
}

fn algorithms(words: &[&str]) -> Result<Vec<Algorithm>, String> {
    if words.is_empty() {
        return Err(format!(
            "GateAlgorithms takes some of {}",
            algorithm::names(" ")
        ));
    }
    let named = |word: &&str| {
        algorithm::named(word).ok_or_else(|| {
            format!(
                "GateAlgorithms {word}: the gate knows {} (never none, never HS*)",
                algorithm::names(" ")
            )
        })
    };
    words.iter().map(named).collect()
}

fn path(name: &str, word: &str) -> Result<ClaimPath, String> {
    ClaimPath::parse(word).map_err(|wrong| format!("{name} {word}: {wrong}"))
}

fn paths(name: &str, words: &[&str]) -> Result<Vec<ClaimPath>, String> {
    if words.is_empty() {
        return Err(format!("{name} takes one or more claims"));
    }
    words.iter().map(|word| path(name, word)).collect()
}

fn conditions_of(name: &str, words: &[&str]) -> Result<Vec<Condition>, String> {
    Condition::parse_all(words).map_err(|wrong| format!("{name} {wrong}"))
}

/// What Microsoft calls an authority of many tenants: no token has it in its issuer.
const NO_TENANTS: [&str; 3] = ["common", "organizations", "consumers"];

/// Where Entra ID is, in each of Microsoft's clouds.
const ENTRA_HOSTS: [&str; 7] = [
    "login.microsoftonline.com",
    "login.microsoftonline.us",
    "login.partner.microsoftonline.cn",
    "login.chinacloudapi.cn",
    "login.microsoft.com",
    "login.windows.net",
    "sts.windows.net",
];

/// The documents that are often written for the issuer that they are of.
const DOCUMENTS: [&str; 2] = [
    "/.well-known/openid-configuration",
    "/.well-known/oauth-authorization-server",
];

/// A URL that is near to an issuer's and none, and what to write instead.
fn not_an_issuer(url: &str, kind: Kind) -> Result<(), String> {
    let short = url.trim_end_matches('/');
    if let Some(issuer) = DOCUMENTS.iter().find_map(|it| short.strip_suffix(it)) {
        return Err(format!(
            "GateIssuerURL {url} is where a document is, and not an issuer: write GateIssuerURL {issuer}"
        ));
    }
    let Some((scheme, rest)) = url.split_once("://") else {
        return Ok(());
    };
    let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
    let (tenant, end) = path.split_at(path.find('/').unwrap_or(path.len()));
    let entra = kind == Kind::Entra || ENTRA_HOSTS.iter().any(|it| host.eq_ignore_ascii_case(it));
    if entra && NO_TENANTS.iter().any(|it| tenant.eq_ignore_ascii_case(it)) {
        return Err(format!(
            "GateIssuerURL {url}: {tenant} is no tenant, and no token names it as its issuer: write GateKind entra, \
             GateIssuerURL {scheme}://{host}/{{tenantid}}{end} and GateRequire tid=TENANT"
        ));
    }
    Ok(())
}

fn check_issuer_url(url: &str, kind: Kind, has_keys: bool) -> Result<(), String> {
    not_an_issuer(url, kind)?;
    if url.contains("{tenantid}") && kind != Kind::Entra {
        return Err(format!(
            "GateIssuerURL {url}: {{tenantid}} may stand only where GateKind is entra"
        ));
    }
    if url.replace("{tenantid}", "").contains(['{', '}']) {
        return Err(format!(
            "GateIssuerURL {url}: only {{tenantid}}, in small letters, stands for something"
        ));
    }
    if url.is_empty() || url.chars().any(char::is_control) {
        return Err("GateIssuerURL: that is no issuer".into());
    }
    // Where the keys are named, iss is compared and never fetched (Google's is no URL, for example).
    if has_keys {
        return Ok(());
    }
    if url.contains('?') {
        return Err(format!(
            "GateIssuerURL {url}: an issuer has no query (OpenID Connect Discovery, section 3); name its keys by GateJWKS"
        ));
    }
    check_url(&url.replace("{tenantid}", "organizations")).map_err(|wrong| {
        format!(
            "GateIssuerURL {url}: {wrong}; discovery needs such a URL, or name the keys by GateJWKS"
        )
    })
}
