//! mod_macro's `<Macro>` and `Use`: a macro's lines with its parameters filled in.

use crate::lines::word;
use std::collections::BTreeMap;

#[derive(Default)]
pub struct Macros {
    all: BTreeMap<String, Macro>,
    /// The one that is being read, and how many `</Macro>` are due.
    open: Option<(String, Macro, u32)>,
}

#[derive(Default)]
struct Macro {
    parameters: Vec<String>,
    lines: Vec<String>,
}

impl Macros {
    /// `<Macro NAME PARAMETER...>`
    pub fn begin(&mut self, arguments: &str) {
        let inner = arguments.rsplit_once('>').map_or(arguments, |it| it.0);
        let (name, parameters) = word(inner);
        let it = Macro {
            parameters: all_words(parameters),
            lines: Vec::new(),
        };
        self.open = Some((name.to_ascii_lowercase(), it, 1));
    }

    /// Takes a line as one of the macro that is being read; false: none is.
    pub fn takes(&mut self, line: &str) -> bool {
        let Some((_, it, due)) = &mut self.open else {
            return false;
        };
        match word(line).0.to_ascii_lowercase().as_str() {
            "<macro" => *due += 1,
            "</macro>" => *due -= 1,
            _ => {}
        }
        if *due > 0 {
            it.lines.push(line.to_owned());
        } else if let Some((name, it, _)) = self.open.take() {
            self.all.insert(name, it);
        }
        true
    }

    /// `UndefMacro NAME`
    pub fn forget(&mut self, name: &str) {
        self.all.remove(&name.to_ascii_lowercase());
    }

    /// `Use NAME VALUE...`: the lines.
    pub fn lines(&self, arguments: &str) -> Result<Vec<String>, String> {
        let (name, values) = word(arguments);
        let values = all_words(values);
        let it = self
            .all
            .get(&name.to_ascii_lowercase())
            .ok_or_else(|| format!("there is no macro {name}"))?;
        if it.parameters.len() != values.len() {
            return Err(format!("the macro {name} takes other values"));
        }
        let pairs: Vec<_> = it.parameters.iter().zip(&values).collect();
        Ok(it.lines.iter().map(|line| filled(line, &pairs)).collect())
    }
}

fn all_words(mut text: &str) -> Vec<String> {
    let mut words = Vec::new();
    while !text.trim().is_empty() {
        let (next, rest) = word(text);
        words.push(next);
        text = rest;
    }
    words
}

/// The first parameter in the line first, and the longest of those that begin there.
fn filled(line: &str, pairs: &[(&String, &String)]) -> String {
    let mut text = String::new();
    let mut rest = line;
    loop {
        let next = pairs
            .iter()
            .filter(|(name, _)| !name.is_empty())
            .filter_map(|(name, value)| Some((rest.find(name.as_str())?, *name, *value)))
            .min_by_key(|(at, name, _)| (*at, usize::MAX - name.len()));
        let Some((at, name, value)) = next else {
            return text + rest;
        };
        let (before, after) = rest.split_at(at);
        text.push_str(before);
        if name.starts_with('%') {
            let escaped = value.replace('\\', "\\\\").replace('"', "\\\"");
            text.push_str(&format!("\"{escaped}\""));
        } else {
            text.push_str(value);
        }
        rest = after.strip_prefix(name.as_str()).unwrap_or_default();
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn parameters_are_filled_in() {
        let mut macros = Macros::default();
        macros.begin("Host $name $names %path>");
        for line in [
            "ServerName $name.x",
            "ServerAlias $names",
            "DocumentRoot %path",
            "<Macro In>",
            "</Macro>",
            "</Macro>",
        ] {
            assert!(macros.takes(line));
        }
        assert!(!macros.takes("Listen 80"));
        assert_eq!(
            macros.lines(r#"host a "b c" /d\e"#).unwrap(),
            [
                "ServerName a.x",
                "ServerAlias b c",
                r#"DocumentRoot "/d\\e""#,
                "<Macro In>",
                "</Macro>"
            ]
        );
        assert!(macros.lines("host a").is_err());
        assert!(macros.lines("other").is_err());
        macros.forget("HOST");
        assert!(macros.lines("host a b c").is_err());
    }
}
