//! What strict JSON is read into: a tree of few allocations, to be read only.
//!
//! Its strings are pieces of the one text that was read, its members stand sorted in one array: a token's
//! claims take a handful of allocations where a map of strings takes a hundred, which cost more than the
//! signature. What may stand in it is for [`parse`](super::parse) to say.

use serde::ser::{Serialize, Serializer};
use serde_json::Number;
use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

/// What stands around a member's name and value in JSON, bytes.
const PUNCTUATION: usize = 6;

/// A string: a piece of the text that was read, or a text of its own where that had escapes.
#[derive(Clone)]
pub struct Text {
    whole: Arc<str>,
    from: u32,
    to: u32,
}

impl Text {
    /// This piece of that text; a copy, were it none.
    pub(super) fn within(whole: &Arc<str>, piece: &str) -> Self {
        let from = (piece.as_ptr() as usize).wrapping_sub(whole.as_ptr() as usize);
        let to = from.wrapping_add(piece.len());
        match (u32::try_from(from), u32::try_from(to)) {
            (Ok(from), Ok(to)) if to as usize <= whole.len() => Self {
                whole: Arc::clone(whole),
                from,
                to,
            },
            _ => Self::from(piece),
        }
    }

    fn is(&self, text: &str) -> bool {
        (self.to - self.from) as usize == text.len() && self.bytes() == text.as_bytes()
    }

    /// For comparing: that it begins and ends with a whole character need not be seen to then.
    fn bytes(&self) -> &[u8] {
        let piece = self.from as usize..self.to as usize;
        self.whole.as_bytes().get(piece).unwrap_or_default()
    }
}

impl From<&str> for Text {
    fn from(text: &str) -> Self {
        Self {
            whole: Arc::from(text),
            from: 0,
            // What is read is far shorter: `parse` sees to it.
            to: u32::try_from(text.len()).unwrap_or(u32::MAX),
        }
    }
}

impl Deref for Text {
    type Target = str;

    fn deref(&self) -> &str {
        let piece = self.from as usize..self.to as usize;
        self.whole.get(piece).unwrap_or_default()
    }
}

impl PartialEq for Text {
    fn eq(&self, other: &Self) -> bool {
        self.bytes() == other.bytes()
    }
}

impl Eq for Text {}

impl fmt::Debug for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&**self, f)
    }
}

/// Any JSON value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// `null`
    Null,
    /// `true`, `false`
    Bool(bool),
    /// A number: whole ones of 64 bits exactly, others as a double.
    Number(Number),
    /// A string.
    String(Text),
    /// An array.
    Array(Box<[Self]>),
    /// An object.
    Object(Object),
}

impl Value {
    /// An object's member.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Self> {
        self.as_object()?.get(name)
    }

    /// An object's member; null is absent.
    #[must_use]
    pub fn member(&self, name: &str) -> Option<&Self> {
        self.as_object()?.member(name)
    }

    /// The object that it is.
    #[must_use]
    pub const fn as_object(&self) -> Option<&Object> {
        match self {
            Self::Object(object) => Some(object),
            _ => None,
        }
    }

    /// The array that it is.
    #[must_use]
    pub fn as_array(&self) -> Option<&[Self]> {
        match self {
            Self::Array(items) => Some(items),
            _ => None,
        }
    }

    /// The string that it is.
    #[must_use]
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Self::String(text) => Some(text),
            _ => None,
        }
    }

    /// The whole number that it is, where that is not negative.
    #[must_use]
    pub fn as_u64(&self) -> Option<u64> {
        match self {
            Self::Number(number) => number.as_u64(),
            _ => None,
        }
    }

    /// The boolean that it is.
    #[must_use]
    pub const fn as_bool(&self) -> Option<bool> {
        match self {
            Self::Bool(flag) => Some(*flag),
            _ => None,
        }
    }

    /// Whether it is `null`.
    #[must_use]
    pub const fn is_null(&self) -> bool {
        matches!(self, Self::Null)
    }

    /// Whether it is a string.
    #[must_use]
    pub const fn is_string(&self) -> bool {
        matches!(self, Self::String(_))
    }

    fn size(&self) -> usize {
        match self {
            Self::String(text) => text.len(),
            Self::Array(items) => items.iter().map(|it| size_of::<Self>() + it.size()).sum(),
            Self::Object(object) => object.size(),
            Self::Null | Self::Bool(_) | Self::Number(_) => 0,
        }
    }
}

/// An object: each name once.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Object {
    /// In the order of the names.
    members: Box<[(Text, Value)]>,
}

