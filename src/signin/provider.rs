//! What an OpenID provider says of itself (OpenID Connect Discovery 1.0, section 3; RFC 8414), and
//! the requests and answers of a sign-in that depend on it. Asks nobody: `http` does.

use crate::json::{self, Object, Value};
use std::fmt::Write as _;

/// The longest answer of an endpoint, bytes.
pub const LONGEST: usize = 256 << 10;

/// A provider's metadata, as far as a sign-in needs it. Null is absent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Metadata {
    /// Where people are sent.
    pub authorization_endpoint: String,
    /// Where codes are redeemed.
    pub token_endpoint: String,
    /// More claims.
    pub userinfo_endpoint: Option<String>,
    /// Where the provider's own session ends.
    pub end_session_endpoint: Option<String>,
    /// Pushed authorization requests (RFC 9126).
    pub pushed_endpoint: Option<String>,
    /// They are required.
    pub pushed_required: bool,
    /// `iss` comes with the callback (RFC 9207).
    pub iss_promised: bool,
    /// How a client may say who it is at the token endpoint.
    pub client_methods: Vec<String>,
    /// Values of `prompt` that it knows.
    pub prompts: Vec<String>,
}

/// Why a document is not taken. The text is for a log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unfit(pub String);

impl Metadata {
    /// The metadata of a discovery document of that issuer. `allowed`: whether a URL may be used, for
    /// this issuer (https, or loopback for an issuer on loopback).
    ///
    /// # Errors
    /// It can't be read, is of another issuer, or names a URL that may not be used.
    pub fn read(
        document: &[u8],
        issuer: &str,
        allowed: impl Fn(&str) -> bool,
    ) -> Result<Self, Unfit> {
        let all = json::parse(document).map_err(|error| Unfit(format!("not JSON: {error}")))?;
        let text = |name: &str| match all.get(name) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::String(text)) => Ok(Some(text.to_string())),
            Some(_) => Err(Unfit(format!("{name} is no string"))),
        };
        let url = |name: &str| match text(name)? {
            Some(url) if !allowed(&url) => Err(Unfit(format!(
                "{name} is {}, which may not be used for this issuer",
                crate::shown::text(&url)
            ))),
            url => Ok(url),
        };
        let needed = |name: &str| url(name)?.ok_or_else(|| Unfit(format!("{name} is missing")));
        let flag = |name: &str| all.get(name).and_then(Value::as_bool).unwrap_or(false);
        let list = |name: &str| -> Vec<String> {
            let items = all.get(name).and_then(Value::as_array).unwrap_or_default();
            let items = items.iter().filter_map(Value::as_str);
            items.map(str::to_owned).collect()
        };
        match text("issuer")? {
            Some(got) if got == issuer => {}
            got => {
                return Err(Unfit(format!(
                    "wanted issuer {issuer}, got {}",
                    got.as_deref().map_or("none".into(), crate::shown::text)
                )));
            }
        }
        Ok(Self {
            authorization_endpoint: needed("authorization_endpoint")?,
            token_endpoint: needed("token_endpoint")?,
            userinfo_endpoint: url("userinfo_endpoint")?,
            end_session_endpoint: url("end_session_endpoint")?,
            pushed_endpoint: url("pushed_authorization_request_endpoint")?,
            pushed_required: flag("require_pushed_authorization_requests"),
            iss_promised: flag("authorization_response_iss_parameter_supported"),
            client_methods: list("token_endpoint_auth_methods_supported"),
            prompts: list("prompt_values_supported"),
        })
    }
}

/// A query or a form (WHATWG URL, application/x-www-form-urlencoded).
#[must_use]
pub fn form(pairs: &[(&str, &str)]) -> String {
    let mut text = String::new();
    for (name, value) in pairs {
        if !text.is_empty() {
            text.push('&');
        }
        encode(&mut text, name);
        text.push('=');
        encode(&mut text, value);
    }
    text
}

fn encode(to: &mut String, text: &str) {
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => {
                to.push(char::from(byte));
            }
            _ => {
                let _ = write!(to, "%{byte:02X}");
            }
        }
    }
}

