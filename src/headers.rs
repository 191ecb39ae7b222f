//! What a grant sets on the way to the upstream: the default headers, changed by GateHeader. Rendered
//! once per token; that nobody else sends them is seen to in `protected`.

use crate::config::{HeaderChoice, HeaderValue};
use crate::field::{folded, is_plain, list, same};
use crate::identity::{Identity, scalar};
use crate::json::Value;
use crate::kind::Kind;
use crate::sys::pairs::{Pairs, PairsBuilder};
use std::borrow::Cow;

/// The headers of an identity: the defaults, changed by the GateHeader lines (inner section first).
#[must_use]
pub fn render(identity: &Identity, chosen: &[&HeaderChoice]) -> Pairs {
    let mut pairs = PairsBuilder::default();
    let is_chosen = |name: &str, among: &[&HeaderChoice]| {
        among
            .iter()
            .any(|it| same(&folded(it.name.as_bytes()), name.as_bytes()))
    };
    for (name, value) in defaults(identity) {
        if !is_chosen(name, chosen)
            && let Some(value) = value.filter(|it| is_plain(it))
        {
            pairs.push(name, &value);
        }
    }
    for (at, choice) in chosen.iter().enumerate() {
        let inner = chosen.get(..at).unwrap_or_default();
        if !is_chosen(&choice.name, inner)
            && let Some(value) = chosen_value(identity, &choice.value).filter(|it| is_plain(it))
        {
            pairs.push(&choice.name, &value);
        }
    }
    pairs.build()
}

fn defaults(identity: &Identity) -> Vec<(&'static str, Option<Cow<'_, str>>)> {
    let mut all = vec![
        (
            "X-Forwarded-User",
            chosen_value(identity, &HeaderValue::User),
        ),
        (
            "X-Forwarded-Email",
            chosen_value(identity, &HeaderValue::Email),
        ),
        (
            "X-Forwarded-Groups",
            chosen_value(identity, &HeaderValue::Roles),
        ),
        (
            "X-Gate-Issuer",
            chosen_value(identity, &HeaderValue::Issuer),
        ),
        (
            "X-Gate-Subject",
            chosen_value(identity, &HeaderValue::Subject),
        ),
    ];
    if identity.kind() == Kind::Gitlab {
        all.extend([
            ("X-Gate-Project", identity.claim("project_path")),
            ("X-Gate-Ref", identity.claim("ref")),
            ("X-Gate-Pipeline", identity.claim("pipeline_id")),
            ("X-Gate-Job", identity.claim("job_id")),
        ]);
    }
    all
}

fn chosen_value<'a>(identity: &'a Identity, value: &HeaderValue) -> Option<Cow<'a, str>> {
    let text = match value {
        HeaderValue::User => Cow::Borrowed(identity.user()),
        HeaderValue::Email => Cow::Borrowed(identity.email()?),
        HeaderValue::Subject => Cow::Borrowed(identity.subject()?),
        HeaderValue::Issuer => Cow::Borrowed(identity.issuer_name()),
        HeaderValue::Roles => Cow::Owned(list(
            identity.roles().iter().map(|it| Cow::Borrowed(it.as_str())),
        )),
        HeaderValue::Claim(path) => claim_text(path.get(identity.claims())?),
        // An assertion is made anew from time to time: `upstream` sets it.
        HeaderValue::Assertion | HeaderValue::None => return None,
    };
    (!text.is_empty()).then_some(text)
}

/// A claim in one header: text as it is, an array as a list, an object as JSON.
fn claim_text(value: &Value) -> Cow<'_, str> {
    match value {
        Value::Array(items) => {
            Cow::Owned(list(items.iter().filter(|it| !it.is_null()).map(item_text)))
        }
        other => item_text(other),
    }
}

