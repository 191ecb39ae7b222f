/* authz.c: Require gate-role, gate-claim and gate-issuer, and gate_claim(), gate_claims() and
 * gate_roles() in expressions. What holds is said in Rust (src/policy.rs). */
#include "shim.h"

/* A Require line of ours. */
typedef struct shim_rule {
    const gate_rule *rule;
    int negated; /* httpd turns what is said of it round, or may: `not`, <RequireNone>, an alias */
} shim_rule;

static apr_status_t free_rule(void *data)
{
    gate_rule_free(data);
    return APR_SUCCESS;
}

int shim_is_negated(cmd_parms *cmd)
{
    const char *args = cmd->directive->args;
    const ap_directive_t *up;
    int negated = !strcasecmp(ap_getword_conf(cmd->temp_pool, &args), "not");

    for (up = cmd->directive; up; up = up->parent) {
        negated |= !strncasecmp(up->directive, "<RequireNo", 10)
            || !strcasecmp(up->directive, "<AuthzProviderAlias");
    }
    return negated;
}

static const char *parse_rule(cmd_parms *cmd, const char *provider, const char *line, const void **parsed)
{
    apr_array_header_t *argv = apr_array_make(cmd->temp_pool, 4, sizeof(const char *));
    const char *wrong = NULL;
    gate_config *config = SHIM_SERVER(cmd->server)->config;
    gate_place place;
    gate_rule *rule;
    shim_rule *mine;

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
    mine = apr_palloc(cmd->pool, sizeof(*mine));
    mine->rule = rule;
    mine->negated = shim_is_negated(cmd);
    *parsed = mine;
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
    const shim_rule *mine = parsed;
    shim_state *state = SHIM_STATE(r);
    gate_denial denial = {0};
    shim_question *question;

    if (!state || !state->verdict.identity) {
        return AUTHZ_DENIED_NO_USER;
    }
    question = shim_question_of(r);
    if (gate_rule_holds(SHIM_SERVER(r->server)->config, mine->rule, mine->negated, state->verdict.identity, r->pool, &denial)) {
        note_rule(question, line, "");
        return AUTHZ_GRANTED;
    }
    note_rule(question, line, denial.detail ? denial.detail : "it does not hold");
    if (!state->denied.unknown && (denial.unknown || !state->denied.reason)) {
        state->denied = denial;
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
    return state && !state->verdict.status ? state->verdict.identity : NULL;
}

/* Where a rule's expression notes what it could not be told: no expression can refuse. NULL: it is none of a rule. */
static gate_denial *denial_of(request_rec *r)
{
    shim_state *state = r ? SHIM_STATE(r) : NULL;
    return state && state->nested ? &state->denied : NULL;
}

static const char *claim_text(ap_expr_eval_ctx_t *ctx, const void *data, const char *path)
{
    (void) data;
    return gate_identity_claim(SHIM_SERVER(ctx->r->server)->config, identity_of(ctx->r), path, ctx->p, denial_of(ctx->r));
}

static apr_array_header_t *list(ap_expr_eval_ctx_t *ctx, const char *path)
{
    apr_array_header_t *array = apr_array_make(ctx->p, 4, sizeof(const char *));
    const char *const *items = NULL;
    size_t i, count = gate_identity_list(SHIM_SERVER(ctx->r->server)->config, identity_of(ctx->r), path, ctx->p, &items,
                                         denial_of(ctx->r));
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

/* A path that is written out is judged with the configuration; one that is put together, when asked. */
static int with_path(ap_expr_lookup_parms *parms, const void *func)
{
    const char *wrong = parms->arg ? gate_claim_path_wrong(parms->arg, parms->ptemp) : NULL;
    if (wrong) {
        *parms->err = apr_psprintf(parms->ptemp, "%s('%s'): %s", parms->name, parms->arg, wrong);
        return !OK;
    }
    *parms->func = func;
    return OK;
}

int shim_expr_lookup(ap_expr_lookup_parms *parms)
{
    *parms->data = NULL;
    if (parms->type == AP_EXPR_FUNC_STRING && !strcasecmp(parms->name, "gate_claim")) {
        return with_path(parms, claim_text);
    }
    if (parms->type == AP_EXPR_FUNC_LIST && !strcasecmp(parms->name, "gate_claims")) {
        return with_path(parms, claim_items);
    }
    if (parms->type == AP_EXPR_FUNC_LIST && !strcasecmp(parms->name, "gate_roles")) {
        *parms->func = role_items;
        return OK;
    }
    return DECLINED;
}
