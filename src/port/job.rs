//! Whether a CI job still runs, as GitLab says it: one question ([`Question`]), and a thread that
//! goes on asking while a port of the job is open ([`Watch`]). A question may take as long as its
//! timeout: never asked by who moves a port's bytes.

use crate::http::{self, Cancel, Trust};
use crate::identity::Identity;
use crate::json::{self, Value};
use crate::upstream::credential;
use crate::verdict::{Reason, Refusal};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::Builder;
use std::time::{Duration, Instant};

/// The longest answer that is read.
const MAX_BYTES: usize = 1 << 20;

/// What GitLab says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// The job runs, or is being cancelled.
    Alive,
    /// It does not: its status.
    Ended(String),
    /// The token that the client sent is another job's.
    Mismatch,
    /// Nothing that says either: why, for the log.
    Unknown(String),
}

/// How the gate may ask.
#[derive(Clone, PartialEq, Eq)]
enum Credential {
    /// The gate's own token, read anew each time.
    File(PathBuf),
    /// The job's `CI_JOB_TOKEN`.
    Job(String),
}

/// One question.
#[derive(Clone, PartialEq, Eq)]
pub struct Question {
    url: String,
    job: String,
    credential: Credential,
    ca_file: Option<PathBuf>,
    timeout: Duration,
    every: Duration,
    misses: u32,
}

fn digits(text: &str) -> bool {
    !text.is_empty() && text.len() < 21 && text.bytes().all(|b| b.is_ascii_digit())
}

impl Question {
    /// The question for this identity's job. `token` is what came in `Gate-Job-Token`, if it came
    /// once.
    ///
    /// # Errors
    /// No such question can be asked.
    pub fn new(identity: &Identity, token: Option<&[u8]>) -> Result<Self, Refusal> {
        let issuer = identity.issuer();
        let Some(api) = &issuer.job_api else {
            return Err(Refusal::new(
                Reason::JobUnknown,
                format!("<GateIssuer {}> has no GateJobAPI", issuer.name),
            ));
        };
        let id = |claim: &str| identity.claim(claim).filter(|it| digits(it));
        let Some(job) = id("job_id") else {
            return Err(Refusal::new(
                Reason::JobMismatch,
                "wanted claim job_id, a number; got none",
            ));
        };
        let (url, credential) = match &api.token_file {
            Some(file) => {
                let project = id("job_project_id").or_else(|| id("project_id"));
                let Some(project) = project else {
                    return Err(Refusal::new(
                        Reason::JobMismatch,
                        "wanted claim job_project_id or project_id, a number; got none",
                    ));
                };
                (
                    format!("{}/projects/{project}/jobs/{job}", api.url),
                    Credential::File(file.clone()),
                )
            }
            None => {
                let token = token
                    .and_then(|it| std::str::from_utf8(it).ok())
                    .filter(|it| {
                        !it.is_empty() && it.bytes().all(|b| b.is_ascii_graphic() && b != b',')
                    });
                let Some(token) = token else {
                    return Err(Refusal::new(
                        Reason::JobMismatch,
                        "wanted the job's CI_JOB_TOKEN once in the header Gate-Job-Token: gatectl port \
                         --job-token-env CI_JOB_TOKEN sends it",
                    ));
                };
                (
                    format!("{}/job", api.url),
                    Credential::Job(token.to_owned()),
                )
            }
        };
        Ok(Self {
            url,
            job: job.into_owned(),
            credential,
            ca_file: issuer.ca_file.clone(),
            timeout: Duration::from_secs(issuer.timeout),
            every: Duration::from_secs(api.every),
            misses: api.misses,
        })
    }

    /// Where it is asked.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Asks once.
    #[must_use]
    pub fn ask(&self, cancel: &Cancel) -> Answer {
        match self.get(cancel) {
            Ok((status, body)) => self.judge(status, &body),
            Err(why) => Answer::Unknown(why),
        }
    }

