//! gatectl: what a person or a job asks beside a running httpd. Each command is a file of its own in
//! `gatectl/`; here its name is found.

use std::process::ExitCode;

#[path = "gatectl/gate.rs"]
mod gate; // the way to a gate
#[path = "gatectl/port.rs"]
mod port; // port: the local end of a CI port

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args_os()
        .skip(1)
        .map(|it| it.to_string_lossy().into_owned())
        .collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["port", rest @ ..] => port::run(rest),
        _ => {
            eprintln!("usage: {}", port::USAGE);
            ExitCode::from(2)
        }
    }
}
