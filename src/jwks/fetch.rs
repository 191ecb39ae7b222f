//! One fetch of an issuer's keys, by discovery or from a URL. No memory, no second try: when to
//! fetch is [`super::schedule`]'s to say.
//!
//! Redirects are not followed, nothing is decompressed, and both documents of a discovery share one
//! deadline. The certificates to trust are read anew at each fetch, so that a changed CA file needs
//! no restart.

use super::discovery::{self, Unfit};
use super::lock;
use super::set::{KeySet, MAX_BYTES};
use super::url::{self, UrlError};
use crate::file;
use crate::shown::quoted;
use aws_lc_rs::digest;
use std::cell::OnceCell;
use std::fmt;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use ureq::Agent;
use ureq::tls::{Certificate, PemItem, RootCerts, TlsConfig, TlsProvider};

const USER_AGENT: &str = concat!("mod_gitlab_gate/", env!("CARGO_PKG_VERSION"));

/// Where to fetch from.
#[derive(Clone, Copy, Debug)]
pub enum Source<'a> {
    /// `jwks_uri` of the issuer's discovery document.
    Discovery {
        /// The exact issuer; may hold `{tenantid}`.
        issuer: &'a str,
    },
    /// A JWKS at this URL.
    Url(&'a str),
}

/// What came.
pub struct Fetched {
    /// The URL of the JWKS.
    pub source: String,
    /// The JWKS as it came.
    pub text: String,
    /// Its keys; it may be that none is fit.
    pub set: KeySet,
}

/// An answer that was no good, as the log should show it: the body of a public URL is no secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The URL asked.
    pub url: String,
    /// Its HTTP status.
    pub status: u16,
    /// Its `Content-Type`.
    pub content_type: Option<String>,
    /// The first 60 bytes of the body.
    pub start: String,
}

impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} answered {}, ", self.url, self.status)?;
        match &self.content_type {
            Some(kind) => write!(f, "content type {}", quoted(kind))?,
            None => f.write_str("no content type")?,
        }
        if self.start.is_empty() {
            f.write_str(", no body")
        } else {
            write!(f, ", body {}", quoted(&self.start))
        }
    }
}

/// Why a fetch brought no keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FetchError {
    /// A URL that must not be fetched from.
    Url(String, UrlError),
    /// No answer: the name, the connection, TLS or time.
    Connection(String, String),
    /// The answer was a redirect, which is not followed: where to.
    Redirect(Answer, String),
    /// Another status than 200.
    Status(Answer),
    /// More than 1 MiB.
    TooLarge(String),
    /// The body is not what was asked for: what is wrong with it.
    Body(Answer, String),
    /// The discovery document (its URL) is of another issuer: got, wanted.
    Issuer(String, String, String),
    /// No certificate to trust could be read.
    Trust(String),
    /// The gate is stopping.
    Cancelled,
    /// The fetch panicked: a fault of the gate's.
    Panicked,
    /// The system gives no thread to fetch in.
    NoThread,
}

impl fmt::Display for FetchError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Url(url, why) => write!(f, "{} is not fetched from: {why}", quoted(url)),
            Self::Connection(url, why) => write!(f, "{url}: {why}"),
            Self::Redirect(answer, to) => {
                write!(
                    f,
                    "{answer}: the redirect to {} is not followed",
                    quoted(to)
                )
            }
            Self::Status(answer) => write!(f, "{answer}: wanted status 200"),
            Self::TooLarge(url) => write!(f, "{url} answered with more than {MAX_BYTES} bytes"),
            Self::Body(answer, why) => write!(f, "{answer}: {why}"),
            Self::Issuer(url, got, wanted) => write!(
                f,
                "{url} is of the issuer {}, wanted {}",
                quoted(got),
                quoted(wanted)
            ),
            Self::Trust(why) => write!(f, "no certificate to trust: {why}"),
            Self::Cancelled => f.write_str("the gate is stopping"),
            Self::Panicked => f.write_str("the fetch panicked"),
            Self::NoThread => f.write_str("the system gives no thread to fetch in"),
        }
    }
}

impl std::error::Error for FetchError {}

/// Cuts fetches in flight short when the process stops.
#[derive(Default)]
pub struct Cancel {
    cancelled: AtomicBool,
    agents: Mutex<Vec<(u64, Agent)>>,
}

impl Cancel {
    /// Ends the fetches in flight with [`FetchError::Cancelled`], and each later one at once. A name
    /// lookup or a connect in progress ends at its own deadline.
    pub fn cancel(&self) {
        self.cancelled.store(true, Ordering::Release);
        for (_, agent) in lock(&self.agents).drain(..) {
            agent.shutdown();
        }
    }