    fn get(&self, cancel: &Cancel) -> Result<(u16, Vec<u8>), String> {
        let (header, token) = match &self.credential {
            Credential::Job(token) => ("JOB-TOKEN", token.clone()),
            Credential::File(file) => {
                let secret = credential::read(file)
                    .map_err(|unfit| format!("{}: {unfit}", file.display()))?;
                ("PRIVATE-TOKEN", secret.reveal().to_owned())
            }
        };
        let request = http::Request {
            url: &self.url,
            headers: &[(header, &token)],
            form: None,
            deadline: Instant::now() + self.timeout,
            max_bytes: MAX_BYTES,
            trust: &Trust::new(self.ca_file.as_deref()),
            directives: http::OF_ISSUER,
        };
        let response = request.send(cancel).map_err(|it| it.to_string())?;
        let body = response.body.map_err(|it| it.to_string())?;
        Ok((response.status, body))
    }

    /// What an answer means. Only a whole answer about this very job says that it has ended, and a
    /// 401 to the job's own token, which GitLab takes only while the job runs.
    fn judge(&self, status: u16, body: &[u8]) -> Answer {
        let own = matches!(self.credential, Credential::Job(_));
        match status {
            200 => {}
            401 if own => return Answer::Ended("401".into()),
            _ => return Answer::Unknown(format!("{} answered {status}", self.url)),
        }
        let garbage = || Answer::Unknown(format!("{} answered no job", self.url));
        let Ok(job) = json::parse(body) else {
            return garbage();
        };
        let Some(state) = job.get("status").and_then(Value::as_str) else {
            return garbage();
        };
        let id = job.get("id").and_then(crate::identity::scalar);
        match id {
            Some(id) if id == self.job => {}
            Some(_) if own => return Answer::Mismatch,
            _ => return garbage(),
        }
        match state {
            "running" | "canceling" => Answer::Alive,
            other => Answer::Ended(other.chars().take(40).collect()),
        }
    }
}

const ALIVE: u8 = 0;
const ENDED: u8 = 1;
const UNKNOWN: u8 = 2;

/// What a watch and its thread share.
struct Shared {
    question: Question,
    state: AtomicU8,
    done: Mutex<bool>,
    wake: Condvar,
    cancel: Cancel,
}

/// Goes on asking until it is dropped.
pub struct Watch {
    shared: Arc<Shared>,
}

/// What a watch has found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found {
    Alive,
    Ended,
    Unknown,
}

impl Watch {
    /// Starts it, for a job that was alive just now; `None` where there is no thread to be had.
    #[must_use]
    pub fn start(question: Question) -> Option<Self> {
        let shared = Arc::new(Shared {
            question,
            state: AtomicU8::new(ALIVE),
            done: Mutex::new(false),
            wake: Condvar::new(),
            cancel: Cancel::default(),
        });
        let thread = Arc::clone(&shared);
        Builder::new()
            .name("gate-job".to_owned())
            .stack_size(1 << 20)
            .spawn(move || {
                let run = std::panic::AssertUnwindSafe(|| thread.run());
                if std::panic::catch_unwind(run).is_err() {
                    thread.state.store(UNKNOWN, Ordering::Release);
                }
            })
            .ok()?;
        Some(Self { shared })
    }

    /// What is known.
    #[must_use]
    pub fn found(&self) -> Found {
        match self.shared.state.load(Ordering::Acquire) {
            ALIVE => Found::Alive,
            ENDED => Found::Ended,
            _ => Found::Unknown,
        }
    }

    /// Whether it asks just this.
    #[must_use]
    pub fn asks(&self, question: &Question) -> bool {
        self.shared.question == *question
    }

    /// Cuts a question in flight short, and asks no more.
    pub fn stop(&self) {
        *self
            .shared
            .done
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = true;
        self.shared.wake.notify_all();
        self.shared.cancel.cancel();
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.stop();
    }
}

