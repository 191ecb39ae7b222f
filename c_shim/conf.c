/*
 * conf.c: the command table, and what httpd keeps of a server and of a section. Directives are
 * split into words here and understood in Rust (src/directive.rs).
 */
#include "shim.h"

/* What the library needs of httpd. */
static void *alloc(void *pool, size_t size)
{
    return apr_palloc(pool, size);
}

static void log_line(int level, const char *text)
{
    ap_log_error(APLOG_MARK, level, 0, shim_log_server, "%s", text);
}

static const char *realm(void *httpd)
{
    return ap_auth_name(httpd);
}

static const char *id(void *httpd)
{
    return shim_id_of(httpd);
}

/* The configuration being read, or in force: made with the main server, freed with its pool. */
static gate_config *config;
static shim_whole *whole;

static apr_status_t free_config(void *data)
{
    if (config == data) {
        config = NULL;
        shim_log_server = NULL; /* it goes with the same pool */
    }
    gate_config_free(data);
    return APR_SUCCESS;
}

void *shim_create_server(apr_pool_t *pool, server_rec *server)
{
    shim_server *mine = apr_pcalloc(pool, sizeof(*mine));
    if (!server->is_virtual) {
        const gate_host host = {alloc, log_line, shim_stops_at_once, realm, id};
        config = gate_config_new(&host);
        if (config) {
            apr_pool_cleanup_register(pool, config, free_config, apr_pool_cleanup_null);
        }
        whole = apr_pcalloc(pool, sizeof(*whole));
    }
    mine->config = config;
    mine->audit = -1;
    mine->whole = whole;
    mine->ports = apr_array_make(pool, 2, sizeof(shim_port));
    mine->index = config ? gate_config_server(config, server->is_virtual) : -1;
    return mine;
}

void *shim_merge_server(apr_pool_t *pool, void *base, void *add)
{
    /* inheritance of issuers is the library's: gate_config_check */
    shim_server *mine = apr_pmemdup(pool, add, sizeof(*mine));
    mine->inherited = base;
    return mine;
}

void *shim_create_dir(apr_pool_t *pool, char *section)
{
    shim_dir *mine = apr_pcalloc(pool, sizeof(*mine));
    mine->section = section;
    return mine;
}

/* Runs for each request: a loop over pointers, nothing allocated in Rust. */
void *shim_merge_dir(apr_pool_t *pool, void *base, void *add)
{
    const shim_dir *outer = base, *inner = add;
    shim_dir *mine = apr_palloc(pool, sizeof(*mine));
    int i;

    mine->section = inner->section ? inner->section : outer->section;
    mine->rule = inner->rule ? inner->rule : outer->rule;
    mine->gate = inner->gate ? inner->gate : outer->gate;
    mine->has_require = outer->has_require || inner->has_require;
    for (i = 0; i < GATE_SLOTS; i++) {
        mine->slot[i] = inner->slot[i] ? inner->slot[i] : outer->slot[i];
    }
    mine->port = inner->port ? inner->port : outer->port;
    mine->headers = outer->headers;
    if (inner->headers) {
        const gate_chain *link;
        gate_chain **end = (gate_chain **) &mine->headers;
        for (link = inner->headers; link; link = link->outer) {
            gate_chain *copy = apr_palloc(pool, sizeof(*copy));
            copy->own = link->own;
            *end = copy;
            end = (gate_chain **) &copy->outer;
        }
        *end = (gate_chain *) outer->headers;
    }
    return mine;
}

int shim_place_of(cmd_parms *cmd, const shim_dir *dir, gate_place *place)
{
    const shim_server *mine = SHIM_SERVER(cmd->server);
    const ap_directive_t *up;

    place->server = mine ? mine->index : -1;
    place->file = cmd->directive ? cmd->directive->filename : NULL;
    place->line = cmd->directive ? (unsigned int) cmd->directive->line_num : 0;
    place->section = cmd->path ? cmd->path : (dir ? dir->section : NULL);
    place->container = NULL;
    place->group = NULL;
    place->port = 0;
    place->previous = NULL;
    for (up = cmd->directive; up; up = up->parent) {
        place->port |= !strcasecmp(up->directive, "<GatePort");
        if (up == cmd->directive || place->container || !strncasecmp(up->directive, "<Limit", 6)) {
            continue;
        }
        if (strncasecmp(up->directive, "<Require", 8)) {
            place->container = up->directive;
        }
        else if (!place->group) { /* it groups rules, and is no section */
            place->group = up->directive;
        }
    }
    return !whole->sealed;
}

