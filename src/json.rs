//! Strict JSON: what serde_json reads, less what two readers could understand differently.
//!
//! Refused beyond RFC 8259: duplicate members at any depth (compared after unescaping), a byte
//! order mark, more than [`MAX_DEPTH`] containers in one another. One pass, no parser of our own:
//! serde_json drives a visitor that makes the tree. Also how a value is shown in a log. What the
//! members mean is not known here.

use serde::de::{DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};
use std::cell::Cell;
use std::fmt::{self, Write as _};

/// The most containers (objects, arrays) in one another.
pub const MAX_DEPTH: u8 = 64;

/// About as many claims as a CI token has.
const USUAL_MEMBERS: usize = 40;

/// The most characters of a value that a log line shows.
const SHOWN: usize = 120;

const BYTE_ORDER_MARK: &[u8] = b"\xEF\xBB\xBF";

/// Why bytes are not JSON that everybody reads the same way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum JsonError {
    /// Not UTF-8 (RFC 8259 section 8.1).
    NotUtf8,
    /// A byte order mark at the front (RFC 8259 section 8.1).
    ByteOrderMark,
    /// More than [`MAX_DEPTH`] containers in one another.
    TooDeep,
    /// This member stands twice in one object.
    Duplicate(String),
    /// Not JSON, or something after the value: where, and serde_json's category. No content.
    Syntax(String),
}

impl fmt::Display for JsonError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotUtf8 => f.write_str("not UTF-8"),
            Self::ByteOrderMark => f.write_str("begins with a byte order mark"),
            Self::TooDeep => write!(f, "nested deeper than {MAX_DEPTH}"),
            Self::Duplicate(name) => write!(f, "the member {} stands twice", quoted(name)),
            Self::Syntax(place) => write!(f, "not JSON: {place}"),
        }
    }
}

impl std::error::Error for JsonError {}

/// Reads one JSON value; white space around it is JSON's own, anything else after it is an error.
///
/// # Errors
/// See [`JsonError`].
pub fn parse(bytes: &[u8]) -> Result<Value, JsonError> {
    if bytes.starts_with(BYTE_ORDER_MARK) {
        return Err(JsonError::ByteOrderMark);
    }
    let text = std::str::from_utf8(bytes).map_err(|_| JsonError::NotUtf8)?;
    let fault = Cell::new(None);
    let mut reader = serde_json::Deserializer::from_str(text);
    Strict {
        room: MAX_DEPTH,
        fault: &fault,
    }
    .deserialize(&mut reader)
    .and_then(|value| reader.end().map(|()| value))
    .map_err(|error| fault.take().unwrap_or_else(|| syntax(&error)))
}

fn syntax(error: &serde_json::Error) -> JsonError {
    use serde_json::error::Category;
    let category = match error.classify() {
        Category::Eof => "ends too early",
        Category::Io | Category::Syntax | Category::Data => "syntax",
    };
    JsonError::Syntax(format!(
        "{category}, line {} column {}",
        error.line(),
        error.column()
    ))
}

/// Makes one value, and passes itself on to the values inside.
#[derive(Clone, Copy)]
struct Strict<'f> {
    /// How many more containers may open inside one another.
    room: u8,
    /// Our own error: serde_json's carries text alone.
    fault: &'f Cell<Option<JsonError>>,
}

impl Strict<'_> {
    fn refuse<E: serde::de::Error>(self, fault: JsonError) -> E {
        self.fault.set(Some(fault));
        E::custom("")
    }

    fn inside<E: serde::de::Error>(self) -> Result<Self, E> {
        match self.room.checked_sub(1) {
            Some(room) => Ok(Self { room, ..self }),
            None => Err(self.refuse(JsonError::TooDeep)),
        }
    }
}

