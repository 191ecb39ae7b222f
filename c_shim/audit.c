/* audit.c: the audit log is opened by httpd's own means, as root; what a line says, and how it is
 * written, is Rust's (src/audit.rs). */
#include "shim.h"
#include "unixd.h"
#include "apr_portable.h"
#include <unistd.h>

/* For `httpd -t` too, which opens nothing: a reload that fails where it did not would end httpd. */
int shim_check_audit_log(apr_pool_t *ptemp, server_rec *server)
{
    const char *target = gate_config_audit_log(SHIM_SERVER(server)->config), *path;
    const char *wrong = NULL;
    apr_finfo_t info;

    if (!target || *target == '|') {
        return 1;
    }
    if (!*target || !(path = ap_server_root_relative(ptemp, target))) {
        wrong = "that is no path";
    }
    else if (apr_stat(&info, path, APR_FINFO_TYPE, ptemp) == APR_SUCCESS) {
        wrong = info.filetype == APR_DIR ? "that is a directory" : NULL;
    }
    else if (apr_stat(&info, ap_make_dirstr_parent(ptemp, path), APR_FINFO_TYPE, ptemp) != APR_SUCCESS) {
        wrong = "its directory is not there";
    }
    if (wrong) {
        ap_log_error(APLOG_MARK, APLOG_CRIT, 0, server, "GATE600: GateAuditLog %s: %s", target, wrong);
    }
    return !wrong;
}

/* httpd's piped log: httpd starts the program, starts it again where it ends, and sends it TERM when httpd ends or
 * restarts at once. Its pool is not the configuration's, so that a graceful restart which names the same program
 * keeps it: the old children and the new ones write to one pipe, in one order. `command` NULL: no program. */
static apr_file_t *audit_program(const char *command)
{
    static const char key[] = "mod_gitlab_gate: the audit log's program, 2";
    struct running {
        apr_pool_t *pool;
        const char *command;
        piped_log *log;
    } *kept = ap_retained_data_get(key);

    if (!kept) {
        kept = ap_retained_data_create(key, sizeof(*kept));
    }
    if (kept->log && (!command || strcmp(kept->command, command) || !ap_unixd_mpm_get_retained_data()->was_graceful)) {
        apr_pool_destroy(kept->pool);
        kept->log = NULL;
    }
    if (command && !kept->log) {
        apr_pool_create(&kept->pool, NULL); /* destroyed after the configuration, which writes the last line */
        apr_pool_tag(kept->pool, "gate_audit_program");
        kept->command = apr_pstrdup(kept->pool, command);
        kept->log = ap_open_piped_log(kept->pool, command);
        if (!kept->log) {
            apr_pool_destroy(kept->pool);
        }
    }
    return kept->log ? ap_piped_log_write_fd(kept->log) : NULL;
}

/* A file is opened in both of httpd's readings, so that a wrong path is printed on the terminal;
 * a program is started once. */
int shim_open_audit_log(apr_pool_t *pconf, apr_pool_t *plog, apr_pool_t *ptemp, server_rec *server)
{
    shim_server *mine = SHIM_SERVER(server);
    const char *target = gate_config_audit_log(mine->config);
    apr_file_t *file = NULL;
    apr_status_t status;
    int first = ap_state_query(AP_SQ_MAIN_STATE) == AP_SQ_MS_CREATE_PRE_CONFIG;
    int program = target && *target == '|';

    (void) plog;
    (void) ptemp;
    if (!first) {
        file = audit_program(program ? target + 1 : NULL);
    }
    if (!target || (program && first)) {
        return OK;
    }
    if (program && !file) {
        ap_log_error(APLOG_MARK, APLOG_CRIT, 0, server, "GATE600: GateAuditLog: the program %s can not be started", target + 1);
        return HTTP_INTERNAL_SERVER_ERROR;
    }
    if (!program) {
        mine->audit_path = ap_server_root_relative(pconf, target);
        status = mine->audit_path
            ? apr_file_open(&file, mine->audit_path, APR_WRITE | APR_READ | APR_APPEND | APR_CREATE | APR_LARGEFILE,
                            APR_FPROT_UREAD | APR_FPROT_UWRITE | APR_FPROT_GREAD, pconf) : APR_EBADPATH;
        if (status != APR_SUCCESS) {
            ap_log_error(APLOG_MARK, APLOG_CRIT, status, server,
                         "GATE600: GateAuditLog: %s can not be opened", target);
            return HTTP_INTERNAL_SERVER_ERROR;
        }
    }
    return apr_os_file_get(&mine->audit, file) == APR_SUCCESS ? OK : HTTP_INTERNAL_SERVER_ERROR;
}