/* Splits as httpd does everywhere: quotes and backslashes count. */
static int words(apr_pool_t *pool, const char *line, const char *const **argv)
{
    apr_array_header_t *list = apr_array_make(pool, 8, sizeof(const char *));
    while (*line) {
        const char *word = ap_getword_conf(pool, &line);
        if (*word || *line) {
            APR_ARRAY_PUSH(list, const char *) = word;
        }
    }
    *argv = (const char *const *) list->elts;
    return list->nelts;
}

/* AllowOverrideList lets a .htaccess file name any directive, and <Limit> holds none of ours to its methods. */
const char *shim_no_place(cmd_parms *cmd)
{
    const char *gt = *cmd->cmd->name == '<' ? ">" : "";

    if (whole->sealed || cmd->pool == cmd->temp_pool) {
        return apr_pstrcat(cmd->pool, cmd->cmd->name, gt, " has no place in .htaccess", NULL);
    }
    return ap_check_cmd_context(cmd, NOT_IN_LIMIT);
}

/* Every directive of a server or a section. */
static const char *directive(cmd_parms *cmd, void *dir_config, const char *line)
{
    shim_dir *dir = dir_config;
    const gate_setting *value = NULL;
    const char *const *argv;
    const char *wrong;
    gate_place place;
    int slot = gate_directive_slot(cmd->cmd->name);
    int argc = words(cmd->temp_pool, line, &argv);

    if ((wrong = shim_no_place(cmd))) {
        return wrong;
    }
    if (!config) {
        return "mod_gitlab_gate could not start: out of memory";
    }
    if (slot < -1) {
        return "mod_gitlab_gate failed (GATE500)";
    }
    shim_place_of(cmd, dir, &place);
    if (slot >= 0) {
        place.previous = dir->slot[slot];
    }
    wrong = gate_directive(config, &place, cmd->cmd->name, argc, argv, &value);
    if (wrong) {
        return wrong;
    }
    if (slot >= 0) {
        dir->slot[slot] = value;
    }
    else if (value) { /* GateHeader: the last one written comes first */
        gate_chain *link = apr_palloc(cmd->pool, sizeof(*link));
        link->own = value;
        link->outer = dir->headers;
        dir->headers = link;
    }
    return NULL;
}

static const char *issuer_section(cmd_parms *cmd, void *dir_config, const char *line)
{
    const ap_directive_t *child;
    const char *end = ap_strrchr_c(line, '>');
    const char *const *argv;
    const char *wrong;
    gate_place place;

    (void) dir_config;
    if ((wrong = shim_no_place(cmd)) || (wrong = ap_check_cmd_context(cmd, NOT_IN_DIR_LOC_FILE))) {
        return wrong;
    }
    if (!end) {
        return "<GateIssuer> directive missing closing '>'";
    }
    if (!config) {
        return "mod_gitlab_gate could not start: out of memory";
    }
    line = apr_pstrmemdup(cmd->temp_pool, line, end - line);
    if (words(cmd->temp_pool, line, &argv) != 1) {
        return "<GateIssuer> takes one name, as in <GateIssuer okta>";
    }
    shim_place_of(cmd, NULL, &place);
    wrong = gate_issuer_open(config, &place, argv[0]);
    for (child = cmd->directive->first_child; child && !wrong; child = child->next) {
        gate_place inner = place;
        int argc = words(cmd->temp_pool, child->args, &argv);
        inner.file = child->filename;
        inner.line = (unsigned int) child->line_num;
        wrong = gate_issuer_directive(config, &inner, child->directive, argc, argv);
        if (wrong) {
            cmd->err_directive = child;
        }
    }
    if (!wrong) {
        unsigned int line_num = 0;
        wrong = gate_issuer_close(config, &place, &line_num);
        for (child = cmd->directive->first_child; child; child = child->next) {
            if (wrong && (unsigned int) child->line_num == line_num) {
                cmd->err_directive = child;
            }
        }
    }
    return wrong;
}

