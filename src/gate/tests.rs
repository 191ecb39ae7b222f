//! The walk as a whole, over keys from a file: which issuer has the word, what is kept for whom, when
//! keys are waited for.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic
)]

use super::*;
use crate::config::Server;
use crate::jwks::Patience;
use crate::jwks::testing::{Dir, Heard, ec};
use crate::testing::{self, claims, issuer, issuer_named, key};
use crate::token::compact::Unverified;
use crate::upstream::credential::Unfit as UnfitCredential;
use crate::way::jwt::LiveIssuer;
use serde_json::{Value, json};

impl News for Heard {
    fn credential_changed(&self, _file: &Path) {}
    fn credential_unfit(&self, _file: &Path, _why: &UnfitCredential, _kept: bool) {}
    fn credential_old(&self, _file: &Path, _days: u64) {}
}

impl account::News for Heard {
    fn accounts_unknown(&self, _url: &str, _why: &str) {}
    fn accounts_known_again(&self, _url: &str) {}
}

/// A running process, whose issuers all have their keys in one file.
struct Gate {
    process: Process,
    dir: Dir,
}

impl Gate {
    /// The issuers of the main server, and of a virtual one that has them and its own; each by its
    /// name and lines.
    fn start(main: &[(&str, &[&str])], own: &[(&str, &[&str])]) -> Self {
        Self::with_keys(&[&key().1], main, own)
    }

    fn with_keys(keys: &[&Value], main: &[(&str, &[&str])], own: &[(&str, &[&str])]) -> Self {
        let dir = Dir::new();
        let file = format!("GateJWKS file:{}/jwks", dir.path().display());
        write(&dir, keys);
        let all = |issuers: &[(&str, &[&str])]| {
            issuers
                .iter()
                .map(|(name, lines)| issuer_named(name, &[*lines, &[&file]].concat()))
                .collect()
        };
        let server = |is_virtual, issuers| Server {
            is_virtual,
            issuers: all(issuers),
            account_api: None,
        };
        let config = Config {
            servers: vec![server(false, main), server(true, own)],
            ..Config::default()
        };
        if keys.is_empty() {
            std::fs::remove_file(dir.path().join("jwks")).unwrap();
        }
        let report = Arc::new(Heard::default());
        let process = Process::start(&config, dir.path(), report, Recorder::default()).unwrap();
        Self { process, dir }
    }

    /// Who the token is in the main server; else the reason, and the issuer that refused.
    fn who(&self, token: &str) -> Result<String, (Reason, Option<String>)> {
        self.whose(0, None, token)
    }

    fn whose(
        &self,
        server: usize,
        accept: Option<&Accept>,
        token: &str,
    ) -> Result<String, (Reason, Option<String>)> {
        let section = section(server, accept, false);
        match self
            .process
            .identify(&section, token.as_bytes(), Sender::Client)
        {
            Ok(grant) => Ok(grant.identity().issuer_name().to_owned()),
            Err(refusal) => Err((refusal.reason, refusal.issuer)),
        }
    }
}

fn write(dir: &Dir, keys: &[&Value]) {
    let new = dir.path().join("new");
    std::fs::write(&new, json!({ "keys": keys }).to_string()).unwrap();
    std::fs::rename(new, dir.path().join("jwks")).unwrap();
}

const fn section(server: usize, accept: Option<&Accept>, forward_token: bool) -> Section<'_> {
    Section {
        server,
        accept,
        sources: &[Source::Bearer],
        forward_token,
    }
}

/// A token of `k` that is good now, with these changes.
fn token(changes: Value) -> String {
    testing::token(&now(changes))
}

fn now(changes: Value) -> Value {
    let mut claims = claims(changes);
    claims["exp"] = json!(clock::now() + 300);
    claims
}

fn refused(reason: Reason, issuer: &str) -> Result<String, (Reason, Option<String>)> {
    Err((reason, Some(issuer.to_owned())))
}

#[test]
fn a_bound_token_is_refused_each_time_it_is_shown() {
    let gate = Gate::start(&[("idp", &[])], &[]);
    let token = token(json!({"cnf": {"jkt": "x"}}));
    for _ in 0..2 {
        assert_eq!(
            gate.who(&token),
            Err((Reason::NotBound, Some("idp".into())))
        );
    }
}

