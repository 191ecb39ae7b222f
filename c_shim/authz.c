/* authz.c: Require gate-role, gate-claim and gate-issuer, and gate_claim(), gate_claims() and
 * gate_roles() in expressions. What holds is said in Rust (src/policy.rs). */
#include "shim.h"

static apr_status_t free_rule(void *data)
{
    gate_rule_free(data);
    return APR_SUCCESS;
}

static const char *parse_rule(cmd_parms *cmd, const char *provider, const char *line, const void **parsed)
{
    apr_array_header_t *argv = apr_array_make(cmd->temp_pool, 4, sizeof(const char *));
    const char *wrong = NULL;
    gate_config *config = SHIM_SERVER(cmd->server)->config;
    gate_place place;
    gate_rule *rule;

    while (*line) {
        const char *word = ap_getword_conf(cmd->temp_pool, &line);
        if (*word || *line) {
            APR_ARRAY_PUSH(argv, const char *) = word;
        }
    }
    rule = gate_rule_new(config, provider, argv->nelts, (const char *const *) argv->elts, cmd->pool, &wrong);
    if (!rule) {
        return wrong ? wrong : "the rule can not be read";
    }
    apr_pool_cleanup_register(cmd->pool, rule, free_rule, apr_pool_cleanup_null);
    if (shim_place_of(cmd, NULL, &place)) {
        gate_note_rule(config, &place, rule);
    }
    *parsed = rule;
    return NULL;
}

static const char *parse_role(cmd_parms *cmd, const char *line, const void **parsed)
{
    return parse_rule(cmd, "gate-role", line, parsed);
}

static const char *parse_claim(cmd_parms *cmd, const char *line, const void **parsed)
{
    return parse_rule(cmd, "gate-claim", line, parsed);
}

static const char *parse_issuer(cmd_parms *cmd, const char *line, const void **parsed)
{
    return parse_rule(cmd, "gate-issuer", line, parsed);
}

static void note_rule(shim_question *question, const char *line, const char *missing)
{
    if (question) {
        gate_pair *said = apr_array_push(question->rules);
        said->name = line;
        said->value = missing;
    }
}

static authz_status check_rule(request_rec *r, const char *line, const void *parsed)
{
    shim_state *state = SHIM_STATE(r);
    const char *reason = NULL, *detail = NULL;
    shim_question *question;

    if (!state || !state->decided || !state->outcome.identity) {
        return AUTHZ_DENIED_NO_USER;
    }
    question = shim_question_of(r);
    if (gate_rule_holds(SHIM_SERVER(r->server)->config, parsed, state->outcome.identity, r->pool,
                        &reason, &detail)) {
        note_rule(question, line, "");
        return AUTHZ_GRANTED;
    }
    note_rule(question, line, detail ? detail : "it does not hold");
    if (!state->denied_by) {
        state->denied_by = reason;
        state->denied_detail = detail;
    }
    return AUTHZ_DENIED;
}

static const authz_provider role_provider = {check_rule, parse_role};
static const authz_provider claim_provider = {check_rule, parse_claim};
static const authz_provider issuer_provider = {check_rule, parse_issuer};

void shim_register_authz(apr_pool_t *pool)
{
    ap_register_auth_provider(pool, AUTHZ_PROVIDER_GROUP, "gate-role", AUTHZ_PROVIDER_VERSION,
                              &role_provider, AP_AUTH_INTERNAL_PER_CONF);
    ap_register_auth_provider(pool, AUTHZ_PROVIDER_GROUP, "gate-claim", AUTHZ_PROVIDER_VERSION,
                              &claim_provider, AP_AUTH_INTERNAL_PER_CONF);
    ap_register_auth_provider(pool, AUTHZ_PROVIDER_GROUP, "gate-issuer", AUTHZ_PROVIDER_VERSION,
                              &issuer_provider, AP_AUTH_INTERNAL_PER_CONF);
}

/* --- expressions ------------------------------------------------------------------------------- */

static const gate_identity *identity_of(request_rec *r)
{
    const shim_state *state = r ? SHIM_STATE(r) : NULL;
    return state && state->decided && !state->refused ? state->outcome.identity : NULL;
}

static const char *claim_text(ap_expr_eval_ctx_t *ctx, const void *data, const char *path)
{
    const gate_identity *identity = identity_of(ctx->r);
    (void) data;
    return identity
        ? gate_identity_claim(SHIM_SERVER(ctx->r->server)->config, identity, path, ctx->p) : "";
}

static apr_array_header_t *list(ap_expr_eval_ctx_t *ctx, const char *path)
{
    const gate_identity *identity = identity_of(ctx->r);
    apr_array_header_t *array = apr_array_make(ctx->p, 4, sizeof(const char *));
    const char *const *items = NULL;
    size_t i, count = identity
        ? gate_identity_list(SHIM_SERVER(ctx->r->server)->config, identity, path, ctx->p, &items) : 0;
    for (i = 0; i < count; i++) {
        APR_ARRAY_PUSH(array, const char *) = items[i];
    }
    return array;
}

static apr_array_header_t *claim_items(ap_expr_eval_ctx_t *ctx, const void *data, const char *path)
{
    (void) data;
    return list(ctx, path);
}

static apr_array_header_t *role_items(ap_expr_eval_ctx_t *ctx, const void *data, const char *unused)
{
    (void) data;
    (void) unused;
    return list(ctx, NULL);
}

int shim_expr_lookup(ap_expr_lookup_parms *parms)
{
    *parms->data = NULL;
    if (parms->type == AP_EXPR_FUNC_STRING && !strcasecmp(parms->name, "gate_claim")) {
        *parms->func = claim_text;
        return OK;
    }
    if (parms->type == AP_EXPR_FUNC_LIST && !strcasecmp(parms->name, "gate_claims")) {
        *parms->func = claim_items;
        return OK;
    }
    if (parms->type == AP_EXPR_FUNC_LIST && !strcasecmp(parms->name, "gate_roles")) {
        *parms->func = role_items;
        return OK;
    }
    return DECLINED;
}
