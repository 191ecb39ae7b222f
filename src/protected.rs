//! The names that no client may send: what the gate itself sends, and what GitLab's components trust of
//! each other. Compared as an upstream might fold them. What they are set to is said in `headers`.

use crate::field::{folded, folds_to, is_name_byte, same};

/// The names that the gate sends by default (docs/headers.md).
pub const IDENTITY: &[&str] = &[
    "X-Forwarded-User",
    "X-Forwarded-Email",
    "X-Forwarded-Groups",
    "X-Gate-Issuer",
    "X-Gate-Subject",
    "X-Gate-Project",
    "X-Gate-Ref",
    "X-Gate-Pipeline",
    "X-Gate-Job",
    "X-Gate-Assertion",
];

/// GitLab's components trust these of each other (HackerOne 1040786).
const INTERNAL_PREFIXES: &[&[u8]] = &[b"gitlab-workhorse-", b"gitlab-kas-", b"gitlab-shell-"];
const INTERNAL: &[&str] = &[
    "Gitlab-Agent-Api-Request",
    "Gitlab-Agentk-Api-Request",
    "Gitlab-Mailroom-Api-Request",
    "Gitlab-Pages-Api-Request",
    "Gitlab-Shared-Secret",
    "Geo-GL-Id",
];

/// By these an upstream takes a POST for another method than the one that httpd has judged (`<Limit>`, `Require
/// method`): Rack knows the first (rack/method_override.rb), other frameworks the others.
const OVERRIDES: &[&str] = &[
    "X-HTTP-Method-Override",
    "X-HTTP-Method",
    "X-Method-Override",
];

/// What says how a body is read: a client that had mod_proxy drop it would show the upstream another body than the
/// one that was looked through.
const FRAMING: &[&str] = &[
    "Content-Type",
    "Content-Encoding",
    "Content-Length",
    "Transfer-Encoding",
    "Host",
];

/// The names that no client may send.
#[derive(Debug, Default)]
pub struct Protected {
    names: Vec<Box<[u8]>>,
    kept: Vec<Box<[u8]>>,
    /// What the gate sets in some places, and a client may send in others: only `Connection` may
    /// not name them.
    set: Vec<Box<[u8]>>,
    /// By first letter: which lengths occur. Most fields are passed over by this alone.
    lengths: [u64; 32],
}

impl Protected {
    /// The default names and `more` of the configuration's; `kept` are GateKeepHeader's.
    pub fn new<'a>(
        more: impl Iterator<Item = &'a str>,
        kept: impl Iterator<Item = &'a str>,
    ) -> Self {
        let more: Vec<&str> = more.collect();
        // What the gate itself sends is never a client's to send, kept or not.
        let is_ours = |kept: &[u8]| more.iter().any(|name| same(kept, name.as_bytes()));
        let mut protected = Self {
            kept: kept
                .map(|it| folded(it.as_bytes()))
                .filter(|it| !is_ours(it))
                .collect(),
            set: FRAMING.iter().map(|it| folded(it.as_bytes())).collect(),
            ..Self::default()
        };
        for name in IDENTITY
            .iter()
            .copied()
            .chain(INTERNAL.iter().copied())
            .chain(OVERRIDES.iter().copied())
            .chain(more)
        {
            let name = folded(name.as_bytes());
            if !protected.kept.contains(&name) && !protected.names.contains(&name) {
                if let Some(lengths) = protected.lengths.get_mut(letter(&name)) {
                    *lengths |= 1 << (name.len() & 63);
                }
                protected.names.push(name);
            }
        }
        protected
    }

    /// Keeps these names out of `Connection` too.
    #[must_use]
    pub fn and_set<'a>(mut self, names: impl Iterator<Item = &'a str>) -> Self {
        self.set.extend(names.map(|it| folded(it.as_bytes())));
        self
    }

    fn is_set(&self, name: &[u8]) -> bool {
        self.is_protected(name) || self.set.iter().any(|it| same(it, name))
    }

    /// Whether a client may not send a field of this name.
    #[must_use]
    pub fn is_protected(&self, name: &[u8]) -> bool {
        let at = letter(name);
        if at == letter(b"g") && is_internal(name) {
            return !self.kept.iter().any(|kept| same(kept, name));
        }
        self.lengths
            .get(at)
            .is_some_and(|lengths| lengths >> (name.len() & 63) & 1 == 1)
            && self.names.iter().any(|it| same(it, name))
    }

    /// `Connection` without the names that the gate sets, which mod_proxy would else drop
    /// (RFC 9110, section 7.6.1); `None`: it names none of them. httpd ends a name not at commas alone,
    /// but none can go on over what no name may hold: so it ends here at whatever that is.
    #[must_use]
    pub fn connection_without(&self, value: &[u8]) -> Option<Vec<u8>> {
        let options = || {
            value
                .split(|b| !is_name_byte(*b))
                .filter(|it| !it.is_empty())
        };
        if !options().any(|option| self.is_set(option)) {
            return None;
        }
        let kept: Vec<_> = options().filter(|option| !self.is_set(option)).collect();
        Some(kept.join(&b", "[..]))
    }
}

