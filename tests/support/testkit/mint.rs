//! Makes tokens as told, above all wrong ones. Not a model of how to make tokens.
//!
//! The members of a SPEC, all optional:
//! - `issuer`: its name; `iss` becomes BASE/NAME. `shape`: gitlab okta entra_v1 entra_v2 keycloak aws google.
//! - `alg` (RS256), `key`: the test key that signs, `kid`: the key's name; null leaves it out.
//! - `header`, `claims`: members to add or replace; null removes one.
//! - `exp_in` (300), `iat_in` (0), `nbf_in` (0): seconds from now.
//! - `raw_header`, `raw_claims`: the exact text instead; `$members` there becomes the members that would
//!   have been, without the braces, and `$now` the time.
//! - `mutate`: a word or a list of words of [`mutate`].

use crate::{keys, shapes};
use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use serde_json::{Map, Value, json};
use std::time::{SystemTime, UNIX_EPOCH};

/// The text of a member, where it is text.
pub fn text<'a>(spec: &'a Value, name: &str) -> Option<&'a str> {
    spec.get(name).and_then(Value::as_str)
}

/// Makes the token that a SPEC describes.
///
/// # Errors
/// A sentence for the writer of the test.
pub fn mint(spec: &Value, base: &str, generation: u32) -> Result<String, String> {
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |d| d.as_secs())
        .cast_signed();
    let after =
        |name: &str, default: i64| now + spec.get(name).and_then(Value::as_i64).unwrap_or(default);
    let alg = text(spec, "alg").unwrap_or("RS256");
    let key = text(spec, "key").unwrap_or_else(|| keys::default_for(alg, generation));

    let mut header = Map::from_iter([
        ("alg".to_owned(), json!(alg)),
        ("typ".to_owned(), json!("JWT")),
    ]);
    header.insert(
        "kid".to_owned(),
        spec.get("kid").cloned().unwrap_or_else(|| json!(key)),
    );
    header.retain(|_, value| !value.is_null());
    overlay(&mut header, spec.get("header"));

    let mut claims = shapes::claims(text(spec, "shape").unwrap_or(""))
        .as_object()
        .cloned()
        .unwrap_or_default();
    let iss = text(spec, "issuer").map_or_else(|| base.to_owned(), |name| format!("{base}/{name}"));
    claims.extend([
        ("iss".to_owned(), json!(iss)),
        ("aud".to_owned(), json!("gate")),
        ("iat".to_owned(), json!(after("iat_in", 0))),
        ("nbf".to_owned(), json!(after("nbf_in", 0))),
        ("exp".to_owned(), json!(after("exp_in", 300))),
    ]);
    overlay(&mut claims, spec.get("claims"));

    let words = words(spec.get("mutate"))?;
    let is = |word: &str| words.contains(&word);
    let header = raw(text(spec, "raw_header"), &header, now);
    let claims = raw(text(spec, "raw_claims"), &claims, now);
    let mut header = header.into_bytes();
    let mut claims = claims.into_bytes();
    if is("bom_header") {
        header.splice(0..0, *b"\xEF\xBB\xBF");
    }
    if is("bom") {
        claims.splice(0..0, *b"\xEF\xBB\xBF");
    }
    if is("bad_utf8") {
        // Before the closing brace: a member whose value is no UTF-8.
        claims.pop();
        claims.extend_from_slice(b",\"bad\":\"\xFF\"}");
    }
    let message = format!("{}.{}", encode(&header), encode(&claims));
    let mut signature = keys::sign(key, alg, message.as_bytes(), is("der_sig"))?;
    for word in &words {
        on_signature(word, &mut signature);
    }
    let mut token = format!("{message}.{}", encode(&signature));
    for word in &words {
        token = mutate(word, &token)?;
    }
    Ok(token)
}

fn encode(bytes: &[u8]) -> String {
    BASE64_URL_SAFE_NO_PAD.encode(bytes)
}

