//! Who may see what the module says about itself (gate-status, gate-explain): people who showed who
//! they are, and clients on loopback. Loopback is the peer of the TCP connection, and no proxy
//! between: behind a TLS terminator on this host everybody would be loopback. mod_remoteip takes a
//! proxy's header out of the request, and the PROXY protocol has none: there the address that httpd
//! has put in place of the peer tells.

use crate::request::{FieldName, Fields, Found};
use crate::verdict::{Reason, Refusal};
use std::net::IpAddr;

/// Headers that a proxy adds.
const PROXIED: [&str; 3] = ["X-Forwarded-For", "Forwarded", "Via"];

/// Where a request comes from.
#[derive(Clone, Copy, Debug)]
pub struct Origin<'r> {
    /// The peer of the TCP connection.
    pub peer: &'r [u8],
    /// The client as httpd knows it: the peer, or whom mod_remoteip has put in its place.
    pub client: &'r [u8],
}

/// Whether the client may see it. `known`: it showed who it is, to the gate or to another module.
///
/// # Errors
/// `loopback_only`.
pub fn admit<'r>(known: bool, origin: Origin<'_>, fields: &impl Fields<'r>) -> Result<(), Refusal> {
    if known {
        return Ok(());
    }
    let refused = |detail: String| Err(Refusal::new(Reason::LoopbackOnly, detail));
    for address in [origin.peer, origin.client] {
        if !is_loopback(address) {
            return refused(format!(
                "nobody has to show who they are here, and {} is not on loopback",
                crate::shown::text(&String::from_utf8_lossy(address))
            ));
        }
    }
    for name in PROXIED {
        let there = FieldName::new(name).is_none_or(|it| fields.find(&it) != Found::None);
        if there {
            return refused(format!(
                "nobody has to show who they are here, and {name} says that a proxy is between"
            ));
        }
    }
    Ok(())
}

fn is_loopback(address: &[u8]) -> bool {
    let address = std::str::from_utf8(address).ok();
    let address = address.and_then(|it| it.parse::<IpAddr>().ok());
    address.is_some_and(|it| it.to_canonical().is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn from(peer: &str) -> Origin<'_> {
        let peer = peer.as_bytes();
        Origin { peer, client: peer }
    }

    #[test]
    fn who_is_known_or_on_loopback_may_see_it() {
        let none: &[(&str, &str)] = &[];
        for (known, peer, wanted) in [
            (false, "127.0.0.1", true),
            (false, "127.9.9.9", true),
            (false, "::1", true),
            (false, "::ffff:127.0.0.1", true),
            (false, "192.0.2.1", false),
            (false, "::ffff:192.0.2.1", false),
            (false, "", false),
            (false, "localhost", false),
            (true, "192.0.2.1", true),
        ] {
            let got = admit(known, from(peer), &none).is_ok();
            assert_eq!(got, wanted, "{known} {peer}");
        }
    }

    #[test]
    fn behind_a_proxy_nobody_is_on_loopback() {
        for name in ["X-Forwarded-For", "forwarded", "VIA"] {
            let fields: &[(&str, &str)] = &[(name, "127.0.0.1")];
            let refusal = admit(false, from("127.0.0.1"), &fields).err();
            assert_eq!(
                refusal.map(|it| it.reason),
                Some(Reason::LoopbackOnly),
                "{name}"
            );
            assert!(admit(true, from("127.0.0.1"), &fields).is_ok());
        }
    }

    #[test]
    fn nor_is_a_client_that_httpd_has_put_in_place_of_the_peer() {
        let none: &[(&str, &str)] = &[];
        for client in ["192.0.2.1", "::ffff:192.0.2.1", ""] {
            let origin = Origin {
                peer: b"127.0.0.1",
                client: client.as_bytes(),
            };
            assert!(admit(false, origin, &none).is_err(), "{client}");
            assert!(admit(true, origin, &none).is_ok(), "{client}");
        }
    }
}
