//! The client at an issuer (GateClient): its metadata, and the questions to its endpoints. All of
//! them are bounded in time and size; together they hold at most an eighth of the workers.

use super::attempt::Begun;
use super::failure::Failure;
use super::provider::{LONGEST, Metadata, NoTokens, Tokens, error_code, form, with_query};
use crate::clock;
use crate::config::Issuer;
use crate::config::people::{Client as Settings, ClientSecret};
use crate::http::{Cancel, OF_ISSUER, Request, Response, Trust, url};
use crate::json::{self, Object, Value};
use crate::jwks::Keys;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde_json::json;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// How long a sign-in waits for a free place at the endpoints.
const WAIT: Duration = Duration::from_secs(2);
/// How long a signed statement of who the client is may be used, seconds (RFC 7523).
const STATEMENT: u64 = 60;

/// The places at the endpoints of all issuers, of one process.
pub struct Places {
    most: usize,
    taken: Mutex<usize>,
    freed: Condvar,
}

/// One of them, until it is dropped.
pub struct Place<'p>(&'p Places);

impl Drop for Place<'_> {
    fn drop(&mut self) {
        *lock(&self.0.taken) -= 1;
        self.0.freed.notify_one();
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Places {
    /// An eighth of that many workers, one at least.
    #[must_use]
    pub fn of(workers: usize) -> Self {
        Self {
            most: (workers / 8).max(1),
            taken: Mutex::new(0),
            freed: Condvar::new(),
        }
    }

    /// A place, within two seconds.
    ///
    /// # Errors
    /// Too many sign-ins at once.
    pub fn take(&self) -> Result<Place<'_>, Failure> {
        let full = |taken: &mut usize| *taken >= self.most;
        let (mut taken, _) = self
            .freed
            .wait_timeout_while(lock(&self.taken), WAIT, full)
            .unwrap_or_else(PoisonError::into_inner);
        if full(&mut taken) {
            return Err(Failure::unavailable(
                "too many sign-ins at once: no place was free for 2 s",
            ));
        }
        *taken += 1;
        drop(taken);
        Ok(Place(self))
    }
}

/// A client at an issuer.
pub struct Client {
    /// The issuer.
    pub issuer: Arc<Issuer>,
    /// GateClient.
    pub settings: Settings,
    /// The issuer's keys.
    pub keys: Arc<Keys>,
    metadata: Mutex<Option<(u64, Arc<Metadata>)>>,
    cancel: Arc<Cancel>,
}

fn unavailable(why: impl std::fmt::Display) -> Failure {
    Failure::unavailable(why)
}

impl Client {
    /// The client of these settings at that issuer.
    #[must_use]
    pub fn new(
        settings: Settings,
        issuer: &Arc<Issuer>,
        keys: &Arc<Keys>,
        cancel: &Arc<Cancel>,
    ) -> Self {
        Self {
            settings,
            issuer: Arc::clone(issuer),
            keys: Arc::clone(keys),
            metadata: Mutex::new(None),
            cancel: Arc::clone(cancel),
        }
    }

    /// What the pages of the gate call it.
    #[must_use]
    pub fn label(&self) -> &str {
        let label = self.settings.label.as_deref();
        label.unwrap_or(&self.issuer.name)
    }

    fn send(
        &self,
        url: &str,
        headers: &[(&str, &str)],
        form: Option<&str>,
    ) -> Result<(u16, Vec<u8>), Failure> {
        let trust = Trust::new(self.issuer.ca_file.as_deref());
        let request = Request {
            url,
            headers,
            form,
            deadline: Instant::now() + Duration::from_secs(self.issuer.timeout),
            max_bytes: LONGEST,
            trust: &trust,
            directives: OF_ISSUER,
        };
        let Response { status, body, .. } = request.send(&self.cancel).map_err(unavailable)?;
        Ok((status, body.map_err(unavailable)?))
    }

    /// The issuer's metadata, kept for GateRefresh; where it can't be had anew, the last good one for
    /// GateMaxStale.
    ///
    /// # Errors
    /// See [`Failure`].
    pub fn metadata(&self) -> Result<Arc<Metadata>, Failure> {
        // One fetch at a time: the others wait for it, which is bounded by GateTimeout.
        let mut kept = lock(&self.metadata);
        let now = clock::now();
        let age = |at: u64| now.saturating_sub(at);
        if let Some((at, metadata)) = &*kept
            && age(*at) < self.issuer.refresh
        {
            return Ok(Arc::clone(metadata));
        }
        match self.fetch_metadata() {
            Ok(metadata) => {
                let metadata = Arc::new(metadata);
                *kept = Some((now, Arc::clone(&metadata)));
                Ok(metadata)
            }
            Err(failure) => match &*kept {
                Some((at, metadata)) if age(*at) < self.issuer.max_stale => {
                    Ok(Arc::clone(metadata))
                }
                _ => Err(failure),
            },
        }
    }

