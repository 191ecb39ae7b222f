//! The figures in Prometheus' text format. The names are fixed (docs/audit.md).

use super::view::View;
use std::fmt::Write as _;

/// The text.
#[must_use]
pub fn render(view: &View) -> String {
    let mut text = Text(String::new());
    text.head(
        "gitlab_gate_decisions_total",
        "counter",
        "Requests that the gate decided on.",
    );
    for it in &view.decisions {
        let labels = [
            ("outcome", it.outcome.name()),
            ("reason", it.reason),
            ("issuer", &it.issuer),
        ];
        text.sample("gitlab_gate_decisions_total", &labels, it.count);
    }
    text.head(
        "gitlab_gate_keys_age_seconds",
        "gauge",
        "Seconds since an issuer's keys were last had.",
    );
    for it in &view.issuers {
        if let Some(age) = it.age {
            text.sample("gitlab_gate_keys_age_seconds", &[("issuer", &it.name)], age);
        }
    }
    text.head(
        "gitlab_gate_key_fetches_total",
        "counter",
        "Fetches of an issuer's keys.",
    );
    for it in &view.issuers {
        for (result, count) in [("ok", it.fetched), ("failed", it.failed)] {
            let labels = [("issuer", it.name.as_str()), ("result", result)];
            text.sample("gitlab_gate_key_fetches_total", &labels, count);
        }
    }
    let (entries, hits, misses) = view.cache;
    text.alone(
        "gitlab_gate_cache_entries",
        "gauge",
        "Verified tokens that are kept.",
        entries as u64,
    );
    text.alone(
        "gitlab_gate_cache_hits_total",
        "counter",
        "Tokens that were verified before.",
        hits,
    );
    text.alone(
        "gitlab_gate_cache_misses_total",
        "counter",
        "Tokens that had to be verified.",
        misses,
    );
    text.head(
        "gitlab_gate_ports_open",
        "gauge",
        "Ports that are open now.",
    );
    for (it, open) in &view.ports {
        text.sample(
            "gitlab_gate_ports_open",
            &[("port", &it.name)],
            *open as u64,
        );
    }
    text.head(
        "gitlab_gate_ports_opened_total",
        "counter",
        "Ports that were opened.",
    );
    for (it, _) in &view.ports {
        let labels = [("port", it.name.as_str())];
        text.sample("gitlab_gate_ports_opened_total", &labels, it.opened);
    }
    text.head(
        "gitlab_gate_ports_closed_total",
        "counter",
        "Ports that have ended, by event.reason of their close.",
    );
    for (it, _) in &view.ports {
        for (cause, count) in &it.ends {
            let labels = [("port", it.name.as_str()), ("reason", cause)];
            text.sample("gitlab_gate_ports_closed_total", &labels, *count);
        }
    }
    text.head(
        "gitlab_gate_port_bytes_total",
        "counter",
        "Bytes through ports that have ended, from the source (the client) and from the destination.",
    );
    for (it, _) in &view.ports {
        for (from, bytes) in [("source", it.sent), ("destination", it.received)] {
            let labels = [("port", it.name.as_str()), ("from", from)];
            text.sample("gitlab_gate_port_bytes_total", &labels, bytes);
        }
    }
    text.head(
        "gitlab_gate_upstream_token_age_seconds",
        "gauge",
        "Seconds since the file of an upstream token was changed.",
    );
    for (file, age) in &view.files {
        text.sample(
            "gitlab_gate_upstream_token_age_seconds",
            &[("file", file)],
            *age,
        );
    }
    text.alone(
        "gitlab_gate_audit_lost_total",
        "counter",
        "Lines that could not be written into the audit log.",
        view.audit_lost,
    );
    text.0
}

struct Text(String);

impl Text {
    fn head(&mut self, name: &str, kind: &str, help: &str) {
        let _ = write!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}\n");
    }

    fn alone(&mut self, name: &str, kind: &str, help: &str, value: u64) {
        self.head(name, kind, help);
        self.sample(name, &[], value);
    }

    fn sample(&mut self, name: &str, labels: &[(&str, &str)], value: u64) {
        self.0.push_str(name);
        for (at, (label, text)) in labels.iter().enumerate() {
            self.0.push(if at == 0 { '{' } else { ',' });
            let text = text
                .replace('\\', "\\\\")
                .replace('"', "\\\"")
                .replace('\n', "\\n");
            let _ = write!(self.0, "{label}=\"{text}\"");
        }
        if !labels.is_empty() {
            self.0.push('}');
        }
        let _ = writeln!(self.0, " {value}");
    }
}
