/* stopping.c: whether the server stops, rather than this child alone (a graceful restart, or one child
 * too many). Ends nothing itself: the tunnels ask, in each of their rounds. */
#include "shim.h"
#include "ap_mpm.h"
#include "mpm_common.h"
#include <signal.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

/* How often what costs a system call is looked at. */
#define LOOK_MS 200

apr_time_t shim_ticks(void)
{
    struct timespec now = {0};

    clock_gettime(CLOCK_MONOTONIC, &now);
    return apr_time_from_sec(now.tv_sec) + now.tv_nsec / 1000;
}

static volatile sig_atomic_t stopping_now;
static int threaded;
static pid_t parent;
static const char *pid_file;

void shim_watch_stop(apr_pool_t *pchild)
{
    struct stat info;

    parent = getppid();
    ap_mpm_query(AP_MPMQ_IS_THREADED, &threaded);
    pid_file = ap_pid_fname ? ap_server_root_relative(pchild, ap_pid_fname) : NULL;
    /* what can't be seen (ChrootDir, a directory of root's) says nothing when it is not seen later either */
    if (pid_file && stat(pid_file, &info) != 0) {
        pid_file = NULL;
    }
}

/* A child's own threads send it this signal too, to wake it up. */
static void terminated(int signal, siginfo_t *info, void *context)
{
    (void) signal;
    (void) context;
    if (info->si_pid != getpid()) {
        stopping_now = 1;
    }
}

/* A child that has left gracefully is told nothing more: only the parent's SIGTERM comes, when the
 * server stops or restarts at once, and the threaded MPMs pass over it. Without SA_RESTART, as theirs:
 * the signal is also there to interrupt. */
void shim_child_stopping(apr_pool_t *pchild, int graceful)
{
    struct sigaction action = {.sa_sigaction = terminated, .sa_flags = SA_SIGINFO};

    (void) pchild;
    if (!graceful) {
        stopping_now = 1;
        /* prefork says so in a signal's handler, and its one request ends with the child anyway */
        if (threaded && shim_process) {
            gate_child_stopping(shim_process);
        }
        return;
    }
    sigemptyset(&action.sa_mask);
    sigaction(SIGTERM, &action, NULL);
}

int shim_stops_at_once(void)
{
    return stopping_now;
}

int shim_server_stops(apr_time_t *looked)
{
    sigset_t pending;
    struct stat info;
    int state = 0;
    apr_time_t now;

    if (stopping_now) {
        return 1;
    }
    now = shim_ticks();
    if (now - *looked < apr_time_from_msec(LOOK_MS)) {
        return 0;
    }
    *looked = now;
    /* prefork's children hear of the end by signals, which are held back while a port is open; a threaded
     * child's threads may see pending what its listener sends to itself as it leaves */
    sigemptyset(&pending);
    if (!threaded) {
        sigpending(&pending);
    }
    if (sigismember(&pending, SIGTERM) || sigismember(&pending, SIGHUP)) {
        return 1;
    }
    if (!sigismember(&pending, AP_SIG_GRACEFUL)
        && (ap_mpm_query(AP_MPMQ_MPM_STATE, &state) != APR_SUCCESS || state != AP_MPMQ_STOPPING)) {
        return 0;
    }
    /* graceful-stop takes the pid file away; a restart, or a child that leaves alone, does not */
    return getppid() != parent || (pid_file && stat(pid_file, &info) != 0 && errno == ENOENT);
}
