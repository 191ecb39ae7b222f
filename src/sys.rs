//! The operating system, where std has no safe name for what is needed. With `boundary` the only unsafe room; it
//! knows neither httpd nor C types of the contract.
#![allow(unsafe_code)]

pub mod end; //     the end of a child, from within a signal handler
pub mod file; //    descriptors that children inherit, locks on files
pub mod lock; //    locks between processes
pub mod pairs; //   names and values that C may borrow
pub mod shared; //  memory that all children share
pub mod signals; // for gatectl
