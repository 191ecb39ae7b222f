#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic
)]

use crate::http::{Cancel, Error, OF_ISSUER, Request, Trust};
use crate::jwks::testing::Dir;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// A root, an intermediate, and server certificates of all sorts: each NAME.pem with its NAME.key.
const PKI: &str = r#"
set -e
key() { openssl genpkey -quiet -algorithm "$2" $3 $4 -out $1.key; }
key root EC -pkeyopt ec_paramgen_curve:P-256
for it in middle good expired name purpose own other plain v1 foreign; do cp root.key $it.key; done
key own EC -pkeyopt ec_paramgen_curve:P-256
key other EC -pkeyopt ec_paramgen_curve:P-256
key middle EC -pkeyopt ec_paramgen_curve:P-256
key rsa RSA -pkeyopt rsa_keygen_bits:2048
ca() { openssl req -x509 -key $1.key -subj /CN=$1 -days 9 -addext basicConstraints=critical,CA:TRUE -addext "$2" -out $1.pem; }
ca root keyUsage=critical,keyCertSign
ca own subjectAltName=IP:127.0.0.1
ca other keyUsage=critical,keyCertSign
sign() { # NAME ISSUER EXTENSIONS [MORE]
  openssl req -new -key $1.key -subj /CN=$1 -out $1.csr
  printf "$3" > $1.ext
  openssl x509 -req -in $1.csr -CA $2.pem -CAkey $2.key -CAcreateserial -extfile $1.ext ${4:--days 9} -out $1.pem
}
leaf='basicConstraints=CA:FALSE\nsubjectAltName='
sign middle root 'basicConstraints=critical,CA:TRUE\nkeyUsage=keyCertSign\n'
sign good middle "${leaf}IP:127.0.0.1\n"
sign rsa root "${leaf}IP:127.0.0.1\n"
sign name root "${leaf}DNS:gitlab.example.com,DNS:*.example.org\n"
sign purpose root "${leaf}IP:127.0.0.1\nextendedKeyUsage=clientAuth\n"
sign foreign other "${leaf}IP:127.0.0.1\n"
sign plain root 'basicConstraints=CA:FALSE\n'
openssl x509 -req -in plain.csr -CA root.pem -CAkey root.key -CAcreateserial -days 9 -out v1.pem
sign expired root "${leaf}IP:127.0.0.1\n" '-days -1'
"#;

fn pki() -> Dir {
    let dir = Dir::new();
    let made = Command::new("sh")
        .args(["-c", PKI])
        .current_dir(dir.path())
        .output()
        .unwrap();
    assert!(
        made.status.success(),
        "{}",
        String::from_utf8_lossy(&made.stderr)
    );
    dir
}

/// `openssl s_server` with that certificate.
struct Server(Child, String);

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn server(dir: &Path, certificate: &str, more: &[&str]) -> Server {
    let mut child = Command::new("openssl")
        .args(["s_server", "-www", "-accept", "127.0.0.1:0"])
        .args(["-cert", &format!("{certificate}.pem")])
        .args(["-key", &format!("{certificate}.key")])
        .args(more)
        .current_dir(dir)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let accepts = lines
        .map_while(Result::ok)
        .find_map(|line| line.strip_prefix("ACCEPT ").map(str::to_owned));
    let address = accepts.expect("openssl s_server says ACCEPT");
    Server(child, format!("https://{}/", address.trim()))
}

/// What the log would say; nothing where an answer came.
fn ask(url: &str, ca_file: &Path) -> String {
    let request = Request {
        url,
        headers: &[],
        form: None,
        deadline: Instant::now() + Duration::from_secs(10),
        max_bytes: 1 << 20,
        trust: &Trust::new(Some(ca_file)),
        directives: OF_ISSUER,
    };
    match request.send(&Cancel::default()) {
        Ok(_) => String::new(),
        Err(Error::Connection(_, why)) => why,
        Err(other) => panic!("{other}"),
    }
}

/// Asks a server that sends these bytes, whatever comes.
fn ask_raw(bytes: &'static [u8], ca_file: &Path) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("https://{}/", listener.local_addr().unwrap());
    let thread = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let _ = stream.read(&mut [0; 4096]);
        let _ = stream.write_all(bytes);
        let _ = stream.read(&mut [0; 4096]);
    });
    let said = ask(&url, ca_file);
    thread.join().unwrap();
    said
}

#[test]
fn each_failure_is_said_with_its_remedy() {
    let dir = pki();
    let (root, own) = (dir.path().join("root.pem"), dir.path().join("own.pem"));
    let chain = ["-cert_chain", "middle.pem"];
    let old = ["-tls1_1", "-cipher", "DEFAULT@SECLEVEL=0"];
    for (certificate, more, ca, wanted) in [
        ("good", &chain[..], &root, ""),
        (
            "good",
            &[],
            &root,
            "does not send its intermediate certificate",
        ),
        ("foreign", &[], &root, "name its CA with GateCAFile"),
        ("foreign", &[], &own, "name its CA with GateCAFile"),
        ("rsa", &old, &root, "speaks neither TLS 1.2 nor TLS 1.3"),
        (
            "rsa",
            &["-tls1_2", "-cipher", "AES128-SHA"],
            &root,
            "no cipher",
        ),
        (
            "rsa",
            &["-tls1_2", "-cipher", "ECDHE-RSA-AES128-SHA256"],
            &root,
            "no cipher",
        ),
        (
            "rsa",
            &["-tls1_3", "-ciphersuites", "TLS_AES_128_CCM_SHA256"],
            &root,
            "no cipher",
        ),
        ("own", &[], &own, "is a CA's (basicConstraints CA:TRUE)"),
        ("expired", &[], &root, "has expired"),
        (
            "name",
            &[],
            &root,
            r#"is for "gitlab.example.com", "*.example.org", not for 127.0.0.1"#,
        ),
        ("plain", &[], &root, "has no subjectAltName"),
        ("v1", &[], &root, "X.509 version 1"),
        ("purpose", &[], &root, "extendedKeyUsage lacks serverAuth"),
    ] {
        let server = server(dir.path(), certificate, more);
        let said = ask(&server.1, ca);
        assert!(
            said.contains(wanted) && said.is_empty() == wanted.is_empty(),
            "{certificate} {more:?}: {said}"
        );
        // No name of a variant.
        assert!(
            !said.contains("Error(") && !said.contains("invalid peer"),
            "{said}"
        );
    }
    // A server of another protocol, and one that knows nothing newer than TLS 1.1.
    for (bytes, wanted) in [
        (&b"HTTP/1.1 400 Bad Request\r\n\r\n"[..], "does not speak TLS on this port"),
        (b"SSH-2.0-OpenSSH_9.2\r\n", "does not speak TLS on this port"),
        (b"220 mail.example.com ESMTP\r\n", "does not speak TLS on this port"),
        (b"\x15\x03\x01\x00\x02\x02\x46", "speaks neither TLS 1.2 nor TLS 1.3"),
        (b"\x16\x03\x02\x00\x2a\x02\x00\x00\x26\x03\x020123456789abcdef0123456789abcdef\x00\x00\x2f\x00", "speaks neither TLS 1.2 nor TLS 1.3"),
        (b"\x15\x03\x03\x00\x02\x02\x28", "no cipher"),
        (b"\x15\x03\x03\x00\x02\x02\x70", "no site of that name"),
    ] {
        let said = ask_raw(bytes, &root);
        assert!(said.contains(wanted), "{bytes:?}: {said}");
    }
}
