//! The other side of the chain: whether a log's lines are those that were written, in that order.
//!
//! Several files are read side by side, since around a rotation two of them grow at once: the next
//! line is the one, of the lines that are next in their files, that says the next sequence. What is
//! wrong is named: changed, removed, moved or added. Memory: a line a file.

use super::chain::{ChainKey, Link, Sealed};
use std::fmt;
use std::io::{self, BufRead};

/// The longest line that is looked at.
const LONGEST: usize = 1 << 20;

/// Why a log is not whole.
#[derive(Debug, PartialEq, Eq)]
pub enum Broken {
    /// This line is not as it was written.
    Changed(Place),
    /// These sequences are nowhere from here on.
    Removed {
        from: u64,
        to: u64,
        before: Option<Place>,
    },
    /// The line of that sequence stands elsewhere.
    Moved { sequence: u64, to: Place },
    /// This line was never written here.
    Added(Place),
}

/// A line of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The file.
    pub file: String,
    /// From 1.
    pub line: u64,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} line {}", self.file, self.line)
    }
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Changed(place) => write!(f, "{place}: this line was changed"),
            Self::Added(place) => write!(f, "{place}: this line was added"),
            Self::Moved { sequence, to } => {
                write!(f, "{to}: this line was moved: it is number {sequence}")
            }
            Self::Removed { from, to, before } => {
                match before {
                    Some(place) => write!(f, "{place}: before it ")?,
                    None => write!(f, "at the end ")?,
                }
                if from == to {
                    write!(f, "line number {from} was removed")
                } else {
                    write!(f, "lines number {from} to {to} were removed")
                }
            }
        }
    }
}

/// A file being read.
pub struct Stream<R> {
    name: String,
    reader: R,
    line: u64,
    head: Option<Vec<u8>>,
}

impl<R: BufRead> Stream<R> {
    /// Reads the first line.
    ///
    /// # Errors
    /// The file's.
    pub fn new(name: impl Into<String>, reader: R) -> io::Result<Self> {
        let mut stream = Self {
            name: name.into(),
            reader,
            line: 0,
            head: None,
        };
        stream.advance()?;
        Ok(stream)
    }

    fn advance(&mut self) -> io::Result<()> {
        let mut line = Vec::new();
        let mut limited = io::Read::take(&mut self.reader, LONGEST as u64);
        if limited.read_until(b'\n', &mut line)? == 0 {
            self.head = None;
            return Ok(());
        }
        self.line += 1;
        if line.last() == Some(&b'\n') {
            line.pop();
        }
        // An empty line is one like others: nobody wrote it here.
        self.head = Some(line);
        Ok(())
    }

    fn sealed(&self) -> Option<Sealed<'_>> {
        self.head.as_deref().and_then(Sealed::parse)
    }

    fn place(&self) -> Place {
        Place {
            file: self.name.clone(),
            line: self.line,
        }
    }
}

/// Follows the chain from `link` on, and leaves it where it ends or breaks. `progress` is told of
/// each line's bytes. Gives the number of lines.
///
/// # Errors
/// A file's.
pub fn follow<R: BufRead>(
    key: &ChainKey,
    streams: &mut [Stream<R>],
    link: &mut Link,
    mut progress: impl FnMut(usize),
) -> io::Result<(u64, Result<(), Broken>)> {
    let mut count = 0;
    loop {
        let next = link.sequence.saturating_add(1);
        let at = streams
            .iter()
            .position(|it| it.sealed().is_some_and(|it| it.link.sequence == next));
        let fits =
            |stream: &Stream<R>, link: &Link| stream.sealed().is_some_and(|it| key.fits(link, &it));
        if let Some(stream) = at.and_then(|at| streams.get_mut(at))
            && fits(stream, link)
        {
            if let Some(sealed) = stream.sealed() {
                *link = sealed.link;
            }
            progress(stream.head.as_ref().map_or(0, |it| it.len() + 1));
            count += 1;
            stream.advance()?;
            continue;
        }
        if streams.iter().all(|it| it.head.is_none()) {
            return Ok((count, Ok(())));
        }
        return Ok((count, Err(name(key, streams, link)?)));
    }
}

