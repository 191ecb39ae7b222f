//! Which virtual hosts would answer: those of one address and port. httpd's own rules, by which the
//! more exact address comes before `*`.

use crate::lines::{Line, word};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::ops::RangeInclusive;

/// An address of `<VirtualHost>`, or `*`; a port, or any.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    address: String,
    port: Option<u16>,
}

impl Place {
    fn any(port: Option<u16>) -> Self {
        Self {
            address: "*".into(),
            port,
        }
    }

    fn parse(text: &str) -> Self {
        let (address, port) = match text.rsplit_once(':') {
            // An address of version 6 stands in brackets where it has a port.
            Some((address, port)) if !address.contains(':') || address.ends_with(']') => {
                (address, port.parse().ok())
            }
            _ => (text, None),
        };
        Self {
            address: if address.eq_ignore_ascii_case("_default_") {
                "*".into()
            } else {
                address.to_ascii_lowercase()
            },
            port,
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.port {
            Some(port) if self.address == "*" => write!(f, "{port}"),
            Some(port) => write!(f, "{}:{port}", self.address),
            None => f.write_str(&self.address),
        }
    }
}

/// A `<VirtualHost>`.
#[derive(Debug)]
pub struct Host {
    places: Vec<Place>,
    name: Option<String>,
    gated: bool,
    /// Where it stands.
    pub lines: RangeInclusive<usize>,
}

/// The main server and its virtual hosts.
#[derive(Debug, Default)]
pub struct Hosts {
    all: Vec<Host>,
    ports: BTreeSet<u16>,
    name: Option<String>,
    gated: bool,
}

/// The hosts that answer, and what the question is to name of them.
#[derive(Debug)]
pub struct Answering<'a> {
    /// The main server does where there is none.
    pub hosts: Vec<&'a Host>,
    /// The `Host` that leads to the gate.
    pub name: Option<String>,
    /// For people.
    pub told: String,
}

impl Hosts {
    /// Those of a configuration.
    pub fn of(lines: &[Line]) -> Self {
        let mut hosts = Self::default();
        let mut open: Option<Host> = None;
        for (at, line) in lines.iter().enumerate() {
            let first = || word(&line.arguments).0;
            let gated = line.name == "<gateport"
                || (line.name == "authtype" && first().eq_ignore_ascii_case("gate"));
            let (name, is_gated) = match &mut open {
                Some(host) => (&mut host.name, &mut host.gated),
                None => (&mut hosts.name, &mut hosts.gated),
            };
            *is_gated |= gated;
            match line.name.as_str() {
                "listen" => hosts.ports.extend(Place::parse_listen(&first())),
                "servername" => *name = Some(bare(&first())),
                "<virtualhost" => {
                    open = Some(Host {
                        places: line
                            .arguments
                            .split_whitespace()
                            .map(|it| Place::parse(it.trim_matches('"')))
                            .collect(),
                        name: None,
                        gated: false,
                        lines: at..=at,
                    });
                }
                "</virtualhost" => {
                    if let Some(mut host) = open.take() {
                        host.lines = *host.lines.start()..=at;
                        hosts.all.push(host);
                    }
                }
                _ => {}
            }
        }
        let ports = hosts.all.iter().flat_map(|it| &it.places);
        hosts.ports.extend(ports.filter_map(|it| it.port));
        hosts
    }

