//! The table, walked with many spellings of each path.

use super::super::way::sent;
use super::*;

/// What may go in: `sudo`, `basic` or `-`.
fn may(method: &str, target: &str, body: bool) -> &'static str {
    let filename = format!("proxy:http://127.0.0.1:8181{target}");
    let asked = Asked {
        method: method.as_bytes(),
        sent: sent(filename.as_bytes(), None).unwrap(),
        body,
    };
    match (
        allows(&asked, Carry::Sudo).is_ok(),
        allows(&asked, Carry::Basic).is_ok(),
    ) {
        (true, false) => "sudo",
        (false, true) => "basic",
        (false, false) => "-",
        (true, true) => "both",
    }
}

fn all_are(wanted: &str, method: &str, targets: &[&str]) {
    for target in targets {
        assert_eq!(may(method, target, false), wanted, "{method} {target}");
    }
}

#[test]
fn the_rest_api_gets_sudo() {
    let targets = [
        "/api/v4/user",
        "/api/v4/projects/",
        "/api/v4/projects/shop%2Forders/repository/files/src%2F.gitignore/raw?ref=main",
        "/api/v4/projects/1/repository/files/a%20b%3Fc%C3%A9",
        "/api/v4/groups/1/-/packages/npm/x",
        "/api/v4/personal_access_tokens",
        "/api/v4/personal_access_tokens/7/rotate",
        "/api/v4/users/authenticate",
        "/api/v4/projects/1/packages/conan/v1/users/check_credentials",
        "/api/v4/projects/1/repository/files/internal%2Fmcp",
        "/api/v4/projects/mcp",
        "/api/v4/user?x=/api/v4/internal",
        "/api/v4/internals",
        "/gitlab/api/v4/user",
        "/gitlab/api/v4/groups/shop%2Fsub/-/packages/npm/x",
        "/o/default/api/v4/projects",
        "/dev/gitlab/o/shop-1/api/v4/projects",
    ];
    all_are("sudo", "GET", &targets);
    all_are("sudo", "POST", &targets);
    assert_eq!(may("PUT", "/api/v4/projects/1", true), "sudo");
}

#[test]
fn what_is_not_the_rest_api_gets_nothing() {
    for method in ["GET", "POST", "DELETE"] {
        all_are(
            "-",
            method,
            &[
                "",
                "/",
                "/api",
                "/api/",
                "/api/v4",
                "/api/v4/",
                "/api/v4//",
                "/api/v4//user",
                "//api/v4/user",
                "/api//v4/user",
                "/api/v4/projects//1",
                "/API/v4/user",
                "/api/V4/user",
                "/api/v4.json/user",
                "/api%2Fv4/user",
                "/%61pi/v4/user",
                "/api/v4%2Fuser",
                "/api;x/v4/user",
                "/api/v4;x/user",
                "/api/v3/user",
                "/api/graphql",
                "/api/graphql?x=/api/v4/user",
                "/api/graphql/api/v4/user",
                "/api/v4\\user",
                "/api/v4/a#b",
                "/api/v4/a\u{e9}",
                "/api/v4/a b",
                "/api/v4/a%00",
                "/api/v4/a%0Ab",
                "/api/v4/a%zz",
                "/api/v4/a%2",
                "/-/api/v4/user",
                "/shop/orders/-/raw/main/api/v4/user",
                "/shop%2Forders/api/v4/user",
                "/x/api/v4/-/raw/main/f",
                "/x/api/v4/%2D/raw/main/f",
                "/x/api/v4/p/-/archive/main/p.zip",
                "/x/api/v4/groups/p/-/raw/main/f",
                "/x/api/v4/p.atom",
                "/x/api/v4/p.git/info/refs",
                "/a/b/c/d/e/api/v4/user",
                "/admin",
                "/users/sign_in",
                "/oauth/token",
            ],
        );
    }
}

