//! What a discovery document says of an issuer's keys (OpenID Connect Discovery, sections 3 and 4.3).
//! Fetches nothing; whether the URL that it names may be fetched from is [`crate::http::url`]'s.

use crate::http::url::{is_here, leads_here};

/// What is wrong with a document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unfit {
    /// It can't be read.
    Body(String),
    /// It is of this issuer, which is not the one wanted.
    Issuer(String),
    /// It names this URL on this machine, and the issuer is on another one.
    Loopback(String),
}

/// The `jwks_uri` of a document that is this issuer's.
///
/// # Errors
///
/// What is wrong with it.
pub fn jwks_uri(document: &[u8], issuer: &str) -> Result<String, Unfit> {
    let document =
        crate::json::parse(document).map_err(|error| Unfit::Body(format!("not JSON: {error}")))?;
    let member = |name: &str| {
        let value = document.member(name).and_then(crate::json::Value::as_str);
        value.ok_or_else(|| Unfit::Body(format!("no string {name:?}")))
    };
    let got = member("issuer")?;
    if got != issuer {
        return Err(Unfit::Issuer(got.to_owned()));
    }
    let uri = member("jwks_uri")?;
    if leads_here(uri) && !is_here(issuer) {
        return Err(Unfit::Loopback(uri.to_owned()));
    }
    Ok(uri.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_issuer_of_this_machine_names_urls_of_this_machine() {
        let of = |iss: &str, uri: &str| {
            let text = format!(r#"{{"issuer":"{iss}","jwks_uri":"{uri}"}}"#);
            jwks_uri(text.as_bytes(), iss)
        };
        for uri in [
            "http://127.0.0.1:8080/jwks",
            "https://127.9.9.9/jwks",
            "http://localhost/",
            "HTTPS://LocalHost:1/",
            "https://[::1]/",
            "https://localhost./",
            "https://a.localhost/",
            "https://0.0.0.0/",
            "https://[::]/",
            "https://[::ffff:127.0.0.1]/",
            "https://127.1/",
            "https://2130706433/",
            "https://0x7f.0.0.1/",
        ] {
            let refused = of("https://a.example", uri);
            assert_eq!(refused, Err(Unfit::Loopback(uri.into())), "{uri}");
        }
        for uri in [
            "https://a.example/jwks",
            "https://10.0.0.1/",
            "https://localhost.example/",
            "https://[2001:db8::1]/",
        ] {
            assert_eq!(of("https://a.example", uri), Ok(uri.into()));
        }
        for iss in ["http://127.0.0.1:1", "https://localhost"] {
            assert!(of(iss, "http://127.0.0.1:8080/jwks").is_ok(), "{iss}");
        }
    }

    #[test]
    fn a_document_is_taken_where_it_is_the_issuer_s_own() {
        let iss = "https://a.example";
        let of = |text: &str| jwks_uri(text.as_bytes(), iss);
        assert_eq!(
            of(r#"{"issuer":"https://a.example","jwks_uri":"https://k.example/x"}"#),
            Ok("https://k.example/x".into())
        );
        for other in [
            "https://a.example/",
            "https://b.example",
            "HTTPS://a.example",
            "",
        ] {
            assert_eq!(
                of(&format!(r#"{{"issuer":"{other}","jwks_uri":"x"}}"#)),
                Err(Unfit::Issuer(other.into()))
            );
        }
        for text in [
            "",
            "[]",
            "{}",
            r#"{"issuer":"https://a.example"}"#,
            r#"{"jwks_uri":"x"}"#,
            r#"{"issuer":["https://a.example"],"jwks_uri":"x"}"#,
            r#"{"issuer":"https://a.example","jwks_uri":null}"#,
            r#"{"issuer":"https://b.example","issuer":"https://a.example","jwks_uri":"x"}"#,
        ] {
            assert!(matches!(of(text), Err(Unfit::Body(_))), "{text}");
        }
    }
}
