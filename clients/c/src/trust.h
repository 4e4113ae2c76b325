/*
 * Whether a socket is the agent's (PROTOCOL.md "Trusting a socket"). A client hands messages to whoever
 * listens there and believes its answers, so only these may: root, the client's own effective uid, and the
 * owner of the directory that holds the socket if nobody else can put anything there.
 */
#ifndef KEYAGENT_TRUST_H
#define KEYAGENT_TRUST_H

#include <sys/types.h>
#include <sys/un.h>

#include "keyagent.h"

#define KA_PATH_SIZE sizeof(((struct sockaddr_un *)0)->sun_path) /* of a socket's path, NUL included */

struct ka_trust {
    uid_t own;       /* effective uid */
    uid_t directory; /* owner of the socket's directory, root where that says nothing */
    const char *path;
};

/* Looks at the path before anything is sent there. KA_OK; KA_ERR_UNTRUSTED; KA_ERR_UNAVAILABLE or
 * KA_ERR_DENIED if it cannot be looked at. */
KA_MUSTUSE ka_status ka_trust_path(const char *path, struct ka_trust *trust, ka_error *err);
/* Looks at who listens on the other end of a connected socket (SO_PEERCRED). */
KA_MUSTUSE ka_status ka_trust_peer(const struct ka_trust *trust, int fd, ka_error *err);

/* errno of a failed connect or lstat as a status. */
ka_status ka_socket_error(const char *path, ka_error *err);

#endif
