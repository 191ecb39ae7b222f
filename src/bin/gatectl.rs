//! gatectl: what an administrator asks beside a running httpd. Each command is a file of its own in
//! `gatectl/`; here its name is found, and what it ends with: 0 yes, 1 no, 2 wrong usage.

use std::process::ExitCode;

#[path = "gatectl/audit.rs"]
mod audit; //   audit verify, audit report
#[path = "gatectl/explain.rs"]
mod explain; //  explain
#[path = "gatectl/gate.rs"]
mod gate; //    the way to a gate
#[path = "gatectl/local.rs"]
mod local; //   the local end of a port
#[path = "gatectl/port.rs"]
mod port; //    port: the local end of a CI port
#[path = "gatectl/progress.rs"]
mod progress; // how far a long file is
#[path = "gatectl/report.rs"]
mod report; //  the access review
#[path = "gatectl/token.rs"]
mod token; //   token: decode and verify
#[path = "gatectl/words.rs"]
mod words; //   a command line's options

/// What a command ends with.
pub enum Ended {
    /// Valid, granted, whole: 0.
    Yes,
    /// Refused, broken: 1.
    No,
    /// The command line is wrong: 2.
    Usage(String),
    /// It could not be done: 2.
    Failed(String),
}

const USAGE: &str = "gatectl: beside mod_gitlab_gate

  gatectl audit verify --key PATH FILE...        whether the audit log is whole
          [--after SEQUENCE:HASH] [--last SEQUENCE]
  gatectl audit report FILE... [--format table|csv|json]
                                                 the access review: who used what, from when to when
  gatectl port --gate URL --token-env VAR [--job-token-env CI_JOB_TOKEN] [--ca-file FILE]
          --to NAME:PORT (--listen unix:PATH|ADDRESS:PORT | --stdio) [--listen-any] [-- COMMAND...]
                                                 the local end of a CI port, while COMMAND runs
  gatectl token [--issuer URL | --jwks FILE] [--audience AUD] < TOKEN
                                                 decodes and verifies a token

  gatectl explain --config FILE --method M --path P [--peer IP] < TOKEN
          [--port [ADDRESS:]PORT] [--host NAME] [--define NAME[=VALUE]]...
          [--httpd PROGRAM] [--format text|json]
                                                 what the gate would do with a request, and why

Ends with 0 for whole, valid or granted, 1 for broken or refused, 2 for wrong usage.
";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args_os()
        .skip(1)
        .map(|it| it.to_string_lossy().into_owned())
        .collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let own = words.split(|it| *it == "--").next().unwrap_or_default();
    if own.iter().any(|it| matches!(*it, "--help" | "-h")) || own.first() == Some(&"help") {
        print!("{USAGE}");
        return ExitCode::SUCCESS;
    }
    // Ends as the command does that runs beside it.
    if let ["port", rest @ ..] = words.as_slice() {
        return port::run(rest);
    }
    let ended = match words.as_slice() {
        ["audit", "verify", rest @ ..] => audit::verify(rest),
        ["audit", "report", rest @ ..] => report::run(rest),
        ["explain", rest @ ..] => explain::run(rest),
        ["token", rest @ ..] => token::run(rest),
        ["--version" | "-V"] => {
            println!("gatectl {}", env!("CARGO_PKG_VERSION"));
            Ended::Yes
        }
        [] => Ended::Usage("say what to do".into()),
        ["audit", ..] => Ended::Usage("say audit verify or audit report".into()),
        [other, ..] => Ended::Usage(format!("{} is no command", words::shown(other))),
    };
    match ended {
        Ended::Yes => ExitCode::SUCCESS,
        Ended::No => ExitCode::from(1),
        Ended::Usage(wrong) => {
            eprintln!("gatectl: {wrong}\n\n{USAGE}");
            ExitCode::from(2)
        }
        Ended::Failed(wrong) => {
            eprintln!("gatectl: {wrong}");
            ExitCode::from(2)
        }
    }
}
