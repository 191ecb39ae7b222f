/*
 * program.c: the program that reads the audit log. It is started as httpd starts those of its own logs, and again
 * where it dies, but it is never told to end: it would lose what it has in hand, and what is still written to it. It
 * ends with its input. A restart that names the same program keeps it, old children's lines and new ones' in one
 * pipe, so that they have one order. What is written is none of this file's business: audit.c.
 */
#include "shim.h"
#include "ap_mpm.h"
#include "http_main.h"
#include "apr_portable.h"
#include "apr_thread_proc.h"
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <unistd.h>

/* How long httpd's own end waits for the program to write its last lines. */
#define PATIENCE apr_time_from_sec(2)

typedef struct program {
    apr_pool_t *pool; /* its own: it outlives the configuration */
    const char *named; /* in GateAuditLog, behind the first '|' */
    const char *words; /* without httpd's signs for how */
    apr_cmdtype_e type;
    apr_file_t *input;  /* the pipe's ends; this one keeps what a program that died has not read */
    apr_file_t *output; /* NULL: no configuration names the program any more */
    apr_proc_t process; /* pid -1: it does not run */
    pid_t owner;
    int starting;
} program;

/* httpd tells its whole process group to end. */
static apr_status_t leave_group(void *data)
{
    const program *it = data;
    if (it->starting) {
        setpgid(0, 0);
    }
    return APR_SUCCESS;
}

static int fd_of(apr_file_t *file)
{
    int fd = -1;
    return apr_os_file_get(&fd, file) == APR_SUCCESS ? fd : -1;
}

/* Nobody writes to it any more, and all is read. */
static int is_at_end(const program *it)
{
    struct pollfd ready = {.fd = fd_of(it->input), .events = POLLIN};
    return poll(&ready, 1, 0) > 0 && (ready.revents & POLLHUP) && !(ready.revents & POLLIN);
}

static void maintain(int reason, void *data, int status);

static apr_status_t start(program *it)
{
    apr_pool_t *temp;
    apr_procattr_t *how;
    char **argv = NULL;
    apr_status_t status;

    apr_pool_create(&temp, it->pool);
    it->starting = 1;
    if ((status = apr_procattr_create(&how, temp)) == APR_SUCCESS
        && (status = apr_procattr_dir_set(how, ap_server_root)) == APR_SUCCESS
        && (status = apr_procattr_cmdtype_set(how, it->type)) == APR_SUCCESS
        && (status = apr_procattr_child_in_set(how, it->input, NULL)) == APR_SUCCESS
        && (status = apr_procattr_error_check_set(how, 1)) == APR_SUCCESS
        && (status = apr_tokenize_to_argv(it->words, &argv, temp)) == APR_SUCCESS) {
        status = argv[0] ? apr_proc_create(&it->process, argv[0], (const char *const *) argv, NULL, how, temp)
                         : APR_EINVAL;
    }
    it->starting = 0;
    if (status == APR_SUCCESS) {
        apr_proc_other_child_register(&it->process, maintain, it, NULL, it->pool);
    }
    else {
        it->process.pid = -1;
        ap_log_error(APLOG_MARK, APLOG_CRIT, status, ap_server_conf,
                     "GATE600: GateAuditLog: the program %s can not be started", it->words);
    }
    apr_pool_destroy(temp);
    return status;
}

/* In the parent, which httpd lets wait for its processes. */
static void maintain(int reason, void *data, int status)
{
    program *it = data;
    int state = AP_MPMQ_STOPPING;

    if (reason != APR_OC_REASON_DEATH && reason != APR_OC_REASON_LOST) {
        return;
    }
    apr_proc_other_child_unregister(it);
    it->process.pid = -1;
    if (is_at_end(it)) {
        apr_pool_destroy(it->pool);
        return;
    }
    ap_mpm_query(AP_MPMQ_MPM_STATE, &state);
    if (state != AP_MPMQ_STOPPING) {
        ap_log_error(APLOG_MARK, APLOG_ERR, 0, ap_server_conf,
                     "GATE604: GateAuditLog: the program %s has ended (wait status %d): it is started anew; "
                     "what it had read and not written is lost", it->words, status);
        start(it);
    }
}

static program *create(const char *named)
{
    apr_pool_t *pool;
    program *it;

    apr_pool_create(&pool, NULL);
    apr_pool_tag(pool, "gate_audit_program");
    it = apr_pcalloc(pool, sizeof(*it));
    it->pool = pool;
    it->owner = getpid();
    it->process.pid = -1;
    it->words = it->named = apr_pstrdup(pool, named);
    /* httpd's own signs: "||program", and "|$command" for a shell */
    it->words += *it->words == '|';
    it->type = *it->words == '$' ? APR_SHELLCMD_ENV : APR_PROGRAM_ENV;
    it->words += *it->words == '$';
    if (apr_file_pipe_create_ex(&it->input, &it->output, APR_FULL_BLOCK, pool) != APR_SUCCESS) {
        apr_pool_destroy(pool);
        return NULL;
    }
    /* a program that held the other end would wait for its own end */
    fcntl(fd_of(it->input), F_SETFD, FD_CLOEXEC);
    fcntl(fd_of(it->output), F_SETFD, FD_CLOEXEC);
    apr_pool_cleanup_register(pool, it, apr_pool_cleanup_null, leave_group);
    return it;
}

/* Its input ends as soon as the old children have gone. */
static void let_go(program *it)
{
    apr_file_close(it->output);
    it->output = NULL;
    if (it->process.pid == -1) {
        apr_pool_destroy(it->pool);
    }
}

/* When httpd ends, it waits for the last lines: whoever watches over it may kill what it leaves behind. */
static apr_status_t end(void *data)
{
    program *it = data;
    apr_time_t until = shim_ticks() + PATIENCE;
    apr_status_t status = APR_CHILD_NOTDONE;

    if (it->owner != getpid() || ap_state_query(AP_SQ_MAIN_STATE) != AP_SQ_MS_EXITING) {
        return APR_SUCCESS;
    }
    apr_file_close(it->output);
    it->output = NULL;
    while (it->process.pid != -1 && status == APR_CHILD_NOTDONE && shim_ticks() < until) {
        status = apr_proc_wait(&it->process, NULL, NULL, APR_NOWAIT);
        if (status == APR_CHILD_NOTDONE) {
            apr_sleep(apr_time_from_msec(5));
        }
    }
    if (it->process.pid != -1 && status == APR_CHILD_NOTDONE) {
        apr_proc_kill(&it->process, SIGTERM);
    }
    return APR_SUCCESS;
}

apr_file_t *shim_audit_program(apr_pool_t *pconf, const char *named)
{
    static const char key[] = "mod_gitlab_gate: the audit log's program, 1";
    program **kept = ap_retained_data_get(key);

    if (!kept) {
        kept = ap_retained_data_create(key, sizeof(*kept));
    }
    if (*kept && (!named || strcmp((*kept)->named, named))) {
        let_go(*kept);
        *kept = NULL;
    }
    if (!named) {
        return NULL;
    }
    if (!*kept) {
        *kept = create(named);
    }
    if (!*kept || ((*kept)->process.pid == -1 && start(*kept) != APR_SUCCESS)) {
        return NULL;
    }
    apr_pool_cleanup_register(pconf, *kept, end, apr_pool_cleanup_null);
    return (*kept)->output;
}
