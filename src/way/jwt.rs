//! Signed tokens (RFC 7519): the issuer that `iss` names and the section accepts vouches for the
//! token with its keys. May wait for an issuer's first keys, or for a `kid` that a fetch may bring.

use super::{Asked, Way};
use crate::clock;
use crate::config::{Config, Issuer};
use crate::http::url::difference;
use crate::identity::Identity;
use crate::json::Value;
use crate::jwks::room::Room;
use crate::jwks::{KeySettings, Keys, Patience, StateDir};
use crate::life::{KeyLife, Life};
use crate::shown;
use crate::token::compact::Unverified;
use crate::verdict::{Reason, Refusal};
use crate::verify::{self, Check, Rejected, VerifiedClaims, verify};
use std::collections::HashMap;
use std::sync::Arc;

/// One issuer in one process: its settings and its keys.
pub(crate) struct LiveIssuer {
    pub(crate) settings: Arc<Issuer>,
    pub(crate) keys: Arc<Keys>,
}

/// The issuers of one server, in the order of the configuration.
#[derive(Default)]
struct Server {
    issuers: Vec<Arc<LiveIssuer>>,
    /// Their numbers by URL, so that a hundred issuers cost no more than one.
    by_url: HashMap<String, Vec<usize>>,
    /// The numbers of those whose URL holds `{tenantid}`.
    templates: Vec<usize>,
}

impl Server {
    fn add(&mut self, issuer: Arc<LiveIssuer>) {
        let (at, url) = (self.issuers.len(), issuer.settings.url.clone());
        if verify::is_template(&url) {
            self.templates.push(at);
        } else {
            self.by_url.entry(url).or_default().push(at);
        }
        self.issuers.push(issuer);
    }

    /// The issuers of this `iss`, in the order of the configuration.
    fn named(&self, iss: &str, tenant: Option<&str>) -> Vec<&Arc<LiveIssuer>> {
        let exact = self.by_url.get(iss).into_iter().flatten();
        let mut all: Vec<usize> = exact.chain(&self.templates).copied().collect();
        all.sort_unstable();
        let issuers = all.iter().filter_map(|at| self.issuers.get(*at));
        issuers
            .filter(|it| verify::is_issuer(&it.settings.url, iss, tenant))
            .collect()
    }
}

/// The way by a signed token.
pub(crate) struct Jwt {
    servers: Vec<Server>,
    /// Each issuer once, though several servers may have it.
    live: Vec<Arc<LiveIssuer>>,
}

impl Jwt {
    /// The issuers of the configuration. Their keys are not loaded yet.
    pub(crate) fn new(config: &Config, dir: &Arc<StateDir>, room: Option<&'static Room>) -> Self {
        let mut live: Vec<Arc<LiveIssuer>> = Vec::new();
        let mut servers = Vec::new();
        for at in 0..config.servers.len() {
            let mut server = Server::default();
            for settings in config.issuers(at) {
                let known = live.iter().find(|it| Arc::ptr_eq(&it.settings, &settings));
                let issuer = known.cloned().unwrap_or_else(|| {
                    let of_it = KeySettings {
                        room,
                        ..KeySettings::from(&*settings)
                    };
                    let keys = Arc::new(Keys::new(of_it, dir));
                    let issuer = Arc::new(LiveIssuer { settings, keys });
                    live.push(Arc::clone(&issuer));
                    issuer
                });
                server.add(issuer);
            }
            servers.push(server);
        }
        Self { servers, live }
    }

    /// Loads what the state directory holds.
    pub(crate) fn load(&self) -> Vec<Arc<Keys>> {
        self.live.iter().for_each(|it| it.keys.load());
        self.keys()
    }

    /// The keys of each issuer, once.
    pub(crate) fn keys(&self) -> Vec<Arc<Keys>> {
        self.live.iter().map(|it| Arc::clone(&it.keys)).collect()
    }

