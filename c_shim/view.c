/* view.c: what the library sees of a request: borrowed, nothing is decided or copied here. */
#include "shim.h"

const char *shim_id_of(request_rec *r)
{
    shim_state *state = shim_state_of(r);

    if (!state->id) {
        const char *unique = apr_table_get(r->subprocess_env, "UNIQUE_ID");
        state->id = unique ? unique : gate_request_id(SHIM_SERVER(r->server)->config, r->pool);
    }
    return state->id;
}

void shim_view(request_rec *r, gate_request *view)
{
    const apr_array_header_t *fields = apr_table_elts(r->headers_in);
    const shim_dir *dir = SHIM_DIR(r);
    const shim_question *question = shim_question_of(r);
    const shim_state *first = SHIM_STATE(shim_first_of(r));

    memset(view, 0, sizeof(*view));
    view->pool = r->pool;
    view->httpd = r;
    view->gated = shim_is_gated(r);
    view->document = shim_is_document(r);
    view->port_name = dir->port;
    view->server = SHIM_SERVER(r->server)->index;
    view->secure = !ap_cstr_casecmp(ap_http_scheme(r), "https");
    view->connect = r->method_number == M_CONNECT || r->proxyreq == PROXYREQ_PROXY;
    view->trace = r->method_number == M_TRACE;
    view->fields = (const gate_field *) fields->elts;
    view->field_count = (size_t) fields->nelts;
    view->port = shim_is_port(r);
    if (first && first->client && !question && !view->document) {
        fields = apr_table_elts(first->client);
        view->client = (const gate_field *) fields->elts;
        view->client_count = (size_t) fields->nelts;
    }
    view->method = r->method;
    view->uri = r->uri;
    view->args = r->args;
    view->unparsed_uri = r->unparsed_uri;
    view->the_request = r->the_request;
    view->filename = r->filename;
    view->handler = r->handler;
    view->peer = r->useragent_ip;
    view->client_ip = r->connection->client_ip;
    view->user = r->user;
    view->server_name = r->server->server_hostname;
    view->server_port = r->server->port ? r->server->port : r->connection->local_addr->port;
    view->slots = dir->slot;
    view->headers = dir->headers;
    if (question) {
        view->explain = 1;
        view->token = question->token;
    }
}
