//! Places under the gate that need no token, since all that httpd asks there is `Require all granted`: their own,
//! or another section's over the same requests; and rules and ports of the gate's that it is not in force for.
//! Said at start-up; what is refused is not decided here.

use crate::config::Place;

/// The sections of a configuration, as far as they speak of authentication.
#[derive(Debug, Default)]
pub(super) struct Sections(Vec<Section>);

#[derive(Debug)]
struct Section {
    /// Its first line that speaks of it.
    place: Place,
    kind: Kind,
    path: String,
    auth: Auth,
    requires: Vec<(String, Place)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    Directory,
    Location,
    Other,
}

/// What `AuthType` says there.
#[derive(Debug)]
enum Auth {
    Nothing,
    Gate(Place),
    Other,
}

impl Sections {
    pub(super) fn auth_type(&mut self, place: &Place, word: &str) {
        self.at(place).auth = if word.eq_ignore_ascii_case("Gate") {
            Auth::Gate(place.clone())
        } else {
            Auth::Other
        };
    }

    pub(super) fn require(&mut self, place: &Place, words: String) {
        self.at(place).requires.push((words, place.clone()));
    }

    /// A section that may say nothing of authentication, and should.
    pub(super) fn port(&mut self, place: &Place) {
        self.at(place);
    }

    fn at(&mut self, place: &Place) -> &mut Section {
        let (kind, path) = (Kind::of(place), place.section.clone().unwrap_or_default());
        let found = self
            .0
            .iter()
            .position(|it| it.place.server == place.server && it.kind == kind && it.path == path);
        let at = found.unwrap_or(self.0.len());
        if found.is_none() {
            self.0.push(Section {
                place: place.clone(),
                kind,
                path,
                auth: Auth::Nothing,
                requires: Vec::new(),
            });
        }
        #[allow(clippy::indexing_slicing, reason = "found, or just pushed")]
        &mut self.0[at]
    }

    /// Where `AuthType Gate` stands.
    pub(super) fn gates(&self) -> impl Iterator<Item = &Place> {
        self.0.iter().filter_map(Section::gate)
    }

    /// A warning for each gated place that is open. `servers`: which of them are virtual.
    pub(super) fn open(&self, servers: &[bool]) -> Vec<String> {
        let mut warnings: Vec<String> = self
            .0
            .iter()
            .filter(|it| it.is_granted() && !it.place.port)
            .filter_map(|it| {
                let place = it.gate()?;
                Some(format!(
                    "GATE204: AuthType Gate in {} ({place}) meets only Require all granted: nobody needs a token there",
                    it.shown()
                ))
            })
            .collect();
        warnings.extend(self.0.iter().filter_map(Section::nobodys));
        for (server, is_virtual) in servers.iter().enumerate() {
            let mut here: Vec<&Section> = self
                .0
                .iter()
                .filter(|it| it.place.server == server || (*is_virtual && it.place.server == 0))
                .filter(|it| it.kind != Kind::Other)
                .collect();
            // As httpd merges them: directories by their length, then locations as they are written; a virtual
            // host's after the main server's.
            here.sort_by_key(|it| match it.kind {
                Kind::Directory => (it.kind, it.is_pattern(), it.path.matches('/').count()),
                _ => (it.kind, it.place.server != 0, 0),
            });
            for warning in among(&here) {
                if !warnings.contains(&warning) {
                    warnings.push(warning);
                }
            }
        }
        warnings.extend(self.0.iter().filter_map(|it| self.idle(it, servers)));
        warnings
    }

    /// What is wrong with a port, or a place with rules of the gate's, where no `AuthType Gate` is in force.
    fn idle(&self, section: &Section, servers: &[bool]) -> Option<String> {
        let is_virtual = servers.get(section.place.server) == Some(&true);
        let mut over = self.0.iter().filter(|it| {
            it.place.server == section.place.server
                || it.place.server == 0 && is_virtual
                || section.place.server == 0 && servers.get(it.place.server) == Some(&true)
        });
        if section.place.port {
            let is_gated = match section.auth {
                Auth::Gate(_) => true,
                Auth::Other => false,
                Auth::Nothing => over.any(|it| it.is_server() && it.gate().is_some()),
            };
            return (!is_gated).then(|| {
                format!(
                    "GATE231: <GatePort {}> ({}): AuthType Gate is not in force there, and every CONNECT is refused; write AuthType Gate",
                    section.path, section.place
                )
            });
        }
        let (rule, line) = section.requires.iter().find(|(rule, _)| {
            let mut words = rule.split(' ');
            let first = words.next().unwrap_or_default();
            let provider = if first.eq_ignore_ascii_case("not") {
                words.next().unwrap_or_default()
            } else {
                first
            };
            provider.starts_with("gate-")
        })?;
        let may_be_gated = match section.auth {
            Auth::Gate(_) => true,
            Auth::Other => false,
            Auth::Nothing => over.any(|it| it.gate().is_some() && it.overlaps(section)),
        };
        (!may_be_gated).then(|| {
            format!(
                "GATE232: Require {rule} in {} ({line}): AuthType Gate is not in force there, and no token is looked at: the rule never holds, and negated it keeps nobody out; write AuthType Gate",
                section.shown()
            )
        })
    }
}

