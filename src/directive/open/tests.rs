//! Sections written one after the other, and what is warned of.

use super::*;

/// The warnings of these sections, written one after the other: `container path: line, line`.
fn warnings(text: &[&str]) -> Vec<String> {
    let mut sections = Sections::default();
    for (at, section) in text.iter().enumerate() {
        let (head, lines) = section.split_once(": ").unwrap_or_default();
        let (container, path) = head.split_once(' ').unwrap_or_default();
        let (server, container) = match container.strip_prefix('v') {
            Some(container) => (1, container),
            None => (0, container),
        };
        for line in lines.split(',').map(str::trim) {
            let place = Place {
                server,
                line: u32::try_from(at + 1).unwrap_or_default(),
                file: "f".into(),
                section: Some(path.into()),
                container: Some(container.into()),
                group: None,
                port: container == "<GatePort",
            };
            let (group, line) = match line.strip_prefix('<').and_then(|it| it.split_once("> ")) {
                Some((group, line)) => (Some(format!("<{group}")), line),
                None => (None, line),
            };
            let place = Place { group, ..place };
            match line.split_once(' ') {
                Some(("AuthType", word)) => sections.auth_type(&place, word),
                Some(("Require", words)) => sections.require(&place, words.into()),
                Some(("SetHandler", name)) => sections.handler(&place, name),
                _ => {}
            }
        }
    }
    sections.open(&[false, true])
}

#[test]
fn a_gated_place_that_is_left_open_is_told() {
    for (text, lines) in [
        (
            &["<Location /: AuthType Gate, Require all granted"][..],
            [1, 1],
        ),
        (
            &[
                "<Directory /htdocs/: Require all granted",
                "<Location /files/: AuthType Gate",
            ],
            [2, 1],
        ),
        (
            &[
                "<Location /files/: AuthType Gate",
                "<Directory /htdocs/: Require all granted",
            ],
            [1, 2],
        ),
        (
            &[
                "<Location /: AuthType Gate, Require valid-user",
                "<Location /pub/: Require all granted",
            ],
            [2, 1],
        ),
        (
            &[
                "<Location /: AuthType Gate",
                "<LocationMatch ^/p.b$: Require all granted",
            ],
            [2, 1],
        ),
        (
            &[
                "<Location /: Require all granted",
                "<Location /x: AuthType Gate",
            ],
            [2, 1],
        ),
        (
            &[
                "<Directory /a/b/: AuthType Gate",
                "<Directory /a/: Require all granted",
            ],
            [1, 2],
        ),
        (
            &[
                "<Directory /a/b/: Require all granted",
                "<Directory /a/: AuthType Gate, Require valid-user",
            ],
            [1, 2],
        ),
        (
            &[
                "<Directory /a/: AuthType Gate, Require valid-user",
                "<Location /x: Require all granted",
            ],
            [2, 1],
        ),
        (
            &[
                "v<Location /: AuthType Gate",
                "<Directory /a/: Require all granted",
            ],
            [1, 2],
        ),
        (
            &[
                "v<Location /x: Require all granted",
                "<Location /: AuthType Gate, Require valid-user",
            ],
            [1, 2],
        ),
    ] {
        let told = warnings(text);
        assert_eq!(told.len(), 1, "{text:?}: {told:?}");
        for line in lines {
            let said = told
                .iter()
                .any(|it| it.contains(&format!("line {line} of f")));
            assert!(said, "{text:?}: {told:?}");
        }
    }
}

#[test]
fn an_expression_that_nobody_may_fulfil_is_told() {
    for (rules, wanted) in [
        ("Require expr !('x' in gate_claims('groups'))", 1),
        ("Require Expr gate_claim('a') != 'b'", 1),
        ("Require expr -z gate_claim('a')", 1),
        (
            "Require expr gate_claim('a') == 'b', Require expr ! (gate_claim('a') == 'c')",
            1,
        ),
        ("Require expr gate_claim('a') == 'b'", 0),
        ("Require valid-user, Require expr gate_claim('a') != 'b'", 0),
        ("Require expr %{HTTP_HOST} != 'b'", 0),
        ("Require valid-user", 0),
        ("Require all granted, Require not gate-role contractor", 1),
        ("Require ip 10.0.0.0/8, Require not gate-claim a=b", 1),
        ("Require valid-user, Require not gate-role contractor", 0),
        ("Require gate-role a, Require not gate-role contractor", 0),
        ("Require all granted, Require not ip 10.0.0.0/8", 0),
    ] {
        let told = warnings(&[&format!("<Location /: AuthType Gate, {rules}")]);
        let warned = told.iter().filter(|it| it.starts_with("GATE233")).count();
        assert_eq!(warned, wanted, "{rules}");
    }
}

#[test]
fn a_port_or_a_rule_without_the_gate_is_told() {
    for (text, code) in [
        (&["<GatePort db:1: Require valid-user"][..], "GATE231"),
        (&["<GatePort db:1: AuthType Basic"], "GATE231"),
        (
            &["<GatePort db:1: AuthType None, Require all granted"],
            "GATE231",
        ),
        (
            &[
                "<GatePort db:1: Require gate-role x",
                "<Location /: AuthType Gate",
            ],
            "GATE231",
        ),
        (&["<Location /: Require gate-role x"], "GATE232"),
        (
            &["<Location /: Require not gate-claim a=b, Require all granted"],
            "GATE232",
        ),
        (
            &["<Location /: AuthType Basic, Require gate-issuer a"],
            "GATE232",
        ),
        (
            &[
                "<Location /a: Require gate-role x",
                "<Location /b: AuthType Gate",
            ],
            "GATE232",
        ),
        (&["v<Files x: Require gate-role x"], "GATE232"),
    ] {
        let told = warnings(text);
        assert_eq!(told.len(), 1, "{text:?}: {told:?}");
        assert!(
            told.iter().all(|it| it.starts_with(code)),
            "{text:?}: {told:?}"
        );
    }
    for text in [
        &["<GatePort db:1: AuthType Gate, Require all granted"][..],
        &["v<GatePort db:1: Require valid-user", "< : AuthType Gate"],
        &[
            "<Location /a/: AuthType Gate",
            "<Location /a/b/: Require gate-role x",
        ],
        &[
            "<Directory /a/: Require gate-role x",
            "v<Location /: AuthType Gate",
        ],
    ] {
        assert_eq!(warnings(text), Vec::<String>::new(), "{text:?}");
    }
}

