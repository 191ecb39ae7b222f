//! The directives towards the upstream: GateUpstreamToken, GateSudo, GateAssertionKey,
//! GateAssertion.

use super::issuer::readable;
use super::place::RESERVED;
use super::{Builder, words};
use crate::config::{AccountApi, AssertionSetting, Place, Setting, Sudo, UpstreamToken};
use crate::jwks::check_url;
use crate::protected::IDENTITY;
use crate::request::FieldName;
use crate::upstream::{credential, signer::Signer};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The longest `ttl`: an assertion is for the request that it comes with.
const LONGEST: u64 = 300;

/// Headers that a credential comes in.
const CREDENTIALS: &[&str] = &[
    "authorization",
    "private-token",
    "job-token",
    "deploy-token",
];

/// Headers beside RESERVED that mean something to every upstream.
const HTTP: &[&str] = &[
    "date",
    "forwarded",
    "range",
    "user-agent",
    "via",
    "x-forwarded-for",
    "x-forwarded-host",
    "x-forwarded-port",
    "x-forwarded-proto",
    "x-forwarded-server",
];

impl Builder {
    pub(super) fn upstream_directive(
        &mut self,
        place: &Place,
        name: &str,
        words: &[&str],
    ) -> Result<Setting, String> {
        match name {
            "GateUpstreamToken" => self.upstream_token(place, words),
            "GateSudo" => {
                self.config.credential_names.push("Sudo".into());
                let sudo = sudo(words)?;
                if sudo != Sudo::default() {
                    self.notes.sudo(place);
                }
                Ok(Setting::Sudo(sudo))
            }
            _ => self.assertion(place, words),
        }
    }

    fn upstream_token(&mut self, place: &Place, words: &[&str]) -> Result<Setting, String> {
        let usage =
            "GateUpstreamToken takes file:PATH and perhaps header=NAME and paths=any, or off";
        let (first, options) = words.split_first().ok_or(usage)?;
        words::once_each("GateUpstreamToken", options)?;
        let mut header = "PRIVATE-TOKEN".to_owned();
        let mut any_path = false;
        for option in options {
            match option.split_once('=') {
                Some(("header", name)) => header = header_name("GateUpstreamToken", name, &[])?,
                Some(("paths", "any")) => any_path = true,
                _ => return Err(format!("GateUpstreamToken {option}: {usage}")),
            }
        }
        if any_path {
            self.notes.warn(format!(
                "GATE240: GateUpstreamToken ... paths=any ({place}): the credential goes to every path there, also to those by which a GitLab would hand it out; write it only for an upstream that is no GitLab"
            ));
        }
        self.config.credential_names.push(header.clone());
        if first.eq_ignore_ascii_case("off") && options.is_empty() {
            return Ok(Setting::UpstreamToken(UpstreamToken {
                file: None,
                header,
                any_path,
            }));
        }
        let path = file("GateUpstreamToken", first)?;
        if let Err(why) = credential::read(&path) {
            self.notes.warn(format!(
                "GATE205: GateUpstreamToken {first} ({place}): {why}; requests with an identity are refused there until it can be read"
            ));
        }
        let known = self.config.credentials.iter().position(|it| *it == path);
        let at = known.unwrap_or_else(|| {
            self.config.credentials.push(path);
            self.config.credentials.len() - 1
        });
        Ok(Setting::UpstreamToken(UpstreamToken {
            file: Some(at),
            header,
            any_path,
        }))
    }

    /// GateAccountAPI, of a server or a virtual host.
    pub(super) fn account_api(&mut self, place: &Place, words: &[&str]) -> Result<(), String> {
        let name = "GateAccountAPI";
        let usage = "GateAccountAPI takes GitLab's API and an administrator's token, as https://gitlab.example.com/api/v4 token-file=PATH [cache=60s] [stale=1h] [ca-file=PATH]";
        if place.section.is_some() {
            return Err(format!(
                "{name} holds for the whole server or virtual host: write it outside of sections"
            ));
        }
        let [url, options @ ..] = words else {
            return Err(usage.into());
        };
        check_url(url).map_err(|wrong| format!("{name} {url}: {wrong}"))?;
        if url.contains('?') {
            return Err(format!(
                "{name} {url}: write it without a query, as https://gitlab.example.com/api/v4"
            ));
        }
        words::once_each(name, options)?;
        let (mut token_file, mut ca_file, mut cache, mut stale) = (None, None, 60, 3600);
        for option in options {
            match option.split_once('=') {
                Some(("token-file", file)) => {
                    token_file = Some(readable("GateAccountAPI token-file", file)?);
                }
                Some(("ca-file", file)) => {
                    let file = readable("GateAccountAPI ca-file", file)?;
                    crate::http::ca_fingerprint(&file)
                        .map_err(|wrong| format!("GateAccountAPI ca-file: {wrong}"))?;
                    ca_file = Some(file);
                }
                Some(("cache", value)) => {
                    cache = words::some_time("GateAccountAPI cache", &[value])?
                }
                Some(("stale", value)) => {
                    stale = words::duration("GateAccountAPI stale", &[value])?
                }
                _ => return Err(format!("{name} {option}: {usage}")),
            }
        }
        let Some(token_file) = token_file else {
            return Err(format!("{name} {url}: token-file= is missing; {usage}"));
        };
        let server = self.config.servers.get_mut(place.server);
        let server = server.ok_or("the server is not known")?;
        if server.account_api.is_some() {
            return Err(format!("{name} stands twice in this server"));
        }
        server.account_api = Some(Arc::new(AccountApi {
            url: url.trim_end_matches('/').to_owned(),
            token_file,
            ca_file,
            cache,
            stale,
        }));
        Ok(())
    }

