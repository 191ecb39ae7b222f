//! What came from outside, as a log line may show it: on one line, escaped where a terminal could be fooled, cut to
//! 120 characters. The audit log has its own (`audit::text`): it keeps all of it, as JSON.

use crate::json::Value;
use std::fmt::{self, Write as _};

/// The most characters that are shown.
const SHOWN: usize = 120;

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
    // An error only says that the line is full.
    let _ = line.write_fmt(shown);
    line.text
}

/// Takes text until it is full.
#[derive(Default)]
struct Line {
    text: String,
    length: usize,
}

impl fmt::Write for Line {
    fn write_str(&mut self, piece: &str) -> fmt::Result {
        for char in piece.chars() {
            // Quotes and backslashes are a quoting's own and stay.
            let escaped = match char {
                '"' | '\'' | '\\' => None,
                _ => Some(char.escape_debug()),
            };
            self.length += escaped.as_ref().map_or(1, ExactSizeIterator::len);
            if self.length > SHOWN {
                self.text.push_str("...");
                return Err(fmt::Error);
            }
            match escaped {
                Some(escaped) => self.text.extend(escaped),
                None => self.text.push(char),
            }
        }
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
        assert_eq!(text(&"é".repeat(121)), format!("{}...", "é".repeat(120)));
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
