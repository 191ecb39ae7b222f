//! Who a verified token speaks for: the issuer's kind says which claims are the person, the project
//! and the job; the role rules say the roles. What is made of it for others (headers, audit lines) is in
//! `grant`; whether it may do something is asked in `policy`.

use crate::config::Issuer;
use crate::field::is_plain;
use crate::json::{Object, Value};
use crate::kind::Kind;
use crate::life::Life;
use crate::policy::condition::twin_of;
use crate::policy::path::ClaimPath;
use crate::verdict::Reason;
use crate::verify::Vouched;
use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

/// Why a verified token gives no identity.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NoUser(String);

impl NoUser {
    /// The code of the refusal.
    #[must_use]
    pub const fn reason(&self) -> Reason {
        Reason::UserMissing
    }
}

impl fmt::Display for NoUser {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A person, a script or a job, as its issuer vouches for it.
pub struct Identity {
    issuer: Arc<Issuer>,
    life: Life,
    claims: Object,
    user: String,
    roles: Vec<String>,
    doubtful: Vec<String>,
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Identity")
            .field("issuer", &self.issuer.name)
            .field("user", &self.user)
            .finish_non_exhaustive()
    }
}

impl Identity {
    /// Makes the identity of claims that an issuer has vouched for. `life`: how long they hold.
    ///
    /// # Errors
    /// None of the user claims is there, or the first that is there can't be a user's name.
    pub fn new(claims: Vouched, life: Life, issuer: Arc<Issuer>) -> Result<Self, NoUser> {
        let claims = claims.into_claims();
        let user = user(&claims, &issuer.user_claims)?;
        let (roles, doubtful) = roles(&claims, &issuer);
        Ok(Self {
            roles,
            doubtful,
            issuer,
            life,
            claims,
            user,
        })
    }

    /// `REMOTE_USER`.
    #[must_use]
    pub fn user(&self) -> &str {
        &self.user
    }

    /// `sub`.
    #[must_use]
    pub fn subject(&self) -> Option<&str> {
        self.claims.get("sub").and_then(Value::as_str)
    }

    /// The e-mail address. Never where `email_verified` is there (null is not) and is not `true` or `"true"`:
    /// one rule for headers, assertions, GitLab's login and the audit log.
    #[must_use]
    pub fn email(&self) -> Option<&str> {
        let verified = match self.claims.get("email_verified") {
            None | Some(Value::Null | Value::Bool(true)) => true,
            Some(value) => value.as_str() == Some("true"),
        };
        self.issuer
            .email_claim
            .as_ref()
            .filter(|_| verified)?
            .get(&self.claims)?
            .as_str()
    }

    /// The issuer's name in the configuration.
    #[must_use]
    pub fn issuer_name(&self) -> &str {
        &self.issuer.name
    }

    /// The issuer's settings.
    #[must_use]
    pub const fn issuer(&self) -> &Arc<Issuer> {
        &self.issuer
    }

    /// The issuer's make.
    #[must_use]
    pub fn kind(&self) -> Kind {
        self.issuer.kind
    }

    /// The verified claims.
    #[must_use]
    pub const fn claims(&self) -> &Object {
        &self.claims
    }

    /// A claim as text, where it is a string or a number (GitLab sends most ids as strings).
    #[must_use]
    pub fn claim(&self, name: &str) -> Option<Cow<'_, str>> {
        self.claims.get(name).and_then(scalar)
    }

    /// The roles that the rules grant.
    #[must_use]
    pub fn roles(&self) -> &[String] {
        &self.roles
    }

    /// The roles for a log.
    #[must_use]
    pub fn roles_text(&self) -> String {
        if self.roles.is_empty() {
            "no role".into()
        } else {
            crate::shown::text(&self.roles.join(" "))
        }
    }

    /// Whether the role is granted.
    #[must_use]
    pub fn has_role(&self, role: &str) -> bool {
        self.roles.iter().any(|it| it == role)
    }

    /// The roles that one of the projects that a token of the kind gitlab names would give, and the
    /// other not (the fork rule): not granted, and not to be taken for missing.
    #[must_use]
    pub fn doubtful_roles(&self) -> &[String] {
        &self.doubtful
    }

    /// Whether the issuer left the groups out.
    #[must_use]
    pub fn groups_left_out(&self) -> bool {
        groups_left_out(&self.claims, self.issuer.kind)
    }

    /// Whether a role could have come from groups that were left out.
    #[must_use]
    pub fn groups_decide_roles(&self) -> bool {
        let on_groups = |path: &ClaimPath| path.leads_into("groups");
        self.groups_left_out()
            && (self.issuer.role_claim.as_ref().is_some_and(on_groups)
                || self
                    .issuer
                    .roles
                    .iter()
                    .flat_map(|rule| &rule.conditions)
                    .any(|it| on_groups(it.path())))
    }

    /// Its latest end (seconds since the epoch), without leeway: a token's `exp`.
    #[must_use]
    pub fn expires(&self) -> u64 {
        self.life.expires()
    }

    /// How long it holds.
    #[must_use]
    pub const fn life(&self) -> &Life {
        &self.life
    }

    /// About how many bytes it holds, for the cache's bound.
    #[must_use]
    pub fn size(&self) -> usize {
        let roles = self.roles.iter().chain(&self.doubtful);
        self.claims.size() + roles.map(|role| 24 + role.len()).sum::<usize>()
    }
}

