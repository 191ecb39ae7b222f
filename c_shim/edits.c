/* edits.c: what goes out of a request, and what is set in one, as the library says. */
#include "shim.h"

static void withhold(request_rec *r, shim_state *state, const char *name, const char *value)
{
    if (!state) {
        return;
    }
    if (!state->withheld) {
        state->withheld = apr_table_make(r->pool, 2);
    }
    if (value && !apr_table_get(state->withheld, name)) {
        apr_table_setn(state->withheld, name, value);
    }
}

/* `withholding` keeps what goes for the requests that follow from this one; NULL: it is gone. */
void shim_apply_edits(request_rec *r, const gate_outcome *outcome, shim_state *withholding)
{
    size_t i;
    for (i = 0; i < outcome->edit_count; i++) {
        const gate_edit *edit = &outcome->edits[i];
        switch (edit->kind) {
        case GATE_EDIT_HEADER:
            withhold(r, withholding, edit->name, apr_table_get(r->headers_in, edit->name));
            if (edit->value) {
                apr_table_setn(r->headers_in, edit->name, edit->value);
            }
            else {
                apr_table_unset(r->headers_in, edit->name);
            }
            break;
        case GATE_EDIT_ARGS:
            withhold(r, withholding, "?", r->args);
            r->args = (char *) edit->value;
            r->parsed_uri.query = (char *) edit->value;
            break;
        case GATE_EDIT_UNPARSED_URI:
            r->unparsed_uri = (char *) edit->value;
            break;
        case GATE_EDIT_THE_REQUEST:
            r->the_request = (char *) edit->value;
            break;
        case GATE_EDIT_FILENAME:
            r->filename = (char *) edit->value;
            break;
        }
    }
}

void shim_set_pairs(apr_table_t *table, const gate_pair *pairs, size_t count)
{
    size_t i;
    for (i = 0; i < count; i++) {
        apr_table_setn(table, pairs[i].name, pairs[i].value);
    }
}
