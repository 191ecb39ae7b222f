//! Where a token may come from (GateTokenFrom), and what must then go out of the request. Whether
//! it is any good is not asked here.

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
            Self::Ambiguous => "wanted one token, got two (a header, cookie or parameter sent twice, or two sources)",
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

/// The header names that the sources read, made once.
#[derive(Debug)]
pub struct Names {
    authorization: FieldName,
    proxy_authorization: FieldName,
    cookie: FieldName,
}

impl Names {
    /// The standard names.
    #[must_use]
    pub fn new() -> Option<Self> {
        Some(Self {
            authorization: FieldName::new("Authorization")?,
            proxy_authorization: FieldName::new("Proxy-Authorization")?,
            cookie: FieldName::new("Cookie")?,
        })
    }
}

/// What must be taken out of the request, so that neither the upstream nor a log sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Take<'r> {
    /// A whole header.
    Header(Cow<'r, str>),
    /// The cookies that stay; `None`: the header goes.
    Cookies(Option<Vec<u8>>),
    /// The target without the token; each `None` is unchanged but for `args`, where it is "no query".
    Query {
        /// The query that stays.
        args: Option<Vec<u8>>,
        /// The target.
        unparsed_uri: Option<Vec<u8>>,
        /// The request line.
        the_request: Option<Vec<u8>>,
        /// The proxied URL.
        filename: Option<Vec<u8>>,
        /// The upstream may have it: only the request line changes.
        forward: bool,
    },
}

impl Take<'_> {
    /// Leaves the token for the upstream (GateForwardToken), but never in the request line, which
    /// access logs hold. Whether anything is left to take.
    pub fn keep_for_upstream(&mut self) -> bool {
        match self {
            Self::Query {
                forward,
                unparsed_uri,
                filename,
                the_request,
                ..
            } => {
                (*forward, *unparsed_uri, *filename) = (true, None, None);
                the_request.is_some()
            }
            Self::Header(_) | Self::Cookies(_) => false,
        }
    }
}

/// What the sources hold.
#[derive(Debug, Default)]
pub struct Shown<'r> {
    /// The token: one, or none, or an error (two of them, or a credential that can't be read).
    pub token: Option<Result<Cow<'r, [u8]>, Error>>,
    /// What must go.
    pub take: Vec<Take<'r>>,
}

impl<'r> Shown<'r> {
    fn add(&mut self, token: Result<Cow<'r, [u8]>, Error>) {
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
                    credentials(
                        &mut shown,
                        fields,
                        &names.authorization,
                        "Authorization",
                        bearer,
                        basic,
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
                    true,
                );
            }
            Source::Header(name) => header(&mut shown, fields, name),
            Source::Cookie(name) => cookie(&mut shown, fields, &names.cookie, name),
            Source::Query(name) => query(&mut shown, target, name),
        }
    }
    shown
}

fn credentials<'r>(
    shown: &mut Shown<'r>,
    fields: &impl Fields<'r>,
    name: &FieldName,
    spelled: &'static str,
    bearer: bool,
    basic: bool,
) {
    let value = match fields.find(name) {
        Found::None => return,
        Found::Many => {
            shown.add(Err(Error::Ambiguous));
            shown.take.push(Take::Header(Cow::Borrowed(spelled)));
            return;
        }
        Found::One(value) => value.trim_ascii(),
    };
    let split = value
        .iter()
        .position(|b| matches!(b, b' ' | b'\t'))
        .unwrap_or(value.len());
    let (scheme, rest) = value.split_at_checked(split).unwrap_or((value, &[]));
    let credential = rest.trim_ascii();
    let is_bearer = scheme.eq_ignore_ascii_case(b"Bearer");
    let is_basic = scheme.eq_ignore_ascii_case(b"Basic");
    // httpd joins a header that was sent twice by a comma, which neither scheme's credential may
    // hold (RFC 6750, section 2.1; RFC 7617, section 2).
    if (is_bearer || is_basic) && memchr(b',', credential).is_some() {
        shown.add(Err(Error::Ambiguous));
    } else if is_bearer && bearer {
        shown.add(if credential.is_empty() {
            Err(Error::Empty)
        } else {
            Ok(Cow::Borrowed(credential))
        });
    } else if is_basic && basic {
        shown.add(password(credential).map(Cow::Owned));
    } else {
        return;
    }
    shown.take.push(Take::Header(Cow::Borrowed(spelled)));
}

