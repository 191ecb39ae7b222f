//! What the gate adds on the way to the upstream beside the identity's headers, and what clients
//! may not send there. Who the identity is, is settled before; nothing here grants anything.

pub mod assertion; //  a signed statement of the identity, made once per token and period
pub mod body; //       a body may not say whom GitLab acts for
pub mod credential; // the upstream's own credential, read from a file that may change
pub mod cross_site; // whether another site made a browser send it
pub mod login; //      GitLab's OmniAuth login by such a statement
mod multipart; //      the same, for bodies of several parts
pub mod paths; //      where the credential may go
pub mod signer; //     the gate's signing keys
pub mod spoof; //      what a client may not send where the gate's credential goes in
pub mod way; //        what mod_proxy will send, and dot segments in it

use crate::account::{self, Accounts};
use crate::clock;
use crate::config::{AssertionSetting, Config, Sudo, UpstreamToken};
use crate::field::folds_to;
use crate::grant::Grant;
use crate::identity::Identity;
use crate::kind::Kind;
use crate::shown;
use crate::sys::shared;
use crate::verdict::{Reason, Refusal};
use assertion::Gate;
use credential::{Credentials, News, Secret};
use login::Logins;
use signer::Signer;
use std::path::Path;
use std::sync::Arc;

/// What one child has of this, made after the fork.
pub struct Upstream {
    credentials: Credentials,
    signers: Vec<Arc<Signer>>,
    logins: Option<Logins>,
    protects: bool,
    accounts: Accounts,
}

impl Upstream {
    /// Reads the credentials and watches their files. Called after the fork.
    #[must_use]
    pub fn start<N: News + account::News + 'static>(
        config: &Config,
        state_dir: &Path,
        news: Arc<N>,
    ) -> Self {
        let for_accounts = Arc::clone(&news) as Arc<dyn account::News>;
        Self {
            accounts: Accounts::start(config, state_dir, shared::room(), &for_accounts),
            credentials: Credentials::start(&config.credentials, state_dir, news),
            signers: config.signers.clone(),
            protects: config.protects,
            logins: config
                .login
                .then(|| Logins::new(&config.signers, state_dir)),
        }
    }

    /// Whether the files are watched.
    #[must_use]
    pub fn runs(&self) -> bool {
        self.credentials.runs() && self.accounts.runs()
    }

    /// The server stops at once: nobody waits for GitLab any more.
    pub fn release(&self) {
        self.accounts.release();
    }

    /// Stops the watching.
    pub fn stop(self) {
        self.accounts.stop();
        self.credentials.stop();
    }

    /// Whether the gate protects anything here.
    #[must_use]
    pub const fn protects(&self) -> bool {
        self.protects
    }

    /// The gate's signing keys; the first signs.
    #[must_use]
    pub fn signers(&self) -> &[Arc<Signer>] {
        &self.signers
    }

    /// What sees to GitLab's logins; `None`: this gate makes none.
    #[must_use]
    pub const fn logins(&self) -> Option<&Logins> {
        self.logins.as_ref()
    }

    /// An assertion of the identity.
    ///
    /// # Errors
    /// The token has ended; or no key can sign it: never so once httpd has started.
    pub fn assertion(
        &self,
        grant: &Grant,
        setting: &AssertionSetting,
        gate: &Gate<'_>,
    ) -> Result<Arc<str>, Refusal> {
        let failed = || Refusal::new(Reason::Internal, "the assertion could not be signed");
        let signer = self.signers.first().ok_or_else(failed)?;
        let now = clock::now();
        in_time(grant.identity(), now)?;
        grant
            .assertions()
            .get(grant.identity(), setting, gate, signer, now)
            .map_err(|_| failed())
    }

    /// For the status: each file, its age and what was wrong with it last.
    #[must_use]
    pub fn credentials(&self) -> Vec<credential::Status> {
        self.credentials.status()
    }

    /// Whether the section's credential may go to this path.
    ///
    /// # Errors
    /// No row of the table says what GitLab does with it there.
    pub fn carries(
        &self,
        token: &UpstreamToken,
        sudo: Sudo,
        asked: Option<&paths::Asked<'_>>,
    ) -> Result<(), Refusal> {
        if token.any_path {
            return Ok(());
        }
        let Some(secret) = self.credential(token)? else {
            return Ok(());
        };
        let basic = folds_to("Authorization", token.header.as_bytes()) && secret.is_basic();
        let carry = match (sudo.people || sudo.jobs, basic) {
            (true, false) => Ok(paths::Carry::Sudo),
            (false, true) => Ok(paths::Carry::Basic),
            (true, true) => Ok(paths::Carry::SudoBasic),
            (false, false) => Err(
                "without GateSudo everybody would be the credential's account: write GateSudo on, or header=Authorization and a line \"Basic ...\" for git",
            ),
        };
        let asked = asked.ok_or("only ProxyPass and RewriteRule lead there");
        let allowed = carry.and_then(|carry| paths::allows(asked?, carry));
        allowed.map_err(|why| {
            let path = asked.map(|it| String::from_utf8_lossy(it.sent.path));
            let path = shown::text(path.as_deref().unwrap_or("a place unknown"));
            Refusal::new(
                Reason::CredentialPath,
                format!("GateUpstreamToken's credential does not go to {path}: {why}"),
            )
        })
    }

    /// For the status: how each GateAccountAPI is.
    #[must_use]
    pub fn accounts(&self) -> Vec<account::Status> {
        self.accounts.status()
    }

    /// The name that goes into `Sudo`, where GitLab may be asked to act for the person.
    ///
    /// # Errors
    /// As [`sudo_name`]'s, and where GateAccountAPI finds no active account.
    pub fn sudo<'i>(&self, server: usize, identity: &'i Identity) -> Result<&'i str, Refusal> {
        let name = sudo_name(identity)?;
        self.accounts.admit(server, name, identity)?;
        Ok(name)
    }

    /// The credential of a section.
    ///
    /// # Errors
    /// It could never be read: a request that needs it can't go on.
    pub fn credential(&self, token: &UpstreamToken) -> Result<Option<Arc<Secret>>, Refusal> {
        let Some(file) = token.file else {
            return Ok(None);
        };
        self.credentials.get(file).map(Some).ok_or_else(|| {
            Refusal::new(
                Reason::CredentialUnavailable,
                "GateUpstreamToken's file could never be read",
            )
        })
    }
}