    fn fetch_metadata(&self) -> Result<Metadata, Failure> {
        let base = self.issuer.url.trim_end_matches('/');
        let document = format!("{base}/.well-known/openid-configuration");
        let (status, body) = self.send(&document, &[], None)?;
        if status != 200 {
            return Err(unavailable(format!("{document}: HTTP status {status}")));
        }
        // As for keys: an issuer elsewhere can't make the gate ask services of this machine.
        let here = url::is_here(&self.issuer.url);
        let allowed = |it: &str| url::check_url(it).is_ok() && (here || !url::leads_here(it));
        Metadata::read(&body, &self.issuer.url, allowed)
            .map_err(|unfit| unavailable(format!("{document}: {}", unfit.0)))
    }

    /// Where the browser is sent.
    ///
    /// # Errors
    /// See [`Failure`].
    pub fn authorization_url(
        &self,
        begun: &Begun,
        redirect_uri: &str,
        more: &[(&str, &str)],
    ) -> Result<String, Failure> {
        let metadata = self.metadata()?;
        let mut pairs = vec![
            ("response_type", "code"),
            ("client_id", &self.settings.id),
            ("redirect_uri", redirect_uri),
            ("scope", &self.settings.scope),
            ("state", &begun.state),
            ("nonce", &begun.nonce),
            ("code_challenge", &begun.challenge),
            ("code_challenge_method", "S256"),
        ];
        pairs.extend_from_slice(more);
        let endpoint = &metadata.authorization_endpoint;
        if !metadata.pushed_required {
            return Ok(with_query(endpoint, &pairs));
        }
        let pushed = self.push(&metadata, &pairs)?;
        let short = [("client_id", &*self.settings.id), ("request_uri", &pushed)];
        Ok(with_query(endpoint, &short))
    }

    /// RFC 9126: the request goes to the issuer first, and the browser carries its name.
    fn push(&self, metadata: &Metadata, pairs: &[(&str, &str)]) -> Result<String, Failure> {
        let endpoint = metadata.pushed_endpoint.as_deref();
        let endpoint = endpoint.ok_or_else(|| {
            unavailable("the issuer requires pushed authorization requests, and names no endpoint")
        })?;
        let (status, body) = self.ask(metadata, endpoint, pairs)?;
        let answer = json::parse(&body).ok();
        let text = |name: &str| answer.as_ref()?.get(name)?.as_str();
        match text("request_uri") {
            Some(uri) if status == 201 || status == 200 => Ok(uri.to_owned()),
            _ => Err(unavailable(format!(
                "pushed authorization request: HTTP status {status}, {}",
                error_code(text("error").unwrap_or_default())
            ))),
        }
    }

    /// A form to an endpoint, with who the client is.
    fn ask(
        &self,
        metadata: &Metadata,
        endpoint: &str,
        pairs: &[(&str, &str)],
    ) -> Result<(u16, Vec<u8>), Failure> {
        let mut pairs = pairs.to_vec();
        if !pairs.iter().any(|(name, _)| *name == "client_id") {
            pairs.push(("client_id", &self.settings.id));
        }
        let methods = &metadata.client_methods;
        let knows = |method: &str| methods.iter().any(|it| it == method);
        let (mut basic, mut statement) = (None, None);
        match &self.settings.secret {
            ClientSecret::None => {}
            // RFC 6749, section 2.3.1. A list that is missing means client_secret_basic (RFC 8414, section 2).
            ClientSecret::Shared(secret)
                if methods.is_empty()
                    || knows("client_secret_basic")
                    || !knows("client_secret_post") =>
            {
                let encoded = |text: &str| form(&[("", text)]).split_off(1);
                let both = format!("{}:{}", encoded(&self.settings.id), encoded(secret));
                basic = Some(format!("Basic {}", BASE64.encode(both)));
            }
            ClientSecret::Shared(secret) => pairs.push(("client_secret", secret)),
            ClientSecret::Key(signer) => {
                let now = clock::now();
                let claims = json!({
                    "iss": self.settings.id, "sub": self.settings.id, "aud": metadata.token_endpoint,
                    "jti": crate::upstream::login::new_id(), "iat": now, "exp": now + STATEMENT,
                });
                let signed = signer.sign("JWT", &claims);
                statement = Some(signed.map_err(|_| {
                    Failure::failed("the statement of the client could not be signed")
                })?);
            }
        }
        if let Some(statement) = &statement {
            pairs.push((
                "client_assertion_type",
                "urn:ietf:params:oauth:client-assertion-type:jwt-bearer",
            ));
            pairs.push(("client_assertion", statement));
        }
        let body = form(&pairs);
        match &basic {
            Some(basic) => self.send(endpoint, &[("Authorization", basic)], Some(&body)),
            None => self.send(endpoint, &[], Some(&body)),
        }
    }

