/* state.c: what the shim knows, of the child and of a request. Nothing here decides. */
#include "shim.h"

gate_process *shim_process;

/* Statics outlive a reading of the configuration (-z nodelete): conf.c takes it back. */
server_rec *shim_log_server;

shim_state *shim_state_of(request_rec *r)
{
    shim_state *state = SHIM_STATE(r);
    if (!state) {
        state = apr_pcalloc(r->pool, sizeof(*state));
        ap_set_module_config(r->request_config, &gitlab_gate_module, state);
    }
    return state;
}

/* The nearest request that this one follows from and that the gate has seen. */
shim_state *shim_origin_of(request_rec *r)
{
    for (r = r->prev ? r->prev : r->main; r; r = r->prev ? r->prev : r->main) {
        shim_state *state = SHIM_STATE(r);
        if (state && (state->judged_for || state->verdict.status)) {
            return state;
        }
    }
    return NULL;
}

shim_question *shim_question_of(request_rec *r)
{
    for (r = r->main; r; r = r->main) { /* mod_dir's look at an index is a part of the part that was asked about */
        const shim_state *asker = SHIM_STATE(r);
        if (asker && asker->question) {
            return asker->question;
        }
    }
    return NULL;
}

/* A CONNECT that the gate answers itself: the server has ports, or another one has. */
int shim_is_port(request_rec *r)
{
    return r->method_number == M_CONNECT && SHIM_SERVER(r->server)->whole->ports;
}
