/* closes.c: preloaded into httpd by tests/ports: says when a descriptor is closed or used that is not open,
 * in the file that CLOSES_LOG names. A correct program never does. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/types.h>
#include <unistd.h>

static void tell(const char *what, int fd)
{
    const char *path = getenv("CLOSES_LOG");
    int saved = errno, log = path ? open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0666) : -1;
    if (log >= 0) {
        dprintf(log, "%s(%d) in %d: not open, errno %d\n", what, fd, (int) getpid(), saved);
        ((int (*)(int)) dlsym(RTLD_NEXT, "close"))(log);
    }
    errno = saved;
}

#define WATCH(result, name, parameters, arguments)                              \
    result name parameters                                                      \
    {                                                                           \
        static result (*real) parameters;                                       \
        result got;                                                             \
        if (!real) {                                                            \
            real = (result(*) parameters) dlsym(RTLD_NEXT, #name);              \
        }                                                                       \
        got = real arguments;                                                   \
        if (got < 0 && fd >= 0 && (errno == EBADF || errno == ENOTSOCK)) {      \
            tell(#name, fd);                                                    \
        }                                                                       \
        return got;                                                             \
    }

WATCH(int, close, (int fd), (fd))
WATCH(int, shutdown, (int fd, int how), (fd, how))
WATCH(ssize_t, recv, (int fd, void *to, size_t most, int flags), (fd, to, most, flags))
WATCH(ssize_t, send, (int fd, const void *from, size_t most, int flags), (fd, from, most, flags))
