//! GitLab's OmniAuth login by JWT: GitLab sends the browser here, and a person known to the gate
//! goes back with a signed statement, so that no login page is seen. GitLab checks neither `aud`
//! nor `jti`; that a statement serves once, at once, and only the person it is for, is seen to here
//! when it passes the gate on its way back.

use super::signer::Signer;
use super::spoof::bare;
use crate::clock;
use crate::field::folds_to;
use crate::identity::Identity;
use crate::kind::Kind;
use crate::token::query::{parameters, values};
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

/// The longest name that GitLab takes; its provider reads no token of 10 kB.
const NAME: usize = 255;

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

/// Where the browser goes: a path of this host, whatever the request said. `path` is the one of the request:
/// GitLab's relative URL root is what stands in it before `/-/`.
///
/// # Errors
/// The identity lacks what GitLab's provider asks for, or its token has ended; or the path is not plain.
pub fn location(
    signers: &[Arc<Signer>],
    identity: &Identity,
    path: &[u8],
    args: &[u8],
) -> Result<String, Refusal> {
    if identity.kind() == Kind::Gitlab {
        return Err(Refusal::new(
            Reason::Login,
            "GitLab login: a CI job is no person, and gets no session of the one who started it",
        ));
    }
    let root = root(path).ok_or_else(|| {
        Refusal::new(
            Reason::Login,
            "GitLab login: the path before /-/ must be plain, as /gitlab/-/gate/login",
        )
    })?;
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
        .filter(|it| (1..=NAME).contains(&it.chars().count()))
        .unwrap_or_else(|| identity.user());
    let now = clock::now();
    super::in_time(identity, now)?;
    let claims = json!({
        "jti": new_id(), "iat": now, "exp": (now + LIFE).min(identity.expires()),
        "sub": identity.user(), "email": email, "name": name, "nickname": identity.user(), "idp": identity.issuer().name,
    });
    let token = signer
        .sign(TYPE, &claims)
        .map_err(|_| Refusal::new(Reason::Internal, "the login could not be signed"))?;
    let mut location = String::new();
    encode(root, &mut location);
    location.push_str(&format!("{CALLBACK}?jwt={token}"));
    if let [origin] = parameters(args, "origin").as_slice()
        && is_path_here(origin)
    {
        location.push_str("&origin=");
        encode(origin, &mut location);
    }
    Ok(location)
}

/// GitLab's relative URL root in the path of the handler; empty where GitLab has none. `None`: the browser
/// could be led to another host by it.
fn root(path: &[u8]) -> Option<&[u8]> {
    let scope = path.windows(3).position(|it| it == b"/-/").unwrap_or(0);
    let root = path.get(..scope)?;
    (root.is_empty() || is_path_here(root)).then_some(root)
}

fn encode(text: &[u8], to: &mut String) {
    for byte in text {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'/' | b'-' | b'_' | b'.' | b'~' => {
                to.push(char::from(*byte));
            }
            _ => to.push_str(&format!("%{byte:02X}")),
        }
    }
}

