/* writeSecret and discardSecret: the agent's end of a PIN's way to a token host, and the host's way to drop a
 * PIN that no login will read. */
#define _DEFAULT_SOURCE /* explicit_bzero */
#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "exports.h"
#include "secret.h"

enum { WAIT_MS = 5000 };

/* @return 0 or an errno. The descriptor may be non-blocking; MSG_NOSIGNAL because a host may have died. */
static int send_all(int fd, const uint8_t *data, size_t len) {
    size_t done = 0;
    while (done < len) {
        const ssize_t sent = send(fd, data + done, len - done, MSG_NOSIGNAL);
        if (sent >= 0) {
            done += (size_t)sent;
        } else if (errno == EAGAIN) {
            struct pollfd poll_fd = {.fd = fd, .events = POLLOUT};
            if (poll(&poll_fd, 1, WAIT_MS) == 0) return ETIMEDOUT;
        } else if (errno != EINTR) {
            return errno;
        }
    }
    return 0;
}

napi_value ka_secret_write(napi_env env, napi_callback_info info) {
    napi_value arguments[2];
    int32_t fd;
    const uint8_t *secret;
    size_t len;
    uint8_t message[2 + KA_SECRET_MAX];

    if (!ka_arguments_get(env, info, 2, arguments) ||
        !ka_argument_integer(env, arguments[0], "fd", 0, INT32_MAX, &fd) ||
        !ka_argument_bytes(env, arguments[1], "secret", 0, KA_SECRET_MAX, &secret, &len))
        return NULL;
    message[0] = (uint8_t)(len >> 8);
    message[1] = (uint8_t)len;
    memcpy(message + 2, secret, len);
    const int error = send_all(fd, message, 2 + len);
    explicit_bzero(message, sizeof message);
    return error == 0 ? NULL : ka_throw_errno(env, error, "write secret");
}

napi_value ka_secret_discard(napi_env env, napi_callback_info info) {
    napi_value argument;
    int32_t fd;
    struct ka_secret secret;

    if (!ka_arguments_get(env, info, 1, &argument) ||
        !ka_argument_integer(env, argument, "fd", 0, INT32_MAX, &fd))
        return NULL;
    const int error = ka_secret_read(fd, &secret);
    ka_secret_free(&secret);
    return error == 0 ? NULL : ka_throw_errno(env, error, "discard secret");
}
