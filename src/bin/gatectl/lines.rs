//! A configuration as httpd reads it: one list of directives, with included files and macros in their
//! places, `${NAME}` filled in, and without what `<IfDefine>` leaves out. What is to be done with the
//! directives is not known here.

use crate::include;
use crate::macros::Macros;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// How deep files may include one another.
const DEPTH: u32 = 16;

/// Sections that httpd looks at while it reads.
const CONDITIONS: &[&str] = &[
    "<ifdefine",
    "<ifmodule",
    "<ifversion",
    "<iffile",
    "<ifdirective",
    "<ifsection",
];

/// A directive.
#[derive(Debug)]
pub struct Line {
    /// Its name in small letters; a section's begins with `<`, and an end is `</name`.
    pub name: String,
    /// The rest, a section's without the `>`.
    pub arguments: String,
    /// As it is to be written.
    pub text: String,
}

/// What httpd has in its environment.
pub type Environment = BTreeMap<String, String>;

/// What `Define` says of a name.
enum Defined {
    Bare,
    As(String),
    /// It stands in a section that only httpd can judge.
    Perhaps,
}

struct Reader<'a> {
    environment: &'a Environment,
    root: PathBuf,
    lines: Vec<Line>,
    defined: BTreeMap<String, Defined>,
    macros: Macros,
    /// The open conditions: true where only httpd can judge.
    conditions: Vec<bool>,
    /// The section that is passed over, and how many of its ends are due.
    skipping: Option<(String, u32)>,
}

/// The directives, and the ServerRoot. `given`: what is defined from the start, NAME or NAME=VALUE.
pub fn read(
    config: &Path,
    environment: &Environment,
    given: &[&str],
) -> Result<(Vec<Line>, PathBuf), String> {
    let given = given.iter().map(|it| match it.split_once('=') {
        Some((name, value)) => (name.to_owned(), Defined::As(value.to_owned())),
        None => ((*it).to_owned(), Defined::Bare),
    });
    let mut reader = Reader {
        environment,
        root: config.parent().unwrap_or(Path::new("/")).to_owned(),
        lines: Vec::new(),
        defined: given.collect(),
        macros: Macros::default(),
        conditions: Vec::new(),
        skipping: None,
    };
    reader.file(config, 0)?;
    Ok((reader.lines, reader.root))
}

