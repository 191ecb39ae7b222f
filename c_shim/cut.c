/* cut.c: a connection that another module tunnels (mod_proxy's WebSockets) has no end of its own: GateLifetime
 * gives it one. Its socket is cut from outside (src/port/cut.rs); here that is turned into an error for whoever
 * reads, who would take the end for a half-close and keep the upstream's side. When it is, is not decided here.
 *
 * Who asks for another protocol may be answered in HTTP all the same, and a download has no end at `exp`: that
 * answer comes through the request's output filters, which a tunnel's bytes never do. */
#include "shim.h"
#include "apr_portable.h"
#include "util_filter.h"
#include <pthread.h>
#include <signal.h>

static ap_filter_rec_t *cut_filter, *answer_filter;

typedef struct cut_hold cut_hold;

/* A connection's filter, which stays as long as the connection: a later request's chain may lead through it. */
typedef struct cut_end {
    cut_hold *first;
} cut_end;

/* A request's. */
struct cut_hold {
    cut_end *end;
    cut_hold *next;
    gate_cut *cut;
    apr_pool_t *pool;
};

static apr_status_t read_until(ap_filter_t *f, apr_bucket_brigade *brigade, ap_input_mode_t mode,
                               apr_read_type_e block, apr_off_t wanted)
{
    const cut_hold *hold = ((const cut_end *) f->ctx)->first;
    for (; hold; hold = hold->next) {
        if (gate_cut_fired(hold->cut)) {
            f->c->aborted = 1;
            return APR_ECONNRESET;
        }
    }
    return ap_get_brigade(f->next, brigade, mode, block, wanted);
}

static apr_status_t forget(void *data)
{
    cut_hold *hold = data, **at = &hold->end->first;
    while (*at != hold) {
        at = &(*at)->next;
    }
    *at = hold->next;
    gate_cut_forget(hold->cut);
    return APR_SUCCESS;
}

static apr_status_t see_answer(ap_filter_t *f, apr_bucket_brigade *brigade)
{
    cut_hold *hold = f->ctx;

    ap_remove_output_filter(f);
    if (f->r->status != HTTP_SWITCHING_PROTOCOLS) {
        apr_pool_cleanup_run(hold->pool, hold, forget);
    }
    return ap_pass_brigade(f->next, brigade);
}

static void end_by(request_rec *r, gate_cut *cut)
{
    conn_rec *c = r->connection;
    cut_hold *hold = apr_palloc(r->pool, sizeof(*hold));
    ap_filter_t *filter = c->input_filters;

    while (filter && filter->frec != cut_filter) {
        filter = filter->next;
    }
    if (!filter) {
        filter = ap_add_input_filter_handle(cut_filter, apr_pcalloc(c->pool, sizeof(cut_end)), NULL, c);
    }
    hold->end = filter->ctx;
    hold->cut = cut;
    hold->pool = r->pool;
    hold->next = hold->end->first;
    hold->end->first = hold;
    apr_pool_cleanup_register(r->pool, hold, forget, apr_pool_cleanup_null);
    ap_add_output_filter_handle(answer_filter, hold, r, r->connection);
}

int shim_limit_upgrade(request_rec *r, const shim_state *state)
{
    const char *protocol = apr_table_get(r->headers_in, "Upgrade");
    conn_rec *connection = r->connection->master ? r->connection->master : r->connection;
    apr_os_sock_t fd = -1;
    sigset_t all, before;
    gate_request view;
    gate_cut *cut;
    int failed = 1;

    if (!protocol || r->main || !state->verdict.identity) {
        return 1;
    }
    apr_os_sock_get(&fd, ap_get_conn_socket(connection));
    shim_view(r, &view);
    sigfillset(&all); /* for the thread that may be started */
    pthread_sigmask(SIG_SETMASK, &all, &before);
    cut = gate_cut_at(shim_process, &view, state->verdict.identity, fd, &failed);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (cut) {
        end_by(r, cut);
    }
    return !failed;
}

void shim_register_cut(void)
{
    cut_filter = ap_register_input_filter("GATE_CUT", read_until, NULL, AP_FTYPE_CONNECTION);
    /* of the protocol: an internal redirect and an error's answer keep it */
    answer_filter = ap_register_output_filter("GATE_ANSWERED", see_answer, NULL, AP_FTYPE_PROTOCOL);
}
