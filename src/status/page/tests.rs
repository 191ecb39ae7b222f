//! The page of a busy gate and of one that has just begun. `GATE_KEEP_PAGE=FILE cargo test status::page`
//! keeps the busy one, to look at.

#![allow(clippy::unwrap_used)]
use super::*;
use crate::status::board::{Count, PortCount, Slice};
use crate::status::view::IssuerView;

fn issuer(name: &str, age: Option<u64>, last_error: Option<&str>) -> IssuerView {
    IssuerView {
        name: name.into(),
        keys: usize::from(age.is_some()) * 3,
        age,
        max_stale: 86_400,
        last_error: last_error.map(Into::into),
        fetched: 96,
        failed: u64::from(last_error.is_some()) * 7,
    }
}

fn count(outcome: Outcome, reason: &'static str, issuer: &str, count: u64) -> Count {
    let issuer = issuer.to_owned();
    Count {
        outcome,
        reason,
        issuer,
        count,
    }
}

fn busy() -> View {
    let wave = |at: u64, high: u64| high * (20 + (at * 37 % 23) + at / 3) / 60;
    let minutes = (0..60).map(|at| Slice {
        outcomes: [
            wave(at, 900),
            wave(at + 7, 60),
            u64::from(at > 40) * wave(at, 12),
        ],
        reasons: vec![
            ("expired", wave(at, 30)),
            ("role", wave(at + 11, 9) * u64::from(at % 7 > 3)),
            ("token_missing", wave(at + 3, 20)),
            ("keys_unavailable", u64::from(at > 50) * wave(at, 8)),
        ],
    });
    let port = |name: &str, opened, ends: &[(&'static str, u64)]| PortCount {
        name: name.into(),
        opened,
        sent: opened * 48_211,
        received: opened * 7_300_411,
        ends: ends.to_vec(),
    };
    View {
        now: 1_763_800_000,
        issuers: vec![
            issuer("gitlab", Some(412), None),
            issuer(
                "okta",
                Some(31_000),
                Some("https://acme.okta.com/oauth2/v1/keys: no whole answer in time (GateTimeout)"),
            ),
            issuer(
                "partner",
                None,
                Some(
                    "https://id.partner.example/.well-known/openid-configuration: the host is not found",
                ),
            ),
        ],
        decisions: vec![
            count(Outcome::Success, "", "gitlab", 1_204_331),
            count(Outcome::Success, "", "okta", 88_120),
            count(Outcome::Failure, "expired", "gitlab", 9_120),
            count(Outcome::Failure, "expired", "okta", 312),
            count(Outcome::Failure, "role", "okta", 1_044),
            count(Outcome::Failure, "token_missing", "", 22_718),
            count(Outcome::Failure, "keys_unavailable", "partner", 64),
            count(Outcome::Observed, "audience", "okta", 311),
        ],
        minutes: minutes.collect(),
        cache: (4_812, 1_270_020, 31_994),
        ports: vec![
            (
                port(
                    "orders-db:5432",
                    812,
                    &[
                        ("expired", 12),
                        ("idle", 40),
                        ("client", 741),
                        ("job_ended", 16),
                    ],
                ),
                3,
            ),
            (port("build-cache.internal:6379", 95, &[("client", 94)]), 1),
        ],
        accounts: vec![crate::account::Status {
            url: "https://gitlab.example.com/api/v4".into(),
            names: 3,
            asked: (7, 1),
            last_error: Some("it answered <500>".into()),
        }],
        files: vec![
            ("/etc/gate/gitlab-token".into(), 40 * 86_400),
            ("/etc/gate/<b>\"".into(), 7_000),
        ],
        audit_lost: 1_204,
        children: 4,
    }
}

#[test]
fn a_busy_page_holds_nothing_from_elsewhere_and_no_script() {
    let page = render(&busy());
    if let Some(path) = std::env::var_os("GATE_KEEP_PAGE") {
        std::fs::write(path, &page).unwrap();
    }
    for wrong in [
        "<script",
        "src=",
        "@import",
        "url(",
        "<link",
        "onload",
        "<b>\"</code>",
    ] {
        assert!(!page.contains(wrong), "{wrong}");
    }
    assert!(page.contains("6 things want attention"));
    for it in [
        "GitLab can't say; 3 names known to this process, 7 questions answered, 1 failed.",
        "it answered &lt;500&gt;",
        "<code>expired</code>",
        "no keys",
        "GateTimeout",
        "1\u{202f}204</b>",
        "orders-db:5432",
        "job_ended",
    ] {
        assert!(page.contains(it), "{it}");
    }
}

#[test]
fn a_gate_that_has_just_begun_is_well() {
    let page = render(&View {
        issuers: vec![issuer("gitlab", Some(1), None)],
        decisions: Vec::new(),
        minutes: vec![Slice::default(); 60],
        cache: (0, 0, 0),
        ports: Vec::new(),
        accounts: Vec::new(),
        files: Vec::new(),
        audit_lost: 0,
        children: 1,
        ..busy()
    });
    assert!(page.contains("all well") && page.contains("None was refused"));
    assert!(!page.contains("Wants attention") && !page.contains("<h2>Ports"));
}
