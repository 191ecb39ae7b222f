//! An upstream that answers each request with what it got, as JSON. Not a model of GitLab.
//!
//! `/-/status/NNN` answers that status, `/-/slow/MS` after a while, `/-/cable` accepts a WebSocket and echoes
//! its bytes (`/-/cable?stays` does not close when its peer has), `/-/stream/BYTES` sends that many bytes.

use crate::http::{self, Request};
use aws_lc_rs::digest;
use base64::{Engine, prelude::BASE64_STANDARD};
use serde_json::json;
use std::io::{self, BufReader, Read, Write};
use std::net::TcpStream;
use std::thread::sleep;
use std::time::Duration;

/// Serves one connection until the client hangs up.
pub fn connection(stream: TcpStream) {
    // A client that hangs up is no event here.
    let _ = serve(stream);
}

fn serve(stream: TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut from = BufReader::new(stream);
    while let Some(request) = http::read(&mut from)? {
        let path = request.target.split('?').next().unwrap_or("");
        let mut status = 200;
        if path == "/-/cable" && request.header("upgrade").is_some() {
            return echo(from, &request);
        } else if let Some(number) = path.strip_prefix("/-/status/") {
            status = number.parse().unwrap_or(200);
        } else if let Some(number) = path.strip_prefix("/-/slow/") {
            sleep(Duration::from_millis(number.parse().unwrap_or(0)));
        } else if let Some(number) = path.strip_prefix("/-/stream/") {
            stream_bytes(from.get_mut(), number.parse().unwrap_or(0))?;
            continue;
        }
        let saw = json!({
            "method": request.method, "target": request.target, "headers": request.headers,
            "body_bytes": request.body_bytes, "body": String::from_utf8_lossy(&request.body),
        });
        let body = if request.method == "HEAD" {
            String::new()
        } else {
            saw.to_string()
        };
        http::answer(
            from.get_mut(),
            status,
            &[("Content-Type", "application/json")],
            body.as_bytes(),
        )?;
    }
    Ok(())
}

fn stream_bytes(to: &mut TcpStream, mut left: usize) -> io::Result<()> {
    write!(to, "HTTP/1.1 200 Test\r\nContent-Length: {left}\r\n\r\n")?;
    let block = vec![b'.'; 64 * 1024];
    while left > 0 {
        let now = left.min(block.len());
        to.write_all(block.get(..now).unwrap_or_default())?;
        left -= now;
    }
    Ok(())
}

/// RFC 6455's handshake; the frames are not looked at.
fn echo(mut from: BufReader<TcpStream>, request: &Request) -> io::Result<()> {
    let key = format!(
        "{}258EAFA5-E914-47DA-95CA-C5AB0DC85B11",
        request.header("sec-websocket-key").unwrap_or("")
    );
    let accept = BASE64_STANDARD.encode(digest::digest(
        &digest::SHA1_FOR_LEGACY_USE_ONLY,
        key.as_bytes(),
    ));
    write!(
        from.get_mut(),
        "HTTP/1.1 101 Test\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: {accept}\r\n\r\n"
    )?;
    let mut block = vec![0; 16 * 1024];
    loop {
        let got = from.read(&mut block)?;
        if got == 0 {
            if request.target.ends_with("?stays") {
                sleep(Duration::from_secs(3600));
            }
            return Ok(());
        }
        from.get_mut()
            .write_all(block.get(..got).unwrap_or_default())?;
    }
}
