//! The pages that a person sees: a refusal, the choice of a sign-in, what became of a sign-out. One
//! style sheet, no script, nothing from elsewhere, one clear next step. Text from outside is escaped
//! where it enters a page.

use aws_lc_rs::digest;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use std::fmt::Write as _;
use std::sync::LazyLock;

const STYLE: &str = include_str!("pages/style.css");

/// The style sheet's hash, which Content-Security-Policy names (CSP 3, section 2.3.1).
static STYLE_HASH: LazyLock<String> =
    LazyLock::new(|| BASE64.encode(digest::digest(&digest::SHA256, STYLE.as_bytes())));

/// One thing that a person can do on a page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// A link.
    Link {
        /// What it says.
        text: String,
        /// Where it leads: made by the gate, never taken from outside.
        href: String,
    },
    /// A button that posts a form.
    Post {
        /// What it says.
        text: String,
        /// Where it posts to.
        action: String,
        /// Hidden fields.
        fields: Vec<(&'static str, String)>,
    },
}

/// A page.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Page {
    /// What it is about (AuthName), above the heading.
    pub realm: String,
    /// The heading, and the title of the window.
    pub heading: String,
    /// Paragraphs.
    pub text: Vec<String>,
    /// What to do next; the first one stands out.
    pub actions: Vec<Action>,
    /// Names and values at the end, as the request's id.
    pub details: Vec<(&'static str, String)>,
    /// Where to ask for help (GateContact): a URL or an e-mail address.
    pub contact: Option<String>,
}

impl Page {
    /// The document.
    #[must_use]
    pub fn html(&self) -> String {
        let mut html = String::with_capacity(STYLE.len() + 2048);
        let heading = escaped(&self.heading);
        let _ = write!(
            html,
            "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\
             <meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">\
             <meta name=\"color-scheme\" content=\"light dark\"><title>{heading}</title>\
             <style>{STYLE}</style></head><body><main>"
        );
        if !self.realm.is_empty() {
            let _ = write!(html, "<p class=\"realm\">{}</p>", escaped(&self.realm));
        }
        let _ = write!(html, "<h1>{heading}</h1>");
        for text in &self.text {
            let _ = write!(html, "<p>{}</p>", escaped(text));
        }
        for (at, action) in self.actions.iter().enumerate() {
            html.push_str(&action.html(at == 0));
        }
        if !self.details.is_empty() || self.contact.is_some() {
            html.push_str("<footer>");
            if let Some(contact) = &self.contact {
                let _ = write!(html, "<p>{}</p>", contact_link(contact));
            }
            if !self.details.is_empty() {
                html.push_str("<dl>");
                for (name, value) in &self.details {
                    let _ = write!(
                        html,
                        "<dt>{name}</dt><dd><code>{}</code></dd>",
                        escaped(value)
                    );
                }
                html.push_str("</dl>");
            }
            html.push_str("</footer>");
        }
        html.push_str("</main></body></html>\n");
        html
    }

    /// The same as plain text.
    #[must_use]
    pub fn plain(&self) -> String {
        let mut text = format!("{}\n", self.heading);
        for it in &self.text {
            let _ = writeln!(text, "{it}");
        }
        for (name, value) in &self.details {
            let _ = writeln!(text, "{name}: {value}");
        }
        if let Some(contact) = &self.contact {
            let _ = writeln!(text, "Help: {contact}");
        }
        text
    }

    /// Content-Security-Policy for the page. `form_action`: where its forms may lead, beside this
    /// host; browsers hold redirects after a form to it.
    #[must_use]
    pub fn policy(form_action: &[&str]) -> String {
        let mut policy = format!(
            "default-src 'none'; style-src 'sha256-{}'; base-uri 'none'; form-action 'self'",
            *STYLE_HASH
        );
        for origin in form_action {
            let _ = write!(policy, " {origin}");
        }
        policy.push_str("; frame-ancestors 'none'");
        policy
    }

    /// The headers of every page of the gate.
    #[must_use]
    pub fn fields(form_action: &[&str]) -> Vec<(&'static str, String)> {
        vec![
            ("Content-Security-Policy", Self::policy(form_action)),
            ("Cache-Control", "no-store".into()),
            ("Referrer-Policy", "strict-origin".into()),
            ("X-Content-Type-Options", "nosniff".into()),
            ("Cross-Origin-Resource-Policy", "same-origin".into()),
        ]
    }
}

