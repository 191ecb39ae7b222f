//! The directives of sign-in and sessions: their words become settings.

use super::words;
use crate::config::people::{ClaimSet, Client, ClientSecret, Session, SignIn};
use crate::field::is_plain;
use crate::kind::Kind;
use crate::seal;
use crate::upstream::signer::Signer;
use std::path::Path;
use std::sync::Arc;

/// The longest secret file.
const LONGEST_SECRET: usize = 4096;

/// GateClient ID [secret-file=PATH|key-file=PATH] [scope="…"] [label="…"]
///
/// # Errors
/// What is wrong, naming the directive and what would be right.
pub fn client(words: &[&str], kind: Kind) -> Result<Client, String> {
    let usage = "GateClient takes a client id and perhaps secret-file=PATH or key-file=PATH, scope=\"...\", label=\"...\"";
    let (id, options) = words.split_first().ok_or(usage)?;
    if id.is_empty() || !is_plain(id) || id.contains('=') {
        return Err(format!("GateClient {id}: that is no client id; {usage}"));
    }
    words::once_each("GateClient", options)?;
    let mut client = Client {
        id: (*id).to_owned(),
        secret: ClientSecret::None,
        scope: match kind {
            Kind::Okta | Kind::Entra => "openid profile email offline_access".into(),
            _ => "openid profile email".into(),
        },
        label: None,
    };
    let mut secrets = 0;
    for option in options {
        match option.split_once('=') {
            Some(("secret-file", path)) => {
                secrets += 1;
                client.secret = ClientSecret::Shared(secret(path)?);
            }
            Some(("key-file", path)) => {
                secrets += 1;
                let signer = Signer::read(absolute("GateClient key-file", path)?)
                    .map_err(|why| format!("GateClient key-file={path}: {why}"))?;
                client.secret = ClientSecret::Key(Arc::new(signer));
            }
            Some(("scope", scope)) => {
                let plain = |b: u8| matches!(b, b'!' | b'#'..=b'[' | b']'..=b'~');
                let names: Vec<_> = scope.split(' ').collect();
                if names
                    .iter()
                    .any(|it| it.is_empty() || !it.bytes().all(plain))
                {
                    return Err(format!(
                        "GateClient scope=\"{scope}\": write scopes with one blank between them"
                    ));
                }
                if !names.contains(&"openid") {
                    return Err(format!(
                        "GateClient scope=\"{scope}\": openid must be one of the scopes, else there is no ID token"
                    ));
                }
                client.scope = scope.to_owned();
            }
            Some(("label", label)) if !label.is_empty() && is_plain(label) => {
                client.label = Some(label.to_owned());
            }
            _ => return Err(format!("GateClient {option}: {usage}")),
        }
    }
    if secrets > 1 {
        return Err("GateClient takes secret-file or key-file, not both".into());
    }
    Ok(client)
}

fn absolute<'p>(directive: &str, path: &'p str) -> Result<&'p Path, String> {
    let path = Path::new(path);
    path.is_absolute()
        .then_some(path)
        .ok_or_else(|| format!("{directive}={}: write an absolute path", path.display()))
}

/// Read at start, as root: the file may be readable by root alone.
fn secret(path: &str) -> Result<Arc<str>, String> {
    let file = absolute("GateClient secret-file", path)?;
    let bytes = crate::file::read(file, LONGEST_SECRET)
        .map_err(|why| format!("GateClient secret-file={path}: {why}"))?;
    let text = std::str::from_utf8(&bytes).ok().map(str::trim_ascii_end);
    match text {
        Some(text) if !text.is_empty() && text.bytes().all(|b| matches!(b, b'!'..=b'~')) => {
            Ok(text.into())
        }
        _ => Err(format!(
            "GateClient secret-file={path}: it must hold one line of printable ASCII"
        )),
    }
}

