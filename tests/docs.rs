//! The reference holds what the code holds: directives, their defaults and places, reasons and their
//! statuses. It fails when one of src/directive.rs, c_shim/conf.c and docs/ moves alone.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use gitlab_gate::directive::{Scope, TABLE};
use gitlab_gate::port::limit::Cause;
use gitlab_gate::verdict::Reason;
use std::collections::BTreeMap;
use std::path::Path;

fn read(file: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(file);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The sections of a page: a heading's text, and what stands below it.
fn sections(page: &str, mark: &str) -> Vec<(String, String)> {
    let mut all: Vec<(String, String)> = Vec::new();
    for line in page.lines() {
        if let Some(heading) = line.strip_prefix(mark) {
            all.push((heading.trim().to_owned(), String::new()));
        } else if line.starts_with('#') {
            all.push((String::new(), String::new()));
        } else if let Some((_, text)) = all.last_mut() {
            text.push_str(line);
            text.push('\n');
        }
    }
    all.retain(|(heading, _)| !heading.is_empty());
    all
}

/// `- **Name**: value` of a directive's entry.
fn field<'t>(entry: &'t str, name: &str) -> Option<&'t str> {
    entry
        .lines()
        .find_map(|line| line.strip_prefix(&format!("- **{name}**: ")))
}

#[test]
fn the_reference_has_each_directive_in_the_order_of_the_table() {
    let page = read("docs/directives.md");
    let documented: Vec<_> = sections(&page, "## Gate")
        .into_iter()
        .map(|(name, _)| format!("Gate{name}"))
        .collect();
    let known: Vec<_> = TABLE.iter().map(|it| it.name).collect();
    assert_eq!(documented, known);
}

#[test]
fn each_entry_says_default_context_syntax_and_example() {
    let page = read("docs/directives.md");
    let entries: BTreeMap<_, _> = sections(&page, "## ").into_iter().collect();
    for directive in TABLE {
        let name = directive.name;
        let entry = entries
            .get(name)
            .unwrap_or_else(|| panic!("{name} has no entry"));
        assert_eq!(
            field(entry, "Default"),
            Some(directive.default),
            "{name}: default"
        );
        let context = match directive.scope {
            Scope::Issuer => "issuer",
            Scope::Server => "server",
            Scope::Host => "server, virtual host",
            Scope::Section => "section",
        };
        assert_eq!(field(entry, "Context"), Some(context), "{name}: context");
        for part in ["Syntax", "Example"] {
            let text = field(entry, part).unwrap_or_else(|| panic!("{name} has no {part}"));
            assert!(
                text.starts_with(&format!("`{name} ")),
                "{name}: {part} is {text}"
            );
        }
        let prose: Vec<_> = entry
            .lines()
            .filter(|line| !line.is_empty() && !line.starts_with("- **"))
            .collect();
        assert!(!prose.is_empty(), "{name} says nothing in words");
    }
}

#[test]
fn the_command_table_has_each_directive_in_its_place() {
    let source = read("c_shim/conf.c");
    let mut commands = BTreeMap::new();
    for line in source.lines() {
        for (make, scope) in [
            ("ISSUER(\"", Scope::Issuer),
            ("SERVER(\"", Scope::Server),
            ("HOST(\"", Scope::Host),
            ("PLACE(\"", Scope::Section),
        ] {
            if let Some((name, help)) = line
                .trim_start()
                .strip_prefix(make)
                .and_then(|rest| rest.split_once("\", \""))
            {
                assert!(help.len() > 10, "{name} has no help");
                assert!(
                    commands.insert(name, scope).is_none(),
                    "{name} stands twice"
                );
            }
        }
    }
    let known: BTreeMap<_, _> = TABLE.iter().map(|it| (it.name, it.scope)).collect();
    assert_eq!(
        commands.keys().collect::<Vec<_>>(),
        known.keys().collect::<Vec<_>>()
    );
    for (name, scope) in &known {
        assert_eq!(commands.get(name), Some(scope), "{name}");
    }
}

#[test]
fn the_reasons_are_documented_with_their_statuses() {
    let page = read("docs/reasons.md");
    let mut documented: Vec<_> = sections(&page, "### ")
        .into_iter()
        .map(|(heading, text)| {
            assert!(text.trim().len() > 20, "{heading} is not explained");
            heading
        })
        .collect();
    let mut known: Vec<_> = Reason::ALL
        .iter()
        .map(|it| format!("{} ({})", it.code(), it.status()))
        .collect();
    documented.sort();
    known.sort();
    assert_eq!(documented, known);
}

/// The small words in quotes of some lines of the C shim.
fn words_in_c(wanted: fn(&str, &str) -> bool) -> Vec<(String, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("c_shim");
    let mut found = Vec::new();
    for file in std::fs::read_dir(root).unwrap() {
        let name = file.unwrap().file_name().into_string().unwrap();
        if !name.ends_with(".c") {
            continue;
        }
        for line in read(&format!("c_shim/{name}")).lines() {
            if wanted(&name, line) {
                let words = line.split('"').skip(1).step_by(2);
                let is_code = |it: &&str| {
                    !it.is_empty() && it.bytes().all(|b| b.is_ascii_lowercase() || b == b'_')
                };
                found.extend(
                    words
                        .filter(is_code)
                        .map(|it| (it.to_owned(), line.to_owned())),
                );
            }
        }
    }
    found
}

#[test]
fn the_c_shim_names_no_reason() {
    // The parameter `path` of a question to gate-explain is no reason.
    let all = words_in_c(|_, line| !line.contains("parameter(r, "));
    assert!(all.len() > 10);
    for (word, line) in all {
        assert!(Reason::from_code(&word).is_none(), "{word}: {line}");
    }
}

#[test]
fn a_close_by_the_c_shim_has_a_cause_and_each_cause_is_documented() {
    let all = words_in_c(|file, line| {
        file == "tunnel.c"
            && [
                "return \"",
                "first = \"",
                "give_back(",
                "aborted ?",
                "\"stopping\"",
            ]
            .iter()
            .any(|it| line.contains(it))
    });
    assert!(all.len() > 5);
    for (code, line) in all {
        // else it would be written down as the client's
        assert!(
            Cause::ALL.iter().any(|it| it.name() == code),
            "{code}: {line}"
        );
    }
    let page = read("docs/ports.md");
    for cause in Cause::ALL {
        assert!(
            page.contains(&format!("| `{}` |", cause.name())),
            "{}",
            cause.name()
        );
    }
}

#[test]
fn links_between_the_pages_lead_somewhere() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut pages: Vec<_> = ["docs", "docs/issuers"]
        .iter()
        .flat_map(|dir| std::fs::read_dir(root.join(dir)).unwrap())
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|it| it == "md"))
        .collect();
    pages.extend(["README.md", "CONTRIBUTING.md"].map(|it| root.join(it)));
    for page in pages {
        let text = std::fs::read_to_string(&page).unwrap();
        for target in text
            .split("](")
            .skip(1)
            .filter_map(|rest| rest.split(')').next())
            .filter(|target| !target.contains("://"))
        {
            let file = target.split('#').next().unwrap();
            let leads = file.is_empty() || page.parent().unwrap().join(file).exists();
            assert!(leads, "{} links to {target}", page.display());
        }
    }
}