impl Action {
    fn html(&self, first: bool) -> String {
        let class = if first { "act" } else { "act other" };
        match self {
            Self::Link { text, href } => format!(
                "<a class=\"{class}\" href=\"{}\">{}</a>",
                escaped(href),
                escaped(text)
            ),
            Self::Post {
                text,
                action,
                fields,
            } => {
                let mut html = format!("<form method=\"post\" action=\"{}\">", escaped(action));
                for (name, value) in fields {
                    let _ = write!(
                        html,
                        "<input type=\"hidden\" name=\"{name}\" value=\"{}\">",
                        escaped(value)
                    );
                }
                // A click that was meant for the page before does nothing: the button takes none for a second.
                let _ = write!(
                    html,
                    "<button class=\"{class} wait\">{}</button></form>",
                    escaped(text)
                );
                html
            }
        }
    }
}

/// GateContact as a link, where it is one.
fn contact_link(contact: &str) -> String {
    let text = escaped(contact);
    if contact.starts_with("https://") || contact.starts_with("http://") {
        format!("Questions? <a href=\"{text}\">Ask here</a>.")
    } else if contact.contains('@') {
        format!("Questions? Write to <a href=\"mailto:{text}\">{text}</a>.")
    } else {
        format!("Questions? {text}")
    }
}

/// Text as it may stand in HTML, between tags and in a quoted attribute.
#[must_use]
pub fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            c if c.is_control() => out.push(' '),
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    const ODD: &str = "<script>\"'&\n</h1>";

    fn page() -> Page {
        Page {
            realm: ODD.into(),
            heading: ODD.into(),
            text: vec![ODD.into()],
            actions: vec![
                Action::Link {
                    text: ODD.into(),
                    href: ODD.into(),
                },
                Action::Post {
                    text: ODD.into(),
                    action: ODD.into(),
                    fields: vec![("token", ODD.into())],
                },
            ],
            details: vec![("Request", ODD.into())],
            contact: Some(ODD.into()),
        }
    }

    #[test]
    fn no_text_from_outside_becomes_markup() {
        let html = page().html();
        assert!(!html.contains("<script"), "{html}");
        assert_eq!(html.matches("</h1>").count(), 1);
        let quotes = html
            .split("<style>")
            .next()
            .map(|it| it.matches('"').count());
        assert_eq!(quotes.map(|it| it % 2), Some(0));
    }

    #[test]
    fn a_page_holds_no_script_and_its_style_is_the_one_that_the_policy_names() {
        let html = page().html();
        let style = html
            .split("<style>")
            .nth(1)
            .and_then(|it| it.split("</style>").next());
        let hash = BASE64.encode(digest::digest(
            &digest::SHA256,
            style.unwrap_or_default().as_bytes(),
        ));
        let policy = Page::policy(&["https://id.example"]);
        assert!(policy.contains(&format!("style-src 'sha256-{hash}'")));
        assert!(policy.contains("form-action 'self' https://id.example;"));
        assert!(
            policy.starts_with("default-src 'none';") && policy.contains("frame-ancestors 'none'")
        );
        assert!(!html.contains("style=\""));
    }

    #[test]
    fn the_first_action_stands_out() {
        let html = page().html();
        assert_eq!(html.matches("class=\"act\"").count(), 1);
        assert_eq!(html.matches("class=\"act other wait\"").count(), 1);
    }

    #[test]
    fn a_contact_is_a_link_where_it_can_be_one() {
        assert!(contact_link("https://help.example/x").contains("href=\"https://help.example/x\""));
        assert!(contact_link("help@example.com").contains("mailto:help@example.com"));
        assert!(!contact_link("javascript:x").contains("href"));
    }

    #[test]
    fn the_plain_text_has_the_same_words() {
        let text = Page {
            heading: "Access denied".into(),
            details: vec![("Request", "abc".into())],
            ..Page::default()
        }
        .plain();
        assert_eq!(text, "Access denied\nRequest: abc\n");
    }
}