impl<'de> DeserializeSeed<'de> for Strict<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, reader: D) -> Result<Value, D::Error> {
        reader.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Strict<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_f64<E: serde::de::Error>(self, value: f64) -> Result<Value, E> {
        // JSON has no infinity; serde_json refuses what would overflow to it.
        Number::from_f64(value)
            .map(Value::Number)
            .ok_or_else(|| E::custom(""))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::String(value.to_owned()))
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(Value::String(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let inside = self.inside()?;
        let mut list = Vec::new();
        while let Some(item) = items.next_element_seed(inside)? {
            list.push(item);
        }
        Ok(Value::Array(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Value, A::Error> {
        let inside = self.inside()?;
        let mut list = Vec::with_capacity(USUAL_MEMBERS);
        while let Some(name) = members.next_key::<String>()? {
            list.push((name, members.next_value_seed(inside)?));
        }
        // Sorted first: a map that is built of sorted members compares a third as often.
        list.sort_unstable_by(|(one, _), (other, _)| one.cmp(other));
        let twice = list.windows(2).find_map(|pair| match pair {
            [(one, _), (other, _)] if one == other => Some(one.clone()),
            _ => None,
        });
        match twice {
            Some(name) => Err(self.refuse(JsonError::Duplicate(name))),
            None => Ok(Value::Object(Map::from_iter(list))),
        }
    }
}

/// A value as a log line may show it: its JSON text, escaped where a terminal could be fooled, cut
/// to 120 characters.
#[must_use]
pub fn shown(value: &Value) -> String {
    let mut line = Line::default();
    // An error only says that the line is full.
    let _ = write!(line, "{value}");
    line.text
}

/// A text as a log line may show it: in quotes, escaped, cut to 120 characters.
#[must_use]
pub fn quoted(text: &str) -> String {
    let mut line = Line::default();
    let _ = write!(line, "{text:?}");
    line.text
}

/// Takes text that is quoted already, until it is full.
#[derive(Default)]
struct Line {
    text: String,
    length: usize,
}

impl fmt::Write for Line {
    fn write_str(&mut self, piece: &str) -> fmt::Result {
        for char in piece.chars() {
            // Quotes and backslashes are the quoting's own and stay.
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
    #![allow(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::panic
    )]
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    fn nested(depth: usize, open: &str, close: &str) -> String {
        format!("{}1{}", open.repeat(depth), close.repeat(depth))
    }

    #[test]
    fn every_kind_of_value_is_read() {
        let text = br#" {"n":null,"b":true,"i":-3,"u":18446744073709551615,"f":1.5,"s":"\u00e9\n","a":[1,"x",{}]} "#;
        let wanted = json!({"n": null, "b": true, "i": -3, "u": u64::MAX, "f": 1.5, "s": "é\n", "a": [1, "x", {}]});
        assert_eq!(parse(text), Ok(wanted));
    }

    #[test]
    fn duplicate_members_are_refused() {
        let duplicate = |name: &str| Err(JsonError::Duplicate(name.into()));
        assert_eq!(parse(br#"{"a":1,"a":1}"#), duplicate("a"));
        assert_eq!(
            parse(br#"{"x":[{"y":{"a":1,"b":2,"a":3}}]}"#),
            duplicate("a")
        );
        assert_eq!(parse(br#"{"":1,"":2}"#), duplicate(""));
    }

    #[test]
    fn duplicate_members_after_unescaping_are_refused() {
        assert_eq!(
            parse(br#"{"iss":1,"\u0069ss":2}"#),
            Err(JsonError::Duplicate("iss".into()))
        );
        let pair = "{\"\u{1f600}\":1,\"\\ud83d\\ude00\":2}";
        assert_eq!(
            parse(pair.as_bytes()),
            Err(JsonError::Duplicate("\u{1f600}".into()))
        );
    }

    #[test]
    fn same_name_in_another_object_is_accepted() {
        assert!(parse(br#"{"a":{"a":1},"b":{"a":1},"A":2}"#).is_ok());
    }

    #[test]
    fn depth_64_passes_and_65_is_refused() {
        for (open, close) in [("[", "]"), (r#"{"a":"#, "}")] {
            assert!(parse(nested(64, open, close).as_bytes()).is_ok());
            assert_eq!(
                parse(nested(65, open, close).as_bytes()),
                Err(JsonError::TooDeep)
            );
        }
        assert_eq!(
            parse(nested(33, r#"[{"a":"#, "}]").as_bytes()),
            Err(JsonError::TooDeep)
        );
    }

    #[test]
    fn many_brackets_do_not_overflow_the_stack() {
        assert_eq!(
            parse("[".repeat(16 * 1024).as_bytes()),
            Err(JsonError::TooDeep)
        );
        assert_eq!(
            parse(r#"{"":"#.repeat(4 * 1024).as_bytes()),
            Err(JsonError::TooDeep)
        );
    }

    #[test]
    fn byte_order_mark_is_refused() {
        assert_eq!(parse(b"\xEF\xBB\xBF{}"), Err(JsonError::ByteOrderMark));
        assert_eq!(parse(b"\xFF\xFE{\0}\0"), Err(JsonError::NotUtf8));
    }

    #[test]
    fn invalid_utf8_is_refused() {
        for text in [
            &b"\"\xFF\""[..],
            b"\"\xC0\xAF\"",
            b"\"\xED\xA0\x80\"",
            b"\xC3",
        ] {
            assert_eq!(parse(text), Err(JsonError::NotUtf8));
        }
    }

    #[test]
    fn half_a_surrogate_pair_is_refused() {
        for text in [r#""\ud800""#, r#""\udc00""#, r#""\ud800\ud800""#] {
            assert!(
                matches!(parse(text.as_bytes()), Err(JsonError::Syntax(_))),
                "{text}"
            );
        }
    }

    #[test]
    fn anything_after_the_value_is_refused() {
        for text in ["{} {}", "{}x", "{}\0", "1 2", "{},", "{}//", "{}\u{feff}"] {
            assert!(
                matches!(parse(text.as_bytes()), Err(JsonError::Syntax(_))),
                "{text:?}"
            );
        }
    }

    #[test]
    fn what_is_not_json_is_refused() {
        let texts = [
            "",
            " ",
            "{",
            "[1,]",
            "{\"a\":1,}",
            "{a:1}",
            "'a'",
            "NaN",
            "Infinity",
            "01",
            "+1",
            "1.",
            ".5",
            "1e999",
            "\"\t\"",
            "\"\\x41\"",
            "/**/1",
            "tru",
            "{1:2}",
            "{null:1}",
        ];
        for text in texts {
            assert!(
                matches!(parse(text.as_bytes()), Err(JsonError::Syntax(_))),
                "{text:?}"
            );
        }
    }

    #[test]
    fn syntax_errors_tell_the_place_and_no_content() {
        let error = parse(br#"{"password" "hunter2"}"#).unwrap_err();
        assert_eq!(error.to_string(), "not JSON: syntax, line 1 column 13");
        let error = parse(b"{").unwrap_err();
        assert_eq!(
            error.to_string(),
            "not JSON: ends too early, line 1 column 1"
        );
    }

    #[test]
    fn what_is_shown_is_escaped_and_cut() {
        assert_eq!(shown(&json!(["a\"b", 1, null])), r#"["a\"b",1,null]"#);
        assert_eq!(shown(&json!("a\n\u{202e}\u{7f}")), r#""a\n\u{202e}\u{7f}""#);
        assert_eq!(shown(&json!("x".repeat(119))).len(), 123);
        assert_eq!(shown(&json!("x".repeat(118))).len(), 120);
        assert_eq!(quoted("a\"\r\u{1b}"), r#""a\"\r\u{1b}""#);
        assert_eq!(quoted(&"é".repeat(200)).chars().count(), 123);
    }

    fn any_value() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<u64>().prop_map(Value::from),
            ".{0,8}".prop_map(Value::from),
        ];
        leaf.prop_recursive(6, 40, 6, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
                prop::collection::btree_map("[a-c\"\\\\é]{0,3}", inner, 0..6)
                    .prop_map(|members| Value::Object(members.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn any_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = parse(&bytes);
        }

        #[test]
        fn json_like_text_never_panics_and_agrees_with_serde_json(text in r#"[\[\]{}:,"a\\u0e1 -]{0,40}"#) {
            match (parse(text.as_bytes()), serde_json::from_str::<Value>(&text)) {
                (Ok(ours), Ok(theirs)) => prop_assert_eq!(ours, theirs),
                (Err(JsonError::Duplicate(_)), _) | (Err(_), Err(_)) => {}
                (ours, theirs) => prop_assert!(false, "{:?} {:?}", ours, theirs),
            }
        }

        #[test]
        fn what_serde_json_writes_is_read_back(value in any_value()) {
            prop_assert_eq!(parse(&serde_json::to_vec(&value).unwrap()), Ok(value.clone()));
            prop_assert_eq!(parse(&serde_json::to_vec_pretty(&value).unwrap()), Ok(value));
        }

        #[test]
        fn a_member_said_again_is_refused_wherever_it_stands(value in any_value(), name in "[a-z]{1,4}", depth in 0_usize..60) {
            let escaped: String = name.bytes().map(|byte| format!("\\u{byte:04x}")).collect();
            let object = format!(r#"{{"{name}":{value},"x1":0,"{escaped}":{value}}}"#);
            let text = format!("{}{object}{}", "[".repeat(depth), "]".repeat(depth));
            let refused = parse(text.as_bytes());
            // The value itself may be too deep at that place.
            prop_assert!(refused == Err(JsonError::Duplicate(name)) || refused == Err(JsonError::TooDeep));
        }

        #[test]
        fn what_is_shown_is_one_short_printable_line(value in any_value(), text in any::<String>()) {
            for line in [shown(&value), quoted(&text)] {
                prop_assert!(line.chars().count() <= SHOWN + 3);
                prop_assert!(!line.chars().any(char::is_control));
            }
        }
    }
}
