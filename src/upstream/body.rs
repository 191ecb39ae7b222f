//! Looks through a body for the parameter `sudo`, which GitLab's API prefers to the header, while
//! it streams by. Reads no more of a body's grammar than where a parameter's name may stand, and
//! reads that as widely as Rack and Grape do. Nothing is kept of the body.

use super::multipart::Parts;
use Grammar::{Form, Hidden, Json, Multipart, Opaque};

/// The name that only the gate may say.
pub(super) const NAME: &[u8] = b"sudo";

/// How GitLab would read the body.
enum Grammar {
    Form(FormKey),
    Json(JsonKeys),
    Multipart(Parts),
    /// No type: Grape takes it for JSON, and Rack that of a POST for a form besides.
    Untyped(Untyped, Option<FormKey>),
    Opaque,
    /// Two readers could take it for two things.
    Hidden,
}

/// One body on its way.
pub struct Body(Grammar);

impl Body {
    /// A body of that type. Only the media type says how it is read: `multipart/` in a parameter of
    /// `application/json` changes nothing for Rack. `coding` is its Content-Encoding: GitLab unpacks some bodies
    /// before it reads them, nothing here does.
    #[must_use]
    pub fn new(content_type: Option<&[u8]>, coding: Option<&[u8]>, post: bool) -> Self {
        let kind = content_type.unwrap_or_default().to_ascii_lowercase();
        let end = kind.iter().position(|b| matches!(b, b';' | b','));
        let media = kind.get(..end.unwrap_or(kind.len())).unwrap_or_default();
        let media = media.trim_ascii();
        let is = |word: &[u8]| media.windows(word.len()).any(|it| it == word);
        let two = end.is_some_and(|at| kind.get(at) == Some(&b','));
        let packed = coding.is_some_and(|it| !it.trim_ascii().eq_ignore_ascii_case(b"identity"));
        let read = media.is_empty() || is(b"multipart/") || is(b"json") || is(b"form");
        Self(if two || (packed && read) {
            Hidden
        } else if media.is_empty() {
            Grammar::Untyped(Untyped::default(), post.then(FormKey::default))
        } else if is(b"multipart/") {
            Parts::new(content_type.unwrap_or_default()).map_or(Hidden, Multipart)
        } else if is(b"json") {
            Json(JsonKeys::default())
        } else if is(b"form") {
            Form(FormKey::default())
        } else {
            Opaque
        })
    }

    /// Whether these next bytes may go on; `false`: they name `sudo`, or hide what they name.
    #[must_use]
    pub fn passes(&mut self, bytes: &[u8]) -> bool {
        match &mut self.0 {
            Form(key) => bytes.iter().all(|b| key.passes(*b)),
            Json(keys) => bytes.iter().all(|b| keys.passes(*b)),
            Multipart(parts) => bytes.iter().all(|b| parts.passes(*b)),
            Grammar::Untyped(untyped, form) => bytes
                .iter()
                .all(|b| untyped.passes(*b) && form.as_mut().is_none_or(|it| it.passes(*b))),
            Opaque => true,
            Hidden => bytes.is_empty(),
        }
    }

    /// Whether the body may end here.
    #[must_use]
    pub fn may_end(&mut self) -> bool {
        match &mut self.0 {
            Form(key) | Grammar::Untyped(_, Some(key)) => key.passes(b'&'),
            Multipart(parts) => parts.head_passes(),
            Json(_) | Grammar::Untyped(_, None) | Opaque | Hidden => true,
        }
    }
}

/// A body without a type: whether it is JSON shows behind white space, a byte order mark and
/// comments, which some readers take. They do not agree on where a line ends.
#[derive(Default)]
enum Untyped {
    #[default]
    Begins,
    Slash,
    LineComment {
        returned: bool,
    },
    Comment {
        star: bool,
    },
    Json(JsonKeys),
    Other,
}

impl Untyped {
    fn passes(&mut self, byte: u8) -> bool {
        *self = match (&mut *self, byte) {
            (Self::Json(keys), _) => return keys.passes(byte),
            (Self::Other, _) => return true,
            (Self::Begins, b'/') => Self::Slash,
            (Self::Begins, b'{' | b'[') => {
                let mut keys = JsonKeys::default();
                let _ = keys.passes(byte);
                Self::Json(keys)
            }
            (Self::Begins, 0xef | 0xbb | 0xbf) => return true,
            (Self::Begins, _) if byte.is_ascii_whitespace() => return true,
            (Self::Slash, b'/') => Self::LineComment { returned: false },
            (Self::Slash, b'*') | (Self::Comment { .. }, b'*') => Self::Comment {
                star: matches!(self, Self::Comment { .. }),
            },
            (Self::Comment { star: true }, b'/') | (Self::LineComment { .. }, b'\n') => {
                Self::Begins
            }
            (Self::LineComment { returned: true }, _)
            | (Self::LineComment { .. }, b'\0' | b'\x0c') => return false,
            (Self::LineComment { returned }, _) => {
                *returned = byte == b'\r';
                return true;
            }
            (Self::Comment { star }, _) => {
                *star = false;
                return true;
            }
            (Self::Begins | Self::Slash, _) => Self::Other,
        };
        true
    }
}

