/*
 * upstream.c: what goes on to the upstream beside the identity: the gate's credential, Sudo, an assertion. Whether it
 * may go there is asked before the handler runs; it is put in by mod_proxy's hook for that, on mod_proxy's own copy of
 * the headers, so that no log, program, error page or other request sees it.
 */
#include "shim.h"
#include "mod_proxy.h"

static int is_proxied(const request_rec *r)
{
    return r->proxyreq || (r->handler && !strncmp(r->handler, "proxy", 5));
}

int shim_to_upstream(request_rec *r)
{
    int proxied = is_proxied(r), status;
    shim_state *state = SHIM_STATE(r);
    gate_verdict none = {0}, *verdict;
    gate_request view;

    if (shim_is_port(r) || !(proxied || SHIM_SERVER(r->server)->whole->upstream)) {
        return OK;
    }
    shim_view(r, &view);
    if (r->main) { /* the target of a part is the page's word, not the client's */
        view.unparsed_uri = NULL;
    }
    verdict = state ? &state->verdict : &none;
    gate_upstream(shim_process, &view, proxied, verdict);
    if (!state && (none.status || none.observed || none.edit_count)) {
        shim_state_of(r)->verdict = none;
    }
    status = SHIM_STATE(r) ? shim_carry_out(r) : OK;
    if (status == OK && verdict->guard_body) {
        shim_guard_body(r);
    }
    return status;
}

/* On mod_proxy's own copy; what `Connection` named has left it already (from httpd 2.4.54 on; before, shim_clean sees
 * to it that it names nothing of the gate). */
static int put_in(request_rec *r)
{
    const shim_state *state = SHIM_STATE(r);
    size_t i;

    for (i = 0; state && i < state->verdict.credential_count; i++) {
        apr_table_setn(r->headers_in, state->verdict.credentials[i].name, state->verdict.credentials[i].value);
    }
    return DECLINED;
}

void shim_register_upstream(void)
{
    APR_OPTIONAL_HOOK(proxy, fixups, put_in, NULL, NULL, APR_HOOK_LAST);
}
