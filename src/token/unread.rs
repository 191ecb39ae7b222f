//! Credentials that a request has where no source looks (GateTokenFrom): said to the administrator when no token
//! was found. Says where and which scheme, never a value.

use super::query::parameters;
use super::source::{Names, Source, scheme};
use crate::request::{FieldName, Fields, Found};
use crate::shown;
use std::fmt::Write as _;

/// Headers that GitLab's clients and other proxies send credentials in.
const HEADERS: &[&str] = &[
    "PRIVATE-TOKEN",
    "JOB-TOKEN",
    "Deploy-Token",
    "X-NuGet-ApiKey",
    "X-Forwarded-Access-Token",
    "X-Auth-Request-Access-Token",
    "X-Gitlab-Static-Object-Token",
    "Cf-Access-Jwt-Assertion",
    "X-Goog-Iap-Jwt-Assertion",
    "X-Amzn-Oidc-Data",
];

/// Parameters of the query that hold credentials.
const PARAMETERS: &[&str] = &[
    "private_token",
    "job_token",
    "access_token",
    "id_token",
    "token",
    "jwt",
    "feed_token",
];

/// The longest scheme that is shown. A token without a scheme is longer.
const LONGEST_SCHEME: usize = 20;
/// How many places are named.
const NAMED: usize = 4;

/// What the request has, and what would read it; `None`: no credential was seen. `proxied`: CONNECT
/// or a forward proxy's request, whose token comes in Proxy-Authorization.
#[must_use]
pub fn unread<'r>(
    sources: &[Source],
    names: &Names,
    fields: &impl Fields<'r>,
    args: Option<&[u8]>,
    proxied: bool,
) -> Option<String> {
    let mut seen = Vec::new();
    let authorization = [&names.authorization, &names.proxy_authorization];
    for (field, name) in authorization
        .into_iter()
        .zip(["Authorization", "Proxy-Authorization"])
    {
        seen.extend(credentials(fields.find(field), name, sources, proxied));
    }
    for name in HEADERS {
        let found = FieldName::new(name).map_or(Found::None, |it| fields.find(&it));
        if found != Found::None {
            seen.push(there(
                &format!("the header {name} is there"),
                sources,
                &format!("header:{name}"),
                proxied,
            ));
        }
    }
    if let Found::One(cookies) = fields.find(&names.cookie) {
        for cookie in cookies.split(|b| matches!(b, b';' | b',')) {
            seen.extend(jwt_cookie(cookie).map(|name| {
                there(
                    &format!("the cookie {name} looks like a JWT"),
                    sources,
                    &format!("cookie:{name}"),
                    proxied,
                )
            }));
        }
    }
    for name in PARAMETERS {
        if !parameters(args.unwrap_or_default(), name).is_empty() {
            seen.push(there(
                &format!("the query has the parameter {name}"),
                sources,
                &format!("query:{name}"),
                proxied,
            ));
        }
    }
    if seen.is_empty() {
        return None;
    }
    seen.truncate(NAMED);
    let looked: Vec<_> = sources.iter().map(Source::to_string).collect();
    Some(format!(
        "no token by {}: {}",
        looked.join(" "),
        seen.join("; ")
    ))
}

/// What an Authorization header has that no source reads.
fn credentials(found: Found<'_>, name: &str, sources: &[Source], proxied: bool) -> Option<String> {
    let value = match found {
        Found::None => return None,
        Found::Many => return Some(format!("{name} is there more than once")),
        Found::One(value) => value.trim_ascii(),
    };
    let (scheme, credential) = scheme(value);
    let is = |other: &str| scheme.eq_ignore_ascii_case(other.as_bytes());
    let shows = (1..=LONGEST_SCHEME).contains(&scheme.len())
        && scheme.first().is_some_and(u8::is_ascii_alphabetic)
        && scheme
            .iter()
            .all(|b| b.is_ascii_alphanumeric() || *b == b'-');
    if value.is_empty() {
        return Some(format!("{name} is empty"));
    }
    // Without a credential after it, the word may be the credential.
    if !shows || credential.is_empty() && !is("Bearer") && !is("Basic") {
        return Some(format!(
            "{name} has no scheme; wanted \"{name}: Bearer TOKEN\""
        ));
    }
    let has = format!("{name} has the scheme {}", String::from_utf8_lossy(scheme));
    let word = match (name, is("Bearer"), is("Basic")) {
        ("Authorization", true, _) => "bearer",
        ("Authorization", _, true) => "basic",
        ("Proxy-Authorization", true, _) | ("Proxy-Authorization", _, true) => "proxy",
        _ => return Some(format!("{has}; no source reads it, wanted Bearer or Basic")),
    };
    Some(there(&has, sources, word, proxied))
}