/// The name of a form's parameter: what stands between or before brackets, unescaped.
#[derive(Default)]
struct FormKey {
    in_value: bool,
    /// What has come of `%XX`.
    escape: Option<Option<u8>>,
    started: bool,
    other: bool,
    matched: usize,
}

impl FormKey {
    fn passes(&mut self, byte: u8) -> bool {
        match (byte, self.escape.take()) {
            (b'&' | b';', _) => {
                let named = !self.in_value && !self.other && self.matched == NAME.len();
                *self = Self::default();
                !named
            }
            _ if self.in_value => true,
            (b'=', _) => {
                self.in_value = true;
                self.other || self.matched != NAME.len()
            }
            (b'%', _) => {
                self.escape = Some(None);
                true
            }
            (_, Some(None)) => {
                self.escape = Some(Some(byte));
                true
            }
            (_, Some(Some(high))) => {
                let digit = |b: u8| char::from(b).to_digit(16);
                match (digit(high), digit(byte)) {
                    (Some(high), Some(low)) => self.key((high * 16 + low) as u8),
                    _ => {
                        self.other = true;
                        true
                    }
                }
            }
            (b'+', None) => self.key(b' '),
            (_, None) => self.key(byte),
        }
    }

    fn key(&mut self, byte: u8) -> bool {
        let edge = matches!(byte, b'[' | b']') || byte.is_ascii_whitespace();
        if edge && !self.started {
            return true;
        }
        self.started = true;
        if self.other {
            return true;
        }
        match NAME.get(self.matched) {
            Some(wanted) if byte.eq_ignore_ascii_case(wanted) => self.matched += 1,
            None if edge => return false,
            _ => self.other = true,
        }
        true
    }
}

/// The names of the outermost object of a JSON text. Outside of strings only what JSON itself knows
/// may stand: a comment could hide a name.
#[derive(Default)]
struct JsonKeys {
    depth: usize,
    string: bool,
    /// In a string: `\` came, and so many digits of `\uXXXX`.
    escape: Option<usize>,
    code: u32,
    /// The last string, as far as it matters.
    text: Vec<u8>,
}

impl JsonKeys {
    fn passes(&mut self, byte: u8) -> bool {
        if self.string {
            self.in_string(byte);
            return true;
        }
        match byte {
            b'"' => {
                self.string = true;
                self.text.clear();
            }
            b'{' | b'[' => self.depth += 1,
            b'}' | b']' => self.depth = self.depth.saturating_sub(1),
            b':' => return !(self.depth <= 1 && self.text.eq_ignore_ascii_case(NAME)),
            b',' | b'+' | b'-' | b'.' | b'0'..=b'9' | b' ' | b'\t' | b'\r' | b'\n' => {}
            _ => return b"truefalsenullE".contains(&byte),
        }
        true
    }

    fn in_string(&mut self, byte: u8) {
        match self.escape {
            None if byte == b'\\' => self.escape = Some(0),
            None if byte == b'"' => self.string = false,
            None => self.push(byte),
            Some(0) if byte == b'u' => (self.escape, self.code) = (Some(1), 0),
            Some(0) => {
                self.escape = None;
                self.push(byte);
            }
            Some(digits) => {
                self.code = self.code * 16 + char::from(byte).to_digit(16).unwrap_or(0);
                self.escape = (digits < 4).then_some(digits + 1);
                if digits == 4 {
                    self.push(u8::try_from(self.code).unwrap_or(0));
                }
            }
        }
    }

