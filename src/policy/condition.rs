//! Conditions on claims: `PATH=VALUE`, `PATH!=VALUE`, `PATH~REGEX`, `PATH*=GLOB` (docs/directives.md),
//! and the fork rule of the kind gitlab.
//!
//! Parsed once from the configuration, asked on each request without allocating. What follows
//! from the answer (a role, a refusal) is not decided here.

use crate::json::{Object, Value};
use crate::kind::Kind;
use crate::policy::path::{ClaimPath, PathError};
use crate::shown::{self, quoted};
use regex::{Regex, RegexBuilder};
use serde_json::Number;
use std::fmt::{self, Write as _};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

/// The most bytes that one compiled pattern may take, so that no line of the configuration can
/// eat up memory.
const PATTERN_SIZE: usize = 4 << 20;

/// Claims that name a fork's or its parent's project, depending on GitLab's version, each with the
/// claim that names the project in which the job runs.
const TWINS: [(&str, &str); 4] = [
    ("project_path", "job_project_path"),
    ("project_id", "job_project_id"),
    ("namespace_path", "job_namespace_path"),
    ("namespace_id", "job_namespace_id"),
];

/// One condition, ready to be asked.
#[derive(Clone, Debug)]
pub struct Condition {
    path: ClaimPath,
    operator: Operator,
    /// VALUE, REGEX or GLOB, as written.
    value: String,
    /// REGEX or GLOB compiled, anchored at both ends; none where texts are compared.
    pattern: Option<Regex>,
    /// VALUE as a number, for `!=`: a claim's number may have been written in another way.
    number: Option<Number>,
    /// The claim that must fulfil it too where the kind is gitlab and the claim is there.
    twin: Option<&'static str>,
    /// A token had the claim. One that none ever has is likely misspelt.
    seen: Arc<AtomicBool>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Operator {
    Equal,
    NotEqual,
    Regex,
    Glob,
}

impl Operator {
    const fn text(self) -> &'static str {
        match self {
            Self::Equal => "=",
            Self::NotEqual => "!=",
            Self::Regex => "~",
            Self::Glob => "*=",
        }
    }
}

/// Why a text is not a condition, and what would be right. Holds the text where that helps.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ConditionError {
    /// None of the four operators is there.
    NoOperator(String),
    /// What stands before the operator is not a path.
    Path(PathError),
    /// An operator that there is not, such as `==` or `!~`.
    UnknownOperator(String),
    /// A blank before the path or beside the operator.
    Blank(String),
    /// `~` or `*=` with nothing after it.
    EmptyPattern(String),
    /// Not a regular expression: the condition, and what the crate regex says of it.
    Regex(String, String),
    /// The pattern would take more than 4 MiB.
    PatternTooLarge(String),
}

impl fmt::Display for ConditionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoOperator(text) => write!(f, "the condition {} has no operator", quoted(text))?,
            Self::UnknownOperator(text) => {
                write!(f, "the condition {} has no such operator", quoted(text))?;
            }
            Self::Path(error) => write!(f, "{error}")?,
            Self::Blank(text) => write!(
                f,
                "the condition {} has a blank: write it without blanks around the operator",
                quoted(text)
            )?,
            Self::EmptyPattern(text) => {
                write!(
                    f,
                    "the condition {} has no pattern (PATH= asks for an empty value)",
                    quoted(text)
                )?;
            }
            Self::Regex(text, error) => {
                write!(
                    f,
                    "the regular expression of {} is not valid: {error}",
                    quoted(text)
                )?;
            }
            Self::PatternTooLarge(text) => {
                write!(f, "the pattern of {} is too large", quoted(text))?;
            }
        }
        f.write_str("; a condition is PATH=VALUE, PATH!=VALUE, PATH~REGEX or PATH*=GLOB")
    }
}

impl std::error::Error for ConditionError {}

impl From<PathError> for ConditionError {
    fn from(error: PathError) -> Self {
        Self::Path(error)
    }
}

impl Condition {
    /// Reads a condition. The operator is the first of `!=`, `*=`, `=` and `~` in the text, but
    /// for the `~0` and `~1` of a JSON pointer; so a name in a path can't hold `=`.
    ///
    /// # Errors
    /// See [`ConditionError`].
    pub fn parse(text: &str) -> Result<Self, ConditionError> {
        let (path, operator, value) =
            split(text).ok_or_else(|| ConditionError::NoOperator(text.to_owned()))?;
        // As other languages write it: taken by the letter it would hold for nothing, or for everything.
        if value.starts_with('=')
            || path.ends_with(['<', '>', '!'])
            || (operator == Operator::Equal && value.starts_with('~'))
        {
            return Err(ConditionError::UnknownOperator(text.to_owned()));
        }
        // It would never hold, and whom it keeps out would be let in.
        let blank = [' ', '\t'];
        if path.starts_with(blank) || path.ends_with(blank) || value.starts_with(blank) {
            return Err(ConditionError::Blank(text.to_owned()));
        }
        let path = ClaimPath::parse(path)?;
        let pattern = match operator {
            Operator::Equal | Operator::NotEqual => None,
            Operator::Regex | Operator::Glob if value.is_empty() => {
                return Err(ConditionError::EmptyPattern(text.to_owned()));
            }
            Operator::Regex => {
                // By itself first: `a)|(?:b` would slip out of the group that anchors it.
                compile(text, value)?;
                Some(compile(text, &format!(r"\A(?:{value})\z"))?)
            }
            Operator::Glob => Some(compile(text, &glob(value))?),
        };
        Ok(Self {
            twin: twin_of(&path),
            path,
            number: match operator {
                Operator::NotEqual => value.parse().ok(),
                _ => None,
            },
            operator,
            value: value.to_owned(),
            pattern,
            seen: Arc::default(),
        })
    }

