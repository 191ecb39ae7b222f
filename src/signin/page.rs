//! Where a person goes on to after a sign-in: a path of this host and nothing else, whoever says so.

use crate::token::query::unescape;

/// The longest path with its query, bytes.
const LONGEST: usize = 2048;
/// The longest that a `state` carries whole; a longer one comes back without its query.
const CARRIED: usize = 1024;
/// GitLab's own sign-out: whoever went on to it would be signed out at once.
const SIGN_OUT: &[u8] = b"/users/sign_out";

/// Whether a target is a path of this host in every reader's eyes. `//x`, `/\x` and control characters,
/// which browsers drop, lead elsewhere; so may `/..//x` where dots are resolved, and each of them
/// where an escape is decoded first.
#[must_use]
pub fn is_path_here(target: &[u8]) -> bool {
    let path = |text: &[u8]| -> Vec<u8> {
        let end = text.iter().position(|b| matches!(b, b'?' | b'#'));
        text.get(..end.unwrap_or(text.len()))
            .unwrap_or_default()
            .to_vec()
    };
    let plain = |text: &[u8]| text.iter().all(|b| matches!(b, b'!'..=b'~') && *b != b'\\');
    let segments = |text: &[u8]| {
        let Some(inner) = text.strip_prefix(b"/") else {
            return false;
        };
        let inner = inner.strip_suffix(b"/").unwrap_or(inner);
        let odd = |it: &[u8]| {
            let bare = it.split(|b| *b == b';').next().unwrap_or_default();
            it.is_empty() || matches!(bare, b"." | b"..")
        };
        inner.is_empty() && text.len() == 1 || !inner.split(|b| *b == b'/').any(odd)
    };
    if target.len() > LONGEST || !plain(target) {
        return false;
    }
    // An escape of an escape is one too: each layer that a reader may take off must be a path.
    let mut layer = path(target);
    for _ in 0..4 {
        let printable = layer.iter().all(|b| !b.is_ascii_control() && *b != b'\\');
        if !printable || !segments(&layer) {
            return false;
        }
        let next = unescape(&layer);
        if next == layer {
            return true;
        }
        layer = next;
    }
    false
}

/// The page that `target` names, if it may be gone on to; else `/`. `endpoint`: GateEndpoint, below
/// which no page is, but for `login`: the path of a gate-gitlab-login.
#[must_use]
pub fn page(target: &[u8], endpoint: &str, login: Option<&str>) -> String {
    let path = target.split(|b| matches!(b, b'?' | b'#')).next();
    let path = path.unwrap_or_default();
    let plain = unescape(path);
    let below = |of: &[u8]| {
        plain
            .strip_prefix(of)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with(b"/"))
    };
    let own = below(endpoint.as_bytes()) && login.is_none_or(|it| plain != it.as_bytes());
    if !is_path_here(target) || own || below(SIGN_OUT) {
        return "/".into();
    }
    let kept = if target.len() > CARRIED { path } else { target };
    match std::str::from_utf8(kept) {
        Ok(text) if text.len() <= CARRIED => text.to_owned(),
        _ => "/".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_of_this_host_is_one() {
        for target in [
            "/",
            "/shop/orders",
            "/shop/orders/",
            "/shop/orders/-/issues?scope=all&q=a%20b",
            "/a?to=//evil.example",
            "/a#/../b",
            "/shop%2Forders",
            "/%C3%A9",
            "/a..b/.c",
        ] {
            assert!(is_path_here(target.as_bytes()), "{target}");
        }
    }

    #[test]
    fn what_may_lead_elsewhere_is_none() {
        for target in [
            "",
            "a",
            "//evil.example",
            "/\\evil.example",
            "\\/evil.example",
            "https://evil.example/",
            "/%09/evil.example",
            "/\t/evil.example",
            "/%2f/evil.example",
            "/%2Fevil.example",
            "/%5cevil.example",
            "/..//evil.example",
            "/%2e%2e//evil.example",
            "/a/../b",
            "/a/./b",
            "/a/..;x/b",
            "/a//b",
            "/a\r\nLocation: x",
            "/%0d%0aLocation:x",
            "/%250d%250a",
            "/%252f/evil.example",
            "/%25252f/evil.example",
            "/é",
            "@evil.example",
            "?a",
        ] {
            assert!(!is_path_here(target.as_bytes()), "{target}");
        }
        assert!(!is_path_here(format!("/{}", "a".repeat(2048)).as_bytes()));
    }

    #[test]
    fn no_sign_in_leads_to_the_gate_s_endpoint_or_to_a_sign_out() {
        let of = |target: &str| page(target.as_bytes(), "/-/gate", Some("/-/gate/login"));
        for (target, wanted) in [
            ("/shop?a=b", "/shop?a=b"),
            ("/-/gate/sign-out", "/"),
            ("/-/gate", "/"),
            ("/-/g%61te/sign-out", "/"),
            ("/-/gate/login?origin=/x", "/-/gate/login?origin=/x"),
            ("/-/gates", "/-/gates"),
            ("/users/sign_out", "/"),
            ("/users/sign%5fout", "/"),
            ("//evil.example", "/"),
        ] {
            assert_eq!(of(target), wanted, "{target}");
        }
        let long = format!("/shop?q={}", "a".repeat(1100));
        assert_eq!(of(&long), "/shop");
        assert_eq!(of(&format!("/{}", "a".repeat(1100))), "/");
    }
}
