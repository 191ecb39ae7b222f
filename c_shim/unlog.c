/* unlog.c: what no log may hold goes out of a request before one is written: what was put in for the
 * upstream, and parameters that carry tokens in some place of the configuration. */
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
    gate_verdict verdict;
    gate_request view;

    memset(&verdict, 0, sizeof(verdict));
    shim_view(r, shim_state_of(r), &view);
    gate_unlog(SHIM_SERVER(r->server)->config, &view, &verdict);
    shim_apply_edits(r, &verdict, NULL);
}

int shim_forget(request_rec *r)
{
    while (r->prev) {
        r = r->prev;
    }
    shim_end_document(r);
    for (; r; r = r->next) {
        shim_unset_put(r->headers_in, r);
        if (SHIM_SERVER(r->server)->whole->query) {
            cut_query(r);
        }
    }
    return DECLINED;
}
