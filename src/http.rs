//! One bounded request to a configured URL: to `https://`, or to this machine. It has a time limit and a size
//! limit, redirects are not followed, nothing is decompressed, and what goes to this machine passes no proxy.
//! Keys, jobs and accounts are asked for by it. No memory, no second try: when to ask is the caller's decision.
//!
//! The trusted certificates are read again for each [`Trust`], so that a changed CA file needs no restart.

pub mod tls; // TLS failures in words, with a remedy
pub mod url; // which URLs may be asked

use crate::file;
use crate::shown::quoted;
use aws_lc_rs::digest;
use std::cell::OnceCell;
use std::fmt;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use ureq::http::Request as Head;
use ureq::tls::{Certificate, PemItem, RootCerts, TlsConfig, TlsProvider};
use ureq::{Agent, AsSendBody, Body};
use url::UrlError;

const USER_AGENT: &str = concat!("mod_gitlab_gate/", env!("CARGO_PKG_VERSION"));

/// The longest CA file.
const MAX_CA_BYTES: usize = 1 << 20;

/// The directives that an error text names.
#[derive(Clone, Copy, Debug)]
pub struct Directives {
    /// What sets the time limit.
    pub time_limit: &'static str,
    /// What names the CA.
    pub ca_file: &'static str,
}

/// The directives of a `<GateIssuer>`.
pub const OF_ISSUER: Directives = Directives {
    time_limit: "GateTimeout",
    ca_file: "GateCAFile",
};

/// One request.
#[derive(Clone, Copy)]
pub struct Request<'a> {
    /// Where to.
    pub url: &'a str,
    /// Headers beside `User-Agent` and `Accept`.
    pub headers: &'a [(&'a str, &'a str)],
    /// The body of a POST, as `application/x-www-form-urlencoded`; `None`: a GET.
    pub form: Option<&'a str>,
    /// The whole answer must be there by then; a name lookup counts too.
    pub deadline: Instant,
    /// The longest body.
    pub max_bytes: usize,
    /// The certificates to trust.
    pub trust: &'a Trust<'a>,
    /// What error texts name.
    pub directives: Directives,
}

/// What came back.
pub struct Response {
    /// The HTTP status.
    pub status: u16,
    /// `Content-Type`
    pub content_type: Option<String>,
    /// `Location`
    pub location: Option<String>,
    /// The body; the status is known without it.
    pub body: Result<Vec<u8>, Error>,
}

/// Why no answer came, or not a whole one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Error {
    /// A URL that must not be asked.
    Url(String, UrlError),
    /// No answer: the name, the connection, TLS or time.
    Connection(String, String),
    /// A body over the limit (URL, bytes).
    TooLarge(String, usize),
    /// No certificate to trust could be read.
    Trust(String),
    /// The process stops.
    Cancelled,
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Url(url, why) => write!(f, "{} is not fetched from: {why}", quoted(url)),
            Self::Connection(url, why) => write!(f, "{url}: {why}"),
            Self::TooLarge(url, most) => write!(f, "{url} answered with more than {most} bytes"),
            Self::Trust(why) => write!(f, "no certificate to trust: {why}"),
            Self::Cancelled => f.write_str("the gate is stopping"),
        }
    }
}

impl std::error::Error for Error {}

/// Ends requests in flight when the process stops.
#[derive(Default)]
pub struct Cancel {
    cancelled: AtomicBool,
    agents: Mutex<Vec<(u64, Agent)>>,
}

impl Cancel {
    /// Ends the requests in flight with [`Error::Cancelled`], and each later one at once. A name
    /// lookup or a connect in progress ends at its own deadline.
    pub fn cancel(&self) {
        self.cancelled.store(true, Ordering::Release);
        for (_, agent) in self.lock().drain(..) {
            agent.shutdown();
        }
    }

    /// Whether [`Cancel::cancel`] was called.
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        self.cancelled.load(Ordering::Acquire)
    }

    fn register(&self, agent: &Agent) -> Result<Registered<'_>, Error> {
        let mut agents = self.lock();
        // Checked under the lock: `cancel` either sees the agent or is seen here.
        if self.is_cancelled() {
            return Err(Error::Cancelled);
        }
        let number = agents.last().map_or(0, |(last, _)| last + 1);
        agents.push((number, agent.clone()));
        Ok(Registered(self, number))
    }

    fn lock(&self) -> MutexGuard<'_, Vec<(u64, Agent)>> {
        self.agents.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

struct Registered<'a>(&'a Cancel, u64);

impl Drop for Registered<'_> {
    fn drop(&mut self) {
        self.0.lock().retain(|(number, _)| *number != self.1);
    }
}

/// The certificates to trust, read when the first `https://` request needs them.
pub struct Trust<'a> {
    ca_file: Option<&'a Path>,
    roots: OnceCell<RootCerts>,
}

