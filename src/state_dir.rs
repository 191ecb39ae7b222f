//! The state directory (`GateStateDir`) at start: what stands against it, and how root makes it and gives it to
//! the run user, as whom the children work. What is in it: `jwks/store.rs`.

use std::fmt;
use std::fs::{DirBuilder, File, Metadata, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _, fchown};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// As whom httpd's children run, and whether this process may give files away.
#[derive(Clone, Copy, Debug)]
pub struct RunUser {
    /// Its number.
    pub user: u32,
    /// Its group's.
    pub group: u32,
    /// This process is root.
    pub is_root: bool,
}

/// Why httpd does not start with the directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unfit {
    /// It is a symbolic link: root would give away the directory that the link leads to.
    Link(PathBuf),
    /// Everybody may write it.
    Exposed(PathBuf),
    /// It holds files, and they are not the run user's.
    Foreign(PathBuf),
}

impl fmt::Display for Unfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Link(path) => write!(
                f,
                "GATE306: GateStateDir {} is a symbolic link: name the directory that it leads to",
                path.display()
            ),
            Self::Exposed(path) => write!(
                f,
                "GATE302: GateStateDir {} is writable by everybody: who can write keys there can make tokens. \
                 Run chmod 700",
                path.display()
            ),
            Self::Foreign(path) => write!(
                f,
                "GATE305: GateStateDir {} is not taken: it holds files and does not belong to the run user. Name \
                 a directory that is used for nothing else, or give this one to the run user (chown)",
                path.display()
            ),
        }
    }
}

/// What the administrator should know of a directory that is used, or of one that can't be had.
#[derive(Debug)]
pub enum Warning {
    /// There is none.
    NotMade(PathBuf, io::Error),
    /// The children can't write it.
    NotGiven(PathBuf, io::Error),
    /// Its group may write it.
    GroupWrites(PathBuf),
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotMade(path, why) => write!(
                f,
                "GATE301: GateStateDir {} can not be made: {why}: keys are not kept over a restart",
                path.display()
            ),
            Self::NotGiven(path, why) => write!(
                f,
                "GATE303: GateStateDir {} can not be given to the run user: {why}",
                path.display()
            ),
            Self::GroupWrites(path) => write!(
                f,
                "GATE304: GateStateDir {} is writable by its group, whose members can remove kept keys and used \
                 tokens. Run chmod 700",
                path.display()
            ),
        }
    }
}

/// Looks at the directory, if it is there, and makes nothing: for a configuration test too. A reload that failed
/// where the test did not would end httpd.
///
/// # Errors
/// httpd must not start with it.
pub fn check(path: &Path, run: RunUser) -> Result<(), Unfit> {
    let path = &trimmed(path);
    if std::fs::symlink_metadata(path).is_ok_and(|it| it.is_symlink()) {
        return Err(Unfit::Link(path.clone()));
    }
    match std::fs::metadata(path) {
        Ok(found) if found.is_dir() => judge(path, &found, run),
        _ => Ok(()),
    }
}

/// Makes the directory, with mode 700, and gives it to the run user. What is judged and given is what was opened,
/// whatever its name leads to by then.
///
/// # Errors
/// httpd must not start with it.
pub fn prepare(path: &Path, run: RunUser) -> Result<Vec<Warning>, Unfit> {
    let path = &trimmed(path);
    let (dir, found) = match made(path) {
        Ok(made) => made,
        Err(why) => return Ok(vec![Warning::NotMade(path.clone(), why)]),
    };
    judge(path, &found, run)?;
    sweep(path);
    let mut warnings = Vec::new();
    if found.mode() & 0o020 != 0 {
        warnings.push(Warning::GroupWrites(path.clone()));
    }
    if run.is_root
        && found.uid() != run.user
        && let Err(why) = fchown(&dir, Some(run.user), Some(run.group))
    {
        warnings.push(Warning::NotGiven(path.clone(), why));
    }
    Ok(warnings)
}

/// How long the files of an issuer stay whose document no process has written (30 days). A process
/// writes the document at each fetch, so nobody uses these any more. Its lock is never written: it
/// is as old as the document, or two processes could hold two locks of one issuer.
const UNUSED: Duration = Duration::from_secs(30 * 86_400);

/// Takes away the files of issuers that are in no configuration any more (`jwks/store.rs`).
pub fn sweep(path: &Path) {
    let Ok(entries) = std::fs::read_dir(path) else {
        return;
    };
    for entry in entries.flatten() {
        let file = entry.path();
        let own = entry.file_name().to_str().is_some_and(is_of_an_issuer);
        // Beside a document that is gone the file's own age counts.
        let unused = || is_old(&file) && !is_young(&file.with_extension("json"));
        if own && unused() {
            let _ = std::fs::remove_file(file);
        }
    }
}

/// Since when a regular file was not written.
fn age(file: &Path) -> Option<Duration> {
    let found = std::fs::symlink_metadata(file).ok()?;
    let written = found.is_file().then(|| found.modified().ok()).flatten()?;
    written.elapsed().ok()
}

fn is_old(file: &Path) -> bool {
    age(file).is_some_and(|it| it > UNUSED)
}

fn is_young(file: &Path) -> bool {
    std::fs::symlink_metadata(file).is_ok() && !is_old(file)
}

/// Whether a file is one of an issuer: NAME-HASH.json, its lock, or one that is being written.
fn is_of_an_issuer(file: &str) -> bool {
    let Some((stem, ending)) = file.rsplit_once('.') else {
        return false;
    };
    let hash = stem.rsplit_once('-').map_or("", |(_, hash)| hash);
    let hex = |b: u8| matches!(b, b'0'..=b'9' | b'a'..=b'f');
    matches!(ending, "json" | "lock" | "new") && hash.len() == 16 && hash.bytes().all(hex)
}

