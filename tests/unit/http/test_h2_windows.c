/* test_h2_windows.c - HTTP/2: flow control, of the peer and towards it. */
#include "h2_pair.h"

static void fill(char *p, size_t n)
{
    for (size_t i = 0; i < n; i++)
        p[i] = (char)('a' + i % 23);
}

static void test_uncredited_stalls_alone(UNUSED void **state)
{
    enum { WINDOW = 65536, MUCH = 400000 };
    static char much[MUCH];
    struct pair p;
    fill(much, MUCH);
    pair_begin(&p, NULL);
    p.server.no_credit = true;
    struct told *slow = ask(&p, "POST", BODY_CHUNKED, 0, false);
    assert_int_equal(h2_send(&slow->st, much, MUCH), 0);
    assert_true(slow->st.blocked);
    talk(&p);
    struct told *s = p.server.streams[0];
    assert_int_equal(buf_len(&s->body), WINDOW);
    assert_int_equal(s->st.held, WINDOW);
    assert_int_equal(slow->st.sent, WINDOW);

    /* Three times the connection's window goes past it. */
    for (int i = 0; i < 8; i++) {
        p.server.no_credit = false;
        struct told *c = ask(&p, "POST", BODY_CHUNKED, 0, false);
        assert_int_equal(h2_send(&c->st, much, MUCH), 0);
        assert_int_equal(h2_send_end(&c->st, NULL), 0);
        talk(&p);
        assert_int_equal(buf_len(&p.server.streams[i + 1]->body), MUCH);
        assert_memory_equal(buf_data(&p.server.streams[i + 1]->body), much, MUCH);
        assert_int_equal(c->writables, 1);
    }
    assert_int_equal(slow->writables, 0);
    assert_true(slow->st.blocked);
    while (buf_len(&s->body) < MUCH) {
        size_t had = buf_len(&s->body);
        h2_credit(&s->st, s->st.held + 1000); /* more than there is does no harm */
        talk(&p);
        assert_true(buf_len(&s->body) > had);
    }
    assert_memory_equal(buf_data(&s->body), much, MUCH);
    assert_int_equal(slow->writables, 1);
    pair_end(&p);
}

/* Streams that are left or reset give the connection's window back. */
static void test_windows_of_dropped_streams(UNUSED void **state)
{
    static char much[300000];
    struct pair p;
    pair_begin(&p, NULL);
    p.server.no_credit = true;
    for (int i = 0; i < 60; i++) {
        struct told *c = ask(&p, "POST", BODY_CHUNKED, 0, false);
        assert_int_equal(h2_send(&c->st, much, 60000), 0);
        talk(&p);
        struct told *s = p.server.streams[p.server.n - 1];
        assert_int_equal(buf_len(&s->body), 60000);
        if (i % 3 == 0) {
            h2_reset(&s->st, H2_CANCEL);
        } else if (i % 3 == 1) {
            h2_reset(&c->st, H2_CANCEL);
        } else {
            answer(s, 200, BODY_NONE, 0, true);
            h2_leave(&s->st);
            assert_int_equal(h2_send(&c->st, much, sizeof(much)), 0); /* is discarded */
        }
        talk(&p);
        assert_null(c->st.h2);
        assert_null(s->st.h2);
        assert_int_equal(p.server.h2.n_streams + p.client.h2.n_streams, 0);
        assert_int_equal(p.server.h2.own_resets, 0);
    }
    pair_end(&p);
}

static void test_blocked_and_writable(UNUSED void **state)
{
    static char much[H2_STREAM_KEEPS + 1];
    struct pair p;
    pair_begin(&p, NULL);
    ask(&p, "GET", BODY_NONE, 0, true);
    talk(&p);
    struct told *s = p.server.streams[0];
    answer(s, 200, BODY_CHUNKED, 0, false);
    assert_int_equal(h2_send(&s->st, much, H2_STREAM_KEEPS), 0);
    assert_false(s->st.blocked);
    assert_int_equal(h2_send(&s->st, much, 1), 0);
    assert_true(s->st.blocked);
    /* 64 bytes at a time: a frame is made whole, and writable is told once. */
    while (h2_wants_pull(&p.server.h2)) {
        assert_int_equal(h2_pull(&p.server.h2, &p.server.out, 64), 0);
        assert_true(buf_len(&p.server.out) <= 64 + H2_FRAME_HEAD + 16384);
        assert_int_equal(peer_carry(&p.server, &p.client, 0), 0);
    }
    assert_int_equal(s->writables, 1);
    assert_int_equal(buf_len(&p.client.streams[0]->body), H2_STREAM_KEEPS + 1);
    pair_end(&p);
}

static void test_take_back(UNUSED void **state)
{
    struct pair p;
    struct message m;
    pair_begin(&p, NULL);
    struct told *c = ask(&p, "GET", BODY_NONE, 0, true);
    talk(&p);
    struct told *s = p.server.streams[0];
    say(s, "never seen");
    message_init(&m, false);
    add_field(&m, "a", "b");
    assert_int_equal(h2_send_end(&s->st, &m), 0);
    message_free(&m);
    h2_take_back(&s->st);
    assert_true(!s->st.send_ended && buf_len(&s->st.out) == 0);
    say(s, "seen");
    assert_int_equal(h2_send_end(&s->st, NULL), 0);
    answer(s, 502, BODY_CHUNKED, 0, false); /* the head may come last */
    talk(&p);
    assert_body(c, "seen");
    assert_int_equal(c->head.status, 502);
    assert_int_equal(c->trailers.n_fields, 0);
    assert_over(c);
    pair_end(&p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_uncredited_stalls_alone),
        cmocka_unit_test(test_windows_of_dropped_streams),
        cmocka_unit_test(test_blocked_and_writable),
        cmocka_unit_test(test_take_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
