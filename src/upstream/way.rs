//! What mod_proxy will send, and whether the upstream could see another place in it than the one that httpd
//! has asked for: dot segments. Knows nothing of who asks.

/// A target on its way to the upstream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sent<'r> {
    /// The path, as it will be sent.
    pub path: &'r [u8],
    /// The query, without its `?`.
    pub query: Option<&'r [u8]>,
}

/// The scheme of an upstream for which mod_proxy runs no hook on its copy of the headers, so that no credential can be
/// put in. `handler` leads there where `SetHandler "proxy:..."` does.
#[must_use]
pub fn without_hook(filename: &[u8], handler: &[u8]) -> Option<&'static str> {
    let url = [filename, handler]
        .into_iter()
        .find_map(|it| it.strip_prefix(b"proxy:"))?;
    let url = url
        .strip_prefix(b"unix:")
        .and_then(|rest| rest.split(|b| *b == b'|').nth(1))
        .unwrap_or(url);
    ["h2", "h2c", "ajp", "fcgi", "scgi", "uwsgi"]
        .into_iter()
        .find(|scheme| {
            url.get(..scheme.len())
                .is_some_and(|it| it.eq_ignore_ascii_case(scheme.as_bytes()))
                && url
                    .get(scheme.len()..)
                    .is_some_and(|it| it.starts_with(b"://"))
        })
}

/// What mod_proxy will send, by the URL that it has put together (`r->filename`); `None`: it has put none
/// together yet, as where `SetHandler "proxy:..."` leads to the upstream. `args`: httpd's query.
#[must_use]
pub fn sent<'r>(filename: &'r [u8], args: Option<&'r [u8]>) -> Option<Sent<'r>> {
    let url = filename.strip_prefix(b"proxy:")?;
    // proxy:unix:SOCKET|http://NAME/PATH
    let url = match url.strip_prefix(b"unix:") {
        Some(rest) => rest.get(rest.iter().position(|b| *b == b'|')? + 1..)?,
        None => url,
    };
    let authority = url.windows(3).position(|it| it == b"://")? + 3;
    let rest = url.get(authority..)?;
    let end = |it: &[u8], of: &[u8]| it.iter().position(|b| of.contains(b)).unwrap_or(it.len());
    let target = rest.get(end(rest, b"/?")..)?;
    let (path, query) = target.split_at_checked(end(target, b"?"))?;
    Some(Sent {
        path,
        query: query.get(1..).or(args),
    })
}

/// Whether a request must not go on to the upstream: the target as the client sent it, or as mod_proxy sends
/// it, has dot segments. httpd has looked for the `<Location>` without them.
#[must_use]
pub fn is_ambiguous(unparsed_uri: &[u8], sent: Option<&Sent<'_>>) -> bool {
    has_dots(unparsed_uri) || sent.is_some_and(|it| has_dots(it.path))
}

/// Whether a target's path has a segment `.` or `..`, however it is spelled. httpd resolves them (RFC 3986,
/// section 5.2.4) before it looks for the `<Location>`; what mod_proxy sends on may be raw. A servlet
/// container drops `;parameters` before it looks for dots, and Windows takes a backslash for a slash.
fn has_dots(target: &[u8]) -> bool {
    // How many dots this segment is; none: something else is in it.
    let mut dots = Some(0_usize);
    let mut parameters = false;
    plain(target).chain([b'/']).any(|byte| match byte {
        b'/' | b'\\' => {
            parameters = false;
            matches!(dots.replace(0), Some(1 | 2))
        }
        b';' => {
            parameters = true;
            false
        }
        _ if parameters => false,
        b'.' => {
            dots = dots.map(|it| it + 1);
            false
        }
        _ => {
            dots = None;
            false
        }
    })
}

