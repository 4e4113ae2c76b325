/* Frames over a socketpair: pieces, hostile lengths and ends; and deadlines. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "check.h"
#include "deadline.h"
#include "frame.h"

struct pair {
    int ours, theirs;
    struct ka_inbox inbox;
};

static int open_pair(void **state) {
    static struct pair pair;
    int fds[2];
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) != 0) return -1;
    pair.ours = fds[0];
    pair.theirs = fds[1];
    pair.inbox.start = pair.inbox.end = 0;
    *state = &pair;
    return 0;
}

static int close_pair(void **state) {
    struct pair *pair = *state;
    close(pair->ours);
    if (pair->theirs >= 0) close(pair->theirs);
    return 0;
}

static void feed(struct pair *pair, const void *bytes, size_t len) {
    assert_int_equal(write(pair->theirs, bytes, len), len);
}

static void hang_up(struct pair *pair) {
    close(pair->theirs);
    pair->theirs = -1;
}

static ka_status receive(struct pair *pair, struct ka_span *body, ka_error *err) {
    return ka_frame_receive(pair->ours, &pair->inbox, body, err);
}

static void hands_out_frames_that_came_together_one_by_one(void **state) {
    struct pair *pair = *state;
    struct ka_span body;
    feed(pair, "\0\0\0\2hi\0\0\0\1!\0\0\0\3y", 16);
    assert_int_equal(receive(pair, &body, NULL), KA_OK);
    assert_int_equal(body.len, 2);
    assert_memory_equal(body.data, "hi", 2);
    assert_int_equal(receive(pair, &body, NULL), KA_OK);
    assert_int_equal(body.len, 1);
    assert_memory_equal(body.data, "!", 1);
    feed(pair, "es", 2);
    assert_int_equal(receive(pair, &body, NULL), KA_OK);
    assert_memory_equal(body.data, "yes", 3);
    assert_int_equal(pair->inbox.start, pair->inbox.end);
}

static void takes_the_longest_frame_and_refuses_one_byte_more(void **state) {
    struct pair *pair = *state;
    static uint8_t frame[KA_FRAME_HEADER + 16384] = {0, 0, 0x40, 0};
    struct ka_span body;
    ka_error err;
    memset(frame + KA_FRAME_HEADER, 'x', 16384);
    feed(pair, frame, sizeof frame);
    assert_int_equal(receive(pair, &body, NULL), KA_OK);
    assert_int_equal(body.len, 16384);
    assert_memory_equal(body.data, frame + KA_FRAME_HEADER, 16384);
    feed(pair, "\0\0\x40\1", 4);
    assert_int_equal(receive(pair, &body, &err), KA_ERR_MALFORMED);
    assert_string_equal(err.message, "the agent sent a frame of 16385 bytes");
}

static void refuses_hostile_lengths_at_once(void **state) {
    static const char *const lengths[] = {"\xff\xff\xff\xff", "\x80\0\0\0", "\0\1\0\0", "\0\0\0\0"};
    struct pair *pair = *state;
    for (size_t i = 0; i < COUNT(lengths); i++) {
        struct ka_span body;
        pair->inbox.start = pair->inbox.end = 0;
        feed(pair, lengths[i], 4);
        assert_int_equal(receive(pair, &body, NULL), KA_ERR_MALFORMED);
    }
}

static void an_end_before_or_inside_a_frame_is_a_loss(void **state) {
    static const char frame[] = "\0\0\0\2hi";
    for (size_t len = 0; len < 6; len++) {
        struct pair *pair = *state;
        struct ka_span body;
        feed(pair, frame, len);
        hang_up(pair);
        assert_int_equal(receive(pair, &body, NULL), KA_LOST);
        close(pair->ours);
        assert_int_equal(open_pair(state), 0);
    }
}

static void a_frame_that_came_before_the_end_is_handed_out(void **state) {
    struct pair *pair = *state;
    struct ka_span body;
    feed(pair, "\0\0\0\2hi", 6);
    hang_up(pair);
    assert_int_equal(receive(pair, &body, NULL), KA_OK);
    assert_int_equal(receive(pair, &body, NULL), KA_LOST);
}

static void silence_is_waited_for_elsewhere(void **state) {
    struct pair *pair = *state;
    struct ka_span body;
    assert_int_equal(receive(pair, &body, NULL), KA_PENDING);
    feed(pair, "\0\0\0\2h", 5);
    assert_int_equal(receive(pair, &body, NULL), KA_PENDING);
    feed(pair, "i", 1);
    assert_int_equal(receive(pair, &body, NULL), KA_OK);
    assert_memory_equal(body.data, "hi", 2);
}

static void sending_to_a_closed_peer_is_a_loss_and_no_signal(void **state) {
    struct pair *pair = *state;
    size_t sent = 0;
    hang_up(pair);
    assert_true(signal(SIGPIPE, SIG_DFL) != SIG_ERR);
    assert_int_equal(ka_frame_send(pair->ours, BYTES("x"), &sent), KA_LOST);
    assert_int_equal(sent, 0);
}

/* More than a socket holds, taken in pieces: each byte arrives once. */
static void what_a_socket_does_not_take_is_sent_later(void **state) {
    struct pair *pair = *state;
    static uint8_t big[1 << 21], piece[1 << 16];
    size_t sent = 0, read_back = 0;
    for (size_t i = 0; i < sizeof big; i++)
        big[i] = (uint8_t)(i / 251);
    ka_status status;
    while ((status = ka_frame_send(pair->ours, (struct ka_span){big, sizeof big}, &sent)) == KA_PENDING) {
        ssize_t got = read(pair->theirs, piece, sizeof piece);
        assert_true(got > 0 && read_back + (size_t)got <= sent);
        assert_memory_equal(piece, big + read_back, (size_t)got);
        read_back += (size_t)got;
    }
    assert_int_equal(status, KA_OK);
    assert_int_equal(sent, sizeof big);
    assert_true(read_back > 0);
}

static void a_deadline_counts_down_to_zero(void **state) {
    struct ka_deadline deadline = ka_deadline_in(UINT32_MAX);
    (void)state;
    assert_true(ka_deadline_left_ms(&deadline) > UINT32_MAX - 60000);
    deadline = ka_deadline_in(0);
    assert_int_equal(ka_deadline_left_ms(&deadline), 0);
}

int main(void) {
#define ON_PAIR(test) cmocka_unit_test_setup_teardown(test, open_pair, close_pair)
    const struct CMUnitTest tests[] = {
        ON_PAIR(hands_out_frames_that_came_together_one_by_one),
        ON_PAIR(takes_the_longest_frame_and_refuses_one_byte_more),
        ON_PAIR(refuses_hostile_lengths_at_once),
        ON_PAIR(an_end_before_or_inside_a_frame_is_a_loss),
        ON_PAIR(a_frame_that_came_before_the_end_is_handed_out),
        ON_PAIR(silence_is_waited_for_elsewhere),
        ON_PAIR(sending_to_a_closed_peer_is_a_loss_and_no_signal),
        ON_PAIR(what_a_socket_does_not_take_is_sent_later),
        cmocka_unit_test(a_deadline_counts_down_to_zero),
    };
    return cmocka_run_group_tests_name("frame", tests, NULL, NULL);
}
