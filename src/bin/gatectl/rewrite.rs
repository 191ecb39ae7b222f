//! A configuration as a private httpd may have it: one port of loopback, files of its own, no logs of
//! the real server's. Included files are taken in, since they too may listen or log.

use std::fs;
use std::path::{Path, PathBuf};

/// What the private httpd has of its own.
pub struct Private<'a> {
    /// The one port it listens on.
    pub port: u16,
    /// Its files.
    pub dir: &'a Path,
    /// Where the question is asked.
    pub handler: String,
}

/// Directives that would touch what belongs to the real server.
const DROPPED: &[&str] = &[
    "listen",
    "listenbacklog",
    "pidfile",
    "errorlog",
    "customlog",
    "transferlog",
    "globallog",
    "forensiclog",
    "scriptsock",
    "scriptlog",
    "defaultruntimedir",
    "mutex",
    "scoreboardfile",
    "coredumpdirectory",
    "gatestatedir",
    "gateauditlog",
    "gateauditchainkey",
    "gateauditrequired",
    "sslengine",
    "startservers",
    "extendedstatus",
    "rewritelog",
    "dumpioinput",
    "dumpiooutput",
];

/// How deep files may include one another.
const DEPTH: u32 = 16;

struct Reader<'a> {
    private: &'a Private<'a>,
    root: PathBuf,
    out: String,
}

/// The text, and the ServerRoot.
pub fn rewrite(config: &Path, private: &Private<'_>) -> Result<(String, PathBuf), String> {
    let mut reader = Reader {
        private,
        root: config.parent().unwrap_or(Path::new("/")).to_owned(),
        out: String::new(),
    };
    reader.file(config, 0)?;
    let dir = private.dir.display();
    let tail = format!(
        "\nListen 127.0.0.1:{}\nDefaultRuntimeDir {dir}\nPidFile {dir}/httpd.pid\nErrorLog {dir}/error.log\n\
         GateStateDir {dir}/state\n<Location \"{}\">\n    AuthType None\n    AuthMerging Off\n    Require all granted\n    \
         SetHandler gate-explain\n</Location>\n",
        private.port, private.handler
    );
    Ok((reader.out + &tail, reader.root))
}

impl Reader<'_> {
    fn file(&mut self, path: &Path, depth: u32) -> Result<(), String> {
        let wrong = |why: String| format!("{}: {why}", path.display());
        if depth > DEPTH {
            return Err(wrong("files include one another too deep".into()));
        }
        let bytes = fs::read(path).map_err(|error| wrong(error.to_string()))?;
        let text = String::from_utf8_lossy(&bytes);
        let mut lines = text.lines();
        while let Some(line) = lines.next() {
            let mut line = line.to_owned();
            while line.ends_with('\\') {
                line.pop();
                line.push_str(lines.next().unwrap_or_default());
            }
            self.line(&line, depth)?;
        }
        Ok(())
    }

    fn line(&mut self, line: &str, depth: u32) -> Result<(), String> {
        let trimmed = line.trim_start();
        let (name, rest) = trimmed
            .split_once(char::is_whitespace)
            .unwrap_or((trimmed, ""));
        let lower = name.to_ascii_lowercase();
        let word = unquoted(rest.trim());
        if DROPPED.contains(&lower.as_str()) {
            return Ok(());
        }
        match lower.as_str() {
            "serverroot" => self.root = PathBuf::from(self.filled(word)),
            "include" | "includeoptional" => {
                let found = self.matching(&self.filled(word));
                for path in &found {
                    self.file(path, depth + 1)?;
                }
                if !found.is_empty() || lower == "includeoptional" {
                    return Ok(());
                }
            }
            "<virtualhost" => {
                self.out
                    .push_str(&format!("<VirtualHost *:{}>\n", self.private.port));
                return Ok(());
            }
            _ => {}
        }
        self.out.push_str(line);
        self.out.push('\n');
        Ok(())
    }

    /// `${NAME}` of the environment filled in.
    fn filled(&self, text: &str) -> String {
        let mut filled = String::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once("${") {
            let Some((name, after)) = after.split_once('}') else {
                break;
            };
            filled.push_str(before);
            filled.push_str(&std::env::var(name).unwrap_or_else(|_| match name {
                "APACHE_CONFDIR" => "/etc/apache2".into(),
                _ => String::new(),
            }));
            rest = after;
        }
        filled + rest
    }

    /// The files that a path with wildcards names, in httpd's order; a directory stands for all in it.
    fn matching(&self, pattern: &str) -> Vec<PathBuf> {
        let mut found = vec![PathBuf::from("/")];
        let pattern = self.root.join(pattern);
        for part in pattern.components().skip(1) {
            let part = part.as_os_str().to_string_lossy().into_owned();
            let mut next = Vec::new();
            for path in &found {
                if part.contains(['*', '?']) {
                    next.extend(entries(path).into_iter().filter(|it| {
                        it.file_name().is_some_and(|name| {
                            fits(part.as_bytes(), name.to_string_lossy().as_bytes())
                        })
                    }));
                } else {
                    next.push(path.join(&part));
                }
            }
            found = next;
        }
        found
            .into_iter()
            .flat_map(|path| {
                if path.is_dir() {
                    entries(&path)
                } else {
                    vec![path]
                }
            })
            .filter(|path| path.is_file())
            .collect()
    }
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
        ([p, rest @ ..], [n, name @ ..]) if p == n => fits(rest, name),
        _ => false,
    }
}

fn unquoted(word: &str) -> &str {
    word.strip_prefix('"')
        .and_then(|it| it.strip_suffix('"'))
        .unwrap_or(word)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wildcards_are_httpds() {
        assert!(
            fits(b"*.conf", b"a.conf")
                && fits(b"a?.c*", b"ab.conf")
                && !fits(b"*.conf", b"a.conf.bak")
        );
    }
}
