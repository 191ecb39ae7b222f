/*
 * document.c: what httpd would hand on from one request to another, and may not. The ErrorDocument of a refusal is
 * served anonymously and asked for itself: an application that routes by REQUEST_URI would else show the page that was
 * refused.
 */
#include "shim.h"

int shim_is_document(request_rec *r)
{
    const shim_state *origin;

    while (r->main) { /* an index of it, or a part */
        r = r->main;
    }
    if (!r->prev) {
        return 0;
    }
    origin = shim_origin_of(r);
    return (origin && origin->verdict.status) || shim_was_denied_by_part(r->prev);
}

/* Whether a variable says who it is: what httpd made for a program of a header of the gate or, where `all`, one of the
 * gate and httpd's own. httpd renames a variable once for each request that it came through. */
static int is_of_a_person(request_rec *r, const char *name, int all)
{
    gate_field field = {.value = ""};

    while (!strncmp(name, "REDIRECT_", 9)) {
        name += 9;
    }
    field.name = name + 5;
    return (all && (!strncmp(name, "GATE_", 5) || !strcmp(name, "REMOTE_USER") || !strcmp(name, "AUTH_TYPE")))
        || (!strncmp(name, "HTTP_", 5) && gate_next_spoofed(SHIM_SERVER(r->server)->config, &field, 1, 0) == 0);
}

static void clean_environment(request_rec *r, int all)
{
    const apr_array_header_t *there = apr_table_elts(r->subprocess_env);
    int i;

    for (i = there->nelts; i-- > 0;) {
        if (i < there->nelts && is_of_a_person(r, APR_ARRAY_IDX(there, i, apr_table_entry_t).key, all)) {
            apr_table_unset(r->subprocess_env, APR_ARRAY_IDX(there, i, apr_table_entry_t).key);
        }
    }
}

/* A part of a page has the page's environment, though it may stand in another section. */
void shim_clean_part(request_rec *r)
{
    const shim_state *page = shim_origin_of(r);

    if (page && page->verdict.identity) { /* else it is not the gate's to say */
        clean_environment(r, 1);
    }
}

/* httpd takes the person from the requests before: they have none until the log is written. */
void shim_begin_document(request_rec *r)
{
    request_rec *from;

    if (!shim_is_document(r)) {
        if (r->prev) { /* a program gets what was its own as REDIRECT_HTTP_... */
            clean_environment(r, 0);
        }
        return;
    }
    for (from = r->prev; from; from = from->prev) {
        const shim_state *state = SHIM_STATE(from);
        if (state && state->verdict.identity) {
            from->user = NULL;
            from->ap_auth_type = NULL;
        }
    }
    shim_begin_part_s_document(r);
    clean_environment(r, 1);
    apr_table_unset(r->headers_in, "Upgrade");
    r->the_request = apr_pstrcat(r->pool, r->method, " ", r->unparsed_uri, " ", r->protocol, NULL);
}

/* Before the log, whose %u is the last request's. From the first request on. */
void shim_end_document(request_rec *r)
{
    const shim_state *person = NULL;

    for (; r; r = r->next) {
        const shim_state *state = SHIM_STATE(r);
        if (state && state->verdict.identity) {
            person = state;
        }
        if (person && !r->user) {
            shim_name_user(r, person);
        }
    }
}
