/* explain.c: `SetHandler gate-explain`. A sub-request is looked up and never run: httpd goes its whole
 * way for it, and what the gate's hooks find is told (src/explain.rs).
 *
 *   POST /…?method=GET&path=/x&peer=192.0.2.1    with the token as the body
 *   POST /…?method=CONNECT&path=orders-db:5432   a port: neither its target nor the job API is asked
 */
#include "shim.h"
#include "apr_lib.h"
#include "apr_network_io.h"

#define LONGEST_TOKEN (32 * 1024)

/* A parameter's value, decoded; NULL: it is not there or can not be decoded. */
static const char *parameter(request_rec *r, const char *name)
{
    const char *rest = r->args ? r->args : "";
    while (*rest) {
        char *pair = ap_getword(r->pool, &rest, '&');
        char *value = strchr(pair, '=');
        if (value) {
            *value++ = '\0';
            if (!strcmp(pair, name)) {
                return ap_unescape_urlencoded(value) == OK ? value : NULL;
            }
        }
    }
    return NULL;
}

/* The token, NULL where none was sent; or why it can't be read. */
static int body(request_rec *r, const char **token)
{
    char *text = apr_palloc(r->pool, LONGEST_TOKEN + 2);
    long length = 0, got = 0;
    int status = ap_setup_client_block(r, REQUEST_CHUNKED_DECHUNK);

    *token = NULL;
    if (status != OK || !ap_should_client_block(r)) {
        return status;
    }
    while (length <= LONGEST_TOKEN
           && (got = ap_get_client_block(r, text + length, (apr_size_t) (LONGEST_TOKEN + 1 - length))) > 0) {
        length += got;
    }
    if (got < 0) {
        return HTTP_BAD_REQUEST;
    }
    if (length > LONGEST_TOKEN) {
        return HTTP_REQUEST_ENTITY_TOO_LARGE;
    }
    while (length && apr_isspace(text[length - 1])) {
        length--;
    }
    text[length] = '\0';
    *token = length ? text : NULL;
    return OK;
}

/* The question's own address in the place of the client's, for `Require ip`. */
static int pretend(request_rec *r, const char *peer)
{
    apr_sockaddr_t *address;
    apr_ipsubnet_t *one;
    if (apr_ipsubnet_create(&one, peer, NULL, r->pool) != APR_SUCCESS
        || apr_sockaddr_info_get(&address, peer, APR_UNSPEC, 0, 0, r->pool) != APR_SUCCESS) {
        return 0;
    }
    r->useragent_addr = address;
    r->useragent_ip = apr_pstrdup(r->pool, peer);
    return 1;
}

/* What is decided about a port behind the hooks, when it is opened. */
static void explain_port(request_rec *sub, gate_explained *found)
{
    shim_state *state = shim_state_of(sub);
    gate_request view;

    shim_view(sub, &view);
    found->port = gate_explain_port(shim_process, &view, &state->verdict);
    found->status = !found->port ? HTTP_INTERNAL_SERVER_ERROR : shim_carry_out(sub);
    found->status = found->status ? found->status : HTTP_OK;
}

/* The question's sub-request is to be seen as the request that it asks about: with nothing in its environment that
 * was found out about the question, and with what mod_setenvif finds out about it, which is not asked of
 * sub-requests. First as when a request has been read (server-wide). */
int shim_explain_begin(request_rec *r)
{
    const shim_question *question = shim_question_of(r);
    const char *id;
    int status;

    if (!question) {
        return DECLINED;
    }
    id = apr_table_get(r->subprocess_env, "UNIQUE_ID");
    r->subprocess_env = apr_table_make(r->pool, 8);
    if (id) {
        apr_table_setn(r->subprocess_env, "UNIQUE_ID", id);
    }
    r->protocol = (char *) "HTTP/1.1";
    r->proto_num = HTTP_VERSION(1, 1);
    r->header_only = !strcmp(r->method, "HEAD");
    r->the_request = apr_psprintf(r->pool, "%s %s HTTP/1.1", r->method, question->port ? question->port : r->unparsed_uri);
    status = ap_run_header_parser(r);
    return status == OK ? DECLINED : status;
}

