//! Where the gate's credential may go: what GitLab does at which path, from GitLab's own source. A path
//! that no row allows gets no credential. Judged is what mod_proxy will send (`way`), in one spelling
//! only: whatever GitLab's routers might read in two ways is not in the table.

use super::way::{Sent, plain};
use crate::token::query::unescape;

/// How the credential goes in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Carry {
    /// A token, with `Sudo` beside it: GitLab's REST API.
    Sudo,
    /// `Authorization: Basic`: git, LFS, the registry's tokens.
    Basic,
    /// `Authorization: Basic`, with `Sudo` beside it: packages whose endpoints read no token header.
    SudoBasic,
}

/// The request as it will be sent.
#[derive(Clone, Copy, Debug)]
pub struct Asked<'r> {
    /// The method.
    pub method: &'r [u8],
    /// The target.
    pub sent: Sent<'r>,
    /// Whether there is a body, or the type of one: Rack prefers a body's parameters to the query's.
    pub body: bool,
}

/// Which paths.
#[derive(Debug)]
enum Path {
    /// Below `/api/v4/`, after GitLab's relative root or `/o/NAME/`. Read widely: without case, escapes,
    /// format (`.json`) and path parameters, an escaped slash as a slash.
    Wide(&'static str),
    /// Below `/api/v4/`, as GitLab's router has it.
    Api,
    /// A format of packages below `/api/v4/projects/ID/packages/` or `/api/v4/groups/ID/-/packages/`, exactly.
    Packages(&'static str),
    /// Below the path of a repository (`….git/`), exactly.
    Git(&'static str),
    /// After GitLab's relative root, exactly.
    Exact(&'static str),
}

/// Which queries.
#[derive(Debug)]
enum Query {
    Any,
    /// `service=git-upload-pack` or `service=git-receive-pack`, and nothing else.
    GitService,
    /// `service=container_registry` once, and what else the registry's clients send.
    Registry,
}

/// One row.
#[derive(Debug)]
pub struct Row {
    methods: &'static [&'static str],
    path: Path,
    query: Query,
    may: Option<Carry>,
    /// What GitLab does there, and which file says so.
    pub why: &'static str,
}

const GET: &[&str] = &["GET", "HEAD"];
const POST: &[&str] = &["POST"];

const fn never(path: &'static str, why: &'static str) -> Row {
    Row {
        methods: &[],
        path: Path::Wide(path),
        query: Query::Any,
        may: None,
        why,
    }
}

const fn packages(format: &'static str, why: &'static str) -> Row {
    Row {
        methods: &[],
        path: Path::Packages(format),
        query: Query::Any,
        may: Some(Carry::SudoBasic),
        why,
    }
}

const fn git(methods: &'static [&'static str], path: &'static str, why: &'static str) -> Row {
    Row {
        methods,
        path: Path::Git(path),
        query: Query::Any,
        may: Some(Carry::Basic),
        why,
    }
}

/// The first row that fits decides; where none does, nothing goes in.
pub const TABLE: &[Row] = &[
    never(
        "internal/**",
        "GitLab's components talk to each other there and show secrets of their own, Sudo means nothing (lib/api/internal/base.rb)",
    ),
    never(
        "mcp/**",
        "tools are run for the token's owner (lib/api/mcp/base.rb)",
    ),
    never(
        "orbit/mcp/**",
        "tools are run for the token's owner (lib/api/mcp/base.rb)",
    ),
    never(
        "**/*access_tokens/self/**",
        "shows, renews and revokes the token that it is shown, and hands the new one out, whoever Sudo names (lib/api/personal_access_tokens/self_information.rb, self_rotation.rb, lib/api/resource_access_tokens/self_rotation.rb)",
    ),
    never(
        "**/conan/*/users/authenticate/**",
        "the answer is a signed, not encrypted JWT that holds the token (lib/gitlab/conan_token.rb)",
    ),
    never(
        "**/terraform/modules/v1/**/download/**",
        "X-Terraform-Get holds a JWT that stands for the token, without Sudo (lib/api/terraform/modules/v1/namespace_packages.rb, lib/gitlab/terraform_registry_token.rb)",
    ),
    never(
        "ai/duo_workflows/ws/**",
        "Workhorse keeps the request and makes others of it (workhorse/internal/ai_assist/duoworkflow/runner.go)",
    ),
    packages("nuget", "lib/api/nuget_project_packages.rb"),
    packages("helm", "lib/api/helm_packages.rb"),
    packages("debian", "lib/api/debian_project_packages.rb"),
    Row {
        methods: &[],
        path: Path::Api,
        query: Query::Any,
        may: Some(Carry::Sudo),
        why: "the REST API acts as whom Sudo names, with that person's permissions (lib/api/helpers.rb, sudo!)",
    },
    Row {
        methods: GET,
        path: Path::Git("info/refs"),
        query: Query::GitService,
        may: Some(Carry::Basic),
        why: "smart HTTP (app/controllers/repositories/git_http_controller.rb)",
    },
    git(
        POST,
        "git-upload-pack",
        "smart HTTP (app/controllers/repositories/git_http_controller.rb)",
    ),
    git(
        POST,
        "git-receive-pack",
        "smart HTTP (app/controllers/repositories/git_http_controller.rb)",
    ),
    git(
        POST,
        "info/lfs/objects/batch",
        "hands out an LFS token of the account, not the credential: a deploy token would come back (app/controllers/repositories/lfs_api_controller.rb)",
    ),
    git(
        &["GET", "HEAD", "POST"],
        "info/lfs/locks",
        "lists and makes locks (app/controllers/repositories/lfs_locks_api_controller.rb)",
    ),
    git(
        POST,
        "info/lfs/locks/verify",
        "lists locks (app/controllers/repositories/lfs_locks_api_controller.rb)",
    ),
    git(
        POST,
        "info/lfs/locks/*/unlock",
        "takes a lock away (app/controllers/repositories/lfs_locks_api_controller.rb)",
    ),
    Row {
        methods: GET,
        path: Path::Exact("jwt/auth"),
        query: Query::Registry,
        may: Some(Carry::Basic),
        why: "a token for the registry; the dependency proxy's would hold the credential in clear (app/controllers/jwt_controller.rb)",
    },
];

/// Whether the credential may go there.
///
/// # Errors
/// Why not, in words for the log.
pub fn allows(asked: &Asked<'_>, carry: Carry) -> Result<(), &'static str> {
    // A token may go to packages, too: GitLab answers 401 where it reads Basic only.
    let mut rows = TABLE.iter().filter(|row| row.fits(asked));
    let row = rows.find(|row| row.may.is_none_or(|may| may == carry));
    match row {
        Some(row) if row.may == Some(carry) => Ok(()),
        Some(row) if row.may.is_none() => Err(row.why),
        _ if carry == Carry::Sudo => {
            Err("with GateSudo it goes only below /api/v4/, as GitLab knows Sudo nowhere else")
        }
        _ if carry == Carry::SudoBasic => Err(
            "as Basic with GateSudo it goes only to packages of NuGet, Helm and Debian; elsewhere it must be a token",
        ),
        _ => Err(
            "as Basic it goes only to git's smart HTTP, LFS's batch and locks, and the registry's tokens",
        ),
    }
}

impl Row {
    fn fits(&self, asked: &Asked<'_>) -> bool {
        let method = |it: &&str| asked.method == it.as_bytes();
        if !(self.methods.is_empty() || self.methods.iter().any(method)) {
            return false;
        }
        let path = asked.sent.path;
        let fits = match self.path {
            Path::Wide(pattern) => api(path).is_some_and(|rest| wide(pattern, rest)),
            Path::Api => api(path).is_some_and(is_api),
            Path::Packages(format) => {
                api(path).is_some_and(|rest| is_api(rest) && is_packages(format, rest))
            }
            Path::Git(pattern) => repository(path).is_some_and(|rest| exact(pattern, &rest)),
            Path::Exact(pattern) => {
                let segments = segments(path);
                let root = segments.len().saturating_sub(pattern.split('/').count());
                let (root, rest) = segments.split_at_checked(root).unwrap_or_default();
                is_root(root) && exact(pattern, rest)
            }
        };
        fits && self.query.fits(asked)
    }
}

/// What stands below the first `/api/v4/` of a path; what is before it can be GitLab's relative root and
/// `/o/NAME`.
///
/// Without a relative root such a path is a page of a group `api` with a project `v4`, which GitLab
/// allows. Of those only pages below `/-/`, feeds and archives read a token from a header
/// (`find_user_from_web_access_token` in lib/gitlab/auth/auth_finders.rb), and git: [`is_page`] keeps them out.
fn api(path: &[u8]) -> Option<&[u8]> {
    let segments = segments(path);
    let at = segments
        .windows(2)
        .position(|it| it == [&b"api"[..], b"v4"])?;
    let root = segments.get(..at)?;
    let skip: usize = root.iter().map(|it| it.len() + 1).sum();
    let rest = path.get(skip + "/api/v4/".len()..)?;
    (is_root(root) && (root.is_empty() || !is_page(rest))).then_some(rest)
}

/// Whether what stands below `NAME/api/v4/` could be a page that reads a token: see [`api`].
fn is_page(rest: &[u8]) -> bool {
    let rest: Vec<u8> = plain(rest).collect();
    let segments = segments_of(&rest);
    let group = matches!(segments.first(), Some(&b"groups" | &b"group"));
    segments.iter().enumerate().any(|(at, it)| {
        // groups/ID/-/packages is the API's
        let page = *it == b"-" && !(group && segments.get(at + 1) == Some(&&b"packages"[..]));
        page || it.ends_with(b".git")
    }) || [&b".atom"[..], b".rss", b".ics"]
        .iter()
        .any(|it| rest.ends_with(it))
}

/// GitLab's relative root, with `/o/NAME` behind it: names, none of which leads elsewhere.
fn is_root(root: &[&[u8]]) -> bool {
    let other = |it: &&[u8]| matches!(*it, b"api" | b"jwt" | b"-");
    root.len() <= 4 && root.iter().all(|it| is_name(it)) && !root.iter().any(other)
}

/// A name of GitLab's (lib/gitlab/path_regex.rb): nothing in it is read in two ways.
fn is_name(segment: &[u8]) -> bool {
    let byte = |b: &u8| b.is_ascii_alphanumeric() || b"_.-".contains(b);
    let dots = segment.iter().all(|b| *b == b'.');
    !dots && segment.first() != Some(&b'-') && segment.iter().all(byte)
}

/// Whether a path below `/api/v4/` is one that Workhorse and Grape read alike: there is something, no
/// segment but the last is empty, and all of it is printable when it is unescaped.
fn is_api(rest: &[u8]) -> bool {
    let mut segments = segments_of(rest);
    if segments.last().is_some_and(|it| it.is_empty()) {
        segments.pop();
    }
    let escapes = rest.iter().enumerate().filter(|(_, b)| **b == b'%');
    let whole = escapes
        .map(|(at, _)| rest.get(at + 1..at + 3))
        .all(|it| it.is_some_and(|it| it.iter().all(u8::is_ascii_hexdigit)));
    !segments.is_empty()
        && segments.iter().all(|it| !it.is_empty())
        && rest
            .iter()
            .all(|b| b.is_ascii_graphic() && !b"\\#".contains(b))
        && whole
        && plain(rest).all(|b| !b.is_ascii_control())
}

/// Whether a path below `/api/v4/` is one of this format's packages.
fn is_packages(format: &str, rest: &[u8]) -> bool {
    match segments_of(rest).as_slice() {
        [b"projects", _, b"packages", found, ..] => *found == format.as_bytes(),
        [b"groups", _, b"-", b"packages", found, ..] => *found == format.as_bytes(),
        _ => false,
    }
}

/// What stands below a repository's path.
fn repository(path: &[u8]) -> Option<Vec<&[u8]>> {
    let segments = segments(path);
    let at = segments
        .iter()
        .position(|it| it.len() > 4 && it.ends_with(b".git"))?;
    let (repository, rest) = segments.split_at_checked(at + 1)?;
    let named = repository.iter().all(|it| is_name(it)) && repository.first() != Some(&&b"api"[..]);
    named.then(|| rest.to_vec())
}

fn segments(path: &[u8]) -> Vec<&[u8]> {
    path.strip_prefix(b"/").map(segments_of).unwrap_or_default()
}

fn segments_of(path: &[u8]) -> Vec<&[u8]> {
    path.split(|b| *b == b'/').collect()
}

/// Each segment as it is written; `*` is one of digits.
fn exact(pattern: &str, segments: &[&[u8]]) -> bool {
    let wanted = pattern.split('/');
    wanted.clone().count() == segments.len()
        && wanted.zip(segments).all(|(wanted, it)| match wanted {
            "*" => !it.is_empty() && it.iter().all(u8::is_ascii_digit),
            _ => *it == wanted.as_bytes(),
        })
}

/// The pattern against whatever GitLab could make of the path: `**` stands for any segments, `*` for one
/// or for the beginning of one.
fn wide(pattern: &str, rest: &[u8]) -> bool {
    let read: Vec<u8> = plain(rest).map(|b| b.to_ascii_lowercase()).collect();
    let cut = |it: &&[u8]| it.iter().position(|b| *b == b';').unwrap_or(it.len());
    let segments: Vec<&[u8]> = read
        .split(|b| matches!(b, b'/' | b'\\'))
        .map(|it| it.get(..cut(&it)).unwrap_or_default().trim_ascii())
        .filter(|it| !it.is_empty())
        .collect();
    matches(&pattern.split('/').collect::<Vec<_>>(), &segments)
}

fn matches(pattern: &[&str], segments: &[&[u8]]) -> bool {
    let Some((first, more)) = pattern.split_first() else {
        return segments.is_empty();
    };
    match (*first, segments.split_first()) {
        ("**", None) => matches(more, segments),
        ("**", Some((_, rest))) => matches(more, segments) || matches(pattern, rest),
        (_, None) => false,
        (wanted, Some((segment, rest))) => is_segment(wanted, segment) && matches(more, rest),
    }
}

fn is_segment(wanted: &str, segment: &[u8]) -> bool {
    match wanted.strip_prefix('*') {
        Some(end) => segment.ends_with(end.as_bytes()),
        None => segment
            .strip_prefix(wanted.as_bytes())
            .is_some_and(|rest| rest.is_empty() || rest.starts_with(b".")),
    }
}

impl Query {
    fn fits(&self, asked: &Asked<'_>) -> bool {
        let query = asked.sent.query.unwrap_or_default();
        match self {
            Self::Any => true,
            Self::GitService => {
                let services = [&b"service=git-upload-pack"[..], b"service=git-receive-pack"];
                !asked.body && services.contains(&query)
            }
            Self::Registry => !asked.body && is_registry(query),
        }
    }
}

/// Clients of the registry send these (distribution's token specification), and GitLab reads no other
/// (`auth_params` in app/controllers/jwt_controller.rb).
fn is_registry(query: &[u8]) -> bool {
    const OTHERS: &[&[u8]] = &[b"account", b"client_id", b"offline_token", b"scope"];
    let mut services = 0;
    let known = query.split(|b| *b == b'&').all(|pair| {
        let end = pair.iter().position(|b| *b == b'=').unwrap_or(pair.len());
        let (key, value) = pair.split_at_checked(end).unwrap_or_default();
        if key == b"service" {
            services += 1;
            return value == b"=container_registry";
        }
        // `;` parts parameters for some versions of Rack
        OTHERS.contains(&key) && !unescape(value).contains(&b'\0') && !value.contains(&b';')
    });
    known && services == 1
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;
