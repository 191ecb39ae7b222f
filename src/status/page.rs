//! The figures as a page for people: one document, no script, nothing from elsewhere. First what wants
//! attention, then how much and why, then keys, ports and credentials. Curves are drawn by Prometheus.

use super::board::Outcome;
use super::view::View;
use crate::verdict::Reason;
use std::fmt::Write as _;

const STYLE: &str = include_str!("page.css");

/// An upstream's credential that is older wants to be changed (docs/gitlab.md).
const OLD: u64 = 30 * 86_400;

/// The document.
#[must_use]
pub fn render(view: &View) -> String {
    let mut page = String::with_capacity(32 << 10);
    let attention = attention(view);
    let state = match attention.as_slice() {
        [] => "<span class=\"pill good\">all well</span>".to_owned(),
        [_] => "<span class=\"pill bad\">1 thing wants attention</span>".to_owned(),
        more => format!(
            "<span class=\"pill bad\">{} things want attention</span>",
            more.len()
        ),
    };
    let _ = write!(
        page,
        "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">\
         <meta http-equiv=\"refresh\" content=\"30\"><meta name=\"color-scheme\" content=\"light dark\"><title>Gate status</title><style>{STYLE}</style></head><body><main>\
         <header><h1>Gate status</h1>{state}<p>{} UTC · {} {} · mod_gitlab_gate {} · <a href=\"?json\">JSON</a> · <a href=\"?metrics\">metrics</a></p></header>",
        clock(view.now),
        view.children,
        if view.children == 1 {
            "process"
        } else {
            "processes"
        },
        env!("CARGO_PKG_VERSION")
    );
    if !attention.is_empty() {
        page.push_str("<section class=\"attention\"><h2>Wants attention</h2><ul>");
        for it in &attention {
            let _ = write!(page, "<li>{it}");
        }
        page.push_str("</ul></section>");
    }
    cards(&mut page, view);
    reasons(&mut page, view);
    issuers(&mut page, view);
    ports(&mut page, view);
    files(&mut page, view);
    accounts(&mut page, view);
    page.push_str("</main></body></html>\n");
    page
}

/// What somebody should look at, as HTML.
fn attention(view: &View) -> Vec<String> {
    let mut found = Vec::new();
    for it in &view.issuers {
        let name = escaped(&it.name);
        let error = it.last_error.as_deref().map(escaped);
        match (it.age, error) {
            (None, error) => found.push(format!(
                "<b>{name}</b> has no keys: its tokens are refused with <code>keys_unavailable</code>. {}",
                error.unwrap_or_else(|| "Nothing has been fetched yet.".to_owned())
            )),
            (Some(age), _) if age > it.max_stale => found.push(format!(
                "<b>{name}</b>: the keys are {} old, and serve no more after {} (GateMaxStale).",
                duration(age),
                duration(it.max_stale)
            )),
            (Some(age), Some(error)) => found.push(format!(
                "<b>{name}</b>: the last fetch of its keys failed; those of {} ago serve for another {}. {error}",
                duration(age),
                duration(it.max_stale - age)
            )),
            (Some(_), None) => {}
        }
    }
    if view.audit_lost > 0 {
        found.push(format!(
            "<b>Audit log</b>: {} lines are lost since httpd was started. The error log says why (<code>GATE601</code>).",
            grouped(view.audit_lost)
        ));
    }
    let failed = of_reason(view, Reason::Internal.code());
    if failed > 0 {
        found.push(format!(
            "<b>The gate itself failed</b> on {} requests in the last hour (<code>internal</code>): see the error log.",
            grouped(failed)
        ));
    }
    let [_, _, observed] = hour(view);
    if observed > 0 {
        found.push(format!(
            "<b>GateMode observe</b> let {} requests through in the last hour that would have been refused.",
            grouped(observed)
        ));
    }
    for it in &view.accounts {
        if let Some(error) = &it.last_error {
            found.push(format!(
                "<b>GateAccountAPI</b>: GitLab can't say which accounts are active; new persons are refused with <code>account_unknown</code>. {}",
                escaped(error)
            ));
        }
    }
    for (file, age) in view.files.iter().filter(|(_, age)| *age > OLD) {
        found.push(format!(
            "<b>{}</b> was written {} ago: change the credential.",
            escaped(file),
            duration(*age)
        ));
    }
    found
}

/// Success, failure, observed of the last hour.
fn hour(view: &View) -> [u64; 3] {
    let mut sums = [0; 3];
    for minute in &view.minutes {
        for (sum, count) in sums.iter_mut().zip(minute.outcomes) {
            *sum += count;
        }
    }
    sums
}