    /// The key is read here, before httpd gives up root's rights, so that root alone may read it.
    pub(super) fn assertion_key(&mut self, words: &[&str]) -> Result<(), String> {
        let word = words::one("GateAssertionKey", words)?;
        let path = file("GateAssertionKey", word)?;
        let signer =
            Signer::read(&path).map_err(|why| format!("GateAssertionKey {word}: {why}"))?;
        if self
            .config
            .signers
            .iter()
            .any(|it| it.kid() == signer.kid())
        {
            return Err(format!(
                "GateAssertionKey {word}: that key is there already"
            ));
        }
        self.config.signers.push(Arc::new(signer));
        Ok(())
    }

    fn assertion(&mut self, place: &Place, words: &[&str]) -> Result<Setting, String> {
        let usage =
            "GateAssertion takes on or off, and perhaps audience=URL, ttl=TIME, header=NAME";
        let (first, options) = words.split_first().ok_or(usage)?;
        let mut setting = AssertionSetting {
            id: self.new_id(),
            on: words::switch("GateAssertion", &[first])?,
            ..AssertionSetting::default()
        };
        words::once_each("GateAssertion", options)?;
        for option in options {
            match option.split_once('=') {
                Some(("audience", audience)) if !audience.is_empty() => {
                    setting.audience = Some(audience.to_owned());
                }
                Some(("ttl", ttl)) => {
                    setting.ttl = words::some_time("GateAssertion ttl", &[ttl])?;
                    if setting.ttl > LONGEST {
                        return Err(format!(
                            "GateAssertion {option}: at most {LONGEST}s, 60s is usual"
                        ));
                    }
                }
                Some(("header", name)) => {
                    setting.header = header_name("GateAssertion", name, CREDENTIALS)?;
                }
                _ => return Err(format!("GateAssertion {option}: {usage}")),
            }
        }
        if setting.on {
            self.notes.assertion(place);
        }
        self.config.header_names.push(setting.header.clone());
        Ok(Setting::Assertion(setting))
    }
}

fn sudo(words: &[&str]) -> Result<Sudo, String> {
    let lower: Vec<_> = words.iter().map(|it| it.to_ascii_lowercase()).collect();
    let lower: Vec<_> = lower.iter().map(String::as_str).collect();
    let (people, jobs) = match lower.as_slice() {
        ["on" | "people"] => (true, false),
        ["off"] => (false, false),
        ["jobs"] => (false, true),
        ["people", "jobs"] | ["jobs", "people"] => (true, true),
        _ => {
            return Err(format!(
                "GateSudo {}: write on or off, people, jobs, or people jobs",
                words.join(" ")
            ));
        }
    };
    Ok(Sudo { people, jobs })
}

fn file(directive: &str, word: &str) -> Result<PathBuf, String> {
    match word.strip_prefix("file:") {
        Some(path) if Path::new(path).is_absolute() => Ok(path.into()),
        _ => Err(format!(
            "{directive} {word}: write file: and an absolute path, as in file:/etc/gitlab-gate/token"
        )),
    }
}

/// Whether every upstream reads it, beside what RESERVED holds.
pub(super) fn is_http(field: &str) -> bool {
    let starts = ["accept", "content-", "if-"];
    HTTP.contains(&field) || starts.iter().any(|it| field.starts_with(it))
}

/// Why GateHeader may not send it, and what to write.
pub(super) fn not_for_identity(field: &str) -> Option<&'static str> {
    if RESERVED.contains(&field) {
        Some("that header carries the request itself; choose another name, as X-Login")
    } else if is_http(field) {
        Some(
            "that header is HTTP's own, and would be taken from every client of the whole server; choose another name, as X-Login",
        )
    } else if CREDENTIALS.contains(&field) {
        Some("that header is for a credential; write GateUpstreamToken file:PATH header=NAME")
    } else if field == "sudo" {
        Some("as whom GitLab acts is said by GateSudo on")
    } else {
        None
    }
}

/// A header of the gate's own choice: `others` are not for this directive, though for another.
fn header_name(directive: &str, name: &str, others: &[&str]) -> Result<String, String> {
    let field = FieldName::new(name)
        .ok_or_else(|| format!("{directive} header={name}: that is no header name"))?;
    let field = field.as_str();
    let for_credential = CREDENTIALS.contains(&field);
    let why = if others.contains(&field) {
        "that header is for a credential"
    } else if !for_credential && RESERVED.contains(&field) {
        "that header carries the request itself"
    } else if is_http(field) {
        "that header is HTTP's own, and the upstream would take it for the client's"
    } else if field == "sudo" || is_identity(field) {
        "the gate sets that header itself"
    } else {
        return Ok(name.to_owned());
    };
    Err(format!("{directive} header={name}: {why}"))
}

fn is_identity(field: &str) -> bool {
    let own = AssertionSetting::default().header;
    IDENTITY
        .iter()
        .any(|it| it.eq_ignore_ascii_case(field) && !it.eq_ignore_ascii_case(&own))
}
