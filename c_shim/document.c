/*
 * document.c: what httpd would hand on from one request to another, and may not. The ErrorDocument of a refusal of
 * the gate's is nobody's, and it is asked for itself: an application that routes by REQUEST_URI would else show the
 * page that was refused. A part of a page has the page's environment, though it may stand in another place.
 */
#include "shim.h"

int shim_is_document(request_rec *r)
{
    const shim_state *origin = r->prev ? shim_origin_of(r) : NULL;
    return origin && origin->refused;
}

/* httpd has renamed it, once for each request that it came through. */
static int is_ours(request_rec *r, const char *name)
{
    (void) r;
    while (!strncmp(name, "REDIRECT_", 9)) {
        name += 9;
    }
    return !strncmp(name, "GATE_", 5);
}

static void clean_environment(request_rec *r, int (*is_theirs)(request_rec *, const char *))
{
    const apr_array_header_t *all = apr_table_elts(r->subprocess_env);
    int i;

    for (i = all->nelts; i-- > 0;) {
        if (i < all->nelts && is_theirs(r, APR_ARRAY_IDX(all, i, apr_table_entry_t).key)) {
            apr_table_unset(r->subprocess_env, APR_ARRAY_IDX(all, i, apr_table_entry_t).key);
        }
    }
}

/* httpd takes the person from the requests before: they are nobody's until the log is written. */
/* The variables of the gate's, httpd's own of the person, and those that it makes of headers for programs. */
static int is_the_page_s(request_rec *r, const char *name)
{
    gate_field field = {.value = ""};

    if (!strncmp(name, "HTTP_", 5)) {
        field.name = name + 5;
        return gate_next_spoofed(SHIM_SERVER(r->server)->config, &field, 1, 0) == 0;
    }
    return is_ours(r, name) || !strcmp(name, "REMOTE_USER") || !strcmp(name, "AUTH_TYPE");
}

void shim_clean_part(request_rec *r)
{
    const shim_state *page = shim_origin_of(r);

    if (page && page->outcome.identity) { /* else it is not the gate's to say */
        clean_environment(r, is_the_page_s);
    }
}

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
    clean_environment(r, is_ours);
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
