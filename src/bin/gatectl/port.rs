//! `gatectl port`: opens the local end of a port, runs a command beside it and ends as that does.
//! One tunnel per connection. How bytes go through TLS is [`crate::gate`]'s.

use crate::gate::{Gate, Reading, Writing};
use crate::local::{Listener, Local, Wrong};
use crate::words;
use gitlab_gate::sys::signals;
use std::io::{IsTerminal, Read, Write, stdin, stdout};
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, ExitCode};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// The words of the command line.
pub const USAGE: &str =
    "gatectl port --gate URL --token-env VAR [--job-token-env CI_JOB_TOKEN] [--ca-file FILE]
             --to NAME:PORT (--listen unix:PATH|ADDRESS:PORT | --stdio) [--listen-any] [-- COMMAND...]";

/// Before the end of a port, its user is told.
const WARNING: u64 = 60;

#[derive(Default)]
struct Options<'a> {
    gate: Option<&'a str>,
    token_env: Option<&'a str>,
    job_token_env: Option<&'a str>,
    ca_file: Option<&'a str>,
    to: Option<&'a str>,
    listen: Option<&'a str>,
    stdio: bool,
    any: bool,
    command: &'a [&'a str],
}

fn parse<'a>(mut words: &'a [&'a str]) -> Result<Options<'a>, String> {
    let mut options = Options::default();
    while let [word, rest @ ..] = words {
        words = rest;
        match *word {
            "--" => {
                options.command = rest;
                break;
            }
            "--stdio" => {
                options.stdio = true;
                continue;
            }
            "--listen-any" => {
                options.any = true;
                continue;
            }
            _ => {}
        }
        let (name, value) = match word.split_once('=') {
            Some((name, value)) => (name, value),
            None => {
                let [value, rest @ ..] = words else {
                    return Err(format!("{} takes a value", words::shown(word)));
                };
                words = rest;
                (*word, *value)
            }
        };
        let slot = match name {
            "--gate" => &mut options.gate,
            "--token-env" => &mut options.token_env,
            "--job-token-env" => &mut options.job_token_env,
            "--ca-file" => &mut options.ca_file,
            "--to" => &mut options.to,
            "--listen" => &mut options.listen,
            _ => return Err(format!("{} is not known here", words::shown(name))),
        };
        if slot.replace(value).is_some() {
            return Err(format!("{name} is there twice"));
        }
    }
    if options.stdio == options.listen.is_some() {
        return Err("say either --listen unix:PATH, --listen 127.0.0.1:PORT or --stdio".into());
    }
    if options.stdio && !options.command.is_empty() {
        return Err("--stdio is the port itself: no command can run beside it".into());
    }
    Ok(options)
}

/// The token that a variable holds. What is no variable may be the token itself (`"$GATE_TOKEN"` in
/// place of `GATE_TOKEN`).
fn secret(option: &str, variable: &str) -> Result<String, String> {
    match std::env::var(variable) {
        Ok(value) if !value.trim().is_empty() => Ok(value.trim().to_owned()),
        _ => Err(format!(
            "{option} {}: no variable of that name holds a token; write the name of a variable (GATE_TOKEN), not the token",
            words::shown(variable)
        )),
    }
}

/// Runs the command line; what is left after `port`.
pub fn run(words: &[&str]) -> ExitCode {
    let prepared = parse(words).and_then(|options| {
        let url = options.gate.ok_or("--gate is missing")?;
        let to = options.to.ok_or("--to is missing")?;
        let token = secret(
            "--token-env",
            options.token_env.ok_or("--token-env is missing")?,
        )?;
        let job_token = options.job_token_env;
        let job_token = job_token
            .map(|it| secret("--job-token-env", it))
            .transpose()?;
        let gate = Gate::new(url, to, &token, job_token.as_deref(), options.ca_file)?;
        Ok((options, Arc::new(gate)))
    });
    let (options, gate) = match prepared {
        Ok(prepared) => prepared,
        Err(wrong) => {
            eprintln!("gatectl: {wrong}\n\n  {USAGE}");
            return ExitCode::from(2);
        }
    };
    match options.listen {
        None => stdio(&gate),
        Some(listen) => match Listener::open(listen, options.any) {
            Ok(listener) => {
                let path = listener.path();
                let ended = beside(options.command, listener, &gate);
                if let Some(path) = path {
                    let _ = std::fs::remove_file(path);
                }
                ended
            }
            Err(Wrong::Words(wrong)) => {
                eprintln!("gatectl: {wrong}\n\n  {USAGE}");
                ExitCode::from(2)
            }
            Err(Wrong::Failed(wrong)) => {
                eprintln!("gatectl: {wrong}");
                ExitCode::from(2)
            }
        },
    }
}

/// The port is this process's own input and output (ssh's ProxyCommand).
fn stdio(gate: &Gate) -> ExitCode {
    let (mut from, mut to) = match open(gate) {
        Ok(ends) => ends,
        Err(code) => return code,
    };
    thread::spawn(move || {
        let _ = pump(&mut stdin().lock(), &mut to);
        to.finish();
    });
    let _ = pump(&mut from, &mut stdout().lock());
    ExitCode::SUCCESS
}

/// Listens, runs the command, and ends with its status; without one, serves until a signal ends it.
fn beside(command: &[&str], listener: Listener, gate: &Arc<Gate>) -> ExitCode {
    // Before the command is there: from its first moment a signal is for the command.
    let before = signals::hold_back();
    let [program, arguments @ ..] = command else {
        eprintln!("gatectl: listening on {}", listener.shown().1);
        let gate = Arc::clone(gate);
        thread::spawn(move || serve(&listener, &gate));
        return until_signal();
    };
    let mut command = Command::new(program);
    before.holds_for(command.args(arguments).envs(listener.shown().0));
    let mut child = match command.spawn() {
        Ok(child) => child,
        Err(error) => {
            eprintln!("gatectl: {}: {error}", words::file(program));
            return ExitCode::from(127);
        }
    };
    {
        let gate = Arc::clone(gate);
        thread::spawn(move || serve(&listener, &gate));
    }
    let running = Arc::new(AtomicBool::new(true));
    {
        let (process, running) = (child.id(), Arc::clone(&running));
        thread::spawn(move || {
            loop {
                let signal = signals::next();
                // What a terminal sends, it sends to the command too.
                let from_terminal = matches!(signal, 2 | 3) && stdin().is_terminal();
                if running.load(Ordering::Acquire) && !from_terminal {
                    signals::send(process, signal);
                }
            }
        });
    }
    let ended = child.wait();
    running.store(false, Ordering::Release);
    match ended {
        Ok(status) => {
            let code = status.code().or(status.signal().map(|it| 128 + it));
            u8::try_from(code.unwrap_or(1)).map_or(ExitCode::FAILURE, ExitCode::from)
        }
        Err(error) => {
            eprintln!("gatectl: {}: {error}", words::file(program));
            ExitCode::from(2)
        }
    }
}

/// Waits for a signal that would have ended the process; its status in a shell.
fn until_signal() -> ExitCode {
    loop {
        let signal = signals::next();
        if !signals::is_ignored(signal) {
            return u8::try_from(128 + signal).map_or(ExitCode::FAILURE, ExitCode::from);
        }
    }
}

fn serve(listener: &Listener, gate: &Arc<Gate>) {
    loop {
        let Ok(local) = listener.accept() else {
            thread::sleep(Duration::from_millis(50)); // no descriptor is free
            continue;
        };
        let gate = Arc::clone(gate);
        let _ = thread::Builder::new().spawn(move || connection(local, &gate));
    }
}

fn connection(mut local: Local, gate: &Gate) {
    let Ok((mut from, mut to)) = open(gate) else {
        return; // dropped: the client sees the connection closed
    };
    let Ok(mut up) = local.try_clone() else {
        return;
    };
    let upward = thread::spawn(move || {
        let _ = pump(&mut up, &mut to);
        to.finish();
    });
    let _ = pump(&mut from, &mut local);
    local.finish();
    let _ = upward.join();
}

/// Opens one tunnel, and tells of a refusal.
fn open(gate: &Gate) -> Result<(Reading, Writing), ExitCode> {
    match gate.open() {
        Ok(opened) => {
            if let Some(expires) = opened.expires {
                warn_before(expires, gate.name());
            }
            Ok((opened.from, opened.to))
        }
        Err(why) => {
            eprintln!("gatectl: {why}");
            Err(ExitCode::from(1))
        }
    }
}

/// One warning for each end, however many tunnels have it.
fn warn_before(expires: u64, name: &str) {
    static SAID: AtomicU64 = AtomicU64::new(0);
    if SAID.swap(expires, Ordering::Relaxed) == expires {
        return;
    }
    let name = name.to_owned();
    let _ = thread::Builder::new().spawn(move || {
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(0, |it| it.as_secs());
        let left = expires.saturating_sub(now);
        let wait = left.saturating_sub(WARNING);
        thread::sleep(Duration::from_secs(wait));
        eprintln!(
            "gatectl: the port {name} will be closed in {} s",
            left - wait
        );
    });
}

fn pump(from: &mut impl Read, to: &mut impl Write) -> std::io::Result<()> {
    let mut block = vec![0; 16 * 1024];
    loop {
        let got = from.read(&mut block)?;
        if got == 0 {
            return Ok(());
        }
        to.write_all(block.get(..got).unwrap_or_default())?;
        to.flush()?;
    }
}