/// Refusals with this code in the last hour.
fn of_reason(view: &View, code: &str) -> u64 {
    let reasons = view.minutes.iter().flat_map(|it| &it.reasons);
    reasons.filter(|(it, _)| *it == code).map(|it| it.1).sum()
}

fn cards(page: &mut String, view: &View) {
    let since = |outcome: Outcome| -> String {
        let of = view.decisions.iter().filter(|it| it.outcome == outcome);
        format!("{} since start", grouped(of.map(|it| it.count).sum()))
    };
    let [granted, refused, observed] = hour(view).map(grouped);
    let (entries, hits, misses) = view.cache;
    let share = (hits * 1000).checked_div(hits + misses);
    let share = share.map_or_else(
        || "–".to_owned(),
        |it| format!("{}.{}\u{202f}%", it / 10, it % 10),
    );
    let open: usize = view.ports.iter().map(|(_, open)| open).sum();
    let opened: u64 = view.ports.iter().map(|(it, _)| it.opened).sum();
    let lost = if view.audit_lost > 0 { "bad" } else { "" };
    let mut all = vec![
        (
            "good",
            "granted, last hour",
            granted,
            since(Outcome::Success),
        ),
        (
            "bad",
            "refused, last hour",
            refused,
            since(Outcome::Failure),
        ),
    ];
    if view
        .decisions
        .iter()
        .any(|it| it.outcome == Outcome::Observed)
    {
        all.push((
            "seen",
            "observed, last hour",
            observed,
            since(Outcome::Observed),
        ));
    }
    let kept = format!("{} tokens kept", grouped(entries as u64));
    all.push(("", "from the cache", share, kept));
    let ever = format!("{} since start", grouped(opened));
    all.push(("", "ports open", grouped(open as u64), ever));
    let start = "since start".to_owned();
    all.push((lost, "audit lines lost", grouped(view.audit_lost), start));
    page.push_str("<div class=\"cards\">");
    for (class, name, figure, more) in all {
        let _ = write!(
            page,
            "<div class=\"card\"><span>{name}</span><b class=\"{class}\">{figure}</b><small>{more}</small></div>"
        );
    }
    page.push_str("</div>");
}

/// A table whose cells name themselves where it is too narrow for columns.
fn table(page: &mut String, title: &str, columns: &[(&str, &str)], rows: &[Vec<String>]) {
    let _ = write!(page, "<section><h2>{title}</h2><table><thead><tr>");
    for (class, name) in columns {
        let _ = write!(page, "<th class=\"{class}\">{name}");
    }
    page.push_str("</thead><tbody>");
    for row in rows {
        page.push_str("<tr>");
        for ((class, name), cell) in columns.iter().zip(row) {
            let _ = write!(page, "<td class=\"{class}\" data-name=\"{name}\">{cell}");
        }
    }
    page.push_str("</tbody></table></section>");
}

fn reasons(page: &mut String, view: &View) {
    let mut codes: Vec<(&str, u64)> = Vec::new();
    for it in view.decisions.iter().filter(|it| !it.reason.is_empty()) {
        match codes.iter_mut().find(|(code, _)| *code == it.reason) {
            Some((_, count)) => *count += it.count,
            None => codes.push((it.reason, it.count)),
        }
    }
    codes.sort_by(|a, b| b.1.cmp(&a.1).then(a.0.cmp(b.0)));
    if codes.is_empty() {
        page.push_str(
            "<section><h2>Why requests were refused</h2><p class=\"soft\">None was refused since start.</p></section>",
        );
        return;
    }
    let rows: Vec<_> = codes
        .into_iter()
        .map(|(code, count)| {
            let told = Reason::from_code(code).map_or("", Reason::description);
            let mut issuers: Vec<_> = view
                .decisions
                .iter()
                .filter(|it| it.reason == code && !it.issuer.is_empty())
                .map(|it| escaped(&it.issuer))
                .collect();
            issuers.sort();
            issuers.dedup();
            vec![
                format!("<code>{code}</code><small>{told}</small>"),
                issuers.join(", "),
                grouped(of_reason(view, code)),
                grouped(count),
            ]
        })
        .collect();
    let columns = [
        ("", "Reason"),
        ("", "Issuers"),
        ("n", "Last hour"),
        ("n", "Since start"),
    ];
    table(page, "Why requests were refused", &columns, &rows);
}

