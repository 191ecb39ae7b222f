/* answer.c: what the client sees of a refusal; the words are the library's. */
#include "shim.h"
#include "mod_core.h"
#include "util_filter.h"

static ap_filter_rec_t *body_filter;

/* A sub-request has no client to tell: where its refusal becomes the main request's (mod_dir, mod_dav), that
 * one says the same. It outlives the sub-request, and what that has allocated. */
static void leave_denial(request_rec *r, const gate_verdict *verdict)
{
    shim_state *state = shim_state_of(r);
    size_t i;

    state->sub_denial = apr_table_make(r->pool, (int) verdict->answer_count);
    state->sub_status = verdict->status;
    state->sub_body = verdict->body ? apr_pstrdup(r->pool, verdict->body) : NULL;
    state->sub_type = verdict->content_type;
    for (i = 0; i < verdict->answer_count; i++) {
        apr_table_add(state->sub_denial, verdict->answer[i].name, verdict->answer[i].value);
    }
}

/* A look ahead (mod_rewrite's %{LA-U:…}) asks what is asked again in a moment, if it is asked at all. */
static int looks_ahead(request_rec *r)
{
    const shim_state *main = r->main ? SHIM_STATE(r->main) : NULL;
    return r->main && !(main && main->decided) && r->uri && r->main->uri && !strcmp(r->uri, r->main->uri);
}

static void say_why(request_rec *r, const shim_state *state)
{
    size_t i;
    for (i = 0; i < state->verdict.answer_count; i++) {
        apr_table_addn(r->err_headers_out, state->verdict.answer[i].name, state->verdict.answer[i].value);
    }
}

int shim_carry_out(request_rec *r, shim_state *state)
{
    gate_verdict *verdict = &state->verdict;
    const shim_state *origin = shim_origin_of(r);
    int quiet = verdict->line && (shim_question_of(r) || looks_ahead(r));
    const char *own;

    if (verdict->line) {
        ap_log_rerror(APLOG_MARK, quiet ? APLOG_DEBUG : verdict->level, 0, r, "%s", verdict->line);
        verdict->line = NULL;
    }
    shim_apply_edits(r, verdict, state);
    if (!verdict->status) {
        return OK;
    }
    if (!r->prev || !origin || !origin->verdict.status) { /* else the first refusal's words stand there */
        say_why(r, state);
    }
    state->decided = 1;
    if (r->main && !shim_question_of(r) && !looks_ahead(r)) {
        leave_denial(r->main, verdict);
        shim_audit_sub(r);
    }
    /* An ErrorDocument of the administrator's goes before our own words, but a CONNECT is not sent elsewhere: who
     * asks for a tunnel needs the challenge, and no 200 of another's. */
    own = ap_response_code_string(r, ap_index_of_response(verdict->status));
    if (verdict->body && (!own || (r->method_number == M_CONNECT && *own != '"'))) {
        state->content_type = verdict->content_type;
        ap_custom_response(r, verdict->status, verdict->body);
    }
    return verdict->status;
}

int shim_refuse(request_rec *r, enum gate_fact fact)
{
    shim_state *state = shim_state_of(r);
    gate_request view;

    shim_view(r, state, &view);
    gate_refuse(&view, fact, &state->verdict);
    return shim_carry_out(r, state);
}

/* ap_send_error_response says text/html whatever the text is. */
static apr_status_t body_type(ap_filter_t *f, apr_bucket_brigade *bb)
{
    const shim_state *state = SHIM_STATE(f->r);
    ap_set_content_type(f->r, state->content_type);
    ap_remove_output_filter(f);
    return ap_pass_brigade(f->next, bb);
}

int shim_was_denied_by_part(request_rec *r)
{
    const shim_state *state = SHIM_STATE(r);
    return state && !state->verdict.status && state->sub_denial && r->status == state->sub_status;
}

void shim_say_part_s(request_rec *r, const shim_state *state)
{
    if (!apr_table_get(r->err_headers_out, "X-Gate-Reason")) { /* mod_dir takes them over, or not */
        r->err_headers_out = apr_table_overlay(r->pool, r->err_headers_out, state->sub_denial);
    }
}

void shim_insert_error_filter(request_rec *r)
{
    shim_state *state = SHIM_STATE(r);
    if (state && state->verdict.status && state->content_type) {
        if (!apr_table_get(r->err_headers_out, "X-Gate-Reason")) { /* mod_proxy_http2 begins anew with an upstream's answer */
            say_why(r, state);
        }
        ap_add_output_filter_handle(body_filter, NULL, r, r->connection);
    }
    else if (shim_was_denied_by_part(r)) {
        shim_say_part_s(r, state);
        if (state->sub_body && !ap_response_code_string(r, ap_index_of_response(r->status))) {
            state->content_type = state->sub_type;
            ap_custom_response(r, r->status, state->sub_body);
            ap_add_output_filter_handle(body_filter, NULL, r, r->connection);
        }
    }
}

void shim_register_filters(void)
{
    body_filter = ap_register_output_filter("GATE_BODY_TYPE", body_type, NULL, AP_FTYPE_CONTENT_SET);
}
