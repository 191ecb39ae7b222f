//! What the client sees of a refusal: status, challenges, the reason and the request's id, a short
//! body (docs/reasons.md). Composed from the reason alone: no token content can get in.

use crate::token::source::Source;
use crate::verdict::{Challenge, Reason};

/// What an answer depends on beside the reason.
#[derive(Clone, Copy, Debug)]
pub struct Setting<'a> {
    /// AuthName.
    pub realm: &'a str,
    /// GateTokenFrom.
    pub sources: &'a [Source],
    /// CONNECT: 401 becomes 407 (RFC 9110, section 15.5.8).
    pub connect: bool,
    /// The request's id.
    pub id: &'a str,
    /// The client asked for JSON.
    pub json: bool,
    /// Somebody is known: a refusal by rule without one has no challenge.
    pub identified: bool,
    /// The request has `Sec-Fetch-Mode`: a browser, which would ask its user for a password (SPEC 9).
    pub browser: bool,
}

/// A refusal as it is sent.
#[derive(Debug, PartialEq, Eq)]
pub struct Answer {
    /// The HTTP status.
    pub status: u16,
    /// The response's headers.
    pub fields: Vec<(&'static str, String)>,
    /// The media type of the body.
    pub content_type: &'static std::ffi::CStr,
    /// The body.
    pub body: String,
}

/// How long a client should wait before it asks again, seconds (`Retry-After`).
const RETRY_AFTER: u32 = 5;

/// Composes the answer.
#[must_use]
pub fn compose(reason: Reason, setting: &Setting<'_>) -> Answer {
    let status = match reason.status() {
        401 if setting.connect => 407,
        status => status,
    };
    let name = if setting.connect {
        "Proxy-Authenticate"
    } else {
        "WWW-Authenticate"
    };
    let mut fields: Vec<_> = challenges(reason, setting)
        .into_iter()
        .map(|it| (name, it))
        .collect();
    if status == 503 {
        fields.push(("Retry-After", RETRY_AFTER.to_string()));
    }
    fields.push(("X-Gate-Reason", reason.code().to_owned()));
    fields.push(("X-Gate-Request", setting.id.to_owned()));
    fields.push(("Cache-Control", "no-store".to_owned()));
    let (content_type, body) = body(status, reason, setting);
    Answer {
        status,
        fields,
        content_type,
        body,
    }
}

fn challenges(reason: Reason, setting: &Setting<'_>) -> Vec<String> {
    let realm = quoted(setting.realm);
    let described = |error| {
        format!(
            "Bearer realm={realm}, error=\"{error}\", error_description=\"{}\"",
            reason.description()
        )
    };
    let first = match reason.challenge() {
        Challenge::None => return Vec::new(),
        Challenge::InsufficientScope if !setting.identified => return Vec::new(),
        Challenge::InsufficientScope => {
            format!("Bearer realm={realm}, error=\"insufficient_scope\"")
        }
        Challenge::InvalidRequest => format!("Bearer realm={realm}, error=\"invalid_request\""),
        Challenge::InvalidToken => described("invalid_token"),
        Challenge::Plain => format!("Bearer realm={realm}"),
    };
    let mut all = vec![first];
    // git, JGit and libgit2 ask for a new password only when Basic is offered, an expired token included. curl,
    // ncat and Java know nothing else towards a proxy.
    let basic = reason.status() == 401 && setting.sources.contains(&Source::Basic);
    if setting.connect || (basic && !setting.browser) {
        all.push(format!("Basic realm={realm}"));
    }
    all
}

/// A quoted-string (RFC 9110, section 5.6.4).
fn quoted(text: &str) -> String {
    let mut quoted = String::from("\"");
    for c in text.chars().filter(|c| !c.is_control()) {
        if matches!(c, '"' | '\\') {
            quoted.push('\\');
        }
        quoted.push(c);
    }
    quoted.push('"');
    quoted
}

fn body(status: u16, reason: Reason, setting: &Setting<'_>) -> (&'static std::ffi::CStr, String) {
    let (code, sentence) = (reason.code(), reason.description());
    if setting.json {
        let body = serde_json::json!({
            "status": status,
            "error": code,
            "error_description": sentence,
            "request_id": setting.id,
        });
        return (c"application/json", format!("{body}\n"));
    }
    let id: String = setting
        .id
        .chars()
        .filter(|c| c.is_ascii_alphanumeric() || "-_@.".contains(*c))
        .collect();
    let body = format!(
        "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>{status} {sentence}</title></head>\n\
         <body><h1>{sentence}</h1>\n<p>The gate in front of this server refused the request.</p>\n\
         <p>Reason: <code>{code}</code><br>Request: <code>{id}</code></p></body></html>\n"
    );
    (c"text/html; charset=utf-8", body)
}

/// Whether an `Accept` header prefers JSON to HTML (RFC 9110, section 12.5.1); of two that are the same to it, the
/// one it names first.
#[must_use]
pub fn wants_json(accept: &[u8]) -> bool {
    let accept = String::from_utf8_lossy(accept).to_ascii_lowercase();
    let (mut json, mut html) = (0.0, 0.0);
    for range in accept.split(',') {
        let mut parts = range.split(';').map(str::trim);
        let name = parts.next().unwrap_or_default();
        let weight: f32 = parts
            .find_map(|it| it.strip_prefix("q="))
            .map_or(1.0, |it| it.parse().unwrap_or(0.0));
        if name.ends_with("json") && weight > html {
            json = weight.max(json);
        } else if name == "text/html" && weight > json {
            html = weight.max(html);
        }
    }
    json > html
}

#[cfg(test)]
mod tests {
    use super::*;

