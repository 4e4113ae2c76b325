/* Connections, see connection.h. */
#include "connection.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "error.h"
#include "trust.h"

/* A socket above the standard streams: in a program that closed those, printf would write to the agent. */
static int new_socket(void) {
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0 || fd > STDERR_FILENO) return fd;
    int above = fcntl(fd, F_DUPFD_CLOEXEC, STDERR_FILENO + 1);
    int number = errno;
    close(fd);
    errno = number;
    return above;
}

/* The number is remembered before anything can happen to it: a child that is forked from now on closes it. */
static ka_status make_socket(struct ka_connection *connection, ka_error *err) {
    struct stat at;
    int fd = new_socket();
    if (fd < 0) return ka_error_set_errno(err, KA_ERR_UNAVAILABLE, "cannot open a socket");
    if (fstat(fd, &at) != 0) {
        close(fd);
        return ka_error_set(err, KA_ERR_UNAVAILABLE, "a new socket was closed by somebody else");
    }
    *connection = (struct ka_connection){.fd = fd, .device = at.st_dev, .inode = at.st_ino};
    return KA_OK;
}

/* The kernel notes who connects while it connects; another thread may be changing that. Only where it was the
 * same before and after is it known. */
static ka_status connect_now(struct ka_connection *connection, const char *path, ka_error *err) {
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    memcpy(address.sun_path, path, strlen(path));
    connection->opener = ka_identity_now();
    if (connect(connection->fd, (struct sockaddr *)&address, sizeof address) != 0)
        return errno == EAGAIN || errno == EINTR ? KA_PENDING : ka_socket_error(path, err);
    struct ka_identity after = ka_identity_now();
    if (ka_identity_equal(&connection->opener, &after)) return KA_OK;
    ka_connection_close(connection);
    return KA_PENDING;
}

ka_status ka_connection_open(struct ka_connection *connection, const char *path, ka_error *err) {
    struct ka_trust trust;
    ka_status status = ka_trust_path(path, &trust, err);
    /* The number may have been closed between two tries. */
    if (!ka_connection_intact(connection)) ka_connection_close(connection);
    if (status == KA_OK && connection->fd < 0) status = make_socket(connection, err);
    if (status == KA_OK) status = connect_now(connection, path, err);
    if (status == KA_OK) status = ka_trust_peer(&trust, connection->fd, err);
    if (status == KA_OK) connection->connected = true;
    if (status != KA_OK && status != KA_PENDING) ka_connection_close(connection);
    return status;
}

/* A daemon that closes every descriptor leaves us with a number that may by now be anybody's. */
bool ka_connection_intact(const struct ka_connection *connection) {
    struct stat at;
    return fstat(connection->fd, &at) == 0 && at.st_dev == connection->device &&
           at.st_ino == connection->inode;
}

bool ka_connection_usable(const struct ka_connection *connection) {
    struct ka_identity now = ka_identity_now();
    return now.group_count >= 0 && ka_identity_equal(&connection->opener, &now) &&
           ka_connection_intact(connection);
}

void ka_connection_close(struct ka_connection *connection) {
    if (connection->fd < 0) return;
    int fd = ka_connection_intact(connection) ? connection->fd : -1;
    /* The number goes first: a fork in between must not leave the child one that is closed already. */
    connection->fd = -1;
    connection->connected = false;
    if (fd >= 0) close(fd);
}

ka_status ka_connection_write(struct ka_connection *connection, const struct ka_params *params,
                              uint32_t deadline_ms, bool repeat, struct ka_exchange *exchange,
                              ka_error *err) {
    struct ka_writer writer;
    ka_writer_init(&writer, exchange->outbox, sizeof exchange->outbox);
    if (!connection->greeted) ka_hello_write(&writer, ++connection->last_id);
    struct ka_attempt attempt = {++connection->last_id, deadline_ms, repeat};
    ka_params_write(&writer, params, &attempt);
    if (writer.overflow) return ka_error_set(err, KA_ERR_TOO_LARGE, "the request is longer than a frame");
    exchange->len = writer.len;
    exchange->sent = exchange->inbox.start = exchange->inbox.end = 0;
    exchange->cut = false;
    return KA_OK;
}

ka_status ka_connection_send(struct ka_connection *connection, struct ka_exchange *exchange) {
    struct ka_span outbox = {exchange->outbox, exchange->len};
    if (exchange->cut) return KA_OK;
    ka_status status = ka_frame_send(connection->fd, outbox, &exchange->sent);
    if (status != KA_LOST) return status;
    exchange->cut = true;
    return KA_OK;
}

/* One frame as a reply to `method`. An error about the connection (id 0) means to a new one that it is
 * refused; to one that served before, that it ends, and a request in flight was not answered. */
static ka_status receive_reply(struct ka_connection *connection, uint32_t id, enum ka_method method,
                               struct ka_inbox *inbox, struct ka_reply *reply, ka_error *err) {
    struct ka_span body;
    ka_status status = ka_frame_receive(connection->fd, inbox, &body, err);
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
                               struct ka_reply *reply, ka_error *err) {
    ka_status status = receive_reply(connection, connection->last_id - 1, KA_METHOD_HELLO, inbox, reply, err);
    if (status != KA_OK || reply->failed) return status;
    if (reply->version < KA_WIRE_VERSION_MIN || reply->version > KA_WIRE_VERSION_MAX)
        return ka_error_set(err, KA_ERR_UNSUPPORTED,
                            "the agent chose protocol version %lu, which was not offered",
                            (unsigned long)reply->version);
    connection->greeted = true;
    return KA_OK;
}

ka_status ka_connection_receive(struct ka_connection *connection, enum ka_method method,
                                struct ka_exchange *exchange, struct ka_reply *reply, ka_error *err) {
    struct ka_inbox *inbox = &exchange->inbox;
    ka_status status = KA_OK;
    if (!connection->greeted) status = receive_hello(connection, inbox, reply, err);
    if (status == KA_OK && connection->greeted)
        status = receive_reply(connection, connection->last_id, method, inbox, reply, err);
    bool reusable = status == KA_OK && connection->greeted && !exchange->cut && inbox->start == inbox->end &&
                    connection->last_id < UINT32_MAX;
    if (!reusable && status != KA_PENDING) ka_connection_close(connection);
    return status;
}
