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

/* Where a refusal was only observed until now, it is one: the handler is the gate's own. The status; 0: it may be
 * run. */
int shim_handler_refuses(request_rec *r)
{
    const shim_state *known = SHIM_STATE(r);
    return OURS(r->handler) && known && known->verdict.observed ? shim_refuse(r, GATE_FACT_OWN_HANDLER) : OK;
}

int shim_handle(request_rec *r)
{
    int refused, explain;
    shim_state *state;
    gate_request view;
    gate_verdict *verdict;
    size_t i;

    if (!OURS(r->handler)) {
        return DECLINED;
    }
    if ((refused = shim_handler_refuses(r))) {
        return refused;
    }
    explain = !strcmp(r->handler, "gate-explain");
    if (r->method_number != M_GET && !explain) {
        ap_allow_standard_methods(r, REPLACE_ALLOW, M_GET, -1);
        return HTTP_METHOD_NOT_ALLOWED;
    }
    state = shim_state_of(r);
    verdict = &state->verdict;
    shim_view(r, &view);
    gate_handle(shim_process, &view, r->handler, verdict);
    if (verdict->reason) {
        return shim_carry_out(r);
    }
    if (explain) { /* the library has only said that the client may ask */
        verdict->status = 0;
        return shim_explain(r);
    }
    /* httpd takes Location from the one and sends the other's with any status but 200 */
    for (i = 0; i < verdict->answer_count; i++) {
        apr_table_setn(r->headers_out, verdict->answer[i].name, verdict->answer[i].value);
        apr_table_setn(r->err_headers_out, verdict->answer[i].name, verdict->answer[i].value);
    }
    if (verdict->status != HTTP_OK) {
        refused = verdict->status;
        verdict->status = 0;
        return refused;
    }
    verdict->status = 0;
    ap_set_content_type(r, verdict->content_type);
    ap_set_content_length(r, (apr_off_t) strlen(verdict->body));
    ap_rputs(verdict->body, r);
    return OK;
}