fn item_text(value: &Value) -> Cow<'_, str> {
    scalar(value).unwrap_or_else(|| Cow::Owned(value.to_string()))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::policy::path::ClaimPath;
    use crate::testing::{identity, issuer};
    use serde_json::json;

    /// What is sent for the token with these changes; lines of GateHeader, the inner section first.
    fn sent(
        lines: &[&str],
        changes: serde_json::Value,
        chosen: &[(&str, HeaderValue)],
    ) -> Vec<(String, String)> {
        let identity = identity(&issuer(lines), changes).unwrap();
        let chosen: Vec<_> = chosen
            .iter()
            .map(|(name, value)| HeaderChoice {
                id: 0,
                name: (*name).to_owned(),
                value: value.clone(),
            })
            .collect();
        let pairs = render(&identity, &chosen.iter().collect::<Vec<_>>());
        pairs
            .iter()
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect()
    }

    fn owned(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
        pairs
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect()
    }

    /// What is sent for that claim, where it alone is chosen.
    fn claim(value: serde_json::Value) -> Option<String> {
        let path = HeaderValue::Claim(ClaimPath::parse("c").unwrap());
        let all = sent(&[], json!({ "c": value }), &[("X-C", path)]);
        all.into_iter().find(|it| it.0 == "X-C").map(|it| it.1)
    }

    #[test]
    fn the_defaults_say_who_it_is() {
        let lines = &["GateRole dev sub=dana", "GateRole a,b sub=dana"];
        assert_eq!(
            sent(
                lines,
                json!({"email": "d@example.com", "project_path": "x"}),
                &[]
            ),
            owned(&[
                ("X-Forwarded-User", "dana"),
                ("X-Forwarded-Email", "d@example.com"),
                ("X-Forwarded-Groups", "dev,a%2Cb"),
                ("X-Gate-Issuer", "idp"),
                ("X-Gate-Subject", "dana"),
            ])
        );
    }

    #[test]
    fn a_job_s_token_says_which_job() {
        let lines = &["GateKind gitlab"];
        let job = json!({
            "user_login": "d", "sub": null, "project_path": "g/p", "ref": "main",
            "pipeline_id": 7, "job_id": "8",
        });
        assert_eq!(
            sent(lines, job, &[]),
            owned(&[
                ("X-Forwarded-User", "d"),
                ("X-Gate-Issuer", "idp"),
                ("X-Gate-Project", "g/p"),
                ("X-Gate-Ref", "main"),
                ("X-Gate-Pipeline", "7"),
                ("X-Gate-Job", "8"),
            ])
        );
    }

    #[test]
    fn what_could_break_a_header_is_not_sent() {
        let email = |text: &str| sent(&[], json!({ "email": text }), &[]);
        assert_eq!(email("a\r\nX-Gate-Job: 1"), email(""));
        assert!(email("").iter().all(|it| it.0 != "X-Forwarded-Email"));
        assert_eq!(claim(json!("a\nb")), None);
    }

    #[test]
    fn the_inner_section_s_choice_is_the_one_that_counts() {
        let chosen = [
            ("x_forwarded_user", HeaderValue::Email),
            ("X-Gate-Issuer", HeaderValue::None),
            ("X-Who", HeaderValue::User),
            ("X.Who", HeaderValue::Issuer),
            ("X-Gate-Subject", HeaderValue::Assertion),
            ("X-Sub", HeaderValue::Subject),
        ];
        assert_eq!(
            sent(&[], json!({"email": "e"}), &chosen),
            owned(&[
                ("X-Forwarded-Email", "e"),
                ("x_forwarded_user", "e"),
                ("X-Who", "dana"),
                ("X-Sub", "dana"),
            ])
        );
    }

    #[test]
    fn a_claim_is_text_a_list_or_json() {
        for (value, wanted) in [
            (json!("a,b"), Some("a,b")),
            (json!(1.5), Some("1.5")),
            (json!(true), Some("true")),
            (json!(["a,b", 1, null, {"x": 1}]), Some("a%2Cb,1,{\"x\":1}")),
            (json!({"x": ["y"]}), Some(r#"{"x":["y"]}"#)),
            (json!(""), None),
            (json!([]), None),
            (json!([null]), None),
            (json!(null), None),
        ] {
            assert_eq!(claim(value.clone()).as_deref(), wanted, "{value}");
        }
    }
}
