//! The chain: each line carries a sequence and a keyed hash over itself and the line before.
//!
//! hash(n) = HMAC-SHA256(key, hash(n-1) LF text(n)): hashes as 64 lower-case hex digits, 64 zeros before
//! the first line; text(n) is the line as written, with its sequence, without the member `hash` and
//! without the line feed. docs/audit.md says the same for other tools.

use aws_lc_rs::hmac;
use std::fmt;
use std::path::Path;

/// Bytes of key without which GateAuditChainKey refuses.
const SHORTEST_KEY: usize = 32;
/// The longest key file.
const LONGEST_KEY: usize = 64 * 1024;
/// The first line's predecessor.
const ZERO: [u8; 64] = [b'0'; 64];
const HASH: &[u8] = b",\"hash\":\"";
const SEQUENCE: &[u8] = b",\"sequence\":";
const END: &[u8] = b"}}";

/// GateAuditChainKey.
pub struct ChainKey(hmac::Key);

impl fmt::Debug for ChainKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ChainKey")
    }
}

impl ChainKey {
    /// The bytes of the file. White space at its end, as an editor's line end, does not count, as
    /// long as enough bytes stay: the last of 32 random ones may look like it.
    ///
    /// # Errors
    /// The file can't be read, or is too short.
    pub fn read(path: &Path) -> Result<Self, String> {
        let bytes = crate::file::read(path, LONGEST_KEY).map_err(|error| error.to_string())?;
        let length = bytes.trim_ascii_end().len().max(SHORTEST_KEY);
        Self::new(bytes.get(..length).unwrap_or(&bytes))
    }

    /// # Errors
    /// Too short.
    pub fn new(bytes: &[u8]) -> Result<Self, String> {
        if bytes.len() < SHORTEST_KEY {
            return Err(format!(
                "the key has {} bytes, {SHORTEST_KEY} or more are needed (head -c 32 /dev/urandom | base64)",
                bytes.len()
            ));
        }
        Ok(Self(hmac::Key::new(hmac::HMAC_SHA256, bytes)))
    }

    /// Appends an open line to `log`, closed as the successor of `link`, which becomes that line's.
    pub fn seal(&self, link: &mut Link, open: &[u8], log: &mut Vec<u8>) {
        link.sequence += 1;
        let sequence = link.sequence.to_string();
        link.hash = self.hash(&link.hash, &[open, SEQUENCE, sequence.as_bytes(), END]);
        log.extend_from_slice(open);
        log.extend_from_slice(SEQUENCE);
        log.extend_from_slice(sequence.as_bytes());
        log.extend_from_slice(HASH);
        log.extend_from_slice(&link.hash);
        log.extend_from_slice(b"\"");
        log.extend_from_slice(END);
    }

    fn hash(&self, before: &[u8; 64], text: &[&[u8]]) -> [u8; 64] {
        let mut context = hmac::Context::with_key(&self.0);
        context.update(before);
        context.update(b"\n");
        text.iter().for_each(|it| context.update(it));
        let mut hex = ZERO;
        for (digits, byte) in hex.chunks_exact_mut(2).zip(context.sign().as_ref()) {
            for (digit, value) in digits.iter_mut().zip([byte >> 4, byte & 15]) {
                *digit = if value < 10 {
                    b'0' + value
                } else {
                    b'a' + value - 10
                };
            }
        }
        hex
    }

    /// Whether the sealed line is the successor of `link`.
    #[must_use]
    pub fn fits(&self, link: &Link, line: &Sealed<'_>) -> bool {
        line.link.sequence == link.sequence.saturating_add(1)
            && self.hash(&link.hash, &[line.text, END]) == line.link.hash
    }
}

/// Where the chain stands: the last line's sequence and hash.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Link {
    /// 0 before the first line.
    pub sequence: u64,
    /// 64 hex digits.
    pub hash: [u8; 64],
}

impl Default for Link {
    fn default() -> Self {
        Self {
            sequence: 0,
            hash: ZERO,
        }
    }
}

