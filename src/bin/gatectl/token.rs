//! `gatectl token`: what is in a token, and whether it is good. Verified by the gate's own code.

use crate::Ended;
use crate::words::{self, Words, shown};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use gitlab_gate::clock;
use gitlab_gate::config::{Issuer, KeyLocation, Place, Server};
use gitlab_gate::directive::Builder;
use gitlab_gate::http::Cancel;
use gitlab_gate::jwks::KeySet;
use gitlab_gate::jwks::fetch::{Source, fetch, read_file};
use gitlab_gate::proof::Binding;
use gitlab_gate::token::compact::Unverified;
use gitlab_gate::verify::verify;
use serde_json::Value;
use std::io::Read;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// What is on stdin, without white space around it; nothing where there is no token.
pub fn from_stdin() -> Result<Vec<u8>, Ended> {
    let mut token = Vec::new();
    std::io::stdin()
        .take(1 << 20)
        .read_to_end(&mut token)
        .map_err(|wrong| Ended::Failed(format!("the token on stdin: {wrong}")))?;
    Ok(token.trim_ascii().to_vec())
}

/// Runs it.
pub fn run(words: &[&str]) -> Ended {
    match judge(words) {
        Ok(ended) | Err(ended) => ended,
    }
}

fn judge(words: &[&str]) -> Result<Ended, Ended> {
    let words = Words::parse(words, &["issuer", "jwks", "audience"]).map_err(Ended::Usage)?;
    if !words.rest.is_empty() {
        return Err(Ended::Usage(format!(
            "{} word(s) too many; the token is read from stdin",
            words.rest.len()
        )));
    }
    let token = from_stdin()?;
    if token.is_empty() {
        return Err(Ended::Usage(
            "the token is read from stdin: there is none".into(),
        ));
    }
    show(&token);
    let refused = |code: &str, detail: &str| {
        println!("refused: {code}: {detail}");
        Ok(Ended::No)
    };
    let unverified = match Unverified::parse(&token) {
        Ok(unverified) => unverified,
        Err(wrong) => return refused(wrong.reason().code(), &wrong.to_string()),
    };
    let iss = match unverified.issuer() {
        Ok(iss) => iss.to_owned(),
        Err(wrong) => return refused(wrong.reason().code(), &wrong.to_string()),
    };
    if words.get("issuer").is_none() && words.get("jwks").is_none() {
        println!("not verified: name --issuer URL or --jwks FILE");
        return Ok(Ended::No);
    }
    let issuer = issuer(&words, &iss).map_err(Ended::Usage)?;
    let keys = match keys(&issuer) {
        Ok(keys) => keys,
        Err(wrong) => return refused("keys_unavailable", &wrong),
    };
    match verify(unverified, &issuer, &keys, clock::now()) {
        Ok(verified) => {
            if let Err(unbound) = Binding::of(verified.claims()).check() {
                return refused(unbound.reason.code(), &unbound.detail);
            }
            let left = verified.expires().saturating_sub(clock::now());
            println!("valid: signed by {}, expires in {left} s", issuer.url);
            if words.get("audience").is_none() {
                println!("the audience was not asked for: name --audience AUD");
            }
            Ok(Ended::Yes)
        }
        Err(rejected) => refused(rejected.error.reason().code(), &rejected.error.to_string()),
    }
}

/// An issuer as the configuration would make it.
fn issuer(words: &Words<'_>, iss: &str) -> Result<Arc<Issuer>, String> {
    let url = words.get("issuer").unwrap_or(iss);
    let said = |wrong: String| {
        // What is no URL may be the token.
        let shown = if url.contains("://") {
            url.to_owned()
        } else {
            shown(url)
        };
        wrong
            .replace("GateIssuerURL", "--issuer")
            .replace("GateJWKS", "--jwks")
            .replace(url, &shown)
    };
    let mut builder = Builder::default();
    builder.config.servers.push(Server::default());
    let place = Place::default();
    builder.open_issuer(&place, "issuer")?;
    let mut lines = vec![
        ("GateIssuerURL", url.to_owned()),
        (
            "GateAudience",
            words.get("audience").unwrap_or("any").to_owned(),
        ),
    ];
    if let Some(file) = words.get("jwks") {
        let name = words::file(file);
        std::fs::metadata(file).map_err(|wrong| format!("--jwks {name}: {wrong}"))?;
        let path = std::path::absolute(file).map_err(|wrong| format!("--jwks {file}: {wrong}"))?;
        lines.push(("GateJWKS", format!("file:{}", path.display())));
    }
    for (name, word) in &lines {
        builder.issuer_directive(0, name, &[word]).map_err(said)?;
    }
    builder
        .close_issuer(&place)
        .map_err(|wrong| said(wrong.text))?;
    builder
        .config
        .issuers(0)
        .pop()
        .ok_or_else(|| "the issuer could not be made".into())
}

fn keys(issuer: &Issuer) -> Result<KeySet, String> {
    let timeout = Duration::from_secs(issuer.timeout);
    let cancel = Cancel::default();
    let source = match &issuer.keys {
        KeyLocation::File(path) => return from_file(path),
        KeyLocation::Url(url) => Source::Url(url),
        KeyLocation::Discovery => Source::Discovery {
            issuer: &issuer.url,
        },
    };
    fetch(source, timeout, None, &cancel)
        .map(|it| it.set)
        .map_err(|wrong| wrong.to_string())
}

fn from_file(path: &Path) -> Result<KeySet, String> {
    read_file(path).map(|(_, set)| set)
}

/// Header and claims, as they came; the signature is not shown.
fn show(token: &[u8]) {
    let parts = token.split(|b| *b == b'.');
    for (name, part) in ["header", "claims"].into_iter().zip(parts) {
        let part = String::from_utf8_lossy(part);
        let decoded = URL_SAFE_NO_PAD.decode(part.trim_end_matches('=')).ok();
        match decoded.and_then(|it| serde_json::from_slice::<Value>(&it).ok()) {
            Some(value) => println!("{name}: {value:#}"),
            None => println!("{name}: (no JSON in base64url)"),
        }
    }
}
