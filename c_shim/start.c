/*
 * start.c: how the module comes up. httpd reads its configuration twice at start, the first time to check it, and
 * once at each restart; always in the parent, as root if httpd was started by root.
 *
 *   1. conf.c, authz.c      Each directive goes to the library.
 *   2. shim_check_config    The library judges the whole configuration. `httpd -t` stops after this.
 *   3. shim_open_audit_log  The audit log is opened. A program is started in the second reading only.
 *   4. shim_post_config     The memory that all children share is made, once. The first reading ends here.
 *                           Then the state directory is made, and the audit log gets its first line.
 *   5. shim_child_init      After the fork, without privileges: the library starts its threads.
 *   6. stop_process         The child's pool ends them.
 */
#include "shim.h"
#include "unixd.h"
#include "ap_mpm.h"
#include "apr_portable.h"
#include "apr_signal.h"
#include <signal.h>
#include <unistd.h>

/* Between two tries to start in a child. */
#define RETRY apr_time_from_sec(1)

static apr_pool_t *child_pool; /* prefork's; NULL: the child stops */
static apr_time_t tried;

/* --- 2. the configuration as a whole ------------------------------------------------------------ */

/* Trailers come when the gate has looked at the headers already. */
static void keep_trailers_apart(server_rec *server)
{
    for (; server; server = server->next) {
        core_server_config *core = ap_get_core_module_config(server->module_config);
        if (core->merge_trailers == AP_MERGE_TRAILERS_ENABLE) {
            core->merge_trailers = AP_MERGE_TRAILERS_DISABLE;
            ap_log_error(APLOG_MARK, APLOG_WARNING, 0, server,
                         "GATE208: MergeTrailers on is not followed: a client could set identity headers by it "
                         "after the gate has removed them");
        }
    }
}

/* `make`: it is made too; else only looked at. */
static int state_dir(apr_pool_t *pool, server_rec *server, int make)
{
    gate_config *config = SHIM_SERVER(server)->config;
    const char *named = gate_config_state_dir(config);
    const char *path = named ? ap_server_root_relative(pool, named) : ap_runtime_dir_relative(pool, "gitlab-gate");
    return gate_state_dir(config, path, ap_unixd_config.user_id, ap_unixd_config.group_id, make);
}

/* Opens nothing: `httpd -t` runs this too. A reload that failed where the test did not would end httpd. */
static int check_audit_log(apr_pool_t *ptemp, server_rec *server)
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

int shim_check_config(apr_pool_t *pconf, apr_pool_t *plog, apr_pool_t *ptemp, server_rec *server)
{
    gate_config *config = SHIM_SERVER(server)->config;
    shim_whole *whole = SHIM_SERVER(server)->whole;

    (void) pconf;
    (void) plog;
    keep_trailers_apart(server);
    shim_log_server = server;
    whole->sealed = 1;
    if (ap_find_linked_module("mod_proxy_wstunnel.c") && !ap_find_linked_module("mod_proxy_http.c")) {
        ap_log_error(APLOG_MARK, APLOG_CRIT, 0, server,
                     "GATE230: mod_proxy_wstunnel without mod_proxy_http tunnels before the upstream has agreed to a "
                     "WebSocket, and lets any request past the gate. Load mod_proxy_http");
        return HTTP_INTERNAL_SERVER_ERROR;
    }
    if (!config || gate_config_check(config, ap_find_linked_module("mod_authz_core.c") && ap_find_linked_module("mod_authn_core.c")) != 0) {
        return HTTP_INTERNAL_SERVER_ERROR;
    }
    if (state_dir(ptemp, server, 0) != 0 || !check_audit_log(ptemp, server)) {
        return HTTP_INTERNAL_SERVER_ERROR;
    }
    whole->upstream = gate_config_has_upstream(config);
    whole->query = gate_reads_query(config);
    return OK;
}

/* --- 3. the audit log ------------------------------------------------------------------------------- */

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

/* --- 4. what all children share --------------------------------------------------------------------- */

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

static int start_audit(apr_pool_t *pconf, server_rec *server)
{
    const shim_server *mine = SHIM_SERVER(server);
    struct opened *opened;

    if (mine->audit < 0) {
        return OK;
    }
    if (gate_audit_open(mine->config, mine->audit, mine->audit_path) != 0) {
        return HTTP_INTERNAL_SERVER_ERROR;
    }
    opened = apr_palloc(pconf, sizeof(*opened));
    opened->config = mine->config;
    opened->pid = getpid();
    apr_pool_cleanup_register(pconf, opened, close_audit_log, apr_pool_cleanup_null);
    return OK;
}

int shim_post_config(apr_pool_t *pconf, apr_pool_t *plog, apr_pool_t *ptemp, server_rec *server)
{
    (void) plog;
    shim_log_server = server;
    gate_ports_prepare();
    if (ap_state_query(AP_SQ_MAIN_STATE) == AP_SQ_MS_CREATE_PRE_CONFIG) {
        return OK; /* the first of two readings */
    }
    return state_dir(ptemp, server, 1) == 0 ? start_audit(pconf, server) : HTTP_INTERNAL_SERVER_ERROR;
}

/* --- 5. a child ------------------------------------------------------------------------------------- */

static apr_status_t stop_process(void *data)
{
    int threaded = 1;

    shim_process = NULL;
    child_pool = NULL;
    if (!gate_child_stop(data)) {
        ap_mpm_query(AP_MPMQ_IS_THREADED, &threaded);
        if (!threaded) {
            /* prefork's signal came in the midst of malloc: what httpd would still free would hang as well */
            _exit(0);
        }
    }
    return APR_SUCCESS;
}

static void start_process(apr_pool_t *pchild, server_rec *server)
{
    sigset_t all, before;

    /* httpd's signals are httpd's: the threads made here see none. */
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    shim_process = gate_child_start(SHIM_SERVER(server)->config);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (shim_process) {
        int daemons = 1, threads = 1;
        ap_mpm_query(AP_MPMQ_MAX_DAEMONS, &daemons);
        ap_mpm_query(AP_MPMQ_MAX_THREADS, &threads);
        gate_ports_workers(shim_process, (daemons > 0 ? daemons : 1) * (threads > 0 ? threads : 1));
        /* before the pools of requests that are under way give back what is theirs, which may wait for ever */
        apr_pool_pre_cleanup_register(pchild, shim_process, stop_process);
    }
    else {
        ap_log_error(APLOG_MARK, APLOG_CRIT, 0, server,
                     "GATE501: the gate could not start in this child: it refuses every request");
    }
}

void shim_child_init(apr_pool_t *pchild, server_rec *server)
{
    int threaded = 1;

    shim_log_server = server;
    shim_watch_stop(pchild);
    start_process(pchild, server);
    ap_mpm_query(AP_MPMQ_IS_THREADED, &threaded);
    child_pool = threaded ? NULL : pchild;
    tried = shim_ticks();
}

/* A child without threads lives on where none could be had; the other MPMs' children do not. */
void shim_start_again(void)
{
    if (child_pool && !shim_process && shim_ticks() - tried >= RETRY) {
        start_process(child_pool, shim_log_server);
        tried = shim_ticks();
    }
}
