//! The open ports of all children, in memory that they share: so that GateMaxOpen and
//! GateMaxOpenTotal hold for the server, and not for each child. An entry belongs to a process;
//! those of a process that is no more are taken back. Knows no names: holders and ports are hashes.

use crate::sys::lock::{Lock, is_running};
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};

/// More than any server has workers for.
const PLACES: usize = 16_384;

struct Entry {
    /// The process; 0: free.
    process: AtomicU32,
    holder: AtomicU64,
    port: AtomicU64,
}

/// The table. All zeroes is an empty one.
pub struct Table {
    lock: Lock,
    entries: [Entry; PLACES],
}

/// Why there is no place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Full {
    /// The job has as many ports as it may have.
    Holder,
    /// The server has.
    Total,
}

/// A place in the table; given back when dropped.
pub struct Held {
    entry: &'static Entry,
}

impl Drop for Held {
    fn drop(&mut self) {
        self.entry.process.store(0, Relaxed);
    }
}

impl Table {
    /// Makes the lock usable. Once, before the table is shared.
    #[must_use]
    pub fn prepare(&self) -> bool {
        self.lock.prepare()
    }

    /// A place for one port of the holder.
    ///
    /// # Errors
    /// There is none.
    pub fn hold(
        &'static self,
        holder: u64,
        port: u64,
        per_holder: u32,
        total: u32,
    ) -> Result<Held, Full> {
        let me = std::process::id();
        self.lock.with(|| {
            let entry = self.free(holder, per_holder, total)?;
            entry.holder.store(holder, Relaxed);
            entry.port.store(port, Relaxed);
            entry.process.store(me, Relaxed);
            Ok(Held { entry })
        })
    }

    /// Whether there would be a place.
    ///
    /// # Errors
    /// There is none.
    pub fn room(&'static self, holder: u64, per_holder: u32, total: u32) -> Result<(), Full> {
        self.lock
            .with(|| self.free(holder, per_holder, total).map(drop))
    }

    /// Under the lock.
    fn free(
        &'static self,
        holder: u64,
        per_holder: u32,
        total: u32,
    ) -> Result<&'static Entry, Full> {
        self.judge(holder, per_holder, total).or_else(|_| {
            self.take_back();
            self.judge(holder, per_holder, total)
        })
    }

    fn judge(
        &'static self,
        holder: u64,
        per_holder: u32,
        total: u32,
    ) -> Result<&'static Entry, Full> {
        let (mut own, mut all, mut free) = (0, 0, None);
        for entry in &self.entries {
            if entry.process.load(Relaxed) == 0 {
                free = free.or(Some(entry));
            } else {
                all += 1;
                own += u32::from(entry.holder.load(Relaxed) == holder);
            }
        }
        if own >= per_holder {
            Err(Full::Holder)
        } else if all >= total {
            Err(Full::Total)
        } else {
            free.ok_or(Full::Total)
        }
    }

    /// Frees what belongs to processes that are no more.
    fn take_back(&self) {
        let mut last = (0, true);
        for entry in &self.entries {
            let process = entry.process.load(Relaxed);
            if process == 0 {
                continue;
            }
            if process != last.0 {
                last = (process, is_running(process));
            }
            if !last.1 {
                entry.process.store(0, Relaxed);
            }
        }
    }

    /// A new process has this id: what an older one of the same id had is free.
    pub fn forget(&self, process: u32) {
        self.lock.with(|| {
            for entry in &self.entries {
                if entry.process.load(Relaxed) == process {
                    entry.process.store(0, Relaxed);
                }
            }
        });
    }

    /// How many a holder has open, and how many are open at all.
    #[must_use]
    pub fn open_of(&self, holder: u64) -> (usize, usize) {
        self.lock.with(|| self.take_back());
        let open = |it: &&Entry| it.process.load(Relaxed) != 0;
        let own = |it: &&Entry| open(it) && it.holder.load(Relaxed) == holder;
        (
            self.entries.iter().filter(own).count(),
            self.entries.iter().filter(open).count(),
        )
    }

    /// How many are open under that hash of a name.
    #[must_use]
    pub fn count(&self, port: u64) -> usize {
        self.lock.with(|| self.take_back());
        let open = |it: &&Entry| it.process.load(Relaxed) != 0 && it.port.load(Relaxed) == port;
        self.entries.iter().filter(open).count()
    }
}

#[cfg(test)]
#[allow(clippy::panic)]
mod tests {
    use super::*;
    use crate::sys::shared;

    fn table() -> &'static Table {
        shared::new_table().unwrap_or_else(|| panic!("no shared memory"))
    }

    #[test]
    fn one_holder_may_not_have_more_than_its_share_and_all_not_more_than_the_total() {
        let table = table();
        let first = table.hold(1, 7, 2, 3);
        let _second = table.hold(1, 7, 2, 3);
        assert_eq!(table.hold(1, 8, 2, 3).err(), Some(Full::Holder));
        assert_eq!(table.room(1, 2, 3), Err(Full::Holder));
        assert_eq!((table.room(2, 2, 3), table.open_of(1)), (Ok(()), (2, 2)));
        let _third = table.hold(2, 8, 2, 3);
        assert_eq!(table.hold(3, 8, 2, 3).err(), Some(Full::Total));
        assert_eq!(table.count(7), 2);
        drop(first);
        assert!(table.hold(3, 8, 2, 3).is_ok());
    }

    #[test]
    fn what_a_process_held_that_is_no_more_is_taken_back() {
        let table = table();
        let held = table.hold(1, 7, 1, 9);
        // No process has this number (above the kernel's largest).
        if let Some(entry) = table.entries.first() {
            entry.process.store(0x7fff_fff0, Relaxed);
        }
        assert_eq!(table.count(7), 0);
        assert!(table.hold(1, 7, 1, 9).is_ok());
        std::mem::forget(held);
    }
}
