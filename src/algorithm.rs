//! The signature algorithms that the gate knows, by their names in tokens, keys and GateAlgorithms. By name and
//! not by jsonwebtoken's list, which may grow.

use jsonwebtoken::Algorithm;

/// Each name (RFC 7518, section 3.1). EdDSA has two: RFC 9864 names it by its curve.
pub const NAMES: [(&str, Algorithm); 10] = [
    ("RS256", Algorithm::RS256),
    ("RS384", Algorithm::RS384),
    ("RS512", Algorithm::RS512),
    ("PS256", Algorithm::PS256),
    ("PS384", Algorithm::PS384),
    ("PS512", Algorithm::PS512),
    ("ES256", Algorithm::ES256),
    ("ES384", Algorithm::ES384),
    ("EdDSA", Algorithm::EdDSA),
    ("Ed25519", Algorithm::EdDSA),
];

/// The algorithm of that exact name.
#[must_use]
pub fn named(name: &str) -> Option<Algorithm> {
    let row = NAMES.iter().find(|(known, _)| *known == name);
    row.map(|(_, algorithm)| *algorithm)
}

/// Each algorithm once.
#[must_use]
pub fn all() -> Vec<Algorithm> {
    let mut all = Vec::new();
    for (_, algorithm) in NAMES {
        if !all.contains(&algorithm) {
            all.push(algorithm);
        }
    }
    all
}

/// The names, as a list for the administrator.
#[must_use]
pub fn names(between: &str) -> String {
    NAMES.map(|(name, _)| name).join(between)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_compared_exactly_and_two_names_are_one_algorithm() {
        assert_eq!(named("Ed25519"), Some(Algorithm::EdDSA));
        assert_eq!(named("EdDSA"), Some(Algorithm::EdDSA));
        for name in [
            "none", "HS256", "ED25519", "ed25519", "Ed448", "ES512", "rs256", "",
        ] {
            assert_eq!(named(name), None, "{name}");
        }
        assert_eq!(all().len(), 9);
    }
}
