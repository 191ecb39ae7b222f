//! One program for the tests and the demo: a test issuer, an upstream that tells what it got, and
//! a maker of tokens, good and bad. Not a part of the product, and never to be trusted by one.

#[path = "testkit/gitlab.rs"]
mod gitlab;
#[path = "testkit/http.rs"]
mod http;
#[path = "testkit/issuer.rs"]
mod issuer;
#[path = "testkit/keys.rs"]
mod keys;
#[path = "testkit/mint.rs"]
mod mint;
#[path = "testkit/shapes.rs"]
mod shapes;
#[path = "testkit/target.rs"]
mod target;
#[path = "testkit/upstream.rs"]
mod upstream;

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::ExitCode;

const USAGE: &str = "usage: testkit issuer   --listen 127.0.0.1:PORT   (port 0: any free one; the address is printed)
       testkit upstream --listen 127.0.0.1:PORT
       testkit gitlab   --listen 127.0.0.1:PORT   (as much of its API as says whether a job runs)
       testkit target   --listen ADDRESS:PORT     (a private service behind a port)
       testkit mint     < SPEC.json               (members: see tests/support/testkit/mint.rs)";

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let done = match words.as_slice() {
        ["issuer", "--listen", address] => serve(address, issuer::service),
        ["upstream", "--listen", address] => serve(address, |_| upstream::connection),
        ["gitlab", "--listen", address] => serve(address, gitlab::service),
        ["target", "--listen", address] => serve(address, |_| target::connection),
        ["mint"] => mint_from_stdin(),
        _ => Err(USAGE.to_owned()),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(what) => {
            eprintln!("{what}");
            ExitCode::from(2)
        }
    }
}

/// Listens, prints `listening ADDRESS` for whoever started us, and gives each connection a thread.
fn serve<S, C>(address: &str, make: S) -> Result<(), String>
where
    S: FnOnce(String) -> C,
    C: Fn(TcpStream) + Send + Sync + Clone + 'static,
{
    let listener = TcpListener::bind(address).map_err(|e| format!("{address}: {e}"))?;
    let local = listener.local_addr().map_err(|e| e.to_string())?;
    let connection = make(format!("http://{local}"));
    println!("listening {local}");
    std::io::stdout().flush().map_err(|e| e.to_string())?;
    for stream in listener.incoming().flatten() {
        let connection = connection.clone();
        // A thread that can't be had drops the connection; the others go on.
        let _ = std::thread::Builder::new().spawn(move || connection(stream));
    }
    Ok(())
}

fn mint_from_stdin() -> Result<(), String> {
    let mut text = String::new();
    std::io::stdin()
        .read_to_string(&mut text)
        .map_err(|e| e.to_string())?;
    let spec = serde_json::from_str(&text).map_err(|e| format!("SPEC: {e}"))?;
    let base = mint::text(&spec, "base")
        .unwrap_or("http://127.0.0.1")
        .to_owned();
    println!("{}", mint::mint(&spec, &base, 1)?);
    Ok(())
}
