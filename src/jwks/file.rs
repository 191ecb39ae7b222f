//! `GateJWKS file:…`: when the file is read, and who serves what where it can't be. A part of
//! [`super::update`], which says how keys come into a process otherwise.

use super::fetch;
use super::keys::{Desk, Keys};
use super::lock;
use super::refresh::Report;
use super::set::KeySet;
use super::store::{Kept, KeptKeys, Stamp};
use super::update::Changes;
use crate::clock;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// A `file:` that can't be read is tried again after so many seconds, changed or not.
const READ_AGAIN: u64 = 10;

impl Keys {
    /// Reads `file:` keys, if they changed or the refresh interval is over. Without a report (before
    /// the process serves) a failure is left for the next look to say.
    pub(super) fn read_file(&self, path: &Path, report: Option<&dyn Report>) {
        let stamp = Stamp::of(path);
        let now = clock::now();
        let mut desk = lock(&self.desk);
        let later = now.saturating_add(self.settings.refresh);
        if stamp == desk.seen && (now < desk.read_at && desk.read_at <= later) {
            return;
        }
        desk.seen = stamp;
        desk.read_at = later;
        desk.in_flight = true;
        drop(desk);
        // Nobody waits for the desk meanwhile: a file system may hang.
        let read = fetch::read_file(path);
        let theirs = read.is_err().then(|| self.load_kept().ok().flatten());
        let mut desk = lock(&self.desk);
        desk.in_flight = false;
        if let Some(report) = report {
            report.fetched(self.name(), read.is_ok());
        }
        match read {
            Ok((text, set)) => {
                self.ok.fetch_add(1, Ordering::Relaxed);
                desk.kept.schedule.error = None;
                let recovered = std::mem::take(&mut desk.said_failing);
                let ours = desk.kept.keys.as_ref();
                let changes = ours
                    .is_none_or(|ours| *ours.text != *text)
                    .then(|| self.install(set));
                desk.kept.keys = Some(KeptKeys {
                    source: path.display().to_string(),
                    text: Arc::from(text),
                    fetched_at: now,
                });
                self.fetched_at.store(now, Ordering::Release);
                self.end_round(&mut desk);
                let kept = desk.kept.clone();
                let Some(report) = report else {
                    desk.at_start = changes.map(Changes::at_start);
                    drop(desk);
                    // Another process may be about to see the change, and to say it.
                    self.write_down(&kept, false);
                    return;
                };
                drop(desk);
                if recovered {
                    report.fetch_recovered(self.name());
                }
                match changes {
                    None => self.write_down(&kept, true),
                    Some(changes) if self.first_to_see(&kept) => {
                        changes.say(self.name(), report);
                    }
                    Some(_) => {}
                }
            }
            Err(detail) => {
                self.failed.fetch_add(1, Ordering::Relaxed);
                desk.read_at = now.saturating_add(self.settings.refresh.min(READ_AGAIN));
                desk.kept.schedule.error = Some(detail.clone());
                if let Some((theirs, set)) = theirs.flatten() {
                    self.take_last_good(&mut desk, path, theirs, set);
                }
                self.end_round(&mut desk);
                let Some(report) = report else {
                    desk.read_at = 0;
                    return;
                };
                let first = !std::mem::replace(&mut desk.said_failing, true);
                drop(desk);
                if first {
                    report.fetch_failed(
                        self.name(),
                        &detail,
                        self.settings.refresh.min(READ_AGAIN),
                    );
                }
            }
        }
    }

    /// A file that can't be read now may have been read since by another process of the host, which
    /// wrote down what it held: a process that is new, or was late, serves no older keys. What was
    /// written before GateMaxStale may be long withdrawn.
    fn take_last_good(&self, desk: &mut Desk, path: &Path, theirs: Kept, set: Option<KeySet>) {
        if let Some(theirs) = theirs.keys
            && *theirs.source == *path.display().to_string()
            && clock::now() < theirs.fetched_at.saturating_add(self.settings.max_stale)
            && desk
                .kept
                .keys
                .as_ref()
                .is_none_or(|ours| ours.fetched_at < theirs.fetched_at)
        {
            self.take_keys(desk, theirs, set);
        }
    }

    /// Writes down what the file holds, for whoever starts when it can't be read any more: at first, and
    /// where what stands there was written GateRefresh ago. `replacing`: other keys too.
    fn write_down(&self, kept: &Kept, replacing: bool) {
        let Some(ours) = &kept.keys else { return };
        let Ok(Some(held)) = self.store.try_lock() else {
            return;
        };
        let theirs = self.store.load().ok().flatten().and_then(|it| it.keys);
        let enough = theirs.is_some_and(|theirs| match theirs.text == ours.text {
            true => ours.fetched_at < theirs.fetched_at.saturating_add(self.settings.refresh),
            false => !replacing,
        });
        if !enough {
            // Where the directory fails, changes and fetches say so.
            let _ = self.store.save(&held, kept);
        }
    }

    /// Whether no other process of the host has seen these `file:` keys before: a change is said
    /// once, not once a process. Where the state directory fails, each says it.
    fn first_to_see(&self, kept: &Kept) -> bool {
        let held = match self.store.try_lock() {
            Ok(Some(held)) => held,
            Ok(None) => return false,
            Err(_) => return true,
        };
        let text = |kept: &Kept| kept.keys.as_ref().map(|keys| Arc::clone(&keys.text));
        if let Ok(Some(theirs)) = self.store.load()
            && text(&theirs) == text(kept)
        {
            return false;
        }
        let _ = self.store.save(&held, kept);
        true
    }
}
