//! As much of GitLab's API as says whether a job runs. Steered by `POST /control/job`
//! `{id, status, token, project}` and `POST /control/mode` `{mode}`: ok, error500, status:NNN, slow, slow:MS, hang,
//! garbage, none. The gate's own token is `glpat-gate`.

use crate::http::{self, Request};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::io::{self, BufReader};
use std::net::TcpStream;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::sleep;
use std::time::Duration;

#[derive(Default)]
struct State {
    mode: String,
    jobs: BTreeMap<String, Value>,
    asked: u64,
}

/// The handler of connections.
pub fn service(_base: String) -> impl Fn(TcpStream) + Send + Sync + Clone + 'static {
    let state = Arc::new(Mutex::new(State::default()));
    move |stream| {
        // A client that hangs up is no event here.
        let _ = connection(stream, &state);
    }
}

fn connection(stream: TcpStream, state: &Mutex<State>) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut from = BufReader::new(stream);
    while let Some(request) = http::read(&mut from)? {
        let mode = lock(state).mode.clone();
        let (status, body) = match (request.target.as_str(), mode.split_once(':')) {
            (target, _) if target.starts_with("/control/") => control(target, &request, state),
            (_, Some(("slow", ms))) => {
                sleep(Duration::from_millis(ms.parse().unwrap_or(1000)));
                api(&request, state)
            }
            (_, Some((_, number))) => (number.parse().unwrap_or(500), String::new()),
            (_, None) => match mode.as_str() {
                "error500" => (500, String::new()),
                "garbage" => (200, "<html>sign in</html>".to_owned()),
                "none" => return Ok(()),
                "slow" => {
                    sleep(Duration::from_secs(1));
                    api(&request, state)
                }
                "hang" => {
                    sleep(Duration::from_secs(30));
                    return Ok(());
                }
                _ => api(&request, state),
            },
        };
        let headers = [("Content-Type", "application/json")];
        http::answer(from.get_mut(), status, &headers, body.as_bytes())?;
    }
    Ok(())
}

fn lock(state: &Mutex<State>) -> std::sync::MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

fn control(target: &str, request: &Request, state: &Mutex<State>) -> (u16, String) {
    let spec: Value = serde_json::from_slice(&request.body).unwrap_or(Value::Null);
    let mut state = lock(state);
    match target {
        "/control/job" => {
            let id = spec.get("id").map(ToString::to_string).unwrap_or_default();
            state.jobs.insert(id, spec);
        }
        "/control/mode" => {
            let mode = spec.get("mode").and_then(Value::as_str).unwrap_or("");
            state.mode = mode.to_owned();
        }
        _ => {}
    }
    (200, state.asked.to_string())
}

fn api(request: &Request, state: &Mutex<State>) -> (u16, String) {
    let mut state = lock(state);
    state.asked += 1;
    let path = request.target.strip_prefix("/api/v4").unwrap_or("");
    let text = |job: &Value, name: &str| job.get(name).and_then(Value::as_str).map(str::to_owned);
    if path == "/job" {
        let token = request.header("JOB-TOKEN").map(str::to_owned);
        let job = state.jobs.values().find(|job| {
            let alive = matches!(
                text(job, "status").as_deref(),
                Some("running" | "canceling")
            );
            alive && token.is_some() && text(job, "token") == token
        });
        return job.map_or((401, r#"{"message":"401 Unauthorized"}"#.into()), shown);
    }
    if request.header("PRIVATE-TOKEN") != Some("glpat-gate") {
        return (401, r#"{"message":"401 Unauthorized"}"#.into());
    }
    let job = state.jobs.iter().find(|(id, job)| {
        let project = job
            .get("project")
            .map(ToString::to_string)
            .unwrap_or_default();
        path == format!("/projects/{project}/jobs/{id}")
    });
    job.map_or(
        (404, r#"{"message":"404 Not found"}"#.into()),
        |(_, job)| shown(job),
    )
}

fn shown(job: &Value) -> (u16, String) {
    let body = json!({ "id": job.get("id"), "status": job.get("status"), "name": "deploy" });
    (200, body.to_string())
}
