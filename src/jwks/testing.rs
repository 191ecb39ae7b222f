//! What the tests of this room share: keys, a server that misbehaves on demand, a directory of
//! one's own, and a report that remembers. No test is here.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic
)]

use super::keys::{KeySettings, Keys};
use super::lock;
use super::refresh::{Refresher, Report};
use super::room::Room;
use super::set::KeySet;
use super::store::StateDir;
use crate::config::KeyLocation;
use crate::sys::shared::new_room;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair,
    EcdsaSigningAlgorithm, Ed25519KeyPair, KeyPair as _, RsaEncoding, RsaKeyPair,
};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::{Duration, Instant};

/// A refresher of these keys alone.
pub(crate) fn start(keys: &Arc<Keys>, heard: &Arc<Heard>) -> Refresher {
    let report: Arc<dyn Report> = Arc::<Heard>::clone(heard);
    Refresher::start(vec![Arc::clone(keys)], report)
}

/// What an issuer says that is down.
pub(crate) fn down() -> String {
    answer("503 Down", "", "")
}

/// Whether the keys in use hold one of this name.
pub(crate) fn has(keys: &Keys, kid: &str) -> bool {
    keys.current().is_some_and(|set| set.knows(kid))
}

/// Bytes in base64url.
pub(crate) fn encoded(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// An RSA key of 2048 bits, the same for all tests: they are slow to make.
pub(crate) fn rsa_pair() -> &'static RsaKeyPair {
    static PAIR: OnceLock<RsaKeyPair> = OnceLock::new();
    PAIR.get_or_init(|| RsaKeyPair::generate(KeySize::Rsa2048).unwrap())
}

/// The modulus of an RSA key; its exponent is 65537.
pub(crate) fn modulus(pair: &RsaKeyPair) -> Vec<u8> {
    // RFC 8017, A.1.1: SEQUENCE { INTEGER n, INTEGER e }, both lengths in two bytes, n after a 0.
    let der = pair.public_key().as_ref();
    let length = usize::from(der[6]) * 256 + usize::from(der[7]);
    der[9..8 + length].to_vec()
}

/// An RSA JWK without `alg`.
pub(crate) fn rsa_jwk(kid: &str) -> Value {
    json!({"kty": "RSA", "kid": kid, "use": "sig", "n": encoded(&modulus(rsa_pair())), "e": "AQAB"})
}

/// A signature of the RSA key.
pub(crate) fn rsa_sign(encoding: &'static dyn RsaEncoding, message: &[u8]) -> Vec<u8> {
    let mut signature = vec![0; rsa_pair().public_modulus_len()];
    rsa_pair()
        .sign(encoding, &SystemRandom::new(), message, &mut signature)
        .unwrap();
    signature
}

/// An elliptic key and its JWK.
pub(crate) fn ec(curve: &str, kid: &str) -> (EcdsaKeyPair, Value) {
    let method: &'static EcdsaSigningAlgorithm = match curve {
        "P-256" => &ECDSA_P256_SHA256_FIXED_SIGNING,
        _ => &ECDSA_P384_SHA384_FIXED_SIGNING,
    };
    let pair = EcdsaKeyPair::generate(method).unwrap();
    let point = &pair.public_key().as_ref()[1..];
    let (x, y) = point.split_at(point.len() / 2);
    let jwk = json!({"kty": "EC", "crv": curve, "kid": kid, "x": encoded(x), "y": encoded(y)});
    (pair, jwk)
}

/// An Ed25519 key and its JWK.
pub(crate) fn ed25519(kid: &str) -> (Ed25519KeyPair, Value) {
    let pair = Ed25519KeyPair::generate().unwrap();
    let x = encoded(pair.public_key().as_ref());
    let jwk = json!({"kty": "OKP", "crv": "Ed25519", "kid": kid, "x": x});
    (pair, jwk)
}

/// A JWKS of new P-256 keys with these names.
pub(crate) fn jwks(kids: &[&str]) -> String {
    let keys: Vec<Value> = kids.iter().map(|kid| ec("P-256", kid).1).collect();
    json!({ "keys": keys }).to_string()
}

/// A directory that is gone when dropped.
pub(crate) struct Dir(PathBuf);

