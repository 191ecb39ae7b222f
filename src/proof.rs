//! What binds a token to a client (`cnf`, RFC 7800) beside the token itself. Read once per token,
//! and asked on each request, after the cache: a token that was verified for one client is not good
//! for another.

use crate::json::Object;
use crate::verdict::{Reason, Refusal};
use crate::verify::Check;

/// How a token is bound.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Binding {
    /// Whoever shows the token may use it (RFC 6750).
    Bearer,
    /// To a key or a certificate that no source can prove.
    Bound,
}

impl Binding {
    /// The binding that the claims name. A `cnf` of null is absent.
    #[must_use]
    pub fn of(claims: &Object) -> Self {
        match claims.get("cnf") {
            Some(cnf) if !cnf.is_null() => Self::Bound,
            _ => Self::Bearer,
        }
    }

    /// Whether this request proves what the binding asks for.
    ///
    /// # Errors
    /// `not_bound`: it does not.
    pub fn check(self) -> Result<(), Refusal> {
        match self {
            Self::Bearer => Ok(()),
            Self::Bound => Err(Refusal::new(
                Reason::NotBound,
                "the token is bound to a key (cnf), and a bearer token proves no key",
            )
            .at(Check::Bound)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::object;
    use serde_json::{Value, json};

    #[test]
    fn a_token_with_cnf_is_bound_whatever_it_holds() {
        for cnf in [
            json!({"jkt": "x"}),
            json!({"x5t#S256": "x"}),
            json!({}),
            json!(false),
            json!(""),
        ] {
            let binding = Binding::of(&object(&json!({ "cnf": cnf })));
            let refusal = binding.check().err();
            assert_eq!(refusal.map(|it| it.reason), Some(Reason::NotBound), "{cnf}");
        }
    }

    #[test]
    fn a_token_without_cnf_is_a_bearer_token() {
        for claims in [json!({}), json!({ "cnf": Value::Null })] {
            assert!(Binding::of(&object(&claims)).check().is_ok(), "{claims}");
        }
    }
}