/* Children run this pool's cleanups too where they leave by exit(). */
struct opened {
    gate_config *config;
    pid_t pid;
};

static apr_status_t close_audit_log(void *data)
{
    const struct opened *opened = data;
    if (opened->pid == getpid()) {
        gate_audit_close(opened->config, ap_state_query(AP_SQ_MAIN_STATE) == AP_SQ_MS_EXITING);
    }
    return APR_SUCCESS;
}

int shim_start_audit(apr_pool_t *pconf, server_rec *server, const char *state_dir)
{
    const shim_server *mine = SHIM_SERVER(server);
    struct opened *opened;

    if (mine->audit < 0) {
        return OK;
    }
    if (gate_audit_open(mine->config, mine->audit, mine->audit_path, state_dir) != 0) {
        return HTTP_INTERNAL_SERVER_ERROR;
    }
    opened = apr_palloc(pconf, sizeof(*opened));
    opened->config = mine->config;
    opened->pid = getpid();
    apr_pool_cleanup_register(pconf, opened, close_audit_log, apr_pool_cleanup_null);
    return OK;
}

/* Where the rule stands that was asked: not every section within it that says something of the gate. */
static const char *place_of(const shim_dir *dir)
{
    return dir->rule ? dir->rule : dir->gate ? dir->gate : dir->section;
}

static void write_down(request_rec *first, request_rec *decided, int status)
{
    shim_state *state = SHIM_STATE(decided);
    gate_event event;

    memset(&event, 0, sizeof(event));
    event.slots = SHIM_DIR(decided)->slot;
    event.identity = state->outcome.identity;
    event.reason = state->reason;
    event.detail = state->detail;
    event.issuer = state->outcome.issuer;
    event.observed = state->observed;
    event.status = status;
    event.place = place_of(SHIM_DIR(decided));
    event.id = shim_id_of(decided, state);
    event.method = first->method;
    if (first->method_number == M_CONNECT) {
        event.port = first->parsed_uri.port;
    }
    else {
        event.path = first->uri;
    }
    event.host = first->hostname;
    event.protocol = first->protocol;
    event.agent = apr_table_get(first->headers_in, "User-Agent");
    event.peer = first->useragent_ip;
    event.peer_port = first->useragent_addr ? first->useragent_addr->port : 0;
    event.time = first->request_time;
    event.duration = apr_time_now() - first->request_time;
    gate_audit(shim_process, &event);
}

void shim_audit_sub(request_rec *r)
{
    shim_state *state = SHIM_STATE(r);

    if (shim_process && state && state->decided && !state->inherited && !state->audited && !shim_question_of(r)) {
        state->audited = 1;
        write_down(r, r, state->refused ? state->outcome.status : r->status);
    }
}

/* Once for a request and what followed from it within httpd: the refusal if there was one, else
 * the last that the gate looked at. */
int shim_log_transaction(request_rec *r)
{
    request_rec *first, *last, *at, *decided = NULL;
    const shim_state *state;

    for (first = r; first->prev; first = first->prev) {
    }
    for (last = r; last->next; last = last->next) {
    }
    for (at = first; at; at = at->next) {
        shim_state *seen = SHIM_STATE(at);
        if (seen && seen->decided) {
            decided = at;
            if (seen->reason) {
                break;
            }
        }
    }
    if (!decided || !shim_process) {
        return DECLINED;
    }
    state = SHIM_STATE(decided);
    if (!state->audited || state->reason) {
        write_down(first, decided, last->status);
    }
    return DECLINED;
}