fn password(credential: &[u8]) -> Result<Vec<u8>, Error> {
    let text = base64::engine::general_purpose::STANDARD
        .decode(credential)
        .map_err(|_| Error::Basic)?;
    let colon = text.iter().position(|b| *b == b':').ok_or(Error::Basic)?;
    match text.get(colon + 1..) {
        Some(password) if !password.is_empty() => Ok(password.to_vec()),
        _ => Err(Error::Empty),
    }
}

fn header<'r>(shown: &mut Shown<'r>, fields: &impl Fields<'r>, name: &FieldName) {
    match fields.find(name) {
        Found::None => return,
        Found::Many => shown.add(Err(Error::Ambiguous)),
        Found::One(value) => {
            let value = value.trim_ascii();
            shown.add(if value.is_empty() {
                Err(Error::Empty)
            } else if memchr(b',', value).is_some() {
                Err(Error::Ambiguous)
            } else {
                Ok(Cow::Borrowed(value))
            });
        }
    }
    shown
        .take
        .push(Take::Header(Cow::Owned(name.as_str().to_owned())));
}

/// Cookies are split at `;`, and at the `,` by which httpd joins a header that was sent twice.
fn cookie<'r>(shown: &mut Shown<'r>, fields: &impl Fields<'r>, header: &FieldName, name: &str) {
    let value = match fields.find(header) {
        Found::None => return,
        Found::Many => {
            shown.add(Err(Error::Ambiguous));
            shown.take.push(Take::Cookies(None));
            return;
        }
        Found::One(value) => value,
    };
    let mut kept: Vec<u8> = Vec::new();
    let mut tokens = Vec::new();
    for (separator, pair) in pieces(value, |b| matches!(b, b';' | b',')) {
        let trimmed = pair.trim_ascii();
        match trimmed
            .iter()
            .position(|b| *b == b'=')
            .and_then(|at| trimmed.split_at_checked(at))
        {
            Some((key, token)) if key.trim_ascii() == name.as_bytes() => {
                tokens.push(token.get(1..).unwrap_or_default().trim_ascii());
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

/// Splits, keeping for each piece the separator before it.
fn pieces(
    text: &[u8],
    separates: impl Fn(u8) -> bool,
) -> impl Iterator<Item = (Option<u8>, &[u8])> {
    let mut rest = Some(text);
    let mut before = None;
    std::iter::from_fn(move || {
        let text = rest?;
        match text.iter().position(|b| separates(*b)) {
            Some(at) => {
                let piece = (before, text.get(..at).unwrap_or_default());
                before = text.get(at).copied();
                rest = text.get(at + 1..);
                Some(piece)
            }
            None => {
                rest = None;
                Some((before, text))
            }
        }
    })
}

fn add_one<'r>(shown: &mut Shown<'r>, mut tokens: impl Iterator<Item = Cow<'r, [u8]>>) {
    match (tokens.next(), tokens.next()) {
        (None, _) => {}
        (Some(_), Some(_)) => shown.add(Err(Error::Ambiguous)),
        (Some(token), None) if token.is_empty() => shown.add(Err(Error::Empty)),
        (Some(token), None) => shown.add(Ok(token)),
    }
}

fn query<'r>(shown: &mut Shown<'r>, target: &Target<'r>, name: &str) {
    let is_name = |key: &[u8]| key == name.as_bytes();
    let (take, tokens) = take_parameters(target, &is_name);
    if tokens.is_empty() {
        let (_, withheld) = without(target.withheld_args.unwrap_or_default(), &is_name);
        add_one(shown, withheld.into_iter().map(Cow::Owned));
        return;
    }
    add_one(shown, tokens.into_iter().map(Cow::Owned));
    shown.take.push(take);
}

/// What takes the parameters of these names (unescaped) out of the target; `None`: it holds none.
pub fn without_parameters<'r>(
    target: &Target<'r>,
    is_name: &dyn Fn(&[u8]) -> bool,
) -> Option<Take<'r>> {
    let (take, values) = take_parameters(target, is_name);
    let everywhere = !values.is_empty()
        || matches!(&take, Take::Query { unparsed_uri, filename, .. }
            if unparsed_uri.is_some() || filename.is_some());
    everywhere.then_some(take)
}