/// The places that one section leaves open in another, in the order of merging.
fn among(sections: &[&Section]) -> Vec<String> {
    let mut warnings = Vec::new();
    for (at, open) in sections.iter().enumerate() {
        let (outer, later) = (sections.iter().take(at), sections.iter().skip(at + 1));
        let Some((_, line)) = open.requires.first() else {
            continue;
        };
        if !open.is_granted() || !matches!(open.auth, Auth::Nothing) {
            continue;
        }
        // Rules or another AuthType over all of it, later on.
        let is_closed = |place: &Section| {
            later.clone().any(|it| {
                it.covers(place)
                    && (matches!(it.auth, Auth::Other)
                        || (!it.requires.is_empty() && !it.is_granted()))
            })
        };
        if is_closed(open) {
            continue;
        }
        // The AuthType that it inherits.
        let inherited = outer.rev().find(|it| match it.auth {
            Auth::Gate(_) => it.overlaps(open),
            Auth::Other => it.covers(open),
            Auth::Nothing => false,
        });
        if let Some((gated, gate)) = inherited.and_then(|it| Some((it, it.gate()?))) {
            warnings.push(format!(
                "GATE204: Require all granted in {} ({line}) is under AuthType Gate in {} ({gate}): nobody needs a token there",
                open.shown(),
                gated.shown()
            ));
        }
        for gated in later.clone().filter(|it| it.requires.is_empty()) {
            if let Some(gate) = gated.gate()
                && gated.overlaps(open)
                && !is_closed(gated)
            {
                warnings.push(format!(
                    "GATE204: AuthType Gate in {} ({gate}) has no Require of its own, and Require all granted in {} ({line}) holds where both apply: nobody needs a token there; write Require valid-user beside AuthType Gate",
                    gated.shown(),
                    open.shown()
                ));
            }
        }
    }
    warnings
}

impl Kind {
    fn of(place: &Place) -> Self {
        let container = place.container.as_deref().unwrap_or_default();
        if ["<Directory", "<DirectoryMatch"]
            .iter()
            .any(|it| it.eq_ignore_ascii_case(container))
        {
            Self::Directory
        } else if ["<Location", "<LocationMatch"]
            .iter()
            .any(|it| it.eq_ignore_ascii_case(container))
        {
            Self::Location
        } else {
            Self::Other
        }
    }
}

impl Section {
    const fn gate(&self) -> Option<&Place> {
        match &self.auth {
            Auth::Gate(place) => Some(place),
            _ => None,
        }
    }

    /// What stands outside of all sections.
    fn is_server(&self) -> bool {
        self.kind == Kind::Other && self.path.is_empty()
    }

    fn is_granted(&self) -> bool {
        !self.requires.is_empty()
            && self
                .requires
                .iter()
                .all(|(line, _)| line.eq_ignore_ascii_case("all granted"))
    }

    /// Where the gate's functions alone decide, for whom no token is shown too: what is empty is not equal.
    fn nobodys(&self) -> Option<String> {
        self.gate().filter(|_| !self.place.port)?;
        let asks = |rule: &str| {
            let expr = rule
                .get(..4)
                .is_some_and(|it| it.eq_ignore_ascii_case("expr"));
            expr && rule.contains("gate_")
        };
        let lines = || self.requires.iter();
        let keeps_out = |rule: &str| {
            let mut words = rule.split_ascii_whitespace();
            words
                .next()
                .is_some_and(|it| it.eq_ignore_ascii_case("not"))
                && words.next().is_some_and(|it| it.starts_with("gate-"))
        };
        let out = lines().find(|(rule, _)| keeps_out(rule));
        if let Some((rule, line)) = out.filter(|_| lines().all(|(rule, _)| asks_nobody(rule))) {
            return Some(format!(
                "GATE233: Require {rule} in {} ({line}) keeps nobody out who shows no token, and no rule beside it asks for one; write Require valid-user beside it, in <RequireAll>",
                self.shown()
            ));
        }
        let all = lines().all(|(rule, _)| asks(rule));
        let negated = |(rule, _): &&(String, Place)| rule.contains('!') || rule.contains("-z ");
        let (rule, line) = lines().filter(|_| all).find(negated)?;
        Some(format!(
            "GATE233: Require {rule} in {} ({line}) may hold for those who show no token, for whom gate_claim() and its kin are empty; write Require valid-user beside it, in <RequireAll>",
            self.shown()
        ))
    }

    fn shown(&self) -> &str {
        if self.path.is_empty() {
            "the server"
        } else {
            &self.path
        }
    }

    /// Whether the path may be a wildcard or a regular expression.
    fn is_pattern(&self) -> bool {
        self.path
            .contains(['*', '?', '[', '^', '$', '(', '|', '\\'])
    }

    /// Whether all requests of `other` are this one's too, as far as paths tell.
    fn covers(&self, other: &Self) -> bool {
        let everywhere = self.kind == Kind::Location && self.path == "/";
        everywhere
            || (self.kind == other.kind
                && !self.is_pattern()
                && !other.is_pattern()
                && other
                    .path
                    .strip_prefix(self.path.as_str())
                    .is_some_and(|rest| {
                        rest.is_empty() || rest.starts_with('/') || self.path.ends_with('/')
                    }))
    }

    /// Whether a request may be both's. Which files a location has, nobody knows.
    fn overlaps(&self, other: &Self) -> bool {
        self.kind != other.kind
            || self.is_pattern()
            || other.is_pattern()
            || self.covers(other)
            || other.covers(self)
    }
}

/// Whether the rule may hold, or keeps nobody out, where no person is known.
fn asks_nobody(rule: &str) -> bool {
    let word = rule.split_ascii_whitespace().next().unwrap_or_default();
    let of_the_request = [
        "all",
        "ip",
        "host",
        "forward-dns",
        "local",
        "env",
        "method",
        "not",
        "ssl",
        "ssl-verify-client",
    ];
    of_the_request
        .iter()
        .any(|it| it.eq_ignore_ascii_case(word))
}

#[cfg(test)]
mod tests;
