//! What came from outside, as a log line shows it: on one line, escaped where a terminal could be fooled. A text of
//! more than 120 characters keeps its head and its tail, so that padding can't hide what was asked. The audit log has
//! its own limits (`audit::text`), and escapes as JSON does.

use crate::json::Value;
use std::collections::VecDeque;
use std::fmt::{self, Write as _};

/// The most characters that are shown.
const SHOWN: usize = 120;
/// How many of them are the head.
const HEAD: usize = SHOWN / 2;

/// A value: its JSON text.
#[must_use]
pub fn value(value: &Value) -> String {
    line(format_args!("{value}"))
}

/// A text in quotes.
#[must_use]
pub fn quoted(text: &str) -> String {
    line(format_args!("{text:?}"))
}

/// A text as it is.
#[must_use]
pub fn text(text: &str) -> String {
    line(format_args!("{text}"))
}

fn line(shown: fmt::Arguments<'_>) -> String {
    let mut line = Line::default();
    // `Line` takes everything.
    let _ = line.write_fmt(shown);
    line.finish()
}

/// Keeps the head and the tail of what is written to it.
#[derive(Default)]
struct Line {
    head: String,
    head_length: usize,
    /// The last characters after the head, each with its escape.
    tail: VecDeque<Shown>,
    tail_length: usize,
    is_cut: bool,
}

/// A character as it is shown.
enum Shown {
    Plain(char),
    Escaped(std::char::EscapeDebug),
}

impl Shown {
    fn new(char: char) -> Self {
        match char {
            // Quotes and backslashes are a quoting's own and stay.
            '"' | '\'' | '\\' => Self::Plain(char),
            _ => Self::Escaped(char.escape_debug()),
        }
    }

    fn length(&self) -> usize {
        match self {
            Self::Plain(_) => 1,
            Self::Escaped(escaped) => escaped.len(),
        }
    }

    fn push_to(self, text: &mut String) {
        match self {
            Self::Plain(char) => text.push(char),
            Self::Escaped(escaped) => text.extend(escaped),
        }
    }
}

impl Line {
    fn push(&mut self, shown: Shown) {
        let length = shown.length();
        if self.tail.is_empty() && self.head_length + length <= HEAD {
            self.head_length += length;
            shown.push_to(&mut self.head);
            return;
        }
        self.tail_length += length;
        self.tail.push_back(shown);
        while self.head_length + self.tail_length > SHOWN
            && let Some(first) = self.tail.pop_front()
        {
            self.tail_length -= first.length();
            self.is_cut = true;
        }
    }

    fn finish(self) -> String {
        let mut text = self.head;
        if self.is_cut {
            text.push_str("...");
        }
        for shown in self.tail {
            shown.push_to(&mut text);
        }
        text
    }
}

impl fmt::Write for Line {
    fn write_str(&mut self, piece: &str) -> fmt::Result {
        piece.chars().for_each(|char| self.push(Shown::new(char)));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::tree;
    use proptest::prelude::*;
    use serde_json::json;

    #[test]
    fn what_is_shown_is_escaped_and_cut() {
        let shown = |json| value(&tree(&json));
        assert_eq!(shown(json!(["a\"b", 1, null])), r#"["a\"b",1,null]"#);
        assert_eq!(shown(json!("a\n\u{202e}\u{7f}")), r#""a\n\u{202e}\u{7f}""#);
        assert_eq!(shown(json!("x".repeat(119))).len(), 123);
        assert_eq!(shown(json!("x".repeat(118))).len(), 120);
        assert_eq!(quoted("a\"\r\u{1b}"), r#""a\"\r\u{1b}""#);
        assert_eq!(quoted(&"é".repeat(200)).chars().count(), 123);
        assert_eq!(text("a\"\r\u{1b}\u{202e}"), r#"a"\r\u{1b}\u{202e}"#);
        assert_eq!(text(&"é".repeat(120)), "é".repeat(120));
        let half = "é".repeat(60);
        assert_eq!(text(&"é".repeat(121)), format!("{half}...{half}"));
        let padded = quoted(&format!("/api/{}42", "0".repeat(500)));
        assert!(padded.starts_with("\"/api/000") && padded.ends_with("00042\""));
    }

    proptest! {
        #[test]
        fn it_is_one_short_printable_line(any in any::<String>()) {
            for line in [value(&tree(&any.as_str().into())), quoted(&any), text(&any)] {
                prop_assert!(line.chars().count() <= SHOWN + 3);
                prop_assert!(!line.chars().any(char::is_control));
            }
        }
    }
}