/// The path, unescaped: `%2F` is a slash like any other, and `+` is itself.
pub(super) fn plain(target: &[u8]) -> impl Iterator<Item = u8> {
    let path = target.split(|b| matches!(b, b'?' | b'#')).next();
    let mut rest = path.unwrap_or_default();
    let digit = |b: &u8| char::from(*b).to_digit(16);
    std::iter::from_fn(move || {
        let (first, mut tail) = rest.split_first()?;
        let mut byte = *first;
        if let (b'%', [high, low, after @ ..]) = (first, tail)
            && let Some((high, low)) = digit(high).zip(digit(low))
        {
            byte = (high * 16 + low) as u8;
            tail = after;
        }
        rest = tail;
        Some(byte)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_runs_no_hook_is_known_by_its_scheme() {
        for (filename, handler, wanted) in [
            ("proxy:http://u/", "proxy-server", None),
            ("proxy:https://u/", "proxy-server", None),
            ("proxy:ws://u/", "proxy-server", None),
            ("proxy:balancer://u/", "proxy-server", None),
            ("/h2://x", "", None),
            ("proxy:h2c://u/", "proxy-server", Some("h2c")),
            ("proxy:H2://u/", "proxy-server", Some("h2")),
            ("/srv/x", "proxy:fcgi://127.0.0.1:9000", Some("fcgi")),
            ("/srv/x", "proxy:unix:/run/php.sock|fcgi://x", Some("fcgi")),
            ("proxy:ajp://u/", "proxy-server", Some("ajp")),
        ] {
            let got = without_hook(filename.as_bytes(), handler.as_bytes());
            assert_eq!(got, wanted, "{filename} {handler}");
        }
    }

    #[test]
    fn dots_are_seen_however_they_are_spelled() {
        for target in [
            "/..",
            "/.",
            "/a/../b",
            "/a/./b",
            "/a/..",
            "/a/%2e%2e/b",
            "/a/.%2E/b",
            "/a/%2e",
            "/a/..%2fb",
            "/a/b%2F../c",
            "/a%2f..%2Fb",
            "/a%2f..",
            "http://h/../x",
            "/../?a=1",
            "..",
            "/a/..?b",
            "/a/..;/b",
            "/a/..;x=1/b",
            "/a/.;/b",
            "/a/..%3bx/b",
            "/a/..;",
            "/a\\..\\b",
            "/a/..%5cb",
        ] {
            assert!(has_dots(target.as_bytes()), "{target}");
        }
        for target in [
            "/",
            "",
            "*",
            "/a/b",
            "/a..b/c",
            "/.a/..b/...",
            "/a?b=/../c",
            "/a#/../",
            "/a/%2520",
            "/a/%252e%252e/b",
            "/shop%2Forders/x.y",
            "/a/%2ea",
            "h:443",
            "/api/v4/projects/shop%2Forders/files/src%2F.gitignore",
            "/%",
            "/%2",
            "/a/%zz",
            "/a;/b",
            "/a/;../b",
            "/a/...;/b",
            "/a;..",
        ] {
            assert!(!has_dots(target.as_bytes()), "{target}");
        }
    }

    #[test]
    fn what_is_sent_is_what_mod_proxy_has_put_together() {
        let of = |filename: &'static str| {
            sent(filename.as_bytes(), Some(b"a=1")).map(|it| {
                let text = |it: &[u8]| String::from_utf8_lossy(it).into_owned();
                (text(it.path), text(it.query.unwrap_or_default()))
            })
        };
        let is = |path: &str, query: &str| Some((path.to_owned(), query.to_owned()));
        assert_eq!(of("proxy:http://h:81/api/x?b=2"), is("/api/x", "b=2"));
        assert_eq!(of("proxy:http://h"), is("", "a=1"));
        assert_eq!(of("proxy:http://h?b=2/../x"), is("", "b=2/../x"));
        assert_eq!(of("proxy:balancer://b/x?"), is("/x", ""));
        assert_eq!(
            of("proxy:unix:/run/../w.sock|http://localhost/x"),
            is("/x", "a=1")
        );
        for filename in ["", "/srv/www/x", "proxy:", "proxy:unix:/run/w.sock"] {
            assert_eq!(of(filename), None, "{filename}");
        }
    }

    #[test]
    fn dots_are_looked_for_in_what_came_and_in_what_is_sent() {
        let ambiguous = |uri: &str, filename: &str| {
            is_ambiguous(uri.as_bytes(), sent(filename.as_bytes(), None).as_ref())
        };
        assert!(ambiguous("/a/../b", "proxy:http://h/b"));
        assert!(ambiguous("/ne/%252e%252e/x", "proxy:http://h/%2e%2e/x"));
        assert!(!ambiguous(
            "/ne/%252e%252e/x",
            "proxy:http://h/%252e%252e/x"
        ));
        assert!(!ambiguous(
            "/x",
            "proxy:unix:/run/../w.sock|http://localhost/x?/../"
        ));
    }

    proptest::proptest! {
        /// As httpd's ap_normalize_path sees it: what changes by taking dots out has dots.
        #[test]
        fn no_spelling_of_a_dot_segment_passes(
            parts in proptest::collection::vec(proptest::prelude::prop_oneof![
                proptest::prelude::Just("a"), proptest::prelude::Just("."), proptest::prelude::Just(".."),
                proptest::prelude::Just("%2e"), proptest::prelude::Just("%2E."), proptest::prelude::Just(""),
                proptest::prelude::Just("%2f"), proptest::prelude::Just("..."), proptest::prelude::Just("%")
            ], 0..6)
        ) {
            let target = format!("/{}", parts.join("/"));
            let plain = target.replace("%2e", ".").replace("%2E", ".").replace("%2f", "/");
            let dots = plain.split('/').any(|it| it == "." || it == "..");
            proptest::prop_assert_eq!(has_dots(target.as_bytes()), dots, "{}", target);
        }
    }
}