/// What takes the parameters of these names out of the target, and their values in its query.
fn take_parameters<'r>(
    target: &Target<'r>,
    is_name: &dyn Fn(&[u8]) -> bool,
) -> (Take<'r>, Vec<Vec<u8>>) {
    let (kept, values) = without(target.args.unwrap_or_default(), is_name);
    let take = Take::Query {
        args: kept,
        unparsed_uri: target_without(target.unparsed_uri, is_name),
        the_request: target_without(target.the_request, is_name),
        filename: target
            .filename
            .starts_with(b"proxy:")
            .then(|| target_without(target.filename, is_name))
            .flatten(),
        forward: false,
    };
    (take, values)
}

/// The values of the parameters of that name.
#[must_use]
pub fn parameters(query: &[u8], name: &str) -> Vec<Vec<u8>> {
    values(query, &|key| key == name.as_bytes())
}

/// The values of the parameters whose names (unescaped) are so.
#[must_use]
pub fn values(query: &[u8], is_name: &dyn Fn(&[u8]) -> bool) -> Vec<Vec<u8>> {
    without(query, is_name).1
}

/// The query without those parameters (`None`: nothing is left), and the parameters' values.
fn without(query: &[u8], is_name: &dyn Fn(&[u8]) -> bool) -> (Option<Vec<u8>>, Vec<Vec<u8>>) {
    let mut kept: Option<Vec<u8>> = None;
    let mut values = Vec::new();
    for (separator, pair) in pieces(query, |b| matches!(b, b'&' | b';')) {
        let at = pair.iter().position(|b| *b == b'=').unwrap_or(pair.len());
        let (key, value) = pair.split_at_checked(at).unwrap_or((pair, &[]));
        if is_name(&unescape(key)) {
            values.push(unescape(value.get(1..).unwrap_or_default()));
        } else if let Some(kept) = &mut kept {
            kept.extend(separator);
            kept.extend_from_slice(pair);
        } else {
            kept = Some(pair.to_vec());
        }
    }
    (kept.filter(|kept| !kept.is_empty()), values)
}

/// A target, a request line or a URL without that parameter; `None`: it holds none.
fn target_without(text: &[u8], is_name: &dyn Fn(&[u8]) -> bool) -> Option<Vec<u8>> {
    let at = text.iter().position(|b| *b == b'?')?;
    let (before, rest) = text.split_at_checked(at)?;
    let rest = rest.get(1..)?;
    let end = rest
        .iter()
        .position(|b| matches!(b, b' ' | b'#'))
        .unwrap_or(rest.len());
    let (query, after) = rest.split_at_checked(end)?;
    let (kept, values) = without(query, is_name);
    if values.is_empty() {
        return None;
    }
    let mut whole = before.to_vec();
    if let Some(kept) = kept {
        whole.push(b'?');
        whole.extend(kept);
    }
    whole.extend_from_slice(after);
    Some(whole)
}

