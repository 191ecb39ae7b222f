/*
 * explain_offline.c: `httpd -t -D GATE_EXPLAIN`, as gatectl explain runs it. httpd has read its configuration, and
 * listens nowhere. A request is made up here, and the question about it is answered as by SetHandler gate-explain
 * (explain.c).
 *
 *   GATE_EXPLAIN_METHOD, _PATH, _PEER   the request
 *   GATE_EXPLAIN_PORT, _HOST            where it comes in: [ADDRESS:]PORT, and its Host header
 *   GATE_EXPLAIN_DIR                    a directory for the state and the audit log of this one answer
 *   stdin                               the token
 *   stdout                              the answer, JSON; nothing where stderr says why
 */
#include "shim.h"
#include "ap_listen.h"
#include "http_vhost.h"
#include "mpm_common.h"
#include "unixd.h"
#include "apr_portable.h"

#define LONGEST_TOKEN (32 * 1024)

static const char *given(const char *name)
{
    const char *value = getenv(name);
    return value && *value ? value : NULL;
}

static const char *read_token(apr_pool_t *pool)
{
    char *text = apr_pcalloc(pool, LONGEST_TOKEN + 2);
    size_t length = fread(text, 1, LONGEST_TOKEN + 1, stdin);

    return length > LONGEST_TOKEN ? NULL : text;
}

/* Whether some server is asked for at this port. */
static int is_known(server_rec *server, int port)
{
    const server_addr_rec *at;
    const ap_listen_rec *listener;

    for (listener = ap_listeners; listener; listener = listener->next) {
        if (listener->bind_addr && listener->bind_addr->port == port) {
            return 1;
        }
    }
    for (; server; server = server->next) {
        for (at = server->is_virtual ? server->addrs : NULL; at; at = at->next) {
            if (at->host_port == port) {
                return 1;
            }
        }
    }
    return 0;
}

/* The port if none is named: https, else the first virtual host's, else the first that is listened to. */
static int usual_port(server_rec *server)
{
    if (is_known(server, 443)) {
        return 443;
    }
    for (; server; server = server->next) {
        if (server->is_virtual && server->addrs && server->addrs->host_port) {
            return server->addrs->host_port;
        }
    }
    return ap_listeners && ap_listeners->bind_addr ? ap_listeners->bind_addr->port : 80;
}

static int add_name(void *names, conn_rec *c, server_rec *server)
{
    (void) c;
    if (!*(char *) names) {
        apr_cpystrn(names, server->server_hostname, HUGE_STRING_LEN);
    }
    else if (strcasecmp(names, server->server_hostname) && !strstr(names, apr_psprintf(c->pool, ", %s", server->server_hostname))) {
        apr_snprintf((char *) names + strlen(names), HUGE_STRING_LEN - strlen(names), ", %s", server->server_hostname);
    }
    return 0;
}

/* A request that nobody sent, on the server that httpd would choose; NULL, and why not. */
static request_rec *made_up(apr_pool_t *pool, server_rec *server, const char **wrong)
{
    const char *named = given("GATE_EXPLAIN_PORT"), *host = given("GATE_EXPLAIN_HOST");
    char names[HUGE_STRING_LEN] = "", *address = NULL, *scope;
    apr_port_t port = 0;
    conn_rec *c = apr_pcalloc(pool, sizeof(*c));
    request_rec *r;

    if (named && (apr_parse_addr_port(&address, &scope, &port, named, pool) != APR_SUCCESS || !is_known(server, port))) {
        *wrong = apr_psprintf(pool, "--port %s: no virtual host and no Listen has this port", named);
        return NULL;
    }
    port = port ? port : (apr_port_t) usual_port(server);
    if (apr_sockaddr_info_get(&c->local_addr, address ? address : "127.0.0.1", APR_UNSPEC, port, 0, pool) != APR_SUCCESS
        || apr_sockaddr_info_get(&c->client_addr, "127.0.0.1", APR_UNSPEC, 0, 0, pool) != APR_SUCCESS) {
        *wrong = apr_psprintf(pool, "--port %s: that is no address", named);
        return NULL;
    }
    c->pool = pool;
    c->base_server = server;
    c->client_ip = (char *) "127.0.0.1";
    c->conn_config = ap_create_conn_config(pool);
    c->notes = apr_table_make(pool, 1);
    c->bucket_alloc = apr_bucket_alloc_create(pool);
    c->keepalive = AP_CONN_CLOSE;
    ap_update_vhost_given_ip(c);
    ap_vhost_iterate_given_conn(c, add_name, names);
    if (!host && strchr(names, ',')) {
        *wrong = apr_psprintf(pool, "several virtual hosts answer at port %d: name one by --host: %s", port, names);
        return NULL;
    }
    r = ap_create_request(c);
    r->server = c->base_server;
    r->hostname = host ? host : r->server->server_hostname;
    if (r->hostname) {
        apr_table_setn(r->headers_in, "Host", r->hostname);
    }
    r->protocol = (char *) "HTTP/1.1";
    r->proto_num = HTTP_VERSION(1, 1);
    r->method = "GET";
    r->method_number = M_GET;
    r->uri = r->unparsed_uri = (char *) "/";
    r->the_request = (char *) "GET / HTTP/1.1";
    r->request_time = apr_time_now();
    r->status = HTTP_OK;
    ap_update_vhost_from_headers(r);
    if (r->status != HTTP_OK) {
        *wrong = "--host is no host name";
        return NULL;
    }
    /* httpd skips the hooks of a sub-request that has the configuration of its main request */
    r->per_dir_config = ap_merge_per_dir_configs(r->pool, r->server->lookup_defaults, ap_create_per_dir_config(r->pool));
    return r;
}

