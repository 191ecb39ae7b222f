//! Names and values that C may borrow for as long as their owner lives: arrays of C texts that point
//! into one block of text. Rendered once per token, handed out on every request.

use std::ffi::c_char;
use std::fmt;
use std::sync::Arc;

/// A name and its value, both C text. `gate_pair` of the contract has the same layout.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct Pair {
    /// The name.
    pub name: *const c_char,
    /// The value.
    pub value: *const c_char,
}

/// A finished list.
#[derive(Default)]
pub struct Pairs {
    /// What `raw` points into; never touched again, and in no box, which its pointers would not outlive
    /// as it is moved.
    text: Arc<[u8]>,
    raw: Box<[Pair]>,
}

// SAFETY: the pointers lead into `text`, which belongs to the same value and is never changed.
unsafe impl Send for Pairs {}
// SAFETY: as above; nothing is ever written through them.
unsafe impl Sync for Pairs {}

impl Pairs {
    /// The array, for C; it lives as long as `self`.
    #[must_use]
    pub fn as_slice(&self) -> &[Pair] {
        &self.raw
    }

    /// The names and values.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        let mut pieces = self
            .text
            .split(|b| *b == 0)
            .map(|piece| std::str::from_utf8(piece).unwrap_or_default());
        self.raw
            .iter()
            .map_while(move |_| Some((pieces.next()?, pieces.next()?)))
    }

    /// The value of that name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        self.iter()
            .find(|(it, _)| *it == name)
            .map(|(_, value)| value)
    }

    /// How many bytes it holds.
    #[must_use]
    pub fn size(&self) -> usize {
        self.text.len() + size_of_val(&*self.raw)
    }
}

impl fmt::Debug for Pairs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

/// A list in the making.
pub struct PairsBuilder {
    text: Vec<u8>,
    starts: Vec<(usize, usize)>,
}

/// With room for what a CI job's headers take: growing byte by byte costs more than they do.
impl Default for PairsBuilder {
    fn default() -> Self {
        Self {
            text: Vec::with_capacity(512),
            starts: Vec::with_capacity(16),
        }
    }
}

impl PairsBuilder {
    /// Adds one. Text with a NUL, which C would cut, is left out.
    pub fn push(&mut self, name: &str, value: &str) {
        if name.contains('\0') || value.contains('\0') {
            return;
        }
        let name_at = self.text.len();
        self.text.extend_from_slice(name.as_bytes());
        self.text.push(0);
        let value_at = self.text.len();
        self.text.extend_from_slice(value.as_bytes());
        self.text.push(0);
        self.starts.push((name_at, value_at));
    }

    /// The finished list.
    #[must_use]
    pub fn build(self) -> Pairs {
        let text: Arc<[u8]> = self.text.into();
        let at = |offset: usize| {
            text.get(offset..)
                .map_or(c"".as_ptr(), |rest| rest.as_ptr().cast())
        };
        let raw = self
            .starts
            .iter()
            .map(|(name, value)| Pair {
                name: at(*name),
                value: at(*value),
            })
            .collect();
        Pairs { text, raw }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_pushed_is_read_back() {
        let mut builder = PairsBuilder::default();
        builder.push("A", "1");
        builder.push("B", "");
        builder.push("C", "x\0y");
        builder.push("D", "é,");
        let pairs = builder.build();
        assert_eq!(
            pairs.iter().collect::<Vec<_>>(),
            [("A", "1"), ("B", ""), ("D", "é,")]
        );
        assert_eq!(pairs.as_slice().len(), 3);
    }
}
