//! Looks through the parts of a multipart body for one that is named `sudo`, as widely as Rack and
//! Go's mime/multipart (Workhorse) read them. Of a part's content nothing is kept or read.

use super::body::NAME;
use crate::token::query::unescape;

/// The longest head of a part.
const HEAD: usize = 8192;

/// The parts of a multipart body: what stands between a line that begins with the boundary and an
/// empty line may not hold the word, whatever it stands for. Where readers differ (white space
/// before a boundary, an empty first line, lines that end without CR), the longer head is looked at.
pub struct Parts {
    /// `--` and the boundary.
    boundary: Vec<u8>,
    line: Line,
    /// The head so far, where one is being read.
    head: Option<Vec<u8>>,
}

/// What is known of the line that is being read.
enum Line {
    /// So many bytes of the boundary have come, behind white space.
    Begins(usize),
    Boundary,
    Other,
}

impl Parts {
    /// `None`: no boundary, or one that two readers could understand differently.
    #[must_use]
    pub fn new(content_type: &[u8]) -> Option<Self> {
        let lower = content_type.to_ascii_lowercase();
        let mut found = memchr::memmem::find_iter(&lower, b"boundary");
        let (at, None) = (found.next()?, found.next()) else {
            return None;
        };
        let value = content_type.get(at + b"boundary".len()..)?;
        let value = value.strip_prefix(b"=")?;
        let value = value.strip_prefix(b"\"").unwrap_or(value);
        let end = value.iter().position(|b| matches!(b, b'"' | b';'));
        let value = value.get(..end.unwrap_or(value.len()))?;
        let plain = |b: &u8| b.is_ascii_alphanumeric() || b"'()+_-./:=?".contains(b);
        let fit = (1..=70).contains(&value.len()) && value.iter().all(plain);
        fit.then(|| Self {
            boundary: [b"--", value].concat(),
            line: Line::Begins(0),
            head: None,
        })
    }

    /// Whether this next byte may go on.
    #[must_use]
    pub fn passes(&mut self, byte: u8) -> bool {
        if let Some(head) = &mut self.head {
            head.push(byte);
            if head.len() > HEAD {
                return false;
            }
        }
        let ended = self
            .head
            .as_ref()
            .is_some_and(|it| it.ends_with(b"\r\n\r\n"));
        if ended && !self.head_passes() {
            return false;
        }
        if ended {
            self.head = None;
        }
        match self.line {
            Line::Boundary if byte == b'\n' => {
                let good = self.head_passes();
                self.head = Some(Vec::new());
                self.line = Line::Begins(0);
                return good;
            }
            _ if byte == b'\n' => self.line = Line::Begins(0),
            Line::Begins(0) if byte.is_ascii_whitespace() || matches!(byte, 0 | 0x0b) => {}
            Line::Begins(at) => {
                self.line = match self.boundary.get(at) {
                    Some(wanted) if *wanted == byte && at + 1 == self.boundary.len() => {
                        Line::Boundary
                    }
                    Some(wanted) if *wanted == byte => Line::Begins(at + 1),
                    _ => Line::Other,
                }
            }
            Line::Boundary | Line::Other => {}
        }
        true
    }

    /// Whether the body may end here.
    #[must_use]
    pub fn head_passes(&self) -> bool {
        self.head.as_ref().is_none_or(|head| {
            let lower: Vec<u8> = head
                .iter()
                .filter(|b| **b != b'\\')
                .map(u8::to_ascii_lowercase)
                .collect();
            !holds_word(&lower) && !holds_word(&unescape(&lower)) && !extended_name(&lower)
        })
    }
}

/// `name*=` and `name*0=` (RFC 2231), which hide what they say; a file may be called so.
fn extended_name(head: &[u8]) -> bool {
    memchr::memmem::find_iter(head, b"name*").any(|at| {
        !head
            .get(..at)
            .is_some_and(|before| before.ends_with(b"file"))
    })
}

fn holds_word(text: &[u8]) -> bool {
    let wordy = |b: &u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.');
    memchr::memmem::find_iter(text, NAME).any(|at| {
        !text.get(..at).and_then(<[u8]>::last).is_some_and(wordy)
            && !text.get(at + NAME.len()).is_some_and(wordy)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Byte by byte; no boundary: nothing passes.
    fn passes(kind: &str, text: &str) -> bool {
        Parts::new(kind.as_bytes())
            .is_some_and(|mut it| text.bytes().all(|b| it.passes(b)) && it.head_passes())
    }

    const PARTS: &str = "multipart/form-data; boundary=x";

    fn part(header: &str) -> String {
        format!("--x\r\n{header}\r\n\r\nvalue\r\n--x--\r\n")
    }

    #[test]
    fn no_part_may_be_named_so() {
        for header in [
            r#"Content-Disposition: form-data; name="sudo""#,
            "content-disposition: form-data; name=sudo",
            "Content-Disposition: form-data;\r\n name=\"sudo\"",
            r#"Content-Disposition: form-data; name="s\udo""#,
            "Content-ID: sudo",
            r#"Content-Disposition: form-data; name="sudo[]""#,
            "Content-Disposition: form-data; name*=utf-8''s%75do",
            r#"Content-Disposition: form-data; name*0="su"; name*1="do""#,
            "Content-Disposition: form-data; filename*=utf-8''s%75do",
        ] {
            assert!(!passes(PARTS, &part(header)), "{header}");
        }
        let file = part(r#"Content-Disposition: form-data; name="file"; filename="sudo.txt""#);
        assert!(passes(PARTS, &file));
        for content in [
            "Content-ID: sudo\r\n\r\nname=sudo",
            "-----BEGIN\nsudo make\n--\nsudo",
            &"x".repeat(9000),
        ] {
            assert!(passes(PARTS, &file.replace("value", content)), "{content}");
        }
        let named = r#"Content-Disposition: form-data; name="f"; filename*=UTF-8''na%20me"#;
        assert!(passes(PARTS, &part(named)));
        assert!(!passes(PARTS, &format!("--x\r\nA: {}", "x".repeat(9000))));
    }

    #[test]
    fn no_head_hides_behind_what_readers_see_differently() {
        let name = r#"Content-Disposition: form-data; name="sudo""#;
        for text in [
            part(name).replace('\r', ""),
            format!(" \t--x\r\n{name}\r\n\r\nroot"),
            format!("{}--x\r\n{name}\r\n\r\nroot", " ".repeat(9000)),
            format!("--x\r\n\r\n{name}\r\n\r\nroot"),
            format!("--x\r\nA: b\n\n{name}\r\n\r\nroot"),
            format!("--x\r\nA: b\r\n \r\n{name}\r\n\r\nroot"),
            format!("--xyz\r\nA\r\n--x\r\n\r\n{name}\r\n\r\nroot"),
            format!("--x\r\n{name}"),
        ] {
            assert!(!passes(PARTS, &text), "{text}");
        }
    }

    #[test]
    fn a_boundary_is_one_or_the_body_is_refused() {
        for kind in [
            "multipart/form-data",
            "multipart/form-data; boundary=",
            "multipart/form-data; boundary=a; boundary=x",
            "multipart/form-data; xboundary=a; boundary=x",
            "multipart/form-data; boundary*=utf-8''x",
            "multipart/form-data; boundary= x",
            r"multipart/form-data; boundary=a\x",
        ] {
            assert!(!passes(kind, &part("A: b")), "{kind}");
        }
        let quoted = r#"Multipart/Form-Data; charset=utf-8; Boundary="x""#;
        assert!(passes(quoted, &part("A: b")));
        assert!(!passes(quoted, &part("Content-ID: sudo")));
    }
}
