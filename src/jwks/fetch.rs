//! One fetch of an issuer's keys, by discovery or from a URL. No memory, no second try: when to
//! fetch is [`super::schedule`]'s to say.
//!
//! Both documents of a discovery share one deadline, and one reading of the certificates to trust.

use super::discovery::{self, Unfit};
use super::set::{KeySet, MAX_BYTES};
use crate::file;
use crate::http::url::{self, UrlError};
use crate::http::{self, Cancel, Trust};
use crate::shown::quoted;
use std::fmt;
use std::path::Path;
use std::time::{Duration, Instant};

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
    /// The discovery document of an issuer elsewhere names this URL on this machine.
    Loopback(String),
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
                "{url} is of the issuer {}, wanted {}{}",
                quoted(got),
                quoted(wanted),
                url::difference(wanted, got)
            ),
            Self::Loopback(url) => write!(
                f,
                "the discovery document names {}, which is on this machine: only an issuer on this machine may do that",
                quoted(url)
            ),
            Self::Trust(why) => write!(f, "no certificate to trust: {why}"),
            Self::Cancelled => f.write_str("the gate is stopping"),
            Self::Panicked => f.write_str("the fetch panicked"),
            Self::NoThread => f.write_str("the system gives no thread to fetch in"),
        }
    }
}

impl std::error::Error for FetchError {}

impl From<http::Error> for FetchError {
    fn from(error: http::Error) -> Self {
        match error {
            http::Error::Url(url, why) => Self::Url(url, why),
            http::Error::Connection(url, why) => Self::Connection(url, why),
            http::Error::TooLarge(url, _) => Self::TooLarge(url),
            http::Error::Trust(why) => Self::Trust(why),
            http::Error::Cancelled => Self::Cancelled,
        }
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
        trust: Trust::new(ca_file),
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

/// What both requests of a fetch share.
struct Call<'a> {
    deadline: Instant,
    trust: Trust<'a>,
    cancel: &'a Cancel,
}

impl Call<'_> {
    /// The discovery document's `jwks_uri`.
    fn jwks_uri(&self, issuer: &str) -> Result<String, FetchError> {
        let url =
            url::discovery_url(issuer).map_err(|why| FetchError::Url(issuer.to_owned(), why))?;
        let (answer, body) = self.get(&url)?;
        discovery::jwks_uri(&body, issuer).map_err(|unfit| match unfit {
            Unfit::Body(why) => FetchError::Body(answer, why),
            Unfit::Loopback(uri) => FetchError::Loopback(uri),
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
        let request = http::Request {
            url,
            headers: &[("Accept", "application/json, application/jwk-set+json")],
            form: None,
            deadline: self.deadline,
            max_bytes: MAX_BYTES,
            trust: &self.trust,
            directives: http::OF_ISSUER,
        };
        let response = request.send(self.cancel)?;
        let start = response.body.as_deref().unwrap_or_default();
        let start = start.get(..60).unwrap_or(start);
        let answer = Answer {
            url: url.to_owned(),
            status: response.status,
            content_type: response.content_type,
            start: String::from_utf8_lossy(start).into_owned(),
        };
        match response.status {
            200 => Ok((answer, response.body?)),
            300..=399 => {
                let to = response.location.unwrap_or_default();
                Err(FetchError::Redirect(answer, to))
            }
            _ => Err(FetchError::Status(answer)),
        }
    }
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
