//! What a grant sets on the way to the upstream: the default headers, changed by GateHeader. Rendered
//! once per token; that nobody else sends them is seen to in `protected`.

use crate::abi::pairs::{Pairs, PairsBuilder};
use crate::config::{HeaderChoice, HeaderValue};
use crate::field::{folded, is_plain, list, same};
use crate::identity::{Identity, scalar};
use crate::kind::Kind;
use serde_json::Value;
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
