//! GitLab's OmniAuth login by JWT: GitLab sends the browser here, and a person known to the gate
//! goes back with a signed statement, so that no login page is seen. GitLab checks neither `aud`
//! nor `jti`; that a statement serves once, at once, and only the person it is for, is seen to here
//! when it passes the gate on its way back.

use super::signer::Signer;
use crate::clock;
use crate::identity::Identity;
use crate::token::query::parameters;
use crate::token::take::Take;
use crate::verdict::{Reason, Refusal};
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD as BASE64;
use serde_json::{Value, json};
use std::fs::OpenOptions;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The handler's name.
pub const HANDLER: &str = "gate-gitlab-login";

/// GitLab's end of the login.
const CALLBACK: &str = "/users/auth/jwt/callback";

/// Not an assertion's, nor one that the gate would take for a token.
const TYPE: &str = "gate-login+jwt";

/// How long a browser may take from here to the callback.
const LIFE: u64 = 60;

/// A number that comes once.
#[must_use]
pub fn new_id() -> String {
    let mut bytes = [0_u8; 16];
    // aws-lc's generator ends the process rather than fail.
    let _ = aws_lc_rs::rand::fill(&mut bytes);
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

/// The key that GitLab's provider can check: it knows RSA and P-256, not Ed25519.
fn signer(signers: &[Arc<Signer>]) -> Option<&Arc<Signer>> {
    signers.iter().find(|it| it.algorithm() != "EdDSA")
}

/// Whether one of the keys can sign a login.
#[must_use]
pub fn can_sign(signers: &[Arc<Signer>]) -> bool {
    signer(signers).is_some()
}

/// Where the browser goes: a path of this host, whatever the request said.
///
/// # Errors
/// The identity lacks what GitLab's provider asks for.
pub fn location(
    signers: &[Arc<Signer>],
    identity: &Identity,
    args: &[u8],
) -> Result<String, Refusal> {
    let signer =
        signer(signers).ok_or_else(|| Refusal::new(Reason::Internal, "no key can sign a login"))?;
    let email = identity.email().ok_or_else(|| {
        Refusal::new(
            Reason::Claim,
            "GitLab's login wants an e-mail address, the token has none that is verified",
        )
    })?;
    let name = identity.claim("name");
    let name = name
        .as_deref()
        .filter(|it| !it.is_empty())
        .unwrap_or_else(|| identity.user());
    let now = clock::now();
    let claims = json!({
        "jti": new_id(), "iat": now, "exp": (now + LIFE).min(identity.expires()),
        "sub": identity.user(), "email": email, "name": name, "nickname": identity.user(),
    });
    let token = signer
        .sign(TYPE, &claims)
        .map_err(|_| Refusal::new(Reason::Internal, "the login could not be signed"))?;
    let mut location = format!("{CALLBACK}?jwt={token}");
    if let [origin] = parameters(args, "origin").as_slice()
        && is_path_here(origin)
    {
        location.push_str("&origin=");
        for byte in origin {
            match byte {
                b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'/' | b'-' | b'_' | b'.' | b'~' => {
                    location.push(char::from(*byte));
                }
                _ => location.push_str(&format!("%{byte:02X}")),
            }
        }
    }
    Ok(location)
}

/// Whether a return URL is a path of this host in every browser's eyes: `//x`, `/\x` and control
/// characters, which browsers drop, lead elsewhere.
fn is_path_here(url: &[u8]) -> bool {
    let plain = url.iter().all(|b| matches!(b, b'!'..=b'~') && *b != b'\\');
    let second = url.get(1);
    plain && url.len() <= 2048 && url.first() == Some(&b'/') && second != Some(&b'/')
}

/// Sees to it that a login passes once.
pub struct Logins {
    signers: Vec<Arc<Signer>>,
    dir: PathBuf,
}

impl Logins {
    /// The logins of one host: those that have passed are kept in the state directory.
    #[must_use]
    pub fn new(signers: &[Arc<Signer>], state_dir: &Path) -> Self {
        Self {
            signers: signers.to_vec(),
            dir: state_dir.to_owned(),
        }
    }

    /// Whether the request may go on to GitLab: it is no login, or a fresh one of ours.
    ///
    /// # Errors
    /// It is a login that is not ours, too old, somebody else's, or has passed before.
    pub fn pass(
        &self,
        method: &str,
        uri: &[u8],
        args: Option<&[u8]>,
        identity: Option<&Identity>,
    ) -> Result<(), Refusal> {
        if !is_callback(uri) {
            return Ok(());
        }
        let refuse = |why: &str| Err(Refusal::new(Reason::Login, format!("GitLab login: {why}")));
        if method != "GET" {
            return refuse("the callback is asked for by GET alone");
        }
        let tokens = parameters(args.unwrap_or_default(), "jwt");
        let [token] = tokens.as_slice() else {
            return refuse("wanted one parameter jwt");
        };
        let Some(claims) = self.verified(token) else {
            return refuse("the signature is not this gate's");
        };
        let number = |name: &str| claims.get(name).and_then(Value::as_u64);
        let (Some(exp), Some(id)) = (number("exp"), claims.get("jti").and_then(Value::as_str))
        else {
            return refuse("exp or jti is missing");
        };
        if exp <= clock::now() {
            return refuse("it is too old");
        }
        if let Some(identity) = identity
            && claims.get("sub").and_then(Value::as_str) != Some(identity.user())
        {
            return refuse("it is for somebody else");
        }
        match self.is_first(id, exp) {
            Ok(true) => Ok(()),
            Ok(false) => refuse("it has been used"),
            Err(wrong) => Err(Refusal::new(
                Reason::Internal,
                format!("GitLab login: {}: {wrong}", self.dir.display()),
            )),
        }
    }

    /// What no log may hold: the request line's query, where it is a login that comes back. GitLab
    /// still gets it.
    #[must_use]
    pub fn hide(uri: &[u8], the_request: &[u8]) -> Option<Take<'static>> {
        let at = the_request
            .iter()
            .position(|b| *b == b'?')
            .filter(|_| is_callback(uri))?;
        let (before, query) = the_request.split_at_checked(at)?;
        let end = query.iter().position(|b| *b == b' ').unwrap_or(query.len());
        Some(Take::Query {
            args: None,
            unparsed_uri: None,
            the_request: Some([before, query.get(end..)?].concat()),
            filename: None,
            forward: true,
        })
    }

    fn verified(&self, token: &[u8]) -> Option<Value> {
        let text = std::str::from_utf8(token).ok()?;
        let (message, signature) = text.rsplit_once('.')?;
        let (header, claims) = message.split_once('.')?;
        let json = |part: &str| {
            let text = BASE64.decode(part).ok()?;
            serde_json::from_slice::<Value>(&text).ok()
        };
        let header = json(header)?;
        let member = |name: &str| header.get(name).and_then(Value::as_str);
        if member("typ") != Some(TYPE) {
            return None;
        }
        let signer = self
            .signers
            .iter()
            .find(|it| member("kid") == Some(it.kid()))?;
        let signature = BASE64.decode(signature).ok()?;
        signer
            .verifies(message.as_bytes(), &signature)
            .then(|| json(claims))
            .flatten()
    }

    /// Marks it as used, for the whole host.
    fn is_first(&self, id: &str, exp: u64) -> std::io::Result<bool> {
        if !id.bytes().all(|b| b.is_ascii_hexdigit()) {
            return Ok(false);
        }
        self.sweep();
        let mark = self.dir.join(format!("login-{exp}-{id}"));
        let made = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(mark);
        match made {
            Ok(_) => Ok(true),
            Err(wrong) if wrong.kind() == std::io::ErrorKind::AlreadyExists => Ok(false),
            Err(wrong) => Err(wrong),
        }
    }

    /// Forgets what has expired.
    fn sweep(&self) {
        let now = clock::now();
        for entry in std::fs::read_dir(&self.dir).into_iter().flatten().flatten() {
            let name = entry.file_name();
            let exp = name
                .to_str()
                .and_then(|it| it.strip_prefix("login-")?.split('-').next()?.parse().ok());
            if exp.is_some_and(|exp: u64| exp + LIFE < now) {
                let _ = std::fs::remove_file(entry.path());
            }
        }
    }
}