/// Without a slash at its end, which would follow a symbolic link.
fn trimmed(path: &Path) -> PathBuf {
    path.components().collect()
}

fn made(path: &Path) -> io::Result<(File, Metadata)> {
    // Only the directory itself is private: others may pass through those above it.
    if let Some(parent) = path.parent() {
        DirBuilder::new()
            .recursive(true)
            .mode(0o755)
            .create(parent)?;
    }
    match DirBuilder::new().mode(0o700).create(path) {
        Err(why) if why.kind() != io::ErrorKind::AlreadyExists => return Err(why),
        _ => {}
    }
    let dir = OpenOptions::new()
        .read(true)
        .custom_flags(libc::O_DIRECTORY | libc::O_NOFOLLOW)
        .open(path)?;
    let found = dir.metadata()?;
    Ok((dir, found))
}

fn judge(path: &Path, found: &Metadata, run: RunUser) -> Result<(), Unfit> {
    if found.mode() & 0o002 != 0 {
        return Err(Unfit::Exposed(path.to_owned()));
    }
    if run.is_root && found.uid() != run.user && !is_empty(path) {
        return Err(Unfit::Foreign(path.to_owned()));
    }
    Ok(())
}

fn is_empty(path: &Path) -> bool {
    std::fs::read_dir(path).is_ok_and(|mut entries| entries.next().is_none())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::jwks::testing::Dir;
    use std::fs::Permissions;
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    /// Not this process's user, and one that may not give files away: what these tests look at is the same for
    /// whoever runs them. As root: tests/httpd/01-config.t.
    const OTHER: RunUser = RunUser {
        user: 1,
        group: 1,
        is_root: true,
    };
    const SELF: RunUser = RunUser {
        user: 1,
        group: 1,
        is_root: false,
    };

    fn mode(path: &Path) -> u32 {
        std::fs::metadata(path).unwrap().mode() & 0o777
    }

    #[test]
    fn it_is_made_with_all_that_leads_there() {
        let dir = Dir::new();
        let path = dir.path().join("one/two/");
        assert_eq!(check(&path, SELF), Ok(()));
        assert!(!path.exists());
        assert!(prepare(&path, SELF).unwrap().is_empty());
        assert_eq!((mode(&path), mode(&dir.path().join("one"))), (0o700, 0o755));
    }

    #[test]
    fn a_symbolic_link_is_refused_with_or_without_a_slash() {
        let dir = Dir::new();
        std::fs::create_dir(dir.path().join("real")).unwrap();
        symlink("real", dir.path().join("link")).unwrap();
        for name in ["link", "link/", "link/."] {
            let path = dir.path().join(name);
            assert_eq!(
                check(&path, SELF),
                Err(Unfit::Link(dir.path().join("link")))
            );
            assert!(matches!(
                prepare(&path, SELF).unwrap()[..],
                [Warning::NotMade(..)]
            ));
        }
    }

    #[test]
    fn one_that_others_write_is_refused_or_warned_of() {
        let dir = Dir::new();
        let path = dir.path().join("state");
        std::fs::create_dir(&path).unwrap();
        for (mode, refused, warned) in [
            (0o700, false, false),
            (0o770, false, true),
            (0o777, true, false),
        ] {
            std::fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
            assert_eq!(check(&path, SELF).is_err(), refused);
            let got = prepare(&path, SELF);
            assert_eq!(got.is_err(), refused);
            assert_eq!(got.is_ok_and(|it| !it.is_empty()), warned);
        }
    }

    #[test]
    fn one_with_files_that_is_not_the_run_user_s_is_refused() {
        let dir = Dir::new();
        let path = dir.path().join("state");
        std::fs::create_dir(&path).unwrap();
        assert_eq!(check(&path, OTHER), Ok(()));
        std::fs::write(path.join("file"), "").unwrap();
        assert_eq!(check(&path, OTHER), Err(Unfit::Foreign(path.clone())));
        assert_eq!(prepare(&path, OTHER).unwrap_err(), Unfit::Foreign(path));
    }

    #[test]
    fn a_file_in_its_place_is_warned_of() {
        let dir = Dir::new();
        let path = dir.path().join("state");
        std::fs::write(&path, "").unwrap();
        assert_eq!(check(&path, SELF), Ok(()));
        assert!(matches!(
            prepare(&path, SELF).unwrap()[..],
            [Warning::NotMade(..)]
        ));
    }

    #[test]
    fn files_of_issuers_that_nobody_uses_go_and_others_stay() {
        let dir = std::env::temp_dir().join(format!("gate-sweep-{}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        let old = std::time::SystemTime::now() - UNUSED - Duration::from_secs(60);
        let names = [
            ("okta-0123456789abcdef.json", true, false),
            ("okta-0123456789abcdef.lock", true, false),
            ("okta-0123456789abcdef.new", true, false),
            ("corp-0123456789abcdef.json", false, true),
            ("corp-0123456789abcdef.lock", true, true),
            ("gone-0123456789abcdef.lock", true, false),
            ("audit.chain", true, true),
            ("used-0123.json", true, true),
            ("okta-0123456789ABCDEF.json", true, true),
        ];
        for (name, is_old, _) in names {
            let file = File::create(dir.join(name)).unwrap();
            if is_old {
                file.set_modified(old).unwrap();
            }
        }
        sweep(&dir);
        for (name, _, stays) in names {
            assert_eq!(dir.join(name).exists(), stays, "{name}");
        }
        std::fs::remove_dir_all(&dir).unwrap();
    }
}
