//! What is made once per token, not per request: an identity, and what it looks like to others (the
//! headers for the upstream, `GATE_…` variables, its part of the audit line, signed assertions).
//! Nothing here decides.

use crate::audit::line::{Person, fragment};
use crate::config::HeaderChoice;
use crate::field::{is_plain, list};
use crate::headers;
use crate::identity::Identity;
use crate::proof::Binding;
use crate::sys::pairs::{Pairs, PairsBuilder};
use crate::token::source::Sender;
use crate::upstream::assertion;
use std::borrow::Cow;
use std::sync::OnceLock;

/// How many GateHeader lists are rendered once per token; more are rendered per request.
const RENDERED: usize = 4;

/// An identity and what was rendered of it.
pub struct Grant {
    identity: Identity,
    sender: Sender,
    binding: Binding,
    environment: Pairs,
    upstream: Pairs,
    audit: OnceLock<Box<[u8]>>,
    chosen: [OnceLock<(Vec<u64>, Pairs)>; RENDERED],
    assertions: assertion::Kept,
}

impl std::fmt::Debug for Grant {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Grant")
            .field("identity", &self.identity)
            .finish_non_exhaustive()
    }
}

impl Grant {
    /// Renders what every request needs; the rest comes when it is first asked for.
    #[must_use]
    pub fn new(identity: Identity, sender: Sender) -> Self {
        Self {
            sender,
            binding: Binding::of(identity.claims()),
            environment: environment(&identity),
            upstream: headers::render(&identity, &[]),
            audit: OnceLock::new(),
            chosen: [const { OnceLock::new() }; RENDERED],
            assertions: assertion::Kept::default(),
            identity,
        }
    }

    /// Who it is.
    #[must_use]
    pub const fn identity(&self) -> &Identity {
        &self.identity
    }

    /// Who put the token into the requests.
    #[must_use]
    pub const fn sender(&self) -> Sender {
        self.sender
    }

    /// What must be proved beside the token, on each request.
    #[must_use]
    pub const fn binding(&self) -> Binding {
        self.binding
    }

    /// `GATE_…` for logs and CGI; the user comes first.
    #[must_use]
    pub const fn environment(&self) -> &Pairs {
        &self.environment
    }

    /// What each audit line of this token says of the person.
    #[must_use]
    pub fn person(&self) -> Person<'_> {
        Person {
            issuer: self.identity.issuer_name(),
            text: self.audit.get_or_init(|| fragment(&self.identity).into()),
        }
    }

    /// The headers for the upstream. `chosen` are the GateHeader lines in force, inner section first.
    /// `None`: more lists than are kept, render it for the request.
    #[must_use]
    pub fn upstream(&self, chosen: &[&HeaderChoice]) -> Option<&Pairs> {
        if chosen.is_empty() {
            return Some(&self.upstream);
        }
        for cell in &self.chosen {
            let (ids, pairs) = cell.get_or_init(|| {
                (
                    chosen.iter().map(|it| it.id).collect(),
                    headers::render(&self.identity, chosen),
                )
            });
            if ids.iter().eq(chosen.iter().map(|it| &it.id)) {
                return Some(pairs);
            }
        }
        None
    }

    /// What the gate has signed for it.
    #[must_use]
    pub const fn assertions(&self) -> &assertion::Kept {
        &self.assertions
    }

    /// About how many bytes it holds, for the cache's bound.
    #[must_use]
    pub fn size(&self) -> usize {
        size_of::<Self>()
            + self.identity.size()
            + self.environment.size()
            + self.upstream.size() * 3
    }
}

fn environment(identity: &Identity) -> Pairs {
    let mut pairs = PairsBuilder::default();
    pairs.push("GATE_USER", identity.user());
    pairs.push("GATE_ISSUER", identity.issuer_name());
    if let Some(subject) = identity.subject().filter(|it| is_plain(it)) {
        pairs.push("GATE_SUBJECT", subject);
    }
    let roles = identity.roles().iter();
    pairs.push(
        "GATE_ROLES",
        &list(roles.map(|it| Cow::Borrowed(it.as_str()))),
    );
    pairs.push("GATE_EXPIRES", &identity.expires().to_string());
    pairs.build()
}