/// Whether the name is one of GitLab's internal ones.
#[must_use]
pub fn is_internal(name: &[u8]) -> bool {
    INTERNAL_PREFIXES.iter().any(|prefix| {
        name.get(..prefix.len())
            .is_some_and(|start| same(prefix, start))
    }) || INTERNAL.iter().any(|it| same(&folded(it.as_bytes()), name))
}

/// Whether GateKeepHeader may let it through.
#[must_use]
pub fn may_be_kept(name: &[u8]) -> bool {
    is_internal(name) || OVERRIDES.iter().any(|it| folds_to(it, name))
}

fn letter(name: &[u8]) -> usize {
    usize::from(name.first().copied().unwrap_or(0) & 31)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn names_that_an_upstream_folds_to_the_same_are_protected() {
        let protected = Protected::new(["X-Who"].into_iter(), std::iter::empty());
        for name in [
            "X-Forwarded-User",
            "x_forwarded_user",
            "X.Forwarded-USER",
            "X-Who",
            "x_who",
            "GITLAB_WORKHORSE_API_REQUEST",
            "Geo-Gl-Id",
            "Gitlab-Kas-Api-Request",
            "gitlab_agentk_api_request",
            "Gitlab-Mailroom-Api-Request",
            "Gitlab-Pages-Api-Request",
            "Gitlab-Shared-Secret",
            "X-HTTP-Method-Override",
            "x_http_method.override",
            "X-Http-Method",
            "X_METHOD_OVERRIDE",
        ] {
            assert!(protected.is_protected(name.as_bytes()), "{name}");
        }
        for name in [
            "X-Forwarded-For",
            "X-Forwarded-Users",
            "Host",
            "Gitlab-Feature",
            "X-Gate-Other",
            "",
        ] {
            assert!(!protected.is_protected(name.as_bytes()), "{name}");
        }
    }

    #[test]
    fn a_kept_internal_header_passes_alone() {
        let protected = Protected::new(
            std::iter::empty(),
            [
                "gitlab-kas-api-request",
                "Geo-GL-Id",
                "X_HTTP_Method_Override",
            ]
            .into_iter(),
        );
        assert!(!protected.is_protected(b"x-http-method-override"));
        assert!(protected.is_protected(b"X-Method-Override"));
        assert!(!protected.is_protected(b"Gitlab-Kas-Api-Request"));
        assert!(!protected.is_protected(b"geo_gl_id"));
        assert!(protected.is_protected(b"Gitlab-Kas-Other"));
        let both = Protected::new(
            ["Gitlab-Kas-Who"].into_iter(),
            ["gitlab_kas_who"].into_iter(),
        );
        assert!(both.is_protected(b"Gitlab-Kas-Who"));
    }

    #[test]
    fn connection_may_not_name_what_the_gate_sets() {
        let protected = Protected::new(std::iter::empty(), std::iter::empty());
        assert_eq!(
            protected.connection_without(b"keep-alive, x-forwarded-USER ,Upgrade"),
            Some(b"keep-alive, Upgrade".to_vec())
        );
        assert_eq!(
            protected.connection_without(b"X-Gate-Job"),
            Some(Vec::new())
        );
        assert_eq!(
            protected.connection_without(b",, X-Gate-Job,\t,a,,b ,"),
            Some(b"a, b".to_vec())
        );
        assert_eq!(
            protected.connection_without(b"close;content-type Content-Length,Upgrade"),
            Some(b"close, Upgrade".to_vec())
        );
        for value in [&b"keep-alive"[..], b"", b",", b"X-Gate-Job-2, X-Gate Job 2"] {
            assert_eq!(protected.connection_without(value), None);
        }
        assert_eq!(
            protected.connection_without(b"close;X-Gate-Job \"X-Gate-Issuer\"\tTE"),
            Some(b"close, TE".to_vec())
        );
    }

    /// What mod_proxy would drop: httpd's find_conn_headers and ap_get_token(…, 0), replayed.
    fn dropped(value: &[u8]) -> Vec<&[u8]> {
        let white = |b: &u8| b" \t\n\x0b\x0c\r".contains(b);
        let end = |b: &u8| white(b) || b";,".contains(b);
        let mut rest = value;
        let mut names = Vec::new();
        while !rest.is_empty() {
            while let Some((b',' | b';', after)) = rest.split_first() {
                rest = after;
            }
            let start = rest.iter().take_while(|b| white(b)).count();
            rest = rest.get(start..).unwrap();
            let mut at = 0;
            while rest.get(at).is_some_and(|b| !end(b)) {
                let quoted = rest.get(at) == Some(&b'"');
                at += 1;
                if quoted {
                    let inside = rest.get(at..).unwrap();
                    let close = inside.iter().position(|b| *b == b'"');
                    at += close.map_or(inside.len(), |it| it + 1);
                }
            }
            let (name, after) = rest.split_at(at);
            names.push(name);
            rest = after.trim_ascii_start();
            while rest.first().is_some_and(white) {
                rest = rest.get(1..).unwrap();
            }
        }
        names
    }

    proptest::proptest! {
        #[test]
        fn however_a_name_is_set_apart_nothing_that_the_gate_sets_is_dropped(
            parts in proptest::collection::vec(proptest::prelude::prop_oneof![
                proptest::prelude::Just("X-Forwarded-User".to_owned()),
                proptest::prelude::Just("sUdO".to_owned()),
                proptest::prelude::Just("close".to_owned()),
                "[,; \t\x0b\x0c\r\n\"\\\\()/:=\u{a0}-]{1,3}",
            ], 0..12)
        ) {
            let protected = Protected::new(std::iter::empty(), std::iter::empty())
                .and_set(["Sudo"].into_iter());
            let value = parts.concat();
            let kept = protected.connection_without(value.as_bytes());
            for name in dropped(kept.as_deref().unwrap_or(value.as_bytes())) {
                proptest::prop_assert!(!protected.is_set(name), "{value:?}");
            }
        }
    }

    #[test]
    fn what_the_gate_sets_in_some_places_may_be_sent_but_not_named() {
        let protected = Protected::new(std::iter::empty(), std::iter::empty())
            .and_set(["PRIVATE-TOKEN", "Sudo"].into_iter());
        assert!(!protected.is_protected(b"Private-Token"));
        assert_eq!(
            protected.connection_without(b"close, private_token, SUDO, X-Gate-Job"),
            Some(b"close".to_vec())
        );
        assert!(protected.is_protected(b"X-Gate-Job"));
    }

    #[test]
    fn a_long_name_is_protected_as_any() {
        let long = format!("X-{}", "long-".repeat(14));
        let protected = Protected::new([&*long].into_iter(), std::iter::empty());
        assert!(protected.is_protected(long.to_lowercase().as_bytes()));
        assert!(!protected.is_protected(long.get(..8).unwrap().as_bytes()));
        assert!(!protected.is_protected(long.get(..71).unwrap().as_bytes()));
    }

    #[test]
    fn gitlab_s_internal_names_are_known_however_they_are_written() {
        for name in [
            "Gitlab-Workhorse-",
            "gitlab_kas_x",
            "GITLAB.SHELL.Y",
            "Gitlab-Agent-Api-Request",
            "geo_gl_id",
        ] {
            assert!(is_internal(name.as_bytes()), "{name}");
        }
        for name in [
            "Gitlab-Workhorse",
            "Gitlab-Agent-Api-Request-2",
            "Geo-GL-",
            "Host",
            "",
        ] {
            assert!(!is_internal(name.as_bytes()), "{name}");
        }
    }
}
