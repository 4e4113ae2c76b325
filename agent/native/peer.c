/* peerCredentials: who connected to a Unix socket, as the kernel recorded it at connect (unix(7), socket(7)).
 * peerIsAlive: whether that process still runs, by a descriptor that never comes to mean another process. */
#define _GNU_SOURCE /* struct ucred */
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/types.h>
#include <unistd.h>

#include "exports.h"

/* Linux 6.5; Debian 12's headers do not have it. */
#ifndef SO_PEERPIDFD
#define SO_PEERPIDFD 77
#endif

/* NGROUPS_MAX; more is not a list of groups. */
enum { GROUPS_MAX = 65536 };

/* @return 0 or an errno; the caller frees *groups */
static int groups_read(int fd, gid_t **groups, size_t *count) {
    socklen_t len = 0;
    *groups = NULL;
    *count = 0;
    /* With a buffer too small the kernel says ERANGE and the size that it needs. */
    if (getsockopt(fd, SOL_SOCKET, SO_PEERGROUPS, NULL, &len) == 0) return 0;
    if (errno != ERANGE || len > GROUPS_MAX * sizeof(gid_t)) return errno;
    *groups = malloc(len);
    if (*groups == NULL) return ENOMEM;
    if (getsockopt(fd, SOL_SOCKET, SO_PEERGROUPS, *groups, &len) != 0) return errno;
    *count = len / sizeof(gid_t);
    return 0;
}

static int credentials_read(int fd, struct ucred *credentials) {
    int domain;
    socklen_t len = sizeof domain;
    if (getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &len) != 0) return errno;
    if (domain != AF_UNIX) return EAFNOSUPPORT;
    len = sizeof *credentials;
    if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, credentials, &len) != 0) return errno;
    return credentials->uid == (uid_t)-1 ? ENOTCONN : 0;
}

static bool number_set(napi_env env, napi_value object, const char *name, int64_t number) {
    napi_value value;
    return napi_create_int64(env, number, &value) == napi_ok &&
           napi_set_named_property(env, object, name, value) == napi_ok;
}

static bool groups_set(napi_env env, napi_value object, const gid_t *groups, size_t count) {
    napi_value array;
    if (napi_create_array_with_length(env, count, &array) != napi_ok) return false;
    for (size_t i = 0; i < count; i++) {
        napi_value value;
        if (napi_create_uint32(env, groups[i], &value) != napi_ok ||
            napi_set_element(env, array, (uint32_t)i, value) != napi_ok)
            return false;
    }
    return napi_set_named_property(env, object, "groups", array) == napi_ok;
}

napi_value ka_peer_credentials(napi_env env, napi_callback_info info) {
    napi_value argument;
    napi_value result = NULL;
    int32_t fd;
    struct ucred credentials;
    gid_t *groups = NULL;
    size_t count = 0;

    if (!ka_arguments_get(env, info, 1, &argument) ||
        !ka_argument_integer(env, argument, "fd", 0, INT32_MAX, &fd))
        return NULL;
    int error = credentials_read(fd, &credentials);
    if (error == 0) error = groups_read(fd, &groups, &count);
    if (error != 0) {
        ka_throw_errno(env, error, "peer credentials");
        goto out;
    }
    if (napi_create_object(env, &result) != napi_ok || !number_set(env, result, "uid", credentials.uid) ||
        !number_set(env, result, "gid", credentials.gid) ||
        !number_set(env, result, "pid", credentials.pid) || !groups_set(env, result, groups, count))
        result = ka_throw_errno(env, ENOMEM, "peer credentials");
out:
    free(groups);
    return result;
}

/* @return 0 or an errno: ENOPROTOOPT on kernels before 6.5 */
static int liveness_read(int fd, bool *alive) {
    int pidfd = -1;
    socklen_t len = sizeof pidfd;
    *alive = false;
    if (getsockopt(fd, SOL_SOCKET, SO_PEERPIDFD, &pidfd, &len) != 0) {
        /* What the kernels say of a process that was reaped: before 6.16, and as a pidfd(2) error. */
        return errno == ESRCH || errno == EINVAL || errno == ENODATA ? 0 : errno;
    }
    /* Readable once the process has ended, reaped or not (pidfd_open(2)). */
    struct pollfd ended = {.fd = pidfd, .events = POLLIN};
    int ready = poll(&ended, 1, 0);
    int error = ready < 0 ? errno : 0;
    close(pidfd);
    *alive = ready == 0;
    return error;
}

napi_value ka_peer_is_alive(napi_env env, napi_callback_info info) {
    napi_value argument;
    napi_value result;
    int32_t fd;
    bool alive;

    if (!ka_arguments_get(env, info, 1, &argument) ||
        !ka_argument_integer(env, argument, "fd", 0, INT32_MAX, &fd))
        return NULL;
    int error = liveness_read(fd, &alive);
    if (error == ENOPROTOOPT) return napi_get_null(env, &result) == napi_ok ? result : NULL;
    if (error != 0) return ka_throw_errno(env, error, "peer pidfd");
    return napi_get_boolean(env, alive, &result) == napi_ok ? result : NULL;
}
