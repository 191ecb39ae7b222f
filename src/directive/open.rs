//! Sections that look closed and are open: each is judged for itself, with the sections over it that
//! give it its AuthType. Warnings at start; what a request may do is decided elsewhere.

use crate::config::Place;

/// Handlers of the module that say something about it: for those who must not show who they are,
/// they answer loopback clients alone.
pub(crate) const ABOUT_THE_GATE: &[&str] = &["gate-status", "gate-explain"];

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
    rules: Vec<Rule>,
    /// `SetHandler gate-status` and its like.
    handler: Option<(String, Place)>,
}

/// A `Require` line.
#[derive(Debug)]
struct Rule {
    text: String,
    line: Place,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Directory,
    Location,
    Other,
}

/// Where a section stands among the others: of a virtual host or not, and its number.
type Order = (bool, usize);

/// What `AuthType` says there.
#[derive(Debug)]
enum Auth {
    Nothing,
    Gate(Place),
    /// `None`: no module asks who somebody is.
    Off,
    Other,
}

impl Sections {
    pub(super) fn auth_type(&mut self, place: &Place, word: &str) {
        self.at(place).auth = if word.eq_ignore_ascii_case("Gate") {
            Auth::Gate(place.clone())
        } else if word.eq_ignore_ascii_case("None") {
            Auth::Off
        } else {
            Auth::Other
        };
    }

    pub(super) fn require(&mut self, place: &Place, text: String) {
        let line = place.clone();
        self.at(place).rules.push(Rule { text, line });
    }

    pub(super) fn handler(&mut self, place: &Place, name: &str) {
        self.at(place).handler = Some((name.to_owned(), place.clone()));
    }

    /// A section that may say nothing of authentication, and should.
    pub(super) fn port(&mut self, place: &Place) {
        self.at(place);
    }

    fn at(&mut self, place: &Place) -> &mut Section {
        let (kind, path) = (Kind::of(place), place.section.clone().unwrap_or_default());
        let same =
            |it: &Section| it.place.server == place.server && it.kind == kind && it.path == path;
        let at = self.0.iter().position(same).unwrap_or_else(|| {
            self.0.push(Section {
                place: place.clone(),
                kind,
                path: path.clone(),
                auth: Auth::Nothing,
                rules: Vec::new(),
                handler: None,
            });
            self.0.len() - 1
        });
        #[allow(clippy::indexing_slicing, reason = "found, or just pushed")]
        &mut self.0[at]
    }

    /// Where `AuthType Gate` stands.
    pub(super) fn gates(&self) -> impl Iterator<Item = &Place> {
        self.0.iter().filter_map(Section::gate)
    }

    /// A warning for each section that looks closed and is open. `servers`: which of them are virtual.
    pub(super) fn open(&self, servers: &[bool]) -> Vec<String> {
        let is_virtual = |at: usize| servers.get(at) == Some(&true);
        let mut warnings = Vec::new();
        // As httpd merges sections: those of a virtual host after those of the main server.
        let ordered = || {
            let orders = self.0.iter().enumerate();
            orders.map(|(at, it)| ((it.place.server != 0, at), it))
        };
        for (at, it) in ordered() {
            // Sections of the main server hold in virtual hosts too, and these over those.
            let over: Vec<_> = ordered()
                .filter(|(_, other)| {
                    let (one, two) = (it.place.server, other.place.server);
                    one == two || (two == 0 && is_virtual(one)) || (one == 0 && is_virtual(two))
                })
                .collect();
            let gate = match &it.auth {
                Auth::Gate(line) => Some(line),
                Auth::Off | Auth::Other => None,
                Auth::Nothing => over
                    .iter()
                    .find(|(_, other)| other.gives_auth_type(it))
                    .and_then(|(_, other)| other.gate()),
            };
            warnings.extend(it.port_without_gate(gate.is_some()));
            warnings.extend(it.rule_without_gate(gate.is_some()));
            warnings.extend(it.rules_beside_everybody());
            warnings.extend(it.handler_without_identity(gate.is_some()));
            if let Some(line) = it.gate() {
                warnings.extend(it.negated_for_nobody());
                // Rules over all of it stand in another section.
                let has_rules = over.iter().any(|(_, other)| {
                    let rules = !other.rules.is_empty() && !other.admits_everybody();
                    rules && other.kind == it.kind && other.covers(it)
                });
                let closed = |open: &Section| {
                    over.iter().any(|(order, other)| {
                        matches!(other.auth, Auth::Off | Auth::Other)
                            && other.covers(open)
                            && *order > at
                    })
                };
                let open = |(order, other): &&(Order, &Section)| {
                    other.opens(*order, it, at, has_rules) && !closed(other)
                };
                let lines: Vec<_> = over
                    .iter()
                    .filter(open)
                    .filter_map(|(_, other)| other.rules.first().map(|rule| other.shown_with(rule)))
                    .collect();
                if !lines.is_empty() {
                    warnings.push(format!(
                        "GATE204: AuthType Gate in {} ({line}) meets only Require all granted, in {}: nobody needs a token there; write Require valid-user beside AuthType Gate, or AuthType None where it shall be open",
                        it.shown(),
                        lines.join(", ")
                    ));
                }
            }
        }
        warnings
    }
}

