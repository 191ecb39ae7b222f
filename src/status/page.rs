//! The figures as a page for people: one document, no script, nothing from elsewhere.

use super::board::{MINUTES, Outcome};
use super::view::View;
use std::fmt::Write as _;

const STYLE: &str = "
:root{color-scheme:light dark;--ink:#1f2328;--soft:#656d76;--line:#d8dee4;--paper:#f6f8fa;--card:#fff;--good:#1a7f37;--bad:#cf222e;--seen:#9a6700}
@media(prefers-color-scheme:dark){:root{--ink:#e6edf3;--soft:#8d96a0;--line:#30363d;--paper:#0d1117;--card:#161b22;--good:#3fb950;--bad:#f85149;--seen:#d29922}}
*{box-sizing:border-box}body{margin:0;background:var(--paper);color:var(--ink);font:15px/1.5 system-ui,sans-serif}
main{max-width:1080px;margin:0 auto;padding:28px 20px}h1{font-size:22px;margin:0}h2{font-size:15px;margin:0 0 12px}
header{display:flex;flex-wrap:wrap;gap:4px 20px;align-items:baseline;margin-bottom:20px}header p{margin:0;color:var(--soft)}a{color:inherit}
.cards{display:grid;grid-template-columns:repeat(auto-fit,minmax(150px,1fr));gap:14px;margin-bottom:14px}
section,.card{background:var(--card);border:1px solid var(--line);border-radius:8px;padding:16px 18px}section{margin-bottom:14px;overflow-x:auto}
.card b{display:block;font-size:24px;line-height:1.3;font-variant-numeric:tabular-nums}.card span{color:var(--soft);font-size:13px}
table{border-collapse:collapse;width:100%;font-size:14px}th{text-align:left;font-weight:600;color:var(--soft);font-size:13px}
th,td{padding:6px 14px 6px 0;border-bottom:1px solid var(--line);vertical-align:middle}tr:last-child td{border-bottom:0}
.n{text-align:right;font-variant-numeric:tabular-nums}code{font:13px ui-monospace,monospace}.good{color:var(--good)}.bad{color:var(--bad)}.seen{color:var(--seen)}.soft{color:var(--soft)}
svg{display:block}.plot{width:100%;height:120px}.key{display:flex;gap:18px;color:var(--soft);font-size:13px;margin-top:8px}.key i{display:inline-block;width:10px;height:10px;border-radius:2px;margin-right:6px;background:currentColor}
";

/// The document.
#[must_use]
pub fn render(view: &View) -> String {
    let mut page = String::with_capacity(16 << 10);
    let sum = |outcome: Outcome| -> u64 {
        view.decisions
            .iter()
            .filter(|it| it.outcome == outcome)
            .map(|it| it.count)
            .sum()
    };
    let (entries, hits, misses) = view.cache;
    let _ = write!(
        page,
        "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">\
         <meta http-equiv=\"refresh\" content=\"30\"><title>Gate status</title><style>{STYLE}</style></head><body><main>\
         <header><h1>Gate status</h1><p>mod_gitlab_gate {} · {} processes · <a href=\"?json\">JSON</a> · <a href=\"?metrics\">metrics</a></p></header>",
        env!("CARGO_PKG_VERSION"),
        view.children
    );
    page.push_str("<div class=\"cards\">");
    card(
        &mut page,
        "good",
        &grouped(sum(Outcome::Success)),
        "granted",
    );
    card(&mut page, "bad", &grouped(sum(Outcome::Failure)), "refused");
    if sum(Outcome::Observed) > 0 {
        card(
            &mut page,
            "seen",
            &grouped(sum(Outcome::Observed)),
            "would have been refused",
        );
    }
    let share = (hits * 1000).checked_div(hits + misses).unwrap_or(0);
    card(
        &mut page,
        "",
        &format!("{}.{} %", share / 10, share % 10),
        &format!("from the cache, {} tokens kept", grouped(entries as u64)),
    );
    let open: usize = view.ports.iter().map(|(_, open)| open).sum();
    card(&mut page, "", &open.to_string(), "ports open");
    card(
        &mut page,
        if view.audit_lost > 0 { "bad" } else { "" },
        &grouped(view.audit_lost),
        "audit lines lost",
    );
    page.push_str("</div>");
    plot(&mut page, view);
    reasons(&mut page, view);
    issuers(&mut page, view);
    if !view.ports.is_empty() {
        page.push_str("<section><h2>Ports</h2><table><tr><th>Port<th class=\"n\">Open now</tr>");
        for (name, open) in &view.ports {
            let _ = write!(
                page,
                "<tr><td><code>{}</code><td class=\"n\">{open}</tr>",
                escaped(name)
            );
        }
        page.push_str("</table></section>");
    }
    if !view.files.is_empty() {
        page.push_str(
            "<section><h2>Upstream credentials</h2><table><tr><th>File<th class=\"n\">Age</tr>",
        );
        for (file, age) in &view.files {
            let old = if *age > 30 * 86_400 { "n bad" } else { "n" };
            let _ = write!(
                page,
                "<tr><td><code>{}</code><td class=\"{old}\">{}</tr>",
                escaped(file),
                duration(*age)
            );
        }
        page.push_str("</table></section>");
    }
    page.push_str("</main></body></html>\n");
    page
}

fn card(page: &mut String, class: &str, figure: &str, text: &str) {
    let _ = write!(
        page,
        "<div class=\"card\"><b class=\"{class}\">{figure}</b><span>{text}</span></div>"
    );
}

/// Bars of the last hour: granted, and on top refused and observed.
fn plot(page: &mut String, view: &View) {
    let most = view
        .minutes
        .iter()
        .map(|it| it.outcomes.iter().sum::<u64>())
        .max()
        .unwrap_or(0);
    let _ = write!(
        page,
        "<section><h2>Decisions a minute, the last hour{}</h2><svg class=\"plot\" viewBox=\"0 0 {} 100\" preserveAspectRatio=\"none\" role=\"img\" aria-label=\"Decisions a minute\">\
         <line x1=\"0\" y1=\"99.5\" x2=\"{0}\" y2=\"99.5\" stroke=\"var(--line)\"/>",
        if most == 0 {
            String::new()
        } else {
            format!(" <span class=\"soft\">(at most {})</span>", grouped(most))
        },
        MINUTES * 10
    );
    for (at, minute) in view.minutes.iter().enumerate() {
        let mut top = 99.0;
        for (count, colour) in minute.outcomes.iter().zip(["good", "bad", "seen"]) {
            if *count > 0 && most > 0 {
                let height = (*count as f64 / most as f64 * 96.0).max(1.0);
                top -= height;
                let _ = write!(
                    page,
                    "<rect x=\"{}\" y=\"{top:.1}\" width=\"8\" height=\"{height:.1}\" fill=\"var(--{colour})\"/>",
                    at * 10 + 1
                );
            }
        }
    }
    page.push_str(
        "</svg><div class=\"key\"><span class=\"good\"><i></i>granted</span><span class=\"bad\"><i></i>refused</span>\
         <span class=\"seen\"><i></i>observed</span></div></section>",
    );
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
    page.push_str("<section><h2>Why requests were refused</h2>");
    if codes.is_empty() {
        page.push_str("<p class=\"soft\">None was refused.</p></section>");
        return;
    }
    page.push_str(
        "<table><tr><th>Reason<th>The last hour<th>Issuers<th class=\"n\">All in all</tr>",
    );
    for (code, count) in codes {
        let mut issuers: Vec<_> = view
            .decisions
            .iter()
            .filter(|it| it.reason == code && !it.issuer.is_empty())
            .map(|it| escaped(&it.issuer))
            .collect();
        issuers.sort();
        issuers.dedup();
        let _ = write!(page, "<tr><td><code>{code}</code><td>");
        spark(page, view, code);
        let _ = write!(
            page,
            "<td>{}<td class=\"n\">{}</tr>",
            issuers.join(", "),
            grouped(count)
        );
    }
    page.push_str("</table></section>");
}

fn spark(page: &mut String, view: &View, code: &str) {
    let counts: Vec<u64> = view
        .minutes
        .iter()
        .map(|it| {
            it.reasons
                .iter()
                .find(|(it, _)| *it == code)
                .map_or(0, |(_, count)| *count)
        })
        .collect();
    let most = counts.iter().copied().max().unwrap_or(0).max(1);
    let _ = write!(
        page,
        "<svg width=\"{}\" height=\"22\" aria-hidden=\"true\"><line x1=\"0\" y1=\"21.5\" x2=\"{0}\" y2=\"21.5\" stroke=\"var(--line)\"/>",
        MINUTES * 4
    );
    for (at, count) in counts.iter().enumerate().filter(|(_, count)| **count > 0) {
        let height = (*count as f64 / most as f64 * 19.0).max(1.5);
        let _ = write!(
            page,
            "<rect x=\"{}\" y=\"{:.1}\" width=\"3\" height=\"{height:.1}\" fill=\"var(--bad)\"/>",
            at * 4,
            21.0 - height
        );
    }
    page.push_str("</svg>");
}

fn issuers(page: &mut String, view: &View) {
    page.push_str("<section><h2>Issuers</h2><table><tr><th>Issuer<th class=\"n\">Keys<th class=\"n\">Age<th class=\"n\">Fetches<th class=\"n\">Failed<th>Last error</tr>");
    for it in &view.issuers {
        let age = it.age.map_or_else(|| "never".to_owned(), duration);
        let error = match &it.last_error {
            Some(error) => format!("<span class=\"bad\">{}</span>", escaped(error)),
            None => "<span class=\"good\">none</span>".to_owned(),
        };
        let _ = write!(
            page,
            "<tr><td>{}<td class=\"n\">{}<td class=\"n\">{age}<td class=\"n\">{}<td class=\"n\">{}<td>{error}</tr>",
            escaped(&it.name),
            it.keys,
            grouped(it.fetched),
            grouped(it.failed)
        );
    }
    page.push_str("</table></section>");
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

fn duration(seconds: u64) -> String {
    match seconds {
        0..120 => format!("{seconds} s"),
        120..7200 => format!("{} min", seconds / 60),
        7200..172_800 => format!("{} h", seconds / 3600),
        _ => format!("{} d", seconds / 86_400),
    }
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
}
