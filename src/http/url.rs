//! Which URLs the gate may fetch from: checked when httpd starts, and again for what a discovery
//! document names. Opens no connection.

use crate::shown;
use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};

/// The longest URL, bytes.
const MAX_BYTES: usize = 2048;

/// Why a URL is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UrlError {
    /// Longer than 2048 bytes.
    TooLong,
    /// A byte that no URL holds: white space, a control, non-ASCII, `"`, `<`, `>`, `\`.
    Character,
    /// Neither `https://` nor `http://`.
    Scheme,
    /// A user or password in it: secrets do not belong into a configuration or a log.
    UserInfo,
    /// A `#fragment`, which no server ever sees.
    Fragment,
    /// A `?query` where none can be (OpenID Connect Discovery, section 3).
    Query,
    /// No host, or none that could be one.
    Host,
    /// A port that is none.
    Port,
    /// `http://` to another machine: whoever is on the way could give keys of their own.
    Plain,
}

impl fmt::Display for UrlError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::TooLong => "it is longer than 2048 bytes",
            Self::Character => "it holds a character that no URL may hold",
            Self::Scheme => "it starts with neither https:// nor http://",
            Self::UserInfo => "it holds a user or a password",
            Self::Fragment => "it holds a #fragment",
            Self::Query => "it holds a ?query",
            Self::Host => "it names no host",
            Self::Port => "its port is not a number from 1 to 65535",
            Self::Plain => "http:// is for 127.0.0.0/8, [::1] and localhost only: use https://",
        })
    }
}

impl std::error::Error for UrlError {}

/// Whether the gate may fetch from it: `https://`, or `http://` to this machine (127.0.0.0/8,
/// `[::1]`, `localhost`).
///
/// # Errors
///
/// [`UrlError`] says what is wrong with it.
pub fn check_url(url: &str) -> Result<(), UrlError> {
    judge(url).map(|_| ())
}

/// Whether it is an `http://` URL, which [`check_url`] allows to this machine only, past every proxy. The
/// one place that asks: a scheme has no case, and what is taken for the other one goes out in the clear.
#[must_use]
pub fn is_plain(url: &str) -> bool {
    judge(url).is_ok_and(|it| it.plain)
}

/// Whether it leads to this machine (127.0.0.0/8, `[::1]`, `localhost`): no proxy's business.
#[must_use]
pub fn is_here(url: &str) -> bool {
    judge(url).is_ok_and(|it| it.here)
}

/// Whether a resolver could take its host for this machine: [`is_here`], and every other spelling of it. For what
/// must not lead here; for what may, `is_here` is the narrower one.
#[must_use]
pub fn leads_here(url: &str) -> bool {
    let authority = url.split_once("://").map_or(url, |(_, rest)| rest);
    let authority = authority.split(['/', '?', '#']).next().unwrap_or_default();
    let host = match authority.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or_default(),
        None => authority.split(':').next().unwrap_or_default(),
    };
    if let Ok(address) = host.parse::<Ipv6Addr>() {
        let mapped = address.to_ipv4_mapped();
        return address.is_loopback()
            || address.is_unspecified()
            || mapped.is_some_and(|it| it.is_loopback() || it.is_unspecified());
    }
    if let Ok(address) = host.parse::<Ipv4Addr>() {
        return address.is_loopback() || address.is_unspecified();
    }
    let host = host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase();
    let last = host.rsplit('.').next().unwrap_or_default();
    // "127.1", "0x7f.1", "2130706433": which address that is, each resolver says for itself.
    last == "localhost" || last.starts_with(|first: char| first.is_ascii_digit())
}

/// In which little thing the issuer that came differs from the one that the configuration names, and what to write;
/// nothing where it is another one altogether.
#[must_use]
pub fn difference(configured: &str, got: &str) -> String {
    let plain = |url: &str| url.trim_end_matches('/').to_ascii_lowercase();
    let host = |url: &str| {
        let url = plain(url);
        let rest = url.strip_prefix("http://");
        let rest = rest.or_else(|| url.strip_prefix("https://"));
        rest.map(str::to_owned)
    };
    let little = if configured == got {
        return String::new();
    } else if configured.trim_end_matches('/') == got.trim_end_matches('/') {
        "a slash at the end"
    } else if plain(configured) == plain(got) {
        "capital and small letters"
    } else if host(configured).is_some() && host(configured) == host(got) {
        "http and https"
    } else {
        return String::new();
    };
    format!(
        "; they differ by {little}: write GateIssuerURL {}",
        shown::text(got)
    )
}

