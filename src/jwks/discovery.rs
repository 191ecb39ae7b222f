//! What a discovery document says of an issuer's keys (OpenID Connect Discovery, sections 3 and 4.3).
//! Fetches nothing; whether the URL that it names may be fetched from is [`super::url`]'s.

/// What is wrong with a document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unfit {
    /// It can't be read.
    Body(String),
    /// It is of this issuer, which is not the one wanted.
    Issuer(String),
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
        let value = document.get(name).and_then(crate::json::Value::as_str);
        value.ok_or_else(|| Unfit::Body(format!("no string {name:?}")))
    };
    let got = member("issuer")?;
    if got != issuer {
        return Err(Unfit::Issuer(got.to_owned()));
    }
    member("jwks_uri").map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

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
