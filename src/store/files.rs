//! `GateStore files`: a file for each value, below GateStateDir. For the gates of one host: all
//! children, over reloads, restarts and a killed child. A file is replaced whole, by rename, so
//! that a reader sees the old value or the new one; it begins with its end (seconds since the epoch,
//! 8 bytes, big-endian).

use super::{Kind, Name, Store, Unavailable};
use crate::clock;
use crate::seal::random;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{ErrorKind, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

/// The longest value.
const LONGEST: usize = 64 << 10;
/// The bytes before the value.
const END: usize = 8;
/// A new file that nobody has finished for so long (seconds) is swept away.
const UNFINISHED: u64 = 3600;

/// The store below a directory.
pub struct Files {
    root: PathBuf,
    /// Who may have written the files: the user that runs this process.
    user: u32,
}

fn wrong(path: &Path, error: &std::io::Error) -> Unavailable {
    Unavailable(format!("{}: {error}", path.display()))
}

impl Files {
    /// The store `store` below the state directory. `user`: the user id of this process; a file that
    /// another user owns is never believed. Touches nothing.
    #[must_use]
    pub fn new(state_dir: &Path, user: u32) -> Self {
        Self {
            root: state_dir.join("store"),
            user,
        }
    }

    fn kind(&self, kind: Kind) -> PathBuf {
        self.root.join(kind.name())
    }

    /// 256 folders a kind: a folder of 100,000 files is slow on some file systems.
    fn path(&self, name: &Name) -> PathBuf {
        let hex = name.hex();
        let folder = hex.get(..2).unwrap_or_default();
        self.kind(name.kind).join(folder).join(&hex)
    }

    fn read(&self, path: &Path) -> Result<Option<Vec<u8>>, Unavailable> {
        let opened = OpenOptions::new()
            .read(true)
            .custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK)
            .open(path);
        let mut file = match opened {
            Ok(file) => file,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(wrong(path, &error)),
        };
        let about = file.metadata().map_err(|it| wrong(path, &it))?;
        if !about.is_file() || about.uid() != self.user || about.mode() & 0o022 != 0 {
            return Err(Unavailable(format!(
                "{} is not used: another user could have written it",
                path.display()
            )));
        }
        let mut bytes = Vec::new();
        let most = (LONGEST + END + 1) as u64;
        (&mut file)
            .take(most)
            .read_to_end(&mut bytes)
            .map_err(|it| wrong(path, &it))?;
        Ok(Some(bytes))
    }

    /// A new file beside the place of the value, complete.
    fn write(&self, path: &Path, value: &[u8], end: u64) -> Result<PathBuf, Unavailable> {
        if value.len() > LONGEST {
            return Err(Unavailable(format!(
                "a value of {} bytes is too large",
                value.len()
            )));
        }
        let folder = path.parent().unwrap_or(&self.root);
        let suffix: String = random::<8>().iter().map(|b| format!("{b:02x}")).collect();
        let new = folder.join(format!("new-{suffix}"));
        let open = || {
            OpenOptions::new()
                .write(true)
                .create_new(true)
                .mode(0o600)
                .open(&new)
        };
        let mut file = match open() {
            Err(error) if error.kind() == ErrorKind::NotFound => {
                DirBuilder::new()
                    .recursive(true)
                    .mode(0o700)
                    .create(folder)
                    .map_err(|it| wrong(folder, &it))?;
                open()
            }
            other => other,
        }
        .map_err(|it| wrong(&new, &it))?;
        let written = file
            .write_all(&end.to_be_bytes())
            .and_then(|()| file.write_all(value));
        if let Err(error) = written {
            let _ = fs::remove_file(&new);
            return Err(wrong(&new, &error));
        }
        Ok(new)
    }

    /// Every file of a kind.
    fn walk(
        &self,
        kind: Kind,
        mut found: impl FnMut(&Path, &str) -> Result<(), Unavailable>,
    ) -> Result<(), Unavailable> {
        let root = self.kind(kind);
        let folders = match fs::read_dir(&root) {
            Ok(folders) => folders,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(wrong(&root, &error)),
        };
        for folder in folders {
            let folder = folder.map_err(|it| wrong(&root, &it))?.path();
            let files = match fs::read_dir(&folder) {
                Ok(files) => files,
                Err(error) => return Err(wrong(&folder, &error)),
            };
            for file in files {
                let file = file.map_err(|it| wrong(&folder, &it))?;
                if let Some(name) = file.file_name().to_str() {
                    found(&file.path(), name)?;
                }
            }
        }
        Ok(())
    }
}

