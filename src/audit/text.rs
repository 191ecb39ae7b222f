//! Building JSON from bytes that come from outside: strings, numbers and times, appended to what is there. The
//! log's every line goes through here, so what is usual is quick. Which members a line has is [`super::line`]'s.

/// The most bytes of one text from outside. A longer one keeps this many at its head and at its tail,
/// so that padding can't hide what was asked.
const LONGEST: usize = 2 * KEPT;
const KEPT: usize = 1024;

/// JSON in the making: always whole UTF-8.
#[derive(Clone, Debug, Default)]
pub struct Text(Vec<u8>);

impl Text {
    /// Room for so many bytes.
    #[must_use]
    pub fn with_capacity(bytes: usize) -> Self {
        Self(Vec::with_capacity(bytes))
    }

    /// What was built.
    #[must_use]
    pub fn into_bytes(self) -> Vec<u8> {
        self.0
    }

    /// JSON of our own, as it is.
    pub fn push(&mut self, json: &str) {
        self.0.extend_from_slice(json.as_bytes());
    }

    /// JSON of another [`Text`].
    pub fn join(&mut self, other: &[u8]) {
        self.0.extend_from_slice(other);
    }

    /// `name` (with its comma, quotes and colon) and the text, where there is one.
    pub fn member(&mut self, name: &str, text: Option<&[u8]>) {
        if let Some(text) = text {
            self.push(name);
            self.quote(text);
        }
    }

    /// `name`, and the items as an array.
    pub fn list(&mut self, name: &str, items: &[String]) {
        self.push(name);
        for (at, item) in items.iter().enumerate() {
            self.push(if at == 0 { "[" } else { "," });
            self.quote(item.as_bytes());
        }
        self.push(if items.is_empty() { "[]" } else { "]" });
    }

    /// A string of any bytes; what is not UTF-8 becomes U+FFFD. A long text keeps its head and its tail.
    pub fn quote(&mut self, text: &[u8]) {
        self.0.push(b'"');
        match ends(text) {
            None => self.plain_or_escaped(text),
            Some((head, tail)) => {
                self.plain_or_escaped(head);
                self.push("…");
                self.plain_or_escaped(tail);
            }
        }
        self.0.push(b'"');
    }

    fn plain_or_escaped(&mut self, text: &[u8]) {
        if text.iter().fold(true, |all, b| all & is_plain(*b)) {
            self.0.extend_from_slice(text);
        } else {
            self.escape(text);
        }
    }

    fn escape(&mut self, text: &[u8]) {
        for chunk in text.utf8_chunks() {
            for c in chunk.valid().chars() {
                match c {
                    '"' => self.push("\\\""),
                    '\\' => self.push("\\\\"),
                    c if c.is_control() || matches!(c, '\u{2028}' | '\u{2029}') => {
                        self.push(&format!("\\u{:04x}", u32::from(c)));
                    }
                    c => self.push(c.encode_utf8(&mut [0; 4])),
                }
            }
            if !chunk.invalid().is_empty() {
                self.push("\u{fffd}");
            }
        }
    }

    /// Decimal.
    pub fn number(&mut self, value: u64) {
        let mut digits = [0; 20];
        let mut rest = value;
        let mut used = 0;
        for digit in digits.iter_mut().rev() {
            *digit = b'0' + (rest % 10) as u8;
            rest /= 10;
            used += 1;
            if rest == 0 {
                break;
            }
        }
        self.join(digits.get(20 - used..).unwrap_or_default());
    }

    /// A string: RFC 3339 in UTC, with microseconds, of microseconds since the epoch. To the year 9999.
    pub fn time(&mut self, micros: u64) {
        let seconds = micros / 1_000_000;
        let (days, second) = (seconds / 86_400, seconds % 86_400);
        // The civil calendar from days since 1970, in years that begin in March.
        let shifted = days + 719_468;
        let (era, of_era) = (shifted / 146_097, shifted % 146_097);
        let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
        let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let march_month = (5 * of_year + 2) / 153;
        let day = of_year - (153 * march_month + 2) / 5 + 1;
        let month = if march_month < 10 {
            march_month + 3
        } else {
            march_month - 9
        };
        let year = year_of_era + era * 400 + u64::from(month <= 2);
        let mut text = *b"\"0000-00-00T00:00:00.000000Z\"";
        let micro = micros % 1_000_000;
        for (at, value) in [
            (1, year / 100),
            (3, year),
            (6, month),
            (9, day),
            (12, second / 3600),
            (15, second / 60 % 60),
            (18, second % 60),
            (21, micro / 10_000),
            (23, micro / 100),
            (25, micro),
        ] {
            if let Some([tens, ones]) = text.get_mut(at..at + 2) {
                *tens = b'0' + (value / 10 % 10) as u8;
                *ones = b'0' + (value % 10) as u8;
            }
        }
        self.join(&text);
    }
}