/// A URL that may be fetched from.
struct Fit {
    plain: bool,
    here: bool,
}

/// Where the discovery document of an issuer is (OpenID Connect Discovery, section 4). In place of
/// Entra ID's `{tenantid}` stands `organizations`.
///
/// # Errors
///
/// [`UrlError`] where that is no URL to fetch from.
pub fn discovery_url(issuer: &str) -> Result<String, UrlError> {
    if issuer.contains('?') {
        return Err(UrlError::Query);
    }
    let url = format!(
        "{}/.well-known/openid-configuration",
        issuer.strip_suffix('/').unwrap_or(issuer)
    )
    .replace("{tenantid}", "organizations");
    check_url(&url)?;
    Ok(url)
}

fn judge(url: &str) -> Result<Fit, UrlError> {
    if url.len() > MAX_BYTES {
        return Err(UrlError::TooLong);
    }
    if !url
        .bytes()
        .all(|byte| byte.is_ascii_graphic() && !b"\"<>\\".contains(&byte))
    {
        return Err(UrlError::Character);
    }
    if url.contains('#') {
        return Err(UrlError::Fragment);
    }
    let (scheme, rest) = url.split_once("://").ok_or(UrlError::Scheme)?;
    let plain = scheme.eq_ignore_ascii_case("http");
    if !plain && !scheme.eq_ignore_ascii_case("https") {
        return Err(UrlError::Scheme);
    }
    let authority = rest.split(['/', '?']).next().unwrap_or_default();
    if authority.contains('@') {
        return Err(UrlError::UserInfo);
    }
    let here = check_authority(authority)?;
    if plain && !here {
        return Err(UrlError::Plain);
    }
    Ok(Fit { plain, here })
}

