//! The way to a gate: TCP, TLS where the URL says so, a CONNECT with the tokens, and then two ends
//! that two threads may use at once.

use crate::words;
use base64::{Engine, prelude::BASE64_STANDARD};
use gitlab_gate::http::tls::io_words;
use gitlab_gate::jwks::{check_url, is_plain};
use gitlab_gate::verdict::Reason;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore};
use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpStream, ToSocketAddrs};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

const TIMEOUT: Duration = Duration::from_secs(30);
const HEAD_MAX: usize = 32 * 1024;

/// Where the gate is, and what is asked of it.
pub struct Gate {
    host: String,
    port: u16,
    tls: Option<(Arc<ClientConfig>, ServerName<'static>)>,
    to: String,
    /// CI_JOB_TOKEN goes along.
    job_token: bool,
    request: String,
}

/// An open tunnel.
pub struct Opened {
    /// What comes.
    pub from: Reading,
    /// What goes.
    pub to: Writing,
    /// `Gate-Expires`
    pub expires: Option<u64>,
}

impl Gate {
    /// A gate; the token goes as the password of Basic, which every proxy between takes.
    ///
    /// # Errors
    /// What is wrong with the words.
    pub fn new(
        url: &str,
        to: &str,
        token: &str,
        job_token: Option<&str>,
        ca_file: Option<&str>,
    ) -> Result<Self, String> {
        check_url(url).map_err(|wrong| format!("--gate: {wrong}"))?;
        let in_clear = is_plain(url);
        let (_, rest) = url.split_once("://").unwrap_or(("", url));
        let authority = rest.split(['/', '?']).next().unwrap_or(rest);
        let (host, port) = match authority.rsplit_once(':') {
            Some((host, port)) if !port.ends_with(']') => {
                (host, port.parse().map_err(|_| "--gate: its port is none")?)
            }
            _ => (authority, if in_clear { 80 } else { 443 }),
        };
        let host = host
            .trim_start_matches('[')
            .trim_end_matches(']')
            .to_owned();
        if gitlab_gate::port::name::parse(to).is_none() {
            return Err("--to: write NAME:PORT, as orders-db:5432".into());
        }
        let plain = |text: &str| text.bytes().all(|b| b.is_ascii_graphic());
        if !plain(token) || !job_token.is_none_or(plain) {
            return Err("a token holds characters that no token has".into());
        }
        let tls = if in_clear {
            None
        } else {
            let name = ServerName::try_from(host.clone())
                .map_err(|_| "--gate: that is no host's name".to_owned())?;
            Some((Arc::new(tls(ca_file)?), name))
        };
        let credential = BASE64_STANDARD.encode(format!("gatectl:{token}"));
        let job = job_token.map_or(String::new(), |it| format!("Gate-Job-Token: {it}\r\n"));
        let request = format!(
            "CONNECT {to} HTTP/1.1\r\nHost: {to}\r\nProxy-Authorization: Basic {credential}\r\n{job}\
             User-Agent: gatectl/{}\r\nAccept: application/json\r\n\r\n",
            env!("CARGO_PKG_VERSION")
        );
        Ok(Self {
            host,
            port,
            tls,
            to: to.to_owned(),
            job_token: job_token.is_some(),
            request,
        })
    }

    /// NAME:PORT
    pub fn name(&self) -> &str {
        &self.to
    }

    /// Opens a tunnel.
    ///
    /// # Errors
    /// One line that says why there is none.
    pub fn open(&self) -> Result<Opened, String> {
        let at = |error: io::Error| {
            let why = io_words(&error, "--ca-file");
            format!("the gate at {}:{}: {why}", self.host, self.port)
        };
        let socket = self.connect().map_err(at)?;
        let (mut from, mut to) = self.ends(socket).map_err(at)?;
        to.write_all(self.request.as_bytes()).map_err(at)?;
        let head = from.head().map_err(at)?;
        from.socket.set_read_timeout(None).map_err(at)?;
        let mut lines = head.split("\r\n");
        let status = lines
            .next()
            .and_then(|it| it.split(' ').nth(1))
            .unwrap_or("");
        let field = |wanted: &str| {
            lines.clone().find_map(|line| {
                let (name, value) = line.split_once(':')?;
                name.eq_ignore_ascii_case(wanted).then(|| value.trim())
            })
        };
        // An error page of somebody's may be a 200.
        if status == "200" && field("X-Gate-Reason").is_none() {
            let expires = field("Gate-Expires").and_then(|it| it.parse().ok());
            return Ok(Opened { from, to, expires });
        }
        let shown = |text: &str| -> String {
            text.chars()
                .filter(|it| !it.is_control())
                .take(80)
                .collect()
        };
        Err(match field("X-Gate-Reason") {
            Some(code) => format!(
                "the gate refused {}: {} {}: {}{} (request {})",
                self.to,
                shown(status),
                shown(code),
                Reason::from_code(code).map_or("", Reason::description),
                self.hint(code),
                shown(field("X-Gate-Request").unwrap_or("unknown"))
            ),
            None => format!(
                "{}:{} refused {} with status {}, and is no gate",
                self.host,
                self.port,
                self.to,
                shown(status)
            ),
        })
    }

    /// What to write instead, where that is known.
    fn hint(&self, code: &str) -> &'static str {
        if code == Reason::JobMismatch.code() && !self.job_token {
            "; the gate asks GitLab about the job: add --job-token-env CI_JOB_TOKEN"
        } else {
            ""
        }
    }

