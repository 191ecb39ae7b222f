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
    for (i = 0; state && i < state->put_count; i++) {
        const char *value = apr_table_get(fields, state->put[i].name);
        if (value && !strcmp(value, state->put[i].value)) {
            apr_table_unset(fields, state->put[i].name);
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
int shim_upstream(request_rec *r, const gate_identity *identity)
{
    gate_outcome outcome;
    gate_request view;
    shim_state *state;

    if (!SHIM_SERVER(r->server)->whole->upstream || shim_is_port(r)) { /* a port has no headers to put it in */
        return DECLINED;
    }
    state = shim_state_of(r);
    state->place = r->per_dir_config;
    memset(&outcome, 0, sizeof(outcome));
    shim_view(r, state, &view);
    gate_upstream(shim_process, &view, identity, &outcome);
    shim_apply_edits(r, &outcome, NULL);
    if (outcome.status) {
        return shim_refuse(r, state, outcome.reason, outcome.detail, outcome.log_level);
    }
    shim_set_pairs(r->headers_in, outcome.upstream, outcome.upstream_count);
    if (outcome.guard_body) {
        shim_guard_body(r);
    }
    state->put = outcome.upstream;
    state->put_count = outcome.upstream_count;
    return DECLINED;
}

int shim_is_proxied(const request_rec *r)
{
    return r->proxyreq || (r->handler && !strncmp(r->handler, "proxy", 5));
}

/* Who has been given to the upstream. A TRACE comes back to the client with all that is put in, and a forward proxy
 * leads wherever the client says. */
const gate_identity *shim_given(request_rec *r, const shim_state *state)
{
    return state && !state->refused && r->method_number != M_TRACE && r->proxyreq != PROXYREQ_PROXY
        ? state->outcome.identity : NULL;
}

/* Where mod_proxy is about to send the request. */
int shim_way(request_rec *r)
{
    shim_state none = {0}, *state = SHIM_STATE(r);
    gate_outcome outcome;
    gate_request view;

    if (!shim_is_proxied(r) || shim_is_port(r)) {
        return OK;
    }
    memset(&outcome, 0, sizeof(outcome));
    shim_view(r, state ? state : &none, &view);
    if (r->main) { /* the target of a part is the page's word, not the client's */
        view.unparsed_uri = NULL;
    }
    gate_way(shim_process, &view, shim_is_gated(r) ? shim_given(r, shim_effective_state(r)) : NULL, &outcome);
    return outcome.status ? shim_refuse(r, shim_state_of(r), outcome.reason, outcome.detail, outcome.log_level) : OK;
}