impl Reader<'_> {
    fn file(&mut self, path: &Path, depth: u32) -> Result<(), String> {
        let bytes = fs::read(path).map_err(|wrong| format!("{}: {wrong}", path.display()))?;
        let text = String::from_utf8_lossy(&bytes);
        let mut lines = text.lines().zip(1_u32..);
        while let Some((line, number)) = lines.next() {
            let mut line = line.to_owned();
            while line.ends_with('\\') {
                line.pop();
                line.push_str(lines.next().map_or("", |it| it.0));
            }
            self.line(line.trim(), depth)
                .map_err(|why| format!("{} line {number}: {why}", path.display()))?;
        }
        Ok(())
    }

    fn line(&mut self, raw: &str, depth: u32) -> Result<(), String> {
        if raw.is_empty() || raw.starts_with('#') || self.skips(raw) || self.macros.takes(raw) {
            return Ok(());
        }
        let (text, missing) = self.filled(raw);
        let (name, arguments) = word(&text);
        let name = name.to_ascii_lowercase();
        let name = name.strip_suffix('>').unwrap_or(&name);
        let first = || word(arguments).0;
        let inner = arguments.rsplit_once('>').map_or("", |it| it.0);
        let needs_all = ["include", "includeoptional", "serverroot", "<virtualhost"];
        if needs_all.contains(&name)
            && let Some(missing) = missing
        {
            return self.fail(format!(
                "{}: nothing is known of the variable {missing}, neither by a Define nor in the environment",
                word(&text).0
            ));
        }
        let ends = name.strip_prefix("</").map(|it| format!("<{it}"));
        if ends.is_some_and(|it| CONDITIONS.contains(&it.as_str()))
            && self.conditions.pop() == Some(false)
        {
            return Ok(());
        }
        match name {
            "include" | "includeoptional" => return self.include(name, &first(), depth),
            "use" => {
                let lines = match self.macros.lines(arguments) {
                    Ok(lines) => lines,
                    Err(why) => return self.fail(why),
                };
                if depth >= DEPTH {
                    return Err("macros use one another too deep".into());
                }
                return lines
                    .iter()
                    .try_for_each(|line| self.line(line.trim(), depth + 1));
            }
            "<macro" => {
                self.macros.begin(arguments);
                return Ok(());
            }
            "undefmacro" => {
                self.macros.forget(&first());
                return Ok(());
            }
            "<ifdefine" => {
                let (not, wanted) = match word(inner).0.strip_prefix('!') {
                    Some(wanted) => (true, wanted.to_owned()),
                    None => (false, word(inner).0),
                };
                match (self.defined.get(&wanted), not) {
                    (Some(Defined::Perhaps), _) => self.conditions.push(true),
                    (Some(_), false) | (None, true) => {
                        self.conditions.push(false);
                        return Ok(());
                    }
                    _ => {
                        self.skipping = Some((name.to_owned(), 1));
                        return Ok(());
                    }
                }
            }
            _ if CONDITIONS.contains(&name) => self.conditions.push(true),
            "define" => self.define(arguments),
            "undefine" if self.httpd_judges() => {
                self.defined.insert(first(), Defined::Perhaps);
            }
            "undefine" => {
                self.defined.remove(&first());
            }
            "serverroot" => self.root = PathBuf::from(first()),
            _ => {}
        }
        self.lines.push(Line {
            name: name.to_owned(),
            arguments: if name.starts_with('<') {
                inner
            } else {
                arguments
            }
            .trim()
            .to_owned(),
            text,
        });
        Ok(())
    }

    /// Whether the line stands in a section that `<IfDefine>` leaves out.
    fn skips(&mut self, raw: &str) -> bool {
        let Some((name, due)) = &mut self.skipping else {
            return false;
        };
        let found = word(raw).0.to_ascii_lowercase();
        if found == *name {
            *due += 1;
        } else if found.strip_prefix("</").map(|it| it.trim_end_matches('>'))
            == name.strip_prefix('<')
        {
            *due -= 1;
            if *due == 0 {
                self.skipping = None;
            }
        }
        true
    }

    fn define(&mut self, arguments: &str) {
        let (name, rest) = word(arguments);
        let value = if self.httpd_judges() {
            Defined::Perhaps
        } else if rest.is_empty() {
            Defined::Bare
        } else {
            Defined::As(word(rest).0)
        };
        self.defined.insert(name, value);
    }

    fn include(&mut self, name: &str, pattern: &str, depth: u32) -> Result<(), String> {
        if depth >= DEPTH {
            return Err("files include one another too deep".into());
        }
        let optional = name == "includeoptional";
        let found = include::files(&self.root, pattern);
        if found.is_empty() && !optional {
            return self.fail(format!("Include {pattern}: there is no such file"));
        }
        for path in &found {
            if path.exists() {
                self.file(path, depth + 1)?;
            } else if !optional {
                return self.fail(format!("Include {}: there is no such file", path.display()));
            }
        }
        Ok(())
    }

    fn httpd_judges(&self) -> bool {
        self.conditions.contains(&true)
    }

    /// What can't be read. Where only httpd knows whether the place counts, httpd has to fail there.
    fn fail(&mut self, why: String) -> Result<(), String> {
        if !self.httpd_judges() {
            return Err(why);
        }
        self.lines.push(Line {
            name: "error".into(),
            arguments: String::new(),
            text: format!("Error \"{}\"", why.replace(['"', '\\'], "'")),
        });
        Ok(())
    }

    /// `${NAME}` filled in, and the first name that nothing is known of.
    fn filled(&self, text: &str) -> (String, Option<String>) {
        let mut filled = String::new();
        let mut missing = None;
        let mut rest = text;
        while let Some((before, after)) = rest.split_once("${") {
            let Some((name, after)) = after.split_once('}') else {
                break;
            };
            filled.push_str(before);
            let value = match self.defined.get(name) {
                Some(Defined::As(value)) => Some(value),
                Some(Defined::Perhaps) => None,
                Some(Defined::Bare) | None => self.environment.get(name),
            };
            if let Some(value) = value {
                filled.push_str(value);
            } else {
                filled.push_str(&format!("${{{name}}}"));
                missing.get_or_insert_with(|| name.to_owned());
            }
            rest = after;
        }
        (filled + rest, missing)
    }
}

/// httpd's own way to take the first word: in quotes, with their escapes, or up to white space.
pub fn word(text: &str) -> (String, &str) {
    let text = text.trim_start();
    let quote = text.chars().next().filter(|it| matches!(it, '"' | '\''));
    let mut word = String::new();
    let mut rest = text.chars();
    if quote.is_some() {
        rest.next();
    }
    loop {
        let before = rest.as_str();
        match rest.next() {
            None => break,
            Some(c) if Some(c) == quote => break,
            Some(c) if quote.is_none() && c.is_ascii_whitespace() => {
                return (word, before.trim_start());
            }
            Some('\\') => match rest.as_str().chars().next() {
                Some(next) if next == '\\' || Some(next) == quote => {
                    word.push(next);
                    rest.next();
                }
                _ => word.push('\\'),
            },
            Some(c) => word.push(c),
        }
    }
    (word, rest.as_str().trim_start())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_httpds() {
        for (text, first, rest) in [
            (" a  b c", "a", "b c"),
            (r#""a b" c"#, "a b", "c"),
            (r#"'a"b' c"#, "a\"b", "c"),
            (r#""a\"b\\c\d" e"#, r#"a"b\c\d"#, "e"),
            (r#""open"#, "open", ""),
            ("", "", ""),
        ] {
            assert_eq!(word(text), (first.to_owned(), rest), "{text}");
        }
    }
}
