//! The way to a port's target: the name is resolved once, and one of those addresses connected to.

use crate::config::Endpoint;
use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::time::{Duration, Instant};

/// For all addresses of a name together.
const TIMEOUT: Duration = Duration::from_secs(8);
/// For one of several.
const EACH: Duration = Duration::from_secs(4);

/// Connects; the socket does not block.
///
/// # Errors
/// What went wrong last, for the log.
pub fn dial(target: &Endpoint) -> Result<(TcpStream, SocketAddr), String> {
    let deadline = Instant::now() + TIMEOUT;
    let addresses = (target.host.as_str(), target.port)
        .to_socket_addrs()
        .map_err(|error| format!("{}: {error}", target.host))?;
    let mut last = format!("{}: no address", target.host);
    for address in addresses {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            break;
        }
        match connect(&address, left.min(EACH)) {
            Ok(stream) => return Ok((stream, address)),
            Err(error) => last = format!("{address}: {error}"),
        }
    }
    Err(last)
}

fn connect(address: &SocketAddr, timeout: Duration) -> std::io::Result<TcpStream> {
    let stream = TcpStream::connect_timeout(address, timeout)?;
    stream.set_nodelay(true)?;
    stream.set_nonblocking(true)?;
    Ok(stream)
}
