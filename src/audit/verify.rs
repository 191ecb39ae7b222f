//! Verifies a chained log: whether its lines are those that were written, in that order.
//!
//! Several files are read side by side, in any order: around a rotation two of them grow at once. The next line is
//! the one that has the next sequence, in whichever file. What is wrong is named: changed, removed, moved, added, or
//! not a line of this chain at all. Memory: one line a file.

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
    /// The first line, and no later one, fits the key.
    Foreign(Place),
    /// JSON, but without `event.sequence` and `event.hash`.
    Unsealed(Place),
    /// The file has no line of JSON at its start, nor a sealed line after it.
    NoLog(String),
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
            Self::Foreign(place) => write!(
                f,
                "{place}: the first line does not fit: another key, or not the log of this gate"
            ),
            Self::Unsealed(place) => write!(
                f,
                "{place}: this line carries no seal: it was added, or written without GateAuditChainKey"
            ),
            Self::NoLog(file) => write!(f, "{file}: this is no audit log"),
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
        let read = limited
            .read_until(b'\n', &mut line)
            .map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", self.name)))?;
        if read == 0 {
            self.head = None;
            return Ok(());
        }
        self.line += 1;
        if line.last() == Some(&b'\n') {
            line.pop();
        }
        // An empty line counts: the gate writes none.
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

/// Follows the chain from `link` on, and leaves it where it ends or breaks. `progress` is called for
/// each line. Gives the number of lines.
///
/// # Errors
/// A file's.
pub fn follow<R: BufRead>(
    key: &ChainKey,
    streams: &mut [Stream<R>],
    link: &mut Link,
    mut progress: impl FnMut(),
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
            progress();
            count += 1;
            stream.advance()?;
            continue;
        }
        if streams.iter().all(|it| it.head.is_none()) {
            return Ok((count, Ok(())));
        }
        let is_first = count == 0;
        return Ok((count, Err(name(key, streams, link, is_first)?)));
    }
}

/// What is wrong with the lines that are next. `is_first`: no line has been found whole yet.
fn name<R: BufRead>(
    key: &ChainKey,
    streams: &mut [Stream<R>],
    link: &Link,
    is_first: bool,
) -> io::Result<Broken> {
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
    let (place, file) = (stream.place(), stream.name.clone());
    let says = stream.sealed().map(|it| it.link.sequence);
    let text = stream.head.clone().unwrap_or_default();
    let rest = Rest::read(key, streams, link, blame)?;
    Ok(match (says, rest.due) {
        (Some(says), Some((_, true))) if says > next && !rest.says_again => Broken::Moved {
            sequence: says,
            to: place,
        },
        // The one that is due follows at once: what stands before it does not belong here.
        (_, Some((_, true))) => Broken::Added(place),
        (Some(says), Some((to, false))) if says > next => Broken::Moved { sequence: next, to },
        // Nothing fits anywhere: not one changed line, but another key or another log.
        (Some(_), None) if is_first && !rest.any_fits => Broken::Foreign(place),
        // The line after it has the number after the one that is due.
        (None, None) if rest.follows == Some(next.saturating_add(1)) => Broken::Changed(place),
        (None, _) if is_json(&text) => Broken::Unsealed(place),
        (None, _) if place.line == 1 && !rest.any_sealed => Broken::NoLog(file),
        (None, _) if text.is_empty() => Broken::Added(place),
        (None, _) => Broken::Changed(place),
        (Some(says), _) if says == next => Broken::Changed(place),
        (Some(says), _) if says < next => Broken::Added(place),
        (Some(_), None) if rest.due_changed => Broken::Changed(place),
        (Some(says), _) => Broken::Removed {
            from: next,
            to: says.saturating_sub(1),
            before: Some(place),
        },
    })
}

/// What the files hold from the line to blame on.
#[derive(Default)]
struct Rest {
    /// Where the line that is due stands, and whether that is right after the line to blame.
    due: Option<(Place, bool)>,
    /// A line says the number that is due, and does not fit.
    due_changed: bool,
    /// Another line says the same number as the line to blame.
    says_again: bool,
    /// The number of the line after the line to blame.
    follows: Option<u64>,
    /// A line after the line to blame, in its file, carries a seal.
    any_sealed: bool,
    /// A line fits the line before it in its file.
    any_fits: bool,
}

