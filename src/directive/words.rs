//! The small words that many directives share: durations, sizes, switches, one value.

/// The one value of a directive.
///
/// # Errors
/// There is none, or more than one.
pub fn one<'a>(name: &str, words: &[&'a str]) -> Result<&'a str, String> {
    match words {
        [word] if !word.is_empty() => Ok(word),
        [] | [_] => Err(format!("{name} takes a value")),
        _ => Err(format!(
            "{name} takes one value, got {}: quote it if it holds spaces",
            words.len()
        )),
    }
}

/// What was probably meant, to stand first in a message: the known word that is a letter or two away.
#[must_use]
pub fn did_you_mean<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> String {
    let near = known.into_iter().map(|it| (distance(word, it), it));
    // Of a short word two letters are most of it.
    let most = if word.len() < 5 { 1 } else { 2 };
    match near.filter(|(far, _)| *far <= most).min() {
        Some((_, meant)) => format!("did you mean {meant}? "),
        None => String::new(),
    }
}

/// How many letters must be changed, put in or taken out, without case (Levenshtein).
fn distance(one: &str, other: &str) -> usize {
    let one: Vec<char> = one.to_lowercase().chars().collect();
    let mut row: Vec<usize> = (0..=one.len()).collect();
    for (line, letter) in other.to_lowercase().chars().enumerate() {
        let (mut left, mut before) = (line + 1, line);
        let mut next = vec![left];
        for (at, mine) in one.iter().enumerate() {
            let above = row.get(at + 1).copied().unwrap_or(usize::MAX - 1);
            let changed = before + usize::from(*mine != letter);
            left = changed.min(above + 1).min(left + 1);
            next.push(left);
            before = above;
        }
        row = next;
    }
    row.last().copied().unwrap_or(usize::MAX)
}

/// Of options like `every=10s`, each stands once.
///
/// # Errors
/// One stands twice.
pub fn once_each(name: &str, options: &[&str]) -> Result<(), String> {
    let key = |option: &str| option.split_once('=').map(|it| it.0.to_owned());
    for (at, option) in options.iter().enumerate() {
        let before = options.get(..at).unwrap_or_default();
        if let Some(key) =
            key(option).filter(|it| before.iter().any(|b| key(b).as_ref() == Some(it)))
        {
            return Err(format!("{name}: {key}= stands twice"));
        }
    }
    Ok(())
}

/// That the file said it in UTF-8: what is not has become U+FFFD on its way here, and fits nothing.
///
/// # Errors
/// It did not.
pub fn utf8(name: &str, words: &[&str]) -> Result<(), String> {
    match words.iter().find(|word| word.contains('\u{fffd}')) {
        Some(word) => Err(format!("{name} {word}: write it in UTF-8")),
        None => Ok(()),
    }
}

/// `on` or `off`.
///
/// # Errors
/// It is another word.
pub fn switch(name: &str, words: &[&str]) -> Result<bool, String> {
    match one(name, words)? {
        word if word.eq_ignore_ascii_case("on") => Ok(true),
        word if word.eq_ignore_ascii_case("off") => Ok(false),
        word => Err(format!("{name} {word}: write on or off")),
    }
}

/// A duration in seconds: `300`, `300s`, `5m`, `24h`, `7d`; at most ten years.
///
/// # Errors
/// It is none.
pub fn duration(name: &str, words: &[&str]) -> Result<u64, String> {
    let word = one(name, words)?;
    let wrong = || format!("{name} {word}: write a duration as 300, 300s, 5m, 24h or 7d");
    let (number, unit) = match word.strip_suffix(|c: char| c.is_ascii_alphabetic()) {
        None => (word, 1),
        Some(number) => (
            number,
            match word.as_bytes().last() {
                Some(b's') => 1,
                Some(b'm') => 60,
                Some(b'h') => 3600,
                Some(b'd') => 86_400,
                _ => return Err(wrong()),
            },
        ),
    };
    if number.is_empty() || !number.bytes().all(|b| b.is_ascii_digit()) {
        return Err(wrong());
    }
    number
        .parse::<u64>()
        .ok()
        .and_then(|it| it.checked_mul(unit))
        .filter(|seconds| *seconds <= 3650 * 86_400)
        .ok_or_else(|| format!("{name} {word}: at most 3650d"))
}

