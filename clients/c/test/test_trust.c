/* Whom a client believes: a table of owners and modes. Needs root, to make sockets of other users. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "check.h"
#include "trust.h"

static const uid_t agent_uid = 64123, stranger_uid = 64124;
static char top[] = "/tmp/keyagent-trust-XXXXXX";
static char directory[64], path[96];

static void make_socket(void) {
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    memcpy(address.sun_path, path, strlen(path));
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof address), 0);
    close(fd);
}

/* TOP/run/agent.sock, all root's; only its owner may write to the directories. */
static int make_tree(void **state) {
    (void)state;
    if (geteuid() != 0) return 0;
    strcpy(top, "/tmp/keyagent-trust-XXXXXX");
    if (mkdtemp(top) == NULL) return -1;
    snprintf(directory, sizeof directory, "%s/run", top);
    snprintf(path, sizeof path, "%s/agent.sock", directory);
    if (chmod(top, 0755) != 0 || mkdir(directory, 0750) != 0) return -1;
    make_socket();
    return 0;
}

static int remove_tree(void **state) {
    (void)state;
    unlink(path);
    unlink(directory);
    rmdir(directory);
    rmdir(top);
    return 0;
}

static void need_root(void) {
    if (geteuid() != 0) skip();
}

static ka_status look(ka_error *err) {
    struct ka_trust trust;
    return ka_trust_path(path, &trust, err);
}

static void own(const char *what, uid_t uid) {
    assert_int_equal(lchown(what, uid, (gid_t)-1), 0);
}

static void a_socket_of_root_is_trusted_anywhere(void **state) {
    (void)state;
    need_root();
    own(directory, stranger_uid);
    assert_int_equal(chmod(directory, 0777), 0);
    assert_int_equal(look(NULL), KA_OK);
}

static void a_socket_of_this_user_is_trusted(void **state) {
    (void)state;
    need_root();
    own(path, stranger_uid);
    assert_int_equal(look(NULL), KA_ERR_UNTRUSTED);
    assert_int_equal(chmod(directory, 0755), 0);
    assert_int_equal(seteuid(stranger_uid), 0);
    ka_status status = look(NULL);
    assert_int_equal(seteuid(0), 0);
    assert_int_equal(status, KA_OK);
}

static void the_agents_own_directory_vouches_for_it(void **state) {
    (void)state;
    need_root();
    own(directory, agent_uid);
    own(path, agent_uid);
    assert_int_equal(look(NULL), KA_OK);
    own(path, stranger_uid);
    assert_int_equal(look(NULL), KA_ERR_UNTRUSTED);
}

static void a_directory_that_others_can_write_to_does_not(void **state) {
    static const mode_t modes[] = {0770, 0775, 0757, 0702, 01777, 02770};
    (void)state;
    need_root();
    own(directory, agent_uid);
    own(path, agent_uid);
    for (size_t i = 0; i < COUNT(modes); i++) {
        assert_int_equal(chmod(directory, modes[i]), 0);
        assert_int_equal(look(NULL), KA_ERR_UNTRUSTED);
    }
}

static void nor_one_whose_parent_others_own_or_can_write_to(void **state) {
    (void)state;
    need_root();
    own(directory, agent_uid);
    own(path, agent_uid);
    assert_int_equal(chmod(top, 01777), 0);
    assert_int_equal(look(NULL), KA_ERR_UNTRUSTED);
    assert_int_equal(chmod(top, 0775), 0);
    assert_int_equal(look(NULL), KA_ERR_UNTRUSTED);
    assert_int_equal(chmod(top, 0755), 0);
    assert_int_equal(look(NULL), KA_OK);
    own(top, stranger_uid);
    assert_int_equal(look(NULL), KA_ERR_UNTRUSTED);
}

