//! The walk of one request: token source, cache, issuer, keys, verification, identity. Each room
//! is called in turn; what one refuses, the next never sees.

use crate::account;
use crate::audit::Recorder;
use crate::cache::{Cache, Scope};
use crate::clock;
use crate::config::{Accept, CACHE_SIZE, Config};
use crate::grant::Grant;
use crate::jwks::{Refresher, Report, StateDir};
use crate::port::Ports;
use crate::request::{Fields, Target};
use crate::status::{Board, View, metrics, page};
use crate::sys::shared;
use crate::token::source::{self, Names, Sender, Source};
use crate::token::take::Take;
use crate::upstream::{Upstream, credential::News};
use crate::verdict::{Reason, Refusal};
use crate::way::jwt::Jwt;
use crate::way::{Asked, Way};
use std::ffi::CStr;
use std::path::Path;
use std::sync::Arc;

/// What one child has, made after the fork.
pub struct Process {
    /// Signed tokens.
    pub(crate) jwt: Jwt,
    cache: Cache,
    names: Names,
    refresher: Refresher,
    recorder: Recorder,
    board: Option<&'static Board>,
    /// The open ports of this child.
    pub ports: Arc<Ports>,
    upstream: Upstream,
}

/// The settings of the section that a request fell into.
#[derive(Debug)]
pub struct Section<'c> {
    /// The server's place in the configuration.
    pub server: usize,
    /// GateAccept
    pub accept: Option<&'c Accept>,
    /// GateTokenFrom
    pub sources: &'c [Source],
    /// GateForwardToken
    pub forward_token: bool,
}

/// What the walk found.
#[derive(Debug)]
pub struct Decision<'r> {
    /// Who it is; `None`: no token was shown.
    pub verdict: Result<Option<Arc<Grant>>, Refusal>,
    /// What must be taken out of the request.
    pub take: Vec<Take<'r>>,
}

