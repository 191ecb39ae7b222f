//! The keys room: an issuer's public keys, from the issuer to the hand of whoever verifies.
//!
//! Read it in this order:
//!
//! - [`key`]: one JWK, judged once and parsed once; it verifies signatures.
//! - [`set`]: a JWKS; which of its keys may have signed a token.
//! - [`discovery`]: what an issuer's discovery document says.
//! - [`fetch`]: one fetch from the issuer, without any memory.
//! - [`room`]: who waits for keys, in all processes of the host.
//! - [`schedule`]: when the next fetch may be, for the whole host.
//! - [`store`]: the state directory, in which the host's processes agree.
//! - [`keys`]: one issuer's keys in this process; what a request asks and, rarely, waits for.
//! - [`update`]: how keys come into it.
//! - [`file`]: how those of a `file:` do.
//! - [`refresh`]: the thread that keeps them fresh.
//!
//! Nothing here knows httpd, tokens or claims. Nothing in it lets a request through because
//! something failed: where keys can not be had, there are none.

mod bell;
pub mod discovery;
pub mod fetch;
pub mod file;
pub mod key;
pub mod keys;
pub mod refresh;
pub mod room;
pub mod schedule;
pub mod set;
pub mod store;
pub mod update;

pub use crate::http::ca_fingerprint;
pub use crate::http::url::{UrlError, check_url, discovery_url, is_here, is_plain};
pub use fetch::{FetchError, fetch};
pub use key::{Key, KeyError, Unfit};
pub use keys::{KeySettings, KeyStatus, Keys};
pub use refresh::{Refresher, Report};
pub use room::{Patience, Room};
pub use set::{KeySet, NoKey, SetError};
pub use store::StateDir;

/// A lock whose last holder may have panicked: what it guards is whole at every step, and a caught
/// panic must not refuse every request after it.
fn lock<T>(mutex: &std::sync::Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex
        .lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner)
}

#[cfg(test)]
pub(crate) mod testing;
