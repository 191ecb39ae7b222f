//! Files that an administrator names: a pipe or a device hangs nobody up, and nothing is read without end. Not the
//! state directory's own documents (`jwks::store`), which nobody else may have written.

use std::fs::{File, Metadata, OpenOptions};
use std::io::{Error, Read as _, Result};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

/// Opens a file that is one, without waiting: a pipe would have to be written to first.
///
/// # Errors
///
/// The system's (open(2)), or that it is no regular file.
pub fn open(path: &Path) -> Result<(File, Metadata)> {
    let file = OpenOptions::new()
        .read(true)
        .custom_flags(libc::O_NONBLOCK)
        .open(path)?;
    let metadata = file.metadata()?;
    if metadata.is_file() {
        Ok((file, metadata))
    } else {
        Err(Error::other("it is no regular file"))
    }
}

/// The whole of a file that has at most `most` bytes.
///
/// # Errors
///
/// As [`open`]'s, and that it has more.
pub fn read(path: &Path, most: usize) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    open(path)?
        .0
        .take(most as u64 + 1)
        .read_to_end(&mut bytes)?;
    if bytes.len() > most {
        return Err(Error::other(format!("it holds more than {most} bytes")));
    }
    Ok(bytes)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_read_whole_or_not_at_all() {
        let path = std::env::temp_dir().join(format!("gate-file-{}", std::process::id()));
        std::fs::write(&path, b"four").unwrap();
        assert_eq!(read(&path, 4).unwrap(), b"four");
        let long = read(&path, 3).unwrap_err().to_string();
        assert_eq!(long, "it holds more than 3 bytes");
        std::fs::remove_file(&path).unwrap();
        assert!(read(&path, 4).is_err());
    }

    #[test]
    fn what_is_no_file_is_refused_at_once() {
        let pipe = std::env::temp_dir().join(format!("gate-pipe-{}", std::process::id()));
        let made = std::process::Command::new("mkfifo").arg(&pipe).status();
        assert!(made.unwrap().success());
        for path in [&pipe, Path::new("/dev/zero"), Path::new("/tmp")] {
            let wrong = read(path, 4).unwrap_err().to_string();
            assert_eq!(wrong, "it is no regular file", "{}", path.display());
        }
        std::fs::remove_file(&pipe).unwrap();
    }
}