/// The value of a file's bytes; `None`: its time is over, or it is no whole file.
fn living(bytes: &[u8]) -> Option<&[u8]> {
    let (end, value) = bytes.split_first_chunk::<END>()?;
    (clock::now() < u64::from_be_bytes(*end) && value.len() <= LONGEST).then_some(value)
}

impl Store for Files {
    fn get(&self, name: &Name) -> Result<Option<Vec<u8>>, Unavailable> {
        let bytes = self.read(&self.path(name))?;
        Ok(bytes.as_deref().and_then(living).map(<[u8]>::to_vec))
    }

    fn put(&self, name: &Name, value: &[u8], seconds: u64) -> Result<(), Unavailable> {
        let path = self.path(name);
        let new = self.write(&path, value, clock::now().saturating_add(seconds))?;
        fs::rename(&new, &path).map_err(|error| {
            let _ = fs::remove_file(&new);
            wrong(&path, &error)
        })
    }

    fn add(&self, name: &Name, value: &[u8], seconds: u64) -> Result<bool, Unavailable> {
        let path = self.path(name);
        let new = self.write(&path, value, clock::now().saturating_add(seconds))?;
        // link(2) fails where there is one: one of all callers gets through.
        let mut linked = fs::hard_link(&new, &path);
        let there = |it: &std::io::Result<()>| matches!(it, Err(error) if error.kind() == ErrorKind::AlreadyExists);
        if there(&linked) && self.take_over(&path)? {
            linked = fs::hard_link(&new, &path);
        }
        let _ = fs::remove_file(&new);
        if there(&linked) {
            return Ok(false);
        }
        linked.map(|()| true).map_err(|error| wrong(&path, &error))
    }

    fn remove(&self, name: &Name) -> Result<bool, Unavailable> {
        let path = self.path(name);
        let lived = self.get(name)?.is_some();
        match fs::remove_file(&path) {
            Ok(()) => Ok(lived),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
            Err(error) => Err(wrong(&path, &error)),
        }
    }

    fn list(&self, kind: Kind) -> Result<Vec<(Name, Vec<u8>)>, Unavailable> {
        let mut all = Vec::new();
        self.walk(kind, |path, name| {
            let Some(name) = Name::from_hex(kind, name) else {
                return Ok(());
            };
            let bytes = self.read(path)?;
            if let Some(value) = bytes.as_deref().and_then(living) {
                all.push((name, value.to_vec()));
            }
            Ok(())
        })?;
        Ok(all)
    }

    fn now(&self) -> Result<u64, Unavailable> {
        Ok(clock::now())
    }

    fn sweep(&self) -> Result<(), Unavailable> {
        for kind in Kind::ALL {
            self.walk(kind, |path, name| {
                if Name::from_hex(kind, name).is_some() {
                    self.take_over(path).map(drop)
                } else {
                    remove_unfinished(path);
                    Ok(())
                }
            })?;
        }
        Ok(())
    }
}

impl Files {
    /// Takes a value away whose time is over. Under a lock, so that two that find it over do not both
    /// take away what a third has written since. Whether the place is free now.
    fn take_over(&self, path: &Path) -> Result<bool, Unavailable> {
        let lock = self.lock()?;
        let bytes = self.read(path)?;
        if bytes.as_deref().is_some_and(|it| living(it).is_some()) {
            return Ok(false);
        }
        let removed = match fs::remove_file(path) {
            Err(error) if error.kind() != ErrorKind::NotFound => Err(wrong(path, &error)),
            _ => Ok(true),
        };
        drop(lock);
        removed
    }

    fn lock(&self) -> Result<File, Unavailable> {
        let path = self.root.join("lock");
        let file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .custom_flags(libc::O_NOFOLLOW)
            .open(&path)
            .map_err(|it| wrong(&path, &it))?;
        file.lock().map_err(|it| wrong(&path, &it))?;
        Ok(file)
    }
}

