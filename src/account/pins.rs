//! Which account in GitLab belongs to a person: the first one that GitLab answered for an issuer and a `sub`. A
//! name that later leads to another account (renamed, deleted and made again) is refused until an administrator
//! removes the person's file. One file a person in the state directory, shared by all children.

use crate::file;
use crate::shown;
use crate::verdict::{Reason, Refusal};
use serde_json::{Value, json};
use std::collections::HashMap;
use std::fs::OpenOptions;
use std::io::{ErrorKind, Result as IoResult, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

/// Persons that a child remembers without looking at their files.
const PERSONS: usize = 50_000;
/// The longest file.
const MAX_BYTES: usize = 64 << 10;

type Number = [u8; 16];

/// Which account belongs to whom.
pub struct Pins {
    dir: PathBuf,
    seen: Mutex<HashMap<Number, u64>>,
}

impl Pins {
    /// Those of this state directory.
    #[must_use]
    pub fn new(state_dir: &Path) -> Self {
        Self {
            dir: state_dir.to_owned(),
            seen: Mutex::default(),
        }
    }

    /// Whether the account is the person's. Without `subject` the name stands for the person.
    ///
    /// # Errors
    /// It is another one than before; or that can't be read or written.
    pub fn check(
        &self,
        issuer: &str,
        subject: Option<&str>,
        name: &str,
        id: u64,
    ) -> Result<(), Refusal> {
        let number = number(issuer, subject, name);
        let lock = || self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if lock().get(&number) == Some(&id) {
            return Ok(());
        }
        let path = self.path(&number);
        let failed = |why: &dyn std::fmt::Display| {
            Refusal::new(
                Reason::Internal,
                format!("GateAccountAPI: {}: {why}", path.display()),
            )
        };
        let first = json!({ "issuer": issuer, "sub": subject, "user": name, "id": id });
        let pinned = match read(&path) {
            Err(wrong) if wrong.kind() == ErrorKind::NotFound => {
                write(&path, &first).and_then(|()| read(&path))
            }
            other => other,
        };
        let pinned = pinned.map_err(|wrong| failed(&wrong))?;
        if pinned != id {
            return Err(Refusal::new(
                Reason::AccountChanged,
                format!(
                    "GateAccountAPI: wanted GitLab's account {pinned} for this person, the name {} leads to account {id}; if that is right, remove {}",
                    shown::quoted(name),
                    path.display()
                ),
            ));
        }
        let mut seen = lock();
        if seen.len() >= PERSONS {
            seen.clear();
        }
        seen.insert(number, id);
        Ok(())
    }

    fn path(&self, number: &Number) -> PathBuf {
        let hex: String = number.iter().map(|b| format!("{b:02x}")).collect();
        self.dir.join(format!("account-{hex}.json"))
    }
}

fn number(issuer: &str, subject: Option<&str>, name: &str) -> Number {
    let person = match subject {
        Some(subject) => json!(["sub", issuer, subject]),
        None => json!(["user", issuer, name.to_ascii_lowercase()]),
    };
    let hash = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, person.to_string().as_bytes());
    let mut number = Number::default();
    for (to, from) in number.iter_mut().zip(hash.as_ref()) {
        *to = *from;
    }
    number
}

fn read(path: &Path) -> IoResult<u64> {
    let bytes = file::read(path, MAX_BYTES)?;
    let id = serde_json::from_slice::<Value>(&bytes)
        .ok()
        .and_then(|it| it.get("id")?.as_u64());
    id.ok_or_else(|| std::io::Error::other("it holds no id: remove it"))
}

/// Makes the file whole, or not at all; one that is there already stays.
fn write(path: &Path, text: &Value) -> IoResult<()> {
    let half = path.with_extension(crate::upstream::login::new_id());
    let made = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&half)
        .and_then(|mut file| writeln!(file, "{text}"))
        .and_then(|()| std::fs::hard_link(&half, path));
    let _ = std::fs::remove_file(&half);
    match made {
        Err(wrong) if wrong.kind() == ErrorKind::AlreadyExists => Ok(()),
        other => other,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::jwks::testing::Dir;

    fn code(result: Result<(), Refusal>) -> &'static str {
        result.map_or_else(|it| it.reason.code(), |()| "passes")
    }

    #[test]
    fn a_person_keeps_the_account_until_the_file_is_removed() {
        let dir = Dir::new();
        let one = Pins::new(dir.path());
        let check = |pins: &Pins, sub, name, id| code(pins.check("https://i", sub, name, id));
        assert_eq!(check(&one, Some("s1"), "dana", 7), "passes");
        assert_eq!(check(&one, Some("s1"), "dana", 9), "account_changed");
        // Another child, another name, another person, nobody's sub.
        let two = Pins::new(dir.path());
        assert_eq!(check(&two, Some("s1"), "dana", 9), "account_changed");
        assert_eq!(check(&two, Some("s1"), "dana.new", 7), "passes");
        assert_eq!(check(&two, Some("s2"), "dana", 9), "passes");
        assert_eq!(check(&two, None, "s1", 8), "passes");
        assert_eq!(check(&two, None, "S1", 9), "account_changed");
        assert_eq!(
            code(two.check("https://j", Some("s1"), "dana", 9)),
            "passes"
        );
        let Err(refusal) = one.check("https://i", Some("s1"), "dana", 9) else {
            unreachable!("refused above")
        };
        let path = refusal.detail.rsplit(' ').next().unwrap();
        std::fs::remove_file(path).unwrap();
        assert_eq!(check(&two, Some("s1"), "dana", 9), "passes");
        assert_eq!(check(&one, Some("s1"), "dana", 9), "passes");
        assert_eq!(check(&two, Some("s1"), "dana", 7), "account_changed");
    }

    #[test]
    fn what_can_not_be_read_or_written_lets_nobody_through() {
        let dir = Dir::new();
        let check = |pins: &Pins| code(pins.check("https://i", Some("s"), "dana", 7));
        assert_eq!(check(&Pins::new(&dir.path().join("missing"))), "internal");
        let path = Pins::new(dir.path()).path(&number("https://i", Some("s"), "dana"));
        for text in ["", "{", "{}", r#"{"id":"7"}"#, "7"] {
            std::fs::write(&path, text).unwrap();
            assert_eq!(check(&Pins::new(dir.path())), "internal", "{text}");
        }
        let left: Vec<_> = std::fs::read_dir(dir.path()).unwrap().collect();
        assert_eq!(left.len(), 1);
    }
}
