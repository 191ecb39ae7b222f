//! One server as people's browsers see it: its public URL, from ServerName and never from `Host` or
//! `X-Forwarded-*`, and the names of its cookies.

use super::page;
use std::fmt::Write as _;

/// A server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Site {
    /// ServerName without scheme and port, in small letters.
    pub name: String,
    /// Scheme, name and port as a URL begins: `https://gate.example.com`.
    pub origin: String,
    /// Browsers speak TLS to it.
    pub secure: bool,
    /// GateEndpoint.
    pub endpoint: String,
    /// The path of a gate-gitlab-login, which a sign-in may lead to though it lies below GateEndpoint.
    pub login: Option<String>,
}

/// A cookie of the gate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cookie {
    /// The session.
    Session,
    /// The attempts of one browser.
    Login,
}

impl Cookie {
    /// Its name. `__Host-`: no other host can set it, and it comes by TLS alone (RFC 6265bis, section
    /// 4.1.3.2); on loopback without TLS browsers refuse that name.
    #[must_use]
    pub const fn name(self, secure: bool) -> &'static str {
        match (self, secure) {
            (Self::Session, true) => "__Host-gate",
            (Self::Session, false) => "gate",
            (Self::Login, true) => "__Host-gate-login",
            (Self::Login, false) => "gate-login",
        }
    }
}

/// How long a browser keeps the login cookie, seconds.
const LOGIN_AGE: u32 = 3600;

impl Site {
    /// A URL of an endpoint: `callback/corp`.
    #[must_use]
    pub fn url(&self, rest: &str) -> String {
        format!("{}{}/{rest}", self.origin, self.endpoint)
    }

    /// The page that a target names, as this server may lead to it.
    #[must_use]
    pub fn page(&self, target: &[u8]) -> String {
        page::page(target, &self.endpoint, self.login.as_deref())
    }

    /// `Set-Cookie` that sets a cookie of the gate.
    #[must_use]
    pub fn set(&self, cookie: Cookie, value: &str) -> String {
        let mut text = format!("{}={value}; Path=/", cookie.name(self.secure));
        if cookie == Cookie::Login {
            let _ = write!(text, "; Max-Age={LOGIN_AGE}");
        }
        self.attributes(text)
    }

    /// `Set-Cookie` that deletes a cookie of the gate.
    #[must_use]
    pub fn delete(&self, cookie: Cookie) -> String {
        self.attributes(format!("{}=; Path=/; Max-Age=0", cookie.name(self.secure)))
    }

    fn attributes(&self, text: String) -> String {
        let secure = if self.secure { "; Secure" } else { "" };
        format!("{text}{secure}; HttpOnly; SameSite=Lax")
    }

    /// `Set-Cookie`s that delete a cookie of the upstream: host-only and of each parent domain, at `/`
    /// and at the upstream's own root.
    #[must_use]
    pub fn forget(&self, name: &str, root: Option<&str>) -> Vec<String> {
        let secure = if self.secure { "; Secure" } else { "" };
        let mut domains = vec![String::new()];
        let mut rest = self.name.as_str();
        if rest.parse::<std::net::IpAddr>().is_err() {
            // The last label alone is no domain that a browser takes.
            while rest.contains('.') {
                domains.push(format!("; Domain={rest}"));
                rest = rest.split_once('.').map_or("", |(_, parent)| parent);
            }
        }
        let paths = [Some("/"), root.filter(|it| *it != "/")];
        let mut all = Vec::new();
        for path in paths.into_iter().flatten() {
            for domain in &domains {
                all.push(format!("{name}=; Path={path}{domain}; Max-Age=0{secure}"));
            }
        }
        all
    }
}

/// The values of a cookie in a `Cookie` header. A name is compared byte by byte, without blanks and
/// tabs around it; a comma may stand where two headers were joined.
pub fn cookies<'r>(header: &'r [u8], name: &'r str) -> impl Iterator<Item = &'r [u8]> {
    header
        .split(|b| matches!(b, b';' | b','))
        .filter_map(move |pair| {
            let blank = |b: &u8| matches!(b, b' ' | b'\t');
            let start = pair.iter().position(|b| !blank(b))?;
            let end = pair.iter().rposition(|b| !blank(b))? + 1;
            let pair = pair.get(start..end)?;
            let at = pair.iter().position(|b| *b == b'=')?;
            let (key, value) = pair.split_at(at);
            let key = key.strip_suffix(b" ").unwrap_or(key);
            (key == name.as_bytes()).then(|| value.get(1..).unwrap_or_default())
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn site(secure: bool) -> Site {
        Site {
            name: "gate.example.com".into(),
            origin: "https://gate.example.com".into(),
            secure,
            endpoint: "/-/gate".into(),
            login: None,
        }
    }

    #[test]
    fn cookies_of_the_gate_are_the_host_s_own() {
        assert_eq!(
            site(true).set(Cookie::Session, "x"),
            "__Host-gate=x; Path=/; Secure; HttpOnly; SameSite=Lax"
        );
        assert_eq!(
            site(false).set(Cookie::Login, "x"),
            "gate-login=x; Path=/; Max-Age=3600; HttpOnly; SameSite=Lax"
        );
        assert_eq!(
            site(true).delete(Cookie::Session),
            "__Host-gate=; Path=/; Max-Age=0; Secure; HttpOnly; SameSite=Lax"
        );
    }

    #[test]
    fn a_cookie_of_the_upstream_is_deleted_wherever_it_may_have_been_set() {
        let all = site(true).forget("_gitlab_session", Some("/gitlab"));
        assert_eq!(
            all,
            [
                "_gitlab_session=; Path=/; Max-Age=0; Secure",
                "_gitlab_session=; Path=/; Domain=gate.example.com; Max-Age=0; Secure",
                "_gitlab_session=; Path=/; Domain=example.com; Max-Age=0; Secure",
                "_gitlab_session=; Path=/gitlab; Max-Age=0; Secure",
                "_gitlab_session=; Path=/gitlab; Domain=gate.example.com; Max-Age=0; Secure",
                "_gitlab_session=; Path=/gitlab; Domain=example.com; Max-Age=0; Secure",
            ]
        );
        let loopback = Site {
            name: "127.0.0.1".into(),
            ..site(false)
        };
        assert_eq!(loopback.forget("a", None), ["a=; Path=/; Max-Age=0"]);
    }

    #[test]
    fn a_cookie_is_found_by_its_exact_name() {
        let find = |header: &str| -> Vec<String> {
            cookies(header.as_bytes(), "__Host-gate")
                .map(|it| String::from_utf8_lossy(it).into_owned())
                .collect()
        };
        assert_eq!(find("a=b; __Host-gate=x; c=d"), ["x"]);
        assert_eq!(find("__Host-gate=x, __Host-gate=y"), ["x", "y"]);
        assert_eq!(find(" \t__Host-gate=x\t"), ["x"]);
        for header in [
            "__host-gate=x",
            "__Host-gate-login=x",
            "x__Host-gate=x",
            "__Host-gate",
            "=__Host-gate=x",
            "a=__Host-gate=x",
            "",
        ] {
            assert!(find(header).is_empty(), "{header}");
        }
    }

    #[test]
    fn urls_are_made_of_the_server_s_name() {
        assert_eq!(
            site(true).url("callback/corp"),
            "https://gate.example.com/-/gate/callback/corp"
        );
    }
}