    /// Those that answer at `wanted` (a port, or ADDRESS:PORT), under the name of `host`. Without the
    /// one or the other: where the gate is, if that is one place and one name.
    pub fn answering(
        &self,
        wanted: Option<&str>,
        host: Option<&str>,
    ) -> Result<Answering<'_>, String> {
        let place = self.place(wanted)?;
        let hosts: Vec<_> = self
            .all
            .iter()
            .filter(|it| {
                place
                    .as_ref()
                    .is_some_and(|place| it.places.contains(place))
            })
            .collect();
        let name = match host {
            Some(host) => Some(host.to_owned()),
            None => self.name(&hosts)?,
        };
        let told = match (&place, &name) {
            (None, _) => "main".to_owned(),
            (Some(place), None) => format!("at {place}"),
            (Some(place), Some(name)) => format!("{name} at {place}"),
        };
        Ok(Answering { hosts, name, told })
    }

    fn place(&self, wanted: Option<&str>) -> Result<Option<Place>, String> {
        let wanted = match wanted.map(|it| (it, it.parse())) {
            None => None,
            Some((_, Ok(port))) => Some(Place::any(Some(port))),
            Some((text, Err(_))) => Some(Place::parse(text)),
        };
        let known: Vec<_> = self.ports.iter().map(u16::to_string).collect();
        let all: Vec<Place> = match &wanted {
            Some(Place {
                port: Some(port), ..
            }) if self.ports.contains(port) => self.endpoints(*port),
            Some(wanted) => {
                let known = known.join(", ");
                return Err(format!("--port {wanted}: the ports here are {known}"));
            }
            None => self
                .ports
                .iter()
                .flat_map(|it| self.endpoints(*it))
                .collect(),
        };
        let all = match wanted {
            Some(wanted) if wanted.address != "*" => vec![wanted],
            _ => all,
        };
        // Endpoints by what answers there: of the gate's, where there are some.
        let mut answers: BTreeMap<Option<Place>, Place> = BTreeMap::new();
        for endpoint in all {
            answers.entry(self.answers(&endpoint)).or_insert(endpoint);
        }
        if answers.keys().any(|it| self.gated(it.as_ref())) {
            answers.retain(|it, _| self.gated(it.as_ref()));
        }
        if answers.len() > 1 {
            let all: Vec<_> = answers.values().map(Place::to_string).collect();
            return Err(format!(
                "other virtual hosts answer on other ports: name --port {}",
                all.join(" or ")
            ));
        }
        Ok(answers.into_keys().next().flatten())
    }

    /// The port on each address that a virtual host names, and on any other.
    fn endpoints(&self, port: u16) -> Vec<Place> {
        let places = self.all.iter().flat_map(|it| &it.places);
        let addresses: BTreeSet<_> = places
            .filter(|it| it.port.is_none_or(|it| it == port))
            .map(|it| it.address.as_str())
            .chain(["*"])
            .collect();
        let endpoint = |address: &str| Place {
            address: address.to_owned(),
            port: Some(port),
        };
        addresses.into_iter().map(endpoint).collect()
    }

    /// Whose place it is that a connection to this one belongs to; the main server's: None.
    fn answers(&self, endpoint: &Place) -> Option<Place> {
        let at_any_port = Place {
            port: None,
            ..endpoint.clone()
        };
        [
            endpoint.clone(),
            at_any_port,
            Place::any(endpoint.port),
            Place::any(None),
        ]
        .into_iter()
        .find(|place| self.all.iter().any(|it| it.places.contains(place)))
    }

    fn gated(&self, place: Option<&Place>) -> bool {
        let there = |host: &&Host| place.is_some_and(|it| host.places.contains(it));
        self.gated || self.all.iter().filter(there).any(|it| it.gated)
    }

    fn name(&self, hosts: &[&Host]) -> Result<Option<String>, String> {
        let gated: Vec<_> = hosts.iter().filter(|it| it.gated || self.gated).collect();
        let name = |it: &Host| it.name.clone().or_else(|| self.name.clone());
        match gated.as_slice() {
            [] => Ok(None),
            [one] => Ok(name(one)),
            [first, ..] if gated.iter().all(|it| name(it) == name(first)) => Ok(name(first)),
            all => {
                let names: Vec<_> = all.iter().filter_map(|it| name(it)).collect();
                Err(format!(
                    "several virtual hosts answer there: name --host {}",
                    names.join(" or ")
                ))
            }
        }
    }
}

impl Place {
    /// `Listen [ADDRESS:]PORT`
    fn parse_listen(text: &str) -> Option<u16> {
        text.rsplit(':').next()?.parse().ok()
    }
}

