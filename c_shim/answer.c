/* answer.c: what the client sees of a refusal; the words are the library's. */
#include "shim.h"
#include "mod_core.h"
#include "util_filter.h"

static ap_filter_rec_t *body_filter;

/* A sub-request has no client to tell: where its refusal becomes the main request's (mod_dir, mod_dav), that one has
 * the same headers. They wait in its notes, which outlive the sub-request. */
static const char *const DENIAL[] = {"X-Gate-Reason", "X-Gate-Request", "WWW-Authenticate"};
#define DENIAL_STATUS "gate-denial-status"
#define DENIAL_BODY "gate-denial-body"
#define DENIAL_TYPE "gate-denial-type"
#define DENIAL_GONE "gate-denial-gone" /* the headers that held a token there */

static void leave_denial(request_rec *r, const gate_verdict *verdict)
{
    size_t i, k;

    apr_table_setn(r->notes, DENIAL_STATUS, apr_itoa(r->pool, verdict->status));
    apr_table_set(r->notes, DENIAL_BODY, verdict->body ? verdict->body : "");
    apr_table_set(r->notes, DENIAL_TYPE, verdict->content_type ? verdict->content_type : "text/html");
    apr_table_unset(r->notes, DENIAL_GONE);
    for (i = 0; i < verdict->edited; i++) {
        if (verdict->edits[i].kind == GATE_EDIT_HEADER) {
            apr_table_merge(r->notes, DENIAL_GONE, verdict->edits[i].name);
        }
    }
    for (k = 0; k < sizeof(DENIAL) / sizeof(DENIAL[0]); k++) {
        apr_table_unset(r->notes, DENIAL[k]);
        for (i = verdict->answer_count; i-- > 0;) {
            if (!strcmp(verdict->answer[i].name, DENIAL[k])) {
                apr_table_set(r->notes, DENIAL[k], verdict->answer[i].value);
            }
        }
    }
}

/* Nothing that was only looked at has become the answer of a request that comes to its handler. */
void shim_forget_part(request_rec *r)
{
    apr_table_unset(r->notes, DENIAL_STATUS);
}

void shim_begin_part_s_document(request_rec *r)
{
    const char *gone = shim_was_denied_by_part(r->prev) ? apr_table_get(r->prev->notes, DENIAL_GONE) : NULL;

    while (gone && *gone) {
        apr_table_unset(r->headers_in, ap_getword(r->pool, &gone, ','));
        while (*gone == ' ') {
            gone++;
        }
    }
    shim_say_part_s(r->prev);
}

int shim_was_denied_by_part(request_rec *r)
{
    const shim_state *state = SHIM_STATE(r);
    const char *status = apr_table_get(r->notes, DENIAL_STATUS);

    return status && !(state && state->verdict.status) && r->status == atoi(status);
}

void shim_say_part_s(request_rec *r)
{
    size_t k;

    for (k = 0; shim_was_denied_by_part(r) && k < sizeof(DENIAL) / sizeof(DENIAL[0]); k++) {
        const char *value = apr_table_get(r->notes, DENIAL[k]);
        if (value) {
            apr_table_set(r->err_headers_out, DENIAL[k], value);
        }
    }
}

/* A look ahead (mod_rewrite's %{LA-U:…}) asks what is asked again in a moment, if it is asked at all. */
static int looks_ahead(request_rec *r)
{
    const shim_state *main = r->main ? SHIM_STATE(r->main) : NULL;
    return r->main && !(main && main->judged_for) && r->uri && r->main->uri && !strcmp(r->uri, r->main->uri);
}

static void say_why(request_rec *r, const shim_state *state)
{
    size_t i;
    for (i = 0; i < state->verdict.answer_count; i++) {
        apr_table_addn(r->err_headers_out, state->verdict.answer[i].name, state->verdict.answer[i].value);
    }
}

int shim_carry_out(request_rec *r)
{
    shim_state *state = shim_state_of(r);
    gate_verdict *verdict = &state->verdict;
    const shim_state *origin = shim_origin_of(r);
    int quiet = verdict->line && (shim_question_of(r) || looks_ahead(r));
    const char *own;

    if (verdict->line) {
        ap_log_rerror(APLOG_MARK, quiet ? APLOG_DEBUG : verdict->level, 0, r, "%s", verdict->line);
        verdict->line = NULL;
    }
    shim_apply_edits(r, verdict);
    if (!verdict->status) {
        return OK;
    }
    if (!r->prev || !origin || !origin->verdict.status) { /* else the first refusal's words stand there */
        say_why(r, state);
    }
    if (r->main && !shim_question_of(r) && !looks_ahead(r)) {
        leave_denial(r->main, verdict);
        shim_audit_sub(r);
    }
    /* An ErrorDocument of the administrator's goes before our own words, but a CONNECT is not sent elsewhere: who
     * asks for a tunnel needs the challenge, and no 200 of another's. */
    own = ap_response_code_string(r, ap_index_of_response(verdict->status));
    if (verdict->body && (!own || (r->method_number == M_CONNECT && *own != '"'))) {
        ap_custom_response(r, verdict->status, verdict->body);
    }
    return verdict->status;
}

int shim_refuse(request_rec *r, enum gate_fact fact)
{
    shim_state *state = shim_state_of(r);
    gate_request view;

    shim_view(r, &view);
    gate_refuse(&view, fact, &state->verdict);
    return shim_carry_out(r);
}

/* ap_send_error_response says text/html whatever the text is. */
static apr_status_t body_type(ap_filter_t *f, apr_bucket_brigade *bb)
{
    const shim_state *state = SHIM_STATE(f->r);
    ap_set_content_type(f->r, state && state->verdict.status ? state->verdict.content_type
                                                             : apr_table_get(f->r->notes, DENIAL_TYPE));
    ap_remove_output_filter(f);
    return ap_pass_brigade(f->next, bb);
}

void shim_insert_error_filter(request_rec *r)
{
    const shim_state *state = SHIM_STATE(r);

    if (state && state->verdict.status && state->verdict.content_type) {
        if (!apr_table_get(r->err_headers_out, "X-Gate-Reason")) { /* mod_proxy_http2 begins anew with an upstream's answer */
            say_why(r, state);
        }
        if (r->status == state->verdict.status) {
            ap_add_output_filter_handle(body_filter, NULL, r, r->connection);
        }
    }
    else if (shim_was_denied_by_part(r)) {
        const char *body = apr_table_get(r->notes, DENIAL_BODY);
        shim_say_part_s(r);
        if (body && *body && !ap_response_code_string(r, ap_index_of_response(r->status))) {
            ap_custom_response(r, r->status, body);
            ap_add_output_filter_handle(body_filter, NULL, r, r->connection);
        }
    }
}

void shim_register_filters(void)
{
    body_filter = ap_register_output_filter("GATE_BODY_TYPE", body_type, NULL, AP_FTYPE_CONTENT_SET);
}