/// What a writer has left that was killed.
fn remove_unfinished(path: &Path) {
    let old = fs::symlink_metadata(path).is_ok_and(|it| {
        let written = u64::try_from(it.mtime()).unwrap_or(0);
        clock::now().saturating_sub(written) > UNFINISHED
    });
    if old {
        let _ = fs::remove_file(path);
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::jwks::testing::Dir;
    use std::os::unix::fs::PermissionsExt as _;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    fn store() -> (Dir, Files) {
        let dir = Dir::new();
        let user = fs::metadata(dir.path()).unwrap().uid();
        let files = Files::new(dir.path(), user);
        (dir, files)
    }

    fn name(byte: u8) -> Name {
        Name {
            kind: Kind::Session,
            hash: [byte; 16],
        }
    }

    #[test]
    fn a_value_is_there_until_its_time_is_over_or_it_is_removed() {
        let (_dir, files) = store();
        assert_eq!(files.get(&name(1)), Ok(None));
        files.put(&name(1), b"one", 60).unwrap();
        files.put(&name(2), b"two", 0).unwrap();
        assert_eq!(files.get(&name(1)), Ok(Some(b"one".to_vec())));
        assert_eq!(files.get(&name(2)), Ok(None));
        files.put(&name(1), b"new", 60).unwrap();
        assert_eq!(
            files.list(Kind::Session),
            Ok(vec![(name(1), b"new".to_vec())])
        );
        assert_eq!(files.list(Kind::Mark), Ok(vec![]));
        assert_eq!(files.remove(&name(2)), Ok(false));
        assert_eq!(files.remove(&name(1)), Ok(true));
        assert_eq!(files.remove(&name(1)), Ok(false));
        assert_eq!(files.get(&name(1)), Ok(None));
    }

    #[test]
    fn of_many_that_add_at_once_one_gets_through_and_again_after_its_time() {
        let (_dir, files) = store();
        let files = Arc::new(files);
        for seconds in [60, 0, 60] {
            let name = name(u8::try_from(seconds).unwrap());
            let won = Arc::new(AtomicUsize::new(0));
            let threads: Vec<_> = (0..16)
                .map(|_| {
                    let (files, won) = (Arc::clone(&files), Arc::clone(&won));
                    std::thread::spawn(move || {
                        if files.add(&name, b"x", 60).unwrap() {
                            won.fetch_add(1, Ordering::Relaxed);
                        }
                    })
                })
                .collect();
            threads.into_iter().for_each(|it| it.join().unwrap());
            assert_eq!(won.load(Ordering::Relaxed), 1);
            files.put(&name, b"over", 0).unwrap();
        }
    }

    #[test]
    fn what_another_user_could_have_written_is_not_believed() {
        let (_dir, files) = store();
        files.put(&name(1), b"one", 60).unwrap();
        let path = files.path(&name(1));
        fs::set_permissions(&path, fs::Permissions::from_mode(0o666)).unwrap();
        let error = files.get(&name(1)).unwrap_err().to_string();
        assert!(
            error.contains("another user could have written it"),
            "{error}"
        );
        fs::remove_file(&path).unwrap();
        std::os::unix::fs::symlink("/etc/hostname", &path).unwrap();
        assert!(files.get(&name(1)).is_err());
    }

    #[test]
    fn a_truncated_file_is_no_value() {
        let (_dir, files) = store();
        files.put(&name(1), b"one", 60).unwrap();
        for len in 0..END {
            fs::write(files.path(&name(1)), vec![0; len]).unwrap();
            assert_eq!(files.get(&name(1)), Ok(None));
        }
    }

    #[test]
    fn a_sweep_takes_away_what_is_over_and_nothing_else() {
        let (_dir, files) = store();
        files.put(&name(1), b"one", 60).unwrap();
        files.put(&name(2), b"two", 0).unwrap();
        let unfinished = files.path(&name(2)).with_file_name("new-0");
        fs::write(&unfinished, b"x").unwrap();
        files.sweep().unwrap();
        assert!(files.path(&name(1)).exists() && !files.path(&name(2)).exists());
        assert!(unfinished.exists());
        let old = std::time::SystemTime::now() - std::time::Duration::from_secs(UNFINISHED + 9);
        File::open(&unfinished).unwrap().set_modified(old).unwrap();
        files.sweep().unwrap();
        assert!(!unfinished.exists());
    }

    #[test]
    fn a_store_that_can_not_be_written_says_so() {
        let (dir, files) = store();
        fs::write(dir.path().join("store"), b"a file").unwrap();
        assert!(files.put(&name(1), b"x", 60).is_err());
        assert!(files.get(&name(1)).is_err());
        assert!(files.add(&name(1), b"x", 60).is_err());
    }
}
