//! The directives of a section (`<Location>` and its like): their words become a [`Setting`].

use super::upstream::{is_http, not_for_identity};
use super::{Builder, words};
use crate::config::AuditOn;
use crate::config::{Accept, HeaderChoice, HeaderValue, Lifetime, Mode, Place, Setting};
use crate::policy::path::ClaimPath;
use crate::port::name::parse as parse_endpoint;
use crate::request::FieldName;
use crate::token::source::Source;

/// Headers that carry a request: a GateHeader of that name would break it or the upstream.
pub(super) const RESERVED: &[&str] = &[
    "host",
    "connection",
    "content-length",
    "transfer-encoding",
    "upgrade",
    "te",
    "trailer",
    "keep-alive",
    "expect",
    "authorization",
    "proxy-authorization",
    "proxy-connection",
    "proxy-authenticate",
    "proxy",
    "max-forwards",
    "http2-settings",
    "cookie",
];

impl Builder {
    pub(super) fn section_directive(
        &mut self,
        place: &Place,
        name: &str,
        words: &[&str],
    ) -> Result<Setting, String> {
        match name {
            "GateAccept" => self.accept(place, words),
            "GateTokenFrom" if place.port => Err(
                "GateTokenFrom has no place in <GatePort>: the token of a CONNECT always comes in Proxy-Authorization".into(),
            ),
            "GateTokenFrom" => {
                let sources = sources(words)?;
                self.notes.sources(place, &sources);
                let names = sources.iter().filter_map(|it| match it {
                    Source::Query(name) => Some(name.clone()),
                    _ => None,
                });
                self.config.query_names.extend(names);
                Ok(Setting::TokenFrom(sources))
            }
            "GateTarget" if !place.port => {
                Err("GateTarget may only stand inside <GatePort NAME:PORT>".into())
            }
            "GateTarget" => {
                let word = words::one(name, words)?;
                parse_endpoint(word).map(Setting::Target).ok_or_else(|| {
                    format!("GateTarget {word}: write HOST:PORT, as db7.internal:5432 or [2001:db8::7]:5432")
                })
            }
            "GateLifetime" => match words::one(name, words)? {
                "token" => Ok(Setting::Lifetime(Lifetime::Token)),
                "off" => Ok(Setting::Lifetime(Lifetime::Off)),
                _ => words::some_time(name, words)
                    .map(|it| Setting::Lifetime(Lifetime::Seconds(it))),
            },
            "GateIdle" => words::some_time(name, words).map(Setting::Idle),
            "GateJob" => {
                let on = words::switch(name, words)?;
                if on {
                    self.notes.job(place);
                }
                Ok(Setting::Job(on))
            }
            "GateMaxOpen" => words::count(name, words).map(Setting::MaxOpen),
            "GateHeader" => self.header(place, words),
            "GateForwardToken" => words::switch(name, words).map(Setting::ForwardToken),
            "GateMode" => match &*words::one(name, words)?.to_ascii_lowercase() {
                "enforce" => Ok(Setting::Mode(Mode::Enforce)),
                "observe" => {
                    self.notes.observe(place);
                    Ok(Setting::Mode(Mode::Observe))
                }
                word => Err(format!("GateMode {word}: write enforce or observe")),
            },
            "GateAuditOn" => match &*words::one(name, words)?.to_ascii_lowercase() {
                "all" => Ok(Setting::AuditOn(AuditOn::All)),
                "refusals" => Ok(Setting::AuditOn(AuditOn::Refusals)),
                "none" => Ok(Setting::AuditOn(AuditOn::None)),
                word => Err(format!("GateAuditOn {word}: write all, refusals or none")),
            },
            _ => Err(format!("{name} is not known here")),
        }
    }

    fn accept(&mut self, place: &Place, words: &[&str]) -> Result<Setting, String> {
        if words.is_empty() {
            return Err("GateAccept takes one or more names of <GateIssuer> sections".into());
        }
        let mut issuers: Vec<String> = words.iter().map(|it| (*it).to_owned()).collect();
        issuers.sort();
        issuers.dedup();
        self.notes.accept(place, &issuers);
        let at = self
            .accepts
            .iter()
            .position(|it| *it == issuers)
            .unwrap_or_else(|| {
                self.accepts.push(issuers.clone());
                self.accepts.len() - 1
            });
        let scope = u32::try_from(at + 1).map_err(|_| "GateAccept: too many different lists")?;
        Ok(Setting::Accept(Accept { issuers, scope }))
    }