/// `has`, and which GateTokenFrom would look there.
fn there(has: &str, sources: &[Source], word: &str, proxied: bool) -> String {
    let mut text = has.to_owned();
    if proxied {
        text.push_str("; a proxy's client sends the token in Proxy-Authorization");
        return text;
    }
    text.push_str("; `GateTokenFrom");
    for source in sources {
        let _ = write!(text, " {source}");
    }
    let _ = write!(text, " {word}` would look there");
    text
}

/// The name of a cookie whose value has the form of a signed JWT.
fn jwt_cookie(cookie: &[u8]) -> Option<String> {
    let at = cookie.iter().position(|b| *b == b'=')?;
    let (name, value) = cookie.split_at_checked(at)?;
    let value = value.get(1..)?.trim_ascii();
    let value = value.strip_prefix(b"\"").unwrap_or(value);
    let is_jwt = value.starts_with(b"eyJ") && value.iter().filter(|b| **b == b'.').count() == 2;
    let name = String::from_utf8_lossy(name.trim_ascii());
    (is_jwt && !name.is_empty()).then(|| shown::text(&name))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn said(sources: &[Source], fields: &[(&str, &str)], args: Option<&str>) -> Option<String> {
        let names = Names::new().unwrap();
        unread(sources, &names, &fields, args.map(str::as_bytes), false)
    }

    #[test]
    fn what_no_source_reads_is_named_with_what_would() {
        let bearer = [Source::Bearer];
        for (field, value, wanted) in [
            (
                "Authorization",
                "Basic dTpw",
                "Authorization has the scheme Basic; `GateTokenFrom bearer basic` would look there",
            ),
            (
                "Proxy-Authorization",
                "Basic dTpw",
                "Proxy-Authorization has the scheme Basic; `GateTokenFrom bearer proxy` would look there",
            ),
            (
                "Authorization",
                "Token abc",
                "Authorization has the scheme Token; no source reads it, wanted Bearer or Basic",
            ),
            (
                "Authorization",
                "DPoP abc",
                "Authorization has the scheme DPoP; no source reads it, wanted Bearer or Basic",
            ),
            ("Authorization", "", "Authorization is empty"),
            (
                "private-token",
                "glpat-x",
                "the header PRIVATE-TOKEN is there; `GateTokenFrom bearer header:PRIVATE-TOKEN` would look there",
            ),
            (
                "Job-Token",
                "x",
                "the header JOB-TOKEN is there; `GateTokenFrom bearer header:JOB-TOKEN` would look there",
            ),
            (
                "Cookie",
                "a=b; gate=eyJa.b.c",
                "the cookie gate looks like a JWT; `GateTokenFrom bearer cookie:gate` would look there",
            ),
        ] {
            assert_eq!(
                said(&bearer, &[(field, value)], None).unwrap(),
                format!("no token by bearer: {wanted}")
            );
        }
        assert_eq!(
            said(&[Source::Basic], &[], Some("a=1&private%5Ftoken=x")).unwrap(),
            "no token by basic: the query has the parameter private_token; \
             `GateTokenFrom basic query:private_token` would look there"
        );
        assert_eq!(
            said(
                &bearer,
                &[("Cookie", "a=b"), ("Accept", "x")],
                Some("page=2")
            ),
            None
        );
    }

    #[test]
    fn no_part_of_a_credential_is_shown() {
        for value in [
            "S3CRETS3CRET",
            "S3CRETS3CRETS3CRETS3CRET x",
            "Basic S3CRET",
            "token S3CRET",
            "S3CRET=",
            "\u{1b}[S3CRET x",
            "1S3CRET x",
        ] {
            for name in ["Authorization", "Proxy-Authorization", "PRIVATE-TOKEN"] {
                let said = said(
                    &[Source::Header(FieldName::new("x").unwrap())],
                    &[(name, value)],
                    None,
                );
                assert!(!said.unwrap().contains("S3CRET"), "{name}: {value}");
            }
        }
    }
}