/// Whether OmniAuth would take the path for its callback: without case, whatever slashes end it.
/// GitLab may live under a path of its own.
fn is_callback(uri: &[u8]) -> bool {
    let mut path = uri.to_ascii_lowercase();
    path.dedup_by(|a, b| *a == b'/' && *b == b'/');
    while path.last() == Some(&b'/') {
        path.pop();
    }
    let stem = path
        .iter()
        .rposition(|b| *b == b'.')
        .and_then(|dot| path.get(..dot))
        .unwrap_or(&path);
    path.ends_with(CALLBACK.as_bytes()) || stem.ends_with(CALLBACK.as_bytes())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn logins() -> (Logins, PathBuf) {
        let dir = std::env::temp_dir().join(format!("gate-login-{}", new_id()));
        std::fs::create_dir_all(&dir).unwrap();
        let pem = include_bytes!("../../tests/support/keys/es1.pem");
        let signers = vec![Arc::new(Signer::parse(pem).unwrap())];
        (Logins::new(&signers, &dir), dir)
    }

    fn token(logins: &Logins, typ: &str, life: i64) -> String {
        let exp = clock::now().saturating_add_signed(life);
        let claims = json!({ "jti": new_id(), "exp": exp, "sub": "dana" });
        logins.signers.first().unwrap().sign(typ, &claims).unwrap()
    }

    fn passes(logins: &Logins, method: &str, uri: &str, args: &str) -> bool {
        logins
            .pass(method, uri.as_bytes(), Some(args.as_bytes()), None)
            .is_ok()
    }

    #[test]
    fn a_login_passes_once() {
        let (logins, dir) = logins();
        let args = format!("jwt={}", token(&logins, TYPE, 60));
        assert!(passes(&logins, "GET", CALLBACK, &args));
        assert!(!passes(&logins, "GET", CALLBACK, &args));
        assert!(!passes(&logins, "GET", "/Users/AUTH/jwt//callback/", &args));
        std::fs::remove_dir_all(dir).unwrap();
    }

    #[test]
    fn a_login_leaves_the_request_line_alone_of_all() {
        let hidden = |uri: &str, line: &str| match Logins::hide(uri.as_bytes(), line.as_bytes()) {
            Some(Take::Query {
                the_request,
                forward: true,
                unparsed_uri: None,
                ..
            }) => the_request.and_then(|it| String::from_utf8(it).ok()),
            _ => None,
        };
        let line = "GET /Users/auth/jwt/callback?jwt=a.b.c HTTP/1.1";
        let without = "GET /Users/auth/jwt/callback HTTP/1.1";
        assert_eq!(
            hidden("/Users/auth/jwt/callback", line).as_deref(),
            Some(without)
        );
        assert_eq!(hidden(CALLBACK, "GET /x?jwt=a").as_deref(), Some("GET /x"));
        assert_eq!(hidden(CALLBACK, "GET /x HTTP/1.1"), None);
        assert_eq!(hidden("/users", line), None);
    }

    #[test]
    fn what_is_no_fresh_login_of_ours_is_refused() {
        let (logins, dir) = logins();
        for args in [
            format!("jwt={}", token(&logins, super::super::assertion::TYPE, 60)),
            format!("jwt={}", token(&logins, TYPE, 0)),
            format!("jwt={}x", token(&logins, TYPE, 60)),
            format!("jwt={}&jwt=1", token(&logins, TYPE, 60)),
            format!("jwt[]={}", token(&logins, TYPE, 60)),
            "jwt=".into(),
            String::new(),
        ] {
            assert!(!passes(&logins, "GET", CALLBACK, &args), "{args}");
        }
        let args = format!("jwt={}", token(&logins, TYPE, 60));
        assert!(!passes(&logins, "POST", CALLBACK, &args));
        assert!(passes(&logins, "POST", "/users/auth/saml/callback", ""));
        std::fs::remove_dir_all(dir).unwrap();
    }

    #[test]
    fn only_a_path_of_this_host_is_a_return_url() {
        for url in ["/", "/a/b?c=d", "/%2Fx"] {
            assert!(is_path_here(url.as_bytes()), "{url}");
        }
        for url in [
            "//evil.test",
            "/\\evil.test",
            "https://evil.test",
            "evil",
            "",
            "/\t/evil.test",
            "/a\r\nX: 1",
            "javascript:1",
        ] {
            assert!(!is_path_here(url.as_bytes()), "{url}");
        }
    }
}