/// GateClaimsFrom SET...
///
/// # Errors
/// What is wrong, naming the directive and what would be right.
pub fn claims_from(words: &[&str]) -> Result<Vec<ClaimSet>, String> {
    let usage = "GateClaimsFrom takes one or more of id_token, userinfo, access_token";
    let mut sets = Vec::new();
    for word in words {
        let set = match *word {
            "id_token" => ClaimSet::IdToken,
            "userinfo" => ClaimSet::UserInfo,
            "access_token" => ClaimSet::AccessToken,
            other => return Err(format!("GateClaimsFrom {other}: {usage}")),
        };
        if sets.contains(&set) {
            return Err(format!("GateClaimsFrom {word} stands twice"));
        }
        sets.push(set);
    }
    if sets.is_empty() {
        return Err(usage.into());
    }
    Ok(sets)
}

/// The sets without GateClaimsFrom.
pub const fn default_claims(kind: Kind) -> &'static [ClaimSet] {
    match kind {
        Kind::Keycloak => &[ClaimSet::IdToken, ClaimSet::AccessToken],
        _ => &[ClaimSet::IdToken, ClaimSet::UserInfo],
    }
}

/// GateSession [idle=1h] [max=12h] [check=10m] [stale=4h] [forget=COOKIE,...]
///
/// # Errors
/// What is wrong, naming the directive and what would be right.
pub fn session(words: &[&str]) -> Result<Session, String> {
    let usage =
        "GateSession takes one or more of idle=1h, max=12h, check=10m, stale=4h, forget=COOKIE,...";
    if words.is_empty() {
        return Err(usage.into());
    }
    words::once_each("GateSession", words)?;
    let mut session = Session::default();
    for word in words {
        let time = |text: &str| words::some_time("GateSession", &[text]);
        match word.split_once('=') {
            Some(("idle", text)) => session.idle = time(text)?,
            Some(("max", text)) => session.max = time(text)?,
            Some(("check", text)) => session.check = time(text)?,
            Some(("stale", text)) => session.stale = time(text)?,
            Some(("forget", text)) => {
                session.forget = text.split(',').map(str::to_owned).collect();
                let name = |it: &String| {
                    let bare = it.strip_suffix('*').unwrap_or(it);
                    !bare.is_empty()
                        && crate::request::FieldName::new(bare).is_some()
                        && !bare.contains('*')
                };
                if text.is_empty() {
                    session.forget.clear();
                } else if let Some(odd) = session.forget.iter().find(|it| !name(it)) {
                    return Err(format!(
                        "GateSession forget={text}: \"{odd}\" is no cookie name; a trailing * stands for any ending"
                    ));
                }
            }
            _ => return Err(format!("GateSession {word}: {usage}")),
        }
    }
    if session.idle > session.max {
        return Err(format!(
            "GateSession idle={} s is longer than max={} s: a session never gets that old",
            session.idle, session.max
        ));
    }
    Ok(session)
}

/// GateSessionKey file:PATH
///
/// # Errors
/// What is wrong, naming the directive and what would be right.
pub fn session_key(words: &[&str]) -> Result<seal::Key, String> {
    let word = words::one("GateSessionKey", words)?;
    let path = word
        .strip_prefix("file:")
        .filter(|it| it.starts_with('/'))
        .ok_or_else(|| format!("GateSessionKey {word}: write file: and an absolute path"))?;
    seal::read(Path::new(path)).map_err(|why| format!("GateSessionKey {word}: {why}"))
}

/// GateEndpoint PATH|off
///
/// # Errors
/// What is wrong, naming the directive and what would be right.
pub fn endpoint(words: &[&str]) -> Result<Option<String>, String> {
    let word = words::one("GateEndpoint", words)?;
    if word.eq_ignore_ascii_case("off") {
        return Ok(None);
    }
    let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'/' | b'-' | b'_' | b'.');
    if !word.bytes().all(plain)
        || word.len() < 2
        || word.ends_with('/')
        || !crate::signin::page::is_path_here(word.as_bytes())
    {
        return Err(format!(
            "GateEndpoint {word}: write a path as /-/gate, without a slash at its end, or off"
        ));
    }
    Ok(Some(word.to_owned()))
}

