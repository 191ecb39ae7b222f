/* child.c: what happens once per start and once per child: the state directory, the threads. */
#include "shim.h"
#include "unixd.h"
#include "ap_mpm.h"
#include "apr_file_info.h"
#include "apr_signal.h"
#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

/* Between two tries to start in a child. */
#define RETRY apr_time_from_sec(1)

static apr_pool_t *child_pool; /* prefork's; NULL: the child stops */
static apr_time_t tried;

void *shim_alloc(void *pool, size_t size)
{
    return apr_palloc(pool, size);
}

void shim_log(int level, const char *text)
{
    ap_log_error(APLOG_MARK, level, 0, shim_log_server, "%s", text);
}

const char *shim_state_dir(apr_pool_t *pool, server_rec *server)
{
    const char *named = gate_config_state_dir(SHIM_SERVER(server)->config);
    return named ? ap_server_root_relative(pool, named) : ap_runtime_dir_relative(pool, "gitlab-gate");
}

/* Whether it holds nothing. */
static int is_empty(const char *dir, apr_pool_t *pool)
{
    apr_dir_t *open;
    apr_finfo_t entry;
    int empty = 1;

    if (apr_dir_open(&open, dir, pool) != APR_SUCCESS) {
        return 0;
    }
    while (empty && apr_dir_read(&entry, APR_FINFO_NAME, open) == APR_SUCCESS) {
        empty = !strcmp(entry.name, ".") || !strcmp(entry.name, "..");
    }
    apr_dir_close(open);
    return empty;
}

/* The directory alone is the gate's: what leads there is everybody's way. */
static int make(const char *dir, apr_pool_t *pool)
{
    const apr_fileperms_t others = APR_FPROT_GREAD | APR_FPROT_GEXECUTE | APR_FPROT_WREAD | APR_FPROT_WEXECUTE;
    const apr_fileperms_t mine = APR_FPROT_UREAD | APR_FPROT_UWRITE | APR_FPROT_UEXECUTE;
    char *parent = apr_pstrdup(pool, dir), *end = parent + strlen(parent);
    apr_status_t status;

    while (end > parent + 1 && end[-1] == '/') {
        *--end = '\0';
    }
    end = strrchr(parent, '/');
    if (end && end != parent) {
        *end = '\0';
        if (apr_dir_make_recursive(parent, mine | others, pool) != APR_SUCCESS) {
            return 0;
        }
    }
    status = apr_dir_make(dir, mine, pool);
    return status == APR_SUCCESS || APR_STATUS_IS_EEXIST(status);
}

/* Children run without privileges: root makes the directory and gives it to them. What is judged and given is
 * what was opened, whatever its name leads to by then. -1: it can not be had; else its descriptor. */
static int open_state_dir(apr_pool_t *ptemp, const char *dir, struct stat *info)
{
    int opened = -1;

    if (make(dir, ptemp)) {
        opened = open(dir, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    }
    if (opened >= 0 && fstat(opened, info) != 0) {
        close(opened);
        opened = -1;
    }
    return opened;
}

/* Root would give away what it leads to, wherever that is. */
static int is_link(const char *dir, apr_pool_t *pool)
{
    char *name = apr_pstrdup(pool, dir), *end = name + strlen(name);
    struct stat info;

    while (end > name + 1 && end[-1] == '/') {
        *--end = '\0';
    }
    return lstat(name, &info) == 0 && S_ISLNK(info.st_mode);
}

/* Whether the directory may be the gate's; why not is said. */
static int may_be_ours(const char *dir, const struct stat *info, apr_pool_t *pool, server_rec *server)
{
    if (info->st_mode & S_IWOTH) {
        ap_log_error(APLOG_MARK, APLOG_CRIT, 0, server,
                     "GATE302: GateStateDir %s is writable by everybody: whoever writes keys there "
                     "can make tokens. Say chmod 700", dir);
        return 0;
    }
    if (geteuid() == 0 && info->st_uid != ap_unixd_config.user_id && !is_empty(dir, pool)) {
        ap_log_error(APLOG_MARK, APLOG_CRIT, 0, server,
                     "GATE305: GateStateDir %s is not taken: it holds files and is not the run user's. Name a "
                     "directory of the gate's own, or give this one to the run user (chown)", dir);
        return 0;
    }
    return 1;
}

/* For `httpd -t` too, which makes nothing: a reload that fails where it did not would end httpd. */
int shim_check_state_dir(apr_pool_t *ptemp, server_rec *server)
{
    const char *dir = shim_state_dir(ptemp, server);
    struct stat info;

    if (!dir) {
        ap_log_error(APLOG_MARK, APLOG_CRIT, 0, server, "GATE306: GateStateDir: that is no path");
        return 0;
    }
    if (is_link(dir, ptemp)) {
        ap_log_error(APLOG_MARK, APLOG_CRIT, 0, server,
                     "GATE306: GateStateDir %s is a symbolic link: name the directory that it leads to", dir);
        return 0;
    }
    return stat(dir, &info) != 0 || !S_ISDIR(info.st_mode) || may_be_ours(dir, &info, ptemp, server);
}

int shim_post_config(apr_pool_t *pconf, apr_pool_t *plog, apr_pool_t *ptemp, server_rec *server)
{
    const char *dir = shim_state_dir(ptemp, server);
    struct stat info;
    int opened;

    (void) plog;
    shim_log_server = server;
    gate_ports_prepare();
    if (ap_state_query(AP_SQ_MAIN_STATE) == AP_SQ_MS_CREATE_PRE_CONFIG) {
        return OK; /* the first of two readings */
    }
    opened = open_state_dir(ptemp, dir, &info);
    if (opened < 0) {
        ap_log_error(APLOG_MARK, APLOG_WARNING, errno, server,
                     "GATE301: GateStateDir %s can not be made: keys are not kept over a restart", dir);
        return shim_start_audit(pconf, server, dir);
    }
    if (!may_be_ours(dir, &info, ptemp, server)) {
        close(opened);
        return HTTP_INTERNAL_SERVER_ERROR;
    }
    if (info.st_mode & S_IWGRP) {
        ap_log_error(APLOG_MARK, APLOG_WARNING, 0, server,
                     "GATE304: GateStateDir %s is writable by its group: whoever is in it can take kept keys "
                     "and used tokens away. Say chmod 700", dir);
    }
    if (geteuid() == 0 && info.st_uid != ap_unixd_config.user_id
        && fchown(opened, ap_unixd_config.user_id, ap_unixd_config.group_id) != 0) {
        ap_log_error(APLOG_MARK, APLOG_WARNING, errno, server,
                     "GATE303: GateStateDir %s can not be given to the children", dir);
    }
    close(opened);
    return shim_start_audit(pconf, server, dir);
}

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
    shim_process = gate_child_start(SHIM_SERVER(server)->config, shim_state_dir(pchild, server));
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
