//! `gatectl audit verify`: whether a log's lines are those that were written, in that order.

use crate::Ended;
use crate::progress::Progress;
use crate::words::Words;
use gitlab_gate::audit::chain::ChainKey;
use gitlab_gate::audit::chain::Link;
use gitlab_gate::audit::verify::{Broken, Stream, follow};
use std::fs::File;
use std::io::BufReader;
use std::path::Path;

/// A file that is read by its name.
pub type Named<'n> = (&'n str, BufReader<File>);

/// Opens files; the sum of their sizes, and readers with their names.
pub fn open<'n>(names: &[&'n str]) -> Result<(u64, Vec<Named<'n>>), Ended> {
    let mut total = 0;
    let mut files = Vec::new();
    for name in names {
        let file = File::open(name).map_err(|wrong| Ended::Failed(format!("{name}: {wrong}")))?;
        total += file.metadata().map_or(0, |it| it.len());
        files.push((*name, BufReader::with_capacity(1 << 20, file)));
    }
    Ok((total, files))
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
        .map_err(|wrong| Ended::Failed(format!("--key {key}: {wrong}")))?;
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
    let (total, files) = open(&words.rest)?;
    let failed = |wrong: std::io::Error| Ended::Failed(wrong.to_string());
    let mut streams = Vec::new();
    for (name, reader) in files {
        streams.push(Stream::new(name, reader).map_err(failed)?);
    }
    let mut progress = Progress::new(total);
    let (count, mut result) =
        follow(&key, &mut streams, &mut link, |bytes| progress.step(bytes)).map_err(failed)?;
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
