/* edits.c: what goes out of a request, and what is set in one, as the library says. */
#include "shim.h"
#include "scoreboard.h"

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

/* Shorter than this is no token. */
#define SHORTEST 64

/* Whether a variable's value has the header's or the query's in it, or is a token out of it: SetEnvIf, RewriteRule [E=…].
 * `whole`: all of that is the credential (Authorization); else, as in Cookie, what has a token's two dots. */
static int holds(const char *value, const char *source, int whole)
{
    const char *dot;

    if (strlen(value) < SHORTEST || strlen(source) < SHORTEST) {
        return 0;
    }
    return strstr(value, source) || ((whole || ((dot = strchr(value, '.')) && strchr(dot + 1, '.'))) && strstr(source, value));
}

/* What was made of it before the gate took it out goes with it: CGI and FastCGI send variables on. */
static void unset_copies(request_rec *r, const char *source, int whole)
{
    const apr_array_header_t *there = apr_table_elts(r->subprocess_env);
    int i = 0;

    while (source && i < there->nelts) {
        const apr_table_entry_t *entry = &APR_ARRAY_IDX(there, i, apr_table_entry_t);
        if (entry->val && holds(entry->val, source, whole)) {
            apr_table_unset(r->subprocess_env, entry->key);
            i = 0; /* the table has moved */
        }
        else {
            i++;
        }
    }
}

/* `withholding` keeps what goes for the requests that follow from this one; NULL: it is gone. */
void shim_apply_edits(request_rec *r, gate_verdict *verdict, shim_state *withholding)
{
    const char *value;
    size_t i;

    for (i = 0; i < verdict->edit_count; i++) {
        const gate_edit *edit = &verdict->edits[i];
        switch (edit->kind) {
        case GATE_EDIT_HEADER:
            value = apr_table_get(r->headers_in, edit->name);
            withhold(r, withholding, edit->name, value);
            unset_copies(r, value, strcasecmp(edit->name, "Cookie"));
            if (edit->value) {
                apr_table_setn(r->headers_in, edit->name, edit->value);
            }
            else {
                apr_table_unset(r->headers_in, edit->name);
            }
            break;
        case GATE_EDIT_ARGS:
            withhold(r, withholding, "?", r->args);
            unset_copies(r, r->args, 0);
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
        verdict->edited = 1;
    }
    verdict->edit_count = 0;
}

void shim_set_pairs(apr_table_t *table, const gate_pair *pairs, size_t count)
{
    size_t i;
    for (i = 0; i < count; i++) {
        apr_table_setn(table, pairs[i].name, pairs[i].value);
    }
}