impl Shared {
    fn run(&self) {
        let mut misses = 0;
        while !self.pause() {
            match self.question.ask(&self.cancel) {
                Answer::Alive => misses = 0,
                Answer::Ended(_) | Answer::Mismatch => {
                    self.state.store(ENDED, Ordering::Release);
                    return;
                }
                Answer::Unknown(_) => {
                    misses += 1;
                    if misses >= self.question.misses {
                        self.state.store(UNKNOWN, Ordering::Release);
                        return;
                    }
                }
            }
        }
    }

    /// Until the next question; whether there is none.
    fn pause(&self) -> bool {
        let done = self.done.lock().unwrap_or_else(PoisonError::into_inner);
        let (done, _) = self
            .wake
            .wait_timeout_while(done, self.question.every, |done| !*done)
            .unwrap_or_else(PoisonError::into_inner);
        *done
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn question(credential: Credential) -> Question {
        Question {
            url: "http://127.0.0.1/api/v4/job".into(),
            job: "302".into(),
            credential,
            ca_file: None,
            timeout: Duration::from_secs(1),
            every: Duration::from_secs(1),
            misses: 3,
        }
    }

    fn own(status: u16, body: &str) -> Answer {
        question(Credential::File("/".into())).judge(status, body.as_bytes())
    }

    fn job(status: u16, body: &str) -> Answer {
        question(Credential::Job("t".into())).judge(status, body.as_bytes())
    }

    fn says_nothing(answer: &Answer) -> bool {
        matches!(answer, Answer::Unknown(_))
    }

    #[test]
    fn a_token_s_file_that_is_a_pipe_or_none_holds_nobody_up() {
        let dir = crate::jwks::testing::Dir::new();
        let path = dir.path().join("token");
        let ask = || question(Credential::File(path.clone())).ask(&Cancel::default());
        let made = std::process::Command::new("mkfifo").arg(&path).status();
        assert!(made.is_ok_and(|it| it.success()));
        assert!(matches!(ask(), Answer::Unknown(why) if why.contains("no regular file")));
        std::fs::remove_file(&path).unwrap_or_default();
        std::fs::write(&path, "one\ntwo\n").unwrap_or_default();
        assert!(matches!(ask(), Answer::Unknown(why) if why.contains("more than one line")));
    }

    #[test]
    fn running_and_canceling_are_alive_and_every_other_status_has_ended() {
        for state in ["running", "canceling"] {
            let body = format!(r#"{{"id":302,"status":"{state}"}}"#);
            assert_eq!(
                (own(200, &body), job(200, &body)),
                (Answer::Alive, Answer::Alive)
            );
        }
        for state in [
            "success", "failed", "canceled", "skipped", "manual", "pending", "new",
        ] {
            let body = format!(r#"{{"id":302,"status":"{state}"}}"#);
            assert_eq!(own(200, &body), Answer::Ended(state.into()));
        }
    }

    #[test]
    fn a_401_to_the_jobs_own_token_means_the_end_and_to_the_gates_means_nothing() {
        assert_eq!(job(401, ""), Answer::Ended("401".into()));
        assert!(says_nothing(&own(401, "")));
    }

    #[test]
    fn what_says_nothing_is_not_the_end() {
        for status in [403, 404, 429, 500, 502, 503, 302] {
            assert!(
                says_nothing(&own(status, "{}")) && says_nothing(&job(status, "{}")),
                "{status}"
            );
        }
        for body in [
            "",
            "{}",
            "<html>",
            r#"{"id":302}"#,
            r#"{"status":"success"}"#,
        ] {
            assert!(
                says_nothing(&own(200, body)) && says_nothing(&job(200, body)),
                "{body}"
            );
        }
        assert!(says_nothing(&own(200, r#"{"id":7,"status":"success"}"#)));
    }

    #[test]
    fn another_jobs_token_is_told_from_garbage() {
        assert_eq!(
            job(200, r#"{"id":303,"status":"running"}"#),
            Answer::Mismatch
        );
    }
}
