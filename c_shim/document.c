/*
 * document.c: what httpd would hand on from one request to another, and may not. The ErrorDocument of a refusal of
 * the gate's is nobody's, and it is asked for itself: an application that routes by REQUEST_URI would else show the
 * page that was refused. A part of a page has the page's environment, though it may stand in another place.
 */
#include "shim.h"
#include "apr_lib.h"

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

/* httpd renames a variable, once for each request that it came through. */
static const char *before_redirects(const char *name)
{
    while (!strncmp(name, "REDIRECT_", 9)) {
        name += 9;
    }
    return name;
}

static int is_ours(request_rec *r, const char *name)
{
    (void) r;
    return !strncmp(before_redirects(name), "GATE_", 5);
}

/* Whether programs get the header under that name. */
static int is_named_after(const char *variable, const char *header)
{
    for (; *variable && *header; variable++, header++) {
        if (*variable != (apr_isalnum(*header) ? apr_toupper(*header) : '_')) {
            return 0;
        }
    }
    return !*variable && !*header;
}

/* What httpd made, for a program, of a header that says who it is or that was put in for an upstream. */
static int is_header_of_ours(request_rec *r, const char *name)
{
    gate_field field = {.value = ""};
    request_rec *from;
    size_t i;

    name = before_redirects(name);
    if (strncmp(name, "HTTP_", 5)) {
        return 0;
    }
    field.name = name + 5;
    if (gate_next_spoofed(SHIM_SERVER(r->server)->config, &field, 1, 0) == 0) {
        return 1;
    }
    for (from = r->prev ? r->prev : r->main; from; from = from->prev ? from->prev : from->main) {
        const shim_state *state = SHIM_STATE(from);
        for (i = 0; state && i < state->verdict.credential_count; i++) {
            if (is_named_after(field.name, state->verdict.credentials[i].name)) {
                return 1;
            }
        }
    }
    return 0;
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

/* The variables of the gate's, httpd's own of the person, and those that it makes of headers. */
static int is_the_page_s(request_rec *r, const char *name)
{
    return is_header_of_ours(r, name) || is_ours(r, name) || !strcmp(name, "REMOTE_USER") || !strcmp(name, "AUTH_TYPE");
}

void shim_clean_part(request_rec *r)
{
    const shim_state *page = shim_origin_of(r);

    if (page && page->verdict.identity) { /* else it is not the gate's to say */
        clean_environment(r, is_the_page_s);
    }
}

/* Where an application leads within httpd, a program gets what was its own as REDIRECT_HTTP_…. */
void shim_clean_redirect(request_rec *r)
{
    if (r->prev) {
        clean_environment(r, is_header_of_ours);
    }
}

/* The refusal of a part (mod_dir) has become the answer: its words, and what it had taken out, are this one's. */
static void forget_part_s(request_rec *r, const shim_state *state)
{
    const apr_array_header_t *gone;
    int i;

    shim_say_part_s(r, state);
    if (state->sub_withheld) {
        gone = apr_table_elts(state->sub_withheld);
        for (i = 0; i < gone->nelts; i++) {
            apr_table_unset(r->headers_in, APR_ARRAY_IDX(gone, i, apr_table_entry_t).key);
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
    if (shim_was_denied_by_part(r->prev)) {
        forget_part_s(r, SHIM_STATE(r->prev));
    }
    for (from = r->prev; from; from = from->prev) {
        shim_state *state = SHIM_STATE(from);
        if (state && state->verdict.identity) {
            state->unnamed = 1;
            from->user = NULL;
            from->ap_auth_type = NULL;
        }
    }
    clean_environment(r, is_ours);
    apr_table_unset(r->headers_in, "Upgrade"); /* nobody's connection becomes another protocol's */
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
