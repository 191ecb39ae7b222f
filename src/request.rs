//! What the gate sees of a request. It knows no httpd: [`Fields`] is implemented on httpd's table in
//! `boundary`, and on a plain list here, for tests.

use crate::field::is_name_byte;

/// A header's name, prepared for look-ups.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldName {
    lower: Box<[u8]>,
    checksum: u32,
}

impl FieldName {
    /// A field name (RFC 9110, section 5.1); `None` where it is not a token.
    #[must_use]
    pub fn new(name: &str) -> Option<Self> {
        let token = !name.is_empty() && name.bytes().all(is_name_byte);
        token.then(|| Self {
            lower: name.to_ascii_lowercase().into_bytes().into(),
            checksum: checksum(name.as_bytes()),
        })
    }

    /// The name under which the shim keeps the client's query (gate.h, `client`).
    #[must_use]
    pub fn client_query() -> Self {
        Self {
            lower: (*b"?").into(),
            checksum: checksum(b"?"),
        }
    }

    /// APR's checksum of the name, to pass over other fields quickly.
    #[must_use]
    pub const fn checksum(&self) -> u32 {
        self.checksum
    }

    /// Whether `name` is this name, without case.
    #[must_use]
    pub fn is(&self, name: &[u8]) -> bool {
        self.lower.eq_ignore_ascii_case(name)
    }

    /// The name in lower case.
    #[must_use]
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.lower).unwrap_or_default()
    }
}

/// The first four bytes without case, as apr_tables.c's COMPUTE_KEY_CHECKSUM has it.
fn checksum(name: &[u8]) -> u32 {
    let mut sum = 0;
    for at in 0..4 {
        sum = sum << 8 | u32::from(name.get(at).copied().unwrap_or(0));
    }
    sum & 0xdfdf_dfdf
}

/// What a look-up found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found<'r> {
    /// Not there.
    None,
    /// Once.
    One(&'r [u8]),
    /// More than once.
    Many,
}

/// A request's header fields.
pub trait Fields<'r> {
    /// The field of that name.
    fn find(&self, name: &FieldName) -> Found<'r>;
}

/// A plain list of fields.
impl<'r> Fields<'r> for &'r [(&'r str, &'r str)] {
    fn find(&self, name: &FieldName) -> Found<'r> {
        let mut values = self
            .iter()
            .filter(|(n, _)| name.is(n.as_bytes()))
            .map(|(_, v)| v.as_bytes());
        match (values.next(), values.next()) {
            (None, _) => Found::None,
            (Some(value), None) => Found::One(value),
            (Some(_), Some(_)) => Found::Many,
        }
    }
}

/// The parts of a request that may hold a token.
#[derive(Clone, Copy, Debug, Default)]
pub struct Target<'r> {
    /// The query, without its `?`.
    pub args: Option<&'r [u8]>,
    /// The target as it was sent.
    pub unparsed_uri: &'r [u8],
    /// The request line.
    pub the_request: &'r [u8],
    /// What mod_proxy or mod_rewrite made of it.
    pub filename: &'r [u8],
    /// The query of an earlier request that this one follows from, before its token was taken out.
    pub client_args: Option<&'r [u8]>,
}