    /// Reads the conditions of one line, a word each.
    ///
    /// # Errors
    /// The word and what is wrong with it.
    pub fn parse_all(words: &[&str]) -> Result<Vec<Self>, String> {
        let all = words.iter().enumerate().map(|(at, word)| {
            Self::parse(word).map_err(|wrong| match torn(words, at) {
                Some((written, whole)) => format!("{written}: write it without blanks: {whole}"),
                None => format!("{word}: {wrong}"),
            })
        });
        all.collect()
    }

    /// The claim that is asked about.
    #[must_use]
    pub fn path(&self) -> &ClaimPath {
        &self.path
    }

    /// Whether it names whom it lets through: not only whom it keeps out, and not whoever has an id
    /// as tenants have.
    #[must_use]
    pub fn names_a_tenant(&self) -> bool {
        match &self.pattern {
            Some(pattern) => !(0..16).any(|d| {
                pattern.is_match(&format!(
                    "{d:x}3f8c2d{d:x}-7b1e-4a9d-8c5{d:x}-{d:x}92e0d6b41{d:x}7"
                ))
            }),
            None => self.operator == Operator::Equal && !self.value.is_empty(),
        }
    }

    /// Whether these claims, from an issuer of this kind, fulfil the condition.
    ///
    /// A missing claim, null or an object fulfils nothing, not even `!=`. An array fulfils it
    /// where one element does, and `!=` where none is equal; null, arrays and objects in an array
    /// are passed over. Booleans and numbers compare by their JSON text, a number's being the
    /// shortest; `!=` holds for no number of the same worth, however it was written.
    #[must_use]
    pub fn holds(&self, claims: &Object, kind: Kind) -> bool {
        self.answer(claims, kind) == Some(true)
    }

    /// As [`Condition::holds`]; `None` where the fork rule's two claims differ in it, so that
    /// neither the condition nor its opposite may let anybody in.
    #[must_use]
    pub fn answer(&self, claims: &Object, kind: Kind) -> Option<bool> {
        let value = self.path.get(claims);
        if value.is_some() && !self.seen.load(Relaxed) {
            self.seen.store(true, Relaxed);
        }
        let own = value.is_some_and(|it| self.accepts(it));
        match self.twin_in(claims) {
            Some((_, twin)) if kind == Kind::Gitlab => (self.accepts(twin) == own).then_some(own),
            _ => Some(own),
        }
    }

    /// What was wanted and what came, for the log: `PATH: wanted ..., got ...`.
    #[must_use]
    pub fn explain(&self, claims: &Object) -> String {
        let got = self
            .path
            .get(claims)
            .map_or_else(|| "nothing".to_owned(), shown::value);
        let mut line = format!(
            "{}: wanted {}{}, got {got}",
            self.path,
            self.operator.text(),
            quoted(&self.value)
        );
        if self.path.get(claims).is_none() {
            line.push_str(&self.hint());
        }
        if let Some((name, value)) = self.twin_in(claims) {
            // Writing into a String can't fail.
            let _ = write!(line, " ({name}: {})", shown::value(value));
        }
        line
    }

    /// That the claim may be misspelt: no token has had it since this process started.
    #[must_use]
    pub fn hint(&self) -> String {
        if self.seen.load(Relaxed) {
            return String::new();
        }
        format!(
            "; no token has had the claim {} so far: is its name right?",
            self.path
        )
    }

    /// The second claim of the fork rule, where the rule applies and the claim is there.
    fn twin_in<'v>(&self, claims: &'v Object) -> Option<(&'static str, &'v Value)> {
        let name = self.twin?;
        claims
            .get(name)
            .filter(|value| !value.is_null())
            .map(|value| (name, value))
    }

    fn accepts(&self, value: &Value) -> bool {
        let matches = match value {
            Value::Null | Value::Object(_) => return false,
            Value::Array(items) => items.iter().any(|item| self.matches(item)),
            plain => self.matches(plain),
        };
        matches != (self.operator == Operator::NotEqual)
    }

    /// Whether it is a plain value with the wanted text (with the unwanted one, for `!=`).
    fn matches(&self, value: &Value) -> bool {
        match value {
            Value::Null | Value::Array(_) | Value::Object(_) => false,
            Value::String(text) => self.matches_text(text),
            Value::Bool(true) => self.matches_text("true"),
            Value::Bool(false) => self.matches_text("false"),
            Value::Number(number) => {
                let mut digits = Digits::default();
                let same = write!(digits, "{number}").is_ok() && self.matches_text(digits.as_str());
                same || self.number.as_ref().is_some_and(|it| is_same(it, number))
            }
        }
    }

    fn matches_text(&self, text: &str) -> bool {
        self.pattern
            .as_ref()
            .map_or(text == self.value, |pattern| pattern.is_match(text))
    }
}

