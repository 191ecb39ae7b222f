/*
 * tunnel.c: the bytes of a port, between the client's filters (so that TLS works) and a socket.
 *
 * Nothing here waits for a peer: what can't be written now is kept, at most one chunk a direction,
 * and that direction is not read until it is gone. How long the port may be open is asked of the
 * library in each round (src/port.rs).
 */
#include "shim.h"
#include "http_connection.h"
#include "http_ssl.h"
#include "util_filter.h"
#include "apr_portable.h"
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <sys/socket.h>
#include <unistd.h>

#define CHUNK 32768
/* After the decision: for what was on its way already, then for the peers' own close. */
#define DRAIN_MS 700
#define LINGER_MS 300

typedef struct tunnel {
    request_rec *r;
    conn_rec *c;
    apr_socket_t *conn;   /* the connection's own socket, which httpd's stop closes under us */
    apr_socket_t *client; /* a duplicate, which nobody else closes */
    int fd;               /* its descriptor */
    int target;
    gate_port *port;
    apr_bucket_brigade *in, *out;
    char *up, *down; /* a chunk from the client, and one from the target */
    apr_size_t up_from, up_to;
    apr_size_t down_most;
    uint64_t sent, received; /* to the target, and from it */
    unsigned client_ready : 1, target_ready : 1;
    unsigned client_eof : 1, target_eof : 1;
    unsigned client_shut : 1, target_shut : 1;
    unsigned tls : 1, told_end : 1; /* the client's connection is TLS; it was told of the orderly end */
    unsigned client_gone : 1, target_gone : 1; /* reset: no half-close, nothing comes and nothing arrives */
    apr_time_t looked; /* shim_server_stops's */
} tunnel;

/* When httpd stops at once, it closes the sockets of its workers from another thread. What is
 * awaited and written here goes by a duplicate, so that nothing is lost that was counted, and no
 * number is used that is another's by then. 0: there is none to be had. */
static int own_socket(tunnel *t)
{
    apr_os_sock_t fd = -1;

    if (apr_os_sock_get(&fd, t->conn) != APR_SUCCESS || (t->fd = fcntl(fd, F_DUPFD_CLOEXEC, 0)) < 0) {
        return 0;
    }
    return apr_os_sock_put(&t->client, &t->fd, t->r->pool) == APR_SUCCESS
        && apr_socket_timeout_set(t->client, apr_time_from_sec(1)) == APR_SUCCESS; /* for the few calls that wait */
}

/* httpd's last output filter writes to this socket from now on. */
static void write_to(tunnel *t, apr_socket_t *socket)
{
    ap_filter_t *last = t->c->output_filters;
    while (last->next) {
        last = last->next;
    }
    if (last->frec == ap_core_output_filter_handle) {
        ((core_net_rec *) last->ctx)->client_socket = socket;
    }
}

static int closed_by_httpd(tunnel *t)
{
    apr_os_sock_t fd = -1;
    return apr_os_sock_get(&fd, t->conn) != APR_SUCCESS || fd < 0;
}

/* What the output filters keep back goes on, as far as the client takes it now. 0: it failed. */
static int push(tunnel *t)
{
    ap_filter_t *last = t->c->output_filters;
    while (last->next) {
        last = last->next;
    }
    return last->frec->filter_func.out_func(last, NULL) == APR_SUCCESS && !t->c->aborted;
}

/* One chunk from the client, if there is one. 1: something came. */
static int read_client(tunnel *t)
{
    apr_size_t length = CHUNK;
    apr_status_t status = ap_get_brigade(t->c->input_filters, t->in, AP_MODE_READBYTES, APR_NONBLOCK_READ, CHUNK);

    if (status == APR_SUCCESS && !APR_BRIGADE_EMPTY(t->in)) {
        status = apr_brigade_flatten(t->in, t->up, &length);
    }
    else {
        length = 0;
    }
    if (status == APR_SUCCESS && length == 0 && !APR_BRIGADE_EMPTY(t->in)
        && APR_BUCKET_IS_EOS(APR_BRIGADE_LAST(t->in))) {
        status = APR_EOF;
    }
    apr_brigade_cleanup(t->in);
    if (status == APR_SUCCESS && length) {
        t->up_from = 0;
        t->up_to = length;
        return 1;
    }
    t->client_ready = 0;
    if (APR_STATUS_IS_EOF(status)) {
        t->client_eof = 1;
    }
    else if (status != APR_SUCCESS && !APR_STATUS_IS_EAGAIN(status) && !APR_STATUS_IS_EINTR(status)) {
        t->client_gone = 1;
    }
    return 0;
}