    /// Redeems a code.
    ///
    /// # Errors
    /// See [`NoTokens`].
    pub fn redeem(
        &self,
        code: &str,
        redirect_uri: &str,
        verifier: &str,
    ) -> Result<Tokens, NoTokens> {
        self.tokens(&[
            ("grant_type", "authorization_code"),
            ("code", code),
            ("redirect_uri", redirect_uri),
            ("code_verifier", verifier),
        ])
    }

    /// Asks for new tokens of a person who signed in.
    ///
    /// # Errors
    /// As [`Client::redeem`].
    pub fn refresh(&self, refresh_token: &str) -> Result<Tokens, NoTokens> {
        self.tokens(&[
            ("grant_type", "refresh_token"),
            ("refresh_token", refresh_token),
        ])
    }

    fn tokens(&self, pairs: &[(&str, &str)]) -> Result<Tokens, NoTokens> {
        let cant = |failure: Failure| NoTokens::Unavailable(failure.to_string());
        let metadata = self.metadata().map_err(cant)?;
        let (status, body) = self
            .ask(&metadata, &metadata.token_endpoint, pairs)
            .map_err(cant)?;
        Tokens::read(status, &body)
    }

    /// The claims of the userinfo endpoint. `subject`: `sub` of the ID token, which must be the same
    /// (OpenID Connect Core, section 5.3.2). An issuer without that endpoint has no such claims.
    ///
    /// # Errors
    /// See [`Failure`].
    pub fn userinfo(&self, access_token: &str, subject: &str) -> Result<Object, Failure> {
        let metadata = self.metadata()?;
        let Some(endpoint) = metadata.userinfo_endpoint.as_deref() else {
            return Ok(Object::default());
        };
        let bearer = format!("Bearer {access_token}");
        let (status, body) = self.send(endpoint, &[("Authorization", &bearer)], None)?;
        match status {
            200 => {}
            400..=403 => {
                return Err(Failure::failed(format!("userinfo: HTTP status {status}")));
            }
            _ => return Err(unavailable(format!("userinfo: HTTP status {status}"))),
        }
        let answer = json::parse(&body);
        let Ok(Value::Object(claims)) = answer else {
            return Err(unavailable("userinfo: the answer is no JSON object"));
        };
        if claims.get("sub").and_then(Value::as_str) == Some(subject) {
            Ok(claims)
        } else {
            Err(Failure::failed("userinfo: sub is not that of the ID token"))
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing)]
mod tests {
    use super::*;
    use crate::config::people::ClientSecret;
    use crate::testing::{NOW, issuer, keys};
    use std::io::{BufRead as _, BufReader, Read as _, Write as _};
    use std::net::TcpListener;
    use std::thread::JoinHandle;

    /// A provider that gives these answers in turn; `BASE` in them is its own URL. What it was asked.
    fn provider(answers: Vec<(u16, String)>) -> (String, JoinHandle<Vec<String>>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let base = format!("http://{}", listener.local_addr().unwrap());
        let own = base.clone();
        let thread = std::thread::spawn(move || {
            let mut asked = Vec::new();
            for (status, body) in answers {
                let (socket, _) = listener.accept().unwrap();
                let mut reader = BufReader::new(socket);
                let (mut head, mut length) = (String::new(), 0);
                loop {
                    let mut line = String::new();
                    reader.read_line(&mut line).unwrap();
                    let lower = line.to_ascii_lowercase();
                    if let Some(it) = lower.strip_prefix("content-length:") {
                        length = it.trim().parse().unwrap();
                    }
                    if line.trim().is_empty() {
                        break;
                    }
                    head.push_str(&line);
                }
                let mut form = vec![0; length];
                reader.read_exact(&mut form).unwrap();
                asked.push(format!("{head}\n{}", String::from_utf8(form).unwrap()));
                let body = body.replace("BASE", &own);
                let answer = format!(
                    "HTTP/1.1 {status} X\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
                    body.len()
                );
                reader.get_mut().write_all(answer.as_bytes()).unwrap();
            }
            asked
        });
        (base, thread)
    }

    fn document(more: &str) -> (u16, String) {
        let text = format!(
            r#"{{"issuer":"BASE","authorization_endpoint":"BASE/auth","token_endpoint":"BASE/token","userinfo_endpoint":"BASE/me"{more}}}"#
        );
        (200, text)
    }

