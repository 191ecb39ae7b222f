//! `gatectl explain`: what the gate would do with a request, and why. httpd is asked: `httpd -t -D GATE_EXPLAIN` reads
//! the configuration as it always does, listens nowhere, and the module in it answers with the code that serves
//! requests (c_shim/explain_offline.c). The token goes by stdin.
#![allow(
    clippy::indexing_slicing,
    reason = "a missing member of a Value reads as null"
)]

use crate::Ended;
use crate::token::from_stdin;
use crate::words::Words;
use serde_json::Value;
use std::fs::{self, File};
use std::io::{Read as _, Write as _};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Runs it.
pub fn run(words: &[&str]) -> Ended {
    match explain(words) {
        Ok(ended) | Err(ended) => ended,
    }
}

/// A directory of our own, gone with the value.
struct Scratch(PathBuf);

impl Scratch {
    fn new() -> Result<Self, Ended> {
        let mut bytes = [0; 16];
        File::open("/dev/urandom")
            .and_then(|mut it| it.read_exact(&mut bytes))
            .map_err(|wrong| Ended::Failed(wrong.to_string()))?;
        let name: String = bytes.iter().map(|it| format!("{it:02x}")).collect();
        let path = std::env::temp_dir().join(format!("gatectl-{name}"));
        // The run user goes through it to the state directory.
        fs::DirBuilder::new()
            .mode(0o711)
            .create(&path)
            .map_err(|wrong| Ended::Failed(format!("{}: {wrong}", path.display())))?;
        Ok(Self(path))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
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
    let scratch = Scratch::new()?;
    let mut httpd = Command::new(httpd(words.get("httpd"))?);
    httpd.arg("-t").arg("-DGATE_EXPLAIN").arg("-f").arg(&config);
    for define in words.all("define") {
        match define.split_once('=') {
            // -D takes a name alone
            Some((name, value)) => {
                let value = value.replace('\\', "\\\\").replace('"', "\\\"");
                httpd.arg("-C").arg(format!("Define {name} \"{value}\""));
            }
            None => {
                httpd.arg("-D").arg(define);
            }
        }
    }
    httpd
        .envs(environment())
        .env("GATE_EXPLAIN_METHOD", method)
        .env("GATE_EXPLAIN_PATH", path)
        .env(
            "GATE_EXPLAIN_PEER",
            words.get("peer").unwrap_or("127.0.0.1"),
        )
        .env("GATE_EXPLAIN_PORT", words.get("port").unwrap_or_default())
        .env("GATE_EXPLAIN_HOST", words.get("host").unwrap_or_default())
        .env("GATE_EXPLAIN_DIR", &scratch.0);
    let value = answer(httpd, from_stdin()?)?;
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

fn httpd(named: Option<&str>) -> Result<&str, Ended> {
    let places = [
        "/usr/sbin/apache2",
        "/usr/sbin/httpd",
        "/usr/local/apache2/bin/httpd",
    ];
    named
        .or_else(|| places.into_iter().find(|it| Path::new(it).exists()))
        .ok_or_else(|| Ended::Usage("no httpd is found: name --httpd PATH".into()))
}

/// What Debian's apache2ctl sets before it starts httpd, unless it is set already.
fn environment() -> Vec<(String, String)> {
    let script = "[ -n \"$APACHE_RUN_DIR\" ] || [ ! -f /etc/apache2/envvars ] || . /etc/apache2/envvars; exec env -0";
    let printed = Command::new("/bin/sh").args(["-c", script]).output();
    let text = printed.map(|it| it.stdout).unwrap_or_default();
    let pairs = text.split(|b| *b == 0).filter_map(|it| {
        let text = String::from_utf8_lossy(it);
        let (name, value) = text.split_once('=')?;
        Some((name.to_owned(), value.to_owned()))
    });
    pairs.collect()
}

fn answer(mut httpd: Command, token: Vec<u8>) -> Result<Value, Ended> {
    let program = httpd.get_program().to_string_lossy().into_owned();
    let failed = |wrong: std::io::Error| Ended::Failed(format!("{program}: {wrong}"));
    let mut running = httpd
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(failed)?;
    let mut stdin = running.stdin.take();
    // Meanwhile httpd may write more than a pipe holds. Where it ends before it reads, it says why.
    let writer = std::thread::spawn(move || {
        if let Some(stdin) = stdin.as_mut() {
            let _ = stdin.write_all(&token);
        }
    });
    let output = running.wait_with_output().map_err(failed)?;
    let _ = writer.join();
    serde_json::from_slice(&output.stdout).map_err(|_| {
        Ended::Failed(format!(
            "httpd gave no answer with this configuration, which must load mod_gitlab_gate ({}):\n{}",
            output.status,
            String::from_utf8_lossy(&output.stderr)
        ))
    })
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