/// GateSignIn on|off|ISSUER...
///
/// # Errors
/// What is wrong, naming the directive and what would be right.
pub fn sign_in(words: &[&str]) -> Result<SignIn, String> {
    match words {
        [] => Err("GateSignIn takes on, off, or names of <GateIssuer> sections".into()),
        [one] if one.eq_ignore_ascii_case("on") => Ok(SignIn::On),
        [one] if one.eq_ignore_ascii_case("off") => Ok(SignIn::Off),
        names => Ok(SignIn::Only(
            names.iter().map(|it| (*it).to_owned()).collect(),
        )),
    }
}

/// GateContact URL|ADDRESS
///
/// # Errors
/// What is wrong, naming the directive and what would be right.
pub fn contact(words: &[&str]) -> Result<String, String> {
    let word = words::one("GateContact", words)?;
    let url = word.starts_with("https://") || word.starts_with("http://");
    let address = word.split('@').all(|it| !it.is_empty()) && word.matches('@').count() == 1;
    let plain = word
        .bytes()
        .all(|b| matches!(b, b'!'..=b'~') && !b"\"'<>\\".contains(&b));
    if !plain || !(url || address) {
        return Err(format!(
            "GateContact {word}: write a URL (https://...) or an e-mail address"
        ));
    }
    Ok(word.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_has_an_id_and_scopes_with_openid() {
        let of = |text: &str| client(&text.split('|').collect::<Vec<_>>(), Kind::Generic);
        assert!(of("gate").is_ok_and(|it| it.scope == "openid profile email"));
        assert!(of("gate|scope=openid x").is_ok());
        for wrong in [
            "",
            "secret-file=/x",
            "gate|scope=profile",
            "gate|scope=openid  x",
            "gate|scope=openid|scope=openid",
            "gate|secret-file=x",
            "gate|secret-file=/nowhere",
            "gate|other=1",
            "gate|label=",
        ] {
            assert!(of(wrong).is_err(), "{wrong}");
        }
        let entra = client(&["gate"], Kind::Entra);
        assert!(entra.is_ok_and(|it| it.scope.contains("offline_access")));
    }

    #[test]
    fn a_session_s_times_fit_one_another() {
        let of = |text: &str| session(&text.split(' ').collect::<Vec<_>>());
        assert_eq!(of("idle=1h"), Ok(Session::default()));
        assert!(of("idle=2h max=1h").is_err());
        assert!(of("idle=0").is_err());
        assert!(of("forget=a,b*").is_ok_and(|it| it.forget == ["a", "b*"]));
        assert!(of("forget=").is_ok_and(|it| it.forget.is_empty()));
        for wrong in [
            "forget=*",
            "forget=a,,b",
            "forget=a*b",
            "idle=1h idle=2h",
            "x=1",
        ] {
            assert!(of(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn an_endpoint_is_a_plain_path() {
        assert_eq!(endpoint(&["/-/gate"]), Ok(Some("/-/gate".into())));
        assert_eq!(endpoint(&["off"]), Ok(None));
        for wrong in ["/", "/x/", "x", "//x", "/a b", "/a%62", "/../x", "/x?y"] {
            assert!(endpoint(&[wrong]).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_contact_is_a_url_or_an_address() {
        for good in ["https://help.example/x", "help@example.com"] {
            assert_eq!(contact(&[good]), Ok(good.into()));
        }
        for wrong in ["javascript:x", "help", "a@b@c", "https://x/\"", "@", "a@"] {
            assert!(contact(&[wrong]).is_err(), "{wrong}");
        }
    }

    #[test]
    fn sets_of_claims_are_named_once_each() {
        assert_eq!(
            claims_from(&["userinfo", "id_token"]),
            Ok(vec![ClaimSet::UserInfo, ClaimSet::IdToken])
        );
        for wrong in [&["x"][..], &[], &["userinfo", "userinfo"]] {
            assert!(claims_from(wrong).is_err());
        }
    }
}