    fn client(base: &str, secret: ClientSecret) -> Client {
        let settings = Settings {
            id: "gate:1".into(),
            secret,
            scope: "openid".into(),
            label: None,
        };
        let issuer = issuer(&[&format!("GateIssuerURL {base}")]);
        Client::new(settings, &issuer, &keys(NOW), &Arc::default())
    }

    fn begun() -> Begun {
        Begun {
            state: "s t".into(),
            nonce: "n".into(),
            challenge: "c".into(),
        }
    }

    #[test]
    fn people_are_sent_with_pkce_nonce_and_state() {
        let (base, thread) = provider(vec![document("")]);
        let client = client(&base, ClientSecret::None);
        let url = client.authorization_url(&begun(), "https://g/cb", &[("prompt", "login")]);
        assert_eq!(
            url.unwrap(),
            format!(
                "{base}/auth?response_type=code&client_id=gate%3A1&redirect_uri=https%3A%2F%2Fg%2Fcb&scope=openid&state=s%20t&nonce=n&code_challenge=c&code_challenge_method=S256&prompt=login"
            )
        );
        let asked = thread.join().unwrap();
        assert!(asked[0].starts_with("GET /.well-known/openid-configuration "));
    }

    #[test]
    fn a_pushed_request_leaves_its_name_alone_in_the_browser() {
        let more = r#","require_pushed_authorization_requests":true,"pushed_authorization_request_endpoint":"BASE/par""#;
        let pushed = (201, r#"{"request_uri":"urn:x","expires_in":60}"#.into());
        let (base, thread) = provider(vec![document(more), pushed]);
        let client = client(&base, ClientSecret::None);
        let url = client.authorization_url(&begun(), "https://g/cb", &[]);
        let wanted = format!("{base}/auth?client_id=gate%3A1&request_uri=urn%3Ax");
        assert_eq!(url.unwrap(), wanted);
        assert!(thread.join().unwrap()[1].contains("code_challenge=c"));
    }

    #[test]
    fn a_code_is_redeemed_with_the_secret_as_the_issuer_takes_it() {
        let tokens = || {
            let text = r#"{"access_token":"a","token_type":"Bearer","id_token":"i"}"#;
            (200, text.to_owned())
        };
        let post = r#","token_endpoint_auth_methods_supported":["client_secret_post"]"#;
        for (more, basic) in [("", true), (post, false)] {
            let (base, thread) = provider(vec![document(more), tokens()]);
            let client = client(&base, ClientSecret::Shared("s:é".into()));
            let tokens = client.redeem("code", "https://g/cb", "verifier").unwrap();
            assert_eq!(tokens.id_token.as_deref(), Some("i"));
            let asked = thread.join().unwrap();
            assert!(asked[1].starts_with("POST /token "), "{}", asked[1]);
            assert!(asked[1].contains("code_verifier=verifier"));
            let encoded = BASE64.encode("gate%3A1:s%3A%C3%A9");
            assert_eq!(asked[1].contains(&format!("Basic {encoded}")), basic);
            assert_eq!(asked[1].contains("client_secret=s%3A%C3%A9"), !basic);
        }
    }

    #[test]
    fn userinfo_of_somebody_else_is_not_taken() {
        let me = |sub: &str| (200, format!(r#"{{"sub":"{sub}","groups":["a"]}}"#));
        let (base, _thread) = provider(vec![document(""), me("1"), me("2"), (500, "{}".into())]);
        let client = client(&base, ClientSecret::None);
        assert!(client.userinfo("a", "1").unwrap().has("groups"));
        assert!(matches!(client.userinfo("a", "1"), Err(Failure::Failed(_))));
        let unavailable = client.userinfo("a", "1");
        assert!(matches!(unavailable, Err(Failure::Unavailable(_))));
    }

    #[test]
    fn an_issuer_that_is_away_is_unavailable() {
        let client = client("http://127.0.0.1:1", ClientSecret::None);
        assert!(matches!(client.metadata(), Err(Failure::Unavailable(_))));
        let redeemed = client.redeem("c", "https://g/cb", "v");
        assert!(matches!(redeemed, Err(NoTokens::Unavailable(_))));
    }

    #[test]
    fn an_eighth_of_the_workers_has_a_place() {
        let places = Places::of(16);
        let held = [places.take().unwrap(), places.take().unwrap()];
        assert!(matches!(places.take(), Err(Failure::Unavailable(_))));
        drop(held);
        assert!(places.take().is_ok());
        assert!(Places::of(1).take().is_ok());
    }
}