static const char *only_in_issuer(cmd_parms *cmd, void *dir_config, const char *line)
{
    const char *wrong = shim_no_place(cmd);

    (void) dir_config;
    (void) line;
    return wrong ? wrong : apr_pstrcat(cmd->pool, cmd->cmd->name,
                       " may only stand inside <GateIssuer NAME> ... </GateIssuer>", NULL);
}

/* mod_authz_core's own: seen here too, since only the lines themselves tell whether a section
 * holds one. httpd calls every module that names the directive. */
static const char *note_require(cmd_parms *cmd, void *dir_config, const char *line)
{
    shim_dir *dir = dir_config;
    gate_place place;

    dir->has_require = 1;
    dir->rule = dir->section;
    if (shim_place_of(cmd, dir, &place) && config) {
        const char *rest = line;
        int said = !strcasecmp(ap_getword_conf(cmd->temp_pool, &rest), "not");
        gate_note(config, &place, "Require", !said && shim_is_negated(cmd) ? apr_pstrcat(cmd->pool, "not ", line, NULL) : line);
    }
    return DECLINE_CMD;
}

/* AuthType, SetHandler: one argument */
static const char *note_word(cmd_parms *cmd, void *dir_config, const char *line)
{
    shim_dir *dir = dir_config;
    gate_place place;

    if (!strcasecmp(cmd->cmd->name, "AuthType")) {
        dir->gate = dir->section;
    }
    if (shim_place_of(cmd, dir, &place) && config) {
        gate_note(config, &place, cmd->cmd->name, ap_getword_conf(cmd->temp_pool, &line));
    }
    return DECLINE_CMD;
}

/* mod_proxy_wstunnel's. Without mod_proxy_http it would tunnel before an upstream has agreed, and let the next request of
 * that connection past the gate. */
static const char *note_fallback(cmd_parms *cmd, void *dir_config, const char *line)
{
    (void) dir_config;
    return strcasecmp(ap_getword_conf(cmd->temp_pool, &line), "off") ? DECLINE_CMD
        : "ProxyWebsocketFallbackToProxyHttp off: mod_proxy_wstunnel would tunnel before the upstream has agreed to a "
          "WebSocket, and let any request past the gate. Leave it on, and load mod_proxy_http";
}

#define SERVER(name, help) AP_INIT_RAW_ARGS(name, directive, NULL, RSRC_CONF, help)
#define HOST SERVER
#define PLACE(name, help) AP_INIT_RAW_ARGS(name, directive, NULL, RSRC_CONF | ACCESS_CONF, help)
#define ISSUER(name, help) AP_INIT_RAW_ARGS(name, only_in_issuer, NULL, RSRC_CONF | ACCESS_CONF, help)

