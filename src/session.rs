//! Sessions of people who have signed in: the cookie, the record that it opens, and how long it lasts.

pub mod cookie; // the secret that a browser holds
pub mod live; //   the sessions of one process
pub mod mark; //   sessions that have ended
pub mod record; // what the store holds of a session, sealed by that secret