/* Then with the place's own. */
int shim_explain_place(request_rec *r)
{
    return shim_question_of(r) ? ap_run_header_parser(r) : DECLINED;
}

/* As its administrator wrote it. */
static const char *server_of(request_rec *r)
{
    const server_rec *server = r->server;
    int port = r->connection->local_addr->port;

    return server->is_virtual && server->defn_name
        ? apr_psprintf(r->pool, "%s at %d (%s line %u)", server->server_hostname, port, server->defn_name, server->defn_line_number)
        : apr_psprintf(r->pool, "the main server at %d", port);
}

/* What would become of that request on the server of `r`; pool. NULL, and the status of the answer to `r`. */
const char *shim_explained(request_rec *r, const char *method, const char *path, const char *peer, const char *token,
                           int *status)
{
    int port = !strcmp(method, "CONNECT");
    apr_sockaddr_t *address = r->useragent_addr;
    char *ip = r->useragent_ip;
    shim_question question = {.token = token, .port = port ? path : NULL};
    shim_state *state = shim_state_of(r), *seen;
    gate_explained found = {0};
    const char *text;
    request_rec *sub;

    *status = HTTP_BAD_REQUEST;
    if (!path || (*path == '/') == port || !shim_process || (peer && !pretend(r, peer))) {
        return NULL;
    }
    question.rules = apr_array_make(r->pool, 4, sizeof(gate_pair));
    state->question = &question;
    /* a CONNECT has the path / in httpd; the target goes by the question */
    sub = ap_sub_req_method_uri(method, port ? "/" : path, r, NULL);
    found.status = sub->status;
    if (sub->status == HTTP_OK && shim_is_port(sub)) {
        explain_port(sub, &found);
    }
    else if (sub->status == HTTP_OK && shim_handler_refuses(sub)) {
        found.status = shim_state_of(sub)->verdict.status;
    }
    else if (sub->status == HTTP_OK && shim_to_upstream(sub)) {
        found.status = shim_state_of(sub)->verdict.status;
    }
    seen = SHIM_STATE(sub);
    found.server = server_of(r);
    found.method = sub->method;
    found.path = path;
    found.peer = r->useragent_ip;
    found.place = SHIM_DIR(sub)->section;
    found.handler = sub->handler;
    found.forward = sub->filename && !strncmp(sub->filename, "proxy:", 6) ? sub->filename + 6 : NULL;
    found.gated = ap_auth_type(sub) && !ap_cstr_casecmp(ap_auth_type(sub), GATE_AUTH_TYPE);
    found.checks = question.checks;
    if (seen) {
        found.verdict = &seen->verdict;
    }
    found.rules = (const gate_pair *) question.rules->elts;
    found.rule_count = (size_t) question.rules->nelts;
    text = gate_explain(&found, r->pool);
    ap_destroy_sub_req(sub);
    state->question = NULL;
    r->useragent_addr = address;
    r->useragent_ip = ip;
    *status = HTTP_INTERNAL_SERVER_ERROR;
    return text;
}

int shim_explain(request_rec *r)
{
    const char *method, *token, *text;
    int status;

    if (r->method_number != M_GET && r->method_number != M_POST) {
        ap_allow_standard_methods(r, REPLACE_ALLOW, M_GET, M_POST, -1);
        return HTTP_METHOD_NOT_ALLOWED;
    }
    if ((status = body(r, &token)) != OK) {
        return status;
    }
    method = parameter(r, "method");
    text = shim_explained(r, method && *method ? method : "GET", parameter(r, "path"), parameter(r, "peer"), token, &status);
    if (!text) {
        return status;
    }
    ap_set_content_type(r, "application/json");
    apr_table_setn(r->headers_out, "Cache-Control", "no-store");
    ap_set_content_length(r, (apr_off_t) strlen(text));
    ap_rputs(text, r);
    return OK;
}
