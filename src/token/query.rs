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
    (!values.is_empty() || take.changes_a_copy()).then_some(take)
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

/// A target, a request line or a URL without those parameters; `None`: it holds none.
#[must_use]
pub fn target_without(text: &[u8], is_name: &dyn Fn(&[u8]) -> bool) -> Option<Vec<u8>> {
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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const fn is_t(name: &[u8]) -> bool {
        matches!(name, b"t")
    }

    fn text(bytes: Option<Vec<u8>>) -> Option<String> {
        bytes.map(|it| String::from_utf8(it).unwrap())
    }

    #[test]
    fn parameters_go_and_the_others_stay_as_they_were() {
        for (query, kept, values) in [
            ("", None, &[][..]),
            ("t=A", None, &["A"]),
            ("t", None, &[""]),
            ("a=1", Some("a=1"), &[]),
            ("t=A&a=1", Some("a=1"), &["A"]),
            ("a=1&t=A", Some("a=1"), &["A"]),
            ("a=1&t=A;b=%20+2", Some("a=1;b=%20+2"), &["A"]),
            ("a;b&t=A&c", Some("a;b&c"), &["A"]),
            ("t=A&x&t=B=C", Some("x"), &["A", "B=C"]),
            ("%74=%41+%2e", None, &["A ."]),
            ("tt=A&T=B&=t", Some("tt=A&T=B&=t"), &[]),
            ("&a&&t=A&", Some("&a&&"), &["A"]),
        ] {
            let (left, found) = without(query.as_bytes(), &is_t);
            let wanted: Vec<_> = values.iter().map(|it| it.as_bytes().to_vec()).collect();
            assert_eq!(text(left).as_deref(), kept, "{query}");
            assert_eq!(found, wanted, "{query}");
            assert_eq!(parameters(query.as_bytes(), "t"), wanted, "{query}");
            assert_eq!(self::values(query.as_bytes(), &is_t), wanted, "{query}");
        }
    }

    #[test]
    fn a_target_is_cut_between_its_question_mark_and_its_end() {
        for (target, wanted) in [
            ("/a?t=A", Some("/a")),
            ("GET /a?t=A HTTP/1.1", Some("GET /a HTTP/1.1")),
            ("/a?x=1&t=A#t=B", Some("/a?x=1#t=B")),
            (
                "GET /a?t=A&x=? HTTP/1.1?t=B",
                Some("GET /a?x=? HTTP/1.1?t=B"),
            ),
            ("/a?x=1", None),
            ("/a?", None),
            ("/a;t=A", None),
            ("/a#?x", None),
            ("", None),
        ] {
            let got = target_without(target.as_bytes(), &is_t);
            assert_eq!(text(got).as_deref(), wanted, "{target}");
        }
    }

    #[test]
    fn every_copy_of_the_target_gives_the_parameter_up() {
        let target = Target {
            args: Some(b"x=1&t=A"),
            unparsed_uri: b"/a?x=1&t=A",
            the_request: b"GET /a?x=1&t=A HTTP/1.1",
            filename: b"proxy:http://u/a?x=1&t=A",
            client_args: None,
        };
        let wanted = |args: &[u8], filename: Option<&[u8]>| Take::Query {
            args: Some(args.to_vec()),
            unparsed_uri: Some(b"/a?x=1".to_vec()),
            the_request: Some(b"GET /a?x=1 HTTP/1.1".to_vec()),
            filename: filename.map(<[u8]>::to_vec),
            forward: false,
        };
        assert_eq!(
            without_parameters(&target, &is_t),
            Some(wanted(b"x=1", Some(b"proxy:http://u/a?x=1")))
        );
        // A path on the disk is no URL.
        let on_disk = Target {
            filename: b"/srv/a?t=A",
            ..target
        };
        assert_eq!(
            without_parameters(&on_disk, &is_t),
            Some(wanted(b"x=1", None))
        );
    }

    #[test]
    fn a_copy_that_httpd_made_alone_is_enough() {
        let none = Target::default();
        assert_eq!(without_parameters(&none, &is_t), None);
        for (target, gone) in [
            (
                Target {
                    args: Some(b"t=A"),
                    ..none
                },
                true,
            ),
            (
                Target {
                    unparsed_uri: b"/?t=A",
                    ..none
                },
                true,
            ),
            (
                Target {
                    filename: b"proxy:http://u/?t=A",
                    ..none
                },
                true,
            ),
            (
                Target {
                    the_request: b"GET /?t=A HTTP/1.1",
                    ..none
                },
                true,
            ),
            (
                Target {
                    args: Some(b"a=1"),
                    unparsed_uri: b"/?a=1",
                    ..none
                },
                false,
            ),
        ] {
            assert_eq!(
                without_parameters(&target, &is_t).is_some(),
                gone,
                "{target:?}"
            );
        }
    }

    #[test]
    fn a_form_s_escapes_are_read() {
        for (escaped, wanted) in [
            ("", ""),
            ("%41%62%2B+", "Ab+ "),
            ("%4a%4A", "JJ"),
            ("%", "%"),
            ("%4", "%4"),
            ("%4g%g4", "%4g%g4"),
            ("%%41", "%A"),
            ("%+41", "% 41"),
        ] {
            assert_eq!(unescape(escaped.as_bytes()), wanted.as_bytes(), "{escaped}");
        }
    }
}
