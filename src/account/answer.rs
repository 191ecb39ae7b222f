//! What GitLab's answer about a name means: `GET /users?username=NAME` (lib/api/users.rb) answers a list with the
//! one account of that name, or an empty one.

use crate::json::{self, Value};

/// An account's record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account {
    /// `id`
    pub id: u64,
    /// `state`: `active`, `blocked`, `ldap_blocked`, `deactivated`, `banned`, `blocked_pending_approval` …
    pub state: String,
}

/// What GitLab says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Said {
    /// There is this account.
    Account(Account),
    /// There is none of that name.
    Nobody,
}

/// Where to ask.
#[must_use]
pub fn url(api: &str, name: &str) -> String {
    let mut url = format!("{api}/users?username=");
    for byte in name.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => {
                url.push(char::from(byte));
            }
            _ => url.push_str(&format!("%{byte:02X}")),
        }
    }
    url
}

/// What an answer means.
///
/// # Errors
/// GitLab does not say: why, after the URL. Only a 200 with a list of no record, or of exactly the person's, is an
/// answer.
pub fn judge(status: u16, body: &[u8], name: &str) -> Result<Said, String> {
    match status {
        200 => {}
        401 | 403 => {
            return Err(format!(
                "answered {status}: wanted 200; token-file must hold a living token of an administrator, with the scope read_api or api"
            ));
        }
        404 => return Err("answered 404: wanted 200; write GateAccountAPI with the base of API v4, as https://gitlab.example.com/api/v4".into()),
        300..=399 => return Err(format!("answered {status}: a redirect is not followed; write the URL that it leads to")),
        _ => return Err(format!("answered {status}: wanted 200")),
    }
    let garbage = || "answered 200 without a list of accounts".to_owned();
    let Ok(Value::Array(list)) = json::parse(body) else {
        return Err(garbage());
    };
    match &*list {
        [] => Ok(Said::Nobody),
        [record] => {
            let text = |member: &str| record.get(member).and_then(Value::as_str);
            let id = record.get("id").and_then(crate::identity::scalar);
            let id = id.and_then(|it| it.parse().ok()).filter(|it| *it > 0);
            let (Some(id), Some(username), Some(state)) = (id, text("username"), text("state"))
            else {
                return Err("answered a record without id, username or state".into());
            };
            if !username.eq_ignore_ascii_case(name) {
                return Err("answered another person's record".into());
            }
            Ok(Said::Account(Account {
                id,
                state: state.to_owned(),
            }))
        }
        _ => Err("answered more than one record".into()),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn said(status: u16, body: &str) -> Result<Said, String> {
        judge(status, body.as_bytes(), "Dana")
    }

    #[test]
    fn the_record_of_that_name_or_an_empty_list_is_an_answer() {
        for state in [
            "active",
            "blocked",
            "ldap_blocked",
            "deactivated",
            "banned",
            "new",
        ] {
            let body = format!(r#"[{{"id":7,"username":"dana","state":"{state}","x":[]}}]"#);
            let state = state.to_owned();
            assert_eq!(
                said(200, &body),
                Ok(Said::Account(Account { id: 7, state }))
            );
        }
        assert_eq!(said(200, "[]"), Ok(Said::Nobody));
    }

    #[test]
    fn anything_else_says_nothing() {
        let good = r#"[{"id":7,"username":"dana","state":"active"}]"#;
        assert!(said(200, good).is_ok());
        for status in [
            201, 204, 301, 302, 307, 400, 401, 403, 404, 429, 500, 502, 503,
        ] {
            let why = said(status, good).unwrap_err();
            assert!(why.starts_with(&format!("answered {status}")), "{why}");
        }
        for body in [
            "",
            "<html>",
            "null",
            "{}",
            "true",
            r#"{"id":7,"username":"dana","state":"active"}"#,
            r#"[{"id":7,"username":"eve","state":"active"}]"#,
            r#"[{"id":7,"username":"dana2","state":"active"}]"#,
            r#"[{"id":7,"username":"d\u0430na","state":"active"}]"#,
            r#"[{"id":7,"username":"dana"}]"#,
            r#"[{"id":7,"state":"active"}]"#,
            r#"[{"username":"dana","state":"active"}]"#,
            r#"[{"id":0,"username":"dana","state":"active"}]"#,
            r#"[{"id":-7,"username":"dana","state":"active"}]"#,
            r#"[{"id":7.5,"username":"dana","state":"active"}]"#,
            r#"[{"id":7,"username":["dana"],"state":"active"}]"#,
            r#"[{"id":7,"username":"dana","state":true}]"#,
            r#"[{"id":7,"username":"dana","state":"blocked","state":"active"}]"#,
            r#"[{"id":7,"username":"dana","state":"active"},{"id":8,"username":"eve","state":"active"}]"#,
            r#"[{"id":7,"username":"dana","state":"active"}"#,
            r#"["dana"]"#,
        ] {
            assert!(said(200, body).is_err(), "{body}");
        }
    }

    #[test]
    fn a_name_is_one_parameter() {
        let asked = url("https://g.example/api/v4", "d&a=%#?+'é");
        assert_eq!(
            asked,
            "https://g.example/api/v4/users?username=d%26a%3D%25%23%3F%2B%27%C3%A9"
        );
    }
}
