//! Ways to the upstream that no request may take: dot segments, by which the upstream would see another place than
//! the one that httpd has asked for, and what GitLab tells of the token that it is shown. Knows nothing of who asks.

/// Whether a target's path has a segment `.` or `..`, however it is spelled. httpd resolves them (RFC 3986,
/// section 5.2.4) before it looks for the `<Location>`; what mod_proxy sends on may be raw.
#[must_use]
pub fn has_dots(target: &[u8]) -> bool {
    // How many dots this segment is; none: something else is in it.
    let mut dots = Some(0_usize);
    plain(target).chain([b'/']).any(|byte| match byte {
        b'/' => matches!(dots.replace(0), Some(1 | 2)),
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

/// Whether GitLab would take the path for one that shows, renews or revokes the token of the request, whoever
/// `Sudo` names: `…/personal_access_tokens/self` and what lies below, and those of a project or a group. By renewing it
/// (`self/rotate`) anybody would be handed the administrator's.
#[must_use]
pub fn is_about_the_token(target: &[u8]) -> bool {
    let path: Vec<u8> = plain(target).map(|b| b.to_ascii_lowercase()).collect();
    let mut before = false;
    let mut segments = path.split(|b| *b == b'/').filter(|it| !it.is_empty());
    segments.any(|it| {
        let hit = before && (it == b"self" || it.starts_with(b"self."));
        before = it.ends_with(b"access_tokens");
        hit
    })
}

/// The path, unescaped: `%2F` is a slash like any other, and `+` is itself.
fn plain(target: &[u8]) -> impl Iterator<Item = u8> {
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
        ] {
            assert!(!has_dots(target.as_bytes()), "{target}");
        }
    }

    #[test]
    fn what_gitlab_tells_of_the_token_itself_is_known() {
        for target in [
            "/api/v4/personal_access_tokens/self",
            "/api/v4/personal_access_tokens/self/rotate",
            "/api/v4/personal_access_tokens//self.json?x=1",
            "/API/v4/Personal_Access_Tokens/SELF/associations",
            "/api/v4/personal%5Faccess_tokens/%73elf",
            "/api/v4/personal_access_tokens%2fself",
            "/gitlab/api/v4/projects/1/access_tokens/self/rotate",
            "proxy:http://127.0.0.1:8080/api/v4/personal_access_tokens/self",
        ] {
            assert!(is_about_the_token(target.as_bytes()), "{target}");
        }
        for target in [
            "/api/v4/personal_access_tokens",
            "/api/v4/personal_access_tokens/7/rotate",
            "/api/v4/personal_access_tokens/selfish",
            "/api/v4/personal_access_tokens/x/self",
            "/api/v4/users/self",
            "/api/v4/x?/access_tokens/self",
            "/",
            "",
        ] {
            assert!(!is_about_the_token(target.as_bytes()), "{target}");
        }
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