/* httpd prepares these for requests in post_config, which `httpd -t` does not reach. They make nothing outside of this
 * process; other modules would write files, start daemons or tell systemd. */
static int prepare_modules(apr_pool_t *pconf, server_rec *server)
{
    static const char *const harmless[] = {"core.c", "mod_mime.c", "mod_headers.c", "mod_rewrite.c", "mod_remoteip.c", NULL};
    const apr_array_header_t *hooks = ap_hook_get_post_config();
    const ap_LINK_post_config_t *hook = (const ap_LINK_post_config_t *) hooks->elts;
    int i, status = OK;

    for (i = 0; i < hooks->nelts; i++) {
        const char *slash = strrchr(hook[i].szName, '/'), *name = slash ? slash + 1 : hook[i].szName;
        const char *const *at = harmless;
        while (*at && strcmp(*at, name)) {
            at++;
        }
        if (*at && (status = hook[i].pFunc(pconf, pconf, pconf, server)) != OK && status != DECLINED) {
            return 0;
        }
    }
    return 1;
}

/* A state directory and an audit log for this answer alone, and then all that a child has. */
static int start(apr_pool_t *pconf, server_rec *server)
{
    gate_config *config = SHIM_SERVER(server)->config;
    const char *dir = given("GATE_EXPLAIN_DIR"), *log;
    apr_file_t *file;
    int fd;

    if (!dir || gate_state_dir(config, apr_pstrcat(pconf, dir, "/state", NULL), ap_unixd_config.user_id, ap_unixd_config.group_id, 1) != 0) {
        return 0;
    }
    if (gate_config_audit_log(config)) {
        log = apr_pstrcat(pconf, dir, "/audit.log", NULL);
        if (apr_file_open(&file, log, APR_WRITE | APR_READ | APR_APPEND | APR_CREATE, APR_FPROT_UREAD | APR_FPROT_UWRITE, pconf) != APR_SUCCESS
            || apr_os_file_get(&fd, file) != APR_SUCCESS || gate_audit_open(config, fd, log) != 0) {
            return 0;
        }
    }
    gate_ports_prepare();
    if (!prepare_modules(pconf, server) || ap_run_drop_privileges(pconf, server) > 0) { /* as a child */
        return 0;
    }
    shim_child_init(pconf, server);
    return shim_process != NULL;
}

void shim_test_config(apr_pool_t *pconf, server_rec *server)
{
    const char *method = given("GATE_EXPLAIN_METHOD"), *wrong = NULL, *token, *text;
    request_rec *r;
    int status;

    if (!ap_exists_config_define("GATE_EXPLAIN")) {
        return;
    }
    token = read_token(pconf);
    if (!token) {
        wrong = "the token is longer than 32 kB";
    }
    else if ((r = made_up(pconf, server, &wrong))) {
        if (!start(pconf, server)) {
            wrong = "the gate could not start for this answer";
        }
        else if (!(text = shim_explained(r, method ? method : "GET", given("GATE_EXPLAIN_PATH"), given("GATE_EXPLAIN_PEER"),
                                         *token ? token : NULL, &status))) {
            wrong = status == HTTP_BAD_REQUEST ? "--path or --peer is not understood" : "the gate failed";
        }
        else {
            fputs(text, stdout);
        }
    }
    if (wrong) {
        fprintf(stderr, "gatectl explain: %s\n", wrong);
    }
}
