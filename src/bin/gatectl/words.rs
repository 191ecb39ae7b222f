//! A command line's options and what is left of it. Knows no command.

use std::collections::BTreeMap;

/// A word of the command line as a message may show it. What could be a token is not shown: messages
/// go to the logs of CI jobs.
pub fn shown(word: &str) -> String {
    let name = word.trim_start_matches('-');
    let option = name.bytes().all(|b| b.is_ascii_lowercase() || b == b'-');
    let variable = name.bytes().all(|b| b.is_ascii_uppercase() || b == b'_');
    if (option || variable) && (1..=20).contains(&name.len()) {
        word.to_owned()
    } else {
        format!("a word of {} characters", word.chars().count())
    }
}

/// A file's name as a message may show it: one that is there, or a path from the root, is no token.
pub fn file(name: &str) -> String {
    if name.starts_with('/') || std::fs::symlink_metadata(name).is_ok() {
        name.to_owned()
    } else {
        shown(name)
    }
}

/// The options with their values, and the other words.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Words<'a> {
    options: BTreeMap<&'a str, Vec<&'a str>>,
    /// What is no option.
    pub rest: Vec<&'a str>,
}

impl<'a> Words<'a> {
    /// Takes the words apart; every option has a value, `--name value` or `--name=value`.
    ///
    /// One whose known name ends with `*` may stand several times.
    ///
    /// # Errors
    /// An option that is not `known`, has no value, or stands twice.
    pub fn parse(words: &[&'a str], known: &[&str]) -> Result<Self, String> {
        let mut parsed = Self::default();
        let mut words = words.iter().copied();
        while let Some(word) = words.next() {
            if word == "--" {
                parsed.rest.extend(words.by_ref());
                break;
            }
            let Some(option) = word.strip_prefix("--") else {
                parsed.rest.push(word);
                continue;
            };
            let (name, value) = match option.split_once('=') {
                Some((name, value)) => (name, Some(value)),
                None => (option, None),
            };
            let often = known.contains(&format!("{name}*").as_str());
            if !known.contains(&name) && !often {
                return Err(format!("{} is not known here", shown(&format!("--{name}"))));
            }
            let value = value
                .or_else(|| words.next())
                .ok_or_else(|| format!("--{name} takes a value"))?;
            let values = parsed.options.entry(name).or_default();
            if !values.is_empty() && !often {
                return Err(format!("--{name} is there twice"));
            }
            values.push(value);
        }
        Ok(parsed)
    }

    /// An option's value.
    pub fn get(&self, name: &str) -> Option<&'a str> {
        self.all(name).first().copied()
    }

    /// Those of an option that may stand several times.
    pub fn all(&self, name: &str) -> &[&'a str] {
        self.options.get(name).map_or(&[], Vec::as_slice)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn what_could_be_a_token_is_not_shown() {
        for plain in ["--tokne-env", "xml", "GATE_TOKEN"] {
            assert_eq!(shown(plain), plain);
        }
        for secret in [
            "glpat-Ab3",
            "eyJhbGciOi.x.y",
            "a=b",
            "",
            "s3cret",
            "Secret",
            "SECRET_1",
            "--x=glpat",
        ] {
            assert!(!shown(secret).contains("glpat") && shown(secret).starts_with("a word"));
        }
    }

    #[test]
    fn a_file_is_shown_that_is_there() {
        let there = std::env::current_exe().unwrap();
        let there = there.to_str().unwrap();
        assert_eq!(file(there), there);
        assert_eq!(file("/nowhere/nothing"), "/nowhere/nothing");
        assert!(file("eyJhbGciOi.x.y").starts_with("a word"));
    }

    #[test]
    fn options_stand_anywhere() {
        let words = Words::parse(
            &["a", "--key", "k", "b", "--format=csv", "--", "--c"],
            &["key", "format"],
        )
        .unwrap();
        assert_eq!(
            (words.get("key"), words.get("format")),
            (Some("k"), Some("csv"))
        );
        assert_eq!(words.rest, ["a", "b", "--c"]);
        let words = Words::parse(&["--d", "1", "--d=2"], &["d*"]).unwrap();
        assert_eq!(words.all("d"), ["1", "2"]);
    }

    #[test]
    fn what_is_wrong_is_told() {
        for wrong in [
            &["--other", "x"][..],
            &["--key"],
            &["--key", "a", "--key", "b"],
        ] {
            assert!(Words::parse(wrong, &["key"]).is_err());
        }
    }
}
