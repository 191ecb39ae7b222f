//! Ways to an identity. Each knows one form of credential and says who it speaks for; the walk in
//! `gate` asks the first that knows the form. A new way is a file here and a line in the list of
//! `gate::Process`.

pub mod jwt; // signed tokens: RFC 7519

use crate::config::Accept;
use crate::identity::Identity;
use crate::verdict::Refusal;

/// One way to an identity.
pub trait Way: Send + Sync {
    /// Whether the credential has the form that this way reads. Says nothing about its worth.
    fn reads(&self, credential: &[u8]) -> bool;

    /// Who the credential speaks for. May wait, within the bounds that the way documents.
    ///
    /// # Errors
    /// The refusal of the check that failed first.
    fn identify(&self, asked: &Asked<'_>, credential: &[u8]) -> Result<Identity, Refusal>;
}

/// Where the credential was shown, and when.
#[derive(Clone, Copy, Debug)]
pub struct Asked<'c> {
    /// The server's number in the configuration.
    pub server: usize,
    /// GateAccept; `None`: every issuer of the server.
    pub accept: Option<&'c Accept>,
    /// Seconds since the epoch.
    pub now: u64,
}

impl Asked<'_> {
    /// Whether the issuer of that name is accepted.
    #[must_use]
    pub fn accepts(&self, name: &str) -> bool {
        self.accept
            .is_none_or(|it| it.issuers.iter().any(|known| known == name))
    }
}
