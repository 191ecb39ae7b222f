/* installed.c: whether the module's file is still the one that runs. A library with threads can not be unloaded
 * (-z nodelete), so a restart goes on with the old one, and says so. Installs nothing: apxs/install. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "shim.h"
#include "http_main.h"
#include <dlfcn.h>
#include <sys/stat.h>

typedef struct loaded {
    dev_t device;
    ino_t inode;
} loaded;

void shim_look_at_file(server_rec *server)
{
    static const char key[] = "mod_gitlab_gate: the module's file, 1";
    loaded *first = ap_retained_data_get(key);
    struct stat info;
    Dl_info here;

    if (!dladdr(&gitlab_gate_module, &here) || !here.dli_fname || stat(here.dli_fname, &info) != 0) {
        return;
    }
    if (!first) {
        first = ap_retained_data_create(key, sizeof(*first));
        first->device = info.st_dev;
        first->inode = info.st_ino;
    }
    else if (first->device != info.st_dev || first->inode != info.st_ino) {
        ap_log_error(APLOG_MARK, APLOG_WARNING, 0, server,
                     "GATE307: %s is another file than the one that runs: a restart does not take a new module, "
                     "stop httpd and start it", here.dli_fname);
    }
}
