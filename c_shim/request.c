/*
 * request.c: the way of a request through httpd's hooks: cleaned, judged, settled, sent on. Each step asks the library
 * and carries out what it says (answer.c).
 */
#include "shim.h"

/* APR's entry is read in place by Rust. */
_Static_assert(sizeof(gate_field) == sizeof(apr_table_entry_t), "gate_field is apr_table_entry_t");
_Static_assert(offsetof(gate_field, value) == offsetof(apr_table_entry_t, val), "value");
_Static_assert(offsetof(gate_field, checksum) == offsetof(apr_table_entry_t, key_checksum), "checksum");

int shim_is_gated(request_rec *r)
{
    const shim_state *state = SHIM_STATE(r);
    const char *type;

    if (state && state->judged_for == r->per_dir_config) {
        return state->gated;
    }
    type = ap_auth_type(r);
    return type && !ap_cstr_casecmp(type, GATE_AUTH_TYPE);
}

/* --- clean: every request, before another module reads it ---------------------------------------- */

void shim_strip_spoofed(request_rec *r, apr_table_t *table)
{
    const gate_config *config = SHIM_SERVER(r->server)->config;
    const apr_array_header_t *fields = apr_table_elts(table);
    size_t at = 0;

    while ((at = gate_next_spoofed(config, (const gate_field *) fields->elts,
                                   (size_t) fields->nelts, at)) < (size_t) fields->nelts) {
        const char *name = APR_ARRAY_IDX(fields, at, apr_table_entry_t).key;
        ap_log_rerror(APLOG_MARK, APLOG_DEBUG, 0, r, "removed the client's header %s", name);
        apr_table_unset(table, name);
    }
}

int shim_clean(request_rec *r)
{
    const char *connection;

    shim_strip_spoofed(r, r->headers_in);
    if (r->prev && shim_is_port(r->prev)) {
        apr_table_unset(r->headers_in, "Gate-Job-Token");
    }
    shim_begin_document(r);
    shim_clean_referer(r);
    /* httpd would serve the rest of the connection as streams, which come without the token that is taken out */
    if (ap_find_token(r->pool, apr_table_get(r->headers_in, "Upgrade"), "h2c")) {
        apr_table_unset(r->headers_in, "Upgrade");
    }
    connection = apr_table_get(r->headers_in, "Connection");
    if (connection) {
        const char *kept = gate_connection_without(SHIM_SERVER(r->server)->config, connection, r->pool);
        if (kept && *kept) {
            apr_table_setn(r->headers_in, "Connection", kept);
        }
        else if (kept) {
            apr_table_unset(r->headers_in, "Connection");
        }
    }
    return DECLINED;
}

/* --- judge: the token, then httpd's rules --------------------------------------------------------- */

/* Where the gate is in force it alone says who it is: a name that another module sets, as mod_ssl's SSLUserName does
 * after shim_access, fulfils no rule and goes nowhere. */
void shim_name_user(request_rec *r, const shim_state *state)
{
    int known = state->verdict.identity != NULL;

    r->user = known ? (char *) state->verdict.user : NULL;
    r->ap_auth_type = known ? (char *) GATE_AUTH_TYPE : NULL;
}

static apr_status_t release_identity(void *data)
{
    gate_identity_release(data);
    return APR_SUCCESS;
}

/* Adding is cheaper than setting, which looks for the name, but right only where none is there: a SetEnvIf of the
 * administrator, or the copy that a sub-request gets. */
static void set_environment(request_rec *r, const gate_verdict *verdict)
{
    const apr_array_header_t *there = apr_table_elts(r->subprocess_env);
    void (*put)(apr_table_t *, const char *, const char *) = apr_table_addn;
    size_t i;

    for (i = 0; i < (size_t) there->nelts; i++) {
        if (!strncasecmp(APR_ARRAY_IDX(there, i, apr_table_entry_t).key, "GATE_", 5)) {
            put = apr_table_setn;
        }
    }
    for (i = 0; i < verdict->environment_count; i++) {
        put(r->subprocess_env, verdict->environment[i].name, verdict->environment[i].value);
    }
}

/* Before httpd's authorization: so that every kind of Require knows the person. */
int shim_access(request_rec *r)
{
    shim_state *state;
    shim_question *question;
    gate_request view;
    int gated = shim_is_gated(r), status;

    if (r->main) {
        shim_clean_part(r);
    }
    if (!gated && !shim_is_port(r)) {
        return DECLINED;
    }
    state = shim_state_of(r);
    if (state->judged_for == r->per_dir_config) {
        return state->verdict.status ? state->verdict.status : DECLINED;
    }
    state->judged_for = r->per_dir_config;
    state->gated = gated;
    shim_start_again();
    shim_view(r, &view);
    gate_judge(shim_process, &view, &state->verdict);
    question = shim_question_of(r);
    if (question && shim_process) {
        question->checks = gate_explain_token(shim_process, &view);
    }
    if (state->verdict.identity) {
        apr_pool_cleanup_register(r->pool, state->verdict.identity, release_identity, apr_pool_cleanup_null);
    }
    shim_name_user(r, state);
    if ((status = shim_carry_out(r)) != OK) {
        return status;
    }
    set_environment(r, &state->verdict);
    if (!shim_is_document(r)) {
        shim_keep_out_of_caches(r);
    }
    return DECLINED;
}

