//! Which requests a person makes by going to a page (Fetch Metadata): those may be sent to a sign-in.
//! Scripts, git and container clients are answered 401.

use crate::request::{FieldName, Fields, Found};
use std::sync::LazyLock;

/// The header fields that tell.
struct Names {
    mode: FieldName,
    dest: FieldName,
    purpose: FieldName,
    accept: FieldName,
    /// A request with one of these is a program's, where Fetch Metadata says nothing.
    program: [FieldName; 3],
}

static NAMES: LazyLock<Option<Names>> = LazyLock::new(|| {
    Some(Names {
        mode: FieldName::new("Sec-Fetch-Mode")?,
        dest: FieldName::new("Sec-Fetch-Dest")?,
        purpose: FieldName::new("Sec-Purpose")?,
        accept: FieldName::new("Accept")?,
        program: [
            FieldName::new("Authorization")?,
            FieldName::new("X-Requested-With")?,
            FieldName::new("Upgrade")?,
        ],
    })
});

/// Whether a browser sent it: only browsers send `Sec-Fetch-Mode`, and no script can set it.
#[must_use]
pub fn is_browser<'r>(fields: &impl Fields<'r>) -> bool {
    let names = NAMES.as_ref();
    names.is_some_and(|it| !matches!(fields.find(&it.mode), Found::None))
}

/// Whether a person goes to a page by it. `method`: as it was sent.
#[must_use]
pub fn is_navigation<'r>(method: &[u8], fields: &impl Fields<'r>) -> bool {
    let Some(names) = NAMES.as_ref() else {
        return false;
    };
    let is = |name, wanted: &[u8]| matches!(fields.find(name), Found::One(it) if it == wanted);
    let absent = |name| matches!(fields.find(name), Found::None);
    if !matches!(method, b"GET" | b"HEAD") {
        return false;
    }
    if is_browser(fields) {
        return is(&names.mode, b"navigate")
            && is(&names.dest, b"document")
            && absent(&names.purpose);
    }
    let html = matches!(fields.find(&names.accept), Found::One(it) if names_html(it));
    html && names.program.iter().all(absent)
}

/// Whether a person sends a form by it.
#[must_use]
pub fn is_form_post<'r>(method: &[u8], fields: &impl Fields<'r>) -> bool {
    let Some(names) = NAMES.as_ref() else {
        return false;
    };
    let is = |name, wanted: &[u8]| matches!(fields.find(name), Found::One(it) if it == wanted);
    !matches!(method, b"GET" | b"HEAD" | b"OPTIONS")
        && is(&names.mode, b"navigate")
        && is(&names.dest, b"document")
}

/// Whether `Accept` names `text/html` itself. `*/*` does not: git, curl and docker send it.
fn names_html(accept: &[u8]) -> bool {
    accept.split(|b| *b == b',').any(|range| {
        let media = range.split(|b| *b == b';').next().unwrap_or_default();
        media.trim_ascii().eq_ignore_ascii_case(b"text/html")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const NAVIGATE: (&str, &str) = ("Sec-Fetch-Mode", "navigate");
    const DOCUMENT: (&str, &str) = ("Sec-Fetch-Dest", "document");
    const HTML: (&str, &str) = ("Accept", "text/html,application/xhtml+xml;q=0.9,*/*;q=0.8");

    type Case<'c> = (&'c str, &'c [(&'c str, &'c str)], bool);

    #[test]
    fn a_navigation_is_told_from_a_fetch() {
        let cases: &[Case<'_>] = &[
            ("GET", &[NAVIGATE, DOCUMENT], true),
            ("HEAD", &[NAVIGATE, DOCUMENT], true),
            ("POST", &[NAVIGATE, DOCUMENT], false),
            ("GET", &[NAVIGATE], false),
            ("GET", &[NAVIGATE, ("Sec-Fetch-Dest", "iframe")], false),
            (
                "GET",
                &[NAVIGATE, DOCUMENT, ("Sec-Purpose", "prefetch")],
                false,
            ),
            ("GET", &[("Sec-Fetch-Mode", "cors"), DOCUMENT, HTML], false),
            ("GET", &[("Sec-Fetch-Mode", "no-cors"), HTML], false),
            ("GET", &[NAVIGATE, NAVIGATE, DOCUMENT], false),
            ("GET", &[HTML], true),
            ("HEAD", &[HTML], true),
            ("POST", &[HTML], false),
            ("GET", &[("Accept", "*/*")], false),
            (
                "GET",
                &[("Accept", "application/json, text/html;q=0.5")],
                true,
            ),
            ("GET", &[("Accept", "text/htmlx")], false),
            ("GET", &[], false),
            ("GET", &[HTML, ("Authorization", "Basic x")], false),
            (
                "GET",
                &[HTML, ("X-Requested-With", "XMLHttpRequest")],
                false,
            ),
            ("GET", &[HTML, ("Upgrade", "websocket")], false),
        ];
        for (method, fields, wanted) in cases {
            let got = is_navigation(method.as_bytes(), fields);
            assert_eq!(got, *wanted, "{method} {fields:?}");
        }
    }

    #[test]
    fn a_form_is_posted_by_a_navigation() {
        let form: &[(&str, &str)] = &[NAVIGATE, DOCUMENT];
        assert!(is_form_post(b"POST", &form));
        assert!(!is_form_post(b"GET", &form));
        let fetch: &[(&str, &str)] = &[("Sec-Fetch-Mode", "cors")];
        assert!(!is_form_post(b"POST", &fetch));
        assert!(is_browser(&fetch));
        let curl: &[(&str, &str)] = &[("Accept", "*/*")];
        assert!(!is_browser(&curl));
    }
}
