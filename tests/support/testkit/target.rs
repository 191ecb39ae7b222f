//! A private service behind a port. What a connection does is its first line: `echo`, `flood` (sends
//! as fast as it can), `sink` (reads to the end, then says how much), `hang` (does nothing more), `half`
//! (closes its sending side, then reads to the end), `late` (reads to the end, then answers), `reset` (closes over
//! what comes next, unread). Each
//! connection's end is a line on stdout: `closed MODE received=N sent=N at=SECONDS`, since the epoch. Any other
//! word is read to the end.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::thread::sleep;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Serves one connection.
pub fn connection(stream: TcpStream) {
    let mut counts = (String::from("-"), 0, 0);
    // A client that hangs up is no event here.
    let _ = serve(stream, &mut counts);
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    println!(
        "closed {} received={} sent={} at={:.3}",
        counts.0,
        counts.1,
        counts.2,
        now.unwrap_or_default().as_secs_f64()
    );
    let _ = io::stdout().flush();
}

fn serve(stream: TcpStream, counts: &mut (String, u64, u64)) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut from = BufReader::new(stream);
    let mut line = String::new();
    counts.1 = from.read_line(&mut line)? as u64;
    counts.0 = line.trim().to_owned();
    let mut block = vec![b'.'; 64 * 1024];
    match line.trim() {
        mode if mode.starts_with("flood") => loop {
            counts.2 += from.get_mut().write(&block)? as u64;
        },
        "hang" => sleep(Duration::from_secs(3600)),
        "reset" => drop(from.get_ref().peek(&mut [0])?),
        mode => {
            if mode == "half" {
                from.get_mut().write_all(b"half\n")?;
                counts.2 += 5;
                from.get_mut().shutdown(Shutdown::Write)?;
            }
            loop {
                let got = from.read(&mut block)?;
                counts.1 += got as u64;
                if got == 0 {
                    break;
                }
                if mode == "echo" {
                    from.get_mut()
                        .write_all(block.get(..got).unwrap_or_default())?;
                    counts.2 += got as u64;
                }
            }
            if mode == "sink" || mode == "late" {
                let answer = format!("{} bytes\n", counts.1);
                from.get_mut().write_all(answer.as_bytes())?;
                counts.2 += answer.len() as u64;
            }
        }
    }
    Ok(())
}
