//! TLS failures in words: what is wrong with the server or its certificate, and what to do about it. The module
//! and gatectl log the same words. They are made from rustls' variants, never from its text.

use crate::shown::quoted;
use rustls::{AlertDescription, CertificateError, PeerIncompatible};
use std::io;

/// The failure of a connection: rustls' words where it comes from rustls, else the system's. `ca_file`: the
/// directive or option that names a CA.
#[must_use]
pub fn io_words(error: &io::Error, ca_file: &str) -> String {
    match error.get_ref().and_then(|it| it.downcast_ref()) {
        Some(error) => words(error, ca_file),
        None => error.to_string(),
    }
}

/// A TLS failure in words.
#[must_use]
pub fn words(error: &rustls::Error, ca_file: &str) -> String {
    use rustls::Error::{
        AlertReceived, InvalidCertificate, InvalidMessage, NoCertificatesPresented,
        PeerIncompatible,
    };
    match error {
        InvalidCertificate(wrong) => format!("the server's certificate {}", certificate(wrong, ca_file)),
        InvalidMessage(_) => "the server does not speak TLS on this port (plain HTTP?): check the port; the server must serve https there".to_owned(),
        AlertReceived(alert) => alerted(*alert),
        PeerIncompatible(why) => incompatible(why),
        NoCertificatesPresented => "the server sends no certificate: give it one".to_owned(),
        other => format!("TLS: {other}"),
    }
}

const OLD_VERSION: &str = "the server speaks neither TLS 1.2 nor TLS 1.3: enable one of them there (TLS 1.1 and older are not used)";
const NO_CIPHER: &str = "both sides have no cipher, group or signature algorithm in common: enable TLS 1.3, or TLS 1.2 with ECDHE and AES-GCM or CHACHA20-POLY1305, there; and a certificate with an RSA key from 2048 bits or a P-256 or P-384 key";

fn alerted(alert: AlertDescription) -> String {
    match alert {
        AlertDescription::ProtocolVersion => OLD_VERSION.to_owned(),
        AlertDescription::HandshakeFailure | AlertDescription::InsufficientSecurity => {
            NO_CIPHER.to_owned()
        }
        AlertDescription::UnrecognisedName => {
            "the server has no site of that name (SNI): check the host name in the URL".to_owned()
        }
        AlertDescription::CertificateRequired | AlertDescription::BadCertificate => {
            "the server wants a client certificate: none is sent".to_owned()
        }
        other => {
            format!("the server ended the TLS handshake with the alert {other:?}: its log says why")
        }
    }
}

fn incompatible(why: &PeerIncompatible) -> String {
    match why {
        PeerIncompatible::ServerDoesNotSupportTls12Or13
        | PeerIncompatible::ServerTlsVersionIsDisabledByOurConfig => OLD_VERSION.to_owned(),
        _ => NO_CIPHER.to_owned(),
    }
}

/// What is wrong with the certificate, after "the server's certificate".
fn certificate(wrong: &CertificateError, ca_file: &str) -> String {
    use CertificateError as Wrong;
    match wrong {
        Wrong::Expired => "has expired: renew it, or set this machine's clock".to_owned(),
        Wrong::ExpiredContext { time, not_after } => format!(
            "has expired {} ago: renew it, or set this machine's clock",
            span(time.as_secs().saturating_sub(not_after.as_secs()))
        ),
        Wrong::NotValidYet => "is not valid yet: compare the clocks of both machines".to_owned(),
        Wrong::NotValidYetContext { time, not_before } => format!(
            "is valid only in {}: compare the clocks of both machines",
            span(not_before.as_secs().saturating_sub(time.as_secs()))
        ),
        Wrong::NotValidForName => "is for another host name: write the URL with a name of its subjectAltName, or get a certificate for this name".to_owned(),
        Wrong::NotValidForNameContext { expected, presented } => {
            let expected = expected.to_str();
            if presented.is_empty() {
                format!("has no subjectAltName (CN is not looked at): get one with the name {expected} in subjectAltName")
            } else {
                let names: Vec<_> = presented.iter().take(5).map(|it| name(it)).collect();
                format!(
                    "is for {}, not for {expected}: write the URL with a name that it holds, or get a certificate for {expected}",
                    names.join(", ")
                )
            }
        }
        Wrong::UnknownIssuer => format!(
            "is signed by no CA that is trusted here. Either name its CA with {ca_file}; or the server does not send its intermediate certificate: configure the whole chain there (openssl s_client -showcerts -connect HOST:PORT shows what it sends)"
        ),
        Wrong::InvalidPurpose | Wrong::InvalidPurposeContext { .. } => {
            "is not for servers (extendedKeyUsage lacks serverAuth): get one for a server".to_owned()
        }
        Wrong::BadSignature => format!(
            "has a signature that does not fit its CA's key: is the CA of {ca_file} an older one of the same name?"
        ),
        Wrong::UnsupportedSignatureAlgorithmContext { .. }
        | Wrong::UnsupportedSignatureAlgorithmForPublicKeyContext { .. } => {
            "is signed with an algorithm that is not accepted (SHA-1?): get one signed with SHA-256, by an RSA key from 2048 bits or a P-256 or P-384 key".to_owned()
        }
        Wrong::BadEncoding => "is malformed: get a new one".to_owned(),
        Wrong::UnhandledCriticalExtension => "has a critical extension that is not known here: get one without it".to_owned(),
        Wrong::Other(other) => match other.0.downcast_ref() {
            Some(wrong) => chain(wrong),
            None => format!("is refused: {}", other.0),
        },
        other => format!("is refused: {other:?}"),
    }
}

/// What only the reader of certificates tells apart.
fn chain(wrong: &webpki::Error) -> String {
    use webpki::Error as Wrong;
    match wrong {
        Wrong::CaUsedAsEndEntity => "is a CA's (basicConstraints CA:TRUE), which no server may show: give the server a certificate of its own, signed by that CA".to_owned(),
        Wrong::EndEntityUsedAsCa => "is signed by one that is no CA's (basicConstraints CA:FALSE): sign it with a CA certificate".to_owned(),
        Wrong::UnsupportedCertVersion => "is of X.509 version 1: make one of version 3, with subjectAltName".to_owned(),
        Wrong::PathLenConstraintViolated => "has more intermediate CAs than pathlen of one of them allows".to_owned(),
        Wrong::NameConstraintViolation => "has a name that its CA may not sign (nameConstraints)".to_owned(),
        other => format!("is refused: {other:?}"),
    }
}

/// `DnsName("x")` is how the names come.
fn name(presented: &str) -> String {
    let inner = presented.split(['(', ')']).nth(1).unwrap_or(presented);
    quoted(inner.trim_matches('"'))
}

fn span(seconds: u64) -> String {
    match seconds {
        0..=119 => format!("{seconds} s"),
        120..=7199 => format!("{} min", seconds / 60),
        7200..=172_799 => format!("{} h", seconds / 3600),
        _ => format!("{} days", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests;
