/*
 * upstream.c: what goes on to the upstream beside the identity: the gate's credential, Sudo, an
 * assertion. What is put into the request's headers there is for that upstream alone: it is taken
 * back before another request is made of this one, and before the log. So is the token of a job that
 * came with its CONNECT.
 */
#include "shim.h"

void shim_unset_put(apr_table_t *fields, request_rec *from)
{
    const shim_state *state = SHIM_STATE(from);
    size_t i;

    if (shim_is_port(from)) {
        apr_table_unset(fields, "Gate-Job-Token");
    }
    for (i = 0; state && i < state->verdict.credential_count; i++) {
        const char *value = apr_table_get(fields, state->verdict.credentials[i].name);
        if (value && !strcmp(value, state->verdict.credentials[i].value)) {
            apr_table_unset(fields, state->verdict.credentials[i].name);
        }
    }
}

/* Redirects share the table of the request before them, subrequests copy it. */
void shim_take_back(request_rec *r)
{
    request_rec *from;
    for (from = r->prev ? r->prev : r->main; from; from = from->prev ? from->prev : from->main) {
        shim_unset_put(r->headers_in, from);
    }
}

/* Whether a section that applies says something about the upstream; the login's way back is
 * looked at wherever it leads. */
int shim_upstream(request_rec *r, int nobody)
{
    gate_request view;
    shim_state *state;
    int status;

    if (!SHIM_SERVER(r->server)->whole->upstream || shim_is_port(r)) { /* a port has no headers to put it in */
        return DECLINED;
    }
    state = shim_state_of(r);
    state->place = r->per_dir_config;
    shim_view(r, state, &view);
    gate_upstream(shim_process, &view, nobody, &state->verdict);
    if ((status = shim_carry_out(r, state)) != OK) {
        return status;
    }
    shim_set_pairs(r->headers_in, state->verdict.credentials, state->verdict.credential_count);
    if (state->verdict.guard_body) {
        shim_guard_body(r);
    }
    return DECLINED;
}

int shim_is_proxied(const request_rec *r)
{
    return r->proxyreq || (r->handler && !strncmp(r->handler, "proxy", 5));
}

/* A TRACE comes back to the client with all that is put in, and a forward proxy leads wherever the client says. */
int shim_gives_nothing(const request_rec *r)
{
    return r->method_number == M_TRACE || r->proxyreq == PROXYREQ_PROXY;
}

/* Where mod_proxy is about to send the request. One that needs no refusal needs no state. */
int shim_way(request_rec *r)
{
    shim_state none = {0}, *state = SHIM_STATE(r);
    gate_request view;

    if (!shim_is_proxied(r) || shim_is_port(r)) {
        return OK;
    }
    shim_view(r, state ? state : &none, &view);
    if (r->main) { /* the target of a part is the page's word, not the client's */
        view.unparsed_uri = NULL;
    }
    gate_way(shim_process, &view, !shim_is_gated(r) || shim_gives_nothing(r), state ? &state->verdict : &none.verdict);
    if (!state && (none.verdict.status || none.verdict.observed)) {
        state = shim_state_of(r);
        state->verdict = none.verdict;
    }
    return state ? shim_carry_out(r, state) : OK;
}
