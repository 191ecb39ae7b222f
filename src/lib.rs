//! mod_gitlab_gate's Rust half: the rooms in the order a request meets them.
//!
//! Only `boundary` knows that httpd exists; every other room is plain Rust and is tested without it.

pub mod account; //    8 whether the person's account in GitLab is active (GateAccountAPI)
pub mod algorithm; //  the names of the signature algorithms
pub mod answer; //     what a refusal says to the client
pub mod audit; //     10 one line per decision, written behind the requests' back
mod boundary; //      the contract with the C shim: entry points, views, the panic boundary
pub mod cache; //      4 tokens verified before
pub mod clock; //      now(), so that tests can move time
pub mod config; //     typed settings, checked as a whole before httpd starts
pub mod directive; //  the table of directives: name, scope, default, one line of help
pub mod explain; //    what would become of a request, check by check
pub mod field; //      header names as an upstream folds them, values that may stand in one
pub mod file; //       what an administrator's file holds, read with a bound
pub mod gate; //       the walk of one request through the rooms below
pub mod grant; //      what is made once per token: an identity and how others see it
pub mod headers; //    7 what a grant sets on the way to the upstream
pub mod http; //       one bounded request to a configured URL: keys, jobs, accounts
pub mod identity; //   5 issuer kinds; claims become a person, a project, a job, roles
pub mod json; //       strict JSON: no duplicate members, bounded depth
pub mod judge; //      what follows from what httpd found out
pub mod jwks; //       2 keys: parsed, fetched, kept, refreshed
pub mod kind; //       the makes of issuer
pub mod life; //       how long an identity holds: key, session, moment
pub mod pages; //      the pages that a person sees
pub mod policy; //     6 conditions, claim paths, Require providers
pub mod port; //       9 open tunnels, their deadlines, job liveness
pub mod proof; //      what binds a token to a client, asked on each request
pub mod protected; //  7 what is stripped from every request
pub mod request; //    what the gate sees of a request
pub mod seal; //       what only gates with the same GateSessionKey can read or make
pub mod session; //    sessions of people: cookie, record, marks
pub mod shown; //      what came from outside, as a log line may show it
pub mod signin; //     people sign in: attempts, issuer's endpoints, pages to go on to
pub mod state_dir; //  GateStateDir at start: made, and given to the run user
pub mod status; //     how the gate is: counters of all children, a page, metrics
pub mod store; //      what several processes and gates share about people
pub mod sys; //        the operating system: shared memory, locks, descriptors, signals
pub mod token; //      1 where a token may come from, and its compact form
pub mod upstream; //   8 the upstream's credential, Sudo, assertions, GitLab's login
pub mod verdict; //    reasons and statuses
pub mod verify; //     3 signature and claims; the only maker of VerifiedClaims
pub mod way; //        ways to an identity, one file each

#[cfg(test)]
pub(crate) mod testing;
