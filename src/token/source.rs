//! Where a token may come from (GateTokenFrom), and what must then go out of the request. Whether
//! it is any good is not asked here.

use super::query::{parameters, take_parameters};
use super::take::Take;
use crate::field::is_name_byte;
use crate::request::{FieldName, Fields, Found, Target};
use crate::verdict::Reason;
use base64::Engine;
use memchr::memchr;
use std::borrow::Cow;
use std::fmt;

/// Why what a source holds is no token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Error {
    /// Two of them, or a credential that is two.
    Ambiguous,
    /// The source is there, with nothing in it.
    Empty,
    /// Not `user:password` in base64 (RFC 7617, section 2).
    Basic,
}

impl Error {
    /// The code of the refusal.
    #[must_use]
    pub const fn reason(self) -> Reason {
        match self {
            Self::Ambiguous => Reason::TokenAmbiguous,
            Self::Empty | Self::Basic => Reason::TokenMalformed,
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ambiguous => "wanted one token, got two (a header, cookie or parameter sent twice, a comma in one, or two sources)",
            Self::Empty => "wanted a token, got an empty credential",
            Self::Basic => "wanted user:token in base64 after Basic, got something else",
        })
    }
}

/// One word of `GateTokenFrom`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// `Authorization: Bearer` (RFC 6750, section 2.1).
    Bearer,
    /// The password of `Authorization: Basic` (RFC 7617).
    Basic,
    /// `Proxy-Authorization`, Bearer or Basic's password.
    Proxy,
    /// A header of its own.
    Header(FieldName),
    /// A cookie.
    Cookie(String),
    /// A parameter of the query.
    Query(String),
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bearer => f.write_str("bearer"),
            Self::Basic => f.write_str("basic"),
            Self::Proxy => f.write_str("proxy"),
            Self::Header(name) => write!(f, "header:{}", name.as_str()),
            Self::Cookie(name) => write!(f, "cookie:{name}"),
            Self::Query(name) => write!(f, "query:{name}"),
        }
    }
}

/// Who puts a token into the requests.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Sender {
    /// A program, or a page's script: on purpose, each time.
    #[default]
    Client,
    /// A browser by itself, whoever wrote the page that makes it ask.
    Browser,
}

impl Source {
    /// Who fills this source. A browser fills `basic` too once somebody has typed a password; those that
    /// send `Sec-Fetch-Mode` are not read there at all, and this is for the others.
    #[must_use]
    pub const fn sender(&self) -> Sender {
        match self {
            Self::Cookie(_) | Self::Basic => Sender::Browser,
            Self::Bearer | Self::Proxy | Self::Header(_) | Self::Query(_) => Sender::Client,
        }
    }
}

/// The header names that the sources read, made once.
#[derive(Debug)]
pub struct Names {
    pub(super) authorization: FieldName,
    pub(super) proxy_authorization: FieldName,
    pub(super) cookie: FieldName,
    fetch_mode: FieldName,
}

impl Names {
    /// The standard names.
    #[must_use]
    pub fn new() -> Option<Self> {
        Some(Self {
            authorization: FieldName::new("Authorization")?,
            proxy_authorization: FieldName::new("Proxy-Authorization")?,
            cookie: FieldName::new("Cookie")?,
            fetch_mode: FieldName::new("Sec-Fetch-Mode")?,
        })
    }
}

/// What the sources hold.
#[derive(Debug, Default)]
pub struct Shown<'r> {
    /// The token: one, or none, or an error (two of them, or a credential that can't be read).
    pub token: Option<Result<Cow<'r, [u8]>, Error>>,
    /// Who put it there. A token that comes by two sources is the client's if one of them is.
    pub sender: Sender,
    /// What must go.
    pub take: Vec<Take<'r>>,
}

impl<'r> Shown<'r> {
    fn add(&mut self, sender: Sender, token: Result<Cow<'r, [u8]>, Error>) {
        if self.token.is_none() || sender == Sender::Client {
            self.sender = sender;
        }
        self.token = Some(match (self.token.take(), token) {
            (None, token) => token,
            (Some(Ok(one)), Ok(other)) if one == other => Ok(one),
            (Some(_), _) => Err(Error::Ambiguous),
        });
    }
}