/// Whether GitLab is asked to act for this identity.
///
/// # Errors
/// GateSudo is on, but not for its kind: then it gets no credential either, which would be another's.
pub fn acts_for(identity: &Identity, sudo: Sudo) -> Result<bool, Refusal> {
    let refuse = |why| Err(Refusal::new(Reason::CredentialPath, why));
    match (sudo.people || sudo.jobs, identity.kind() == Kind::Gitlab) {
        (false, _) => Ok(false),
        (true, true) if !sudo.jobs => refuse(
            "a CI job acts as the person who started its pipeline only with GateSudo people jobs",
        ),
        (true, false) if !sudo.people => refuse("GateSudo jobs is for CI jobs alone"),
        (true, _) => Ok(true),
    }
}

/// Within GateClockSkew the token still holds, but no statement of the gate's may outlive exp.
fn in_time(identity: &Identity, now: u64) -> Result<(), Refusal> {
    if now >= identity.expires() {
        return Err(Refusal::new(
            Reason::Expired,
            "exp has passed: what the gate would sign would be over before it began",
        ));
    }
    Ok(())
}

/// The name under which GitLab is asked to act for the person (`Sudo`).
///
/// # Errors
/// GitLab reads digits alone as the number of an account, so that a person called `1` would be its
/// first administrator; white space is trimmed on the way; and its names are ASCII, to which others are folded
/// (`K`, the Kelvin sign, is a `k` in small letters).
pub fn sudo_name(identity: &Identity) -> Result<&str, Refusal> {
    let user = identity.user();
    let numeric = user.bytes().all(|b| b.is_ascii_digit());
    let odd = |b: u8| !b.is_ascii_graphic() || b == b',';
    if numeric || user.bytes().any(odd) {
        return Err(Refusal::new(
            Reason::SudoUser,
            format!(
                "GateSudo: {} can't be sent to GitLab as a user's name",
                crate::shown::text(user)
            ),
        ));
    }
    Ok(user)
}