/// An endpoint's URL with these parameters added to its own query.
#[must_use]
pub fn with_query(endpoint: &str, pairs: &[(&str, &str)]) -> String {
    let separator = match endpoint.split_once('?') {
        None => "?",
        Some((_, query)) if query.is_empty() || query.ends_with('&') => "",
        Some(_) => "&",
    };
    format!("{endpoint}{separator}{}", form(pairs))
}

/// The answer of a token endpoint (RFC 6749, section 5.1; OpenID Connect Core, section 3.1.3.3).
#[derive(Clone, PartialEq, Eq)]
pub struct Tokens {
    /// `access_token`
    pub access_token: String,
    /// Seconds that it lives.
    pub expires_in: Option<u64>,
    /// `id_token`; a refresh may have none.
    pub id_token: Option<String>,
    /// `refresh_token`
    pub refresh_token: Option<String>,
}

/// What a token endpoint said instead.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NoTokens {
    /// A registered error code (RFC 6749, section 5.2), or `other`.
    Refused(&'static str),
    /// The provider can't say now: 5xx, 429, a redirect, no JSON.
    Unavailable(String),
}

/// The error codes that may be shown (RFC 6749, sections 4.1.2.1 and 5.2; OpenID Connect Core,
/// section 3.1.2.6; RFC 9470).
const CODES: &[&str] = &[
    "invalid_request",
    "invalid_client",
    "invalid_grant",
    "unauthorized_client",
    "unsupported_grant_type",
    "invalid_scope",
    "access_denied",
    "unsupported_response_type",
    "server_error",
    "temporarily_unavailable",
    "interaction_required",
    "login_required",
    "account_selection_required",
    "consent_required",
    "invalid_request_uri",
    "invalid_request_object",
    "request_not_supported",
    "request_uri_not_supported",
    "registration_not_supported",
    "unmet_authentication_requirements",
    "invalid_target",
];

/// The registered code that a text is; `other`: none of them, and it is not shown.
#[must_use]
pub fn error_code(text: &str) -> &'static str {
    CODES
        .iter()
        .find(|it| **it == text)
        .copied()
        .unwrap_or("other")
}

impl std::fmt::Debug for Tokens {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tokens").finish_non_exhaustive()
    }
}

impl Tokens {
    /// The tokens of an answer.
    ///
    /// # Errors
    /// See [`NoTokens`].
    pub fn read(status: u16, body: &[u8]) -> Result<Self, NoTokens> {
        if body.len() > LONGEST {
            return Err(NoTokens::Unavailable("the answer is too large".into()));
        }
        if !(status == 200 || (400..=403).contains(&status)) {
            return Err(NoTokens::Unavailable(format!("HTTP status {status}")));
        }
        let all = json::parse(body)
            .map_err(|error| NoTokens::Unavailable(format!("HTTP status {status}, {error}")))?;
        let Some(all) = all.as_object() else {
            return Err(NoTokens::Unavailable("the answer is no JSON object".into()));
        };
        if status != 200 || all.get("error").is_some_and(|it| !it.is_null()) {
            let code = all.get("error").and_then(Value::as_str);
            return Err(NoTokens::Refused(error_code(code.unwrap_or_default())));
        }
        Self::of(all).ok_or(NoTokens::Refused("other"))
    }

    fn of(all: &Object) -> Option<Self> {
        let text = |name: &str| match all.get(name) {
            None | Some(Value::Null) => Some(None),
            Some(Value::String(text)) if !text.is_empty() => Some(Some(text.to_string())),
            Some(_) => None,
        };
        let bearer = text("token_type")?.is_some_and(|it| it.eq_ignore_ascii_case("Bearer"));
        bearer.then_some(())?;
        Some(Self {
            access_token: text("access_token")??,
            expires_in: all.get("expires_in").and_then(|it| match it {
                // Some providers send a string.
                Value::String(text) => text.parse().ok(),
                other => other.as_u64(),
            }),
            id_token: text("id_token")?,
            refresh_token: text("refresh_token")?,
        })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing)]
mod tests {
    use super::*;
    use serde_json::json;

    const ISSUER: &str = "https://id.example";

    fn read(document: &serde_json::Value) -> Result<Metadata, Unfit> {
        Metadata::read(document.to_string().as_bytes(), ISSUER, |url| {
            url.starts_with("https://")
        })
    }

