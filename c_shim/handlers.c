/* handlers.c: `SetHandler gate-jwks` and `gate-gitlab-login`. What they answer is composed in Rust. */
#include "shim.h"

#define OURS(name) ((name) && !strncmp((name), "gate-", 5))

/* SetHandler wins over a ProxyPass that covers its path: mod_proxy would else take the request. */
void shim_choose_handler(request_rec *r)
{
    const core_dir_config *core = ap_get_core_module_config(r->per_dir_config);
    if (OURS(core->handler)) {
        r->proxyreq = PROXYREQ_NONE;
        r->handler = core->handler;
    }
}

/* Where a refusal was only observed until now, the library is asked again: the handler is the gate's
 * own. The status; 0: it may be run. */
int shim_handler_refuses(request_rec *r)
{
    const shim_state *known = shim_effective_state(r);
    shim_state *state = shim_state_of(r);
    int status = OK;

    if (OURS(r->handler) && known && known->observed) {
        status = shim_refuse(r, state, known->reason, known->detail, APLOG_ERR);
        state->observed = state->observed && !status;
    }
    return status;
}

int shim_handle(request_rec *r)
{
    int refused;
    const shim_state *known;
    shim_state *state;
    gate_request view;
    gate_answer answer;
    const char *reason, *detail = NULL;
    size_t i;

    if (!OURS(r->handler)) {
        return DECLINED;
    }
    if ((refused = shim_handler_refuses(r))) {
        return refused;
    }
    if (!strcmp(r->handler, "gate-status")) {
        return shim_status(r);
    }
    if (!strcmp(r->handler, "gate-explain")) {
        return shim_explain(r);
    }
    if (r->method_number != M_GET) {
        ap_allow_standard_methods(r, REPLACE_ALLOW, M_GET, -1);
        return HTTP_METHOD_NOT_ALLOWED;
    }
    state = shim_state_of(r);
    known = shim_effective_state(r);
    memset(&answer, 0, sizeof(answer));
    shim_view(r, state, &view);
    reason = gate_handle(shim_process, &view, r->handler,
                         known ? known->outcome.identity : NULL, &answer, &detail);
    if (reason) {
        return shim_refuse(r, state, reason, detail, APLOG_ERR);
    }
    /* httpd takes Location from the one and sends the other's with any status but 200 */
    for (i = 0; i < answer.field_count; i++) {
        apr_table_setn(r->headers_out, answer.fields[i].name, answer.fields[i].value);
        apr_table_setn(r->err_headers_out, answer.fields[i].name, answer.fields[i].value);
    }
    if (answer.status != HTTP_OK) {
        return answer.status;
    }
    ap_set_content_type(r, answer.content_type);
    ap_set_content_length(r, (apr_off_t) strlen(answer.body));
    ap_rputs(answer.body, r);
    return OK;
}