/// The head and the tail of a text that is too long, cut between characters.
fn ends(text: &[u8]) -> Option<(&[u8], &[u8])> {
    if text.len() <= LONGEST {
        return None;
    }
    // A character of UTF-8 has at most three bytes after its first.
    let inside = |at: usize| text.get(at).is_some_and(|b| b & 0xc0 == 0x80);
    let head = (KEPT - 3..=KEPT)
        .rev()
        .find(|at| !inside(*at))
        .unwrap_or(KEPT);
    let from = text.len() - KEPT;
    let tail = (from..=from + 3).find(|at| !inside(*at)).unwrap_or(from);
    Some((text.get(..head)?, text.get(tail..)?))
}

/// Whether it stands in a JSON string as it is. No branch: many are looked at together.
const fn is_plain(byte: u8) -> bool {
    (byte >= b' ') & (byte < 0x7f) & (byte != b'"') & (byte != b'\\')
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]
    use super::*;

    fn text(make: impl FnOnce(&mut Text)) -> String {
        let mut text = Text::default();
        make(&mut text);
        String::from_utf8(text.into_bytes()).unwrap()
    }

    #[test]
    fn times_are_written_as_the_calendar_has_them() {
        for (seconds, wanted) in [
            (0, "\"1970-01-01T00:00:00.000000Z\""),
            (951_782_400, "\"2000-02-29T00:00:00.000000Z\""),
            (1_767_225_599, "\"2025-12-31T23:59:59.000000Z\""),
            (4_107_542_400, "\"2100-03-01T00:00:00.000000Z\""),
        ] {
            assert_eq!(text(|it| it.time(seconds * 1_000_000)), wanted);
        }
        assert_eq!(
            text(|it| it.time(1_767_225_599_012_345)),
            "\"2025-12-31T23:59:59.012345Z\""
        );
    }

    #[test]
    fn numbers_are_decimal() {
        for value in [0, 9, 10, 200, 65_535, u64::MAX] {
            assert_eq!(text(|it| it.number(value)), value.to_string());
        }
    }

    #[test]
    fn strings_are_read_back_as_they_were() {
        for wanted in [
            "",
            "plain",
            "a\"b\\c",
            "tab\tline\nnul\0del\u{7f}",
            "ünïcode\u{2028}\u{85}",
        ] {
            let json = text(|it| it.quote(wanted.as_bytes()));
            assert!(!json.contains(|c: char| c.is_control() || c == '\u{2028}'));
            let read: String = serde_json::from_str(&json).unwrap();
            assert_eq!(read, wanted);
        }
        assert_eq!(text(|it| it.quote(b"a\xffb")), "\"a\u{fffd}b\"");
    }

    #[test]
    fn a_long_text_keeps_its_head_and_its_tail() {
        let read =
            |bytes: &[u8]| -> String { serde_json::from_str(&text(|it| it.quote(bytes))).unwrap() };
        let path = format!("/api/v4/projects/{}42/secret", "0".repeat(2100));
        let shown = read(path.as_bytes());
        assert!(shown.starts_with("/api/v4/projects/000") && shown.ends_with("00042/secret"));
        assert_eq!(shown.len(), LONGEST + "…".len());
        let whole = "a".repeat(LONGEST);
        assert_eq!(read(whole.as_bytes()), whole);
        // Control characters in the middle of the padding, and a cut within a character.
        let odd = ["\"\n".repeat(1100), "end".into()].concat();
        assert!(read(odd.as_bytes()).ends_with("\"\nend"));
        for shift in 0..4 {
            let wide = ["x".repeat(shift), "🦀".repeat(600), "end".into()].concat();
            let shown = read(wide.as_bytes());
            assert!(
                !shown.contains('\u{fffd}') && shown.ends_with("🦀end"),
                "{shift}"
            );
        }
        assert!(read(&[vec![0x80; 5000], b"end".to_vec()].concat()).ends_with("end"));
    }

    #[test]
    fn lists_have_commas_between() {
        let items = ["a".to_owned(), "b".to_owned()];
        assert_eq!(text(|it| it.list("\"x\":", &items)), "\"x\":[\"a\",\"b\"]");
        assert_eq!(text(|it| it.list("\"x\":", &[])), "\"x\":[]");
    }
}
