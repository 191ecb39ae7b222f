//! `gatectl explain`: what the gate would do with a request, and why. A httpd is started on the
//! configuration, on a private port of loopback, for this one question: the answer comes from the
//! code that serves requests.
#![allow(
    clippy::indexing_slicing,
    reason = "a missing member of a Value reads as null"
)]

use crate::Ended;
use crate::hosts::Hosts;
use crate::lines::{self, Environment};
use crate::rewrite::{Private, rewrite};
use crate::token::from_stdin;
use crate::words::Words;
use serde_json::Value;
use std::fs::{self, File, OpenOptions};
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// Runs it.
pub fn run(words: &[&str]) -> Ended {
    match explain(words) {
        Ok(ended) | Err(ended) => ended,
    }
}

/// A directory of our own, gone with the value.
struct Scratch(PathBuf);

impl Scratch {
    fn new(secret: &str) -> Result<Self, Ended> {
        let path = std::env::temp_dir().join(format!("gatectl-{secret}"));
        // The children, which run without privileges, go through it to the state.
        fs::DirBuilder::new()
            .mode(0o711)
            .create(&path)
            .map_err(|wrong| Ended::Failed(format!("{}: {wrong}", path.display())))?;
        Ok(Self(path))
    }

    /// A new file that nobody else reads: the configuration, and logs that tell of the token.
    fn file(&self, name: &str) -> Result<File, Ended> {
        let wrong = |wrong: std::io::Error| Ended::Failed(format!("{name}: {wrong}"));
        let mut options = OpenOptions::new();
        let file = options.write(true).create_new(true).mode(0o600);
        file.open(self.0.join(name)).map_err(wrong)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// The httpd, gone with the value.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        if !matches!(self.0.try_wait(), Ok(None)) {
            return;
        }
        // httpd ends its children on TERM; SIGKILL would leave them.
        let _ = Command::new("kill").arg(self.0.id().to_string()).status();
        let until = Instant::now() + Duration::from_secs(10);
        while Instant::now() < until && matches!(self.0.try_wait(), Ok(None)) {
            std::thread::sleep(Duration::from_millis(10));
        }
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn secret() -> Result<String, Ended> {
    let mut bytes = [0; 16];
    File::open("/dev/urandom")
        .and_then(|mut it| it.read_exact(&mut bytes))
        .map_err(|wrong| Ended::Failed(wrong.to_string()))?;
    Ok(bytes.iter().map(|it| format!("{it:02x}")).collect())
}

fn explain(words: &[&str]) -> Result<Ended, Ended> {
    let known = [
        "config", "method", "path", "peer", "port", "host", "define*", "httpd", "format",
    ];
    let words = Words::parse(words, &known).map_err(Ended::Usage)?;
    let needed = |name: &str| {
        words
            .get(name)
            .ok_or_else(|| Ended::Usage(format!("--{name} is needed")))
    };
    let (config, method, path) = (needed("config")?, needed("method")?, needed("path")?);
    let as_json = match words.get("format").unwrap_or("text") {
        "text" => false,
        "json" => true,
        other => return Err(Ended::Usage(format!("--format {other}: text or json"))),
    };
    if path.starts_with('/') == (method == "CONNECT") || !words.rest.is_empty() {
        return Err(Ended::Usage(
            "--path begins with /, or is HOST:PORT for CONNECT, and no word stands alone".into(),
        ));
    }
    let config = fs::canonicalize(config)
        .map_err(|wrong| Ended::Failed(format!("--config {config}: {wrong}")))?;
    let environment = environment();
    let (lines, root) =
        lines::read(&config, &environment, words.all("define")).map_err(Ended::Failed)?;
    let hosts = Hosts::of(&lines);
    let answering = hosts
        .answering(words.get("port"), words.get("host"))
        .map_err(Ended::Failed)?;
    let token = from_stdin()?;
    let secret = secret()?;
    let scratch = Scratch::new(&secret)?;
    let port = TcpListener::bind("127.0.0.1:0")
        .and_then(|it| it.local_addr())
        .map_err(|wrong| Ended::Failed(wrong.to_string()))?
        .port();
    let private = Private {
        port,
        dir: &scratch.0,
        handler: format!("/-gate-explain-{secret}"),
    };
    let file = scratch.0.join("httpd.conf");
    let text = rewrite(&lines, &answering.hosts, &private);
    scratch
        .file("httpd.conf")?
        .write_all(text.as_bytes())
        .map_err(|wrong| Ended::Failed(wrong.to_string()))?;
    let mut running = start(words.get("httpd"), &environment, &file, &root, &scratch)?;
    let answer = ask(
        &mut running,
        &private,
        &scratch.0,
        answering.name.as_deref(),
        &[
            ("method", method),
            ("path", path),
            ("peer", words.get("peer").unwrap_or("127.0.0.1")),
        ],
        &token,
    )?;
    let mut value: Value = serde_json::from_str(&answer)
        .map_err(|_| Ended::Failed(format!("httpd answered: {answer}")))?;
    if let Some(members) = value.as_object_mut() {
        members.insert("server".into(), answering.told.into());
    }
    if as_json {
        println!("{value:#}");
    } else {
        print!("{}", told(&value));
    }
    Ok(if value["granted"] == true {
        Ended::Yes
    } else {
        Ended::No
    })
}

/// httpd's environment: Debian's configuration speaks of variables that its own start script sets.
fn environment() -> Environment {
    let script = "[ -n \"$APACHE_RUN_DIR\" ] || [ ! -f /etc/apache2/envvars ] || . /etc/apache2/envvars; exec env -0";
    let said = Command::new("/bin/sh").args(["-c", script]).output();
    let text = said.map(|it| it.stdout).unwrap_or_default();
    let pairs = text.split(|b| *b == 0).filter_map(|it| {
        let text = String::from_utf8_lossy(it);
        let (name, value) = text.split_once('=')?;
        Some((name.to_owned(), value.to_owned()))
    });
    pairs.collect()
}

fn start(
    named: Option<&str>,
    environment: &Environment,
    file: &Path,
    root: &Path,
    scratch: &Scratch,
) -> Result<Running, Ended> {
    let places = [
        "/usr/sbin/apache2",
        "/usr/sbin/httpd",
        "/usr/local/apache2/bin/httpd",
    ];
    let httpd = named
        .or_else(|| places.into_iter().find(|it| Path::new(it).exists()))
        .ok_or_else(|| Ended::Usage("there is no httpd: name --httpd PATH".into()))?;
    scratch.file("error.log")?;
    Command::new(httpd)
        .arg("-DFOREGROUND")
        .arg("-d")
        .arg(root)
        .arg("-f")
        .arg(file)
        .envs(environment)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(scratch.file("stderr")?)
        // The prefork MPM ends its children by a signal to its whole process group: ours is not to
        // be in it.
        .process_group(0)
        .spawn()
        .map(Running)
        .map_err(|wrong| Ended::Failed(format!("{httpd}: {wrong}")))
}

fn ask(
    running: &mut Running,
    private: &Private<'_>,
    dir: &Path,
    host: Option<&str>,
    parameters: &[(&str, &str)],
    token: &[u8],
) -> Result<String, Ended> {
    let query: Vec<String> = parameters
        .iter()
        .map(|(name, value)| format!("{name}={}", encoded(value)))
        .collect();
    let host = host.map_or_else(|| format!("127.0.0.1:{}", private.port), str::to_owned);
    if host.chars().any(char::is_control) {
        return Err(Ended::Usage("--host is no host".into()));
    }
    let until = Instant::now() + Duration::from_secs(20);
    // Its PidFile is there when it has the port: another's server there would get the token.
    while fs::metadata(dir.join("httpd.pid")).map_or(0, |it| it.len()) == 0 {
        if Instant::now() >= until || !matches!(running.0.try_wait(), Ok(None)) {
            let mut text = String::new();
            for name in ["stderr", "error.log"] {
                text += &fs::read_to_string(dir.join(name)).unwrap_or_default();
            }
            return Err(Ended::Failed(format!(
                "httpd does not start on this configuration:\n{text}"
            )));
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    let failed = |wrong: std::io::Error| Ended::Failed(format!("httpd did not answer: {wrong}"));
    let mut stream = TcpStream::connect(("127.0.0.1", private.port)).map_err(failed)?;
    stream
        .set_read_timeout(Some(Duration::from_secs(60)))
        .map_err(failed)?;
    let request = format!(
        "POST {}?{} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\nContent-Type: text/plain\r\nContent-Length: {}\r\n\r\n",
        private.handler,
        query.join("&"),
        token.len()
    );
    stream
        .write_all(&[request.as_bytes(), token].concat())
        .map_err(failed)?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).map_err(failed)?;
    let answer = String::from_utf8_lossy(&answer).into_owned();
    match answer.split_once("\r\n\r\n") {
        Some((head, body)) if head.starts_with("HTTP/1.1 200") => Ok(body.to_owned()),
        _ => Err(Ended::Failed(format!(
            "the question was not answered: {}",
            answer.lines().next().unwrap_or("nothing came")
        ))),
    }
}

fn encoded(text: &str) -> String {
    text.bytes()
        .map(|b| match b {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => {
                char::from(b).to_string()
            }
            _ => format!("%{b:02X}"),
        })
        .collect()
}

fn word(it: &Value) -> String {
    match it {
        Value::String(text) => text.clone(),
        Value::Null => "-".to_owned(),
        other => other.to_string(),
    }
}

fn checks(rows: &[Value]) -> String {
    let mut text = String::new();
    for check in rows {
        text += &format!(
            "  {:<11} {:<10}",
            word(&check["result"]),
            word(&check["check"])
        );
        if !check["wanted"].is_null() {
            text += &format!(
                " wanted {}, got {}",
                word(&check["wanted"]),
                word(&check["got"])
            );
        }
        if !check["reason"].is_null() {
            text += &format!(" [{}: {}]", word(&check["reason"]), word(&check["detail"]));
        }
        text = text.trim_end().to_owned() + "\n";
    }
    text
}

/// The answer for people.
fn told(value: &Value) -> String {
    let list = |it: &Value| it.as_array().cloned().unwrap_or_default();
    let mut text = String::new();
    let verdict = match (value["granted"] == true, value["observed"] == true) {
        (true, true) => format!(
            "granted, since nothing is refused here; else {}",
            word(&value["reason"])
        ),
        (true, false) => "granted".to_owned(),
        (false, _) => format!(
            "refused: {} {}",
            word(&value["status"]),
            word(&value["reason"])
        ),
    };
    text += &format!(
        "{} {} from {}: {verdict}\n",
        word(&value["method"]),
        word(&value["path"]),
        word(&value["peer"])
    );
    if !value["detail"].is_null() {
        text += &format!("  {}\n", word(&value["detail"]));
    }
    let gated = if value["gated"] == true {
        "AuthType Gate"
    } else {
        "not gated"
    };
    text += &format!("server    {}\n", word(&value["server"]));
    text += &format!("place     {} ({gated})\n", word(&value["place"]));
    text += &format!("issuer    {}\n", word(&value["token"]["issuer"]));
    text += &checks(&list(&value["token"]["checks"]));
    if !value["user"].is_null() {
        text += &format!("user      {}\n", word(&value["user"]));
    }
    for role in list(&value["roles"]) {
        let granted = if role["granted"] == true {
            "granted"
        } else {
            "missed"
        };
        text += &format!("role      {} {granted}\n", word(&role["role"]));
        for condition in list(&role["conditions"]) {
            let holds = if condition["holds"] == true {
                "holds"
            } else {
                "fails"
            };
            text += &format!("  {holds} {}\n", word(&condition["detail"]));
        }
        if !role["claim"].is_null() {
            text += &format!("  from the claim {}\n", word(&role["claim"]));
        }
    }
    for rule in list(&value["rules"]) {
        let holds = if rule["holds"] == true {
            "holds"
        } else {
            "fails"
        };
        text += &format!(
            "require   {} {holds} {}",
            word(&rule["require"]),
            word(&rule["detail"])
        );
        text = text.trim_end().to_owned() + "\n";
    }
    let port = &value["port"];
    if !port.is_null() {
        text += &format!(
            "port      {} to {}, until {} at the latest, {} s idle\n",
            word(&port["name"]),
            word(&port["target"]),
            word(&port["expires"]),
            word(&port["idle_seconds"])
        );
        text += &checks(&list(&port["checks"]));
    } else if value["granted"] == true {
        text += &format!("upstream  {}\n", word(&value["forward"]));
        for header in list(&value["upstream"]) {
            text += &format!("  {}: {}\n", word(&header["name"]), word(&header["value"]));
        }
    }
    text
}
