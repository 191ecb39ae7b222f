//! Whether another site made a browser send the request. Some sources a browser fills by itself, whoever
//! wrote the page; what comes by one of those and changes something gets nothing of the gate's (SPEC:
//! `cross_site`). A client that is no browser sends none of the signs looked for here.

use super::assertion::Gate;
use crate::verdict::{Reason, Refusal};

/// The signs of one request.
#[derive(Debug, Default)]
pub struct Signs<'r> {
    site: Vec<&'r [u8]>,
    origin: Vec<&'r [u8]>,
    fetch: bool,
    upgrade: bool,
    session: bool,
}

impl<'r> Signs<'r> {
    /// What the request's fields say.
    pub fn new(fields: impl Iterator<Item = (&'r [u8], &'r [u8])>) -> Self {
        let mut signs = Self::default();
        for (name, value) in fields {
            match name.to_ascii_lowercase().as_slice() {
                b"sec-fetch-site" => signs.site.push(value.trim_ascii()),
                b"origin" => signs.origin.push(value.trim_ascii()),
                b"upgrade" => signs.upgrade = true,
                b"cookie" => signs.session |= holds_gitlabs(value),
                name => signs.fetch |= name.starts_with(b"sec-fetch-"),
            }
        }
        signs
    }

    /// Whether the request comes from this server's pages, or from no browser. GET and HEAD change nothing,
    /// but for an upgrade: a WebSocket is a GET.
    ///
    /// # Errors
    /// `cross_site`.
    pub fn check(&self, method: &[u8], here: &Gate<'_>) -> Result<(), Refusal> {
        if matches!(method, b"GET" | b"HEAD") && !self.upgrade {
            return Ok(());
        }
        let refuse = |why: &str| {
            Err(Refusal::new(
                Reason::CrossSite,
                format!("the identity came by what a browser sends by itself, and {why}"),
            ))
        };
        match (self.site.as_slice(), self.origin.as_slice()) {
            ([b"same-origin" | b"none"], _) => Ok(()),
            ([], [origin]) if !is_origin(origin, here) => {
                refuse("Origin is not this server's (ServerName)")
            }
            ([], [_]) => Ok(()),
            ([], []) if self.fetch => refuse("Sec-Fetch-Site is missing beside Sec-Fetch-..."),
            ([], []) if self.session => {
                refuse("a browser with GitLab's cookies sent neither Sec-Fetch-Site nor Origin")
            }
            ([], []) => Ok(()),
            ([], _) => refuse("there are two Origin headers"),
            _ => refuse("Sec-Fetch-Site is neither same-origin nor none"),
        }
    }
}

/// Cookies by which GitLab's pages are known (config/initializers/session_store.rb, devise.rb,
/// app/controllers/concerns/known_sign_in.rb): a browser has them.
fn holds_gitlabs(cookies: &[u8]) -> bool {
    const OTHERS: &[&[u8]] = &[b"remember_user_token", b"known_sign_in"];
    cookies.split(|b| matches!(b, b';' | b',')).any(|pair| {
        let end = pair.iter().position(|b| *b == b'=').unwrap_or(pair.len());
        let name = pair.get(..end).unwrap_or_default().trim_ascii();
        name.starts_with(b"_gitlab") || OTHERS.contains(&name)
    })
}

/// Whether an `Origin` (RFC 6454) names this server.
fn is_origin(origin: &[u8], here: &Gate<'_>) -> bool {
    let url = here.url();
    let port = format!(":{}", here.port);
    let whole = format!("{}{port}", url.strip_suffix(&port).unwrap_or(&url));
    let is = |it: &str| origin.eq_ignore_ascii_case(it.as_bytes());
    !here.name.is_empty() && (is(&url) || is(&whole))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn passes(method: &str, fields: &[(&str, &str)]) -> bool {
        let here = Gate {
            secure: true,
            name: "gate.example",
            port: 443,
        };
        let fields = fields.iter().map(|(n, v)| (n.as_bytes(), v.as_bytes()));
        Signs::new(fields).check(method.as_bytes(), &here).is_ok()
    }

    #[test]
    fn what_changes_nothing_passes() {
        let other = ("Sec-Fetch-Site", "cross-site");
        assert!(passes("GET", &[other, ("Origin", "https://evil.example")]));
        assert!(passes("HEAD", &[other]));
        for method in ["POST", "PUT", "DELETE", "OPTIONS", "get", "X"] {
            assert!(!passes(method, &[other]), "{method}");
        }
        assert!(
            !passes("GET", &[other, ("Upgrade", "websocket")]),
            "a WebSocket"
        );
    }

    #[test]
    fn this_server_s_pages_and_clients_that_are_no_browsers_pass() {
        let allowed: &[&[(&str, &str)]] = &[
            &[],
            &[("Cookie", "theme=dark")],
            &[("Sec-Fetch-Site", "same-origin")],
            &[("sec-fetch-site", " none ")],
            &[("Sec-Fetch-Site", "same-origin"), ("Origin", "null")],
            &[("Origin", "https://gate.example")],
            &[("ORIGIN", "https://Gate.Example:443")],
            &[
                ("Origin", "https://gate.example"),
                ("Cookie", "_gitlab_session=1"),
            ],
        ];
        for fields in allowed {
            assert!(passes("POST", fields), "{fields:?}");
        }
    }

    #[test]
    fn another_site_s_request_does_not() {
        let refused: &[&[(&str, &str)]] = &[
            &[("Sec-Fetch-Site", "cross-site")],
            &[("Sec-Fetch-Site", "same-site")],
            &[("Sec-Fetch-Site", "")],
            &[("Sec-Fetch-Site", "same-origin, none")],
            &[
                ("Sec-Fetch-Site", "same-origin"),
                ("Sec-Fetch-Site", "none"),
            ],
            &[
                ("Sec-Fetch-Site", "cross-site"),
                ("Origin", "https://gate.example"),
            ],
            &[("Origin", "https://evil.example")],
            &[("Origin", "null")],
            &[("Origin", "")],
            &[("Origin", "http://gate.example")],
            &[("Origin", "https://gate.example:8443")],
            &[("Origin", "https://gate.example.evil")],
            &[
                ("Origin", "https://gate.example"),
                ("Origin", "https://gate.example"),
            ],
            &[("Sec-Fetch-Mode", "cors")],
            &[("Cookie", "a=1; _gitlab_session=x")],
            &[("Cookie", "_gitlab_session_geo_1=x")],
            &[("Cookie", "a=1"), ("Cookie", " remember_user_token = x")],
        ];
        for fields in refused {
            assert!(!passes("POST", fields), "{fields:?}");
        }
    }

    #[test]
    fn an_origin_names_scheme_host_and_port() {
        let here = |secure, name, port| Gate { secure, name, port };
        assert!(is_origin(b"http://[::1]:8080", &here(false, "[::1]", 8080)));
        assert!(is_origin(b"http://h", &here(false, "h", 80)));
        assert!(!is_origin(b"http://h", &here(false, "h", 443)));
        assert!(!is_origin(b"https://", &here(true, "", 443)));
    }
}
