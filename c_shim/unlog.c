/* unlog.c: what no log may hold goes out of a request before one is written: parameters that carry tokens in some place of the configuration. */
#include "shim.h"

/* A browser tells the next place where it comes from, query and all. */
void shim_clean_referer(request_rec *r)
{
    const shim_server *server = SHIM_SERVER(r->server);
    const char *referer, *kept;

    if (server->whole->query && (referer = apr_table_get(r->headers_in, "Referer"))
        && (kept = gate_referer(server->config, referer, r->pool))) {
        apr_table_setn(r->headers_in, "Referer", kept);
    }
}

static void cut_query(request_rec *r)
{
    gate_verdict verdict = {0};
    gate_request view;

    shim_view(r, &view);
    gate_unlog(SHIM_SERVER(r->server)->config, &view, &verdict);
    shim_apply_edits(r, &verdict);
}

/* The token of a job came with its CONNECT, for the gate alone. */
int shim_forget(request_rec *r)
{
    r = shim_first_of(r);
    shim_end_document(r);
    if (shim_is_port(r)) {
        apr_table_unset(r->headers_in, "Gate-Job-Token");
    }
    for (; r; r = r->next) {
        if (SHIM_SERVER(r->server)->whole->query) {
            cut_query(r);
        }
    }
    return DECLINED;
}
