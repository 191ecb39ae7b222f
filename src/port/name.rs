//! `NAME:PORT`, as a section is named and as a CONNECT asks: compared without case, the port
//! exactly. Resolves nothing.

use crate::config::Endpoint;
use std::net::Ipv6Addr;

/// Reads it; `None` where it is none.
#[must_use]
pub fn parse(text: &str) -> Option<Endpoint> {
    let (host, port) = text.rsplit_once(':')?;
    let port = port
        .parse::<u16>()
        .ok()
        .filter(|it| *it > 0 && it.to_string() == port)?;
    let host = match host.strip_prefix('[').and_then(|it| it.strip_suffix(']')) {
        Some(address) => address.parse::<Ipv6Addr>().ok()?.to_string(),
        None => {
            let fit = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_');
            if host.is_empty() || host.len() > 255 || !host.bytes().all(fit) {
                return None;
            }
            host.to_ascii_lowercase()
        }
    };
    Some(Endpoint { host, port })
}

/// The one way to write it.
#[must_use]
pub fn written(endpoint: &Endpoint) -> String {
    if endpoint.host.contains(':') {
        format!("[{}]:{}", endpoint.host, endpoint.port)
    } else {
        format!("{}:{}", endpoint.host, endpoint.port)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_compared_without_case_and_ports_exactly() {
        let read = |text| parse(text).map(|it| written(&it));
        assert_eq!(read("Orders-DB:5432").as_deref(), Some("orders-db:5432"));
        assert_eq!(read("[::0001]:22").as_deref(), Some("[::1]:22"));
        for wrong in [
            "db", "db:", "db:0", "db:05432", "db:+1", "db:65536", ":1", "::1:22", "[db]:1",
            "d b:1", "u@db:1", "db:1/",
        ] {
            assert_eq!(read(wrong), None, "{wrong}");
        }
    }
}
