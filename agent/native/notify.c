/* notify: one datagram to the service manager, as sd_notify(3) describes it. */
#define _GNU_SOURCE /* SOCK_CLOEXEC */
#include <errno.h>
#include <stddef.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "exports.h"

enum { MESSAGE_MAX = 4096 };

/* @return 0 or an errno */
static int datagram_send(const struct sockaddr_un *address, socklen_t address_len, const char *message) {
    const int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0) return errno;
    int error = 0;
    if (sendto(fd, message, strlen(message), MSG_NOSIGNAL, (const struct sockaddr *)address, address_len) < 0)
        error = errno;
    close(fd);
    return error;
}

napi_value ka_notify(napi_env env, napi_callback_info info) {
    napi_value arguments[2];
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    char message[MESSAGE_MAX];

    if (!ka_arguments_get(env, info, 2, arguments) ||
        !ka_argument_string(env, arguments[0], "socketPath", address.sun_path, sizeof address.sun_path) ||
        !ka_argument_string(env, arguments[1], "message", message, sizeof message))
        return NULL;
    if (address.sun_path[0] != '/' && address.sun_path[0] != '@')
        return ka_throw_errno(env, EAFNOSUPPORT, "notify socket");

    const size_t path_len = strlen(address.sun_path);
    if (address.sun_path[0] == '@') address.sun_path[0] = '\0';
    const socklen_t len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + path_len);
    const int error = datagram_send(&address, len, message);
    return error == 0 ? NULL : ka_throw_errno(env, error, "notify");
}