/// `%XX` and `+` as forms have them.
pub(crate) fn unescape(text: &[u8]) -> Vec<u8> {
    let mut plain = Vec::with_capacity(text.len());
    let mut rest = text;
    while let [first, tail @ ..] = rest {
        rest = tail;
        if let (b'%', [high, low, after @ ..]) = (first, tail)
            && let (Some(high), Some(low)) =
                ((*high as char).to_digit(16), (*low as char).to_digit(16))
        {
            plain.push((high * 16 + low) as u8);
            rest = after;
        } else {
            plain.push(if *first == b'+' { b' ' } else { *first });
        }
    }
    plain
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn look<'r>(
        sources: &[Source],
        fields: &'r [(&'r str, &'r str)],
        args: Option<&'r str>,
    ) -> Shown<'r> {
        let target = Target {
            args: args.map(str::as_bytes),
            unparsed_uri: b"/a?x=1&t=A.B.C&y=%20",
            the_request: b"GET /a?x=1&t=A.B.C&y=%20 HTTP/1.1",
            filename: b"proxy:http://u/a?x=1&t=A.B.C&y=%20",
            withheld_args: None,
        };
        collect(sources, &Names::new().unwrap(), &fields, &target)
    }

    fn token(shown: &Shown<'_>) -> Option<Result<String, Error>> {
        shown.token.as_ref().map(|it| {
            it.as_ref()
                .map(|t| String::from_utf8_lossy(t).into_owned())
                .map_err(Clone::clone)
        })
    }

    #[test]
    fn a_bearer_token_is_found_and_its_header_taken() {
        let shown = look(
            &[Source::Bearer],
            &[("authorization", "bEaReR  A.B.C ")],
            None,
        );
        assert_eq!(token(&shown), Some(Ok("A.B.C".into())));
        assert_eq!(shown.take, [Take::Header("Authorization".into())]);
    }

    #[test]
    fn basic_is_left_alone_where_it_is_no_source() {
        let shown = look(&[Source::Bearer], &[("Authorization", "Basic dTpw")], None);
        assert_eq!(token(&shown), None);
        assert!(shown.take.is_empty());
    }

    #[test]
    fn the_password_of_basic_is_the_token() {
        let shown = look(
            &[Source::Basic],
            &[("Authorization", "Basic dTpBLkIuQw==")],
            None,
        );
        assert_eq!(token(&shown), Some(Ok("A.B.C".into())));
    }

    #[test]
    fn two_credentials_in_one_header_are_ambiguous() {
        for value in [
            "Bearer A.B.C, Bearer A.B.C",
            "Basic dTpw, Bearer A.B.C",
            "Bearer A,B",
        ] {
            let fields = [("Authorization", value)];
            let shown = look(&[Source::Bearer], &fields, None);
            assert_eq!(token(&shown), Some(Err(Error::Ambiguous)), "{value}");
        }
        let twice = [("Authorization", "Bearer A"), ("Authorization", "Bearer A")];
        assert_eq!(
            token(&look(&[Source::Bearer], &twice, None)),
            Some(Err(Error::Ambiguous))
        );
    }

    #[test]
    fn the_same_token_by_two_sources_is_one() {
        let fields = [("Authorization", "Bearer A.B.C"), ("Cookie", "t=A.B.C")];
        let sources = [Source::Bearer, Source::Cookie("t".into())];
        assert_eq!(
            token(&look(&sources, &fields, None)),
            Some(Ok("A.B.C".into()))
        );
        let fields = [("Authorization", "Bearer A.B.C"), ("Cookie", "t=A.B.D")];
        assert_eq!(
            token(&look(&sources, &fields, None)),
            Some(Err(Error::Ambiguous))
        );
    }

    #[test]
    fn a_cookie_is_cut_out_and_the_others_stay_as_they_were() {
        let source = [Source::Cookie("t".into())];
        for (cookie, kept) in [
            ("a=1; t=A.B.C; b=2", Some("a=1; b=2")),
            ("t=A.B.C; b=2", Some("b=2")),
            ("a=1; t=A.B.C", Some("a=1")),
            ("t=\"A.B.C\"", None),
            ("a=1, t=A.B.C", Some("a=1")),
        ] {
            let fields = [("Cookie", cookie)];
            let shown = look(&source, &fields, None);
            assert_eq!(token(&shown), Some(Ok("A.B.C".into())), "{cookie}");
            assert_eq!(
                shown.take,
                [Take::Cookies(kept.map(|it| it.as_bytes().to_vec()))],
                "{cookie}"
            );
        }
        let fields = [("Cookie", "t=A; t=A")];
        assert_eq!(
            token(&look(&source, &fields, None)),
            Some(Err(Error::Ambiguous))
        );
    }

    #[test]
    fn a_query_token_goes_out_of_every_copy_of_the_target() {
        let shown = look(&[Source::Query("t".into())], &[], Some("x=1&t=A.B.C&y=%20"));
        assert_eq!(token(&shown), Some(Ok("A.B.C".into())));
        assert_eq!(
            shown.take,
            [Take::Query {
                args: Some(b"x=1&y=%20".to_vec()),
                unparsed_uri: Some(b"/a?x=1&y=%20".to_vec()),
                the_request: Some(b"GET /a?x=1&y=%20 HTTP/1.1".to_vec()),
                filename: Some(b"proxy:http://u/a?x=1&y=%20".to_vec()),
                forward: false,
            }]
        );
    }

    #[test]
    fn a_query_token_with_an_escaped_name_is_found_too() {
        let shown = look(&[Source::Query("t_k".into())], &[], Some("t%5Fk=A.B.C"));
        assert_eq!(token(&shown), Some(Ok("A.B.C".into())));
        let shown = look(&[Source::Query("t".into())], &[], Some("t=A&%74=A"));
        assert_eq!(token(&shown), Some(Err(Error::Ambiguous)));
    }
}