#[test]
fn a_gated_place_with_rules_is_not() {
    for text in [
        &["<Location /: AuthType Gate"][..],
        &[
            "<Directory /htdocs/: Require all granted",
            "<Location /: AuthType Gate, Require valid-user",
        ],
        &[
            "<Directory /htdocs/: Require all granted",
            "<Location /x/: AuthType Gate",
            "<Location /: Require valid-user",
        ],
        &[
            "<Location /pub/: Require all granted",
            "<Location /: AuthType Gate, Require valid-user",
        ],
        &[
            "<Location /: AuthType Gate, Require valid-user",
            "<Location /pub/: AuthType None, Require all granted",
        ],
        &[
            "<Location /: AuthType Gate, Require valid-user",
            "<Location /pub/: Require all granted, Require ip 10.0.0.1",
        ],
        &[
            "<Location /: AuthType Gate, Require valid-user",
            "<Location /a/: AuthType None, Require ip 10.0.0.1",
            "<Location /a/b/: Require all granted",
        ],
        &[
            "<Location /a/: AuthType Gate, Require valid-user",
            "<Location /ab/: Require all granted",
        ],
        &[
            "<Directory /: Require all denied",
            "<Location /: AuthType Gate",
        ],
        &[
            "<Directory /a/: Require all granted",
            "<Directory /b/: AuthType Gate",
        ],
        &[
            "<Location /x: AuthType Gate",
            "<Files x: Require all granted",
        ],
        &[
            "v<Directory /a/: Require all granted",
            "v<Location /: Require valid-user",
        ],
    ] {
        assert_eq!(warnings(text), Vec::<String>::new(), "{text:?}");
    }
}

#[test]
fn a_rule_that_everybody_fulfils_beside_one_that_asks_is_told() {
    for (rules, wanted) in [
        ("Require all granted, Require gate-role admin", true),
        ("Require gate-role admin, Require method GET POST", true),
        ("Require gate-claim a=b, Require ip 0.0.0.0/0", true),
        ("Require gate-role a, Require ip 0.0.0.0/0.0.0.0", true),
        ("Require gate-role a, Require ip 10.0.0.0/255.0.0.0", false),
        ("Require valid-user, Require expr true", true),
        ("Require not all denied, Require gate-role admin", true),
        (
            "<RequireAny> Require all granted, <RequireAny> Require gate-role a",
            true,
        ),
        (
            "<RequireAll> Require all granted, <RequireAll> Require gate-role a",
            false,
        ),
        (
            "<RequireAll> Require method GET, Require gate-role a",
            false,
        ),
        ("Require gate-role admin, Require ip 10.0.0.0/8", false),
        ("Require gate-role admin, Require valid-user", false),
        ("Require all granted", false),
    ] {
        let told = warnings(&[&format!("<Location /x: AuthType Gate, {rules}")]);
        let warned = told.iter().any(|it| it.starts_with("GATE236"));
        assert_eq!(warned, wanted, "{rules}: {told:?}");
    }
}

#[test]
fn a_section_counts_for_itself_only() {
    let told = warnings(&[
        "<Location /: Require all granted, Require not gate-role x",
        "<Location /admin/: AuthType Gate, Require gate-role admin",
    ]);
    assert!(told.iter().any(|it| it.starts_with("GATE232")), "{told:?}");
}

#[test]
fn a_handler_about_the_module_in_an_open_section_is_told() {
    for (text, wanted) in [
        (&["<Location /s: SetHandler gate-status"][..], true),
        (
            &["<Location /s: SetHandler gate-explain, Require all granted"],
            true,
        ),
        (
            &["<Location /s: AuthType None, SetHandler gate-status"],
            true,
        ),
        (
            &["<Location /s: Require ip 10.0.0.1, SetHandler gate-status"],
            true,
        ),
        (
            &["<Location /s: AuthType Gate, SetHandler gate-status"],
            false,
        ),
        (
            &[
                "<Location /: AuthType Gate",
                "<Location /s: SetHandler gate-status",
            ],
            false,
        ),
        (
            &[
                "<Location /: AuthType Gate",
                "<Location /s: SetHandler gate-status, Require all granted",
            ],
            true,
        ),
        (&["<Location /s: SetHandler gate-jwks"], false),
    ] {
        let told = warnings(text);
        let warned = told.iter().any(|it| it.starts_with("GATE235"));
        assert_eq!(warned, wanted, "{text:?}: {told:?}");
    }
}

#[test]
fn open_directories_are_told_in_one_line() {
    let told = warnings(&[
        "<Directory /usr/share: Require all granted",
        "<Directory /var/www/: Require all granted",
        "<Location /files/: AuthType Gate",
    ]);
    assert_eq!(told.len(), 1, "{told:?}");
    let one = told.concat();
    assert!(
        one.contains("/usr/share (line 1 of f), /var/www/ (line 2 of f)"),
        "{one}"
    );
}
