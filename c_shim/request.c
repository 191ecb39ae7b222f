/*
 * request.c: the way of a request through httpd's hooks. Each hook asks the library and does what
 * it says; what the client sees of a refusal is composed in answer.c.
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

    if (state && state->place == r->per_dir_config) {
        return state->gated;
    }
    type = ap_auth_type(r);
    return type && !ap_cstr_casecmp(type, GATE_AUTH_TYPE);
}

/* --- stripping: every request, before another module reads it ---------------------------------- */

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

int shim_strip(request_rec *r)
{
    const char *connection;

    shim_take_back(r);
    shim_strip_spoofed(r, r->headers_in);
    shim_begin_document(r);
    shim_clean_redirect(r);
    shim_clean_referer(r);
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

/* Where the gate is in force it alone says who it is: a name that another module puts there, as mod_ssl's
 * SSLUserName does behind shim_access, fulfils no rule and goes nowhere. */
void shim_name_user(request_rec *r, const shim_state *state)
{
    int known = state->verdict.identity != NULL;

    r->user = known ? (char *) state->verdict.user : NULL;
    r->ap_auth_type = known ? (char *) GATE_AUTH_TYPE : NULL;
}

/* --- the token ----------------------------------------------------------------------------------- */

static apr_status_t release_identity(void *data)
{
    gate_identity_release(data);
    return APR_SUCCESS;
}

/* Adding is cheaper than setting, which looks for the name, but right only where none is there: a
 * SetEnvIf of the administrator's, or a subrequest's copy. */
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
    apr_table_t *withheld;
    shim_state *state;
    shim_question *question;
    gate_request view;
    int gated = shim_is_gated(r);
    int status;

    if (r->main) {
        shim_clean_part(r);
    }
    if (!gated && !shim_is_port(r)) {
        return DECLINED;
    }
    state = shim_state_of(r);
    if (state->decided) {
        return state->verdict.status ? state->verdict.status : DECLINED;
    }
    state->place = r->per_dir_config;
    state->gated = gated;
    shim_name_user(r, state);
    question = shim_question_of(r);
    withheld = shim_is_document(r) || question ? NULL : shim_withheld_before(r);
    if (withheld) {
        /* a table of its own: what a sub-request adds goes with the sub-request */
        state->withheld = apr_table_copy(r->pool, withheld);
    }
    shim_start_again();
    shim_view(r, state, &view);
    gate_judge(shim_process, &view, &state->verdict);
    if (question && shim_process) {
        question->checks = gate_explain_token(shim_process, &view);
    }
    if (state->verdict.identity) {
        apr_pool_cleanup_register(r->pool, state->verdict.identity, release_identity, apr_pool_cleanup_null);
    }
    status = shim_carry_out(r, state);
    shim_leave_for_main(r, state);
    state->decided = 1;
    if (status != OK) {
        return status;
    }
    shim_name_user(r, state);
    if (state->verdict.identity) {
        set_environment(r, &state->verdict);
    }
    if (!shim_is_document(r)) {
        shim_keep_out_of_caches(r);
    }
    return DECLINED;
}

/* --- the rules ------------------------------------------------------------------------------------ */

/* Runs the rest of a hook's chain and gives a denial the gate's own answer. The hook is entered
 * again by that run: `nested` makes it step aside. */
static int rules(request_rec *r, int (*run)(request_rec *), int *nested)
{
    shim_state *state = SHIM_STATE(r);
    gate_request view;
    int status;

    if (!state || !state->decided || *nested) {
        return DECLINED;
    }
    shim_name_user(r, state);
    *nested = 1;
    status = run(r);
    *nested = 0;
    if ((status == OK || status == DECLINED) && !state->denied.unknown) {
        return status;
    }
    shim_view(r, state, &view);
    return gate_rules(&view, status, &state->denied, &state->verdict) ? shim_carry_out(r, state) : status;
}

int shim_userless_rules(request_rec *r)
{
    shim_state *state;
    int status;

    if (!shim_is_gated(r)) {
        return DECLINED;
    }
    state = shim_state_of(r);
    if (state->verdict.status) {
        return state->verdict.status;
    }
    shim_name_user(r, state);
    if (!SHIM_DIR(r)->has_require) {
        return state->verdict.identity ? OK : shim_refuse(r, GATE_FACT_USER_NEEDED);
    }
    status = rules(r, ap_run_access_checker_ex, &state->nested);
    if (status == DECLINED && state->decided && !state->nested && !state->verdict.identity) {
        return shim_refuse(r, GATE_FACT_USER_NEEDED); /* httpd would now ask who it is */
    }
    return status;
}

