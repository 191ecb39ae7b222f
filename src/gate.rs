//! The walk of one request: token source, cache, issuer, keys, verification, identity. Each room
//! is called in turn; what one refuses, the next never sees.

use crate::abi::shared;
use crate::audit::Recorder;
use crate::cache::{Cache, Scope};
use crate::clock;
use crate::config::{Accept, CACHE_SIZE, Config, Issuer};
use crate::grant::Grant;
use crate::identity::Identity;
use crate::json::Value;
use crate::jwks::{KeySettings, Keys, Patience, Refresher, Report, StateDir};
use crate::port::Ports;
use crate::request::{Fields, Target};
use crate::shown;
use crate::status::{Board, View, metrics, page};
use crate::token::compact::Unverified;
use crate::token::source::{self, Names, Source};
use crate::token::take::Take;
use crate::upstream::{Upstream, credential::News};
use crate::verdict::{Reason, Refusal};
use crate::verify::{self, Check, Rejected, VerifiedClaims, verify};
use std::ffi::CStr;
use std::path::Path;
use std::sync::Arc;

/// One issuer in one process: its settings and its keys.
pub(crate) struct LiveIssuer {
    pub(crate) settings: Arc<Issuer>,
    pub(crate) keys: Arc<Keys>,
}

/// What one child has, made after the fork.
pub struct Process {
    /// The issuers of each server, in the order of the configuration.
    servers: Vec<Vec<Arc<LiveIssuer>>>,
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
    pub fn start<R: Report + News + 'static>(
        config: &Config,
        state_dir: &Path,
        report: Arc<R>,
        recorder: Recorder,
    ) -> Option<Self> {
        let dir = StateDir::new(state_dir);
        let mut live: Vec<Arc<LiveIssuer>> = Vec::new();
        let mut servers = Vec::new();
        for server in 0..config.servers.len() {
            let mut own = Vec::new();
            for settings in config.issuers(server) {
                let known = live
                    .iter()
                    .find(|it| Arc::ptr_eq(&it.settings, &settings))
                    .cloned();
                let issuer = known.unwrap_or_else(|| {
                    let of_it = KeySettings {
                        room: shared::room(),
                        ..KeySettings::from(&*settings)
                    };
                    let keys = Arc::new(Keys::new(of_it, &dir));
                    let issuer = Arc::new(LiveIssuer { settings, keys });
                    live.push(Arc::clone(&issuer));
                    issuer
                });
                own.push(issuer);
            }
            servers.push(own);
        }
        live.iter().for_each(|it| it.keys.load());
        let keys = live.iter().map(|it| Arc::clone(&it.keys)).collect();
        Some(Self {
            servers,
            cache: Cache::new(config.cache_size.unwrap_or(CACHE_SIZE))
                .counted_by(shared::board().and_then(Board::child)),
            board: shared::board(),
            names: Names::new()?,
            upstream: Upstream::start(config, state_dir, Arc::clone(&report) as Arc<dyn News>),
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
                    "the audit log can not be written",
                )),
                take: Vec::new(),
            };
        }
        let shown = source::collect(section.sources, &self.names, fields, target);
        let verdict = match shown.token {
            None => Ok(None),
            Some(Err(wrong)) => Err(Refusal::new(wrong.reason(), wrong.to_string())),
            Some(Ok(token)) => self.identify(section, &token).map(Some),
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
        let keys: Vec<_> = self
            .servers
            .iter()
            .flatten()
            .map(|it| Arc::clone(&it.keys))
            .collect();
        let files = self.upstream.credentials().into_iter();
        let files = files.filter_map(|it| Some((it.file.display().to_string(), it.age?)));
        let view = View::new(self.board?, keys.iter(), files.collect());
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
    pub fn identify(&self, section: &Section<'_>, token: &[u8]) -> Result<Arc<Grant>, Refusal> {
        let now = clock::now();
        let scope = Scope {
            server: u32::try_from(section.server).unwrap_or(u32::MAX),
            accept: section.accept.map_or(0, |it| it.scope),
        };
        let kept = self.cache.get(token, scope, now);
        if let Some(board) = self.board {
            board.looked_up(kept.is_some());
        }
        if let Some(grant) = kept {
            return Ok(grant);
        }
        let mut unverified = Unverified::parse(token)
            .map_err(|wrong| Refusal::new(wrong.reason(), wrong.to_string()))?;
        let mut first: Option<Refusal> = None;
        let patience = Patience::default();
        for issuer in self.issuers_of(section, &unverified)? {
            match issuer.identify(unverified, now, &patience) {
                Ok(identity) => {
                    let grant = Arc::new(Grant::new(identity));
                    self.cache.put(token, scope, &grant, now);
                    return Ok(grant);
                }
                Err(Unfit {
                    refusal,
                    token: None,
                }) => return Err(refusal.of(&issuer.settings.name)),
                Err(Unfit {
                    refusal,
                    token: Some(token),
                }) => {
                    // Where two issuers share an iss, the one whose audience fits has the word.
                    if first
                        .as_ref()
                        .is_none_or(|it| it.reason == Reason::Audience)
                    {
                        first = Some(refusal.of(&issuer.settings.name));
                    }
                    unverified = *token;
                }
            }
        }
        Err(first.unwrap_or_else(|| Refusal::new(Reason::Internal, "no issuer was asked")))
    }

    /// The issuers that the token's `iss` names and the section accepts; never none.
    pub(crate) fn issuers_of(
        &self,
        section: &Section<'_>,
        token: &Unverified<'_>,
    ) -> Result<Vec<Arc<LiveIssuer>>, Refusal> {
        let iss = token
            .issuer()
            .map_err(|wrong| Refusal::new(wrong.reason(), wrong.to_string()))?;
        let tenant = token.peek("tid").and_then(Value::as_str);
        let all = self
            .servers
            .get(section.server)
            .map(Vec::as_slice)
            .unwrap_or_default();
        let named: Vec<_> = all
            .iter()
            .filter(|it| verify::is_issuer(&it.settings.url, iss, tenant))
            .collect();
        if named.is_empty() {
            let known: Vec<_> = all.iter().map(|it| it.settings.url.as_str()).collect();
            return Err(Refusal::new(
                Reason::IssuerUnknown,
                format!(
                    "wanted iss {}, got {}",
                    known.join(" or "),
                    shown::text(iss)
                ),
            ));
        }
        let accepted = |name: &str| {
            section
                .accept
                .is_none_or(|it| it.issuers.iter().any(|known| known == name))
        };
        let fit: Vec<_> = named
            .iter()
            .filter(|it| accepted(&it.settings.name))
            .map(|it| Arc::clone(it))
            .collect();
        if fit.is_empty() {
            let names: Vec<_> = named.iter().map(|it| it.settings.name.as_str()).collect();
            let wanted = section
                .accept
                .map(|it| it.issuers.join(" or "))
                .unwrap_or_default();
            return Err(Refusal::new(
                Reason::IssuerNotAccepted,
                format!("wanted issuer {wanted}, got {}", names.join(" or ")),
            ));
        }
        Ok(fit)
    }
}