/// What is wrong with the lines that are next.
fn name<R: BufRead>(key: &ChainKey, streams: &mut [Stream<R>], link: &Link) -> io::Result<Broken> {
    let next = link.sequence.saturating_add(1);
    // The line to blame: one without a seal, one that says the number that is due, one that says a
    // number that was there already, else the smallest that is too large.
    let blame = streams
        .iter()
        .enumerate()
        .filter(|(_, it)| it.head.is_some())
        .min_by_key(|(_, it)| it.sealed().map_or(0, |it| it.link.sequence))
        .map_or(0, |(at, _)| at);
    let Some(stream) = streams.get(blame) else {
        return Ok(Broken::Removed {
            from: next,
            to: next,
            before: None,
        });
    };
    let place = stream.place();
    let says = stream.sealed().map(|it| it.link.sequence);
    // Where the line that is due stands, if anywhere.
    let mut due = None;
    let mut due_says_changed = false;
    let mut again = false;
    for (at, stream) in streams.iter_mut().enumerate() {
        let mut steps = 0_u64;
        while stream.head.is_some() && due.is_none() {
            if let Some(sealed) = stream.sealed()
                && sealed.link.sequence == next
            {
                if key.fits(link, &sealed) {
                    due = Some((stream.place(), at == blame && steps == 1));
                } else if steps > 0 || at != blame {
                    due_says_changed = true;
                }
            }
            steps += 1;
            stream.advance()?;
            again |= says.is_some() && stream.sealed().map(|it| it.link.sequence) == says;
        }
        while due.is_some() && !again && stream.head.is_some() {
            stream.advance()?;
            again = says.is_some() && stream.sealed().map(|it| it.link.sequence) == says;
        }
    }
    Ok(match (says, due) {
        (Some(says), Some((_, true))) if says > next && !again => Broken::Moved {
            sequence: says,
            to: place,
        },
        // The one that is due follows at once: what stands before it does not belong here.
        (_, Some((_, true))) => Broken::Added(place),
        (Some(says), Some((to, false))) if says > next => Broken::Moved { sequence: next, to },
        (None, _) => Broken::Changed(place),
        (Some(says), _) if says == next => Broken::Changed(place),
        (Some(says), Some(_)) if says < next => Broken::Added(place),
        (Some(says), None) if says < next => Broken::Added(place),
        (Some(_), None) if due_says_changed => Broken::Changed(place),
        (Some(says), _) => Broken::Removed {
            from: next,
            to: says.saturating_sub(1),
            before: Some(place),
        },
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]
    use super::*;

    fn key() -> ChainKey {
        ChainKey::new(&[1; 40]).unwrap()
    }

    fn lines(count: usize) -> Vec<Vec<u8>> {
        let mut link = Link::default();
        (0..count)
            .map(|at| {
                let open = format!("{{\"n\":{at},\"event\":{{\"kind\":\"event\"");
                let mut line = Vec::new();
                key().seal(&mut link, open.as_bytes(), &mut line);
                line
            })
            .collect()
    }

    fn judge(files: &[&[Vec<u8>]]) -> (u64, Result<(), Broken>) {
        let texts: Vec<Vec<u8>> = files.iter().map(|it| it.join(&b"\n"[..])).collect();
        let mut streams: Vec<_> = texts
            .iter()
            .enumerate()
            .map(|(at, it)| Stream::new(format!("f{at}"), &it[..]).unwrap())
            .collect();
        follow(&key(), &mut streams, &mut Link::default(), |_| ()).unwrap()
    }

    fn at(line: u64) -> Place {
        Place {
            file: "f0".into(),
            line,
        }
    }

    #[test]
    fn a_whole_log_is_counted() {
        assert_eq!(judge(&[&lines(9)]), (9, Ok(())));
        let all = lines(9);
        let odd: Vec<_> = all.iter().step_by(2).cloned().collect();
        let even: Vec<_> = all.iter().skip(1).step_by(2).cloned().collect();
        assert_eq!(judge(&[&odd, &even]), (9, Ok(())));
    }

    #[test]
    fn a_changed_line_is_named() {
        for position in 0..5 {
            let mut all = lines(5);
            all[position][5] ^= 1;
            assert_eq!(
                judge(&[&all]),
                (
                    position as u64,
                    Err(Broken::Changed(at(position as u64 + 1)))
                )
            );
        }
        let mut all = lines(5);
        all[2] = b"garbage".to_vec();
        assert_eq!(judge(&[&all]).1, Err(Broken::Changed(at(3))));
    }

    #[test]
    fn a_removed_line_is_named() {
        let mut all = lines(5);
        all.remove(2);
        let removed = |from, to, line| {
            Err(Broken::Removed {
                from,
                to,
                before: Some(at(line)),
            })
        };
        assert_eq!(judge(&[&all]).1, removed(3, 3, 3));
        assert_eq!(judge(&[&lines(5)[2..]]).1, removed(1, 2, 1));
    }

    #[test]
    fn a_moved_line_is_named() {
        let mut all = lines(6);
        let line = all.remove(1);
        all.insert(4, line);
        assert_eq!(
            judge(&[&all]).1,
            Err(Broken::Moved {
                sequence: 2,
                to: at(5)
            })
        );
        let mut all = lines(6);
        let line = all.remove(4);
        all.insert(1, line);
        assert_eq!(
            judge(&[&all]).1,
            Err(Broken::Moved {
                sequence: 5,
                to: at(2)
            })
        );
    }

    #[test]
    fn an_added_line_is_named() {
        for added in [
            b"{\"event\":{\"kind\":\"event\"}}".to_vec(),
            lines(6)[1].clone(),
            lines(6)[5].clone(),
            Vec::new(),
        ] {
            let mut all = lines(6);
            all.insert(3, added);
            assert_eq!(judge(&[&all]).1, Err(Broken::Added(at(4))));
        }
        let mut all = lines(3);
        all.push(b"{}".to_vec());
        assert_eq!(judge(&[&all]).1, Err(Broken::Changed(at(4))));
        // Two line feeds at the end.
        let mut all = lines(3);
        all.extend([Vec::new(), Vec::new()]);
        assert_eq!(judge(&[&all]), (3, Err(Broken::Changed(at(4)))));
        // One is the last line's own.
        let mut all = lines(3);
        all.push(Vec::new());
        assert_eq!(judge(&[&all]), (3, Ok(())));
    }
}
