//! Strict JSON: what serde_json reads, less what two readers could understand differently.
//!
//! Refused beyond RFC 8259: duplicate members at any depth (compared after unescaping), a byte
//! order mark, more than [`MAX_DEPTH`] containers in one another. One pass, no parser of our own:
//! serde_json drives a visitor that makes the tree (`value`). What the members mean is not known here.

mod value;

pub use value::{Object, Text, Value};

use crate::shown::quoted;
use serde::de::{DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::Number;
use std::cell::Cell;
use std::fmt;
use std::sync::Arc;

/// The most containers (objects, arrays) in one another.
pub const MAX_DEPTH: u8 = 64;

/// About as many claims as a CI token has.
const USUAL_MEMBERS: usize = 40;

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
    // Pieces of it are counted in 32 bits. Nobody hands over so much.
    if u32::try_from(text.len()).is_err() {
        return Err(JsonError::Syntax("4 GiB or more".into()));
    }
    let text = Arc::from(text);
    let fault = Cell::new(None);
    let mut reader = serde_json::Deserializer::from_str(&text);
    Strict {
        room: MAX_DEPTH,
        text: &text,
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
    /// What is read.
    text: &'f Arc<str>,
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

    fn visit_borrowed_str<E>(self, value: &'de str) -> Result<Value, E> {
        Ok(Value::String(Text::within(self.text, value)))
    }

    /// One with escapes, without them.
    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::String(Text::from(value)))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let inside = self.inside()?;
        let mut list = Vec::new();
        while let Some(item) = items.next_element_seed(inside)? {
            list.push(item);
        }
        Ok(Value::Array(list.into()))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Value, A::Error> {
        let inside = self.inside()?;
        let mut list = Vec::with_capacity(USUAL_MEMBERS);
        while let Some(name) = members.next_key_seed(Name(self.text))? {
            list.push((name, members.next_value_seed(inside)?));
        }
        Object::new(list)
            .map(Value::Object)
            .map_err(|name| self.refuse(JsonError::Duplicate(name.to_string())))
    }
}

/// Makes a member's name.
struct Name<'f>(&'f Arc<str>);

impl<'de> DeserializeSeed<'de> for Name<'_> {
    type Value = Text;

    fn deserialize<D: Deserializer<'de>>(self, reader: D) -> Result<Text, D::Error> {
        reader.deserialize_str(self)
    }
}

impl<'de> Visitor<'de> for Name<'_> {
    type Value = Text;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a name")
    }

    fn visit_borrowed_str<E>(self, name: &'de str) -> Result<Text, E> {
        Ok(Text::within(self.0, name))
    }

    fn visit_str<E>(self, name: &str) -> Result<Text, E> {
        Ok(Text::from(name))
    }
}

#[cfg(test)]
mod tests;
