//! As much of HTTP/1.1 as the test servers need: one request in, one answer out. Not a web server.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::TcpStream;

/// How much of a body is kept; the rest is only counted.
const BODY_KEPT: usize = 4 << 20;
const LINE_MAX: u64 = 256 * 1024;

/// A request, as it came.
pub struct Request {
    /// The method.
    pub method: String,
    /// The request target, unchanged.
    pub target: String,
    /// The header fields in their order.
    pub headers: Vec<(String, String)>,
    /// The first of the body.
    pub body: Vec<u8>,
    /// The length of the whole body.
    pub body_bytes: u64,
}

impl Request {
    /// The first field of that name.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(n, _)| n.eq_ignore_ascii_case(name))
            .map(|(_, v)| v.as_str())
    }
}

/// Bytes as text: UTF-8 where they are, else one character a byte, so that nothing is lost.
fn as_text(bytes: &[u8]) -> String {
    std::str::from_utf8(bytes).map_or_else(
        |_| bytes.iter().map(|b| char::from(*b)).collect(),
        str::to_owned,
    )
}

/// One line without its end; `None` at the end of the stream.
fn line(from: &mut BufReader<TcpStream>) -> io::Result<Option<String>> {
    let mut bytes = Vec::new();
    if from.by_ref().take(LINE_MAX).read_until(b'\n', &mut bytes)? == 0 {
        return Ok(None);
    }
    while matches!(bytes.last(), Some(b'\n' | b'\r')) {
        bytes.pop();
    }
    Ok(Some(as_text(&bytes)))
}

/// Reads one request with its body; `None` where the client has hung up.
///
/// # Errors
/// Those of the socket, and `InvalidData` for what is not HTTP.
pub fn read(from: &mut BufReader<TcpStream>) -> io::Result<Option<Request>> {
    let bad = |what: &str| io::Error::new(io::ErrorKind::InvalidData, what.to_owned());
    let Some(first) = line(from)? else {
        return Ok(None);
    };
    let mut words = first.split(' ');
    let (Some(method), Some(target)) = (words.next(), words.next()) else {
        return Err(bad("request line"));
    };
    let (method, target) = (method.to_owned(), target.to_owned());
    let mut headers = Vec::new();
    loop {
        let Some(text) = line(from)? else {
            return Err(bad("header cut off"));
        };
        if text.is_empty() {
            break;
        }
        let Some((name, value)) = text.split_once(':') else {
            return Err(bad("header line"));
        };
        headers.push((name.to_owned(), value.trim().to_owned()));
    }
    let mut request = Request {
        method,
        target,
        headers,
        body: Vec::new(),
        body_bytes: 0,
    };
    if request
        .header("expect")
        .is_some_and(|v| v.eq_ignore_ascii_case("100-continue"))
    {
        from.get_mut().write_all(b"HTTP/1.1 100 Continue\r\n\r\n")?;
    }
    if request
        .header("transfer-encoding")
        .is_some_and(|v| v.to_ascii_lowercase().contains("chunked"))
    {
        loop {
            let size = line(from)?.ok_or_else(|| bad("chunk"))?;
            let size = size.split(';').next().unwrap_or("").trim();
            let size = u64::from_str_radix(size, 16).map_err(|_| bad("chunk size"))?;
            if size == 0 {
                while line(from)?.is_some_and(|trailer| !trailer.is_empty()) {}
                break;
            }
            body(from, &mut request, size)?;
            line(from)?;
        }
    } else if let Some(length) = request.header("content-length") {
        let length = length.parse().map_err(|_| bad("content-length"))?;
        body(from, &mut request, length)?;
    }
    Ok(Some(request))
}

fn body(from: &mut BufReader<TcpStream>, request: &mut Request, mut left: u64) -> io::Result<()> {
    let mut buffer = vec![0; 64 * 1024];
    while left > 0 {
        let want = usize::try_from(left)
            .unwrap_or(usize::MAX)
            .min(buffer.len());
        let got = from.read(buffer.get_mut(..want).unwrap_or_default())?;
        if got == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        left -= got as u64;
        request.body_bytes += got as u64;
        let room = BODY_KEPT.saturating_sub(request.body.len()).min(got);
        request
            .body
            .extend_from_slice(buffer.get(..room).unwrap_or_default());
    }
    Ok(())
}

/// Writes one whole answer.
///
/// # Errors
/// Those of the socket.
pub fn answer(
    to: &mut TcpStream,
    status: u16,
    headers: &[(&str, &str)],
    body: &[u8],
) -> io::Result<()> {
    let mut head = format!(
        "HTTP/1.1 {status} Test\r\nContent-Length: {}\r\n",
        body.len()
    );
    for (name, value) in headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    head.push_str("\r\n");
    to.write_all(&[head.as_bytes(), body].concat())
}