impl Rest {
    fn read<R: BufRead>(
        key: &ChainKey,
        streams: &mut [Stream<R>],
        link: &Link,
        blame: usize,
    ) -> io::Result<Self> {
        let mut rest = Self::default();
        let next = link.sequence.saturating_add(1);
        let says = streams.get(blame).and_then(Stream::sealed);
        let says = says.map(|it| it.link.sequence);
        for (at, stream) in streams.iter_mut().enumerate() {
            let mut steps = 0_u64;
            let mut before: Option<Link> = None;
            while stream.head.is_some() {
                let is_blamed = at == blame && steps == 0;
                if let Some(sealed) = stream.sealed() {
                    let sequence = sealed.link.sequence;
                    rest.any_sealed |= at == blame;
                    if sequence == next && rest.due.is_none() {
                        if key.fits(link, &sealed) {
                            rest.due = Some((stream.place(), at == blame && steps == 1));
                        } else if !is_blamed {
                            rest.due_changed = true;
                        }
                    }
                    rest.says_again |= !is_blamed && Some(sequence) == says;
                    if at == blame && steps == 1 {
                        rest.follows = Some(sequence);
                    }
                    // One is enough: each costs a hash.
                    rest.any_fits =
                        rest.any_fits || before.is_some_and(|it| key.fits(&it, &sealed));
                    before = Some(sealed.link);
                } else {
                    before = None;
                }
                steps += 1;
                stream.advance()?;
            }
        }
        rest.any_fits |= rest.due.is_some();
        Ok(rest)
    }
}

fn is_json(line: &[u8]) -> bool {
    serde_json::from_slice::<serde_json::Map<String, serde_json::Value>>(line).is_ok()
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
        follow(&key(), &mut streams, &mut Link::default(), || ()).unwrap()
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
        assert_eq!(judge(&[&all]).1, Err(Broken::Unsealed(at(4))));
        // Two line feeds at the end.
        let mut all = lines(3);
        all.extend([Vec::new(), Vec::new()]);
        assert_eq!(judge(&[&all]), (3, Err(Broken::Added(at(4)))));
        // One is the last line's own.
        let mut all = lines(3);
        all.push(Vec::new());
        assert_eq!(judge(&[&all]), (3, Ok(())));
    }

    #[test]
    fn another_key_is_told_from_a_changed_line() {
        let other = ChainKey::new(&[2; 40]).unwrap();
        let judge_by = |key: &ChainKey, all: &[Vec<u8>]| {
            let text = all.join(&b"\n"[..]);
            let mut streams = [Stream::new("f0", &text[..]).unwrap()];
            follow(key, &mut streams, &mut Link::default(), || ())
                .unwrap()
                .1
        };
        for all in [&lines(5)[..], &lines(5)[2..], &lines(1)[..]] {
            assert_eq!(judge_by(&other, all), Err(Broken::Foreign(at(1))));
        }
        let mut all = lines(5);
        all[0][5] ^= 1;
        assert_eq!(judge_by(&key(), &all), Err(Broken::Changed(at(1))));
    }

    #[test]
    fn what_is_no_chain_is_told_from_a_changed_line() {
        let plain = b"{\"@timestamp\":\"x\",\"event\":{}}".to_vec();
        for (file, wanted) in [
            (vec![plain.clone(), plain.clone()], Broken::Unsealed(at(1))),
            (
                vec![b"127.0.0.1 - - GET /".to_vec()],
                Broken::NoLog("f0".into()),
            ),
            (
                vec![b"[1,2]".to_vec(), Vec::new()],
                Broken::NoLog("f0".into()),
            ),
            (vec![vec![0, 159, 10, 7]], Broken::NoLog("f0".into())),
        ] {
            assert_eq!(judge(&[&file]), (0, Err(wanted)));
        }
        // In the place of a line, it is that line that was changed.
        for changed in [plain, b"127.0.0.1 - - GET /".to_vec()] {
            let mut all = lines(4);
            all[1] = changed;
            assert_eq!(judge(&[&all]), (1, Err(Broken::Changed(at(2)))));
        }
        // One file of two is no log.
        assert_eq!(
            judge(&[&[b"x".to_vec()], &lines(3)]).1,
            Err(Broken::NoLog("f0".into()))
        );
    }
}