    const SETTING: Setting<'_> = Setting {
        realm: "Git\"Lab",
        sources: &[Source::Bearer],
        connect: false,
        id: "abc",
        json: false,
        identified: true,
        browser: false,
    };

    fn field<'a>(answer: &'a Answer, name: &str) -> Vec<&'a str> {
        answer
            .fields
            .iter()
            .filter(|(it, _)| *it == name)
            .map(|(_, value)| value.as_str())
            .collect()
    }

    #[test]
    fn no_token_is_challenged_without_an_error() {
        let answer = compose(Reason::TokenMissing, &SETTING);
        assert_eq!(answer.status, 401);
        assert_eq!(
            field(&answer, "WWW-Authenticate"),
            ["Bearer realm=\"Git\\\"Lab\""]
        );
    }

    #[test]
    fn basic_is_offered_with_every_401_where_it_is_a_source() {
        for reason in Reason::ALL {
            for (sources, browser) in [
                (&[Source::Bearer, Source::Basic][..], false),
                (&[Source::Basic], true),
                (&[Source::Proxy], false),
            ] {
                let setting = Setting {
                    sources,
                    browser,
                    ..SETTING
                };
                let answer = compose(*reason, &setting);
                let challenges = field(&answer, "WWW-Authenticate");
                let basic = answer.status == 401 && !browser && sources.contains(&Source::Basic);
                let offered = challenges.iter().skip(1).any(|it| it.starts_with("Basic "));
                assert_eq!(offered, basic, "{reason:?} {sources:?}");
                if answer.status == 401 {
                    assert!(
                        challenges
                            .first()
                            .is_some_and(|it| it.starts_with("Bearer "))
                    );
                }
            }
        }
    }

    #[test]
    fn connect_is_answered_as_by_a_proxy() {
        let answer = compose(
            Reason::Expired,
            &Setting {
                connect: true,
                ..SETTING
            },
        );
        assert_eq!(answer.status, 407);
        assert!(field(&answer, "WWW-Authenticate").is_empty());
        assert_eq!(field(&answer, "Proxy-Authenticate").len(), 2);
    }

    #[test]
    fn a_fault_of_ours_has_no_challenge_and_says_when_to_come_back() {
        let answer = compose(Reason::KeysUnavailable, &SETTING);
        assert_eq!(
            (answer.status, field(&answer, "WWW-Authenticate").len()),
            (503, 0)
        );
        assert_eq!(field(&answer, "Retry-After"), ["5"]);
    }

    #[test]
    fn every_sentence_may_stand_in_a_quoted_string() {
        for reason in Reason::ALL {
            assert!(
                reason
                    .description()
                    .bytes()
                    .all(|b| (b' '..=b'~').contains(&b) && b != b'"' && b != b'\\')
            );
        }
    }

    #[test]
    fn json_is_sent_where_it_is_asked_for() {
        for (accept, json) in [
            ("application/json", true),
            ("text/html,*/*", false),
            ("application/vnd.oci.image.manifest.v1+json", true),
            ("text/html, application/json", false),
            ("*/*", false),
            ("text/html;q=0.5, application/json", true),
            ("application/json;q=0.5, text/html", false),
            ("application/json; q=0.9, text/html;q=0.9", true),
            ("application/json;q=0", false),
            ("application/json;q=x", false),
            ("text/html;x=json", false),
            ("APPLICATION/JSON; charset=utf-8 ;Q=0.1", true),
            (
                "text/html;q=0.2, application/json;q=0.1, application/problem+json;q=0.3",
                true,
            ),
        ] {
            assert_eq!(wants_json(accept.as_bytes()), json, "{accept}");
        }
    }
}
