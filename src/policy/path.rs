//! Where in the claims a value stands: `name`, `a.b.c` into objects, or a JSON pointer.
//!
//! Names lead into objects alone. A JSON pointer may also count into an array; what a whole array means
//! is for `condition` to say.

use crate::json::{Object, Value};
use crate::shown::{self, quoted};
use std::fmt;

/// A path to a claim (docs/directives.md), as written in the configuration.
///
/// Two paths are equal if they lead to the same place, however they are written.
#[derive(Clone, Debug)]
pub struct ClaimPath {
    text: String,
    /// Never empty, and none of them is.
    segments: Vec<String>,
    /// A JSON pointer: a number may be an array's index.
    pointer: bool,
}

/// Why a text is not a path, and what would be right. Holds the text where that helps.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PathError {
    /// No text at all.
    Empty,
    /// A dot or slash too many.
    EmptySegment(String),
    /// A `~` in a JSON pointer that is neither `~0` nor `~1` (RFC 6901 section 3).
    Escape(String),
    /// A control character.
    Control(String),
    /// A name that is a URL, which dots and slashes would tear apart.
    Url(String),
}

impl fmt::Display for PathError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str(
                "the claim's path is empty: write name, a.b.c, or a JSON pointer such as /a/b",
            ),
            Self::EmptySegment(text) => write!(
                f,
                "the claim's path {} has an empty part: write names with one dot between them (a.b), \
                 or a JSON pointer (/a/b), where names may hold dots",
                quoted(text)
            ),
            Self::Escape(text) => write!(
                f,
                "the JSON pointer {} has a ~ that escapes nothing: write ~0 for ~ and ~1 for / in a name",
                quoted(text)
            ),
            Self::Url(text) => {
                let name = text.strip_prefix('/').unwrap_or(text);
                let pointer = name.replace('~', "~0").replace('/', "~1");
                write!(
                    f,
                    "the claim's path {} holds ://, so the claim's name is a URL: write the JSON pointer /{}",
                    quoted(text),
                    shown::text(&pointer)
                )
            }
            Self::Control(text) => {
                write!(
                    f,
                    "the claim's path {} has a control character: take it out",
                    quoted(text)
                )
            }
        }
    }
}

impl std::error::Error for PathError {}

impl ClaimPath {
    /// Reads a path: a JSON pointer (RFC 6901) where it begins with `/`, else names with dots
    /// between them.
    ///
    /// # Errors
    /// See [`PathError`]. A member with the empty name can't be named.
    pub fn parse(text: &str) -> Result<Self, PathError> {
        if text.is_empty() {
            return Err(PathError::Empty);
        }
        if text.contains(char::is_control) {
            return Err(PathError::Control(text.to_owned()));
        }
        if text.contains("://") {
            return Err(PathError::Url(text.to_owned()));
        }
        let segments: Vec<String> = match text.strip_prefix('/') {
            Some(pointer) => pointer
                .split('/')
                .map(|token| unescape(token).ok_or_else(|| PathError::Escape(text.to_owned())))
                .collect::<Result<_, _>>()?,
            None => text.split('.').map(str::to_owned).collect(),
        };
        if segments.iter().any(String::is_empty) {
            return Err(PathError::EmptySegment(text.to_owned()));
        }
        Ok(Self {
            text: text.to_owned(),
            segments,
            pointer: text.starts_with('/'),
        })
    }

    /// The value at this path. Null is missing; plain values have nothing inside.
    #[must_use]
    pub fn get<'v>(&self, claims: &'v Object) -> Option<&'v Value> {
        let (first, rest) = self.segments.split_first()?;
        rest.iter()
            .try_fold(claims.get(first)?, |value, name| match value {
                Value::Object(members) => members.get(name),
                Value::Array(items) if self.pointer => items.get(index(name)?),
                _ => None,
            })
            .filter(|value| !value.is_null())
    }

    /// The names on the way, from the outside in; at least one.
    #[must_use]
    pub fn segments(&self) -> &[String] {
        &self.segments
    }

    /// Whether this path is this one top-level claim, however it is written.
    #[must_use]
    pub fn is(&self, name: &str) -> bool {
        self.segments.len() == 1 && self.leads_into(name)
    }

    /// Whether this path is that top-level claim or leads into it, however it is written.
    #[must_use]
    pub fn leads_into(&self, name: &str) -> bool {
        self.segments.first().is_some_and(|it| it == name)
    }
}