impl Process {
    /// Makes the cache and starts the refresher. Called after the fork.
    #[must_use]
    pub fn start<R: Report + News + account::News + 'static>(
        config: &Config,
        state_dir: &Path,
        report: Arc<R>,
        recorder: Recorder,
    ) -> Option<Self> {
        let dir = StateDir::new(state_dir);
        let jwt = Jwt::new(config, &dir, shared::room());
        let keys = jwt.load();
        Some(Self {
            jwt,
            cache: Cache::new(config.cache_size.unwrap_or(CACHE_SIZE))
                .counted_by(shared::board().and_then(Board::child)),
            board: shared::board(),
            names: Names::new()?,
            upstream: Upstream::start(config, state_dir, Arc::clone(&report)),
            refresher: Refresher::start(keys, report),
            ports: Ports::start(config.max_open_total, recorder.clone()),
            recorder,
        })
    }

    /// Whether all threads could be had (a limit of processes, `EAGAIN` of pthread_create). Without them it decides
    /// by keys and credentials of the past, and writes nothing down.
    #[must_use]
    pub fn runs(&self) -> bool {
        self.refresher.runs() && self.upstream.runs() && self.recorder.runs()
    }

    /// Stops the threads, in time for httpd's exit.
    pub fn stop(self) {
        self.ports.stop();
        self.upstream.stop();
        self.refresher.stop();
        self.recorder.stop();
        if let Some(board) = self.board {
            board.leave();
        }
        // The rest goes with the process: freeing a full cache would only make the exit slow.
        std::mem::forget(self.cache);
    }

    /// How many requests the server works on at once, all children together.
    pub fn set_workers(&self, workers: u32) {
        self.ports.set_workers(workers);
        if let Some(room) = shared::room() {
            room.set_workers(workers);
        }
    }

    /// The server stops at once: whoever waits for keys waits no more.
    pub fn release(&self) {
        self.refresher.release();
        self.upstream.release();
    }

    /// What goes on to the upstream beside the identity's headers.
    #[must_use]
    pub const fn upstream(&self) -> &Upstream {
        &self.upstream
    }

    /// Looks for a token, verifies it, says who it is.
    pub fn decide<'r>(
        &self,
        section: &Section<'_>,
        fields: &impl Fields<'r>,
        target: &Target<'r>,
    ) -> Decision<'r> {
        if self.recorder.must_refuse() {
            return Decision {
                verdict: Err(Refusal::new(
                    Reason::AuditUnavailable,
                    "GateAuditRequired is on, and GateAuditLog can't be written",
                )),
                take: Vec::new(),
            };
        }
        let shown = source::collect(section.sources, &self.names, fields, target);
        let verdict = match shown.token {
            None => Ok(None),
            Some(Err(wrong)) => Err(Refusal::new(wrong.reason(), wrong.to_string())),
            Some(Ok(token)) => self.identify(section, &token, shown.sender).map(Some),
        };
        let mut take = shown.take;
        if section.forward_token && matches!(verdict, Ok(Some(_))) {
            take.retain_mut(Take::keep_for_upstream);
        }
        Decision { verdict, take }
    }

    /// What is written down.
    #[must_use]
    pub const fn recorder(&self) -> &Recorder {
        &self.recorder
    }

    /// How the gate is: the page, `?json` or `?metrics`, with its media type.
    #[must_use]
    pub fn status(&self, query: &[u8]) -> Option<(&'static CStr, String)> {
        let keys = self.jwt.keys();
        let files = self.upstream.credentials().into_iter();
        let files = files.filter_map(|it| Some((it.file.display().to_string(), it.age?)));
        let accounts = self.upstream.accounts();
        let view = View::new(self.board?, keys.iter(), files.collect(), accounts);
        // Prometheus says `?metrics=` for a parameter without a value.
        let first = query.split(|b| matches!(b, b'=' | b'&')).next();
        Some(match first.unwrap_or_default() {
            b"json" => (c"application/json", view.json()),
            b"metrics" => (
                c"text/plain; version=0.0.4; charset=utf-8",
                metrics::render(&view),
            ),
            _ => (c"text/html; charset=utf-8", page::render(&view)),
        })
    }

    /// Who the token speaks for.
    ///
    /// # Errors
    /// The refusal of the room that refused first.
    pub fn identify(
        &self,
        section: &Section<'_>,
        token: &[u8],
        sender: Sender,
    ) -> Result<Arc<Grant>, Refusal> {
        let grant = self.known_or_new(section, token, sender)?;
        let proved = grant.binding().check();
        proved.map_err(|it| it.of(grant.identity().issuer_name()))?;
        Ok(grant)
    }

    fn known_or_new(
        &self,
        section: &Section<'_>,
        token: &[u8],
        sender: Sender,
    ) -> Result<Arc<Grant>, Refusal> {
        let now = clock::now();
        let scope = Scope {
            server: u32::try_from(section.server).unwrap_or(u32::MAX),
            accept: section.accept.map_or(0, |it| it.scope),
            sender,
        };
        let kept = self.cache.get(token, scope, now);
        if let Some(board) = self.board {
            board.looked_up(kept.is_some());
        }
        if let Some(grant) = kept {
            return Ok(grant);
        }
        let asked = Asked {
            server: section.server,
            accept: section.accept,
            now,
        };
        let way = self
            .ways()
            .into_iter()
            .find(|it| it.reads(token))
            .ok_or_else(|| {
                Refusal::new(
                    Reason::TokenMalformed,
                    "no issuer reads a credential of this form",
                )
            })?;
        let grant = Arc::new(Grant::new(way.identify(&asked, token)?, sender));
        self.cache.put(token, scope, &grant, now);
        Ok(grant)
    }

    /// Every way to an identity; the first that reads a credential answers for it.
    fn ways(&self) -> [&dyn Way; 1] {
        [&self.jwt]
    }
}

#[cfg(test)]
mod tests;
