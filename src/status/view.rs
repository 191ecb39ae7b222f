//! The figures of one moment: what page, JSON and metrics all show.

use super::board::{Board, Count, OTHER, PortCount, Slice};
use crate::account;
use crate::clock;
use crate::jwks::Keys;
use crate::port::Ports;
use serde_json::{Value, json};
use std::sync::Arc;

/// One issuer's keys.
#[derive(Clone, Debug)]
pub struct IssuerView {
    pub name: String,
    pub keys: usize,
    /// Seconds since they were fetched; `None`: never.
    pub age: Option<u64>,
    /// GateMaxStale, seconds: older ones serve no more.
    pub max_stale: u64,
    pub last_error: Option<String>,
    pub fetched: u64,
    pub failed: u64,
}

impl IssuerView {
    /// The more, the worse.
    fn trouble(&self) -> (bool, u64) {
        (self.last_error.is_some(), self.age.unwrap_or(u64::MAX))
    }
}

/// All of it.
#[derive(Clone, Debug)]
pub struct View {
    pub now: u64,
    pub issuers: Vec<IssuerView>,
    pub decisions: Vec<Count>,
    /// The last hour, the oldest first.
    pub minutes: Vec<Slice>,
    /// Entries, hits, misses.
    pub cache: (usize, u64, u64),
    /// With how many are open now.
    pub ports: Vec<(PortCount, usize)>,
    /// Files of upstream tokens, and the seconds since each was changed.
    pub files: Vec<(String, u64)>,
    /// Each GateAccountAPI, as this child sees it.
    pub accounts: Vec<account::Status>,
    pub audit_lost: u64,
    pub children: usize,
}

impl View {
    /// Now.
    #[must_use]
    pub fn new<'k>(
        board: &Board,
        keys: impl Iterator<Item = &'k Arc<Keys>>,
        files: Vec<(String, u64)>,
        accounts: Vec<account::Status>,
    ) -> Self {
        let now = clock::now();
        let mut issuers: Vec<_> = keys
            .map(|keys| {
                let status = keys.status();
                let (fetched, failed) = board.fetches(keys.name());
                IssuerView {
                    name: keys.name().to_owned(),
                    keys: status.keys,
                    age: status.fetched_at.map(|at| now.saturating_sub(at)),
                    max_stale: keys.max_stale(),
                    last_error: status.last_error,
                    fetched,
                    failed,
                }
            })
            .collect();
        // Virtual hosts may have issuers of one name, and metrics know one series a name: the worst is shown.
        issuers.sort_by(|a, b| (&a.name, b.trouble()).cmp(&(&b.name, a.trouble())));
        issuers.dedup_by(|later, first| later.name == first.name);
        let mut ports: Vec<_> = board
            .ports()
            .into_iter()
            .map(|port| {
                let open = Ports::open_count(&port.name);
                (port, open)
            })
            .collect();
        let named: usize = ports.iter().map(|(_, open)| open).sum();
        if let Some((_, open)) = ports.iter_mut().find(|(it, _)| it.name == OTHER) {
            *open = Ports::all_open().saturating_sub(named);
        }
        Self {
            now,
            issuers,
            decisions: board.decisions(),
            minutes: board.minutes(now),
            cache: board.cache(),
            ports,
            files,
            accounts,
            audit_lost: board.audit_lost(),
            children: board.children(),
        }
    }

    /// For programs.
    #[must_use]
    pub fn json(&self) -> String {
        let (entries, hits, misses) = self.cache;
        let list = |items: Vec<Value>| Value::Array(items);
        let value = json!({
            "version": env!("CARGO_PKG_VERSION"),
            "time": self.now,
            "children": self.children,
            "issuers": list(self.issuers.iter().map(|it| json!({
                "name": it.name, "keys": it.keys, "keys_age_seconds": it.age, "max_stale_seconds": it.max_stale, "last_error": it.last_error,
                "fetches": { "ok": it.fetched, "failed": it.failed },
            })).collect()),
            "decisions": list(self.decisions.iter().map(|it| json!({
                "outcome": it.outcome.name(), "reason": it.reason, "issuer": it.issuer, "count": it.count,
            })).collect()),
            "minutes": list(self.minutes.iter().map(|it| {
                let [success, failure, observed] = it.outcomes;
                let reasons: serde_json::Map<_, _> =
                    it.reasons.iter().map(|(code, count)| ((*code).to_owned(), json!(count))).collect();
                json!({ "success": success, "failure": failure, "observed": observed, "reasons": reasons })
            }).collect()),
            "cache": { "entries": entries, "hits": hits, "misses": misses },
            "ports": list(self.ports.iter().map(|(it, open)| {
                let ends: serde_json::Map<_, _> =
                    it.ends.iter().map(|(cause, count)| ((*cause).to_owned(), json!(count))).collect();
                json!({
                    "port": it.name, "open": open, "opened": it.opened, "closed": ends,
                    "bytes": { "source": it.sent, "destination": it.received },
                })
            }).collect()),
            "upstream_tokens": list(self.files.iter().map(|(file, age)| json!({ "file": file, "age_seconds": age })).collect()),
            "account_apis": list(self.accounts.iter().map(|it| json!({
                "url": it.url, "names": it.names, "questions": { "ok": it.asked.0, "failed": it.asked.1 }, "last_error": it.last_error,
            })).collect()),
            "audit": { "lost": self.audit_lost },
        });
        format!("{value:#}\n")
    }
}