impl fmt::Display for ClaimPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl PartialEq for ClaimPath {
    fn eq(&self, other: &Self) -> bool {
        self.segments == other.segments
            && (self.pointer == other.pointer
                || self.segments.iter().skip(1).all(|it| index(it).is_none()))
    }
}

impl Eq for ClaimPath {}

/// An array's index (RFC 6901 section 4), written in the one way it can be.
fn index(token: &str) -> Option<usize> {
    let plain = token == "0" || !token.starts_with(['0', '+']);
    token.parse().ok().filter(|_| plain)
}

/// One reference token of a JSON pointer (RFC 6901 section 4), or none where a `~` stands alone.
fn unescape(token: &str) -> Option<String> {
    let mut name = String::with_capacity(token.len());
    let mut chars = token.chars();
    while let Some(char) = chars.next() {
        name.push(match char {
            '~' => match chars.next()? {
                '0' => '~',
                '1' => '/',
                _ => return None,
            },
            other => other,
        });
    }
    Some(name)
}

#[cfg(test)]
mod tests {
    #![allow(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::panic
    )]
    use super::*;
    use crate::testing::{object, tree};
    use proptest::prelude::*;
    use serde_json::json;

    fn path(text: &str) -> ClaimPath {
        ClaimPath::parse(text).unwrap()
    }

    #[test]
    fn name_is_found() {
        let claims = object(&json!({"sub": "alice"}));
        assert_eq!(path("sub").get(&claims), Some(&tree(&json!("alice"))));
        assert_eq!(path("/sub").get(&claims), Some(&tree(&json!("alice"))));
        assert_eq!(path("Sub").get(&claims), None);
    }

    #[test]
    fn dots_lead_into_objects() {
        let claims = object(&json!({"realm_access": {"roles": ["a"]}, "a.b": 1}));
        assert_eq!(
            path("realm_access.roles").get(&claims),
            Some(&tree(&json!(["a"])))
        );
        assert_eq!(path("a.b").get(&claims), None);
        assert_eq!(path("/a.b").get(&claims), Some(&tree(&json!(1))));
    }

    #[test]
    fn pointer_escapes_are_undone_once() {
        let claims = object(&json!({"https://x.com/roles": 1, "~1": 2, "a": {"m~n": 3}}));
        assert_eq!(
            path("/https:~1~1x.com~1roles").get(&claims),
            Some(&tree(&json!(1)))
        );
        assert_eq!(path("/~01").get(&claims), Some(&tree(&json!(2))));
        assert_eq!(path("/a/m~0n").get(&claims), Some(&tree(&json!(3))));
    }

    #[test]
    fn null_is_missing() {
        let claims = object(&json!({"a": null, "b": {"c": null}}));
        assert_eq!(path("a").get(&claims), None);
        assert_eq!(path("b.c").get(&claims), None);
        assert_eq!(path("a.b").get(&claims), None);
    }

    #[test]
    fn names_lead_neither_into_arrays_nor_into_plain_values() {
        let claims = object(&json!({"a": ["x", {"b": 1}], "s": "x"}));
        for text in ["a.0", "a.1.b", "a.b", "s.0", "a.-", "/s/0"] {
            assert_eq!(path(text).get(&claims), None, "{text}");
        }
    }

    #[test]
    fn a_pointer_counts_into_arrays() {
        let claims = object(&json!({"a": ["x", {"b": 1}], "o": {"0": 2}}));
        assert_eq!(path("/a/0").get(&claims), Some(&tree(&json!("x"))));
        assert_eq!(path("/a/1/b").get(&claims), Some(&tree(&json!(1))));
        assert_eq!(path("/o/0").get(&claims), Some(&tree(&json!(2))));
        for text in ["/a/2", "/a/00", "/a/01", "/a/+1", "/a/-", "/a/-1", "/a/0/0"] {
            assert_eq!(path(text).get(&claims), None, "{text}");
        }
        assert_ne!(path("a.0"), path("/a/0"));
    }

    #[test]
    fn bad_paths_are_refused_and_told_what_would_be_right() {
        use PathError::{Control, Empty, EmptySegment, Escape};
        assert_eq!(ClaimPath::parse(""), Err(Empty));
        for text in [".", "a.", ".a", "a..b", "/", "//", "/a/", "//a"] {
            assert_eq!(
                ClaimPath::parse(text),
                Err(EmptySegment(text.into())),
                "{text}"
            );
        }
        for text in ["/~", "/a~", "/~2", "/a~/b", "/~~0"] {
            assert_eq!(ClaimPath::parse(text), Err(Escape(text.into())), "{text}");
        }
        for text in ["a\n", "\0", "/a\u{7f}", "a\u{85}b"] {
            assert_eq!(
                ClaimPath::parse(text),
                Err(Control(text.into())),
                "{text:?}"
            );
        }
        assert!(
            Escape("/~2".into())
                .to_string()
                .contains("write ~0 for ~ and ~1 for /")
        );
        assert!(!Control("a\nb".into()).to_string().contains('\n'));
    }

    #[test]
    fn a_url_is_a_name_and_the_pointer_to_it_is_shown() {
        for (text, pointer) in [
            ("https://x.example/roles", "/https:~1~1x.example~1roles"),
            ("/https://x.example/roles", "/https:~1~1x.example~1roles"),
            ("http://a/~b", "/http:~1~1a~1~0b"),
        ] {
            let wrong = ClaimPath::parse(text).unwrap_err();
            assert_eq!(wrong, PathError::Url(text.into()));
            assert!(
                wrong
                    .to_string()
                    .ends_with(&format!("write the JSON pointer {pointer}")),
                "{wrong}"
            );
            assert!(ClaimPath::parse(pointer).is_ok());
        }
        assert!(ClaimPath::parse("urn:x:roles").is_ok());
    }

    #[test]
    fn tilde_outside_a_pointer_is_a_plain_character() {
        assert_eq!(path("a~2").segments(), ["a~2"]);
    }

    #[test]
    fn two_ways_to_write_one_path_are_equal() {
        assert_eq!(path("a.b"), path("/a/b"));
        assert_ne!(path("a.b"), path("/a.b"));
        assert!(path("/project_path").is("project_path"));
        assert!(path("/~0").is("~"));
        assert!(!path("project_path.x").is("project_path"));
        assert!(path("/groups/0").leads_into("groups") && path("groups").leads_into("groups"));
        assert!(!path("x.groups").leads_into("groups"));
    }

    #[test]
    fn display_is_the_text_as_written() {
        for text in ["a", "a.b", "/a~1b/c"] {
            assert_eq!(path(text).to_string(), text);
        }
    }

    proptest! {
        #[test]
        fn any_text_never_panics(text in any::<String>(), pointer in "/[~/01a.]{0,12}") {
            for text in [text, pointer] {
                if let Ok(path) = ClaimPath::parse(&text) {
                    prop_assert_eq!(path.to_string(), text);
                    prop_assert!(!path.segments().is_empty());
                    prop_assert!(path.get(&Object::default()).is_none());
                }
            }
        }

        #[test]
        fn an_escaped_pointer_leads_to_its_names(names in prop::collection::vec("[a-c~/.01é ]{1,6}", 1..5)) {
            let text: String = names.iter().map(|name| format!("/{}", name.replace('~', "~0").replace('/', "~1"))).collect();
            let path = path(&text);
            prop_assert_eq!(path.segments(), names.as_slice());
            let value = names.iter().rev().fold(json!("here"), |inside, name| json!({name.as_str(): inside}));
            let claims = object(&value);
            prop_assert_eq!(path.get(&claims), Some(&tree(&json!("here"))));
            // RFC 6901, as serde_json reads it.
            prop_assert_eq!(value.pointer(&text), Some(&json!("here")));
        }
    }
}