/// A host with or without a port; whether it is this machine.
fn check_authority(authority: &str) -> Result<bool, UrlError> {
    let (here, port) = if let Some(rest) = authority.strip_prefix('[') {
        let (host, port) = rest.split_once(']').ok_or(UrlError::Host)?;
        let address: Ipv6Addr = host.parse().map_err(|_| UrlError::Host)?;
        (address == Ipv6Addr::LOCALHOST, port)
    } else {
        let end = authority.find(':').unwrap_or(authority.len());
        let (host, port) = authority.split_at_checked(end).ok_or(UrlError::Host)?;
        let named = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
        if host.is_empty() || !host.bytes().all(named) {
            return Err(UrlError::Host);
        }
        // Four plain decimal numbers only: what else may stand for an address ("127.1",
        // "0x7f.1") is read differently by different programs.
        let address: Option<Ipv4Addr> = host.parse().ok();
        let here =
            address.is_some_and(|it| it.is_loopback()) || host.eq_ignore_ascii_case("localhost");
        (here, port)
    };
    match port.strip_prefix(':') {
        None if port.is_empty() => Ok(here),
        Some(digits)
            if digits.bytes().all(|byte| byte.is_ascii_digit())
                && digits.parse::<u16>().is_ok_and(|number| number > 0) =>
        {
            Ok(here)
        }
        _ => Err(UrlError::Port),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_little_difference_is_named() {
        for (configured, got, little) in [
            (
                "https://a.example",
                "https://a.example/",
                "a slash at the end",
            ),
            (
                "https://a.example/x/",
                "https://a.example/x",
                "a slash at the end",
            ),
            (
                "https://a.example/X",
                "https://A.example/x/",
                "capital and small letters",
            ),
            ("http://localhost", "https://localhost/", "http and https"),
        ] {
            let wanted = format!("; they differ by {little}: write GateIssuerURL {got}");
            assert_eq!(difference(configured, got), wanted);
        }
        for got in [
            "https://a.example",
            "https://b.example",
            "https://a.example/x",
            "",
        ] {
            assert_eq!(difference("https://a.example", got), "", "{got}");
        }
    }

    #[test]
    fn https_anywhere_is_accepted() {
        for url in [
            "https://example.okta.com/oauth2/default",
            "HTTPS://Example.com:8443/jwks?p=b2c_1",
            "https://[2001:db8::1]:443/",
            "https://login.microsoftonline.com/{tenantid}/v2.0",
            "https://example.com",
        ] {
            assert_eq!(check_url(url), Ok(()), "{url}");
        }
    }

    #[test]
    fn http_to_this_machine_is_accepted() {
        for url in [
            "http://127.0.0.1/",
            "http://127.8.9.10:8080/jwks",
            "http://[::1]:1/",
            "http://localhost",
            "http://LOCALHOST:80/x",
        ] {
            assert_eq!(check_url(url), Ok(()), "{url}");
        }
    }

    #[test]
    fn a_scheme_is_read_without_case() {
        for (url, plain) in [
            ("http://127.0.0.1/", true),
            ("HTTP://127.0.0.1/", true),
            ("hTTp://localhost/", true),
            ("https://127.0.0.1/", false),
            ("HTTPS://example.com/", false),
            ("http://example.com/", false),
            ("http:/127.0.0.1/", false),
            ("", false),
        ] {
            assert_eq!(is_plain(url), plain, "{url}");
        }
    }

    #[test]
    fn what_leads_to_this_machine_is_no_proxy_s_business() {
        for (url, here) in [
            ("http://127.0.0.1/", true),
            ("https://127.8.9.10:8443/", true),
            ("HTTPS://[::1]/jwks", true),
            ("https://LocalHost/", true),
            ("https://localhost.example.com/", false),
            ("https://example.com/?127.0.0.1", false),
            ("https://[::2]/", false),
            ("http://example.com/", false),
            ("", false),
        ] {
            assert_eq!(is_here(url), here, "{url}");
        }
    }

    #[test]
    fn a_url_may_have_2048_bytes_and_no_more() {
        let of = |bytes: usize| format!("https://example.com/{}", "a".repeat(bytes - 20));
        assert_eq!(check_url(&of(2048)), Ok(()));
        assert_eq!(check_url(&of(2049)), Err(UrlError::TooLong));
    }

    #[test]
    fn http_to_another_machine_is_refused() {
        for url in [
            "http://example.com/",
            "http://127.0.0.1.example.com/",
            "http://127.1/",
            "http://2130706433/",
            "http://0177.0.0.1/",
            "http://128.0.0.1/",
            "http://0.0.0.0/",
            "http://[::]/",
            "http://[::ffff:127.0.0.1]/",
            "http://localhost.example.com/",
            "http://localhost./",
        ] {
            assert_eq!(check_url(url), Err(UrlError::Plain), "{url}");
        }
    }

    #[test]
    fn what_is_no_url_of_a_key_set_is_refused() {
        for (url, why) in [
            ("ftp://example.com/", UrlError::Scheme),
            ("file:/etc/keys", UrlError::Scheme),
            ("//example.com", UrlError::Scheme),
            ("", UrlError::Scheme),
            ("https://", UrlError::Host),
            ("https:///path", UrlError::Host),
            ("https://[::1", UrlError::Host),
            ("https://ex%61mple.com/", UrlError::Host),
            ("https://user@example.com/", UrlError::UserInfo),
            ("http://localhost:1@example.com/", UrlError::UserInfo),
            ("https://example.com/#x", UrlError::Fragment),
            ("https://example.com/a b", UrlError::Character),
            ("https://example.com/\r\nX: y", UrlError::Character),
            ("https://example.com\\@localhost/", UrlError::Character),
            ("https://exämple.com/", UrlError::Character),
            ("https://example.com:0/", UrlError::Port),
            ("https://example.com:65536/", UrlError::Port),
            ("https://example.com:+80/", UrlError::Port),
            ("https://example.com:/", UrlError::Port),
            ("https://[::1]x/", UrlError::Port),
        ] {
            assert_eq!(check_url(url), Err(why), "{url}");
        }
        assert_eq!(
            check_url(&format!("https://example.com/{}", "a".repeat(2048))),
            Err(UrlError::TooLong)
        );
    }

    #[test]
    fn the_discovery_url_has_one_slash_and_no_template() {
        let path = ".well-known/openid-configuration";
        assert_eq!(
            discovery_url("https://a.example"),
            Ok(format!("https://a.example/{path}"))
        );
        assert_eq!(
            discovery_url("https://a.example/x/"),
            Ok(format!("https://a.example/x/{path}"))
        );
        assert_eq!(
            discovery_url("https://login.microsoftonline.com/{tenantid}/v2.0"),
            Ok(format!(
                "https://login.microsoftonline.com/organizations/v2.0/{path}"
            ))
        );
        assert_eq!(discovery_url("https://a.example/?x"), Err(UrlError::Query));
        assert_eq!(discovery_url("http://a.example"), Err(UrlError::Plain));
    }
}
