/*
 * document.c: the ErrorDocument of a refusal of the gate's, which httpd makes a request of. It is nobody's, and it
 * is asked for itself: an application that routes by REQUEST_URI would else show the page that was refused.
 */
#include "shim.h"

int shim_is_document(request_rec *r)
{
    const shim_state *origin = r->prev ? shim_origin_of(r) : NULL;
    return origin && origin->refused;
}

/* httpd has renamed it, once for each request that it came through. */
static int is_ours(const char *name)
{
    while (!strncmp(name, "REDIRECT_", 9)) {
        name += 9;
    }
    return !strncmp(name, "GATE_", 5);
}

static void clean_environment(apr_table_t *environment)
{
    const apr_array_header_t *all = apr_table_elts(environment);
    int i;

    for (i = all->nelts; i-- > 0;) {
        if (i < all->nelts && is_ours(APR_ARRAY_IDX(all, i, apr_table_entry_t).key)) {
            apr_table_unset(environment, APR_ARRAY_IDX(all, i, apr_table_entry_t).key);
        }
    }
}

/* httpd takes the person from the requests before: they are nobody's until the log is written. */
void shim_begin_document(request_rec *r)
{
    request_rec *from;

    if (!shim_is_document(r)) {
        return;
    }
    for (from = r->prev; from; from = from->prev) {
        shim_state *state = SHIM_STATE(from);
        if (state && state->outcome.identity) {
            state->unnamed = 1;
            from->user = NULL;
            from->ap_auth_type = NULL;
        }
    }
    clean_environment(r->subprocess_env);
    r->the_request = apr_pstrcat(r->pool, r->method, " ", r->unparsed_uri, " ", r->protocol, NULL);
}

/* The log's %u is the last request's. */
void shim_end_document(request_rec *r)
{
    const shim_state *person = NULL;

    for (; r; r = r->next) {
        const shim_state *state = SHIM_STATE(r);
        if (state && state->unnamed) {
            person = state;
        }
        if (person && !r->user) {
            shim_name_user(r, person);
        }
    }
}
