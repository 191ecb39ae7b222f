/* edits.c: what goes out of a request, as the library says. The headers and the query of the first request are kept as
 * they came, for the requests that follow from it: they find the client's token there. */
#include "shim.h"
#include "scoreboard.h"

request_rec *shim_first_of(request_rec *r)
{
    while (r->prev || r->main) {
        r = r->prev ? r->prev : r->main;
    }
    return r;
}

static void keep_client(request_rec *r)
{
    request_rec *first = shim_first_of(r);
    shim_state *state = shim_state_of(first);

    if (!state->client) {
        state->client = apr_table_copy(first->pool, first->headers_in);
        if (first->args) {
            apr_table_setn(state->client, "?", first->args);
        }
    }
}

void shim_apply_edits(request_rec *r, gate_verdict *verdict)
{
    size_t i;

    if (verdict->edit_count) {
        keep_client(r);
    }
    for (i = 0; i < verdict->edit_count; i++) {
        const gate_edit *edit = &verdict->edits[i];
        switch (edit->kind) {
        case GATE_EDIT_HEADER:
            if (edit->value) {
                apr_table_setn(r->headers_in, edit->name, edit->value);
            }
            else {
                apr_table_unset(r->headers_in, edit->name);
            }
            break;
        case GATE_EDIT_ARGS:
            r->args = (char *) edit->value;
            r->parsed_uri.query = (char *) edit->value;
            break;
        case GATE_EDIT_UNPARSED_URI:
            r->unparsed_uri = (char *) edit->value;
            break;
        case GATE_EDIT_THE_REQUEST:
            r->the_request = (char *) edit->value;
            ap_update_child_status(r->connection->sbh, SERVER_BUSY_WRITE, r); /* server-status shows it meanwhile */
            break;
        case GATE_EDIT_FILENAME:
            r->filename = (char *) edit->value;
            break;
        }
    }
    verdict->edited = verdict->edit_count ? verdict->edit_count : verdict->edited;
    verdict->edit_count = 0;
}
