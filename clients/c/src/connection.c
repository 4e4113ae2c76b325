/* Connections, see connection.h. */
#include "connection.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include "error.h"
#include "trust.h"

/* A socket above the standard streams: in a program that closed those, printf would write to the agent. */
static int open_socket(void) {
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || fd > STDERR_FILENO) return fd;
    int above = fcntl(fd, F_DUPFD_CLOEXEC, STDERR_FILENO + 1);
    int number = errno;
    close(fd);
    errno = number;
    return above;
}

/* connect() waits while the agent's backlog is full, as long as SO_SNDTIMEO says; poll cannot wait for it. */
static ka_status connect_until(int fd, const char *path, const struct ka_deadline *deadline, ka_error *err) {
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    memcpy(address.sun_path, path, strlen(path));
    for (uint32_t left_ms; (left_ms = ka_deadline_left_ms(deadline)) > 0;) {
        struct timeval left = {.tv_sec = left_ms / 1000, .tv_usec = left_ms % 1000 * 1000};
        if (setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &left, sizeof left) != 0)
            return ka_error_set_errno(err, KA_ERR_UNAVAILABLE, "cannot set a timeout for %s", path);
        if (connect(fd, (struct sockaddr *)&address, sizeof address) == 0) return KA_OK;
        if (errno != EINTR && errno != EAGAIN) return ka_socket_error(path, err);
    }
    return ka_error_set(err, KA_ERR_TIMEOUT, "the agent at %s accepts no connection; see `keyagent status`",
                        path);
}

static void remember_opener(struct ka_connection *connection, int fd, const struct stat *at) {
    *connection = (struct ka_connection){
        .fd = fd,
        .device = at->st_dev,
        .inode = at->st_ino,
        .euid = geteuid(),
        .egid = getegid(),
    };
}

ka_status ka_connection_open(struct ka_connection *connection, const char *path,
                             const struct ka_deadline *deadline, ka_error *err) {
    struct ka_trust trust;
    struct stat at;
    ka_status status = ka_trust_path(path, &trust, err);
    if (status != KA_OK) return status;
    int fd = open_socket();
    if (fd < 0) return ka_error_set_errno(err, KA_ERR_UNAVAILABLE, "cannot open a socket");
    status = connect_until(fd, path, deadline, err);
    if (status == KA_OK) status = ka_trust_peer(&trust, fd, err);
    if (status == KA_OK && fstat(fd, &at) != 0)
        status = ka_error_set_errno(err, KA_ERR_UNAVAILABLE, "cannot look at the socket of %s", path);
    if (status == KA_OK)
        remember_opener(connection, fd, &at);
    else
        close(fd);
    return status;
}

/* A daemon that closes every descriptor leaves us with a number that may by now be anybody's. */
static bool is_ours(const struct ka_connection *connection) {
    struct stat at;
    return fstat(connection->fd, &at) == 0 && at.st_dev == connection->device &&
           at.st_ino == connection->inode;
}

bool ka_connection_usable(const struct ka_connection *connection) {
    return geteuid() == connection->euid && getegid() == connection->egid && is_ours(connection);
}

void ka_connection_close(struct ka_connection *connection) {
    if (connection->fd < 0) return;
    int fd = is_ours(connection) ? connection->fd : -1;
    /* The number goes first: a fork in between must not leave the child one that is closed already. */
    connection->fd = -1;
    if (fd >= 0) close(fd);
}

ka_status ka_connection_send(struct ka_connection *connection, const struct ka_request *request, bool repeat,
                             struct ka_exchange *exchange, const struct ka_deadline *deadline,
                             ka_error *err) {
    struct ka_writer writer;
    ka_writer_init(&writer, exchange->outbox, sizeof exchange->outbox);
    if (!connection->greeted) ka_hello_write(&writer, ++connection->last_id);
    struct ka_attempt attempt = {++connection->last_id, ka_deadline_left_ms(deadline), repeat};
    ka_request_write(&writer, request, &attempt);
    ka_status status =
        writer.overflow
            ? ka_error_set(err, KA_ERR_TOO_LARGE, "the request is longer than a frame")
            : ka_frame_send(connection->fd, (struct ka_span){writer.buf, writer.len}, deadline, err);
    if (status != KA_OK) ka_connection_close(connection);
    return status;
}

/* One frame as a reply to `method`. An error about the connection (id 0) means to a new one that it is
 * refused; to one that served before, that it ends, and a request in flight was not answered. */
static ka_status receive_reply(struct ka_connection *connection, uint32_t id, enum ka_method method,
                               struct ka_inbox *inbox, struct ka_reply *reply,
                               const struct ka_deadline *deadline, ka_error *err) {
    struct ka_span body;
    ka_status status = ka_frame_receive(connection->fd, inbox, &body, deadline, err);
    if (status != KA_OK) return status;
    if (!ka_reply_read(body, method, reply))
        return ka_error_set(err, KA_ERR_MALFORMED,
                            "the agent broke the protocol; are agent and library of one version?");
    if (reply->id == 0) return connection->greeted ? KA_LOST : KA_OK;
    if (reply->id != id)
        return ka_error_set(err, KA_ERR_MALFORMED, "the agent answered a request that was not made");
    return KA_OK;
}

/* The answer to hello. Where the agent refused, `reply` holds its error. */
static ka_status receive_hello(struct ka_connection *connection, struct ka_inbox *inbox,
                               struct ka_reply *reply, const struct ka_deadline *deadline, ka_error *err) {
    ka_status status =
        receive_reply(connection, connection->last_id - 1, KA_METHOD_HELLO, inbox, reply, deadline, err);
    if (status != KA_OK || reply->failed) return status;
    if (reply->version < KA_WIRE_VERSION_MIN || reply->version > KA_WIRE_VERSION_MAX)
        return ka_error_set(err, KA_ERR_UNSUPPORTED,
                            "the agent chose protocol version %lu, which was not offered",
                            (unsigned long)reply->version);
    connection->greeted = true;
    return KA_OK;
}

ka_status ka_connection_receive(struct ka_connection *connection, enum ka_method method,
                                struct ka_exchange *exchange, struct ka_reply *reply,
                                const struct ka_deadline *deadline, ka_error *err) {
    struct ka_inbox *inbox = &exchange->inbox;
    inbox->start = inbox->end = 0;
    ka_status status = KA_OK;
    if (!connection->greeted) status = receive_hello(connection, inbox, reply, deadline, err);
    if (status == KA_OK && connection->greeted)
        status = receive_reply(connection, connection->last_id, method, inbox, reply, deadline, err);
    bool reusable = status == KA_OK && connection->greeted && inbox->start == inbox->end &&
                    connection->last_id < UINT32_MAX;
    if (!reusable) ka_connection_close(connection);
    return status;
}
