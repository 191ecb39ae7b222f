//! What tokens of each make look like: the true sets of claims, as defaults that a test overrides.

use serde_json::{Value, json};

/// The claims of a make, without `iss`, `aud` and the times. An unknown name gives only a `sub`.
pub fn claims(shape: &str) -> Value {
    match shape {
        "gitlab" => json!({
            "sub": "project_path:shop/orders:ref_type:branch:ref:main",
            "jti": "235b3a54-b797-45c7-ae9a-f72d7bc6ef5b",
            "namespace_id": "72", "namespace_path": "shop",
            "project_id": "20", "project_path": "shop/orders", "project_visibility": "private",
            "job_project_id": "20", "job_project_path": "shop/orders",
            "job_namespace_id": "72", "job_namespace_path": "shop",
            "user_id": "1", "user_login": "dana", "user_email": "dana@example.com",
            "user_access_level": "developer", "groups_direct": ["shop/backend"],
            "user_identities": [{"provider": "okta", "extern_uid": "00u1dana"}],
            "pipeline_id": "574", "pipeline_source": "push", "job_id": "302",
            "ref": "main", "ref_type": "branch", "ref_path": "refs/heads/main", "ref_protected": "true",
            "environment": "production", "environment_protected": "true",
            "deployment_tier": "production", "environment_action": "start",
            "runner_id": 1, "runner_environment": "self-hosted",
            "sha": "714a629c0b401fdce83e847fc9589983fc6f46bc",
            "ci_config_ref_uri": "gitlab.example.com/shop/orders//.gitlab-ci.yml@refs/heads/main",
            "ci_config_sha": "714a629c0b401fdce83e847fc9589983fc6f46bc",
        }),
        "okta" => json!({
            "ver": 1, "jti": "AT.4cG9", "cid": "0oa1gitlab", "uid": "00u1dana", "scp": ["openid", "profile"],
            "auth_time": 1, "sub": "dana@example.com", "email": "dana@example.com", "groups": ["gitlab-devs"],
        }),
        "entra_v1" => json!({
            "ver": "1.0", "tid": "7a0c5f3e-0000-4000-8000-000000000001", "oid": "5b1e0c9a-0000-4000-8000-000000000002",
            "sub": "sWJ7p", "appid": "e0f1", "scp": "gitlab.access", "upn": "dana@example.com",
            "unique_name": "dana@example.com", "roles": ["developer"], "idp": "live.com", "uti": "u1",
        }),
        "entra_v2" => json!({
            "ver": "2.0", "tid": "7a0c5f3e-0000-4000-8000-000000000001", "oid": "5b1e0c9a-0000-4000-8000-000000000002",
            "sub": "sWJ7p", "azp": "e0f1", "azpacr": "1", "scp": "gitlab.access",
            "preferred_username": "dana@example.com", "name": "Dana", "roles": ["developer"], "rh": "0.A", "uti": "u1",
        }),
        "keycloak" => json!({
            "jti": "onrtac:1", "sub": "8f3c1c1e-0000-4000-8000-000000000003", "typ": "Bearer", "azp": "gitlab",
            "sid": "s1", "acr": "1", "scope": "openid email", "email_verified": true, "email": "dana@example.com",
            "preferred_username": "dana", "name": "Dana", "realm_access": {"roles": ["developer", "offline_access"]},
            "resource_access": {"gitlab": {"roles": ["maintainer"]}}, "groups": ["/shop/backend"],
        }),
        "aws" => json!({
            "sub": "arn:aws:iam::123456789012:role/deployer", "jti": "aws-1",
            "https://sts.amazonaws.com/": {"aws_account": "123456789012", "principal_tags": {"team": "shop"}},
        }),
        "google" => json!({
            "sub": "110169484474386276334", "azp": "gate", "email": "dana@example.com", "email_verified": true,
            "hd": "example.com", "name": "Dana",
        }),
        _ => json!({ "sub": "dana" }),
    }
}
