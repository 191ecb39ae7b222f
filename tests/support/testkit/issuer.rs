//! A test issuer: any number of issuers by path, well-behaved or broken as a test asks.
//!
//! `GET /NAME/.well-known/openid-configuration`, `GET /NAME/jwks`; steered by JSON POSTs:
//! - `/control/mint` SPEC (see `mint`): the token, as text.
//! - `/control/set` `{issuer, mode, only, jwks, headers}`: how it answers. `mode`: ok hang drip redirect error500
//!   html huge gzip_bomb wrong_issuer empty truncated not_found many_keys:N slow:MS down; `only`: discovery or jwks;
//!   `jwks`: a list of names of test keys, or of `{key, set: {...}}` (null removes a member), or the whole text
//!   of the answer; `headers`: `{Cache-Control: ...}`; `discovery`: members of the document to add or replace.
//! - `/control/rotate` `{issuer}`: other keys from now on. `/control/counts`: fetches so far. `/control/reset`.

use crate::{http, keys, mint};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::io::{self, BufReader, Write};
use std::net::TcpStream;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::sleep;
use std::time::Duration;

/// One issuer's state.
#[derive(Clone, Default)]
struct Issuer {
    rotations: u32,
    mode: String,
    only: String,
    jwks: Option<Value>,
    headers: Map<String, Value>,
    discovery: Map<String, Value>,
    discovery_count: u64,
    jwks_count: u64,
}

type Issuers = Mutex<BTreeMap<String, Issuer>>;

fn lock(issuers: &Issuers) -> MutexGuard<'_, BTreeMap<String, Issuer>> {
    issuers.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The handler of connections for an issuer whose address is `base`.
pub fn service(base: String) -> impl Fn(TcpStream) + Send + Sync + Clone + 'static {
    let issuers = Arc::new(Issuers::default());
    move |stream| {
        // A client that hangs up is no event here.
        let _ = connection(stream, &base, &issuers);
    }
}

fn connection(stream: TcpStream, base: &str, issuers: &Issuers) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut from = BufReader::new(stream);
    while let Some(request) = http::read(&mut from)? {
        let to = from.get_mut();
        let path = request.target.split('?').next().unwrap_or("");
        if let Some(command) = path.strip_prefix("/control/") {
            let spec = if request.body.is_empty() {
                Ok(Value::Null)
            } else {
                serde_json::from_slice(&request.body).map_err(|e| format!("not JSON: {e}"))
            };
            match spec.and_then(|spec| control(command, &spec, base, issuers)) {
                Ok(text) => {
                    http::answer(to, 200, &[("Content-Type", "text/plain")], text.as_bytes())?
                }
                Err(what) => http::answer(to, 400, &[], what.as_bytes())?,
            }
            continue;
        }
        let (name, document) = path
            .trim_start_matches('/')
            .split_once('/')
            .unwrap_or((path, ""));
        let issuer = {
            let mut all = lock(issuers);
            let issuer = all.entry(name.to_owned()).or_default();
            match document {
                ".well-known/openid-configuration" => issuer.discovery_count += 1,
                "jwks" => issuer.jwks_count += 1,
                _ => {}
            }
            issuer.clone()
        };
        let content = match document {
            ".well-known/openid-configuration" => discovery(&issuer, &format!("{base}/{name}")),
            "jwks" => key_set(&issuer),
            _ => Err("there is nothing here".to_owned()),
        };
        let Ok(content) = content else {
            http::answer(to, 404, &[], content.err().unwrap_or_default().as_bytes())?;
            continue;
        };
        let other = if document == "jwks" {
            "discovery"
        } else {
            "jwks"
        };
        let mode = if issuer.only == other {
            "ok"
        } else {
            issuer.mode.as_str()
        };
        if !serve(to, mode, &issuer, &content)? {
            return Ok(());
        }
    }
    Ok(())
}

/// Answers as the mode says; false where the connection is to be closed.
fn serve(to: &mut TcpStream, mode: &str, issuer: &Issuer, content: &str) -> io::Result<bool> {
    let mut headers = vec![("Content-Type", "application/json")];
    headers.extend(
        issuer
            .headers
            .iter()
            .filter_map(|(name, value)| Some((name.as_str(), value.as_str()?))),
    );
    let (word, number) = mode.split_once(':').unwrap_or((mode, "0"));
    match word {
        "down" => return Ok(false),
        "hang" => {
            sleep(Duration::from_secs(60));
            return Ok(false);
        }
        "slow" => {
            sleep(Duration::from_millis(number.parse().unwrap_or(0)));
            http::answer(to, 200, &headers, content.as_bytes())?;
        }
        "drip" => {
            write!(
                to,
                "HTTP/1.1 200 Test\r\nContent-Length: {}\r\n\r\n",
                content.len()
            )?;
            for byte in content.as_bytes() {
                sleep(Duration::from_millis(200));
                to.write_all(&[*byte])?;
            }
        }
        "redirect" => http::answer(to, 302, &[("Location", "/elsewhere/jwks")], b"")?,
        "error500" => http::answer(to, 500, &[], b"a test error")?,
        "not_found" => http::answer(to, 404, &[], b"")?,
        "html" => http::answer(
            to,
            200,
            &[("Content-Type", "text/html")],
            b"<html>Maintenance</html>",
        )?,
        "empty" => http::answer(to, 200, &headers, b"")?,
        "truncated" => {
            let half = content.get(..content.len() / 2).unwrap_or("");
            write!(
                to,
                "HTTP/1.1 200 Test\r\nContent-Length: {}\r\n\r\n{half}",
                content.len()
            )?;
            return Ok(false);
        }
        "huge" => {
            // 1 GiB of white space, which no limit on the structure would catch.
            write!(
                to,
                "HTTP/1.1 200 Test\r\nContent-Length: {}\r\n\r\n",
                1u64 << 30
            )?;
            let block = vec![b' '; 1 << 20];
            for _ in 0..1024 {
                to.write_all(&block)?;
            }
        }
        "gzip_bomb" => http::answer(
            to,
            200,
            &[("Content-Encoding", "gzip")],
            &gzip_of_white_space(),
        )?,
        _ => http::answer(to, 200, &headers, content.as_bytes())?,
    }
    Ok(true)
}