/// A ServerName without scheme and port.
fn bare(name: &str) -> String {
    let name = name.split_once("://").map_or(name, |it| it.1);
    match name.rsplit_once(':') {
        Some((host, port)) if port.parse::<u16>().is_ok() => host.to_owned(),
        _ => name.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    /// Virtual hosts as (places, name, gated).
    fn hosts(listens: &str, gated: bool, hosts: &[(&str, &str, bool)]) -> Hosts {
        let mut lines = Vec::new();
        let mut line = |name: &str, arguments: &str| {
            lines.push(Line {
                name: name.into(),
                arguments: arguments.into(),
                text: String::new(),
            });
        };
        for port in listens.split(' ') {
            line("listen", port);
        }
        if gated {
            line("authtype", "Gate");
        }
        for (places, name, gated) in hosts {
            line("<virtualhost", places);
            line("servername", name);
            if *gated {
                line("authtype", "gate");
            }
            line("</virtualhost", "");
        }
        Hosts::of(&lines)
    }

    fn told(it: &Hosts, wanted: Option<&str>) -> Result<String, String> {
        it.answering(wanted, None).map(|it| it.told)
    }

    #[test]
    fn the_gates_place_is_asked() {
        let two = [("*:80", "a", false), ("*:443", "a", true)];
        let it = hosts("80 443", false, &two);
        assert_eq!(told(&it, None).unwrap(), "a at 443");
        assert_eq!(told(&it, Some("443")).unwrap(), "a at 443");
        assert_eq!(told(&it, Some("80")).unwrap(), "at 80");
        assert_eq!(it.answering(None, None).unwrap().hosts.len(), 1);
        assert!(told(&it, Some("81")).unwrap_err().contains("80, 443"));
        assert_eq!(told(&hosts("80", true, &[]), None).unwrap(), "main");
        assert_eq!(told(&hosts("80", false, &[]), None).unwrap(), "main");
        let it = hosts("80 443", false, &[("_default_:443", "a:443", true)]);
        assert_eq!(told(&it, None).unwrap(), "a at 443");
        assert_eq!(told(&it, Some("80")).unwrap(), "main");
    }

    #[test]
    fn several_places_have_to_be_named() {
        let two = [("*:80", "a", true), ("*:443", "a", true)];
        let it = hosts("80 443", false, &two);
        assert!(told(&it, None).unwrap_err().contains("80 or 443"));
        // The main server's gate holds in each of them.
        let it = hosts("80", true, &[("*:80", "a", false), ("*:443", "a", false)]);
        assert!(told(&it, None).unwrap_err().contains("80 or 443"));
        // One virtual host of any port is one place.
        let it = hosts("80 443", false, &[("*", "a", true)]);
        assert_eq!(told(&it, None).unwrap(), "a at *");
        let it = hosts("80 443", false, &[("*", "a", true), ("*:80", "b", false)]);
        assert_eq!(told(&it, None).unwrap(), "a at *");
    }

    #[test]
    fn the_more_exact_address_comes_first() {
        let it = hosts(
            "443",
            false,
            &[
                ("*:443", "a", false),
                ("192.0.2.1:443 [::1]:443", "b", true),
            ],
        );
        assert_eq!(
            told(&it, Some("192.0.2.1:443")).unwrap(),
            "b at 192.0.2.1:443"
        );
        assert_eq!(told(&it, Some("[::1]:443")).unwrap(), "b at [::1]:443");
        assert_eq!(told(&it, Some("192.0.2.9:443")).unwrap(), "at 443");
    }

    #[test]
    fn several_names_have_to_be_named() {
        let it = hosts("443", false, &[("*:443", "a", true), ("*:443", "b", true)]);
        assert!(told(&it, None).unwrap_err().contains("a or b"));
        assert_eq!(it.answering(None, Some("b")).unwrap().told, "b at 443");
        let it = hosts("443", false, &[("*:443", "a", false), ("*:443", "b", true)]);
        assert_eq!(told(&it, None).unwrap(), "b at 443");
        assert_eq!(it.answering(None, None).unwrap().hosts.len(), 2);
    }
}