int shim_check_user(request_rec *r)
{
    shim_state *state;

    if (!shim_is_gated(r)) {
        return DECLINED;
    }
    state = shim_state_of(r);
    if (state->verdict.status) {
        return state->verdict.status;
    }
    return state->verdict.identity ? OK : shim_refuse(r, GATE_FACT_USER_NEEDED);
}

int shim_user_rules(request_rec *r)
{
    if (!shim_is_gated(r)) {
        return DECLINED;
    }
    return rules(r, ap_run_auth_checker, &shim_state_of(r)->nested);
}

/* --- the upstream --------------------------------------------------------------------------------- */

/* No header of these names is left once what could pass for one is gone: setting each would look
 * for it among all the others again. */
static void send_upstream(request_rec *r, const gate_verdict *verdict)
{
    size_t i;
    shim_strip_spoofed(r, r->headers_in);
    for (i = 0; i < verdict->upstream_count; i++) {
        apr_table_addn(r->headers_in, verdict->upstream[i].name, verdict->upstream[i].value);
    }
}

/* httpd would serve the rest of it as streams, without the token that has been taken out; an upstream
 * would take whatever comes in them, past the gate. The client goes on by HTTP/1.1. */
void shim_refuse_h2c(request_rec *r)
{
    if (ap_find_token(r->pool, apr_table_get(r->headers_in, "Upgrade"), "h2c")) {
        apr_table_unset(r->headers_in, "Upgrade");
    }
}

/* httpd skips the hooks where the place is that of the request before: what was decided there holds
 * here, and is made this request's own. */
static shim_state *inherit(request_rec *r)
{
    const shim_state *before = shim_effective_state(r);
    shim_state *state = SHIM_STATE(r);

    if (before && before != state && !before->verdict.status) {
        state = shim_state_of(r);
        state->place = before->place;
        state->gated = before->gated;
        state->decided = state->inherited = 1;
        state->verdict = before->verdict;
        state->withheld = before->withheld;
        state->id = before->id;
        if (state->verdict.identity) {
            set_environment(r, &state->verdict);
        }
        shim_keep_out_of_caches(r); /* httpd has given the sign another name */
    }
    return state;
}

/* What was decided is carried out: nobody else's headers, then the gate's own. */
int shim_settle(request_rec *r)
{
    const shim_state *state;

    if (!shim_is_gated(r)) {
        return shim_upstream(r, 1);
    }
    shim_refuse_h2c(r); /* whoever it is, and for a refusal's document too */
    state = shim_effective_state(r);
    if (!state) {
        return shim_refuse(r, GATE_FACT_NOT_JUDGED);
    }
    if (state->verdict.status) {
        /* its own ErrorDocument may be served, without an identity; nothing else */
        return r->prev && state != SHIM_STATE(r) ? shim_upstream(r, 1) : state->verdict.status;
    }
    state = inherit(r);
    shim_name_user(r, state);
    /* `Satisfy any` may have gone past the rules: no Require means valid-user all the same */
    if (!SHIM_DIR(r)->has_require && !state->verdict.identity) {
        int status = shim_refuse(r, GATE_FACT_USER_NEEDED);
        if (status != OK) { /* GateMode observe goes on, as nobody */
            return status;
        }
    }
    if (!shim_limit_upgrade(r, state)) {
        return shim_refuse(r, GATE_FACT_UNWATCHED);
    }
    send_upstream(r, &state->verdict);
    return shim_upstream(r, shim_gives_nothing(r));
}

int shim_fixups(request_rec *r)
{
    if (r->main) {
        shim_take_back(r);
        shim_strip_spoofed(r, r->headers_in); /* the copy may hold what was set for the main request */
        apr_table_unset(r->headers_in, "Upgrade"); /* a part has no connection to hand over */
    }
    shim_choose_handler(r);
    shim_hold_back_trailers(r);
    return shim_has_moved(r) ? shim_decide_again(r) : shim_settle(r);
}
