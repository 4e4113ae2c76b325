/* Socket ownership, see trust.h. */
#include "trust.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "error.h"

static const mode_t others_write = S_IWGRP | S_IWOTH;

ka_status ka_socket_error(const char *path, ka_error *err) {
    if (errno == EACCES || errno == EPERM)
        return ka_error_set(err, KA_ERR_DENIED, "no permission for %s; add this user to the socket's group",
                            path);
    return ka_error_set_errno(err, KA_ERR_UNAVAILABLE,
                              "no agent at %s; start keyagentd, or set KEYAGENT_SOCK to its socket", path);
}

/* Whether only its owner decides what is in the directory of `path`, and only root or this user that it is
 * there. "DIR/.." is above the real DIR, also where a symbolic link led to it. */
static bool directory_vouches(const char *path, uid_t own, uid_t *owner) {
    char directory[KA_PATH_SIZE + 1], parent[KA_PATH_SIZE + 4];
    int len = (int)(strrchr(path, '/') - path);
    struct stat at, above;
    snprintf(directory, sizeof directory, "%.*s", len == 0 ? 1 : len, path);
    snprintf(parent, sizeof parent, "%.*s/..", len, path);
    if (lstat(directory, &at) != 0 || !S_ISDIR(at.st_mode) || (at.st_mode & others_write) != 0) return false;
    if (lstat(parent, &above) != 0 || (above.st_uid != 0 && above.st_uid != own)) return false;
    if ((above.st_mode & others_write) != 0) return false;
    *owner = at.st_uid;
    return true;
}

static bool is_trusted(const struct ka_trust *trust, uid_t uid) {
    return uid == 0 || uid == trust->own || uid == trust->directory;
}

ka_status ka_trust_path(const char *path, struct ka_trust *trust, ka_error *err) {
    struct stat at;
    if (lstat(path, &at) != 0) return ka_socket_error(path, err);
    if (!S_ISSOCK(at.st_mode)) return ka_error_set(err, KA_ERR_UNTRUSTED, "%s is not a socket", path);
    *trust = (struct ka_trust){.own = geteuid(), .directory = 0, .path = path};
    uid_t owner;
    if (directory_vouches(path, trust->own, &owner)) trust->directory = owner;
    if (is_trusted(trust, at.st_uid)) return KA_OK;
    return ka_error_set(
        err, KA_ERR_UNTRUSTED,
        "%s belongs to uid %lu; it must be root's, this user's, or of the owner of a directory that "
        "nobody else can write to",
        path, (unsigned long)at.st_uid);
}

ka_status ka_trust_peer(const struct ka_trust *trust, int fd, ka_error *err) {
    struct ucred peer;
    socklen_t len = sizeof peer;
    if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &len) != 0)
        return ka_error_set_errno(err, KA_ERR_UNTRUSTED, "cannot tell who listens at %s", trust->path);
    if (is_trusted(trust, peer.uid)) return KA_OK;
    return ka_error_set(err, KA_ERR_UNTRUSTED, "uid %lu listens at %s, and it is not the agent's",
                        (unsigned long)peer.uid, trust->path);
}