/// A duration that may not be zero.
///
/// # Errors
/// It is none, or zero.
pub fn some_time(name: &str, words: &[&str]) -> Result<u64, String> {
    match duration(name, words)? {
        0 => Err(format!("{name} 0: it must be longer than nothing")),
        seconds => Ok(seconds),
    }
}

/// A duration by which every token lives longer: an hour at most.
///
/// # Errors
/// It is none, or longer.
pub fn leeway(name: &str, words: &[&str]) -> Result<u64, String> {
    match duration(name, words)? {
        seconds if seconds <= 3600 => Ok(seconds),
        _ => Err(format!(
            "{name} {}: at most 1h, since every token lives so much longer",
            words.join(" ")
        )),
    }
}

/// A number from 1 to 65535.
///
/// # Errors
/// It is none.
pub fn count(name: &str, words: &[&str]) -> Result<u32, String> {
    let word = one(name, words)?;
    word.parse::<u16>()
        .ok()
        .filter(|it| *it > 0)
        .map(u32::from)
        .ok_or_else(|| format!("{name} {word}: write a number from 1 to 65535"))
}

/// A number of bytes: `65536`, `512K`, `16M`, `1G`.
///
/// # Errors
/// It is none.
pub fn size(name: &str, words: &[&str]) -> Result<usize, String> {
    let word = one(name, words)?;
    let wrong = || format!("{name} {word}: write a size as 65536, 512K, 16M or 1G");
    let (number, shift) = match word.as_bytes().last() {
        Some(b'K' | b'k') => (word.get(..word.len() - 1), 10),
        Some(b'M' | b'm') => (word.get(..word.len() - 1), 20),
        Some(b'G' | b'g') => (word.get(..word.len() - 1), 30),
        _ => (Some(word), 0),
    };
    number
        .filter(|it| !it.is_empty() && it.bytes().all(|b| b.is_ascii_digit()))
        .and_then(|it| it.parse::<usize>().ok())
        .and_then(|it| it.checked_mul(1 << shift))
        .ok_or_else(wrong)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_in_every_unit() {
        for (word, seconds) in [
            ("300", 300),
            ("300s", 300),
            ("5m", 300),
            ("24h", 86_400),
            ("7d", 604_800),
            ("0", 0),
        ] {
            assert_eq!(duration("GateRefresh", &[word]), Ok(seconds));
        }
        for word in [
            "",
            "s",
            "5 m",
            "-1",
            "1.5h",
            "5w",
            "m5",
            "99999999999999999999",
            "4000d",
            "5µ",
        ] {
            assert!(duration("GateRefresh", &[word]).is_err(), "{word}");
        }
    }

    #[test]
    fn a_word_a_letter_or_two_away_is_meant() {
        let known = ["GateAudience", "GateIssuerURL", "GateRole", "GateRoleClaim"];
        for (word, meant) in [
            ("GateAudiance", "GateAudience"),
            ("gateissueruri", "GateIssuerURL"),
            ("GateRoles", "GateRole"),
            ("GateRoleClam", "GateRoleClaim"),
        ] {
            assert_eq!(did_you_mean(word, known), format!("did you mean {meant}? "));
        }
        for word in ["GateNothing", "", "ProxyPass"] {
            assert_eq!(did_you_mean(word, known), "", "{word}");
        }
        assert_eq!(did_you_mean("ab", ["xy"]), "");
    }

    #[test]
    fn sizes_are_read_in_every_unit() {
        for (word, bytes) in [
            ("65536", 65536),
            ("512K", 512 << 10),
            ("16m", 16 << 20),
            ("1G", 1 << 30),
        ] {
            assert_eq!(size("GateCacheSize", &[word]), Ok(bytes));
        }
        for word in ["", "M", "1T", "-1", "1.5M", "99999999999G"] {
            assert!(size("GateCacheSize", &[word]).is_err(), "{word}");
        }
    }
}
