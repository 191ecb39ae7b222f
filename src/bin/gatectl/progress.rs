//! How far a long file is, on stderr, once a second. Short ones say nothing.

use std::io::{IsTerminal, Write};
use std::time::{Duration, Instant};

/// Bytes done of bytes there are.
pub struct Progress {
    total: u64,
    done: u64,
    said: Instant,
    spoke: bool,
}

impl Progress {
    /// Of so many bytes.
    pub fn new(total: u64) -> Self {
        Self {
            total,
            done: 0,
            said: Instant::now(),
            spoke: false,
        }
    }

    /// So many more are done.
    pub fn step(&mut self, bytes: usize) {
        self.done += bytes as u64;
        if self.said.elapsed() >= Duration::from_secs(1) {
            self.said = Instant::now();
            self.spoke = true;
            let percent = (self.done * 100).checked_div(self.total).unwrap_or(100);
            let end = if std::io::stderr().is_terminal() {
                "\r"
            } else {
                "\n"
            };
            eprint!(
                "{percent} % ({} of {} MB){end}",
                self.done >> 20,
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
