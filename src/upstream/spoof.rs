//! What a client may not send where GateUpstreamToken or GateSudo is in force: another credential
//! of GitLab's beside the gate's, or another person to act for. Bodies are `body`'s.

use crate::field::folds_to;
use crate::request::Target;
use crate::token::query::without_parameters;
use crate::token::take::Take;

/// Headers that GitLab would take for a credential or a person, beside the section's own.
pub const HEADERS: &[&str] = &["Sudo", "PRIVATE-TOKEN", "JOB-TOKEN"];

/// What says how a body is read.
const FRAMING: &[&str] = &["Content-Type", "Content-Encoding"];

/// The same as parameters of a query.
/// (`bearer_token`: Doorkeeper's from_bearer_param).
const PARAMETERS: &[&str] = &[
    "sudo",
    "private_token",
    "access_token",
    "bearer_token",
    "job_token",
];

/// Whether a client may not send a header of this name there; `own` is the credential's.
#[must_use]
pub fn is_header(name: &[u8], own: Option<&str>) -> bool {
    HEADERS
        .iter()
        .copied()
        .chain(own)
        .any(|it| folds_to(it, name))
        || another_framing(name)
}

/// A second one of these, which says something else of the body than the one that the gate reads.
fn another_framing(name: &[u8]) -> bool {
    FRAMING
        .iter()
        .any(|it| folds_to(it, name) && !name.eq_ignore_ascii_case(it.as_bytes()))
}

/// What must go out of the target.
#[must_use]
pub fn take<'r>(target: &Target<'r>) -> Option<Take<'r>> {
    without_parameters(target, &|key| {
        let name = bare(key);
        PARAMETERS
            .iter()
            .any(|it| it.as_bytes().eq_ignore_ascii_case(name))
    })
}

/// The parameter that Rack makes of a key: what stands before, between or after brackets.
pub(super) fn bare(key: &[u8]) -> &[u8] {
    let bracket = |b: &u8| matches!(b, b'[' | b']');
    let start = key.iter().take_while(|b| bracket(b)).count();
    let rest = key.get(start..).unwrap_or_default();
    let end = rest.iter().position(bracket).unwrap_or(rest.len());
    rest.get(..end).unwrap_or_default().trim_ascii()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn args(query: &str) -> Option<Option<String>> {
        let uri = format!("/x?{query}");
        let target = Target {
            args: Some(query.as_bytes()),
            unparsed_uri: uri.as_bytes(),
            the_request: b"",
            filename: b"",
            client_args: None,
        };
        take(&target).map(|it| match it {
            Take::Query {
                args, unparsed_uri, ..
            } => {
                let args = args.map(|it| String::from_utf8(it).unwrap());
                let uri = String::from_utf8(unparsed_uri.unwrap()).unwrap();
                assert_eq!(
                    uri.split_once('?').map(|(_, it)| it.to_owned()),
                    args,
                    "{query}"
                );
                args
            }
            _ => None,
        })
    }

    #[test]
    fn every_spelling_of_a_parameter_goes() {
        for query in [
            "sudo=root",
            "%73udo=root",
            "SUDO=1",
            "private_token=x",
            "private%5Ftoken=x",
            "access_token",
            "bearer_token=x",
            "Bearer%5FToken[]=x",
            "job_token=",
            "sudo=1&sudo=2",
            "%5Bsudo%5D=root",
            "[sudo=root",
            "sudo[]=root",
            "+sudo=root",
            "sudo;private_token=x",
        ] {
            assert_eq!(args(query), Some(None), "{query}");
        }
        assert_eq!(args("a=1&sudo=root&b=%20"), Some(Some("a=1&b=%20".into())));
        assert_eq!(args("a=sudo&sudoer=1&x[sudo]=2"), None);
    }

    #[test]
    fn headers_go_however_they_are_folded() {
        for name in [
            "Sudo",
            "sudo",
            "PRIVATE_TOKEN",
            "private-token",
            "job_token",
        ] {
            assert!(is_header(name.as_bytes(), None), "{name}");
        }
        assert!(is_header(b"Content_Type", None));
        assert!(is_header(b"content.encoding", None));
        assert!(!is_header(b"content-type", None));
        assert!(!is_header(b"Content-Encoding", None));
        assert!(is_header(b"X_UP", Some("X-Up")));
        assert!(!is_header(b"X_UP", None));
        assert!(!is_header(b"Deploy-Token", None));
    }
}