impl<'a> Trust<'a> {
    /// Those of this file (PEM); `None`: the system's.
    #[must_use]
    pub const fn new(ca_file: Option<&'a Path>) -> Self {
        Self {
            ca_file,
            roots: OnceCell::new(),
        }
    }

    fn roots(&self) -> Result<RootCerts, Error> {
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
}

fn ca_certificates(path: &Path) -> Result<Vec<Certificate<'static>>, Error> {
    let trust = |why: String| Error::Trust(format!("{}: {why}", path.display()));
    let pem = file::read(path, MAX_CA_BYTES).map_err(|error| trust(error.to_string()))?;
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

/// A hash of the certificates in a CA file: another one is another trust.
///
/// # Errors
///
/// It can't be read, or there is no certificate in it.
pub fn ca_fingerprint(path: &Path) -> Result<String, Error> {
    let mut context = digest::Context::new(&digest::SHA256);
    for certificate in ca_certificates(path)? {
        context.update(certificate.der());
    }
    let hash = context.finish();
    Ok(hash.as_ref().iter().map(|b| format!("{b:02x}")).collect())
}

fn system_certificates() -> Result<Vec<Certificate<'static>>, Error> {
    let found = rustls_native_certs::load_native_certs();
    if found.certs.is_empty() {
        return Err(Error::Trust(match found.errors.first() {
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
        .accept("application/json")
        .accept_encoding("identity")
        .http_status_as_error(false)
        .max_redirects(0)
        .max_redirects_will_error(false)
        .build()
        .new_agent()
}

impl Request<'_> {
    /// Sends it, and waits for the answer.
    ///
    /// # Errors
    ///
    /// [`Error`]: no answer came.
    pub fn send(&self, cancel: &Cancel) -> Result<Response, Error> {
        match self.exchange(cancel) {
            Err(_) if cancel.is_cancelled() => Err(Error::Cancelled),
            other => other,
        }
    }

    fn exchange(&self, cancel: &Cancel) -> Result<Response, Error> {
        url::check_url(self.url).map_err(|why| Error::Url(self.url.to_owned(), why))?;
        // Without TLS no certificate is needed.
        let agent = agent(if url::is_plain(self.url) {
            RootCerts::new_with_certs(&[])
        } else {
            self.trust.roots()?
        });
        let _registered = cancel.register(&agent)?;
        let response = match self.form {
            None => self.run(&agent, "GET", ()),
            Some(form) => self.run(&agent, "POST", form),
        };
        let mut response = response.map_err(|error| self.failed(&error))?;
        let header = |name: &str| {
            let value = response.headers().get(name)?;
            Some(String::from_utf8_lossy(value.as_bytes()).into_owned())
        };
        Ok(Response {
            status: response.status().as_u16(),
            content_type: header("content-type"),
            location: header("location"),
            body: self.read(response.body_mut()),
        })
    }

    fn run(
        &self,
        agent: &Agent,
        method: &str,
        body: impl AsSendBody,
    ) -> Result<ureq::http::Response<Body>, ureq::Error> {
        let mut head = Head::builder().method(method).uri(self.url);
        for (name, value) in self.headers {
            head = head.header(*name, *value);
        }
        if self.form.is_some() {
            head = head.header("Content-Type", "application/x-www-form-urlencoded");
        }
        let left = self.deadline.saturating_duration_since(Instant::now());
        let request = agent
            .configure_request(head.body(body)?)
            .timeout_global(Some(left.max(Duration::from_millis(1))));
        let request = if url::is_here(self.url) {
            request.proxy(None)
        } else {
            request
        };
        agent.run(request.build())
    }

    fn read(&self, body: &mut Body) -> Result<Vec<u8>, Error> {
        let too_large = || Error::TooLarge(self.url.to_owned(), self.max_bytes);
        // The reader counts the end of the body as one read more, hence the one byte more.
        let limit = u64::try_from(self.max_bytes).unwrap_or(u64::MAX);
        let read = body
            .with_config()
            .limit(limit.saturating_add(1))
            .read_to_vec();
        match read {
            Ok(body) if body.len() > self.max_bytes => Err(too_large()),
            Err(ureq::Error::BodyExceedsLimit(_)) => Err(too_large()),
            Ok(body) => Ok(body),
            Err(error) => Err(self.failed(&error)),
        }
    }

    /// ureq's error in words. It holds no header's value.
    fn failed(&self, error: &ureq::Error) -> Error {
        let why = match error {
            ureq::Error::Timeout(_) => {
                format!("no whole answer in time ({})", self.directives.time_limit)
            }
            ureq::Error::HostNotFound => "the host is not found".to_owned(),
            ureq::Error::Rustls(error) => tls::words(error, self.directives.ca_file),
            ureq::Error::Io(error) => tls::io_words(error, self.directives.ca_file),
            other => other.to_string(),
        };
        Error::Connection(self.url.to_owned(), why)
    }
}