/// Whether a return URL is a path of this host in everybody's eyes: `//x`, `/\x` and control
/// characters, which browsers drop, lead elsewhere, and so may `/..//x` where dots are resolved.
fn is_path_here(url: &[u8]) -> bool {
    let plain = url.iter().all(|b| matches!(b, b'!'..=b'~') && *b != b'\\');
    let path = url.split(|b| matches!(b, b'?' | b'#')).next();
    let Some(path) = path.and_then(|it| it.strip_prefix(b"/")) else {
        return false;
    };
    let odd = |it: &[u8]| matches!(it, b"" | b"." | b"..");
    let inner = path.strip_suffix(b"/").unwrap_or(path);
    plain && url.len() <= 2048 && (path.is_empty() || !inner.split(|b| *b == b'/').any(odd))
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
    pub fn pass(&self, request: &Callback<'_>, identity: Option<&Identity>) -> Result<(), Refusal> {
        let refuse = |why: &str| Err(Refusal::new(Reason::Login, format!("GitLab login: {why}")));
        if request.method != "GET" {
            return refuse("the callback is asked for by GET alone");
        }
        if request.body {
            return refuse("the callback takes no body");
        }
        let tokens = values(request.args.unwrap_or_default(), &is_parameter);
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
        let Some(identity) = identity else {
            return refuse("nobody is known here: the place of the callback must be gated too");
        };
        let said = |name: &str| claims.get(name).and_then(Value::as_str);
        if said("sub") != Some(identity.user())
            || said("idp") != Some(&identity.issuer().name)
            || said("email") != identity.email()
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

/// A request for GitLab's end of the login.
#[derive(Clone, Copy, Debug)]
pub struct Callback<'r> {
    /// The method.
    pub method: &'r str,
    /// The query.
    pub args: Option<&'r [u8]>,
    /// Whether it has a body, or the type of one: Rack prefers what a body says to the query.
    pub body: bool,
}

/// Whether a header of this name and value says that there is a body.
#[must_use]
pub fn says_body(name: &[u8], value: &[u8]) -> bool {
    let is = |it| folds_to(it, name);
    is("Content-Type") || is("Transfer-Encoding") || (is("Content-Length") && value != b"0")
}

/// Whether Rack would take the key for `jwt`.
#[must_use]
pub fn is_parameter(key: &[u8]) -> bool {
    bare(key) == b"jwt"
}

/// Whether OmniAuth would take the path for its callback: without case, whatever slashes end it.
/// GitLab may live under a path of its own.
#[must_use]
pub fn is_callback(uri: &[u8]) -> bool {
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

    fn dana() -> Identity {
        let claims = json!({ "email": "dana@x.test" });
        crate::testing::identity(&crate::testing::issuer(&[]), claims).unwrap()
    }

    fn statement(logins: &Logins, typ: &str, life: i64, more: [&str; 3]) -> String {
        let exp = clock::now().saturating_add_signed(life);
        let [sub, idp, email] = more;
        let claims = json!({ "jti": new_id(), "exp": exp, "sub": sub, "idp": idp, "email": email });
        logins.signers.first().unwrap().sign(typ, &claims).unwrap()
    }

    fn token(logins: &Logins, typ: &str, life: i64) -> String {
        statement(logins, typ, life, ["dana", "idp", "dana@x.test"])
    }

    fn passes_for(logins: &Logins, method: &str, args: &str, identity: Option<&Identity>) -> bool {
        let args = Some(args.as_bytes());
        let body = false;
        logins
            .pass(&Callback { method, args, body }, identity)
            .is_ok()
    }

    fn passes(logins: &Logins, method: &str, args: &str) -> bool {
        passes_for(logins, method, args, Some(&dana()))
    }

    #[test]
    fn it_is_for_one_person_of_one_issuer() {
        let (logins, dir) = logins();
        for more in [
            ["eve", "idp", "dana@x.test"],
            ["dana", "other", "dana@x.test"],
            ["dana", "idp", "root@x.test"],
        ] {
            let args = format!("jwt={}", statement(&logins, TYPE, 60, more));
            assert!(!passes(&logins, "GET", &args), "{more:?}");
        }
        let args = format!("jwt={}", token(&logins, TYPE, 60));
        assert!(!passes_for(&logins, "GET", &args, None), "nobody");
        assert!(passes(&logins, "GET", &args), "and none has used it up");
        std::fs::remove_dir_all(dir).unwrap();
    }

    #[test]
    fn a_login_passes_once() {
        let (logins, dir) = logins();
        let args = format!("jwt={}", token(&logins, TYPE, 60));
        let with_body = Callback {
            method: "GET",
            args: Some(args.as_bytes()),
            body: true,
        };
        assert!(logins.pass(&with_body, Some(&dana())).is_err());
        assert!(passes(&logins, "GET", &args));
        assert!(!passes(&logins, "GET", &args));
        std::fs::remove_dir_all(dir).unwrap();
    }

    #[test]
    fn what_is_no_fresh_login_of_ours_is_refused() {
        let (logins, dir) = logins();
        for args in [
            format!("jwt={}", token(&logins, super::super::assertion::TYPE, 60)),
            format!("jwt={}", token(&logins, TYPE, 0)),
            format!("jwt={}x", token(&logins, TYPE, 60)),
            format!("jwt={}&jwt=1", token(&logins, TYPE, 60)),
            format!("jwt={}&[jwt]=1", token(&logins, TYPE, 60)),
            format!("jwt={};%5Bjwt=1", token(&logins, TYPE, 60)),
            format!("jwt={}&jwt[]=1", token(&logins, TYPE, 60)),
            "jwt=".into(),
            String::new(),
        ] {
            assert!(!passes(&logins, "GET", &args), "{args}");
        }
        let args = format!("jwt={}", token(&logins, TYPE, 60));
        assert!(!passes(&logins, "POST", &args));
        std::fs::remove_dir_all(dir).unwrap();
    }

    #[test]
    fn the_callback_is_known_however_it_is_spelled() {
        for uri in [
            CALLBACK,
            "/Users/AUTH/jwt//callback/",
            "/gitlab/users/auth/jwt/callback.json",
        ] {
            assert!(is_callback(uri.as_bytes()), "{uri}");
        }
        for uri in ["/users/auth/saml/callback", "/users/auth/jwt", "/"] {
            assert!(!is_callback(uri.as_bytes()), "{uri}");
        }
    }

    #[test]
    fn what_says_that_there_is_a_body() {
        for (name, value) in [
            ("Content-Type", "text/plain"),
            ("content_type", ""),
            ("Content-Length", "1"),
            ("Transfer-Encoding", "chunked"),
        ] {
            assert!(says_body(name.as_bytes(), value.as_bytes()), "{name}");
        }
        assert!(!says_body(b"Content-Length", b"0"));
        assert!(!says_body(b"Accept", b"*/*"));
    }

    #[test]
    fn only_a_path_of_this_host_is_a_return_url() {
        for url in ["/", "/a/b?c=d", "/%2Fx", "/a/", "/?u=https://x", "/a#//x"] {
            assert!(is_path_here(url.as_bytes()), "{url}");
        }
        for url in [
            "//",
            "//evil.test",
            "///evil.test",
            "/..//evil.test",
            "/.//evil.test",
            "/a/../b",
            "/a//b",
            "?//evil.test",
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
