//! The gate's own statement of a verified identity: a short-lived JWT for upstreams that check for
//! themselves. Made once per token and period, not per request. The gate never accepts one as a
//! token: its `typ` is its own.

use super::signer::{NotSigned, Signer};
use crate::config::AssertionSetting;
use crate::identity::Identity;
use crate::kind::Kind;
use arc_swap::ArcSwapOption;
use serde_json::{Map, Value, json};
use std::sync::Arc;

/// `typ`.
pub const TYPE: &str = "gate-assertion+jwt";

/// How many settings' assertions are kept per token; more are made per request.
const KEPT: usize = 4;

/// What of a CI job's token is said again.
const JOB_CLAIMS: &[&str] = &[
    "namespace_id",
    "namespace_path",
    "project_id",
    "project_path",
    "job_project_id",
    "job_project_path",
    "job_namespace_id",
    "job_namespace_path",
    "pipeline_id",
    "pipeline_source",
    "job_id",
    "ref",
    "ref_type",
    "ref_path",
    "ref_protected",
    "sha",
    "environment",
    "environment_protected",
    "deployment_tier",
    "user_id",
    "runner_id",
    "runner_environment",
];

/// The gate as its clients reach it: scheme, ServerName, port. Never the client's `Host`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gate<'a> {
    /// https
    pub secure: bool,
    /// ServerName
    pub name: &'a str,
    /// The port.
    pub port: u16,
}

impl Gate<'_> {
    /// `https://gate.example.com`, with the port where it is not the scheme's own.
    #[must_use]
    pub fn url(&self) -> String {
        let (scheme, usual) = if self.secure {
            ("https", 443)
        } else {
            ("http", 80)
        };
        if self.port == usual || self.port == 0 {
            format!("{scheme}://{}", self.name)
        } else {
            format!("{scheme}://{}:{}", self.name, self.port)
        }
    }
}

struct Signed {
    setting: u64,
    /// The gate that it speaks for.
    name: Box<str>,
    secure: bool,
    port: u16,
    /// From then on another is made.
    renew: u64,
    text: Arc<str>,
}

/// The assertions of one identity that still serve.
#[derive(Default)]
pub struct Kept(ArcSwapOption<Vec<Arc<Signed>>>);

impl Kept {
    /// The assertion for this setting: a kept one for half of its life, then a new one.
    ///
    /// # Errors
    /// It could not be signed.
    pub fn get(
        &self,
        identity: &Identity,
        setting: &AssertionSetting,
        gate: &Gate<'_>,
        signer: &Signer,
        now: u64,
    ) -> Result<Arc<str>, NotSigned> {
        let is_this = |it: &Signed| {
            it.setting == setting.id
                && *it.name == *gate.name
                && it.secure == gate.secure
                && it.port == gate.port
        };
        let kept = self.0.load();
        let all = kept.as_deref().map(Vec::as_slice).unwrap_or_default();
        if let Some(signed) = all.iter().find(|it| is_this(it) && now < it.renew) {
            return Ok(Arc::clone(&signed.text));
        }
        let signed = Arc::new(Signed {
            setting: setting.id,
            name: gate.name.into(),
            secure: gate.secure,
            port: gate.port,
            renew: now + (setting.ttl / 2).max(1),
            text: signer
                .sign(TYPE, &claims(identity, setting, gate, now))?
                .into(),
        });
        let text = Arc::clone(&signed.text);
        let others = all.iter().filter(|it| !is_this(it)).take(KEPT - 1).cloned();
        let next = std::iter::once(signed).chain(others).collect();
        self.0.store(Some(Arc::new(next)));
        Ok(text)
    }
}

fn claims(identity: &Identity, setting: &AssertionSetting, gate: &Gate<'_>, now: u64) -> Value {
    let iss = gate.url();
    let mut claims = Map::from_iter([
        (
            "aud".to_owned(),
            json!(setting.audience.as_deref().unwrap_or(&iss)),
        ),
        ("iss".to_owned(), json!(iss)),
        (
            "sub".to_owned(),
            json!(identity.subject().unwrap_or_else(|| identity.user())),
        ),
        ("jti".to_owned(), json!(super::login::new_id())),
        ("iat".to_owned(), json!(now)),
        (
            "exp".to_owned(),
            json!((now + setting.ttl).min(identity.expires())),
        ),
        ("user".to_owned(), json!(identity.user())),
        ("roles".to_owned(), json!(identity.roles())),
        ("issuer".to_owned(), json!(identity.issuer_name())),
    ]);
    if let Some(email) = identity.email() {
        claims.insert("email".to_owned(), json!(email));
    }
    if identity.kind() == Kind::Gitlab {
        for name in JOB_CLAIMS {
            if let Some(value) = identity.claims().get(name).filter(|it| !it.is_null()) {
                claims.insert((*name).to_owned(), json!(value));
            }
        }
    }
    Value::Object(claims)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_gates_url_names_a_port_only_where_it_must() {
        let gate = Gate {
            secure: true,
            name: "gate.example.com",
            port: 443,
        };
        assert_eq!(gate.url(), "https://gate.example.com");
        assert_eq!(
            Gate { port: 8443, ..gate }.url(),
            "https://gate.example.com:8443"
        );
        let plain = Gate {
            secure: false,
            ..gate
        };
        assert_eq!(plain.url(), "http://gate.example.com:443");
        assert_eq!(Gate { port: 80, ..plain }.url(), "http://gate.example.com");
    }
}