    fn connect(&self) -> io::Result<TcpStream> {
        let mut last = io::Error::new(io::ErrorKind::NotFound, "no address");
        for address in (self.host.as_str(), self.port).to_socket_addrs()? {
            match TcpStream::connect_timeout(&address, TIMEOUT) {
                Ok(socket) => {
                    socket.set_nodelay(true)?;
                    socket.set_read_timeout(Some(TIMEOUT))?;
                    return Ok(socket);
                }
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    fn ends(&self, mut socket: TcpStream) -> io::Result<(Reading, Writing)> {
        let tls = match &self.tls {
            None => None,
            Some((config, name)) => {
                let mut session = ClientConnection::new(Arc::clone(config), name.clone())
                    .map_err(io::Error::other)?;
                while session.is_handshaking() {
                    session.complete_io(&mut socket)?;
                }
                Some(Arc::new(Mutex::new(session)))
            }
        };
        let to = Writing {
            socket: socket.try_clone()?,
            tls: tls.clone(),
        };
        let from = Reading {
            socket,
            tls,
            kept: Vec::new(),
        };
        Ok((from, to))
    }
}

fn tls(ca_file: Option<&str>) -> Result<ClientConfig, String> {
    let mut roots = RootCertStore::empty();
    match ca_file {
        Some(file) => {
            let name = words::file(file);
            let failed = |it: &dyn std::fmt::Display| format!("--ca-file {name}: {it}");
            let read = CertificateDer::pem_file_iter(file).map_err(|it| failed(&it))?;
            for certificate in read {
                let certificate = certificate.map_err(|it| failed(&it))?;
                roots.add(certificate).map_err(|it| failed(&it))?;
            }
        }
        None => {
            roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        }
    }
    if roots.is_empty() {
        return Err(
            "there is no certificate to trust (--ca-file, or package ca-certificates)".into(),
        );
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|it| it.to_string())?
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(config)
}

type Session = Arc<Mutex<ClientConnection>>;

fn lock(session: &Session) -> MutexGuard<'_, ClientConnection> {
    session.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What comes out of a tunnel.
pub struct Reading {
    socket: TcpStream,
    tls: Option<Session>,
    /// Read already, and not yet given.
    kept: Vec<u8>,
}

impl Reading {
    /// The head of the answer, up to its empty line.
    fn head(&mut self) -> io::Result<String> {
        let mut head = Vec::new();
        let mut byte = [0];
        while !head.ends_with(b"\r\n\r\n") {
            if head.len() > HEAD_MAX || self.read(&mut byte)? == 0 {
                return Err(io::Error::new(
                    io::ErrorKind::InvalidData,
                    "no whole answer came",
                ));
            }
            head.extend_from_slice(&byte);
        }
        Ok(String::from_utf8_lossy(&head).into_owned())
    }

    /// More plain text, into `kept`. Nothing: the end. The session is never locked while the socket
    /// is waited for.
    fn more(&mut self, session: &Session) -> io::Result<()> {
        let mut block = [0; 16 * 1024];
        while self.kept.is_empty() {
            let got = self.socket.read(&mut block)?;
            if got == 0 {
                return Ok(());
            }
            let mut rest = block.get(..got).unwrap_or_default();
            let mut session = lock(session);
            while !rest.is_empty() {
                session.read_tls(&mut rest)?;
                let state = session.process_new_packets().map_err(io::Error::other)?;
                let before = self.kept.len();
                self.kept
                    .resize(before + state.plaintext_bytes_to_read(), 0);
                session
                    .reader()
                    .read_exact(self.kept.get_mut(before..).unwrap_or_default())?;
                if state.peer_has_closed() {
                    return Ok(());
                }
            }
        }
        Ok(())
    }
}

impl Read for Reading {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let Some(session) = self.tls.clone() else {
            return self.socket.read(buffer);
        };
        if self.kept.is_empty() {
            // what came with the handshake's end
            let mut now = [0; 16 * 1024];
            let got = match lock(&session).reader().read(&mut now) {
                Ok(got) => got,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => 0,
                Err(_) => return Ok(0),
            };
            self.kept
                .extend_from_slice(now.get(..got).unwrap_or_default());
            if got == 0 {
                self.more(&session)?;
            }
        }
        let count = buffer.len().min(self.kept.len());
        for (to, from) in buffer.iter_mut().zip(self.kept.drain(..count)) {
            *to = from;
        }
        Ok(count)
    }
}

/// What goes into a tunnel.
pub struct Writing {
    socket: TcpStream,
    tls: Option<Session>,
}

impl Writing {
    /// Nothing more goes in.
    pub fn finish(&mut self) {
        let Some(session) = &self.tls else {
            let _ = self.socket.shutdown(Shutdown::Write);
            return;
        };
        lock(session).send_close_notify();
        let _ = self.push();
    }

    fn push(&mut self) -> io::Result<()> {
        let mut sealed = Vec::new();
        if let Some(session) = &self.tls {
            let mut session = lock(session);
            while session.wants_write() {
                session.write_tls(&mut sealed)?;
            }
        }
        self.socket.write_all(&sealed)
    }
}

impl Write for Writing {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let Some(session) = &self.tls else {
            return self.socket.write(bytes);
        };
        let taken = lock(session).writer().write(bytes)?;
        self.push()?;
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
