//! Parameters in a request's target: their values, and the target without them, in every place where
//! httpd keeps a copy of it.

use super::take::Take;
use crate::request::Target;

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
pub(super) fn take_parameters<'r>(
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
#[must_use]
pub fn unescape(text: &[u8]) -> Vec<u8> {
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

/// Splits, keeping for each piece the separator before it.
pub(super) fn pieces(
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
