/* Frames over a socketpair: pieces, hostile lengths, ends and deadlines. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "check.h"
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

static ka_status receive(struct pair *pair, struct ka_span *body, uint32_t timeout_ms, ka_error *err) {
    struct ka_deadline deadline = ka_deadline_in(timeout_ms);
    return ka_frame_receive(pair->ours, &pair->inbox, body, &deadline, err);
}

static void hands_out_frames_that_came_together_one_by_one(void **state) {
    struct pair *pair = *state;
    struct ka_span body;
    feed(pair, "\0\0\0\2hi\0\0\0\1!\0\0\0\3y", 16);
    assert_int_equal(receive(pair, &body, 1000, NULL), KA_OK);
    assert_int_equal(body.len, 2);
    assert_memory_equal(body.data, "hi", 2);
    assert_int_equal(receive(pair, &body, 1000, NULL), KA_OK);
    assert_int_equal(body.len, 1);
    assert_memory_equal(body.data, "!", 1);
    feed(pair, "es", 2);
    assert_int_equal(receive(pair, &body, 1000, NULL), KA_OK);
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
    assert_int_equal(receive(pair, &body, 1000, NULL), KA_OK);
    assert_int_equal(body.len, 16384);
    assert_memory_equal(body.data, frame + KA_FRAME_HEADER, 16384);
    feed(pair, "\0\0\x40\1", 4);
    assert_int_equal(receive(pair, &body, 1000, &err), KA_ERR_MALFORMED);
    assert_string_equal(err.message, "the agent sent a frame of 16385 bytes");
}

static void refuses_hostile_lengths_at_once(void **state) {
    static const char *const lengths[] = {"\xff\xff\xff\xff", "\x80\0\0\0", "\0\1\0\0", "\0\0\0\0"};
    struct pair *pair = *state;
    for (size_t i = 0; i < COUNT(lengths); i++) {
        struct ka_span body;
        pair->inbox.start = pair->inbox.end = 0;
        feed(pair, lengths[i], 4);
        assert_int_equal(receive(pair, &body, 1000, NULL), KA_ERR_MALFORMED);
    }
}

static void an_end_before_or_inside_a_frame_is_a_loss(void **state) {
    static const char frame[] = "\0\0\0\2hi";
    for (size_t len = 0; len < 6; len++) {
        struct pair *pair = *state;
        struct ka_span body;
        feed(pair, frame, len);
        hang_up(pair);
        assert_int_equal(receive(pair, &body, 1000, NULL), KA_LOST);
        close(pair->ours);
        assert_int_equal(open_pair(state), 0);
    }
}

static void a_frame_that_came_before_the_end_is_handed_out(void **state) {
    struct pair *pair = *state;
    struct ka_span body;
    feed(pair, "\0\0\0\2hi", 6);
    hang_up(pair);
    assert_int_equal(receive(pair, &body, 1000, NULL), KA_OK);
    assert_int_equal(receive(pair, &body, 1000, NULL), KA_LOST);
}

static void silence_ends_at_the_deadline(void **state) {
    struct pair *pair = *state;
    struct ka_span body;
    ka_error err;
    struct ka_deadline bound = ka_deadline_in(5000);
    feed(pair, "\0\0\0\2h", 5);
    assert_int_equal(receive(pair, &body, 20, &err), KA_ERR_TIMEOUT);
    assert_int_equal(err.code, KA_ERR_TIMEOUT);
    assert_true(ka_deadline_left_ms(&bound) > 0);
}

static void sending_to_a_closed_peer_is_a_loss_and_no_signal(void **state) {
    struct pair *pair = *state;
    struct ka_deadline deadline = ka_deadline_in(1000);
    hang_up(pair);
    assert_true(signal(SIGPIPE, SIG_DFL) != SIG_ERR);
    assert_int_equal(ka_frame_send(pair->ours, (struct ka_span){(const uint8_t *)"x", 1}, &deadline, NULL),
                     KA_LOST);
}

static void sending_to_a_peer_that_does_not_read_ends_at_the_deadline(void **state) {
    struct pair *pair = *state;
    static uint8_t big[1 << 22];
    struct ka_deadline deadline = ka_deadline_in(20);
    assert_int_equal(ka_frame_send(pair->ours, (struct ka_span){big, sizeof big}, &deadline, NULL),
                     KA_ERR_TIMEOUT);
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
        ON_PAIR(silence_ends_at_the_deadline),
        ON_PAIR(sending_to_a_closed_peer_is_a_loss_and_no_signal),
        ON_PAIR(sending_to_a_peer_that_does_not_read_ends_at_the_deadline),
        cmocka_unit_test(a_deadline_counts_down_to_zero),
    };
    return cmocka_run_group_tests_name("frame", tests, NULL, NULL);
}
