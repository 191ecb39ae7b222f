//! How far the reading of long files is, on stderr, once a second. Short ones print nothing.

use std::cell::Cell;
use std::io::{IsTerminal, Write};
use std::rc::Rc;
use std::time::{Duration, Instant};

/// Bytes done of bytes there are.
pub struct Progress {
    total: u64,
    done: Rc<Cell<u64>>,
    said: Instant,
    spoke: bool,
}

impl Progress {
    /// Of so many bytes; `done` counts those that were read.
    pub fn new(total: u64, done: Rc<Cell<u64>>) -> Self {
        Self {
            total,
            done,
            said: Instant::now(),
            spoke: false,
        }
    }

    /// Another line was read.
    pub fn step(&mut self) {
        if self.said.elapsed() >= Duration::from_secs(1) {
            self.said = Instant::now();
            self.spoke = true;
            let done = self.done.get();
            let percent = (done * 100).checked_div(self.total).unwrap_or(100);
            let end = if std::io::stderr().is_terminal() {
                "\r"
            } else {
                "\n"
            };
            eprint!(
                "{percent} % ({} of {} MB){end}",
                done >> 20,
                self.total >> 20
            );
            let _ = std::io::stderr().flush();
        }
    }

    /// The line is free again.
    pub fn end(&self) {
        if self.spoke && std::io::stderr().is_terminal() {
            eprintln!();
        }
    }
}
