//! The directives towards the upstream: GateUpstreamToken, GateSudo, GateAssertionKey,
//! GateAssertion.

use super::place::RESERVED;
use super::{Builder, words};
use crate::config::{AssertionSetting, Place, Setting, UpstreamToken};
use crate::request::FieldName;
use crate::upstream::{credential, signer::Signer};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The longest `ttl`: an assertion is for the request that it comes with.
const LONGEST: u64 = 300;

impl Builder {
    pub(super) fn upstream_directive(
        &mut self,
        place: &Place,
        name: &str,
        words: &[&str],
    ) -> Result<Setting, String> {
        match name {
            "GateUpstreamToken" => self.upstream_token(place, words),
            "GateSudo" => {
                let on = words::switch(name, words)?;
                self.config.credential_names.push("Sudo".into());
                Ok(Setting::Sudo(on))
            }
            _ => self.assertion(place, words),
        }
    }

    fn upstream_token(&mut self, place: &Place, words: &[&str]) -> Result<Setting, String> {
        let usage = "GateUpstreamToken takes file:PATH and perhaps header=NAME, or off";
        let (first, options) = words.split_first().ok_or(usage)?;
        let mut header = "PRIVATE-TOKEN".to_owned();
        for option in options {
            let name = option
                .strip_prefix("header=")
                .ok_or_else(|| format!("GateUpstreamToken {option}: {usage}"))?;
            header = header_name("GateUpstreamToken", name, &["authorization"])?;
        }
        self.config.credential_names.push(header.clone());
        if first.eq_ignore_ascii_case("off") && options.is_empty() {
            return Ok(Setting::UpstreamToken(UpstreamToken { file: None, header }));
        }
        let path = file("GateUpstreamToken", first)?;
        if let Err(why) = credential::read(&path) {
            self.notes.warn(format!(
                "GATE205: GateUpstreamToken {first} ({place}): {why}; requests with an identity are refused there until it can be read"
            ));
        }
        let known = self.config.credentials.iter().position(|it| *it == path);
        let at = known.unwrap_or_else(|| {
            self.config.credentials.push(path);
            self.config.credentials.len() - 1
        });
        Ok(Setting::UpstreamToken(UpstreamToken {
            file: Some(at),
            header,
        }))
    }

    /// The key is read here, before httpd gives up root's rights, so that root alone may read it.
    pub(super) fn assertion_key(&mut self, words: &[&str]) -> Result<(), String> {
        let word = words::one("GateAssertionKey", words)?;
        let path = file("GateAssertionKey", word)?;
        let signer =
            Signer::read(&path).map_err(|why| format!("GateAssertionKey {word}: {why}"))?;
        if self
            .config
            .signers
            .iter()
            .any(|it| it.kid() == signer.kid())
        {
            return Err(format!(
                "GateAssertionKey {word}: that key is there already"
            ));
        }
        self.config.signers.push(Arc::new(signer));
        Ok(())
    }

    fn assertion(&mut self, place: &Place, words: &[&str]) -> Result<Setting, String> {
        let usage = "GateAssertion takes on or off, and perhaps audience=…, ttl=…, header=…";
        let (first, options) = words.split_first().ok_or(usage)?;
        let mut setting = AssertionSetting {
            id: self.new_id(),
            on: words::switch("GateAssertion", &[first])?,
            ..AssertionSetting::default()
        };
        for option in options {
            match option.split_once('=') {
                Some(("audience", audience)) if !audience.is_empty() => {
                    setting.audience = Some(audience.to_owned());
                }
                Some(("ttl", ttl)) => {
                    setting.ttl = words::some_time("GateAssertion ttl", &[ttl])?;
                    if setting.ttl > LONGEST {
                        return Err(format!(
                            "GateAssertion {option}: at most {LONGEST}s, 60s is usual"
                        ));
                    }
                }
                Some(("header", name)) => {
                    setting.header = header_name("GateAssertion", name, &[])?;
                }
                _ => return Err(format!("GateAssertion {option}: {usage}")),
            }
        }
        if setting.on {
            self.notes.assertion(place);
        }
        self.config.header_names.push(setting.header.clone());
        Ok(Setting::Assertion(setting))
    }
}

fn file(directive: &str, word: &str) -> Result<PathBuf, String> {
    match word.strip_prefix("file:") {
        Some(path) if Path::new(path).is_absolute() => Ok(path.into()),
        _ => Err(format!(
            "{directive} {word}: write file: and an absolute path, as in file:/etc/gitlab-gate/token"
        )),
    }
}

fn header_name(directive: &str, name: &str, allowed: &[&str]) -> Result<String, String> {
    let field = FieldName::new(name)
        .ok_or_else(|| format!("{directive} header={name}: that is no header name"))?;
    if RESERVED.contains(&field.as_str()) && !allowed.contains(&field.as_str()) {
        return Err(format!(
            "{directive} header={name}: that header carries the request itself"
        ));
    }
    Ok(name.to_owned())
}