#[test]
fn a_token_is_verified_once() {
    let gate = Gate::start(&[("idp", &[])], &[]);
    let (section, token) = (section(0, None, false), token(json!({})));
    let once = || {
        gate.process
            .identify(&section, token.as_bytes(), Sender::Client)
            .unwrap()
    };
    let first = once();
    assert_eq!(first.identity().user(), "dana");
    assert!(Arc::ptr_eq(&first, &once()));
    assert_eq!(gate.process.cache.entries(), 1);
    let bad = testing::token(&claims(json!({"exp": 1})));
    assert_eq!(gate.who(&bad), refused(Reason::Expired, "idp"));
    assert_eq!(gate.process.cache.entries(), 1);
}

#[test]
fn what_is_no_token_or_names_nobody_known_is_refused() {
    let gate = Gate::start(&[("idp", &[])], &[]);
    for (token, wanted) in [
        ("x.y", Reason::TokenMalformed),
        (&*token(json!({"iss": null})), Reason::IssuerUnknown),
        (&token(json!({"iss": 1})), Reason::ClaimType),
        (&token(json!({"iss": "https://b"})), Reason::IssuerUnknown),
    ] {
        assert_eq!(gate.who(token), Err((wanted, None)), "{token}");
    }
}

#[test]
fn a_place_takes_the_issuers_that_it_accepts_alone() {
    let theirs = &["GateIssuerURL https://b.example"][..];
    let gate = Gate::start(&[("a", &[]), ("b", theirs)], &[]);
    let accept = |names: &[&str], scope| Accept {
        issuers: names.iter().map(|it| (*it).to_owned()).collect(),
        scope,
    };
    let token = token(json!({}));
    // Kept for all issuers, which is no word for a place that takes another one.
    assert_eq!(gate.who(&token), Ok("a".into()));
    let b = accept(&["b"], 1);
    assert_eq!(
        gate.whose(0, Some(&b), &token),
        Err((Reason::IssuerNotAccepted, None))
    );
    let both = accept(&["b", "a"], 2);
    assert_eq!(gate.whose(0, Some(&both), &token), Ok("a".into()));
    let none = accept(&[], 3);
    assert_eq!(
        gate.whose(0, Some(&none), &token),
        Err((Reason::IssuerNotAccepted, None))
    );
}

#[test]
fn a_virtual_server_s_own_issuer_is_no_other_server_s() {
    let own = &["GateIssuerURL https://own.example"][..];
    let gate = Gate::start(&[("idp", &[])], &[("own", own)]);
    let token = token(json!({"iss": "https://own.example"}));
    assert_eq!(gate.whose(1, None, &token), Ok("own".into()));
    let unknown = Err((Reason::IssuerUnknown, None));
    assert_eq!(gate.whose(0, None, &token), unknown);
    assert_eq!(gate.whose(7, None, &token), unknown);
    let inherited = self::token(json!({}));
    assert_eq!(gate.whose(1, None, &inherited), Ok("idp".into()));
}

#[test]
fn of_two_issuers_of_one_iss_the_one_whose_audience_fits_has_the_word() {
    let one = ("one", &["GateAudience 1", "GateRequire ref=main"][..]);
    let two = ("two", &["GateAudience 2", "GateRequire ref=main"][..]);
    let main = json!("main");
    for issuers in [[one, two], [two, one]] {
        let gate = Gate::start(&issuers, &[]);
        let last = issuers[1].0;
        let who = |aud: Value, at: &Value| gate.who(&token(json!({"aud": aud, "ref": at})));
        assert_eq!(who(json!("1"), &main), Ok("one".into()));
        assert_eq!(who(json!("2"), &main), Ok("two".into()));
        assert_eq!(
            who(json!("1"), &json!("dev")),
            refused(Reason::RequiredClaim, "one")
        );
        assert_eq!(
            who(json!("2"), &json!("dev")),
            refused(Reason::RequiredClaim, "two")
        );
        assert_eq!(who(json!("3"), &main), refused(Reason::Audience, last));
    }
}

#[test]
fn a_verified_token_that_names_no_user_is_not_shown_to_the_next_issuer() {
    let gate = Gate::start(&[("one", &["GateUserClaim login"]), ("two", &[])], &[]);
    assert_eq!(
        gate.who(&token(json!({}))),
        refused(Reason::UserMissing, "one")
    );
}