fn overlay(members: &mut Map<String, Value>, more: Option<&Value>) {
    for (name, value) in more.and_then(Value::as_object).into_iter().flatten() {
        if value.is_null() {
            members.remove(name);
        } else {
            members.insert(name.clone(), value.clone());
        }
    }
}

fn raw(exact: Option<&str>, members: &Map<String, Value>, now: i64) -> String {
    let usual = Value::Object(members.clone()).to_string();
    let Some(exact) = exact else { return usual };
    let inner = usual
        .trim_start_matches('{')
        .strip_suffix('}')
        .unwrap_or_default();
    exact
        .replace("$members", inner)
        .replace("$now", &now.to_string())
}

fn words(value: Option<&Value>) -> Result<Vec<&str>, String> {
    match value {
        None | Some(Value::Null) => Ok(Vec::new()),
        Some(Value::String(word)) => Ok(vec![word]),
        Some(Value::Array(list)) => Ok(list.iter().filter_map(Value::as_str).collect()),
        Some(other) => Err(format!("mutate: {other}")),
    }
}

fn on_signature(word: &str, signature: &mut Vec<u8>) {
    match word {
        "flip_sig" => signature.last_mut().into_iter().for_each(|byte| *byte ^= 1),
        "truncate_sig" => drop(signature.pop()),
        "long_sig" => signature.push(0),
        "zero_sig" => signature.fill(0),
        "empty_sig" => signature.clear(),
        _ => {}
    }
}

/// Changes the finished text. Words that were dealt with before it was text change nothing here.
fn mutate(word: &str, token: &str) -> Result<String, String> {
    let parts: Vec<&str> = token.split('.').collect();
    let [header, claims, signature] = parts.as_slice() else {
        return Err(format!("{word}: no third part"));
    };
    let pad = |part: &str| format!("{part}{}", "=".repeat((4 - part.len() % 4) % 4));
    Ok(match word {
        "padding" => format!("{header}.{claims}.{}", pad(signature)),
        "padding_claims" => format!("{header}.{}.{signature}", pad(claims)),
        "whitespace" => format!(
            "{header}.{} {}.{signature}",
            claims.get(..4).unwrap_or(""),
            claims.get(4..).unwrap_or("")
        ),
        "noncanonical" => format!("{header}.{claims}.{}", noncanonical(signature)?),
        "noncanonical_claims" => format!("{header}.{}.{signature}", noncanonical(claims)?),
        "bad_alphabet" => format!("{header}.{claims}.{}+/", signature.get(2..).unwrap_or("")),
        "extra_part" => format!("{token}.e30"),
        "trailing_dot" => format!("{token}."),
        "five_parts" => format!("{token}.e30.e30"),
        "two_parts" => format!("{header}.{claims}"),
        "one_part" => (*header).to_owned(),
        "empty_header" => format!(".{claims}.{signature}"),
        "empty_claims" => format!("{header}..{signature}"),
        "flip_claims" => format!("{header}.{}.{signature}", claims.replacen("ey", "eX", 1)),
        "bom" | "bom_header" | "bad_utf8" | "der_sig" | "flip_sig" | "truncate_sig"
        | "long_sig" | "zero_sig" | "empty_sig" => token.to_owned(),
        _ => return Err(format!("mutate: {word} is not known")),
    })
}

/// The same bytes for a careless decoder: the unused bits of the last character set.
fn noncanonical(part: &str) -> Result<String, String> {
    const ALPHABET: &str = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let unused = match part.len() % 4 {
        2 => 15,
        3 => 3,
        _ => return Err("noncanonical: this part has no unused bits, add a claim".to_owned()),
    };
    let (kept, last) = part.split_at(part.len() - 1);
    let other = ALPHABET.find(last).map_or(0, |at| at | unused);
    Ok(format!(
        "{kept}{}",
        ALPHABET.get(other..=other).unwrap_or("")
    ))
}