/// A refusal, and the token where another issuer may still vouch for it.
struct Unfit<'t> {
    refusal: Refusal,
    token: Option<Box<Unverified<'t>>>,
}

impl<'t> Unfit<'t> {
    fn of(refusal: Refusal, token: Unverified<'t>) -> Self {
        Self {
            refusal,
            token: Some(Box::new(token)),
        }
    }
}

impl LiveIssuer {
    fn identify<'t>(
        &self,
        token: Unverified<'t>,
        now: u64,
        patience: &Patience,
    ) -> Result<Identity, Unfit<'t>> {
        if !self.keys.usable(now) && !self.keys.wait_for_first(patience) {
            return Err(Unfit::of(self.unavailable(), token));
        }
        let verified = match self.verify(token, now) {
            Err(Unfit {
                refusal,
                token: Some(token),
            }) if refusal.reason == Reason::KeyUnknown && self.wait_for_key(&token, patience) => {
                self.verify(*token, clock::now())
            }
            other => other,
        }?;
        Identity::new(verified, Arc::clone(&self.settings), Arc::clone(&self.keys)).map_err(
            |wrong| Unfit {
                refusal: Refusal::new(wrong.reason(), wrong.to_string()).at(Check::User),
                token: None,
            },
        )
    }

    fn verify<'t>(&self, token: Unverified<'t>, now: u64) -> Result<VerifiedClaims, Unfit<'t>> {
        let Some(keys) = self.keys.current() else {
            return Err(Unfit::of(self.unavailable(), token));
        };
        verify(token, &self.settings, &keys, now).map_err(|rejected| {
            let Rejected { error, token } = *rejected;
            Unfit::of(error.refusal(), token)
        })
    }

    /// Whether the key that the token names has come by a fetch.
    fn wait_for_key(&self, token: &Unverified<'_>, patience: &Patience) -> bool {
        token
            .header()
            .kid
            .as_deref()
            .is_some_and(|kid| self.keys.wait_for_kid(kid, patience))
    }

    fn unavailable(&self) -> Refusal {
        let why = self
            .keys
            .status()
            .last_error
            .unwrap_or_else(|| "they have never been fetched".into());
        Refusal::new(
            Reason::KeysUnavailable,
            format!("keys of issuer {}: {why}", self.settings.name),
        )
        .at(Check::Keys)
    }
}

#[cfg(test)]
mod tests;