fn issuers(page: &mut String, view: &View) {
    let rows: Vec<_> = view
        .issuers
        .iter()
        .map(|it| {
            let (colour, age) = match it.age {
                Some(age) if age > it.max_stale => ("bad", duration(age)),
                Some(age) if it.last_error.is_some() => ("seen", duration(age)),
                Some(age) => ("good", duration(age)),
                None => ("bad", "never".to_owned()),
            };
            let failed = if it.failed > 0 { "seen" } else { "" };
            vec![
                format!("<b>{}</b>", escaped(&it.name)),
                of_most(colour, &age, it.age.map(|_| it.max_stale)),
                it.keys.to_string(),
                grouped(it.fetched),
                format!("<span class=\"{failed}\">{}</span>", grouped(it.failed)),
                it.last_error.as_deref().map_or_else(
                    || "<span class=\"soft\">none</span>".to_owned(),
                    |error| format!("<span class=\"bad\">{}</span>", escaped(error)),
                ),
            ]
        })
        .collect();
    let columns = [
        ("", "Issuer"),
        ("", "Age of the keys"),
        ("n", "Keys"),
        ("n", "Fetches"),
        ("n", "Failed"),
        ("", "Last error"),
    ];
    table(page, "Issuers", &columns, &rows);
}

fn ports(page: &mut String, view: &View) {
    if view.ports.is_empty() {
        return;
    }
    let rows: Vec<_> = view
        .ports
        .iter()
        .map(|(it, open)| {
            let ends: Vec<_> = it
                .ends
                .iter()
                .map(|(cause, count)| format!("<code>{cause}</code>\u{a0}{}", grouped(*count)))
                .collect();
            vec![
                format!("<code>{}</code>", escaped(&it.name)),
                grouped(*open as u64),
                grouped(it.opened),
                format!("{} / {}", bytes(it.sent), bytes(it.received)),
                ends.join(" · "),
            ]
        })
        .collect();
    let columns = [
        ("", "Port"),
        ("n", "Open now"),
        ("n", "Opened since start"),
        ("n", "Bytes to / from the target"),
        ("", "Why they ended"),
    ];
    table(page, "Ports", &columns, &rows);
}

/// One line for each GateAccountAPI.
fn accounts(page: &mut String, view: &View) {
    for it in &view.accounts {
        let _ = write!(
            page,
            "<p>GateAccountAPI <code>{}</code>: {}; {} names known to this process, {} questions answered, {} failed.</p>",
            escaped(&it.url),
            if it.last_error.is_some() {
                "GitLab can't say"
            } else {
                "well"
            },
            it.names,
            grouped(it.asked.0),
            grouped(it.asked.1)
        );
    }
}

fn files(page: &mut String, view: &View) {
    if view.files.is_empty() {
        return;
    }
    let rows: Vec<_> = view
        .files
        .iter()
        .map(|(file, age)| {
            let colour = if *age > OLD { "bad" } else { "good" };
            vec![
                format!("<code>{}</code>", escaped(file)),
                of_most(colour, &duration(*age), Some(OLD)),
            ]
        })
        .collect();
    table(
        page,
        "Upstream credentials",
        &[("", "File"), ("", "Age")],
        &rows,
    );
}

/// An age, and the one at which it is too old.
fn of_most(colour: &str, age: &str, most: Option<u64>) -> String {
    let most = most.map(|it| format!(" <span class=\"soft\">of {}</span>", duration(it)));
    format!(
        "<span><span class=\"{colour}\">{age}</span>{}</span>",
        most.unwrap_or_default()
    )
}

/// Thousands apart.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push('\u{202f}');
        }
        text.push(digit);
    }
    text
}

/// Hours and minutes, UTC.
fn clock(seconds: u64) -> String {
    format!("{:02}:{:02}", seconds / 3600 % 24, seconds / 60 % 60)
}

fn duration(seconds: u64) -> String {
    match seconds {
        0..120 => format!("{seconds} s"),
        120..7200 => format!("{} min", seconds / 60),
        7200..172_800 => format!("{} h", seconds / 3600),
        _ => format!("{} d", seconds / 86_400),
    }
}

fn bytes(count: u64) -> String {
    match count {
        0..10_000 => format!("{} B", grouped(count)),
        10_000..10_000_000 => format!("{} kB", grouped(count / 1000)),
        10_000_000..10_000_000_000 => format!("{} MB", grouped(count / 1_000_000)),
        _ => format!("{} GB", grouped(count / 1_000_000_000)),
    }
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
}

#[cfg(test)]
mod tests;
