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
    int known = state->outcome.identity != NULL;

    r->user = known ? (char *) state->outcome.user : NULL;
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
static void set_environment(request_rec *r, const gate_outcome *outcome)
{
    const apr_array_header_t *there = apr_table_elts(r->subprocess_env);
    void (*put)(apr_table_t *, const char *, const char *) = apr_table_addn;
    size_t i;

    for (i = 0; i < (size_t) there->nelts; i++) {
        if (!strncasecmp(APR_ARRAY_IDX(there, i, apr_table_entry_t).key, "GATE_", 5)) {
            put = apr_table_setn;
        }
    }
    for (i = 0; i < outcome->environment_count; i++) {
        put(r->subprocess_env, outcome->environment[i].name, outcome->environment[i].value);
    }
}

/* The document of a refusal is nobody's, whatever token would be one in its place: that goes all the same. */
static void forget_token(request_rec *r, shim_state *state)
{
    gate_outcome outcome;
    gate_request view;

    memset(&outcome, 0, sizeof(outcome));
    if (shim_process) {
        shim_view(r, state, &view);
        gate_decide(shim_process, &view, &outcome);
        shim_apply_edits(r, &outcome, NULL);
    }
    if (outcome.identity) {
        gate_identity_release(outcome.identity);
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
    int unknown = shim_is_port(r) && (!SHIM_DIR(r)->port || !gated);

    if (r->main) {
        shim_clean_part(r);
    }
    if (!gated && !unknown) {
        return DECLINED;
    }
    state = shim_state_of(r);
    if (state->decided) {
        return state->refused ? state->outcome.status : DECLINED;
    }
    state->place = r->per_dir_config;
    state->gated = gated;
    shim_name_user(r, state);
    if (shim_is_document(r)) {
        forget_token(r, state);
        state->decided = 1;
        return DECLINED;
    }
    question = shim_question_of(r);
    withheld = shim_withheld_before(r);
    if (withheld && !question) {
        /* a table of its own: what a sub-request adds goes with the sub-request */
        state->withheld = apr_table_copy(r->pool, withheld);
    }
    shim_start_again();
    if (!shim_process) {
        return shim_refuse(r, state, "internal", "the gate did not start in this child", APLOG_CRIT);
    }
    shim_view(r, state, &view);
    gate_decide(shim_process, &view, &state->outcome);
    if (question) {
        question->checks = gate_explain_token(shim_process, &view);
    }
    if (state->outcome.identity) {
        apr_pool_cleanup_register(r->pool, state->outcome.identity, release_identity,
                                  apr_pool_cleanup_null);
    }
    shim_apply_edits(r, &state->outcome, state);
    shim_leave_for_main(r, state);
    state->decided = 1;
    if (state->outcome.status) {
        int status = shim_refuse(r, state, state->outcome.reason, state->outcome.detail,
                                 state->outcome.log_level);
        if (status != OK) {
            return status;
        }
    }
    if (unknown) { /* as any other section would: who is nobody is asked who they are */
        return state->outcome.identity
            ? shim_refuse(r, state, "port_unknown", SHIM_DIR(r)->port ? "AuthType Gate is not in force in this <GatePort>"
                          : "no <GatePort> of this server has that name and port", APLOG_ERR)
            : shim_refuse(r, state, "token_missing", "no token was sent", APLOG_INFO);
    }
    shim_name_user(r, state);
    if (state->outcome.identity) {
        set_environment(r, &state->outcome);
    }
    shim_keep_out_of_caches(r);
    return DECLINED;
}

/* --- the rules ------------------------------------------------------------------------------------ */

/* Runs the rest of a hook's chain and gives a denial the gate's own answer. The hook is entered
 * again by that run: `nested` makes it step aside. */
static int rules(request_rec *r, int (*run)(request_rec *), int *nested)
{
    shim_state *state = SHIM_STATE(r);
    int status;

    if (!state || !state->decided || *nested) {
        return DECLINED;
    }
    shim_name_user(r, state);
    *nested = 1;
    status = run(r);
    *nested = 0;
    if (state->unknown) {
        return shim_refuse(r, state, state->unknown, state->denied_detail, APLOG_ERR);
    }
    if (status == HTTP_FORBIDDEN && state->asked_nobody) {
        return shim_refuse(r, state, "token_missing", "no token was sent", APLOG_INFO);
    }
    if (status == HTTP_FORBIDDEN || (status == HTTP_UNAUTHORIZED && state->outcome.identity)) {
        return shim_refuse(r, state, state->denied_by ? state->denied_by : "rule",
                           state->denied_detail ? state->denied_detail : "a Require of this place is not fulfilled",
                           APLOG_ERR);
    }
    return status;
}

int shim_userless_rules(request_rec *r)
{
    shim_state *state;
    int status;

    if (!shim_is_gated(r)) {
        return DECLINED;
    }
    state = shim_state_of(r);
    if (state->refused) {
        return state->outcome.status;
    }
    shim_name_user(r, state);
    if (!SHIM_DIR(r)->has_require) {
        return state->outcome.identity
            ? OK : shim_refuse(r, state, "token_missing", "no token was sent", APLOG_INFO);
    }
    status = rules(r, ap_run_access_checker_ex, &state->nested);
    if (status == DECLINED && state->outcome.observe && !state->outcome.identity) {
        /* httpd would now ask who it is, and fail where nobody can say */
        return shim_refuse(r, state, "token_missing", "no token was sent", APLOG_INFO);
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
    if (state->refused) {
        return state->outcome.status;
    }
    return state->outcome.identity
        ? OK : shim_refuse(r, state, "token_missing", "no token was sent", APLOG_INFO);
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
static void send_upstream(request_rec *r, const gate_outcome *outcome)
{
    size_t i;
    shim_strip_spoofed(r, r->headers_in);
    for (i = 0; i < outcome->upstream_count; i++) {
        apr_table_addn(r->headers_in, outcome->upstream[i].name, outcome->upstream[i].value);
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

    if (before && before != state && !before->refused) {
        state = shim_state_of(r);
        state->place = before->place;
        state->gated = before->gated;
        state->decided = state->inherited = 1;
        state->outcome = before->outcome;
        state->withheld = before->withheld;
        state->reason = before->reason;
        state->detail = before->detail;
        state->observed = before->observed;
        state->id = before->id;
        if (state->outcome.identity) {
            set_environment(r, &state->outcome);
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
        return shim_upstream(r, NULL);
    }
    shim_refuse_h2c(r); /* whoever it is, and for a refusal's document too */
    state = shim_effective_state(r);
    if (!state) {
        return shim_refuse(r, shim_state_of(r), "internal", "the token was never looked at", APLOG_CRIT);
    }
    if (state->refused) {
        /* its own ErrorDocument may be served, without an identity; nothing else */
        return r->prev && state != SHIM_STATE(r) ? shim_upstream(r, NULL) : state->outcome.status;
    }
    state = inherit(r);
    shim_name_user(r, state);
    /* `Satisfy any` may have gone past the rules: no Require means valid-user all the same */
    if (!SHIM_DIR(r)->has_require && !state->outcome.identity) {
        int status = shim_refuse(r, shim_state_of(r), "token_missing", "no token was sent", APLOG_INFO);
        if (status != OK) { /* GateMode observe goes on, as nobody */
            return status;
        }
    }
    if (!shim_limit_upgrade(r, state)) {
        return shim_refuse(r, shim_state_of(r), "internal", "the connection's end can not be watched", APLOG_CRIT);
    }
    send_upstream(r, &state->outcome);
    return shim_upstream(r, shim_given(r, state));
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