#[test]
fn what_shows_or_hands_out_the_token_gets_nothing() {
    for target in [
        "/api/v4/internal/check",
        "/api/v4/internal",
        "/api/v4/INTERNAL/check",
        "/api/v4/%69nternal/check",
        "/api/v4/internal%2Fcheck",
        "/api/v4/internal;x/check",
        "/gitlab/api/v4/internal/check",
        "/o/default/api/v4/internal/check",
        "/api/v4/mcp",
        "/api/v4/mcp/",
        "/api/v4/mcp.json",
        "/api/v4/orbit/mcp",
        "/api/v4/personal_access_tokens/self",
        "/api/v4/personal_access_tokens/self/",
        "/api/v4/personal_access_tokens/self.json?x=1",
        "/api/v4/personal_access_tokens/self/rotate",
        "/api/v4/personal_access_tokens/self/associations",
        "/api/v4/personal_access_tokens%2Fself",
        "/api/v4/personal%5Faccess_tokens/%73elf",
        "/api/v4/Personal_Access_Tokens/SELF",
        "/api/v4/projects/1/access_tokens/self/rotate",
        "/api/v4/projects/shop%2Forders/access_tokens/self/rotate",
        "/api/v4/groups/1/access_tokens/self/rotate",
        "/api/v4/packages/conan/v1/users/authenticate",
        "/api/v4/projects/1/packages/conan/v1/users/authenticate",
        "/api/v4/projects/1/packages/conan/v2/users/authenticate.json",
        "/api/v4/projects/1/packages/conan/v1/users%2Fauthenticate/",
        "/api/v4/packages/terraform/modules/v1/shop/m/aws/1.0.0/download",
        "/api/v4/packages/terraform/modules/v1/shop/m/aws/download",
        "/api/v4/ai/duo_workflows/ws",
    ] {
        for method in ["GET", "POST", "DELETE", "HEAD"] {
            assert_eq!(may(method, target, false), "-", "{method} {target}");
        }
    }
}

#[test]
fn git_and_lfs_get_basic() {
    all_are(
        "basic",
        "GET",
        &[
            "/shop/orders.git/info/refs?service=git-upload-pack",
            "/shop/orders.git/info/refs?service=git-receive-pack",
            "/shop/sub/orders.wiki.git/info/refs?service=git-upload-pack",
            "/gitlab/shop/.o_r-1.git/info/refs?service=git-upload-pack",
            "/snippets/7.git/info/refs?service=git-upload-pack",
            "/shop/orders.git/info/lfs/locks?path=a&limit=1",
        ],
    );
    all_are(
        "basic",
        "POST",
        &[
            "/shop/orders.git/git-upload-pack",
            "/shop/orders.git/git-receive-pack",
            "/shop/orders.git/info/lfs/objects/batch",
            "/shop/orders.git/info/lfs/locks",
            "/shop/orders.git/info/lfs/locks/verify",
            "/shop/orders.git/info/lfs/locks/17/unlock",
        ],
    );
    assert_eq!(may("POST", "/a/b.git/git-upload-pack", true), "basic");
}

#[test]
fn beside_git_and_lfs_nothing_gets_basic() {
    for method in ["GET", "POST", "PUT"] {
        all_are(
            "-",
            method,
            &[
                "/shop/orders.git",
                "/shop/orders.git/info/refs",
                "/shop/orders.git/info/refs?service=git-upload-archive",
                "/shop/orders.git/info/refs?service=git-upload-pack&service=git-receive-pack",
                "/shop/orders.git/info/refs?service=git-upload-pack&x=1",
                "/shop/orders.git/info/refs?service=git-upload-pack;x",
                "/shop/orders.git/info/refs?%73ervice=git-upload-pack",
                "/shop/orders.git/info/refs/?service=git-upload-pack",
                "/shop/orders.git//info/refs?service=git-upload-pack",
                "//shop/orders.git/info/refs?service=git-upload-pack",
                "/shop/orders.git/info%2Frefs?service=git-upload-pack",
                "/shop/orders.git/INFO/refs?service=git-upload-pack",
                "/shop%2Forders.git/info/refs?service=git-upload-pack",
                "/shop/-/orders.git/info/refs?service=git-upload-pack",
                "/-/push_from_secondary/1/a/b.git/info/refs?service=git-upload-pack",
                "/shop/.git/info/refs?service=git-upload-pack",
                "/shop/orders.git/git-upload-archive",
                "/shop/orders.git/git-upload-pack/",
                "/shop/orders.git/ssh-upload-pack",
                "/shop/orders.git/info/lfs/objects",
                "/shop/orders.git/info/lfs/objects/batch/",
                "/shop/orders.git/info/lfs/locks/x/unlock",
                "/shop/orders.git/info/lfs/locks/1/2/unlock",
                "/shop/orders.git/gitlab-lfs/objects/0123/1",
                "/shop/a.git/b.git/git-upload-pack",
            ],
        );
    }
    let refs = "/shop/orders.git/info/refs?service=git-upload-pack";
    assert_eq!(may("POST", refs, false), "-");
    assert_eq!(may("get", refs, false), "-");
    assert_eq!(
        may("GET", refs, true),
        "-",
        "a body could say another service"
    );
    assert_eq!(may("GET", "/shop/orders.git/git-upload-pack", false), "-");
}