impl Kind {
    fn of(place: &Place) -> Self {
        let container = place.container.as_deref().unwrap_or_default();
        let is = |names: [&str; 2]| names.iter().any(|it| it.eq_ignore_ascii_case(container));
        if is(["<Directory", "<DirectoryMatch"]) {
            Self::Directory
        } else if is(["<Location", "<LocationMatch"]) {
            Self::Location
        } else {
            Self::Other
        }
    }
}

impl Rule {
    /// Its words, without `not`.
    fn words(&self) -> (bool, impl Iterator<Item = &str>) {
        let mut words = self.text.split(' ').peekable();
        let negated = words.next_if(|it| it.eq_ignore_ascii_case("not")).is_some();
        (negated, words)
    }

    fn is_of_the_gate(&self) -> bool {
        let (_, mut words) = self.words();
        words.next().is_some_and(|it| it.starts_with("gate-"))
    }

    /// Whether it asks who somebody is.
    fn asks_for_identity(&self) -> bool {
        let (negated, mut words) = self.words();
        let first = words.next().unwrap_or_default();
        !negated && (first.starts_with("gate-") || ["valid-user", "user"].contains(&first))
    }

    /// Whether every client fulfils it: `all granted`, a method, all addresses, an expression that is
    /// always true.
    fn admits_everybody(&self) -> bool {
        let (negated, words) = self.words();
        let words: Vec<_> = words.map(str::to_ascii_lowercase).collect();
        let words: Vec<_> = words.iter().map(String::as_str).collect();
        let everywhere = |it: &&str| it.ends_with("/0") || it.ends_with("/0.0.0.0");
        match words.as_slice() {
            ["all", "granted"] => !negated,
            ["all", "denied"] => negated,
            ["method", ..] => !negated,
            ["ip", addresses @ ..] => !negated && addresses.iter().any(everywhere),
            ["expr", "true" | "1" | "1 == 1"] => !negated,
            _ => false,
        }
    }

    /// Whether it may hold, or keeps nobody out, where nobody is known.
    fn asks_nobody(&self) -> bool {
        let (negated, mut words) = self.words();
        let of_the_request = [
            "all",
            "ip",
            "host",
            "forward-dns",
            "local",
            "env",
            "method",
            "ssl",
            "ssl-verify-client",
        ];
        let first = words.next().unwrap_or_default();
        negated
            || of_the_request
                .iter()
                .any(|it| it.eq_ignore_ascii_case(first))
    }
}

impl Section {
    const fn gate(&self) -> Option<&Place> {
        match &self.auth {
            Auth::Gate(place) => Some(place),
            _ => None,
        }
    }

    fn shown(&self) -> &str {
        if self.path.is_empty() {
            "the server"
        } else {
            &self.path
        }
    }

    fn shown_with(&self, rule: &Rule) -> String {
        format!("{} ({})", self.shown(), rule.line)
    }

    fn admits_everybody(&self) -> bool {
        !self.rules.is_empty() && self.rules.iter().all(Rule::admits_everybody)
    }

    /// Whether this section gives `other` its AuthType, as far as paths tell.
    fn gives_auth_type(&self, other: &Self) -> bool {
        let is_server = self.kind == Kind::Other && self.path.is_empty();
        self.gate().is_some() && (is_server || (!other.place.port && self.covers(other)))
    }

    /// Whether this section, written at `order`, is open where `gated`, written at `at`, is in force.
    fn opens(&self, order: Order, gated: &Self, at: Order, has_rules: bool) -> bool {
        if order == at {
            return self.admits_everybody() && !self.place.port;
        }
        if !self.admits_everybody() || !matches!(self.auth, Auth::Nothing) {
            return false;
        }
        match (self.kind, gated.kind) {
            // The rules of a <Location> stand over those of a <Directory>.
            (Kind::Directory, Kind::Location) => !has_rules,
            (Kind::Location, Kind::Directory) => true,
            // The later one holds, whichever path is longer.
            (Kind::Location, Kind::Location) => {
                (gated.overlaps(self) && !has_rules) || (gated.covers(self) && order > at)
            }
            // The longer one holds.
            (Kind::Directory, Kind::Directory) => {
                gated.overlaps(self) && (!has_rules || self.path.len() > gated.path.len())
            }
            _ => false,
        }
    }

