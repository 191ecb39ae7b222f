/*
 * again.c: a request that another place was put under. mod_dir and mod_negotiation look for a file by a
 * sub-request and then take its place (ap_internal_fast_redirect), with its configuration, and without what
 * was decided and taken out there. No hook is told of it: so it is looked for, and all is decided anew.
 */
#include "shim.h"

/* A sub-request's place may become the main request's, with a query that the token is gone from. */
void shim_leave_for_main(request_rec *r, const shim_state *state)
{
    if (r->main && state->withheld && !shim_question_of(r)) {
        shim_state *main = shim_state_of(r->main);
        main->sub_place = r->per_dir_config;
        main->sub_withheld = apr_table_clone(r->main->pool, state->withheld);
    }
}

/* Whether what is known was found out in another place than the one that the request is in by now. */
int shim_has_moved(request_rec *r)
{
    const shim_state *state = SHIM_STATE(r);

    return state && state->place ? state->place != r->per_dir_config
                                 : shim_is_gated(r) && !shim_effective_state(r);
}

/* Nothing of the place before is left. */
static void forget(request_rec *r)
{
    shim_state *state = shim_state_of(r);
    shim_state kept = {.id = state->id, .question = state->question, .withheld = state->withheld,
                       .sub_denial = state->sub_denial, .sub_status = state->sub_status,
                       .sub_body = state->sub_body, .sub_type = state->sub_type};
    size_t i;

    if (!kept.withheld && state->sub_place == r->per_dir_config) {
        kept.withheld = state->sub_withheld;
    }
    shim_unset_put(r->headers_in, r);
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

/* As ap_process_request_internal asks. */
static int ask_httpd(request_rec *r)
{
    int any = ap_satisfies(r) == SATISFY_ANY;
    int status = ap_run_access_checker(r);

    if ((status == OK) == any) {
        return status;
    }
    status = ap_run_access_checker_ex(r);
    if (status == DECLINED || (status == OK && ap_run_force_authn(r) == OK)) {
        status = ap_run_check_user_id(r);
        if (status == OK) {
            status = r->user ? ap_run_auth_checker(r) : HTTP_INTERNAL_SERVER_ERROR;
        }
    }
    return status == DECLINED ? HTTP_INTERNAL_SERVER_ERROR : status;
}

int shim_decide_again(request_rec *r)
{
    int status = OK;

    forget(r);
    if (shim_is_gated(r)) {
        status = ask_httpd(r);
    }
    return status == OK ? shim_settle(r) : status;
}

/* The last moment before somebody answers. */
int shim_before_handler(request_rec *r)
{
    int status = DECLINED;

    if (!r->main && SHIM_STATE(r)) { /* nothing that was only looked at has become this request's answer */
        SHIM_STATE(r)->sub_denial = NULL;
    }
    /* many a way leads to an upstream only now: SetHandler, a RewriteRule of a directory, a DirectoryIndex */
    if (shim_is_proxied(r) && !shim_is_gated(r)) {
        shim_refuse_h2c(r);
    }

    if (!shim_is_port(r) && shim_has_moved(r)) {
        status = shim_decide_again(r);
    }
    if ((status == OK || status == DECLINED) && shim_is_gated(r) && shim_tunnels_blindly(r)) {
        status = shim_refuse(r, GATE_FACT_BLIND_TUNNEL);
    }
    if (status == OK || status == DECLINED) {
        status = shim_way(r);
    }
    if (r->main && (status == OK || status == DECLINED)) {
        shim_audit_sub(r);
    }
    return status == OK ? DECLINED : status;
}
