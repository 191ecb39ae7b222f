//! What the administrator asks of a verified identity: conditions on claims.
//!
//! Rules are text from the configuration, parsed once; they only ever see verified claims. How a
//! refusal is answered is not decided here.

pub mod condition; // PATH=VALUE and its three sisters, and the fork rule
pub mod path; //      where in the claims a value stands