/// A string, number or boolean as text.
#[must_use]
pub fn scalar(value: &Value) -> Option<Cow<'_, str>> {
    match value {
        Value::String(text) => Some(Cow::Borrowed(text)),
        Value::Number(number) => Some(Cow::Owned(number.to_string())),
        Value::Bool(flag) => Some(Cow::Borrowed(if *flag { "true" } else { "false" })),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}

/// Entra leaves the groups out where a person is in more than 200.
#[must_use]
pub fn groups_left_out(claims: &Object, kind: Kind) -> bool {
    let flagged = || {
        let flag = claims.get("hasgroups").and_then(scalar);
        flag.is_some_and(|it| it == "true")
    };
    let named = || {
        let names = claims.get("_claim_names");
        names.and_then(|it| it.member("groups")).is_some()
    };
    kind == Kind::Entra && claims.get("groups").is_none_or(Value::is_null) && (flagged() || named())
}

fn user(claims: &Object, paths: &[ClaimPath]) -> Result<String, NoUser> {
    let Some((path, value)) = paths
        .iter()
        .find_map(|path| Some((path, path.get(claims)?)))
    else {
        let wanted: Vec<_> = paths.iter().map(ToString::to_string).collect();
        return Err(NoUser(format!(
            "wanted claim {}, got none",
            wanted.join(" or ")
        )));
    };
    match value {
        Value::String(text) if !text.is_empty() && is_plain(text) => Ok(text.to_string()),
        other => Err(NoUser(format!(
            "claim {path}: wanted text without control characters or blanks at its ends, got {}",
            crate::shown::value(other)
        ))),
    }
}

/// The roles that are granted, and the doubtful ones.
fn roles(claims: &Object, issuer: &Issuer) -> (Vec<String>, Vec<String>) {
    let (mut roles, mut doubtful) = (Vec::new(), Vec::new());
    for rule in &issuer.roles {
        let mut answers = rule
            .conditions
            .iter()
            .map(|it| it.answer(claims, issuer.kind));
        let to = match answers.try_fold(true, |sure, answer| match answer {
            Some(false) => None,
            other => Some(sure && other.is_some()),
        }) {
            None => continue,
            Some(true) => &mut roles,
            Some(false) => &mut doubtful,
        };
        add(to, Cow::Borrowed(&rule.role));
    }
    if let Some(path) = &issuer.role_claim {
        let value = path.get(claims);
        match other_project(path, value, claims, issuer.kind) {
            None => add_all(&mut roles, value),
            Some(other) => {
                add_all(&mut doubtful, value);
                add_all(&mut doubtful, Some(other));
            }
        }
    }
    doubtful.retain(|it| !roles.contains(it));
    (roles, doubtful)
}

/// The fork rule for a role that is a project's name: the other project that the token names.
fn other_project<'v>(
    path: &ClaimPath,
    value: Option<&Value>,
    claims: &'v Object,
    kind: Kind,
) -> Option<&'v Value> {
    let twin = twin_of(path).filter(|_| kind == Kind::Gitlab)?;
    let other = claims.get(twin).filter(|it| !it.is_null())?;
    let same = scalar(other).is_some_and(|it| value.and_then(scalar) == Some(it));
    (!same).then_some(other)
}

/// Every value of a claim.
fn add_all(roles: &mut Vec<String>, value: Option<&Value>) {
    let mut add = |it| add(roles, it);
    match value {
        Some(Value::Array(items)) => items.iter().filter_map(scalar).for_each(add),
        Some(value) => scalar(value).into_iter().for_each(&mut add),
        None => {}
    }
}

fn add(roles: &mut Vec<String>, role: Cow<'_, str>) {
    if !role.is_empty() && !roles.iter().any(|it| **it == *role) {
        roles.push(role.into_owned());
    }
}

#[cfg(test)]
mod tests;