const command_rec shim_commands[] = {
    /* issuers: one section, its lines go to Rust one by one */
    AP_INIT_RAW_ARGS("<GateIssuer", issuer_section, NULL, RSRC_CONF, "An issuer of tokens, by a name of your own"),
    ISSUER("GateIssuerURL", "The exact iss of the issuer's tokens"),
    ISSUER("GateKind", "The issuer's make: generic okta entra keycloak gitlab aws google"),
    ISSUER("GateAudience", "One of these must be in aud; any turns the check off"),
    ISSUER("GateJWKS", "Where the keys are, instead of discovery: an https URL or file:PATH"),
    ISSUER("GateAlgorithms", "The signature algorithms accepted"),
    ISSUER("GateUserClaim", "The first of these claims becomes REMOTE_USER"),
    ISSUER("GateEmailClaim", "The claim that holds the e-mail address"),
    ISSUER("GateRoleClaim", "Every value of this claim is a role"),
    ISSUER("GateRole", "A role, and the conditions that grant it"),
    ISSUER("GateRequire", "Conditions without which a token of this issuer is refused"),
    ISSUER("GateMaxLifetime", "The longest exp - iat"),
    ISSUER("GateClockSkew", "Leeway for exp, nbf and iat"),
    ISSUER("GateRefresh", "How often keys are fetched anew"),
    ISSUER("GateMaxStale", "How long the last good keys serve while the issuer is away"),
    ISSUER("GateTimeout", "How long one fetch may take"),
    ISSUER("GateCAFile", "Trust this CA for the issuer, instead of the system's"),
    ISSUER("GateJobAPI", "Where GateJob asks: GitLab's API, token-file=PATH every=10s misses=3"),
    ISSUER("GateIntrospection", "RFC 7662 introspection of opaque tokens (not yet supported)"),

    /* the server */
    SERVER("GateStateDir", "Where the last good keys are kept"),
    SERVER("GateKeepHeader", "Internal headers of GitLab's that clients may send"),
    SERVER("GateCacheSize", "Memory for verified tokens, per child"),
    SERVER("GateMaxOpenTotal", "How many ports may be open at once"),

    SERVER("GateAuditLog", "Where decisions are written down: a file, or \"|program\""),
    SERVER("GateAuditChainKey", "file:PATH of the key that seals the audit log's lines"),
    SERVER("GateAuditRequired", "on: refuse requests while the audit log can not be written"),

    /* a section */
    PLACE("GateAccept", "The issuers accepted here"),
    PLACE("GateTokenFrom", "Where a token may come from: bearer basic proxy header:NAME cookie:NAME query:NAME"),
    PLACE("GateHeader", "A header for the upstream: NAME and user email subject issuer roles claim:PATH assertion none"),
    PLACE("GateForwardToken", "on: leave the verified token in what goes upstream"),
    PLACE("GateAuditOn", "What is written down here: all, refusals or none"),
    PLACE("GateMode", "enforce, or observe: decide and write down, refuse nothing"),

    /* a port */
    AP_INIT_RAW_ARGS("<GatePort", shim_port_section, NULL, RSRC_CONF, "A TCP path to one service, NAME:PORT of CONNECT"),
    PLACE("GateTarget", "Where the port leads: HOST:PORT; without it, to the name itself"),
    PLACE("GateLifetime", "How long a port or a WebSocket may be open: token, off or a duration"),
    PLACE("GateIdle", "How long a port may be open without a byte either way"),
    PLACE("GateJob", "on: a port is closed when the job ends"),
    PLACE("GateMaxOpen", "How many ports one job may have open"),
    /* towards the upstream */
    HOST("GateAccountAPI", "Where a person's account is asked about before Sudo: GitLab's API, token-file=PATH cache=60s stale=1h"),
    SERVER("GateAssertionKey", "A private key that signs assertions; the first signs, all are published"),
    PLACE("GateUpstreamToken", "The upstream's own credential, put in by the gate: file:PATH [header=NAME]"),
    PLACE("GateSudo", "on: GitLab acts for the person (Sudo)"),
    PLACE("GateAssertion", "on: send a signed assertion [audience=URL] [ttl=60s] [header=X-Gate-Assertion]"),

    /* httpd's own, seen in passing */
    AP_INIT_RAW_ARGS("SetHandler", note_word, NULL, OR_FILEINFO, "core's"),
    AP_INIT_RAW_ARGS("ProxyWebsocketFallbackToProxyHttp", note_fallback, NULL, RSRC_CONF | ACCESS_CONF, "mod_proxy_wstunnel's"),
    AP_INIT_RAW_ARGS("Require", note_require, NULL, OR_AUTHCFG, "mod_authz_core's"),
    AP_INIT_RAW_ARGS("AuthType", note_word, NULL, OR_AUTHCFG, "mod_authn_core's"),
    {NULL, {NULL}, NULL, 0, RAW_ARGS, NULL}
};