impl Dir {
    pub(crate) fn new() -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("gate-keys-{}-{number}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Dir {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// An HTTP answer.
pub(crate) fn answer(status: &str, headers: &str, body: &str) -> String {
    format!(
        "HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n{headers}\r\n{body}",
        body.len()
    )
}

/// A good JSON answer.
pub(crate) fn ok(body: &str) -> String {
    answer("200 OK", "Content-Type: application/json\r\n", body)
}

/// What a request of the server's looks like: the path, the request's head, the way to answer.
type Handler = dyn Fn(&str, &str, &mut TcpStream) + Send + Sync;

/// A server on this machine that does what its handler says, one thread a connection.
pub(crate) struct Server {
    pub(crate) url: String,
    paths: Arc<Mutex<Vec<String>>>,
    stopped: Arc<AtomicBool>,
}

impl Server {
    pub(crate) fn start(
        handler: impl Fn(&str, &str, &mut TcpStream) + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let paths = Arc::new(Mutex::new(Vec::new()));
        let stopped = Arc::new(AtomicBool::new(false));
        let handler: Arc<Handler> = Arc::new(handler);
        let (seen, end) = (Arc::clone(&paths), Arc::clone(&stopped));
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                if end.load(Ordering::Relaxed) {
                    return;
                }
                let (handler, seen) = (Arc::clone(&handler), Arc::clone(&seen));
                std::thread::spawn(move || {
                    let mut stream = stream.unwrap();
                    let mut head = Vec::new();
                    let mut byte = [0];
                    while !head.ends_with(b"\r\n\r\n") && stream.read(&mut byte).unwrap_or(0) == 1 {
                        head.push(byte[0]);
                    }
                    let head = String::from_utf8(head).unwrap();
                    let Some(path) = head.split(' ').nth(1).map(str::to_owned) else {
                        return;
                    };
                    lock(&seen).push(path.clone());
                    handler(&path, &head, &mut stream);
                });
            }
        });
        Self {
            url,
            paths,
            stopped,
        }
    }

    /// One that always answers so.
    pub(crate) fn saying(text: impl Into<String>) -> Self {
        let text = text.into();
        Self::start(move |_, _, stream| {
            let _ = stream.write_all(text.as_bytes());
        })
    }

    /// One that answers with whatever the cell holds, for keys that rotate.
    pub(crate) fn showing(cell: &Arc<Mutex<String>>) -> Self {
        let cell = Arc::clone(cell);
        Self::start(move |_, _, stream| {
            let text = lock(&cell).clone();
            let _ = stream.write_all(text.as_bytes());
        })
    }

    /// The paths asked for so far.
    pub(crate) fn paths(&self) -> Vec<String> {
        lock(&self.paths).clone()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stopped.store(true, Ordering::Relaxed);
        // The last connection wakes the listener.
        let _ = TcpStream::connect(self.url.trim_start_matches("http://"));
    }
}

/// Remembers what was reported, a line each.
#[derive(Default)]
pub(crate) struct Heard(Mutex<Vec<String>>);

impl Heard {
    pub(crate) fn lines(&self) -> Vec<String> {
        lock(&self.0).clone()
    }

    pub(crate) fn count(&self, start: &str) -> usize {
        self.lines()
            .iter()
            .filter(|line| line.starts_with(start))
            .count()
    }

    fn hear(&self, line: String) {
        lock(&self.0).push(line);
    }
}

impl Report for Heard {
    fn keys_changed(&self, issuer: &str, added: &[String], removed: &[String]) {
        self.hear(format!("changed {issuer} +{added:?} -{removed:?}"));
    }
    fn fetch_failed(&self, issuer: &str, detail: &str, next: u64) {
        self.hear(format!("failed {issuer} {next}: {detail}"));
    }
    fn fetch_recovered(&self, issuer: &str) {
        self.hear(format!("recovered {issuer}"));
    }
    fn no_key_fits(&self, issuer: &str) {
        self.hear(format!("none fits {issuer}"));
    }
    fn key_passed_over(&self, issuer: &str, kid: &str, why: &str) {
        self.hear(format!("passed over {issuer} {kid}: {why}"));
    }
    fn store_failed(&self, detail: &str) {
        self.hear(format!("store: {detail}"));
    }
}

/// A waiting room of a server with so many workers.
pub(crate) fn room(workers: u32) -> Option<&'static Room> {
    let room = new_room().unwrap();
    room.set_workers(workers);
    Some(room)
}

/// Settings that fetch a JWKS from that URL.
pub(crate) fn settings(url: &str) -> KeySettings {
    KeySettings {
        name: "test".to_owned(),
        url: "https://issuer.example".to_owned(),
        location: KeyLocation::Url(url.to_owned()),
        refresh: 600,
        max_stale: 3600,
        timeout: 2,
        ca_file: None,
        ca_fingerprint: None,
        room: room(64),
    }
}

/// Settings that read a file.
pub(crate) fn of_file(path: &Path) -> KeySettings {
    KeySettings {
        location: KeyLocation::File(path.to_owned()),
        ..settings("")
    }
}

/// The keys of a process that has just started.
pub(crate) fn loaded(settings: &KeySettings, dir: &Path) -> Arc<Keys> {
    let keys = keys(settings, dir);
    keys.load();
    keys
}

/// A process's keys, with that state directory.
pub(crate) fn keys(settings: &KeySettings, dir: &Path) -> Arc<Keys> {
    Arc::new(Keys::new(settings.clone(), &StateDir::new(dir)))
}

/// Keys that stand as if they had been fetched then, for an hour; nobody refreshes them.
pub(crate) fn standing(jwks: &str, fetched_at: u64) -> Arc<Keys> {
    let keys = keys(&settings("http://nobody.invalid"), Path::new("/nowhere"));
    let set = KeySet::parse(jwks.as_bytes()).unwrap();
    keys.current.store(Some(Arc::new(set)));
    keys.fetched_at.store(fetched_at, Ordering::Relaxed);
    keys
}

/// Waits until it holds, at most so long.
pub(crate) fn within(seconds: u64, holds: impl Fn() -> bool) -> bool {
    let end = Instant::now() + Duration::from_secs(seconds);
    while !holds() {
        if Instant::now() > end {
            return false;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    true
}
