//! A token as it came: where it may come from, and its compact form.
//!
//! Nothing here is verified: what this room hands on is what somebody claims. `verify` makes
//! more of it.

pub mod compact; // the three parts of a JWS, strictly read
pub mod query; //   parameters of the target, and the target without them
pub mod source; //  headers, cookies and parameters that may hold one
pub mod take;
pub mod unread; //    what goes out of the request