impl Object {
    /// An object of these members, in any order.
    ///
    /// # Errors
    /// The name that stands twice.
    pub fn new(mut members: Vec<(Text, Value)>) -> Result<Self, Text> {
        members.sort_unstable_by(|(one, _), (other, _)| one.bytes().cmp(other.bytes()));
        let twice = members.windows(2).find_map(|pair| match pair {
            [(one, _), (other, _)] if one == other => Some(one.clone()),
            _ => None,
        });
        match twice {
            Some(name) => Err(name),
            None => Ok(Self {
                members: members.into(),
            }),
        }
    }

    /// A member.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Value> {
        // Not halved and halved again: of 40 names few are as long, and no others are looked at.
        let mut members = self.members.iter();
        members.find(|(it, _)| it.is(name)).map(|(_, value)| value)
    }

    /// A member; null is absent.
    #[must_use]
    pub fn member(&self, name: &str) -> Option<&Value> {
        self.get(name).filter(|value| !value.is_null())
    }

    /// All members, in the order of their names.
    pub fn iter(&self) -> impl Iterator<Item = &(Text, Value)> {
        self.members.iter()
    }

    /// Whether there is such a member, null or not.
    #[must_use]
    pub fn has(&self, name: &str) -> bool {
        self.get(name).is_some()
    }

    /// About how many bytes it holds.
    #[must_use]
    pub fn size(&self) -> usize {
        self.members
            .iter()
            .map(|(name, value)| {
                size_of::<(Text, Value)>() + PUNCTUATION + name.len() + value.size()
            })
            .sum()
    }
}

impl Serialize for Text {
    fn serialize<S: Serializer>(&self, writer: S) -> Result<S::Ok, S::Error> {
        writer.serialize_str(self)
    }
}

impl Serialize for Value {
    fn serialize<S: Serializer>(&self, writer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Null => writer.serialize_unit(),
            Self::Bool(flag) => writer.serialize_bool(*flag),
            Self::Number(number) => number.serialize(writer),
            Self::String(text) => text.serialize(writer),
            Self::Array(items) => writer.collect_seq(items),
            Self::Object(object) => object.serialize(writer),
        }
    }
}

impl Serialize for Object {
    fn serialize<S: Serializer>(&self, writer: S) -> Result<S::Ok, S::Error> {
        writer.collect_map(self.members.iter().map(|(name, value)| (name, value)))
    }
}

/// Its JSON text, without white space.
impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&serde_json::to_string(self).map_err(|_| fmt::Error)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_what_it_is_and_nothing_else() {
        let all = super::super::parse(br#"[null, true, 7, -7, 1.5, "t", [], {"a": false}]"#);
        let all = all.unwrap_or(Value::Null);
        let all = all.as_array().unwrap_or_default();
        let which = |is: &dyn Fn(&Value) -> bool| all.iter().map(is).collect::<Vec<_>>();
        let only = |at: usize| (0..8).map(|it| it == at).collect::<Vec<_>>();
        assert_eq!(which(&Value::is_null), only(0));
        assert_eq!(which(&|it| it.as_bool().is_some()), only(1));
        assert_eq!(which(&|it| it.as_u64().is_some()), only(2));
        assert_eq!(which(&Value::is_string), only(5));
        assert_eq!(which(&|it| it.as_str() == Some("t")), only(5));
        assert_eq!(which(&|it| it.as_array().is_some()), only(6));
        assert_eq!(which(&|it| it.get("a").is_some()), only(7));
        assert_eq!(all.get(1).and_then(Value::as_bool), Some(true));
        assert_eq!(all.get(2).and_then(Value::as_u64), Some(7));
        let last = all.get(7).and_then(|it| it.get("a"));
        assert_eq!(last.and_then(Value::as_bool), Some(false));
    }

    #[test]
    fn a_piece_of_a_text_is_no_copy() {
        let whole: Arc<str> = Arc::from("[\"häuser\"]");
        let piece = Text::within(&whole, whole.get(2..9).unwrap_or_default());
        assert_eq!(&*piece, "häuser");
        assert!(Arc::ptr_eq(&piece.whole, &whole));
    }

    #[test]
    fn what_is_no_piece_is_copied() {
        let whole: Arc<str> = Arc::from("one text");
        for other in ["another", "another that is longer than the first"] {
            assert_eq!(&*Text::within(&whole, other), other);
        }
        let mut pair: [Arc<str>; 2] = [Arc::from("lies near by"), Arc::from("and after it")];
        pair.sort_by_key(|it| it.as_ptr() as usize);
        let [near, after] = pair;
        assert_eq!(&*Text::within(&near, &after), &*after);
        assert_eq!(&*Text::within(&after, &near), &*near);
    }
}
