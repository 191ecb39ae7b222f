//! What goes out of a request before anybody behind the gate, or a log, sees it.

use std::borrow::Cow;

/// What must be taken out of the request, so that neither the upstream nor a log sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Take<'r> {
    /// A whole header.
    Header(Cow<'r, str>),
    /// The cookies that stay; `None`: the header goes.
    Cookies(Option<Vec<u8>>),
    /// The target without the token; each `None` is unchanged but for `args`, where it is "no query".
    Query {
        /// The query that stays.
        args: Option<Vec<u8>>,
        /// The target.
        unparsed_uri: Option<Vec<u8>>,
        /// The request line.
        the_request: Option<Vec<u8>>,
        /// The proxied URL.
        filename: Option<Vec<u8>>,
        /// The upstream may have it: only the request line changes.
        forward: bool,
    },
}

impl Take<'_> {
    /// Whether it changes another copy of the target than the query.
    #[must_use]
    pub const fn changes_a_copy(&self) -> bool {
        matches!(
            self,
            Self::Query {
                unparsed_uri: Some(_),
                ..
            } | Self::Query {
                the_request: Some(_),
                ..
            } | Self::Query {
                filename: Some(_),
                ..
            }
        )
    }

    /// Leaves the token for the upstream (GateForwardToken), but never in the request line, which
    /// access logs hold. Whether anything is left to take.
    pub fn keep_for_upstream(&mut self) -> bool {
        match self {
            Self::Query {
                forward,
                unparsed_uri,
                filename,
                the_request,
                ..
            } => {
                (*forward, *unparsed_uri, *filename) = (true, None, None);
                the_request.is_some()
            }
            Self::Header(_) | Self::Cookies(_) => false,
        }
    }
}