/// About 256 MiB of spaces as gzip: deflate's longest match, over and over. The check sum at its end
/// is wrong, which a reader that stops in time never sees.
fn gzip_of_white_space() -> Vec<u8> {
    // A fixed-Huffman block: the literal ' ' (0x50, most significant bit first), then matches of 258
    // bytes at distance 1 (length code 285 = 11000101, distance code 0 = 00000).
    let mut bits = vec![true, true, false];
    bits.extend([false, true, false, true, false, false, false, false]);
    let again = [
        true, true, false, false, false, true, false, true, false, false, false, false, false,
    ];
    let mut out = vec![0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3];
    let body = bits
        .into_iter()
        .chain(again.into_iter().cycle().take(13 * 1_040_000))
        .collect::<Vec<_>>();
    out.extend(body.chunks(8).map(|byte| {
        byte.iter()
            .enumerate()
            .fold(0, |sum, (at, bit)| sum | (u8::from(*bit) << at))
    }));
    out.extend([0; 8]);
    out
}

fn discovery(issuer: &Issuer, url: &str) -> Result<String, String> {
    let named = if issuer.mode == "wrong_issuer" {
        format!("{url}/other")
    } else {
        url.to_owned()
    };
    let mut document = json!({
        "issuer": named, "jwks_uri": format!("{url}/jwks"), "response_types_supported": ["code"],
        "subject_types_supported": ["public"], "id_token_signing_alg_values_supported": ["RS256"],
    });
    if let Some(members) = document.as_object_mut() {
        members.extend(issuer.discovery.clone());
    }
    Ok(document.to_string())
}

fn key_set(issuer: &Issuer) -> Result<String, String> {
    if let Some(count) = issuer.mode.strip_prefix("many_keys:") {
        let mut jwk = keys::jwk("rs1")?;
        let keys = (0..count.parse::<u32>().unwrap_or(0)).map(|number| {
            jwk.insert("kid".to_owned(), json!(format!("many-{number}")));
            Value::Object(jwk.clone())
        });
        return Ok(json!({ "keys": keys.collect::<Vec<_>>() }).to_string());
    }
    let names = match &issuer.jwks {
        Some(Value::String(exact)) => return Ok(exact.clone()),
        Some(Value::Array(list)) => list.clone(),
        Some(whole) => return Ok(whole.to_string()),
        None => keys::current(issuer.rotations + 1)
            .into_iter()
            .map(Value::from)
            .collect(),
    };
    let mut set = Vec::new();
    for entry in &names {
        let name = entry
            .as_str()
            .or_else(|| mint::text(entry, "key"))
            .ok_or("jwks: a key without a name")?;
        let mut jwk = keys::jwk(name)?;
        for (member, value) in entry
            .get("set")
            .and_then(Value::as_object)
            .into_iter()
            .flatten()
        {
            if value.is_null() {
                jwk.remove(member);
            } else {
                jwk.insert(member.clone(), value.clone());
            }
        }
        set.push(Value::Object(jwk));
    }
    Ok(json!({ "keys": set }).to_string())
}

fn control(command: &str, spec: &Value, base: &str, issuers: &Issuers) -> Result<String, String> {
    let name = mint::text(spec, "issuer").unwrap_or("");
    let mut all = lock(issuers);
    match command {
        "mint" => {
            let generation = all.get(name).map_or(1, |issuer| issuer.rotations + 1);
            drop(all);
            return mint::mint(spec, base, generation);
        }
        "set" => {
            let issuer = all.entry(name.to_owned()).or_default();
            issuer.mode = mint::text(spec, "mode").unwrap_or("ok").to_owned();
            issuer.only = mint::text(spec, "only").unwrap_or("").to_owned();
            issuer.jwks = spec.get("jwks").filter(|value| !value.is_null()).cloned();
            let members = |of: &str| {
                spec.get(of)
                    .and_then(Value::as_object)
                    .cloned()
                    .unwrap_or_default()
            };
            issuer.headers = members("headers");
            issuer.discovery = members("discovery");
        }
        "rotate" => all.entry(name.to_owned()).or_default().rotations += 1,
        "reset" => all.clear(),
        "counts" => {
            let counts = all.iter().map(|(name, issuer)| {
                (
                    name.clone(),
                    json!({ "discovery": issuer.discovery_count, "jwks": issuer.jwks_count }),
                )
            });
            return Ok(Value::Object(counts.collect()).to_string());
        }
        _ => return Err(format!("control: {command} is not known")),
    }
    Ok("ok".to_owned())
}
