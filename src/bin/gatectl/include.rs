//! Which files an Include names, in httpd's order: wildcards, and directories, which stand for all in
//! them. Knows no directive.

use std::fs;
use std::path::{Component, Path, PathBuf};

/// Wildcards of httpd's.
const WILD: [char; 3] = ['*', '?', '['];

/// The files; none where nothing is there. What a path without wildcards names need not be there.
pub fn files(root: &Path, pattern: &str) -> Vec<PathBuf> {
    let pattern = root.join(pattern);
    let mut found = vec![PathBuf::new()];
    for part in pattern.components() {
        let name = part.as_os_str().to_string_lossy();
        let wild = matches!(part, Component::Normal(_)) && name.contains(WILD);
        found = found
            .into_iter()
            .flat_map(|path| {
                if wild {
                    matching(&path, &name)
                } else {
                    vec![path.join(part)]
                }
            })
            .collect();
    }
    found.into_iter().flat_map(|path| within(path, 0)).collect()
}

fn matching(dir: &Path, pattern: &str) -> Vec<PathBuf> {
    let fits_name = |path: &PathBuf| {
        path.file_name().is_some_and(|name| {
            let name = name.to_string_lossy();
            (pattern.starts_with('.') || !name.starts_with('.'))
                && fits(pattern.as_bytes(), name.as_bytes())
        })
    };
    entries(dir).into_iter().filter(fits_name).collect()
}

/// The file itself, or all files of a directory and of those in it.
fn within(path: PathBuf, depth: u32) -> Vec<PathBuf> {
    if depth > 16 || !path.is_dir() {
        return vec![path];
    }
    entries(&path)
        .into_iter()
        .flat_map(|it| within(it, depth + 1))
        .collect()
}

fn entries(dir: &Path) -> Vec<PathBuf> {
    let mut names: Vec<_> = fs::read_dir(dir)
        .map(|it| it.flatten().map(|entry| entry.path()).collect())
        .unwrap_or_default();
    names.sort();
    names
}

fn fits(pattern: &[u8], name: &[u8]) -> bool {
    match (pattern, name) {
        ([], []) => true,
        ([b'*', rest @ ..], _) => {
            (0..=name.len()).any(|at| name.get(at..).is_some_and(|it| fits(rest, it)))
        }
        ([b'?', rest @ ..], [_, name @ ..]) => fits(rest, name),
        ([b'[', rest @ ..], [c, name @ ..]) => match one_of(rest, *c) {
            Some((holds, rest)) => holds && fits(rest, name),
            None => *c == b'[' && fits(rest, name),
        },
        ([p, rest @ ..], [n, name @ ..]) if p == n => fits(rest, name),
        _ => false,
    }
}

/// Whether a character is one of `a-z0-9]` (or `!` none of them), and what comes after the bracket.
fn one_of(set: &[u8], c: u8) -> Option<(bool, &[u8])> {
    let (not, set) = match set {
        [b'!' | b'^', rest @ ..] => (true, rest),
        _ => (false, set),
    };
    // A bracket that comes first is one of them.
    let end = 1 + set.iter().skip(1).position(|it| *it == b']')?;
    let (mut all, rest) = (set.get(..end)?, set.get(end + 1..)?);
    let mut holds = false;
    while let [first, more @ ..] = all {
        all = more;
        let last = match more {
            [b'-', last, more @ ..] => {
                all = more;
                last
            }
            _ => first,
        };
        holds |= (first..=last).contains(&&c);
    }
    Some((holds != not, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wildcards_are_httpds() {
        for (pattern, name, wanted) in [
            ("*.conf", "a.conf", true),
            ("a?.c*", "ab.conf", true),
            ("*.conf", "a.conf.bak", false),
            ("[a-m]*.conf", "b.conf", true),
            ("[a-m]*.conf", "z.conf", false),
            ("[!0-9x]", "a", true),
            ("[!0-9x]", "x", false),
            ("[]a]", "]", true),
            ("[", "[", true),
        ] {
            assert_eq!(
                fits(pattern.as_bytes(), name.as_bytes()),
                wanted,
                "{pattern} {name}"
            );
        }
    }
}
