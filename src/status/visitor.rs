//! Who may see what the module says about itself (gate-status, gate-explain): people who showed who
//! they are, and clients on loopback. Loopback is the peer of the TCP connection, and no proxy
//! between: behind a TLS terminator on this host everybody would be loopback.

use crate::request::{FieldName, Fields, Found};
use crate::verdict::{Reason, Refusal};
use std::net::IpAddr;

/// Headers that a proxy adds.
const PROXIED: [&str; 3] = ["X-Forwarded-For", "Forwarded", "Via"];

/// Whether the client may see it. `known`: it showed who it is, to the gate or to another module;
/// `peer`: the address of the TCP connection.
///
/// # Errors
/// `loopback_only`.
pub fn admit<'r>(known: bool, peer: &[u8], fields: &impl Fields<'r>) -> Result<(), Refusal> {
    if known {
        return Ok(());
    }
    let refused = |detail: String| Err(Refusal::new(Reason::LoopbackOnly, detail));
    let address = std::str::from_utf8(peer).ok();
    let address = address.and_then(|it| it.parse::<IpAddr>().ok());
    if !address.is_some_and(|it| it.to_canonical().is_loopback()) {
        return refused(format!(
            "nobody has to show who they are here, and {} is not on loopback",
            crate::shown::text(&String::from_utf8_lossy(peer))
        ));
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

#[cfg(test)]
mod tests {
    use super::*;

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
            let got = admit(known, peer.as_bytes(), &none).is_ok();
            assert_eq!(got, wanted, "{known} {peer}");
        }
    }

    #[test]
    fn behind_a_proxy_nobody_is_on_loopback() {
        for name in ["X-Forwarded-For", "forwarded", "VIA"] {
            let fields: &[(&str, &str)] = &[(name, "127.0.0.1")];
            let refusal = admit(false, b"127.0.0.1", &fields).err();
            assert_eq!(
                refusal.map(|it| it.reason),
                Some(Reason::LoopbackOnly),
                "{name}"
            );
            assert!(admit(true, b"127.0.0.1", &fields).is_ok());
        }
    }
}
