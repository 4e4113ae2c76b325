/*
 * A pre-forking server, as Apache is one: the parent starts as root, loads the key and listens; its children
 * become another user and answer. Each connection sends a message and shuts down its sending side, and is
 * sent the signature. The agent sees each child as who it is, because the library gives it connections of its
 * own.
 *
 *     prefork-server SOCKET URI USER CHILDREN
 */
#include <errno.h>
#include <grp.h>
#include <pwd.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "verify.h"

enum { CHILDREN_MAX = 64 };

static _Noreturn void fail_errno(const char *what) {
    perror(what);
    exit(1);
}

/* Everything that arrives, at most `cap` bytes; -1 if it is more, or the peer is gone. */
static ssize_t read_all(int fd, uint8_t *out, size_t cap) {
    size_t len = 0;
    for (;;) {
        ssize_t got = read(fd, out + len, cap - len);
        if (got < 0 && errno == EINTR) continue;
        if (got < 0 || len == cap) return -1;
        if (got == 0) return (ssize_t)len;
        len += (size_t)got;
    }
}

static void answer(ka_key *key, int connection) {
    static uint8_t message[KA_MESSAGE_MAX + 1];
    const ka_sign_params params = params_for(key);
    uint8_t signature[SIGNATURE_MAX];
    size_t signature_len = sizeof signature;
    ka_error err;
    ssize_t len = read_all(connection, message, sizeof message);
    if (len < 0) return;
    ka_status status = ka_key_sign(key, &params, message, (size_t)len, signature, &signature_len, &err);
    if (status != KA_OK)
        fprintf(stderr, "%s: %s\n", ka_status_name(status), err.message);
    else if (!is_good(key, message, (size_t)len, signature, signature_len))
        fprintf(stderr, "a wrong signature\n");
    else if (send(connection, signature, signature_len, MSG_NOSIGNAL) < 0)
        perror("send"); /* the peer has gone */
}

static _Noreturn void serve(ka_key *key, int listener, const struct passwd *user) {
    if (initgroups(user->pw_name, user->pw_gid) != 0 || setgid(user->pw_gid) != 0 ||
        setuid(user->pw_uid) != 0)
        fail_errno(user->pw_name);
    for (;;) {
        int connection = accept(listener, NULL, NULL);
        if (connection < 0 && errno != EINTR && errno != ECONNABORTED) fail_errno("accept");
        if (connection < 0) continue;
        answer(key, connection);
        close(connection);
    }
}

static int listen_on(const char *path) {
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    if (strlen(path) >= sizeof address.sun_path) {
        fprintf(stderr, "%s: too long for a socket\n", path);
        exit(64);
    }
    strcpy(address.sun_path, path);
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    if (fd < 0 || bind(fd, (struct sockaddr *)&address, sizeof address) != 0 || listen(fd, 64) != 0)
        fail_errno(path);
    return fd;
}

int main(int argc, char **argv) {
    pid_t children[CHILDREN_MAX];
    sigset_t stop;
    int number, count = argc == 5 ? atoi(argv[4]) : 0;
    ka_client *client;
    ka_key *key;
    ka_error err;
    if (count < 1 || count > CHILDREN_MAX) {
        fprintf(stderr, "usage: prefork-server SOCKET URI USER CHILDREN\n");
        return 64;
    }
    const struct passwd *user = getpwnam(argv[3]);
    if (user == NULL) {
        fprintf(stderr, "%s: no such user\n", argv[3]);
        return 64;
    }
    if (ka_client_new(NULL, &client, &err) != KA_OK) fail("client", &err);
    if (ka_key_open(client, argv[2], &key, &err) != KA_OK) fail(argv[2], &err);
    int listener = listen_on(argv[1]);
    sigemptyset(&stop);
    sigaddset(&stop, SIGTERM);
    sigaddset(&stop, SIGCHLD);
    sigprocmask(SIG_BLOCK, &stop, NULL); /* before the first child: none is missed */
    for (int i = 0; i < count; i++) {
        children[i] = fork();
        if (children[i] < 0) fail_errno("fork");
        if (children[i] != 0) continue;
        sigprocmask(SIG_UNBLOCK, &stop, NULL);
        serve(key, listener, user);
    }
    sigwait(&stop, &number);
    for (int i = 0; i < count; i++)
        kill(children[i], SIGTERM);
    while (wait(NULL) > 0)
        continue;
    unlink(argv[1]);
    ka_key_free(key);
    ka_client_free(client);
    return number == SIGTERM ? 0 : 1; /* a child that ended by itself is an error */
}