    /// Whether [`Cancel::cancel`] was called.
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        self.cancelled.load(Ordering::Acquire)
    }

    pub(crate) fn register(&self, agent: &Agent) -> Result<Registered<'_>, FetchError> {
        let mut agents = lock(&self.agents);
        // Asked under the lock: `cancel` either sees the agent or is seen here.
        if self.is_cancelled() {
            return Err(FetchError::Cancelled);
        }
        let number = agents.last().map_or(0, |(last, _)| last + 1);
        agents.push((number, agent.clone()));
        Ok(Registered(self, number))
    }
}

pub(crate) struct Registered<'a>(&'a Cancel, u64);

impl Drop for Registered<'_> {
    fn drop(&mut self) {
        lock(&self.0.agents).retain(|(number, _)| *number != self.1);
    }
}

/// Fetches an issuer's keys, in `timeout` at most (a name lookup included). `ca_file`: trust these
/// certificates (PEM) instead of the system's.
///
/// # Errors
///
/// [`FetchError`]: no key set.
pub fn fetch(
    source: Source<'_>,
    timeout: Duration,
    ca_file: Option<&Path>,
    cancel: &Cancel,
) -> Result<Fetched, FetchError> {
    let call = Call {
        deadline: Instant::now() + timeout,
        ca_file,
        roots: OnceCell::new(),
        cancel,
    };
    let result = match source {
        Source::Discovery { issuer } => call
            .jwks_uri(issuer)
            .and_then(|jwks_uri| call.keys(jwks_uri)),
        Source::Url(url) => call.keys(url.to_owned()),
    };
    match result {
        Err(_) if cancel.is_cancelled() => Err(FetchError::Cancelled),
        other => other,
    }
}

fn ca_certificates(path: &Path) -> Result<Vec<Certificate<'static>>, FetchError> {
    let trust = |why: String| FetchError::Trust(format!("{}: {why}", path.display()));
    let pem = file::read(path, MAX_BYTES).map_err(|error| trust(error.to_string()))?;
    let mut certificates = Vec::new();
    let mut wrong = "no PEM certificate is in it".to_owned();
    for item in ureq::tls::parse_pem(&pem) {
        if let PemItem::Certificate(certificate) = item.map_err(|error| trust(error.to_string()))? {
            match rustls::RootCertStore::empty().add(certificate.der().into()) {
                Ok(()) => certificates.push(certificate),
                Err(error) => wrong = format!("no certificate in it can be used: {error}"),
            }
        }
    }
    if certificates.is_empty() {
        return Err(trust(wrong));
    }
    Ok(certificates)
}

/// What a CA file holds is told from what it held before by this.
///
/// # Errors
///
/// It can't be read, or a certificate in it is none.
pub fn ca_fingerprint(path: &Path) -> Result<String, FetchError> {
    let mut context = digest::Context::new(&digest::SHA256);
    for certificate in ca_certificates(path)? {
        context.update(certificate.der());
    }
    let hash = context.finish();
    Ok(hash.as_ref().iter().map(|b| format!("{b:02x}")).collect())
}

fn system_certificates() -> Result<Vec<Certificate<'static>>, FetchError> {
    let found = rustls_native_certs::load_native_certs();
    if found.certs.is_empty() {
        return Err(FetchError::Trust(match found.errors.first() {
            Some(error) => format!("the system's store: {error}"),
            None => "the system's store is empty (package ca-certificates?)".to_owned(),
        }));
    }
    Ok(found
        .certs
        .iter()
        .map(|certificate| Certificate::from_der(certificate).to_owned())
        .collect())
}

/// An agent for one request, with the one crypto provider of the library.
fn agent(roots: RootCerts) -> Agent {
    let tls = TlsConfig::builder()
        .provider(TlsProvider::Rustls)
        .unversioned_rustls_crypto_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
        .root_certs(roots)
        .build();
    Agent::config_builder()
        .tls_config(tls)
        .user_agent(USER_AGENT)
        .accept("application/json, application/jwk-set+json")
        .accept_encoding("identity")
        .http_status_as_error(false)
        .max_redirects(0)
        .max_redirects_will_error(false)
        .build()
        .new_agent()
}

/// An agent for requests to that URL alone.
///
/// # Errors
///
/// No certificate to trust could be read.
pub(crate) fn agent_for(url: &str, ca_file: Option<&Path>) -> Result<Agent, FetchError> {
    if url::is_plain(url) {
        return Ok(agent(RootCerts::new_with_certs(&[])));
    }
    let certificates = match ca_file {
        Some(path) => ca_certificates(path)?,
        None => system_certificates()?,
    };
    Ok(agent(RootCerts::from(certificates)))
}

/// What both requests of a fetch share.
struct Call<'a> {
    deadline: Instant,
    ca_file: Option<&'a Path>,
    roots: OnceCell<RootCerts>,
    cancel: &'a Cancel,
}