impl fmt::Display for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}{}", self.path, self.operator.text(), self.value)
    }
}

/// The claim that must say the same where a token of the kind gitlab has both (the fork rule).
#[must_use]
pub fn twin_of(path: &ClaimPath) -> Option<&'static str> {
    let found = TWINS.iter().find(|(name, _)| path.is(name));
    found.map(|(_, twin)| *twin)
}

/// Whether two numbers may be the same. Those that are not both whole are rounded.
fn is_same(a: &Number, b: &Number) -> bool {
    a == b || ((a.is_f64() || b.is_f64()) && a.as_f64() == b.as_f64())
}

/// The three parts of a condition's text.
fn split(text: &str) -> Option<(&str, Operator, &str)> {
    let pointer = text.starts_with('/');
    let (at, operator) = text.char_indices().find_map(|(at, char)| {
        let next = text.as_bytes().get(at + 1);
        let operator = match (char, next) {
            ('=', _) => Operator::Equal,
            ('!', Some(b'=')) => Operator::NotEqual,
            ('*', Some(b'=')) => Operator::Glob,
            ('~', Some(b'0' | b'1')) if pointer => return None,
            ('~', _) => Operator::Regex,
            _ => return None,
        };
        Some((at, operator))
    })?;
    let (path, rest) = text.split_at_checked(at)?;
    Some((path, operator, rest.strip_prefix(operator.text())?))
}

/// Blanks around an operator make two or three words of a condition: as they were written, and as they should be.
fn torn(words: &[&str], at: usize) -> Option<(String, String)> {
    let signs: &[char] = &['=', '!', '~', '*'];
    let windows = (at.saturating_sub(2)..=at)
        .flat_map(|from| (from + 1..from + 3).map(move |to| (from, to)))
        .filter(|(_, to)| at <= *to);
    windows
        .filter_map(|(from, to)| words.get(from..=to))
        .find_map(|words| {
            let path = words.first()?.trim_end_matches(signs);
            let value = words.last()?.trim_start_matches(signs);
            let whole = words.concat();
            let (its_path, _, its_value) = split(&whole)?;
            let fits = (its_path, its_value) == (path, value);
            (fits && !path.is_empty() && !value.is_empty()).then(|| (words.join(" "), whole))
        })
}

/// A glob as an anchored regular expression: `*` does not cross `/`, `**` does, all else is
/// literal. Both match line breaks.
fn glob(glob: &str) -> String {
    let mut pattern = String::from(r"(?s)\A");
    let mut chars = glob.chars().peekable();
    while let Some(char) = chars.next() {
        if char != '*' {
            pattern.push_str(&regex::escape(char.encode_utf8(&mut [0; 4])));
            continue;
        }
        let mut stars = 1;
        while chars.next_if_eq(&'*').is_some() {
            stars += 1;
        }
        pattern.push_str(if stars == 1 { "[^/]*" } else { ".*" });
    }
    pattern.push_str(r"\z");
    pattern
}

fn compile(text: &str, pattern: &str) -> Result<Regex, ConditionError> {
    RegexBuilder::new(pattern)
        .size_limit(PATTERN_SIZE)
        // A value is one text: a line feed in it ends nothing.
        .dot_matches_new_line(true)
        .build()
        .map_err(|error| match error {
            regex::Error::CompiledTooBig(_) => ConditionError::PatternTooLarge(text.to_owned()),
            other => {
                // Several lines with a drawing of the place; the last says what is wrong.
                let said = other.to_string();
                let last = said.lines().last().unwrap_or_default();
                ConditionError::Regex(
                    text.to_owned(),
                    last.trim_start_matches("error: ").to_owned(),
                )
            }
        })
}

/// A number's JSON text, on the stack: the longest (`-2.2250738585072014e-308`) has 24 bytes.
#[derive(Default)]
struct Digits {
    bytes: [u8; 32],
    length: usize,
}

impl Digits {
    fn as_str(&self) -> &str {
        self.bytes
            .get(..self.length)
            .and_then(|bytes| std::str::from_utf8(bytes).ok())
            .unwrap_or_default()
    }
}

impl fmt::Write for Digits {
    fn write_str(&mut self, piece: &str) -> fmt::Result {
        let end = self.length + piece.len();
        self.bytes
            .get_mut(self.length..end)
            .ok_or(fmt::Error)?
            .copy_from_slice(piece.as_bytes());
        self.length = end;
        Ok(())
    }
}

#[cfg(test)]
mod tests;
