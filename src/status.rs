//! How the gate is: counters of all children together, and what they are shown as.
//!
//! - [`board`]: the counters, in memory that the children share; no lock anywhere.
//! - [`view`]: the figures of one moment.
//! - [`visitor`]: who may see them without an identity.
//! - [`page`]: for people; [`metrics`]: for Prometheus; JSON is [`view`]'s own.

pub mod board;
pub mod metrics;
pub mod page;
pub mod view;
pub mod visitor;

pub use board::{Board, Outcome};
pub use view::View;