impl Call<'_> {
    /// The certificates to trust, read once a fetch.
    fn roots(&self) -> Result<RootCerts, FetchError> {
        if let Some(roots) = self.roots.get() {
            return Ok(roots.clone());
        }
        let certificates = match self.ca_file {
            Some(path) => ca_certificates(path)?,
            None => system_certificates()?,
        };
        let roots = RootCerts::from(certificates);
        Ok(self.roots.get_or_init(|| roots).clone())
    }

    /// The discovery document's `jwks_uri`.
    fn jwks_uri(&self, issuer: &str) -> Result<String, FetchError> {
        let url =
            url::discovery_url(issuer).map_err(|why| FetchError::Url(issuer.to_owned(), why))?;
        let (answer, body) = self.get(&url)?;
        discovery::jwks_uri(&body, issuer).map_err(|unfit| match unfit {
            Unfit::Body(why) => FetchError::Body(answer, why),
            Unfit::Issuer(got) => FetchError::Issuer(url, got, issuer.to_owned()),
        })
    }

    /// The JWKS at that URL.
    fn keys(&self, url: String) -> Result<Fetched, FetchError> {
        let (answer, body) = self.get(&url)?;
        let set = match KeySet::parse(&body) {
            Ok(set) => set,
            Err(error) => return Err(FetchError::Body(answer, error.to_string())),
        };
        match String::from_utf8(body) {
            Ok(text) => Ok(Fetched {
                source: url,
                text,
                set,
            }),
            Err(_) => Err(FetchError::Body(answer, "not UTF-8".to_owned())),
        }
    }

    /// One GET; the body of a 200.
    fn get(&self, url: &str) -> Result<(Answer, Vec<u8>), FetchError> {
        url::check_url(url).map_err(|why| FetchError::Url(url.to_owned(), why))?;
        let connection = |error: ureq::Error| FetchError::Connection(url.to_owned(), told(&error));
        // What goes to this machine goes past every proxy, and by http without certificates.
        let plain = url::is_plain(url);
        let agent = agent(if plain {
            RootCerts::new_with_certs(&[])
        } else {
            self.roots()?
        });
        let _registered = self.cancel.register(&agent)?;
        let left = self.deadline.saturating_duration_since(Instant::now());
        let request = agent.get(url).config().timeout_global(Some(left));
        let request = if url::is_here(url) {
            request.proxy(None)
        } else {
            request
        };
        let mut response = request.build().call().map_err(connection)?;
        let status = response.status().as_u16();
        let header = |name: &str| {
            let value = response.headers().get(name)?;
            Some(String::from_utf8_lossy(value.as_bytes()).into_owned())
        };
        let location = header("location");
        let mut answer = Answer {
            url: url.to_owned(),
            status,
            content_type: header("content-type"),
            start: String::new(),
        };
        // The reader counts the end of the body as one read more, hence the one byte more.
        let body = response
            .body_mut()
            .with_config()
            .limit(MAX_BYTES as u64 + 1)
            .read_to_vec();
        let body = match body {
            Ok(body) if body.len() > MAX_BYTES => Err(FetchError::TooLarge(url.to_owned())),
            Err(ureq::Error::BodyExceedsLimit(_)) => Err(FetchError::TooLarge(url.to_owned())),
            Ok(body) => Ok(body),
            Err(error) => Err(connection(error)),
        };
        if let Ok(body) = &body {
            let start = body.get(..60).unwrap_or(body);
            answer.start = String::from_utf8_lossy(start).into_owned();
        }
        match status {
            200 => Ok((answer, body?)),
            300..=399 => Err(FetchError::Redirect(answer, location.unwrap_or_default())),
            _ => Err(FetchError::Status(answer)),
        }
    }
}

/// ureq's error in words for the log.
fn told(error: &ureq::Error) -> String {
    match error {
        ureq::Error::Timeout(_) => "no whole answer in time (GateTimeout)".to_owned(),
        ureq::Error::HostNotFound => "the host is not found".to_owned(),
        ureq::Error::Io(error) => in_words(error.to_string()),
        other => in_words(other.to_string()),
    }
}

/// What rustls has no words for.
fn in_words(text: String) -> String {
    if text.contains("CaUsedAsEndEntity") {
        return "its certificate is a CA's (basicConstraints CA:TRUE), which no server may show: give it one of its own, signed by the CA of GateCAFile".to_owned();
    }
    text
}

/// The keys of a `file:` location.
///
/// # Errors
///
/// What is wrong, for the log.
pub fn read_file(path: &Path) -> Result<(String, KeySet), String> {
    let told = |why: String| format!("{}: {why}", path.display());
    let bytes = file::read(path, MAX_BYTES).map_err(|error| told(error.to_string()))?;
    let set = KeySet::parse(&bytes).map_err(|error| told(error.to_string()))?;
    let text = String::from_utf8(bytes).map_err(|error| told(error.to_string()))?;
    Ok((text, set))
}

#[cfg(test)]
mod tests;
