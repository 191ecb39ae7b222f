//! What the bench and the soak send, and what stands behind the gate: a load generator that takes a
//! file of tokens, an upstream that costs next to nothing, a maker of many tokens, and the floor:
//! bare verification with the crypto library that the module uses. Measures; judges nothing.

#[path = "../support/testkit/keys.rs"]
#[allow(dead_code)]
mod keys;
#[path = "../support/testkit/mint.rs"]
mod mint;
#[path = "../support/testkit/shapes.rs"]
mod shapes;

use aws_lc_rs::signature::{self, ParsedPublicKey};
use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::io::{self, BufRead, BufReader, BufWriter, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::ExitCode;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::{Duration, Instant};

const USAGE: &str = "usage: load upstream                          (prints `listening ADDRESS`)
       load mint COUNT < SPEC.json           (tokens, one a line, each with a jti of its own)
       load run PORT PATH TOKENS CONNECTIONS REQUESTS   (TOKENS: a file, or - for none; prints JSON)
       load floor TOKENS KEY ROUNDS          (KEY: rs1 or es1; prints microseconds for each part)";

type Outcome<T> = Result<T, Box<dyn std::error::Error + Send + Sync>>;

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let done = match words.as_slice() {
        ["upstream"] => upstream(),
        ["mint", count] => mint_many(count),
        ["run", port, path, tokens, connections, requests] => {
            run(port, path, tokens, connections, requests)
        }
        ["floor", tokens, key, rounds] => floor(tokens, key, rounds),
        _ => Err(USAGE.into()),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(what) => {
            eprintln!("{what}");
            ExitCode::from(2)
        }
    }
}

// --- the upstream ------------------------------------------------------------------------------

fn upstream() -> Outcome<()> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    println!("listening {}", listener.local_addr()?);
    io::stdout().flush()?;
    for stream in listener.incoming().flatten() {
        std::thread::Builder::new().spawn(move || drop(answer_all(stream)))?;
    }
    Ok(())
}

/// Answers each request that has no body; looks for the blank line and at nothing else.
fn answer_all(mut stream: TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut seen = Vec::new();
    let mut block = [0; 16 * 1024];
    loop {
        let count = stream.read(&mut block)?;
        if count == 0 {
            return Ok(());
        }
        seen.extend_from_slice(block.get(..count).unwrap_or_default());
        if seen.ends_with(b"\r\n\r\n") {
            seen.clear();
            stream.write_all(
                b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 3\r\n\r\nok\n",
            )?;
        }
    }
}

// --- tokens ------------------------------------------------------------------------------------

fn mint_many(count: &str) -> Outcome<()> {
    let mut spec: Value = serde_json::from_reader(io::stdin())?;
    let base = mint::text(&spec, "base")
        .unwrap_or("http://127.0.0.1")
        .to_owned();
    let mut out = BufWriter::new(io::stdout().lock());
    let start = Instant::now().elapsed().as_nanos() ^ u128::from(std::process::id());
    for number in 0..count.parse::<u32>()? {
        let jti = json!(format!("235b3a54-b797-45c7-{start:08x}-{number:012x}"));
        let claims = spec.as_object_mut().ok_or("SPEC: an object")?;
        claims
            .entry("claims")
            .or_insert_with(|| json!({}))
            .as_object_mut()
            .ok_or("claims: an object")?
            .insert("jti".to_owned(), jti);
        writeln!(out, "{}", mint::mint(&spec, &base, 1)?)?;
    }
    Ok(out.flush()?)
}

fn tokens_of(file: &str) -> Outcome<Vec<String>> {
    if file == "-" {
        return Ok(vec![String::new()]);
    }
    let tokens: Vec<String> = std::fs::read_to_string(file)?
        .lines()
        .map(str::to_owned)
        .collect();
    (!tokens.is_empty())
        .then_some(tokens)
        .ok_or_else(|| "no tokens".into())
}

// --- load --------------------------------------------------------------------------------------

/// What one connection saw.
#[derive(Default)]
struct Seen {
    statuses: BTreeMap<String, u64>,
    nanos: Vec<u64>,
}

fn run(port: &str, path: &str, tokens: &str, connections: &str, requests: &str) -> Outcome<()> {
    let (port, connections): (u16, usize) = (port.parse()?, connections.parse()?);
    let requests: usize = requests.parse()?;
    let requests_text: Vec<String> = tokens_of(tokens)?
        .iter()
        .map(|token| request(port, path, token))
        .collect();
    let next = AtomicUsize::new(0);
    let begin = Instant::now();
    let seen: Vec<Outcome<Seen>> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..connections)
            .map(|_| scope.spawn(|| one_connection(port, &requests_text, &next, requests)))
            .collect();
        threads
            .into_iter()
            .map(|it| it.join().unwrap_or_else(|_| Err("a thread ended".into())))
            .collect()
    });
    let seconds = begin.elapsed().as_secs_f64();
    let mut all = Seen::default();
    for seen in seen {
        let seen = seen?;
        for (status, count) in seen.statuses {
            *all.statuses.entry(status).or_default() += count;
        }
        all.nanos.extend(seen.nanos);
    }
    all.nanos.sort_unstable();
    let at = |part: f64| {
        let at = (all.nanos.len() as f64 * part) as usize;
        all.nanos.get(at).copied().unwrap_or_default() as f64 / 1000.0
    };
    println!(
        "{}",
        json!({"seconds": seconds, "rps": requests as f64 / seconds, "p50_us": at(0.5), "p99_us": at(0.99), "statuses": all.statuses})
    );
    Ok(())
}

