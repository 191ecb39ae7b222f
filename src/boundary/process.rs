//! gate_child_…: what a child has after the fork, and the log lines of its threads.

use super::cast::Castable;
use super::configuration::Handle;
use super::ffi;
use super::host::{ERROR, NOTICE, WARNING, say};
use super::panic::install_hook;
use crate::account;
use crate::audit::line::Frame;
use crate::audit::{Recorder, Writer};
use crate::config::Config;
use crate::gate::Process;
use crate::jwks::Report;
use crate::sys::end::Living;
use crate::sys::shared;
use crate::upstream::credential::{self, News, Unfit};
use std::path::Path;
use std::sync::Arc;

/// The keys' news, in the error log and the audit log.
struct KeyLog {
    frame: Arc<Frame>,
    audit: Option<Arc<Writer>>,
}

impl Report for KeyLog {
    fn keys_changed(&self, issuer: &str, added: &[String], removed: &[String]) {
        say(
            NOTICE,
            &format!(
                "GATE310: issuer {issuer}: keys added: [{}], removed: [{}]",
                added.join(" "),
                removed.join(" ")
            ),
        );
        if let Some(audit) = &self.audit {
            audit.push(&self.frame.keys_changed(issuer, added, removed));
        }
    }

    fn fetch_failed(&self, issuer: &str, detail: &str, next_try_seconds: u64) {
        say(
            WARNING,
            &format!(
                "GATE311: issuer {issuer}: its keys could not be fetched: {detail}; next try in {next_try_seconds} s"
            ),
        );
    }

    fn fetch_recovered(&self, issuer: &str) {
        say(
            NOTICE,
            &format!("GATE312: issuer {issuer}: its keys can be fetched again"),
        );
    }

    fn no_key_fits(&self, issuer: &str) {
        say(
            WARNING,
            &format!(
                "GATE315: issuer {issuer}: its key set holds no key that fits: no token of this issuer is accepted"
            ),
        );
    }

    fn key_passed_over(&self, issuer: &str, kid: &str, why: &str) {
        say(
            WARNING,
            &format!("GATE313: issuer {issuer}: key {kid} is passed over: {why}"),
        );
    }

    fn fetched(&self, issuer: &str, ok: bool) {
        if let Some(board) = shared::board() {
            board.fetched(issuer, ok);
        }
    }

    fn store_failed(&self, detail: &str) {
        say(WARNING, &format!("GATE314: the state directory: {detail}"));
    }
}

/// The credentials' news.
impl News for KeyLog {
    fn credential_changed(&self, file: &Path) {
        say(
            NOTICE,
            &format!(
                "GATE802: GateUpstreamToken {}: another credential is in force",
                file.display()
            ),
        );
    }

    fn credential_unfit(&self, file: &Path, why: &Unfit, kept: bool) {
        let then = if kept {
            "the one read before stays in force"
        } else {
            "requests with an identity are refused there; httpd's run user must be able to read it"
        };
        say(
            ERROR,
            &format!(
                "GATE801: GateUpstreamToken {}: {why}: {then}",
                file.display()
            ),
        );
    }

    fn credential_old(&self, file: &Path, days: u64) {
        say(
            WARNING,
            &format!(
                "GATE803: GateUpstreamToken {}: it was written {days} days ago: change it",
                file.display()
            ),
        );
    }
}

/// GateAccountAPI's news.
impl account::News for KeyLog {
    fn accounts_unknown(&self, url: &str, why: &str) {
        say(
            WARNING,
            &format!(
                "GATE804: GateAccountAPI {url}: {why}: what GitLab answered before serves for stale=, then requests are refused (account_unknown)"
            ),
        );
    }

    fn accounts_known_again(&self, url: &str) {
        say(
            NOTICE,
            &format!("GATE805: GateAccountAPI {url}: GitLab answers again"),
        );
    }
}

/// GateAccountAPI's files, as httpd's run user sees them: they are read for each question.
fn look_at_account_tokens(config: &Config) {
    for api in config
        .servers
        .iter()
        .filter_map(|it| it.account_api.as_ref())
    {
        if let Err(why) = credential::read(&api.token_file) {
            say(
                ERROR,
                &format!(
                    "GATE806: GateAccountAPI token-file={}: {why}: no account can be asked about; httpd's run user must be able to read it",
                    api.token_file.display()
                ),
            );
        }
    }
}

/// GateJobAPI's files, as httpd's run user sees them: they are read anew for each question.
fn look_at_job_tokens(config: &Config) {
    let issuers = config.servers.iter().flat_map(|it| &it.issuers);
    for file in issuers.filter_map(|it| it.job_api.as_ref()?.token_file.as_ref()) {
        if let Err(why) = credential::read(file) {
            say(
                ERROR,
                &format!(
                    "GATE704: GateJobAPI token-file={}: {why}: no job can be asked about; httpd's run user must be able to read it",
                    file.display()
                ),
            );
        }
    }
}

entry! {
    fn gate_child_start(config: *const ffi::gate_config) -> *mut ffi::gate_process {
        install_hook();
        // SAFETY: gate.h: a live configuration.
        let config = unsafe { Handle::borrow(config) };
        config
            .and_then(|it| {
                look_at_job_tokens(&it.builder.config);
                look_at_account_tokens(&it.builder.config);
                let frame = Arc::new(Frame::new());
                let audit = it.audit.as_ref().map(|(log, failing)| {
                    let report = Box::new(super::audit::AuditLog);
                    Arc::new(Writer::start(
                        Arc::clone(log),
                        Arc::clone(&frame),
                        report,
                        *failing,
                    ))
                });
                Process::start(
                    &it.builder.config,
                    &it.state_path,
                    Arc::new(KeyLog {
                        frame: Arc::clone(&frame),
                        audit: audit.clone(),
                    }),
                    Recorder::new(frame, audit, it.builder.config.audit.required),
                )
            })
            .and_then(|process| {
                let living = Living::new(process, Process::runs, Process::stop);
                if living.is_none() {
                    say(
                        ERROR,
                        "GATE502: a thread of the gate can not be started: look at the limits of processes (ulimit -u, TasksMax, pids.max)",
                    );
                }
                living
            })
            .map_or(std::ptr::null_mut(), |living| Box::into_raw(living).cast())
    } else std::ptr::null_mut()
}

entry! {
    fn gate_child_stop(process: *mut ffi::gate_process) -> i32 {
        if process.is_null() {
            return 1;
        }
        // SAFETY: made by gate_child_start, and stopped once, when no request runs.
        i32::from(unsafe { Living::<Process>::end(process.cast()) })
    } else 1
}

entry! {
    fn gate_child_stopping(process: *mut ffi::gate_process) {
        // SAFETY: gate.h: a live process, or NULL.
        if let Some(process) = unsafe { Process::borrow(process) } {
            process.release();
        }
    } else ()
}