impl fmt::Display for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}:{}",
            self.sequence,
            std::str::from_utf8(&self.hash).unwrap_or_default()
        )
    }
}

impl Link {
    /// `SEQUENCE:HASH`
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (sequence, hash) = text.split_once(':')?;
        Some(Self {
            sequence: sequence.parse().ok()?,
            hash: hash
                .as_bytes()
                .try_into()
                .ok()
                .filter(|it: &[u8; 64]| it.iter().all(u8::is_ascii_hexdigit))?,
        })
    }
}

/// A line with its seal taken apart.
#[derive(Clone, Copy, Debug)]
pub struct Sealed<'l> {
    text: &'l [u8],
    /// What the line says that it is.
    pub link: Link,
}

impl<'l> Sealed<'l> {
    /// `None`: the line carries no seal.
    #[must_use]
    pub fn parse(line: &'l [u8]) -> Option<Self> {
        let rest = line.strip_suffix(END)?.strip_suffix(b"\"")?;
        let (rest, hash) = rest.split_at_checked(rest.len().checked_sub(64)?)?;
        let text = rest.strip_suffix(HASH)?;
        let digits = text.iter().rev().take_while(|b| b.is_ascii_digit()).count();
        let (before, sequence) = text.split_at_checked(text.len() - digits)?;
        before.strip_suffix(SEQUENCE)?;
        Some(Self {
            text,
            link: Link {
                sequence: std::str::from_utf8(sequence).ok()?.parse().ok()?,
                hash: hash.try_into().ok()?,
            },
        })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_sealed_line_fits_its_predecessor_alone() {
        let key = ChainKey::new(&[7; 32]).unwrap();
        let (first, mut link) = (Link::default(), Link::default());
        let (mut one, mut two) = (Vec::new(), Vec::new());
        let open = b"{\"event\":{\"kind\":\"event\"";
        key.seal(&mut link, open, &mut one);
        let after_one = link;
        key.seal(&mut link, open, &mut two);
        let (one, two) = (Sealed::parse(&one).unwrap(), Sealed::parse(&two).unwrap());
        assert!(key.fits(&first, &one) && key.fits(&after_one, &two));
        assert!(!key.fits(&first, &two) && !key.fits(&link, &one));
        assert!(!ChainKey::new(&[8; 32]).unwrap().fits(&first, &one));
    }

    #[test]
    fn white_space_ends_a_key_only_where_enough_is_left() {
        let file = std::env::temp_dir().join(format!("gate-chain-key-{}", std::process::id()));
        let seal_of = |text: &[u8]| {
            std::fs::write(&file, text).unwrap();
            ChainKey::read(&file).map(|key| key.hash(&ZERO, &[b"x"]))
        };
        let plain = |bytes: &[u8]| ChainKey::new(bytes).unwrap().hash(&ZERO, &[b"x"]);
        let (hex, raw) = ([b'a'; 64], [b"a".repeat(30), b" \n".to_vec()].concat());
        for end in ["", "\n", "\r\n", " \n\n"] {
            assert_eq!(seal_of(&[&hex, end.as_bytes()].concat()), Ok(plain(&hex)));
            assert_eq!(seal_of(&[&raw, end.as_bytes()].concat()), Ok(plain(&raw)));
        }
        assert!(seal_of(&[b'a'; 31]).is_err());
        std::fs::remove_file(&file).unwrap();
    }

    #[test]
    fn what_is_not_sealed_is_told() {
        for line in [&b""[..], b"{}", b"}}", b"{\"event\":{\"sequence\":1}}"] {
            assert!(Sealed::parse(line).is_none());
        }
    }

    #[test]
    fn a_link_is_read_as_it_is_shown() {
        let link = Link {
            sequence: 42,
            hash: [b'a'; 64],
        };
        assert_eq!(Link::parse(&link.to_string()), Some(link));
        assert_eq!(Link::parse("42:aa"), None);
    }
}
