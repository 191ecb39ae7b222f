//! `gatectl audit report`: the access review. Who used which place of which project in which roles,
//! first, last, how often, and how often refused or only said to be (GateMode observe).

use crate::Ended;
use crate::audit::open;
use crate::words::{self, Words};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::io::{self, BufRead, Write};

/// Person, issuer, project, place, roles: two issuers' people of one name are two.
type Who = [String; 5];

#[derive(Debug, Default)]
struct Row {
    first: String,
    last: String,
    count: u64,
    refusals: u64,
    observed: u64,
}

const TITLES: [&str; 10] = [
    "person", "issuer", "project", "place", "role", "first", "last", "count", "refusals",
    "observed",
];

/// Runs it.
pub fn run(words: &[&str]) -> Ended {
    match report(words) {
        Ok(ended) | Err(ended) => ended,
    }
}

fn report(words: &[&str]) -> Result<Ended, Ended> {
    let words = Words::parse(words, &["format"]).map_err(Ended::Usage)?;
    let write: fn(&mut dyn Write, &BTreeMap<Who, Row>) -> io::Result<()> =
        match words.get("format").unwrap_or("table") {
            "table" => table,
            "csv" => csv,
            "json" => as_json,
            other => {
                return Err(Ended::Usage(format!(
                    "--format {}: table, csv or json",
                    words::shown(other)
                )));
            }
        };
    if words.rest.is_empty() {
        return Err(Ended::Usage("name the log's files".into()));
    }
    let (mut progress, files) = open(&words.rest)?;
    let mut rows = BTreeMap::new();
    let mut odd = 0_u64;
    for (name, mut reader) in files {
        let mut line = Vec::new();
        loop {
            line.clear();
            let bytes = reader
                .read_until(b'\n', &mut line)
                .map_err(|wrong| Ended::Failed(format!("{name}: {wrong}")))?;
            if bytes == 0 {
                break;
            }
            progress.step();
            match serde_json::from_slice::<Value>(&line) {
                Ok(event) => add(&mut rows, &event),
                Err(_) => odd += 1,
            }
        }
    }
    progress.end();
    if odd > 0 {
        eprintln!("gatectl: {odd} lines are not JSON and were left out");
    }
    match write(&mut io::stdout().lock(), &rows) {
        Err(wrong) if wrong.kind() != io::ErrorKind::BrokenPipe => {
            Err(Ended::Failed(wrong.to_string()))
        }
        _ => Ok(Ended::Yes),
    }
}

fn add(rows: &mut BTreeMap<Who, Row>, event: &Value) {
    let text = |path: &str| event.pointer(path).and_then(Value::as_str);
    if !matches!(text("/event/action"), Some("access" | "port-open")) {
        return;
    }
    let roles: Vec<_> = event
        .pointer("/user/roles")
        .and_then(Value::as_array)
        .map(|roles| roles.iter().filter_map(Value::as_str).collect())
        .unwrap_or_default();
    let who = [
        text("/user/name").unwrap_or("(nobody)").to_owned(),
        text("/gitlab_gate/issuer").unwrap_or_default().to_owned(),
        text("/gitlab_gate/project").unwrap_or_default().to_owned(),
        text("/rule/name").unwrap_or_default().to_owned(),
        roles.join(" "),
    ];
    let time = text("/@timestamp").unwrap_or_default();
    let row = rows.entry(who).or_default();
    if row.count == 0 || time < row.first.as_str() {
        time.clone_into(&mut row.first);
    }
    if time > row.last.as_str() {
        time.clone_into(&mut row.last);
    }
    row.count += 1;
    if text("/event/outcome") == Some("failure") {
        let observed = text("/gitlab_gate/mode") == Some("observe");
        row.observed += u64::from(observed);
        row.refusals += u64::from(!observed);
    }
}

fn cells(who: &Who, row: &Row) -> [String; 10] {
    let [person, issuer, project, place, role] = who.clone();
    [
        person,
        issuer,
        project,
        place,
        role,
        row.first.clone(),
        row.last.clone(),
        row.count.to_string(),
        row.refusals.to_string(),
        row.observed.to_string(),
    ]
}

fn table(out: &mut dyn Write, rows: &BTreeMap<Who, Row>) -> io::Result<()> {
    let plain = |cell: &String| -> String {
        cell.chars()
            .map(|c| if c.is_control() { '?' } else { c })
            .collect()
    };
    let mut lines = vec![TITLES.map(str::to_owned)];
    lines.extend(rows.iter().map(|(who, row)| cells(who, row)));
    let widths: Vec<usize> = (0..TITLES.len())
        .map(|at| {
            let lengths = lines.iter().filter_map(|line| line.get(at));
            lengths.map(|cell| cell.chars().count()).max().unwrap_or(0)
        })
        .collect();
    for line in &lines {
        let mut text = String::new();
        for (cell, width) in line.iter().zip(&widths) {
            text.push_str(&format!("{:<width$}  ", plain(cell)));
        }
        writeln!(out, "{}", text.trim_end())?;
    }
    Ok(())
}

/// RFC 4180. A cell that a spreadsheet would take for a formula is quoted with an apostrophe.
fn csv(out: &mut dyn Write, rows: &BTreeMap<Who, Row>) -> io::Result<()> {
    writeln!(out, "{}", TITLES.join(","))?;
    for (who, row) in rows {
        let cells = cells(who, row).map(|cell| {
            let formula = cell.starts_with(['=', '+', '-', '@', '\t', '\r']);
            let cell = if formula { format!("'{cell}") } else { cell };
            if cell.contains([',', '"', '\n', '\r']) {
                format!("\"{}\"", cell.replace('"', "\"\""))
            } else {
                cell
            }
        });
        writeln!(out, "{}", cells.join(","))?;
    }
    Ok(())
}

fn as_json(out: &mut dyn Write, rows: &BTreeMap<Who, Row>) -> io::Result<()> {
    let list: Vec<Value> = rows
        .iter()
        .map(|([person, issuer, project, place, role], row)| {
            json!({
                "person": person, "issuer": issuer, "project": project, "place": place, "role": role,
                "first": row.first, "last": row.last, "count": row.count, "refusals": row.refusals,
                "observed": row.observed,
            })
        })
        .collect();
    writeln!(out, "{:#}", Value::Array(list))
}
