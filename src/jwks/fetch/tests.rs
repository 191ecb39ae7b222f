#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic
)]

use super::*;
use crate::jwks::KeySettings;
use crate::jwks::testing::{Dir, Server, answer, jwks, ok};
use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::process::Command;
use std::sync::Arc;
use ureq::tls::PemItem;

const TIMEOUT: Duration = Duration::from_secs(3);

fn from_url(url: &str) -> Result<Fetched, FetchError> {
    fetch(Source::Url(url), TIMEOUT, None, &Cancel::default())
}

fn discovered(issuer: &str) -> Result<Fetched, FetchError> {
    fetch(
        Source::Discovery { issuer },
        TIMEOUT,
        None,
        &Cancel::default(),
    )
}

fn error(result: Result<Fetched, FetchError>) -> FetchError {
    match result {
        Ok(_) => panic!("keys came"),
        Err(error) => error,
    }
}

/// An issuer with this discovery document, in which `{url}` is its own URL; it takes that long to
/// answer.
fn issuer(document: &str, pause: Duration) -> Server {
    let (document, keys) = (document.to_owned(), jwks(&["a"]));
    Server::start(move |path, head, stream| {
        let host = head
            .lines()
            .find_map(|line| line.strip_prefix("host: ").or(line.strip_prefix("Host: ")));
        let url = format!("http://{}", host.unwrap());
        std::thread::sleep(pause);
        let text = match path {
            "/keys" => ok(&keys),
            _ => ok(&document.replace("{url}", &url)),
        };
        let _ = stream.write_all(text.as_bytes());
    })
}

#[test]
fn a_key_set_comes_from_its_url() {
    let text = jwks(&["a", "b"]);
    let server = Server::saying(ok(&text));
    let url = format!("{}/keys?tenant=1", server.url);
    let fetched = from_url(&url).unwrap();
    assert_eq!(fetched.set.keys().len(), 2);
    assert_eq!(fetched.text, text);
    assert_eq!(fetched.source, url);
    assert_eq!(server.paths(), ["/keys?tenant=1"]);
}

#[test]
fn the_request_names_the_gate_and_asks_for_plain_json() {
    let server = Server::start(|_, head, stream| {
        let head = head.to_lowercase();
        let good = head.contains("user-agent: mod_gitlab_gate/0.")
            && head.contains("accept: application/json")
            && !head.contains("gzip");
        let body = if good { jwks(&["a"]) } else { head };
        let _ = stream.write_all(ok(&body).as_bytes());
    });
    from_url(&server.url).unwrap();
}

#[test]
fn a_key_set_comes_by_discovery() {
    let server = issuer(
        r#"{"issuer":"{url}","jwks_uri":"{url}/keys"}"#,
        Duration::ZERO,
    );
    let fetched = discovered(&server.url).unwrap();
    assert_eq!(fetched.source, format!("{}/keys", server.url));
    assert_eq!(
        server.paths(),
        ["/.well-known/openid-configuration", "/keys"]
    );
}

#[test]
fn discovery_of_an_issuer_that_ends_in_a_slash_has_one_slash() {
    let server = issuer(
        r#"{"issuer":"{url}/realm/","jwks_uri":"{url}/keys"}"#,
        Duration::ZERO,
    );
    discovered(&format!("{}/realm/", server.url)).unwrap();
    assert_eq!(server.paths()[0], "/realm/.well-known/openid-configuration");
}

#[test]
fn discovery_of_an_entra_template_asks_organizations_and_wants_the_template() {
    let server = issuer(
        r#"{"issuer":"{url}/{tenantid}/v2.0","jwks_uri":"{url}/keys"}"#,
        Duration::ZERO,
    );
    discovered(&format!("{}/{{tenantid}}/v2.0", server.url)).unwrap();
    assert_eq!(
        server.paths()[0],
        "/organizations/v2.0/.well-known/openid-configuration"
    );
    let server = issuer(
        r#"{"issuer":"{url}/organizations/v2.0","jwks_uri":"{url}/keys"}"#,
        Duration::ZERO,
    );
    let error = error(discovered(&format!("{}/{{tenantid}}/v2.0", server.url)));
    assert!(matches!(error, FetchError::Issuer(..)), "{error}");
}