#[test]
fn a_token_for_the_registry_is_asked_for_in_one_spelling() {
    all_are(
        "basic",
        "GET",
        &[
            "/jwt/auth?service=container_registry",
            "/jwt/auth?account=d&client_id=docker&offline_token=true&scope=repository%3Ag%2Fp%3Apull&service=container_registry",
            "/jwt/auth?service=container_registry&scope=repository:g/p:pull,push&scope=repository:g/q:pull",
            "/gitlab/jwt/auth?service=container_registry",
        ],
    );
    for method in ["GET", "HEAD", "POST"] {
        all_are(
            "-",
            method,
            &[
                "/jwt/auth",
                "/jwt/auth?",
                "/jwt/auth?service=dependency_proxy",
                "/jwt/auth?service=container_registry&service=dependency_proxy",
                "/jwt/auth?service=container_registry&service=container_registry",
                "/jwt/auth?service=container_registry&%73ervice=dependency_proxy",
                "/jwt/auth?service=container_registry&service[]=dependency_proxy",
                "/jwt/auth?service=container_registry&[service]=dependency_proxy",
                "/jwt/auth?service=container_registry;service=dependency_proxy",
                "/jwt/auth?scope=x;service=dependency_proxy&service=container_registry",
                "/jwt/auth?service=container_registry&_method=post",
                "/jwt/auth?service=container_registry&",
                "/jwt/auth?service=%63ontainer_registry",
                "/jwt/auth?Service=container_registry",
                "/jwt/auth/?service=container_registry",
                "//jwt/auth?service=container_registry",
                "/jwt//auth?service=container_registry",
                "/jwt/%61uth?service=container_registry",
                "/jwt%2Fauth?service=container_registry",
                "/jwt/auth.json?service=container_registry",
                "/jwt/auth;x?service=container_registry",
                "/JWT/auth?service=container_registry",
                "/-/jwt/auth?service=container_registry",
                "/shop%2Forders/jwt/auth?service=container_registry",
            ],
        );
    }
    let good = "/jwt/auth?service=container_registry";
    assert_eq!(
        may("GET", good, true),
        "-",
        "a body could say another service"
    );
    assert_eq!(may("POST", good, false), "-");
}

#[test]
fn packages_that_read_basic_alone_get_it_with_sudo() {
    let sudo_basic = |target: &str| {
        let filename = format!("proxy:http://127.0.0.1:8181{target}");
        let asked = Asked {
            method: b"GET",
            sent: sent(filename.as_bytes(), None).unwrap(),
            body: false,
        };
        allows(&asked, Carry::SudoBasic).is_ok()
    };
    for target in [
        "/api/v4/projects/20/packages/nuget/index.json",
        "/api/v4/projects/shop%2Forders/packages/nuget/",
        "/api/v4/groups/3/-/packages/nuget/query?q=x",
        "/o/default/api/v4/projects/20/packages/helm/stable/index.yaml",
        "/api/v4/projects/20/packages/debian/orders_1.0_amd64.deb",
    ] {
        assert!(sudo_basic(target), "{target}");
        assert_eq!(may("GET", target, false), "sudo", "{target}");
    }
    for target in [
        "/api/v4/user",
        "/api/v4/personal_access_tokens/self",
        "/api/v4/projects/20/packages/conan/v1/users/authenticate",
        "/api/v4/projects/20/packages/nuget/v1/conan/v1/users/authenticate",
        "/api/v4/projects/20/packages/pypi/simple/x",
        "/api/v4/projects/20/packages/nugets/x",
        "/api/v4/projects/20%2Fpackages/nuget/x",
        "/api/v4/projects/20/packages%2Fnuget/x",
        "/api/v4/projects/20/packages//nuget/x",
        "/api/v4/projects/20/repository/files/packages%2Fnuget%2Fx",
        "/api/v4/packages/nuget/x",
        "/api/graphql",
        "/shop/orders.git/git-upload-pack",
        "/jwt/auth?service=container_registry",
    ] {
        assert!(!sudo_basic(target), "{target}");
    }
}

#[test]
fn each_row_says_why() {
    for row in TABLE {
        assert!(
            row.why.contains(".rb") || row.why.contains(".go"),
            "{row:?}"
        );
    }
}
