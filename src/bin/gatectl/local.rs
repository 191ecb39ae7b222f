//! The local end of a port: a TCP port on loopback, or a socket in the file system that its owner
//! alone may use. Whoever reaches it is the job to the gate, so it is never open to other machines
//! unless the command line says so.

use std::fs;
use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream, ToSocketAddrs};
use std::os::unix::fs::{DirBuilderExt as _, FileTypeExt as _, PermissionsExt as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

/// What listens.
pub enum Listener {
    /// ADDRESS:PORT
    Tcp(TcpListener),
    /// unix:PATH, removed at the end.
    Unix(UnixListener, PathBuf),
}

/// A connection to it.
pub enum Local {
    /// Over TCP.
    Tcp(TcpStream),
    /// Over a socket of the file system.
    Unix(UnixStream),
}

/// Why it can't listen.
#[derive(Debug, PartialEq, Eq)]
pub enum Wrong {
    /// The words are wrong.
    Words(String),
    /// The system says no.
    Failed(String),
}

impl Listener {
    /// Listens as `--listen` says. `any`: on addresses other than loopback too (`--listen-any`).
    ///
    /// # Errors
    /// See [`Wrong`].
    pub fn open(listen: &str, any: bool) -> Result<Self, Wrong> {
        match listen.strip_prefix("unix:") {
            Some("") => Err(Wrong::Words("--listen unix: write a path after it".into())),
            Some(path) => Self::unix(Path::new(path)),
            None => Self::tcp(listen, any),
        }
    }

    fn tcp(listen: &str, any: bool) -> Result<Self, Wrong> {
        let failed = |error: io::Error| Wrong::Failed(format!("--listen {listen}: {error}"));
        let addresses: Vec<SocketAddr> = match listen.to_socket_addrs() {
            Ok(addresses) => addresses.collect(),
            Err(error) if error.kind() == io::ErrorKind::InvalidInput => {
                return Err(Wrong::Words(
                    "--listen: write unix:PATH or ADDRESS:PORT, as 127.0.0.1:5432".into(),
                ));
            }
            Err(error) => return Err(failed(error)),
        };
        let elsewhere = addresses.iter().find(|it| !it.ip().is_loopback());
        if let Some(address) = elsewhere.filter(|_| !any) {
            return Err(Wrong::Words(format!(
                "--listen {listen}: {} is not loopback, and whoever reaches it would use the port as this job; write --listen unix:PATH or 127.0.0.1:PORT, or --listen-any if that is meant",
                address.ip()
            )));
        }
        TcpListener::bind(addresses.as_slice())
            .map(Self::Tcp)
            .map_err(failed)
    }

    fn unix(path: &Path) -> Result<Self, Wrong> {
        let failed =
            |error: io::Error| Wrong::Failed(format!("--listen unix:{}: {error}", path.display()));
        clear(path)?;
        // Bound where nobody else can reach it, given its mode, then linked to its name: link(2) fails
        // where something else has come to be there meanwhile.
        let mut hidden = path.as_os_str().to_owned();
        hidden.push(format!(".{}", std::process::id()));
        let hidden = PathBuf::from(hidden);
        fs::DirBuilder::new()
            .mode(0o700)
            .create(&hidden)
            .map_err(failed)?;
        let socket = hidden.join("s");
        let made = UnixListener::bind(&socket).and_then(|listener| {
            fs::set_permissions(&socket, fs::Permissions::from_mode(0o600))?;
            fs::hard_link(&socket, path)?;
            Ok(listener)
        });
        let _ = fs::remove_file(&socket);
        let _ = fs::remove_dir(&hidden);
        made.map(|listener| Self::Unix(listener, path.to_owned()))
            .map_err(failed)
    }

    /// What a command beside it is told (environment), and what a person is.
    pub fn shown(&self) -> (Option<(&'static str, String)>, String) {
        match self {
            Self::Tcp(listener) => match listener.local_addr() {
                Ok(address) => (
                    Some(("GATECTL_PORT", address.port().to_string())),
                    address.to_string(),
                ),
                Err(_) => (None, "a port".into()),
            },
            Self::Unix(_, path) => (
                Some(("GATECTL_SOCKET", path.display().to_string())),
                format!("unix:{}", path.display()),
            ),
        }
    }

    /// The next connection.
    pub fn accept(&self) -> io::Result<Local> {
        match self {
            Self::Tcp(listener) => listener.accept().map(|(socket, _)| {
                let _ = socket.set_nodelay(true);
                Local::Tcp(socket)
            }),
            Self::Unix(listener, _) => listener.accept().map(|(socket, _)| Local::Unix(socket)),
        }
    }

    /// The path to remove at the end.
    pub fn path(&self) -> Option<PathBuf> {
        match self {
            Self::Tcp(_) => None,
            Self::Unix(_, path) => Some(path.clone()),
        }
    }
}

/// Takes away a socket that nobody listens on any more. Anything else that is there stays.
fn clear(path: &Path) -> Result<(), Wrong> {
    let there = |why: &str| {
        Err(Wrong::Failed(format!(
            "--listen unix:{}: {why}",
            path.display()
        )))
    };
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => there(&error.to_string()),
        Ok(found) if !found.file_type().is_socket() => {
            there("something else than a socket is there")
        }
        Ok(_) => match UnixStream::connect(path) {
            Ok(_) => there("another process listens there"),
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
                fs::remove_file(path).or_else(|error| there(&error.to_string()))
            }
            Err(error) => there(&error.to_string()),
        },
    }
}

impl Local {
    /// Another handle of the same connection.
    pub fn try_clone(&self) -> io::Result<Self> {
        match self {
            Self::Tcp(socket) => socket.try_clone().map(Self::Tcp),
            Self::Unix(socket) => socket.try_clone().map(Self::Unix),
        }
    }

    /// The peer reads an end.
    pub fn finish(&self) {
        let _ = match self {
            Self::Tcp(socket) => socket.shutdown(Shutdown::Write),
            Self::Unix(socket) => socket.shutdown(Shutdown::Write),
        };
    }
}

impl Read for Local {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(socket) => socket.read(into),
            Self::Unix(socket) => socket.read(into),
        }
    }
}

impl Write for Local {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(socket) => socket.write(bytes),
            Self::Unix(socket) => socket.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