    fn document() -> serde_json::Value {
        json!({
            "issuer": ISSUER,
            "authorization_endpoint": "https://id.example/auth?x=1",
            "token_endpoint": "https://id.example/token",
            "userinfo_endpoint": null,
            "authorization_response_iss_parameter_supported": true,
            "token_endpoint_auth_methods_supported": ["client_secret_post", 1],
        })
    }

    #[test]
    fn metadata_is_that_of_the_issuer_with_usable_urls() {
        let good = read(&document()).unwrap();
        assert!(good.iss_promised && !good.pushed_required);
        assert_eq!(good.userinfo_endpoint, None);
        assert_eq!(good.client_methods, ["client_secret_post"]);
        for (name, value) in [
            ("issuer", json!("https://id.example/")),
            ("issuer", json!(null)),
            ("token_endpoint", json!(null)),
            ("token_endpoint", json!("http://127.0.0.1/token")),
            ("token_endpoint", json!(["https://id.example/token"])),
            ("end_session_endpoint", json!("ftp://id.example")),
            ("authorization_endpoint", json!("javascript:alert(1)")),
        ] {
            let mut bad = document();
            bad[name] = value.clone();
            assert!(read(&bad).is_err(), "{name} {value}");
        }
        assert!(Metadata::read(b"[]", ISSUER, |_| true).is_err());
        assert!(Metadata::read(b"<html>", ISSUER, |_| true).is_err());
    }

    #[test]
    fn a_query_is_added_to_the_one_that_is_there() {
        let pairs = [("a", "b c&d=é")];
        let wanted = "a=b%20c%26d%3D%C3%A9";
        for (endpoint, before) in [
            ("https://x/auth", "https://x/auth?"),
            ("https://x/auth?", "https://x/auth?"),
            ("https://x/auth?y=1", "https://x/auth?y=1&"),
            ("https://x/auth?y=1&", "https://x/auth?y=1&"),
        ] {
            assert_eq!(with_query(endpoint, &pairs), format!("{before}{wanted}"));
        }
    }

    #[test]
    fn tokens_are_read_or_the_reason_is_told() {
        let ok = json!({"access_token": "a", "token_type": "bearer", "id_token": "i", "expires_in": "300", "refresh_token": null});
        let tokens = Tokens::read(200, ok.to_string().as_bytes()).unwrap();
        assert_eq!(
            (
                tokens.expires_in,
                tokens.refresh_token,
                &*tokens.access_token
            ),
            (Some(300), None, "a")
        );
        let with = |name: &str, value: serde_json::Value| {
            let mut all = ok.clone();
            all[name] = value;
            all.to_string()
        };
        for body in [
            with("token_type", json!("mac")),
            with("token_type", json!(null)),
            with("access_token", json!("")),
            with("access_token", json!(["a"])),
            with("id_token", json!(7)),
        ] {
            let got = Tokens::read(200, body.as_bytes());
            assert_eq!(got, Err(NoTokens::Refused("other")), "{body}");
        }
        for (status, body, wanted) in [
            (
                400,
                r#"{"error":"invalid_grant"}"#,
                NoTokens::Refused("invalid_grant"),
            ),
            (401, r#"{"error":"<script>"}"#, NoTokens::Refused("other")),
            (400, r#"{}"#, NoTokens::Refused("other")),
            (
                200,
                r#"{"error":"invalid_client"}"#,
                NoTokens::Refused("invalid_client"),
            ),
        ] {
            assert_eq!(Tokens::read(status, body.as_bytes()), Err(wanted), "{body}");
        }
        for (status, body) in [
            (500, "{}"),
            (429, "{}"),
            (302, "{}"),
            (404, "{}"),
            (200, "<html>"),
            (200, "[]"),
            (400, "x"),
        ] {
            let got = Tokens::read(status, body.as_bytes());
            assert!(
                matches!(got, Err(NoTokens::Unavailable(_))),
                "{status} {body}"
            );
        }
        let long = format!("{{\"x\":\"{}\"}}", "a".repeat(LONGEST));
        assert!(Tokens::read(200, long.as_bytes()).is_err());
    }
}