/* Wraps mod_authz_core, whose hooks are run from within this one: a denial gets the answer of the gate. */
int shim_rules(request_rec *r)
{
    shim_state *state = SHIM_STATE(r);
    gate_request view;
    int status;

    if (!shim_is_gated(r) || (state && state->nested)) {
        return DECLINED;
    }
    if (!state || state->judged_for != r->per_dir_config) {
        return shim_refuse(r, GATE_FACT_NOT_JUDGED);
    }
    if (state->verdict.status) {
        return state->verdict.status;
    }
    if (!SHIM_DIR(r)->has_require) { /* as if `Require valid-user` stood there */
        return state->verdict.identity ? OK : shim_refuse(r, GATE_FACT_USER_NEEDED);
    }
    shim_name_user(r, state);
    state->nested = 1;
    status = ap_run_access_checker_ex(r);
    if (status == DECLINED && state->verdict.identity) {
        status = ap_run_auth_checker(r);
    }
    state->nested = 0;
    if (status == DECLINED && !state->denied.unknown) {
        return state->verdict.identity ? DECLINED : shim_refuse(r, GATE_FACT_USER_NEEDED);
    }
    if (status == OK && !state->denied.unknown) {
        return OK;
    }
    shim_view(r, &view);
    return gate_rules(&view, status, &state->denied, &state->verdict) ? shim_carry_out(r) : status;
}

/* Nothing of the section before is left. */
static void forget(request_rec *r)
{
    shim_state *state = shim_state_of(r);
    shim_state kept = {.client = state->client, .id = state->id, .question = state->question};
    size_t i;

    shim_strip_spoofed(r, r->headers_in);
    for (i = 0; i < state->verdict.environment_count; i++) {
        apr_table_unset(r->subprocess_env, state->verdict.environment[i].name);
    }
    if (state->verdict.identity) {
        r->user = NULL;
        r->ap_auth_type = NULL;
    }
    *state = kept;
}

/* A request that another section was put under: mod_dir and mod_negotiation look for a file by a sub-request and take
 * its place (ap_internal_fast_redirect), and no hook is run for that. */
static int judge_again(request_rec *r)
{
    const request_rec *from = r->prev ? r->prev : r->main;
    int any = ap_satisfies(r) == SATISFY_ANY, status;

    forget(r);
    if (!shim_is_gated(r)) {
        return OK;
    }
    if (from && from->per_dir_config == r->per_dir_config) { /* httpd skipped the hooks: its rules have been asked */
        return shim_access(r);
    }
    status = ap_run_access_checker(r);
    if ((status == OK) != any) {
        status = ap_run_access_checker_ex(r);
    }
    return status == DECLINED ? HTTP_INTERNAL_SERVER_ERROR : status;
}

static int has_moved(request_rec *r)
{
    const shim_state *state = SHIM_STATE(r);
    const ap_conf_vector_t *judged_for = state ? state->judged_for : NULL;

    return judged_for != r->per_dir_config && (judged_for || shim_is_gated(r)) && !shim_is_port(r);
}

/* --- settle: is this section still the one that was judged? --------------------------------------- */

static int settle(request_rec *r)
{
    shim_state *state;
    size_t i;
    int status = OK;

    if (has_moved(r)) {
        status = judge_again(r);
    }
    if (!shim_is_gated(r) || (status != OK && status != DECLINED)) {
        return status;
    }
    state = shim_state_of(r);
    if (state->judged_for != r->per_dir_config) {
        return shim_refuse(r, GATE_FACT_NOT_JUDGED);
    }
    if (state->verdict.status) {
        return state->verdict.status;
    }
    shim_name_user(r, state);
    /* `Satisfy any` may have gone past the rules: no Require means valid-user all the same */
    if (!SHIM_DIR(r)->has_require && !state->verdict.identity && !shim_is_document(r)
        && (status = shim_refuse(r, GATE_FACT_USER_NEEDED)) != OK) {
        return status;
    }
    if (!shim_limit_upgrade(r, state)) {
        return shim_refuse(r, GATE_FACT_UNWATCHED);
    }
    /* no header of these names is left once what could pass for one is gone: setting each would look for it again */
    shim_strip_spoofed(r, r->headers_in);
    for (i = 0; i < state->verdict.upstream_count; i++) {
        apr_table_addn(r->headers_in, state->verdict.upstream[i].name, state->verdict.upstream[i].value);
    }
    return DECLINED;
}

int shim_fixups(request_rec *r)
{
    if (r->main) {
        shim_strip_spoofed(r, r->headers_in); /* the copy may hold what was set for the main request */
        apr_table_unset(r->headers_in, "Upgrade"); /* a part has no connection to hand over */
    }
    shim_choose_handler(r);
    shim_hold_back_trailers(r);
    return settle(r);
}

/* The last moment before somebody answers. */
int shim_before_handler(request_rec *r)
{
    int status = has_moved(r) ? settle(r) : OK;

    if (!r->main) {
        shim_forget_part(r);
    }
    if (status == OK || status == DECLINED) {
        status = shim_to_upstream(r);
    }
    if (r->main && (status == OK || status == DECLINED)) {
        shim_audit_sub(r);
    }
    return status == OK ? DECLINED : status;
}