    /// The issuers that the token's `iss` names and the section accepts; never none.
    pub(crate) fn issuers_of(
        &self,
        asked: &Asked<'_>,
        token: &Unverified<'_>,
    ) -> Result<Vec<Arc<LiveIssuer>>, Refusal> {
        let iss = token
            .issuer()
            .map_err(|wrong| Refusal::new(wrong.reason(), wrong.to_string()))?;
        let tenant = token.peek("tid").and_then(Value::as_str);
        let server = self.servers.get(asked.server);
        let named = server.map(|it| it.named(iss, tenant)).unwrap_or_default();
        if named.is_empty() {
            let all = server.map(|it| it.issuers.as_slice()).unwrap_or_default();
            let known: Vec<_> = all.iter().map(|it| it.settings.url.as_str()).collect();
            let little = known.iter().map(|it| difference(it, iss));
            let little = little.into_iter().find(|it| !it.is_empty());
            return Err(Refusal::new(
                Reason::IssuerUnknown,
                format!(
                    "wanted iss {}, got {}{}",
                    known.join(" or "),
                    shown::text(iss),
                    little.unwrap_or_default()
                ),
            ));
        }
        let fit: Vec<_> = named
            .iter()
            .filter(|it| asked.accepts(&it.settings.name))
            .map(|it| Arc::clone(it))
            .collect();
        if fit.is_empty() {
            let names: Vec<_> = named.iter().map(|it| it.settings.name.as_str()).collect();
            let wanted = asked.accept.map(|it| it.issuers.join(" or "));
            return Err(Refusal::new(
                Reason::IssuerNotAccepted,
                format!(
                    "wanted issuer {}, got {}",
                    wanted.unwrap_or_default(),
                    names.join(" or ")
                ),
            ));
        }
        Ok(fit)
    }
}

impl Way for Jwt {
    /// Every form: what is no signed token is refused by the parser, with the reason.
    fn reads(&self, _credential: &[u8]) -> bool {
        true
    }

    fn identify(&self, asked: &Asked<'_>, credential: &[u8]) -> Result<Identity, Refusal> {
        let mut unverified = Unverified::parse(credential)
            .map_err(|wrong| Refusal::new(wrong.reason(), wrong.to_string()))?;
        let mut first: Option<Refusal> = None;
        let patience = Patience::default();
        for issuer in self.issuers_of(asked, &unverified)? {
            match issuer.identify(unverified, asked.now, &patience) {
                Ok(identity) => return Ok(identity),
                Err(Unfit {
                    refusal,
                    token: None,
                }) => return Err(refusal.of(&issuer.settings.name)),
                Err(Unfit {
                    refusal,
                    token: Some(token),
                }) => {
                    // Where two issuers share an `iss`, the one whose audience fits decides.
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
}

/// A refusal, and the token where another issuer may still vouch for it.
pub(crate) struct Unfit<'t> {
    pub(crate) refusal: Refusal,
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
    pub(crate) fn identify<'t>(
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
            }) if self.wait_for_key(refusal.reason, &token, patience) => {
                self.verify(*token, clock::now())
            }
            other => other,
        }?;
        let life = Life::Key(KeyLife {
            key: Arc::clone(verified.key()),
            keys: Arc::clone(&self.keys),
            expires: verified.expires(),
            skew: self.settings.clock_skew,
        });
        Identity::new(verified.vouched(), life, Arc::clone(&self.settings)).map_err(|wrong| Unfit {
            refusal: Refusal::new(wrong.reason(), wrong.to_string()).at(Check::User),
            token: None,
        })
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

    /// Whether other keys have come by a fetch, for a token that names a key that was not there. Where keys without
    /// a name were there, it was tried with those, and its signature did not fit.
    fn wait_for_key(&self, why: Reason, token: &Unverified<'_>, patience: &Patience) -> bool {
        let before = self.keys.current();
        let Some(kid) = token.header().kid.as_deref() else {
            return false;
        };
        match why {
            Reason::KeyUnknown => {}
            Reason::Signature if before.as_ref().is_some_and(|set| !set.knows(kid)) => {}
            _ => return false,
        }
        self.keys.wait_for_kid(kid, patience) || {
            let now = self.keys.current();
            !before
                .zip(now)
                .is_some_and(|(old, new)| Arc::ptr_eq(&old, &new))
        }
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