#[test]
fn a_new_key_is_waited_for() {
    let gate = Gate::start(&[("idp", &[])], &[]);
    // More than once: the refresher may happen to look by itself, but not each time.
    for kid in ["new", "newer", "newest"] {
        let (pair, jwk) = ec("P-256", kid);
        let header = json!({"alg": "ES256", "kid": kid});
        let token = testing::signed(&pair, &header, &now(json!({})));
        assert_eq!(gate.who(&token), refused(Reason::KeyUnknown, "idp"));
        write(&gate.dir, &[&key().1, &jwk]);
        assert_eq!(gate.who(&token), Ok("idp".into()));
    }
}

#[test]
fn the_first_keys_are_waited_for() {
    let gate = Gate::with_keys(&[], &[("idp", &[])], &[]);
    let token = token(json!({}));
    assert_eq!(gate.who(&token), refused(Reason::KeysUnavailable, "idp"));
    write(&gate.dir, &[&key().1]);
    assert_eq!(gate.who(&token), Ok("idp".into()));
}

#[test]
fn stale_keys_vouch_for_nobody() {
    let settings = issuer(&[]);
    let text = token(json!({}));
    let identify = |fetched_at| {
        let keys = testing::keys(fetched_at);
        let settings = Arc::clone(&settings);
        let issuer = LiveIssuer { settings, keys };
        let token = Unverified::parse(text.as_bytes()).unwrap();
        issuer
            .identify(token, clock::now(), &Patience::default())
            .map_err(|unfit| unfit.refusal)
    };
    assert!(identify(clock::now()).is_ok());
    // They serve for an hour.
    let refusal = identify(clock::now() - 4000).unwrap_err();
    assert_eq!(refusal.reason, Reason::KeysUnavailable);
    assert_eq!(
        refusal.detail,
        "keys of issuer idp: they have never been fetched"
    );
}

#[test]
fn a_token_is_taken_out_of_the_request_or_forwarded_where_it_is_good() {
    let gate = Gate::start(&[("idp", &[])], &[]);
    let good = format!("Bearer {}", token(json!({})));
    for (value, forward, reason, takes) in [
        (Some(&*good), false, None, 1),
        (Some(&good), true, None, 0),
        (Some("Bearer x.y"), false, Some(Reason::TokenMalformed), 1),
        (Some("Bearer x.y"), true, Some(Reason::TokenMalformed), 1),
        (Some("Bearer "), true, Some(Reason::TokenMalformed), 1),
        (None, true, None, 0),
    ] {
        let fields: Vec<_> = value.map(|it| ("Authorization", it)).into_iter().collect();
        let decision =
            gate.process
                .decide(&section(0, None, forward), &&fields[..], &Target::default());
        assert_eq!(decision.take.len(), takes, "{value:?} {forward}");
        match decision.verdict {
            Ok(grant) => {
                assert_eq!(reason, None);
                assert_eq!(grant.is_some(), value.is_some());
            }
            Err(refusal) => assert_eq!(Some(refusal.reason), reason),
        }
    }
}

#[test]
fn a_token_in_the_query_leaves_the_request_line_even_where_it_is_forwarded() {
    let gate = Gate::start(&[("idp", &[])], &[]);
    let token = token(json!({}));
    let [args, line] = [format!("t={token}"), format!("GET /?t={token} HTTP/1.1")];
    let target = Target {
        args: Some(args.as_bytes()),
        unparsed_uri: b"/",
        the_request: line.as_bytes(),
        ..Target::default()
    };
    let section = Section {
        sources: &[Source::Query("t".into())],
        ..section(0, None, true)
    };
    let fields: &[(&str, &str)] = &[];
    let decision = gate.process.decide(&section, &fields, &target);
    assert!(matches!(decision.verdict, Ok(Some(_))));
    let [
        Take::Query {
            forward,
            the_request,
            unparsed_uri,
            filename,
            ..
        },
    ] = &decision.take[..]
    else {
        panic!("{:?}", decision.take);
    };
    assert!(*forward && unparsed_uri.is_none() && filename.is_none());
    let line = the_request.as_deref().unwrap();
    assert!(!String::from_utf8_lossy(line).contains(&token));
}

#[test]
fn the_status_is_told_in_three_forms() {
    let gate = Gate::start(&[("idp", &[])], &[]);
    for (query, media, start) in [
        (&b""[..], "text/html", "<!"),
        (b"other", "text/html", "<!"),
        (b"json", "application/json", "{"),
        (b"metrics", "text/plain", "# "),
        (b"metrics=", "text/plain", "# "),
    ] {
        let (media_type, text) = gate.process.status(query).unwrap();
        assert!(media_type.to_str().unwrap().starts_with(media));
        assert!(text.starts_with(start), "{text}");
    }
}