    fn push(&mut self, byte: u8) {
        if self.text.len() <= NAME.len() {
            self.text.push(byte);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// In one piece, and byte by byte.
    fn passes(kind: Option<&str>, text: &str) -> bool {
        passes_as(true, kind, text)
    }

    fn passes_as(post: bool, kind: Option<&str>, text: &str) -> bool {
        let mut whole = Body::new(kind.map(str::as_bytes), None, post);
        let mut pieces = Body::new(kind.map(str::as_bytes), None, post);
        let one = whole.passes(text.as_bytes()) && whole.may_end();
        let many = text.bytes().all(|b| pieces.passes(&[b])) && pieces.may_end();
        assert_eq!(one, many, "{text}");
        one
    }

    #[test]
    fn what_is_packed_is_not_seen_through() {
        for kind in [
            None,
            Some("application/json"),
            Some("multipart/form-data; boundary=x"),
            Some("application/x-www-form-urlencoded"),
            Some("application/x-git-upload-pack-request"),
        ] {
            for (coding, plain) in [
                (" Identity", true),
                ("gzip", false),
                ("identity, br", false),
                ("", false),
            ] {
                let mut body = Body::new(kind.map(str::as_bytes), Some(coding.as_bytes()), true);
                let opaque = kind.is_some_and(|it| it.contains("git"));
                assert_eq!(
                    body.passes(b"\x1f\x8b"),
                    opaque || (plain && kind != Some("application/json")),
                    "{kind:?} {coding}"
                );
            }
        }
    }

    #[test]
    fn a_form_may_not_name_it() {
        let form = Some("application/x-www-form-urlencoded; charset=utf-8");
        for text in [
            "sudo=root",
            "a=1&sudo=root",
            "a=1;sudo=1",
            "%73udo=1",
            "s%75d%6F=1",
            "[sudo]=1",
            "%5B%5Bsudo%5D=1",
            "sudo[]=1",
            "sudo%5Ba%5D=1",
            "+sudo=1",
            "SUDO=1",
            "a=b&sudo",
            "sudo",
        ] {
            assert!(!passes(form, text), "{text}");
            assert!(!passes(None, text), "{text}");
        }
        for text in [
            "",
            "a=sudo",
            "su=do",
            "name=1",
            "a=1&b=sudo=2",
            "sudoer=1",
            "a[sudo]=1",
            "pseudo=1",
            "title=sudo: not found",
            "s=1",
            "%7=sudo",
        ] {
            assert!(passes(form, text), "{text}");
        }
    }

    #[test]
    fn a_json_object_may_not_name_it() {
        let json = Some("Application/JSON");
        for text in [
            r#"{"sudo":"root"}"#,
            r#"{"a":{"b":[1]}, "sudo" : 1}"#,
            r#"{"\u0073udo":1}"#,
            r#"{"s\u0075d\u006F":1}"#,
            r#"{"a":"x\"","sudo":1}"#,
            r#"{"a":"\\","sudo":1}"#,
            r#"{/*"*/"a":1}"#,
            "{'sudo':1}",
            "{sudo:1}",
        ] {
            assert!(!passes(json, text), "{text}");
        }
        for text in [
            r#"{"a":"sudo"}"#,
            r#"{"a":{"sudo":1}}"#,
            r#"{"content":"sudo: false\n\"sudo\": x"}"#,
            r#"{"sudoer":1,"t":true,"n":null,"f":[false,-1.5E+3]}"#,
            r#"["sudo"]"#,
            "",
        ] {
            assert!(passes(json, text), "{text}");
        }
    }

    #[test]
    fn the_media_type_alone_says_how_it_is_read() {
        let json = r#"{"sudo":"root"}"#;
        for kind in [
            "application/json; x=multipart/form-data",
            "application/json;form",
            "application/json, multipart/form-data; boundary=x",
            " application/json",
            "text/plain, application/json",
        ] {
            assert!(!passes(Some(kind), json), "{kind}");
        }
        let form = Some("application/x-www-form-urlencoded; charset=json");
        assert!(!passes(form, "sudo=root"));
    }

    #[test]
    fn without_a_type_all_may_be_json_and_a_post_is_a_form_too() {
        for text in [
            r#"{"sudo":1}"#,
            " {\"a\":1,\"s\\u0075do\":1}",
            "\u{feff}{\"sudo\":1}",
            "/* { ** */ // x\n{\"sudo\":1}",
            "{/**/\"sudo\":1}",
            "// x\r\n{\"sudo\":1}",
            "//\rz\n{\"sudo\":1}",
            "//\r{\"sudo\":1}",
            "//\x0c{\"sudo\":1}",
            "//\0{\"sudo\":1}",
        ] {
            for post in [false, true] {
                assert!(!passes_as(post, None, text), "{text}");
                assert!(!passes_as(post, Some(""), text), "{text}");
            }
        }
        for text in [
            r#"{"a":1,"b":{"c":"d"}}"#,
            "#!/bin/sh\nx; sudo make&sudo=1",
            "/* sudo */ function() { sudo: 1 }",
            "// x\nlet sudo = { sudo: 1 }",
            "// x\r\n// y\r\nlet sudo = { sudo: 1 }\r",
            "// x\r",
            "/x",
            "",
        ] {
            assert!(passes_as(false, None, text), "{text}");
        }
        assert!(!passes_as(true, None, "a=1; sudo=1"));
    }

    #[test]
    fn other_bodies_are_not_looked_at() {
        assert!(passes(Some("application/octet-stream"), "sudo=root"));
        assert!(!passes(Some(""), "sudo=root"));
    }
}
