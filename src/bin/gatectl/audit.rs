//! `gatectl audit verify`: whether a log's lines are those that were written, in that order.

use crate::Ended;
use crate::progress::Progress;
use crate::words::{self, Words};
use gitlab_gate::audit::chain::ChainKey;
use gitlab_gate::audit::chain::Link;
use gitlab_gate::audit::verify::{Broken, Stream, follow};
use std::cell::Cell;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::Path;
use std::rc::Rc;

/// Bytes of a file that are read at once.
const BUFFER: usize = 256 << 10;
/// How a file that gzip made begins (RFC 1952, section 2.3.1).
const GZIP: &[u8] = &[0x1f, 0x8b];

/// A file that is read by its name.
pub type Named<'n> = (&'n str, Box<dyn BufRead>);

/// Counts what is read of a file, as it lies on the disk.
struct Counted {
    file: File,
    done: Rc<Cell<u64>>,
}

impl Read for Counted {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.file.read(buffer)?;
        self.done.set(self.done.get() + count as u64);
        Ok(count)
    }
}

/// Opens files, those that gzip made too (by their first bytes, whatever their name): readers with their names,
/// and how far they are.
pub fn open<'n>(names: &[&'n str]) -> Result<(Progress, Vec<Named<'n>>), Ended> {
    let done = Rc::new(Cell::new(0));
    let mut total = 0;
    let mut files = Vec::new();
    for name in names {
        let failed = |wrong: io::Error| Ended::Failed(format!("{}: {wrong}", words::file(name)));
        let file = File::open(name).map_err(failed)?;
        total += file.metadata().map_or(0, |it| it.len());
        let done = Rc::clone(&done);
        let mut raw = BufReader::with_capacity(BUFFER, Counted { file, done });
        let reader: Box<dyn BufRead> = if raw.fill_buf().map_err(failed)?.starts_with(GZIP) {
            let text = flate2::bufread::MultiGzDecoder::new(raw);
            Box::new(BufReader::with_capacity(BUFFER, text))
        } else {
            Box::new(raw)
        };
        files.push((*name, reader));
    }
    Ok((Progress::new(total, done), files))
}

/// Runs it.
pub fn verify(words: &[&str]) -> Ended {
    match checked(words) {
        Ok(ended) | Err(ended) => ended,
    }
}

fn checked(words: &[&str]) -> Result<Ended, Ended> {
    let words = Words::parse(words, &["key", "after", "last"]).map_err(Ended::Usage)?;
    let key = words
        .get("key")
        .ok_or_else(|| Ended::Usage("--key PATH is needed".into()))?;
    let key = ChainKey::read(Path::new(key.strip_prefix("file:").unwrap_or(key)))
        .map_err(|wrong| Ended::Failed(format!("--key {}: {wrong}", words::file(key))))?;
    let mut link = match words.get("after") {
        None => Link::default(),
        Some(text) => Link::parse(text).ok_or_else(|| {
            Ended::Usage("--after takes SEQUENCE:HASH, as verify prints it".into())
        })?,
    };
    let last: Option<u64> = match words.get("last").map(str::parse) {
        None => None,
        Some(Ok(last)) => Some(last),
        Some(Err(_)) => return Err(Ended::Usage("--last takes a sequence".into())),
    };
    if words.rest.is_empty() {
        return Err(Ended::Usage("name the log's files".into()));
    }
    let (mut progress, files) = open(&words.rest)?;
    let failed = |wrong: std::io::Error| Ended::Failed(wrong.to_string());
    let mut streams = Vec::new();
    for (name, reader) in files {
        streams.push(Stream::new(name, reader).map_err(failed)?);
    }
    let (count, mut result) =
        follow(&key, &mut streams, &mut link, || progress.step()).map_err(failed)?;
    progress.end();
    if let (Ok(()), Some(last)) = (&result, last)
        && link.sequence < last
    {
        result = Err(Broken::Removed {
            from: link.sequence + 1,
            to: last,
            before: None,
        });
    }
    Ok(match result {
        Ok(()) => {
            println!("{count} lines, unbroken; last {link}");
            Ended::Yes
        }
        Err(broken) => {
            println!("{broken} ({count} lines before it are whole)");
            Ended::No
        }
    })
}