/// Looks into each source.
pub fn collect<'r>(
    sources: &[Source],
    names: &Names,
    fields: &impl Fields<'r>,
    target: &Target<'r>,
) -> Shown<'r> {
    let mut shown = Shown::default();
    let mut authorization = false;
    for source in sources {
        match source {
            Source::Bearer | Source::Basic => {
                if !std::mem::replace(&mut authorization, true) {
                    let bearer = sources.contains(&Source::Bearer);
                    let basic = sources.contains(&Source::Basic);
                    let browser = basic && fields.find(&names.fetch_mode) != Found::None;
                    credentials(
                        &mut shown,
                        fields,
                        &names.authorization,
                        "Authorization",
                        bearer,
                        basic.then_some(browser),
                    );
                }
            }
            Source::Proxy => {
                credentials(
                    &mut shown,
                    fields,
                    &names.proxy_authorization,
                    "Proxy-Authorization",
                    true,
                    Some(false),
                );
            }
            Source::Header(name) => header(&mut shown, fields, name),
            Source::Cookie(name) => cookie(&mut shown, fields, &names.cookie, name),
            Source::Query(name) => query(&mut shown, target, name),
        }
    }
    shown
}

/// `basic`: the scheme Basic counts; in a browser's request nobody has put it there on purpose, and its token goes
/// nowhere.
fn credentials<'r>(
    shown: &mut Shown<'r>,
    fields: &impl Fields<'r>,
    name: &FieldName,
    spelled: &'static str,
    bearer: bool,
    basic: Option<bool>,
) {
    let value = match fields.find(name) {
        Found::None => return,
        Found::Many => {
            shown.add(Sender::Client, Err(Error::Ambiguous));
            shown.take.push(Take::Header(Cow::Borrowed(spelled)));
            return;
        }
        Found::One(value) => value.trim_ascii(),
    };
    let (scheme, credential) = scheme(value);
    let is_bearer = scheme.eq_ignore_ascii_case(b"Bearer");
    let is_basic = scheme.eq_ignore_ascii_case(b"Basic");
    if memchr(b',', value).is_some() && is_two(value) {
        shown.add(Sender::Client, Err(Error::Ambiguous));
    } else if is_bearer && bearer {
        let token = if credential.is_empty() {
            Err(Error::Empty)
        } else {
            Ok(Cow::Borrowed(credential))
        };
        shown.add(Source::Bearer.sender(), token);
    } else if let Some(browser) = basic.filter(|_| is_basic) {
        if !browser {
            let sender = if spelled == "Authorization" {
                Source::Basic.sender()
            } else {
                Source::Proxy.sender()
            };
            shown.add(sender, password(credential).map(Cow::Owned));
        }
    } else {
        return;
    }
    shown.take.push(Take::Header(Cow::Borrowed(spelled)));
}

pub(super) fn scheme(value: &[u8]) -> (&[u8], &[u8]) {
    let end = value
        .iter()
        .position(|b| matches!(b, b' ' | b'\t'))
        .unwrap_or(value.len());
    let (scheme, rest) = value.split_at_checked(end).unwrap_or((value, &[]));
    (scheme, rest.trim_ascii())
}

/// httpd joins a header that was sent twice by a comma, which neither scheme's credential may hold
/// (RFC 6750, section 2.1; RFC 7617, section 2). Other schemes have commas of their own (Digest): there a later
/// part counts only where it begins as one of ours.
fn is_two(value: &[u8]) -> bool {
    let ours = |part: &[u8]| {
        let (scheme, _) = scheme(part.trim_ascii());
        scheme.eq_ignore_ascii_case(b"Bearer") || scheme.eq_ignore_ascii_case(b"Basic")
    };
    let mut parts = value.split(|b| *b == b',');
    let first = parts.next().unwrap_or_default();
    first.trim_ascii().is_empty() || ours(first) || parts.any(ours)
}

fn password(credential: &[u8]) -> Result<Vec<u8>, Error> {
    let text = base64::engine::general_purpose::STANDARD
        .decode(credential)
        .map_err(|_| Error::Basic)?;
    let colon = text.iter().position(|b| *b == b':').ok_or(Error::Basic)?;
    match text.get(colon + 1..) {
        Some(password) if is_two_tokens(password) => Err(Error::Ambiguous),
        Some(password) if !password.is_empty() => Ok(password.to_vec()),
        _ => Err(Error::Empty),
    }
}

/// Two tokens with a comma between them. A password with a comma is a wrong password, and not two tokens: after
/// 401 a client asks for another one, after 400 it does not.
fn is_two_tokens(password: &[u8]) -> bool {
    let is_token = |part: &&[u8]| part.iter().filter(|b| **b == b'.').count() == 2;
    memchr(b',', password).is_some() && password.split(|b| *b == b',').filter(is_token).count() > 1
}

fn header<'r>(shown: &mut Shown<'r>, fields: &impl Fields<'r>, name: &FieldName) {
    match fields.find(name) {
        Found::None => return,
        Found::Many => shown.add(Sender::Client, Err(Error::Ambiguous)),
        Found::One(value) => {
            let value = value.trim_ascii();
            let token = if value.is_empty() {
                Err(Error::Empty)
            } else if memchr(b',', value).is_some() {
                Err(Error::Ambiguous)
            } else {
                Ok(Cow::Borrowed(value))
            };
            shown.add(Sender::Client, token);
        }
    }
    shown
        .take
        .push(Take::Header(Cow::Owned(name.as_str().to_owned())));
}

