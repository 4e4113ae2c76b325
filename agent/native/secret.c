#define _DEFAULT_SOURCE
#include "secret.h"

#include <errno.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "arena.h"

enum { WAIT_MS = 5000, PREFIX_LEN = 2 };

static int wait_ready(int fd, short events) {
    struct pollfd poll_fd = {.fd = fd, .events = events};
    for (;;) {
        const int ready = poll(&poll_fd, 1, WAIT_MS);
        if (ready > 0) return 0;
        if (ready == 0) return ETIMEDOUT;
        if (errno != EINTR) return errno;
    }
}

/* The descriptor may be non-blocking: libuv makes its own end so. */
static int read_exactly(int fd, uint8_t *data, size_t len) {
    size_t done = 0;
    while (done < len) {
        const int error = wait_ready(fd, POLLIN);
        if (error != 0) return error;
        const ssize_t got = read(fd, data + done, len - done);
        if (got == 0) return EPIPE;
        if (got < 0 && errno != EINTR && errno != EAGAIN) return errno;
        if (got > 0) done += (size_t)got;
    }
    return 0;
}

/* MSG_NOSIGNAL because a host may have died. */
static int write_all(int fd, const uint8_t *data, size_t len) {
    size_t done = 0;
    while (done < len) {
        const int error = wait_ready(fd, POLLOUT);
        if (error != 0) return error;
        const ssize_t sent = send(fd, data + done, len - done, MSG_NOSIGNAL);
        if (sent < 0 && errno != EINTR && errno != EAGAIN) return errno;
        if (sent > 0) done += (size_t)sent;
    }
    return 0;
}

int ka_secret_read(int fd, uint8_t **place, size_t *len) {
    uint8_t prefix[PREFIX_LEN];
    int error = ka_arena_take(place);
    if (error != 0) return error;
    error = read_exactly(fd, prefix, sizeof prefix);
    if (error != 0) goto out;
    *len = (size_t)prefix[0] << 8 | prefix[1];
    error = *len > KA_SECRET_MAX ? EMSGSIZE : read_exactly(fd, *place, *len);
out:
    if (error != 0) ka_arena_return(*place);
    return error;
}

int ka_secret_write(int fd, const uint8_t *secret, size_t len) {
    const uint8_t prefix[PREFIX_LEN] = {(uint8_t)(len >> 8), (uint8_t)len};
    const int error = write_all(fd, prefix, sizeof prefix);
    return error != 0 ? error : write_all(fd, secret, len);
}
