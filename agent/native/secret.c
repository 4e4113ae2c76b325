#define _DEFAULT_SOURCE /* explicit_bzero, MAP_ANONYMOUS */
#include "secret.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum { MAPPING_LEN = 4096, WAIT_MS = 5000 };

static int wait_readable(int fd) {
    struct pollfd poll_fd = {.fd = fd, .events = POLLIN};
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
        const int error = wait_readable(fd);
        if (error != 0) return error;
        const ssize_t got = read(fd, data + done, len - done);
        if (got == 0) return EPIPE;
        if (got < 0 && errno != EINTR && errno != EAGAIN) return errno;
        if (got > 0) done += (size_t)got;
    }
    return 0;
}

static int mapping_new(uint8_t **data) {
    void *mapping = mmap(NULL, MAPPING_LEN, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (mapping == MAP_FAILED) return errno;
    if (mlock(mapping, MAPPING_LEN) != 0 || madvise(mapping, MAPPING_LEN, MADV_DONTDUMP) != 0) {
        const int error = errno;
        munmap(mapping, MAPPING_LEN);
        return error;
    }
    *data = mapping;
    return 0;
}

int ka_secret_read(int fd, struct ka_secret *secret) {
    uint8_t prefix[2];
    *secret = (struct ka_secret){NULL, 0};

    int error = mapping_new(&secret->data);
    if (error != 0) return error;
    error = read_exactly(fd, prefix, sizeof prefix);
    if (error != 0) goto out;
    const size_t len = (size_t)prefix[0] << 8 | prefix[1];
    if (len > KA_SECRET_MAX) {
        error = EMSGSIZE;
        goto out;
    }
    error = read_exactly(fd, secret->data, len);
    secret->len = len;
out:
    if (error != 0) ka_secret_free(secret);
    return error;
}

void ka_secret_free(struct ka_secret *secret) {
    if (secret->data != NULL) {
        explicit_bzero(secret->data, MAPPING_LEN);
        munlock(secret->data, MAPPING_LEN);
        munmap(secret->data, MAPPING_LEN);
    }
    *secret = (struct ka_secret){NULL, 0};
}