/* The client's chunk goes to the target. -1: the target is gone. */
static int write_target(tunnel *t)
{
    ssize_t done = send(t->target, t->up + t->up_from, t->up_to - t->up_from, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (done < 0) {
        return errno == EAGAIN || errno == EINTR ? 0 : -1;
    }
    t->up_from += (apr_size_t) done;
    t->sent += (uint64_t) done;
    return 1;
}

/* One chunk from the target to the client's filters. -1: the client is gone. */
static int from_target(tunnel *t)
{
    ssize_t got = recv(t->target, t->down, t->down_most, MSG_DONTWAIT);
    if (got < 0 && (errno == EAGAIN || errno == EINTR)) {
        t->target_ready = 0;
        return 0;
    }
    if (got <= 0) {
        t->target_ready = 0;
        t->target_eof = got == 0;
        t->target_gone = got < 0;
        return got == 0;
    }
    APR_BRIGADE_INSERT_TAIL(t->out, apr_bucket_transient_create(t->down, (apr_size_t) got, t->c->bucket_alloc));
    if (ap_pass_brigade(t->c->output_filters, t->out) != APR_SUCCESS || t->c->aborted) {
        apr_brigade_cleanup(t->out);
        return -1;
    }
    apr_brigade_cleanup(t->out);
    t->received += (uint64_t) got;
    return 1;
}

/* Well under FlushMaxThreshold, above which httpd's output filter would wait, and then drop the client. */
static apr_size_t down_most(conn_rec *c)
{
    const core_server_config *core = ap_get_core_module_config(c->base_server->module_config);
    apr_size_t half = core->flush_max_threshold / 2;
    return half >= CHUNK ? CHUNK : half ? half : 1;
}

/* Waits for what the tunnel waits for, `wait` ms at most. */
static void wait_for(tunnel *t, int wait)
{
    struct pollfd fds[2] = {{.fd = t->fd}, {.fd = t->target}};

    if (t->up_from == t->up_to && !t->client_eof && !t->client_ready) {
        fds[0].events |= POLLIN;
    }
    if (t->c->data_in_output_filters) {
        fds[0].events |= POLLOUT;
    }
    else if (!t->target_eof && !t->target_ready) {
        fds[1].events |= POLLIN;
    }
    if (t->up_from < t->up_to) {
        fds[1].events |= POLLOUT;
    }
    /* a descriptor that nothing is asked of would report its hang-up for ever; the client's, while our half
     * of it is open, means a reset */
    if (!fds[0].events && t->client_shut) {
        fds[0].fd = -1;
    }
    if (!fds[1].events) {
        fds[1].fd = -1;
    }
    if (poll(fds, 2, wait) > 0) {
        t->client_ready |= (fds[0].events & POLLIN) && fds[0].revents;
        t->target_ready |= (fds[1].events & POLLIN) && fds[1].revents;
        t->client_gone |= !fds[0].events && (fds[0].revents & (POLLHUP | POLLERR));
    }
}

/* The target has said all. Over TLS that is said within TLS, by mod_ssl, or a client could not tell it from a cut.
 * It ends TLS both ways (as RFC 5246 would have it): what the client sends from now on can't be read. */
static void tell_end(tunnel *t)
{
    t->told_end = 1;
    t->client_eof = 1;
    APR_BRIGADE_INSERT_TAIL(t->out, ap_bucket_eoc_create(t->c->bucket_alloc));
    ap_pass_brigade(t->c->output_filters, t->out);
    apr_brigade_cleanup(t->out);
}

/* Until one end is done or the library says so; the reason. */
static const char *run(tunnel *t)
{
    const char *first = NULL; /* who closed first */

    for (;;) {
        int moved = 0, wait = 0, done;
        const char *reason;

        if (t->up_from == t->up_to && !t->client_eof && t->client_ready) {
            moved |= read_client(t);
            if (t->client_eof && closed_by_httpd(t)) {
                return "stopping";
            }
            if (t->client_eof && !first) {
                first = "client";
            }
        }
        if (t->client_gone) {
            return closed_by_httpd(t) ? "stopping" : first ? first : "client";
        }
        if (t->up_from < t->up_to) {
            if ((done = write_target(t)) < 0) {
                return "target";
            }
            moved |= done;
        }
        if (t->client_eof && t->up_from == t->up_to && !t->target_shut) {
            shutdown(t->target, SHUT_WR);
            t->target_shut = 1;
        }
        if (t->c->data_in_output_filters && !push(t)) {
            return "client";
        }
        if (!t->c->data_in_output_filters && !t->target_eof && t->target_ready) {
            if ((done = from_target(t)) < 0 || (t->c->data_in_output_filters && !push(t))) {
                return "client";
            }
            moved |= done;
            if (t->target_gone) {
                return first ? first : "target";
            }
            if (t->target_eof && !first) {
                first = "target";
            }
        }
        if (t->target_eof && !t->c->data_in_output_filters && t->tls && !t->told_end) {
            tell_end(t);
            moved = 1;
        }
        else if (t->target_eof && !t->c->data_in_output_filters && !t->client_shut) {
            apr_socket_shutdown(t->client, APR_SHUTDOWN_WRITE);
            t->client_shut = 1;
        }
        if (t->target_shut && t->client_shut) {
            return first;
        }
        reason = gate_port_check(t->port, t->sent + t->received, shim_server_stops(&t->looked), &wait);
        if (reason) {
            return reason;
        }
        if (!moved) {
            wait_for(t, wait);
        }
    }
}

/* Both sockets are done with, soon: first what is on its way, if the peers take it. */
static void finish(tunnel *t)
{
    apr_time_t end = shim_ticks() + apr_time_from_msec(DRAIN_MS);
    int up_lost = 0, down_lost = 0;

    while (shim_ticks() < end) {
        struct pollfd fds[2] = {{.fd = -1}, {.fd = -1}};
        if (t->up_from < t->up_to && !up_lost && write_target(t) < 0) {
            up_lost = 1;
        }
        if (t->c->data_in_output_filters && !down_lost && !push(t)) {
            down_lost = 1;
        }
        if (t->up_from < t->up_to && !up_lost) {
            fds[1].fd = t->target;
            fds[1].events = POLLOUT;
        }
        if (t->c->data_in_output_filters && !down_lost) {
            fds[0].fd = t->fd;
            fds[0].events = POLLOUT;
        }
        if (fds[0].fd < 0 && fds[1].fd < 0) {
            break;
        }
        poll(fds, 2, 50);
    }
    shutdown(t->target, SHUT_WR);
    apr_socket_shutdown(t->client, APR_SHUTDOWN_WRITE);
    t->client_eof &= !t->told_end; /* its own end has not been seen yet */
    /* A close over unread bytes would take back what was sent: they are read away, for a moment. */
    end = shim_ticks() + apr_time_from_msec(LINGER_MS);
    while (shim_ticks() < end && !(t->client_eof && t->target_eof)) {
        struct pollfd fds[2] = {{.fd = t->client_eof ? -1 : t->fd, .events = POLLIN},
                                {.fd = t->target_eof ? -1 : t->target, .events = POLLIN}};
        int i;
        if (fds[0].fd < 0 && fds[1].fd < 0) {
            break;
        }
        poll(fds, 2, 50);
        for (i = 0; i < 2; i++) {
            ssize_t got = fds[i].fd >= 0 && fds[i].revents ? recv(fds[i].fd, t->down, CHUNK, MSG_DONTWAIT) : 1;
            if (got == 0 || (got < 0 && errno != EAGAIN && errno != EINTR)) {
                if (i) {
                    t->target_eof = 1;
                }
                else {
                    t->client_eof = 1;
                }
            }
        }
    }
    apr_socket_shutdown(t->client, APR_SHUTDOWN_READWRITE);
    /* httpd closes the socket when the handler has returned, at once and without a word more. */
    t->c->aborted = 1;
}

/* Whether the client has sent something after its request, before it was told that it may. */
static int early_bytes(tunnel *t)
{
    apr_status_t status = ap_get_brigade(t->c->input_filters, t->in, AP_MODE_SPECULATIVE, APR_NONBLOCK_READ, 1);
    int early = status == APR_SUCCESS && !APR_BRIGADE_EMPTY(t->in) && !APR_BUCKET_IS_METADATA(APR_BRIGADE_FIRST(t->in));
    apr_brigade_cleanup(t->in);
    return early;
}

static int refuse_early(tunnel *t)
{
    t->c->keepalive = AP_CONN_CLOSE; /* what came is no request */
    return shim_refuse(t->r, GATE_FACT_EARLY_BYTES);
}

/* The library's port is given back, and told of. */
static void give_back(tunnel *t, const char *reason)
{
    const char *line = gate_port_close(t->port, reason, t->sent, t->received, t->r->pool);
    ap_log_rerror(APLOG_MARK, APLOG_NOTICE, 0, t->r, "%s", line);
}

/* From here on there are only bytes: the request's own filters and timeouts step aside. */
static void leave_http(tunnel *t)
{
    request_rec *r = t->r;
    conn_rec *c = t->c;

    ap_remove_input_filter_byhandle(c->input_filters, "reqtimeout");
    ap_remove_output_filter_byhandle(c->output_filters, "SSL/TLS Coalescing Filter");
    r->input_filters = r->proto_input_filters = c->input_filters;
    r->output_filters = r->proto_output_filters = c->output_filters;
    c->keepalive = AP_CONN_CLOSE;
    apr_socket_timeout_set(t->conn, apr_time_from_sec(1));
    write_to(t, t->client);
}

static void say_open(tunnel *t, const char *expires)
{
    t->r->status = HTTP_OK;
    t->r->status_line = "200 Connection Established";
    ap_fprintf(t->c->output_filters, t->out,
               "HTTP/1.1 200 Connection Established" CRLF "Gate-Expires: %s" CRLF "X-Gate-Request: %s" CRLF CRLF,
               expires, shim_id_of(t->r));
    ap_fflush(t->c->output_filters, t->out);
    apr_brigade_cleanup(t->out);
}

static int tunnel_with(tunnel *t, const gate_opening *opening)
{
    request_rec *r = t->r;
    const char *reason;

    t->port = opening->port;
    t->target = opening->target;
    if (!own_socket(t)) {
        give_back(t, "client");
        return shim_refuse(r, GATE_FACT_NO_DESCRIPTOR);
    }
    t->out = apr_brigade_create(r->pool, t->c->bucket_alloc);
    t->up = apr_palloc(r->pool, CHUNK);
    t->down = apr_palloc(r->pool, CHUNK);
    t->down_most = down_most(t->c);
    t->tls = ap_ssl_conn_is_ssl(t->c) != 0;
    t->client_ready = t->target_ready = 1;
    ap_log_rerror(APLOG_MARK, APLOG_NOTICE, 0, r, "%s", opening->line);

    if (early_bytes(t)) { /* last: nothing that takes time stands between this look and the 200 */
        give_back(t, "client");
        close(t->fd);
        return refuse_early(t);
    }
    leave_http(t);
    say_open(t, opening->expires);
    reason = t->c->aborted ? "client" : run(t);
    finish(t);
    give_back(t, reason);
    r->bytes_sent = (apr_off_t) t->received;
    write_to(t, t->conn);
    close(t->fd);
    return OK;
}

static int has_body(request_rec *r)
{
    const char *length = apr_table_get(r->headers_in, "Content-Length");
    return apr_table_get(r->headers_in, "Transfer-Encoding") || (length && strcmp(length, "0"));
}

int shim_tunnel(request_rec *r)
{
    tunnel t = {.r = r, .c = r->connection};
    sigset_t all, before;
    gate_opening opening;
    gate_request view;
    shim_state *state;
    int status;

    if (!shim_is_port(r)) {
        return DECLINED;
    }
    state = shim_state_of(r);
    if (state->verdict.status) {
        return state->verdict.status;
    }
    t.conn = ap_get_conn_socket(r->connection);
    t.in = apr_brigade_create(r->pool, r->connection->bucket_alloc);
    if (has_body(r) || early_bytes(&t)) {
        return refuse_early(&t);
    }
    shim_view(r, &view);

    /* The threads that the library may start see no signals; a stop of prefork's is seen by
     * server_stops, and carried out when the port is closed. */
    sigfillset(&all);
    sigdelset(&all, SIGSEGV);
    sigdelset(&all, SIGBUS);
    sigdelset(&all, SIGFPE);
    sigdelset(&all, SIGILL);
    sigdelset(&all, SIGABRT);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    gate_port_open(shim_process, &view, &opening, &state->verdict);
    state->audited = opening.port != NULL;
    status = opening.port
        ? tunnel_with(&t, &opening)
        : shim_carry_out(r);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return status;
}