fn request(port: u16, path: &str, token: &str) -> String {
    let authorization = if token.is_empty() {
        String::new()
    } else {
        format!("Authorization: Bearer {token}\r\n")
    };
    format!(
        "GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nUser-Agent: gitlab-runner 18.6.0 (18-6-stable; go1.24.6; linux/amd64)\r\nAccept: */*\r\n{authorization}\r\n"
    )
}

fn one_connection(
    port: u16,
    requests: &[String],
    next: &AtomicUsize,
    wanted: usize,
) -> Outcome<Seen> {
    let connect = || -> Outcome<BufReader<TcpStream>> {
        let stream = TcpStream::connect(("127.0.0.1", port))?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(Duration::from_secs(60)))?;
        Ok(BufReader::new(stream))
    };
    let mut seen = Seen::default();
    let mut connection = connect()?;
    let mut line = String::new();
    loop {
        let at = next.fetch_add(1, Relaxed);
        if at >= wanted {
            return Ok(seen);
        }
        let text = requests
            .get(at % requests.len())
            .ok_or("no request")?
            .as_bytes();
        let begin = Instant::now();
        let _ = connection.get_mut().write_all(text);
        // httpd may have closed the connection meanwhile, as at a restart: once more, then.
        let (status, open) = match answer(&mut connection, &mut line) {
            Ok(answered) => answered,
            Err(_) => {
                connection = connect()?;
                connection.get_mut().write_all(text)?;
                answer(&mut connection, &mut line)?
            }
        };
        seen.nanos.push(begin.elapsed().as_nanos() as u64);
        *seen.statuses.entry(status).or_default() += 1;
        if !open {
            connection = connect()?;
        }
    }
}

/// Reads one answer: its status and reason of refusal, and whether the connection stays open.
fn answer(from: &mut BufReader<TcpStream>, line: &mut String) -> Outcome<(String, bool)> {
    let mut status = String::new();
    let (mut length, mut chunked, mut open) = (0, false, true);
    loop {
        line.clear();
        if from.read_line(line)? == 0 {
            return Err(format!("the connection was closed after: {status}").into());
        }
        let text = line.trim_end();
        if status.is_empty() {
            status = text.get(9..12).unwrap_or("???").to_owned();
        } else if text.is_empty() {
            break;
        } else if let Some((name, value)) = text.split_once(':') {
            let value = value.trim();
            if name.eq_ignore_ascii_case("Content-Length") {
                length = value.parse::<u64>()?;
            } else if name.eq_ignore_ascii_case("Transfer-Encoding") {
                chunked = true;
            } else if name.eq_ignore_ascii_case("Connection") {
                open = !value.eq_ignore_ascii_case("close");
            } else if name.eq_ignore_ascii_case("X-Gate-Reason") {
                status = format!("{status} {value}");
            }
        }
    }
    if chunked {
        loop {
            line.clear();
            from.read_line(line)?;
            let size = u64::from_str_radix(line.trim(), 16)?;
            io::copy(&mut from.by_ref().take(size + 2), &mut io::sink())?;
            if size == 0 {
                break;
            }
        }
    } else {
        io::copy(&mut from.by_ref().take(length), &mut io::sink())?;
    }
    Ok((status, open))
}

// --- the floor ---------------------------------------------------------------------------------

/// What a verification can't cost less than: the parts, and their sum, per token.
fn floor(tokens: &str, key: &str, rounds: &str) -> Outcome<()> {
    let tokens = tokens_of(tokens)?;
    let rounds: usize = rounds.parse()?;
    let jwk = keys::jwk(key)?;
    let part = |name: &str| -> Outcome<Vec<u8>> {
        Ok(BASE64_URL_SAFE_NO_PAD.decode(jwk.get(name).and_then(Value::as_str).unwrap_or(""))?)
    };
    let parsed: ParsedPublicKey = if key.starts_with("rs") {
        signature::RsaPublicKeyComponents {
            n: part("n")?,
            e: part("e")?,
        }
        .to_parsed_public_key(&signature::RSA_PKCS1_2048_8192_SHA256)?
    } else {
        let point = [vec![4], part("x")?, part("y")?].concat();
        ParsedPublicKey::new(&signature::ECDSA_P256_SHA256_FIXED, &point)?
    };
    let mut signed = Vec::new();
    for token in &tokens {
        let (input, signature) = token.rsplit_once('.').ok_or("not a token")?;
        signed.push((input, signature, BASE64_URL_SAFE_NO_PAD.decode(signature)?));
    }
    let per_token = |work: &mut dyn FnMut(usize) -> Outcome<()>| -> Outcome<f64> {
        let mut best = f64::MAX;
        for _ in 0..rounds {
            let begin = Instant::now();
            for at in 0..signed.len() {
                work(at)?;
            }
            best = best.min(begin.elapsed().as_secs_f64() * 1e6 / signed.len() as f64);
        }
        Ok(best)
    };
    let verify = per_token(&mut |at| {
        let (input, _, signature) = signed.get(at).ok_or("none")?;
        Ok(parsed.verify_sig(input.as_bytes(), signature)?)
    })?;
    let read = per_token(&mut |at| {
        let (input, signature, _) = signed.get(at).ok_or("none")?;
        let (header, claims) = input.split_once('.').ok_or("no claims")?;
        for part in [header, claims] {
            let json: Value = serde_json::from_slice(&BASE64_URL_SAFE_NO_PAD.decode(part)?)?;
            std::hint::black_box(json);
        }
        std::hint::black_box(BASE64_URL_SAFE_NO_PAD.decode(signature)?);
        Ok(())
    })?;
    println!("{}", json!({"verify_us": verify, "read_us": read}));
    Ok(())
}
