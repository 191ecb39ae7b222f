/* port.c: <GatePort NAME:PORT>, a section that is chosen by the target of a CONNECT: how it is read,
 * and how a request comes into it. The tunnel itself is tunnel.c. */
#include "shim.h"

static const shim_port *own_port(const shim_server *server, const char *name)
{
    int i;
    for (i = 0; i < server->ports->nelts; i++) {
        const shim_port *port = &APR_ARRAY_IDX(server->ports, i, shim_port);
        if (!strcmp(port->name, name)) {
            return port;
        }
    }
    return NULL;
}

/* A section within, which httpd would look for along a file's path or an expression's: neither is for a CONNECT. */
static const ap_directive_t *without_effect(const ap_directive_t *line)
{
    static const char *const sections[] = {"<If", "<ElseIf", "<Else", "<Files", "<FilesMatch"};
    const ap_directive_t *found;
    size_t i;

    for (; line; line = line->next) {
        for (i = 0; i < sizeof(sections) / sizeof(sections[0]); i++) {
            if (!strcasecmp(line->directive, sections[i])) {
                return line;
            }
        }
        if ((found = without_effect(line->first_child))) {
            return found;
        }
    }
    return NULL;
}

/* As core's <Location>, but kept by the server under its name. */
const char *shim_port_section(cmd_parms *cmd, void *dir_config, const char *line)
{
    shim_server *server = SHIM_SERVER(cmd->server);
    const char *end = ap_strrchr_c(line, '>');
    const ap_directive_t *idle;
    ap_conf_vector_t *config;
    core_dir_config *core;
    shim_port *port;
    shim_dir *dir;
    const char *name, *wrong;
    char *old_path = cmd->path;
    int old_override = cmd->override;

    (void) dir_config;
    if ((wrong = shim_no_place(cmd)) || (wrong = ap_check_cmd_context(cmd, NOT_IN_DIR_LOC_FILE))) {
        return wrong;
    }
    if (!end) {
        return "<GatePort> directive missing closing '>'";
    }
    line = apr_pstrmemdup(cmd->temp_pool, line, end - line);
    name = ap_getword_conf(cmd->pool, &line);
    name = *line ? NULL : gate_port_name(server->config, name, cmd->pool);
    if (!name) {
        return "<GatePort> takes one NAME:PORT, as in <GatePort orders-db:5432>";
    }
    if (own_port(server, name)) {
        return apr_psprintf(cmd->pool, "<GatePort %s> stands twice in this server", name);
    }
    if ((idle = without_effect(cmd->directive->first_child))) {
        cmd->err_directive = idle;
        return apr_psprintf(cmd->pool, "%s> has no effect in <GatePort>: write Require expr", idle->directive);
    }
    config = ap_create_per_dir_config(cmd->pool);
    cmd->path = apr_pstrdup(cmd->pool, name);
    cmd->override = OR_ALL | ACCESS_CONF;
    core = ap_set_config_vectors(cmd->server, config, cmd->path, &core_module, cmd->pool);
    wrong = ap_walk_config(cmd->directive->first_child, cmd, config);
    cmd->path = old_path;
    cmd->override = old_override;
    if (wrong) {
        return wrong;
    }
    core->d = apr_pstrdup(cmd->pool, name);
    dir = ap_set_config_vectors(cmd->server, config, name, &gitlab_gate_module, cmd->pool);
    dir->port = name;
    port = apr_array_push(server->ports);
    port->name = name;
    port->config = config;
    server->whole->ports = 1;
    return NULL;
}

/* A CONNECT names no file and no proxied place: other modules need not look for one. */
int shim_port_translate(request_rec *r)
{
    if (!shim_is_port(r)) {
        return DECLINED;
    }
    if (shim_question_of(r)) {
        r->status = HTTP_OK; /* the path that it was looked up with is no target of a CONNECT */
    }
    r->filename = apr_pstrdup(r->pool, "gate:port");
    return OK;
}

int shim_port_storage(request_rec *r)
{
    return shim_is_port(r) ? OK : DECLINED;
}

int shim_port_place(request_rec *r)
{
    const shim_server *server = SHIM_SERVER(r->server);
    const shim_port *port = NULL;
    const shim_question *question = shim_question_of(r);
    const char *name;

    if (!shim_is_port(r)) {
        return DECLINED;
    }
    if (r->connection->master && !question) {
        return shim_refuse(r, GATE_FACT_CONNECT_H2);
    }
    if (!server->ports->nelts && !(server->inherited && server->inherited->ports->nelts)) {
        ap_allow_standard_methods(r, REPLACE_ALLOW, M_GET, M_POST, -1);
        return shim_refuse(r, GATE_FACT_NO_PORTS);
    }
    name = gate_port_name(server->config, question ? question->port : r->unparsed_uri, r->pool);
    if (name) {
        port = own_port(server, name);
        if (!port && server->inherited) {
            port = own_port(server->inherited, name);
        }
    }
    r->handler = "gate-port"; /* no other module is to look for an index or a fallback */
    if (port) {
        r->per_dir_config = ap_merge_per_dir_configs(r->pool, r->per_dir_config, port->config);
    }
    return DECLINED;
}