    fn header(&mut self, place: &Place, words: &[&str]) -> Result<Setting, String> {
        let [name, value] = words else {
            return Err(
                "GateHeader takes a header and a value, as in GateHeader X-Login user".into(),
            );
        };
        let field = FieldName::new(name)
            .ok_or_else(|| format!("GateHeader {name}: that is no header name"))?;
        if let Some(why) = not_for_identity(field.as_str()) {
            return Err(format!("GateHeader {name}: {why}"));
        }
        let value = match *value {
            "user" => HeaderValue::User,
            "email" => HeaderValue::Email,
            "subject" => HeaderValue::Subject,
            "issuer" => HeaderValue::Issuer,
            "roles" => HeaderValue::Roles,
            "assertion" => {
                self.notes.assertion(place);
                HeaderValue::Assertion
            }
            "none" => HeaderValue::None,
            other => match other.strip_prefix("claim:") {
                Some(path) => HeaderValue::Claim(
                    ClaimPath::parse(path)
                        .map_err(|wrong| format!("GateHeader {name} {other}: {wrong}"))?,
                ),
                None => {
                    return Err(format!(
                        "GateHeader {name} {other}: the value is one of user, email, subject, issuer, roles, claim:PATH, assertion, none"
                    ));
                }
            },
        };
        self.config.header_names.push((*name).to_owned());
        self.notes.header(place, name);
        Ok(Setting::Header(HeaderChoice {
            id: self.new_id(),
            name: (*name).to_owned(),
            value,
        }))
    }
}

fn sources(words: &[&str]) -> Result<Vec<Source>, String> {
    if words.is_empty() {
        return Err("GateTokenFrom takes one or more of bearer, basic, proxy, header:NAME, cookie:NAME, query:NAME".into());
    }
    let mut sources = Vec::new();
    for word in words {
        let source = source(word)?;
        if !sources.contains(&source) {
            sources.push(source);
        }
    }
    Ok(sources)
}

fn source(word: &str) -> Result<Source, String> {
    let wrong = || {
        format!(
            "GateTokenFrom {word}: {}write bearer, basic, proxy, header:NAME, cookie:NAME or query:NAME",
            words::did_you_mean(word, ["bearer", "basic", "proxy"])
        )
    };
    match word {
        "bearer" => return Ok(Source::Bearer),
        "basic" => return Ok(Source::Basic),
        "proxy" => return Ok(Source::Proxy),
        _ => {}
    }
    let (from, name) = word.split_once(':').ok_or_else(wrong)?;
    match from {
        "header" => match FieldName::new(name) {
            Some(field)
                if ["authorization", "proxy-authorization", "cookie"].contains(&field.as_str()) =>
            {
                Err(format!(
                    "GateTokenFrom {word}: for that header write bearer, basic, proxy or cookie:NAME"
                ))
            }
            Some(field) if RESERVED.contains(&field.as_str()) => Err(format!(
                "GateTokenFrom {word}: that header carries the request itself"
            )),
            Some(field) if is_http(field.as_str()) || field.as_str() == "sudo" => Err(format!(
                "GateTokenFrom {word}: clients and the upstream use that header for something else, which would be taken for a token"
            )),
            Some(field) => Ok(Source::Header(field)),
            None => Err(format!("GateTokenFrom {word}: that is no header name")),
        },
        // A cookie's name and a header's are both tokens (RFC 6265, section 4.1.1).
        "cookie" if FieldName::new(name).is_some() => Ok(Source::Cookie(name.to_owned())),
        "cookie" => Err(format!("GateTokenFrom {word}: that is no cookie name")),
        "query" if !name.is_empty() && name.bytes().all(|b| b.is_ascii_graphic()) => {
            Ok(Source::Query(name.to_owned()))
        }
        "query" => Err(format!("GateTokenFrom {word}: that is no parameter name")),
        _ => Err(wrong()),
    }
}