    fn port_without_gate(&self, gated: bool) -> Option<String> {
        (self.place.port && !gated).then(|| {
            format!(
                "GATE231: <GatePort {}> ({}): AuthType Gate is not in force there, and every CONNECT is refused; write AuthType Gate",
                self.path, self.place
            )
        })
    }

    fn rule_without_gate(&self, gated: bool) -> Option<String> {
        if gated || self.place.port {
            return None;
        }
        let rule = self.rules.iter().find(|it| it.is_of_the_gate())?;
        Some(format!(
            "GATE232: Require {} in {} ({}): AuthType Gate is not in force there, and no token is read. The rule never holds, and negated it keeps nobody out; write AuthType Gate",
            rule.text,
            self.shown(),
            rule.line
        ))
    }

    /// httpd takes one of the rules as enough, outside of `<RequireAll>`.
    fn rules_beside_everybody(&self) -> Option<String> {
        let alternatives = || {
            let any = |it: &&Rule| {
                let group = it.line.group.as_deref();
                group.is_none_or(|it| it.eq_ignore_ascii_case("<RequireAny"))
            };
            self.rules.iter().filter(any)
        };
        let open = alternatives().find(|it| it.admits_everybody())?;
        let asking = alternatives().find(|it| it.asks_for_identity())?;
        Some(format!(
            "GATE236: Require {} in {} ({}) lets everybody in, and Require {} ({}) beside it is never needed: one of them is enough; write both in <RequireAll>, or only the second",
            open.text,
            self.shown(),
            open.line,
            asking.text,
            asking.line
        ))
    }

    fn handler_without_identity(&self, gated: bool) -> Option<String> {
        let (name, line) = self.handler.as_ref()?;
        let asks = self.rules.iter().any(Rule::asks_for_identity)
            || (gated && self.rules.is_empty())
            || (matches!(self.auth, Auth::Other) && !self.admits_everybody());
        (ABOUT_THE_GATE.contains(&name.as_str()) && !asks).then(|| {
            format!(
                "GATE235: SetHandler {name} in {} ({line}): nobody has to show who they are there, so it answers loopback clients alone; write AuthType Gate and a Require gate-role",
                self.shown()
            )
        })
    }

    /// Rules that a client without a token may fulfil although they speak of claims: what is empty is
    /// not equal.
    fn negated_for_nobody(&self) -> Option<String> {
        if self.place.port {
            return None;
        }
        let all = |is: fn(&Rule) -> bool| self.rules.iter().all(is);
        let keeps_out = self
            .rules
            .iter()
            .find(|it| it.words().0 && it.is_of_the_gate());
        if let Some(rule) = keeps_out.filter(|_| all(Rule::asks_nobody)) {
            return Some(format!(
                "GATE233: Require {} in {} ({}) keeps out nobody who shows no token, and no rule beside it asks for one; write Require valid-user beside it, in <RequireAll>",
                rule.text,
                self.shown(),
                rule.line
            ));
        }
        let asks = |it: &Rule| {
            let word = it.text.get(..4).unwrap_or_default();
            word.eq_ignore_ascii_case("expr") && it.text.contains("gate_")
        };
        let negated = |it: &&Rule| it.text.contains('!') || it.text.contains("-z ");
        let rule = self.rules.iter().find(negated).filter(|_| all(asks))?;
        Some(format!(
            "GATE233: Require {} in {} ({}) may hold for those who show no token: gate_claim(), gate_claims() and gate_roles() are empty for them; write Require valid-user beside it, in <RequireAll>",
            rule.text,
            self.shown(),
            rule.line
        ))
    }

    /// Whether the path may be a wildcard or a regular expression.
    fn is_pattern(&self) -> bool {
        self.path
            .contains(['*', '?', '[', '^', '$', '(', '|', '\\'])
    }

    /// Whether all requests of `other` are this one's too, as far as paths tell.
    fn covers(&self, other: &Self) -> bool {
        let everywhere = self.kind == Kind::Location && self.path == "/";
        let below = || {
            let rest = other.path.strip_prefix(self.path.as_str());
            rest.is_some_and(|rest| {
                rest.is_empty() || rest.starts_with('/') || self.path.ends_with('/')
            })
        };
        everywhere
            || (self.kind == other.kind && !self.is_pattern() && !other.is_pattern() && below())
    }

    /// Whether a request may be of both.
    fn overlaps(&self, other: &Self) -> bool {
        self.is_pattern() || other.is_pattern() || self.covers(other) || other.covers(self)
    }
}

#[cfg(test)]
mod tests;
