//! Header fields, whoever sends them: names as an upstream might fold them (without case, every other
//! character a hyphen), and values that may stand there as they are.

use std::borrow::Cow;

fn fold(byte: u8) -> u8 {
    if byte.is_ascii_alphanumeric() {
        byte.to_ascii_lowercase()
    } else {
        b'-'
    }
}

/// What a field's name, and every other token of HTTP, is made of (RFC 9110, section 5.6.2).
#[must_use]
pub fn is_name_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

/// A name as an upstream might fold it.
#[must_use]
pub fn folded(name: &[u8]) -> Box<[u8]> {
    name.iter().map(|b| fold(*b)).collect()
}

/// Whether an upstream could take `name` for this header.
#[must_use]
pub fn folds_to(header: &str, name: &[u8]) -> bool {
    same(&folded(header.as_bytes()), name)
}

/// Whether `name` folds to that.
#[must_use]
pub fn same(folded: &[u8], name: &[u8]) -> bool {
    folded.len() == name.len() && folded.iter().zip(name).all(|(a, b)| *a == fold(*b))
}

/// Text that comes out of a header as it went in: no control characters, and no blank at an end, which a
/// reader takes away (RFC 9110, section 5.5).
#[must_use]
pub fn is_plain(text: &str) -> bool {
    !text.chars().any(char::is_control) && text.trim_matches(' ') == text
}

/// Items joined by commas; `%`, `,`, control characters and a blank at an end are percent-encoded, so that no
/// item can forge a second one, nor pass for another.
#[must_use]
pub fn list<'a>(items: impl Iterator<Item = Cow<'a, str>>) -> String {
    let mut text = String::new();
    for (at, item) in items.enumerate() {
        if at > 0 {
            text.push(',');
        }
        push_encoded(&mut text, &item, &['%', ',']);
    }
    text
}

/// One value by itself: what is not plain is percent-encoded, so that it is cut nowhere, ends no line and passes
/// for no other.
#[must_use]
pub fn plain(value: Cow<'_, str>) -> Cow<'_, str> {
    if is_plain(&value) {
        return value;
    }
    let mut text = String::new();
    push_encoded(&mut text, &value, &[]);
    text.into()
}

fn push_encoded(text: &mut String, value: &str, also: &[char]) {
    let last = value.len().saturating_sub(1);
    for (at, c) in value.char_indices() {
        let is_end = at == 0 || at == last;
        if also.contains(&c) || c.is_control() || (c == ' ' && is_end) {
            let mut bytes = [0; 4];
            for byte in c.encode_utf8(&mut bytes).bytes() {
                text.push_str(&format!("%{byte:02X}"));
            }
        } else {
            text.push(c);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_taken_as_an_upstream_might_fold_it() {
        assert_eq!(
            &*folded(b"X-Forwarded_User.1 \xe9"),
            b"x-forwarded-user-1--"
        );
        for (name, wanted) in [
            ("X-Gate-Job", true),
            ("x_gate.JOB", true),
            ("X-Gate-Jo", false),
            ("X-Gate-Job ", false),
            ("Y-Gate-Job", false),
            ("XXGate-Job", false),
            ("", false),
        ] {
            assert_eq!(folds_to("X-Gate_Job", name.as_bytes()), wanted, "{name}");
            assert_eq!(same(b"x-gate-job", name.as_bytes()), wanted, "{name}");
        }
        assert!(same(b"", b""));
    }

    #[test]
    fn plain_text_has_no_control_character_and_no_blank_at_an_end() {
        for text in ["", "dana", "Zoë O'Neil, 50%"] {
            assert!(is_plain(text), "{text}");
        }
        for text in ["a\n", "\r", "\0", "\t", "\u{7f}", "\u{85}", " a", "a ", " "] {
            assert!(!is_plain(text), "{text:?}");
        }
    }

    #[test]
    fn a_value_by_itself_is_encoded_where_it_is_not_plain() {
        for (value, wanted) in [
            ("main", "main"),
            ("50%, é", "50%, é"),
            ("main\0evil", "main%00evil"),
            ("a\r\nSudo: root", "a%0D%0ASudo: root"),
            (" a ", "%20a%20"),
        ] {
            assert_eq!(plain(Cow::Borrowed(value)), wanted);
        }
    }

    #[test]
    fn no_item_can_forge_a_second_one() {
        let items = ["a,b", "50%", "c\r\nd", "é"];
        assert_eq!(
            list(items.into_iter().map(Cow::Borrowed)),
            "a%2Cb,50%25,c%0D%0Ad,é"
        );
        let list = |items: &[&'static str]| list(items.iter().map(|it| Cow::Borrowed(*it)));
        assert_eq!(list(&[]), "");
        assert_eq!(list(&["a"]), "a");
        assert_eq!(list(&["", ""]), ",");
        assert_eq!(list(&["\u{85}"]), "%C2%85");
        let blanks = [" admins", "a b ", " ", "  é "];
        assert_eq!(list(&blanks), "%20admins,a b%20,%20,%20 é%20");
    }
}