static void nor_a_symbolic_link(void **state) {
    char moved[80];
    (void)state;
    need_root();
    own(directory, agent_uid);
    own(path, agent_uid);
    snprintf(moved, sizeof moved, "%s-moved", directory);
    assert_int_equal(rename(directory, moved), 0);
    assert_int_equal(symlink(moved, directory), 0);
    own(directory, agent_uid);
    ka_status status = look(NULL);
    unlink(path);
    unlink(directory);
    rmdir(moved);
    assert_int_equal(status, KA_ERR_UNTRUSTED);
}

static void what_is_no_socket_is_refused(void **state) {
    ka_error err;
    (void)state;
    need_root();
    char real[128];
    snprintf(real, sizeof real, "%s.real", path);
    assert_int_equal(rename(path, real), 0);
    assert_int_equal(symlink(real, path), 0);
    ka_status link = look(&err);
    unlink(real);
    unlink(path);
    assert_int_equal(link, KA_ERR_UNTRUSTED);
    assert_non_null(strstr(err.message, "is not a socket"));
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    fclose(file);
    assert_int_equal(look(NULL), KA_ERR_UNTRUSTED);
}

static void a_missing_path_says_what_to_do(void **state) {
    struct ka_trust trust;
    ka_error err;
    (void)state;
    assert_int_equal(ka_trust_path("/nowhere/agent.sock", &trust, &err), KA_ERR_UNAVAILABLE);
    assert_string_equal(err.message,
                        "no agent at /nowhere/agent.sock; start keyagentd, or set KEYAGENT_SOCK to its "
                        "socket: No such file or directory");
}

static void a_path_that_may_not_be_looked_at_is_denied(void **state) {
    ka_error err;
    (void)state;
    need_root();
    assert_int_equal(chmod(directory, 0700), 0);
    assert_int_equal(seteuid(stranger_uid), 0);
    ka_status status = look(&err);
    assert_int_equal(seteuid(0), 0);
    assert_int_equal(status, KA_ERR_DENIED);
    assert_non_null(strstr(err.message, "socket's group"));
}

/* The path was good and somebody else listens. A socketpair's peer is who made it. */
static void the_peer_is_held_against_the_same_uids(void **state) {
    struct ka_trust trust = {.own = agent_uid, .directory = stranger_uid, .path = "/x"};
    int fds[2];
    ka_error err;
    (void)state;
    need_root();
    assert_int_equal(seteuid(stranger_uid), 0);
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
    assert_int_equal(seteuid(0), 0);
    assert_int_equal(ka_trust_peer(&trust, fds[0], &err), KA_OK);
    trust.directory = 0;
    assert_int_equal(ka_trust_peer(&trust, fds[0], &err), KA_ERR_UNTRUSTED);
    assert_string_equal(err.message, "uid 64124 listens at /x, and it is not the agent's");
    trust.own = stranger_uid;
    assert_int_equal(ka_trust_peer(&trust, fds[0], &err), KA_OK);
    close(fds[0]);
    close(fds[1]);
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
    trust.own = trust.directory = agent_uid;
    assert_int_equal(ka_trust_peer(&trust, fds[0], &err), KA_OK); /* root's */
    close(fds[0]);
    close(fds[1]);
}

int main(void) {
#define IN_TREE(test) cmocka_unit_test_setup_teardown(test, make_tree, remove_tree)
    const struct CMUnitTest tests[] = {
        IN_TREE(a_socket_of_root_is_trusted_anywhere),
        IN_TREE(a_socket_of_this_user_is_trusted),
        IN_TREE(the_agents_own_directory_vouches_for_it),
        IN_TREE(a_directory_that_others_can_write_to_does_not),
        IN_TREE(nor_one_whose_parent_others_own_or_can_write_to),
        IN_TREE(nor_a_symbolic_link),
        IN_TREE(what_is_no_socket_is_refused),
        IN_TREE(a_path_that_may_not_be_looked_at_is_denied),
        cmocka_unit_test(a_missing_path_says_what_to_do),
        cmocka_unit_test(the_peer_is_held_against_the_same_uids),
    };
    return cmocka_run_group_tests_name("trust", tests, NULL, NULL);
}