fn cookie<'r>(shown: &mut Shown<'r>, fields: &impl Fields<'r>, header: &FieldName, name: &str) {
    let value = match fields.find(header) {
        Found::None => return,
        Found::Many => {
            shown.add(Sender::Browser, Err(Error::Ambiguous));
            shown.take.push(Take::Cookies(None));
            return;
        }
        Found::One(value) => value,
    };
    let mut kept: Vec<u8> = Vec::new();
    let mut tokens = Vec::new();
    for (separator, pair) in cookies(value) {
        let at = pair.iter().position(|b| *b == b'=');
        match at.and_then(|at| pair.split_at_checked(at)) {
            Some((key, token)) if trim_blanks(key) == name.as_bytes() => {
                tokens.push(trim_blanks(token.get(1..).unwrap_or_default()));
            }
            _ => {
                if !kept.is_empty() {
                    kept.extend(separator);
                }
                kept.extend_from_slice(if kept.is_empty() {
                    pair.trim_ascii_start()
                } else {
                    pair
                });
            }
        }
    }
    if tokens.is_empty() {
        return;
    }
    add_one(
        shown,
        Sender::Browser,
        tokens.into_iter().map(|token| {
            let quoted = token
                .strip_prefix(b"\"")
                .and_then(|rest| rest.strip_suffix(b"\""));
            Cow::Borrowed(quoted.unwrap_or(token))
        }),
    );
    shown.take.push(Take::Cookies(
        (!kept.trim_ascii().is_empty()).then_some(kept),
    ));
}

/// The cookies of a header, each with the separator before it. Cookies end at `;`. A `,` ends one only before
/// `NAME=`: httpd joins a header that was sent twice by it. Any other `,` is part of the value that it stands in.
fn cookies(header: &[u8]) -> Vec<(Option<u8>, &[u8])> {
    let mut cookies = Vec::new();
    let (mut separator, mut start) = (None, 0);
    for (at, byte) in header.iter().enumerate() {
        let after = header.get(at + 1..).unwrap_or_default();
        if *byte == b';' || (*byte == b',' && begins_with_a_name(after)) {
            cookies.push((separator, header.get(start..at).unwrap_or_default()));
            (separator, start) = (Some(*byte), at + 1);
        }
    }
    cookies.push((separator, header.get(start..).unwrap_or_default()));
    cookies
}

/// Whether a cookie's name and `=` come first.
fn begins_with_a_name(text: &[u8]) -> bool {
    let mut bytes = text.iter().skip_while(is_blank).peekable();
    let is_named = bytes.peek().is_some_and(|byte| is_name_byte(**byte));
    let mut rest = bytes
        .skip_while(|byte| is_name_byte(**byte))
        .skip_while(is_blank);
    is_named && rest.next() == Some(&b'=')
}

/// SP and HTAB: nothing else is a blank in a cookie.
fn is_blank(byte: &&u8) -> bool {
    matches!(byte, b' ' | b'\t')
}

fn trim_blanks(text: &[u8]) -> &[u8] {
    let from = text
        .iter()
        .position(|b| !is_blank(&b))
        .unwrap_or(text.len());
    let to = text
        .iter()
        .rposition(|b| !is_blank(&b))
        .map_or(from, |at| at + 1);
    text.get(from..to).unwrap_or_default()
}

fn add_one<'r>(
    shown: &mut Shown<'r>,
    sender: Sender,
    mut tokens: impl Iterator<Item = Cow<'r, [u8]>>,
) {
    match (tokens.next(), tokens.next()) {
        (None, _) => {}
        (Some(_), Some(_)) => shown.add(sender, Err(Error::Ambiguous)),
        (Some(token), None) if token.is_empty() => shown.add(sender, Err(Error::Empty)),
        (Some(token), None) if memchr(b',', &token).is_some() => {
            shown.add(sender, Err(Error::Ambiguous));
        }
        (Some(token), None) => shown.add(sender, Ok(token)),
    }
}

fn query<'r>(shown: &mut Shown<'r>, target: &Target<'r>, name: &str) {
    let is_name = |key: &[u8]| key == name.as_bytes();
    let (take, tokens) = take_parameters(target, &is_name);
    let has_any = !tokens.is_empty();
    let tokens = if has_any {
        tokens
    } else {
        parameters(target.client_args.unwrap_or_default(), name)
    };
    add_one(shown, Sender::Client, tokens.into_iter().map(Cow::Owned));
    // A copy of the target may still hold what the query does not: httpd keeps them apart.
    if has_any || take.changes_a_copy() {
        shown.take.push(take);
    }
}

#[cfg(test)]
mod tests;
