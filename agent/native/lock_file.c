/* lockFile: a file that one process at a time may hold, until it closes it or ends in whatever way
 * (flock(2)). */
#define _GNU_SOURCE /* O_CLOEXEC, O_NOFOLLOW */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sys/file.h>
#include <unistd.h>

#include "exports.h"

/* @return 0 or an errno: EAGAIN while somebody else holds it */
static int lock_take(const char *path, int *fd) {
    /* Close-on-exec, because a lock lives as long as any copy of its descriptor: a token host must not hold
     * it. */
    *fd = open(path, O_RDWR | O_CREAT | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC, 0600);
    if (*fd < 0) return errno;
    if (flock(*fd, LOCK_EX | LOCK_NB) == 0) return 0;
    const int error = errno;
    close(*fd);
    return error;
}

napi_value ka_lock_file(napi_env env, napi_callback_info info) {
    napi_value argument;
    napi_value result;
    char path[PATH_MAX];
    int fd;

    if (!ka_arguments_get(env, info, 1, &argument) ||
        !ka_argument_string(env, argument, "path", path, sizeof path))
        return NULL;
    const int error = lock_take(path, &fd);
    if (error != 0) return ka_throw_errno(env, error, "lock");
    if (napi_create_int32(env, fd, &result) == napi_ok) return result;
    close(fd);
    return NULL;
}
