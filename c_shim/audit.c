/* audit.c: a finished request is handed to the library, which writes the audit log's line (src/audit.rs). */
#include "shim.h"

/* Where the rule stands that was asked: not every section within it that says something of the gate. */
static const char *place_of(const shim_dir *dir)
{
    return dir->rule ? dir->rule : dir->gate ? dir->gate : dir->section;
}

static void write_down(request_rec *first, request_rec *decided, int status)
{
    shim_state *state = SHIM_STATE(decided);
    gate_event event;

    memset(&event, 0, sizeof(event));
    event.slots = SHIM_DIR(decided)->slot;
    event.verdict = &state->verdict;
    event.status = status;
    event.place = place_of(SHIM_DIR(decided));
    event.id = shim_id_of(decided);
    event.method = first->method;
    if (first->method_number == M_CONNECT) {
        event.port = first->parsed_uri.port;
    }
    else {
        event.path = first->uri;
    }
    event.host = first->hostname;
    event.protocol = first->protocol;
    event.agent = apr_table_get(first->headers_in, "User-Agent");
    event.peer = first->useragent_ip;
    event.peer_port = first->useragent_addr ? first->useragent_addr->port : 0;
    event.time = first->request_time;
    event.duration = apr_time_now() - first->request_time;
    gate_audit(shim_process, &event);
}

void shim_audit_sub(request_rec *r)
{
    shim_state *state = SHIM_STATE(r);
    const shim_state *page = SHIM_STATE(r->main); /* in the same section the page's own line says it */

    if (shim_process && state && state->judged_for && !(page && page->judged_for == state->judged_for) && !state->audited
        && !shim_question_of(r)) {
        state->audited = 1;
        write_down(r, r, state->verdict.status ? state->verdict.status : r->status);
    }
}

/* Once for a request and what followed from it within httpd: the refusal if there was one, else
 * the last that the gate looked at. */
int shim_log_transaction(request_rec *r)
{
    request_rec *first, *last, *at, *decided = NULL;
    const shim_state *state;

    for (first = r; first->prev; first = first->prev) {
    }
    for (last = r; last->next; last = last->next) {
    }
    for (at = first; at; at = at->next) {
        shim_state *seen = SHIM_STATE(at);
        if (seen && (seen->judged_for || seen->verdict.status)) {
            decided = at;
            if (seen->verdict.reason) {
                break;
            }
        }
    }
    if (!decided || !shim_process) {
        return DECLINED;
    }
    state = SHIM_STATE(decided);
    if (!state->audited || state->verdict.reason) {
        write_down(first, decided, last->status);
    }
    return DECLINED;
}