#[test]
fn a_discovery_document_of_another_issuer_is_refused() {
    for document in [
        r#"{"issuer":"https://evil.example","jwks_uri":"{url}/keys"}"#,
        r#"{"issuer":"{url}/","jwks_uri":"{url}/keys"}"#,
        r#"{"issuer":"{url} ","jwks_uri":"{url}/keys"}"#,
    ] {
        let server = issuer(document, Duration::ZERO);
        let error = error(discovered(&server.url));
        assert!(matches!(error, FetchError::Issuer(..)), "{error}");
        assert!(error.to_string().contains(&server.url), "{error}");
        assert_eq!(server.paths().len(), 1, "its keys were asked for");
    }
}

#[test]
fn a_discovery_document_without_its_members_is_refused() {
    for (document, wanted) in [
        ("<html>", "not JSON"),
        (r#"{"jwks_uri":"{url}/keys"}"#, "issuer"),
        (r#"{"issuer":["{url}"],"jwks_uri":"{url}/keys"}"#, "issuer"),
        (r#"{"issuer":"{url}"}"#, "jwks_uri"),
        (r#"{"issuer":"{url}","jwks_uri":1}"#, "jwks_uri"),
        (r#"["issuer"]"#, "issuer"),
    ] {
        let server = issuer(document, Duration::ZERO);
        let error = error(discovered(&server.url));
        assert!(matches!(error, FetchError::Body(..)), "{error}");
        assert!(error.to_string().contains(wanted), "{error}");
    }
}

#[test]
fn a_discovered_url_is_held_to_the_same_rules() {
    for (uri, why) in [
        ("http://keys.example/", UrlError::Plain),
        ("file:///etc/passwd", UrlError::Scheme),
        ("ftp://127.0.0.1/", UrlError::Scheme),
        ("http://user:pw@127.0.0.1/", UrlError::UserInfo),
        ("https://keys.example/#a", UrlError::Fragment),
        ("", UrlError::Scheme),
    ] {
        let document = format!(r#"{{"issuer":"{{url}}","jwks_uri":"{uri}"}}"#);
        let server = issuer(&document, Duration::ZERO);
        assert_eq!(
            error(discovered(&server.url)),
            FetchError::Url(uri.to_owned(), why)
        );
    }
}

#[test]
fn a_redirect_is_not_followed() {
    let target = Server::saying(ok(&jwks(&["a"])));
    for status in ["301 Moved", "302 Found", "307 Temporary", "308 Permanent"] {
        let location = format!("Location: {}/x\r\n", target.url);
        let server = Server::saying(answer(status, &location, ""));
        let error = error(from_url(&server.url));
        assert!(matches!(error, FetchError::Redirect(..)), "{error}");
        assert!(error.to_string().contains(&target.url), "{error}");
    }
    assert!(target.paths().is_empty());
}

#[test]
fn a_status_other_than_200_is_told_with_type_and_start_of_the_body() {
    let page = format!("<html>\n\"{}", "x".repeat(500));
    for status in ["404 Not Found", "500 Oops", "201 Created", "503 Later"] {
        let server = Server::saying(answer(status, "Content-Type: text/html\r\n", &page));
        let error = error(from_url(&server.url));
        assert!(matches!(error, FetchError::Status(_)), "{error}");
        let told = error.to_string();
        for part in [&server.url, &status[..3], "text/html", r#"<html>\n\"xx"#] {
            assert!(told.contains(part), "{told}");
        }
        assert!(!told.contains(&"x".repeat(60)), "{told}");
    }
}

#[test]
fn a_200_that_is_no_key_set_is_told_with_type_and_start_of_the_body() {
    for (body, why) in [
        ("<!doctype html>", "not JSON"),
        ("{}", "\"keys\""),
        (r#"{"keys":{}}"#, "\"keys\""),
    ] {
        let server = Server::saying(ok(body));
        let error = error(from_url(&server.url));
        assert!(matches!(error, FetchError::Body(..)), "{error}");
        let told = error.to_string();
        assert!(told.contains(why) && told.contains("200"), "{told}");
        assert!(told.contains("application/json"), "{told}");
    }
}

#[test]
fn a_set_without_any_key_that_fits_is_a_set() {
    for (body, unfit) in [
        (r#"{"keys":[]}"#, 0),
        (r#"{"keys":[{"kty":"oct","kid":"s"}]}"#, 1),
    ] {
        let server = Server::saying(ok(body));
        let set = from_url(&server.url).unwrap().set;
        assert_eq!((set.keys().len(), set.passed_over().len()), (0, unfit));
    }
}

#[test]
fn an_answer_over_a_mebibyte_is_refused() {
    let mut text = jwks(&["a"]);
    text.push_str(&" ".repeat(MAX_BYTES - text.len()));
    let server = Server::saying(ok(&text));
    assert!(from_url(&server.url).is_ok());
    text.push(' ');
    let server = Server::saying(ok(&text));
    assert_eq!(
        error(from_url(&server.url)),
        FetchError::TooLarge(server.url.clone())
    );
}

#[test]
fn an_answer_without_end_is_refused_at_a_mebibyte() {
    let server = Server::start(|_, _, stream| {
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n");
        while stream.write_all(&[b' '; 65_536]).is_ok() {}
    });
    let error = error(from_url(&server.url));
    assert!(matches!(error, FetchError::TooLarge(_)), "{error}");
}

#[test]
fn a_compressed_answer_is_refused() {
    let server = Server::saying(answer(
        "200 OK",
        "Content-Type: application/json\r\nContent-Encoding: gzip\r\n",
        "\u{1f}\u{8b}",
    ));
    let error = error(from_url(&server.url));
    assert!(matches!(error, FetchError::Body(..)), "{error}");
}

#[test]
fn a_server_that_hangs_ends_at_the_timeout() {
    let silent = Server::start(|_, _, stream| {
        let _ = stream.read(&mut [0]);
    });
    let dripping = Server::start(|_, _, stream| {
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n");
        while stream.write_all(b" ").is_ok() {
            std::thread::sleep(Duration::from_millis(50));
        }
    });
    for server in [silent, dripping] {
        let start = Instant::now();
        let result = fetch(
            Source::Url(&server.url),
            Duration::from_millis(400),
            None,
            &Cancel::default(),
        );
        assert!(matches!(error(result), FetchError::Connection(..)));
        assert!(start.elapsed() < Duration::from_secs(2));
    }
}

#[test]
fn both_requests_of_a_discovery_share_one_timeout() {
    let server = issuer(
        r#"{"issuer":"{url}","jwks_uri":"{url}/keys"}"#,
        Duration::from_millis(400),
    );
    let issuer = &server.url;
    let result = fetch(
        Source::Discovery { issuer },
        Duration::from_millis(600),
        None,
        &Cancel::default(),
    );
    let error = error(result);
    assert!(matches!(error, FetchError::Connection(..)), "{error}");
    assert_eq!(server.paths().len(), 2);
}

#[test]
fn broken_answers_are_refused() {
    for text in [
        "",
        "garbage\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\n{\"keys\":",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    ] {
        let server = Server::saying(text);
        let error = error(from_url(&server.url));
        assert!(
            matches!(error, FetchError::Connection(..) | FetchError::Body(..)),
            "{text:?}: {error}"
        );
    }
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/", nobody.local_addr().unwrap());
    drop(nobody);
    assert!(error(from_url(&url)).to_string().contains("refused"));
}

#[test]
fn what_is_stopped_ends_at_once() {
    let server = Server::start(|_, _, stream| {
        let _ = stream.read(&mut [0]);
    });
    let cancel = Arc::new(Cancel::default());
    let start = Instant::now();
    let stopper = {
        let cancel = Arc::clone(&cancel);
        std::thread::spawn(move || {
            std::thread::sleep(Duration::from_millis(150));
            cancel.cancel();
        })
    };
    let result = fetch(Source::Url(&server.url), TIMEOUT, None, &cancel);
    assert_eq!(error(result), FetchError::Cancelled);
    assert!(start.elapsed() < Duration::from_secs(1));
    stopper.join().unwrap();
    let result = fetch(Source::Url(&server.url), TIMEOUT, None, &cancel);
    assert_eq!(error(result), FetchError::Cancelled);
    assert_eq!(server.paths().len(), 1);
}

#[test]
fn a_ca_file_without_a_certificate_is_told() {
    let dir = Dir::new();
    let empty = dir.path().join("empty.pem");
    std::fs::write(&empty, "nothing").unwrap();
    for path in [empty, dir.path().join("missing.pem")] {
        let result = fetch(
            Source::Url("https://127.0.0.1:9/"),
            TIMEOUT,
            Some(&path),
            &Cancel::default(),
        );
        let error = error(result);
        assert!(matches!(error, FetchError::Trust(_)), "{error}");
        assert!(error.to_string().contains(".pem"), "{error}");
    }
}

/// A certificate for 127.0.0.1 that signs itself, with its key: (PEM file, chain, key).
fn certificate(dir: &Dir, name: &str) -> (std::path::PathBuf, Vec<Vec<u8>>, Vec<u8>) {
    let (pem, key) = (dir.path().join(name), dir.path().join("key.pem"));
    let made = Command::new("openssl")
        .args(["req", "-x509", "-newkey", "ec", "-nodes", "-days", "2"])
        .args(["-pkeyopt", "ec_paramgen_curve:P-256", "-subj", "/CN=test"])
        .args(["-addext", "subjectAltName=IP:127.0.0.1"])
        .args(["-addext", "basicConstraints=critical,CA:FALSE"])
        .arg("-out")
        .arg(&pem)
        .arg("-keyout")
        .arg(&key)
        .output()
        .expect("openssl is needed by this test");
    assert!(made.status.success(), "{made:?}");
    let text = [std::fs::read(&pem).unwrap(), std::fs::read(&key).unwrap()].concat();
    let (mut chain, mut secret) = (Vec::new(), Vec::new());
    for item in ureq::tls::parse_pem(&text) {
        match item.unwrap() {
            PemItem::Certificate(it) => chain.push(it.der().to_vec()),
            PemItem::PrivateKey(it) => secret = it.der().to_vec(),
            _ => {}
        }
    }
    (pem, chain, secret)
}

#[test]
fn only_a_server_of_the_trusted_ca_is_believed() {
    let dir = Dir::new();
    let (own, chain, secret) = certificate(&dir, "own.pem");
    let (other, ..) = certificate(&dir, "other.pem");
    let config = rustls::ServerConfig::builder_with_provider(Arc::new(
        rustls::crypto::aws_lc_rs::default_provider(),
    ))
    .with_safe_default_protocol_versions()
    .unwrap()
    .with_no_client_auth()
    .with_single_cert(
        chain.into_iter().map(Into::into).collect(),
        rustls::pki_types::PrivateKeyDer::Pkcs8(secret.into()),
    )
    .unwrap();
    let config = Arc::new(config);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("https://{}/keys", listener.local_addr().unwrap());
    let text = ok(&jwks(&["a"]));
    std::thread::spawn(move || {
        for mut stream in listener.incoming().take(3).flatten() {
            let mut tls = rustls::ServerConnection::new(Arc::clone(&config)).unwrap();
            let mut stream = rustls::Stream::new(&mut tls, &mut stream);
            let mut head = [0; 4096];
            if stream.read(&mut head).is_ok() {
                let _ = stream.write_all(text.as_bytes());
                stream.conn.send_close_notify();
                let _ = stream.flush();
            }
        }
    });
    let ask = |ca: Option<&Path>| fetch(Source::Url(&url), TIMEOUT, ca, &Cancel::default());
    assert_eq!(ask(Some(&own)).unwrap().set.keys().len(), 1);
    let refused = error(ask(Some(&other)));
    assert!(matches!(refused, FetchError::Connection(..)), "{refused}");
    assert!(ask(None).is_err(), "the system trusts it");
    // Keys are known by it: an issuer's settings carry it on.
    let lines = [own, other].map(|path| format!("GateCAFile {}", path.display()));
    let [one, two] =
        lines.map(|line| KeySettings::from(&*crate::testing::issuer(&[&line])).ca_fingerprint);
    assert!(one.is_some() && two.is_some());
    assert_ne!(one, two);
}

#[test]
fn keys_of_a_file_are_read_or_the_fault_is_told() {
    let dir = Dir::new();
    let path = dir.path().join("keys.json");
    assert!(read_file(&path).unwrap_err().contains("keys.json"));
    std::fs::write(&path, jwks(&["a"])).unwrap();
    assert_eq!(read_file(&path).unwrap().1.keys().len(), 1);
    std::fs::write(&path, r#"{"keys":[]}"#).unwrap();
    assert_eq!(read_file(&path).unwrap().1.keys().len(), 0);
    for text in ["{", "", r#"{"keys":0}"#, &" ".repeat(MAX_BYTES + 1)] {
        std::fs::write(&path, text).unwrap();
        assert!(read_file(&path).is_err());
    }
}
