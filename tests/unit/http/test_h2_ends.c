/* test_h2_ends.c - HTTP/2: how streams and connections end, and what comes behind that. */
#include "h2_pair.h"

#include <errno.h>

static void test_leave(UNUSED void **state)
{
    struct pair p;
    pair_begin(&p, NULL);
    for (int order = 0; order < 2; order++) {
        struct told *c = ask(&p, "POST", BODY_CHUNKED, 0, false);
        say(c, "begin");
        talk(&p);
        struct told *s = p.server.streams[order];
        answer(s, 413, BODY_CHUNKED, 0, false);
        say(s, "too much");
        assert_int_equal(h2_send_end(&s->st, NULL), 0);
        if (order == 1) /* the end is out long before the owner lets go */
            talk(&p);
        h2_leave(&s->st);
        talk(&p);
        assert_true(s->closes == 1 && s->code == H2_NO_ERROR && !s->ours);
        assert_true(c->closes == 1 && c->code == H2_NO_ERROR && c->ends == 1);
        assert_body(c, "too much");
    }
    pair_end(&p);
}

/* Early answers are our choice: however many, they are no abuse of the client's. */
static void test_leave_is_no_abuse(UNUSED void **state)
{
    struct pair p;
    pair_begin(&p, NULL);
    for (int i = 0; i < 600; i++) {
        ask(&p, "POST", BODY_CHUNKED, 0, false);
        talk(&p);
        answer(p.server.streams[i], 401, BODY_NONE, 0, true);
        h2_leave(&p.server.streams[i]->st);
        talk(&p);
        assert_int_equal(p.server.streams[i]->closes, 1);
    }
    assert_int_equal(p.server.h2.failure_why, REASON_NONE);
    pair_end(&p);
}

/* The server answers while the end of the request waits to be written: who has left is told of its
 * stream's end only, not that it may write. */
static void test_left_is_not_writable(UNUSED void **state)
{
    static char much[2 * H2_STREAM_KEEPS - 1];
    struct message m;
    struct pair p;
    pair_begin(&p, NULL);
    struct told *c = ask(&p, "POST", BODY_CHUNKED, 0, false);
    assert_int_equal(h2_send(&c->st, much, sizeof(much)), 0);
    message_init(&m, true);
    add_field(&m, "x-sum", "1");
    assert_int_equal(h2_send_end(&c->st, &m), 0);
    message_free(&m);
    assert_int_equal(h2_pull(&p.client.h2, &p.client.out, 16384), 0);
    assert_true(c->st.blocked && c->st.end_sent);
    assert_int_equal(peer_carry(&p.client, &p.server, 0), 0);
    answer(p.server.streams[0], 403, BODY_NONE, 0, true);
    assert_int_equal(peer_pull(&p.server), 0);
    assert_int_equal(peer_carry(&p.server, &p.client, 0), 0);
    assert_true(c->st.recv_ended);
    h2_leave(&c->st);
    assert_int_equal(h2_pull(&p.client.h2, &p.client.out, 1), 0); /* room for one more frame */
    assert_int_equal(c->writables, 0);
    talk(&p);
    assert_int_equal(c->writables, 0);
    assert_over(c);
    pair_end(&p);
}

static void test_reset_at_every_point(UNUSED void **state)
{
    for (int point = 0; point < 8; point++) {
        struct pair p;
        pair_begin(&p, NULL);
        p.server.reset_in_head = point == 0;
        p.server.reset_in_body = point == 1;
        struct told *c = ask(&p, "POST", BODY_CHUNKED, 0, false);
        if (point == 2) { /* before it was on the wire */
            h2_reset(&c->st, H2_CANCEL);
            talk(&p);
            assert_int_equal(p.server.n, 0);
            pair_end(&p);
            continue;
        }
        say(c, "some");
        assert_int_equal(peer_pull(&p.client), 0);
        say(c, "more");
        assert_int_equal(peer_pull(&p.client), 0);
        talk(&p);
        struct told *s = p.server.streams[0];
        if (point >= 3)
            answer(s, 200, BODY_CHUNKED, 0, false);
        if (point == 4)
            say(s, "body");
        if (point == 5)
            talk(&p);
        if (point >= 3)
            h2_reset(point == 7 ? &c->st : &s->st, H2_INTERNAL_ERROR);
        h2_reset(&s->st, H2_CANCEL); /* harmless when it is over */
        talk(&p);
        assert_null(s->st.h2);
        assert_null(c->st.h2);
        if (point != 7)
            assert_true(c->closes == 1 && !c->ours && !c->unprocessed);
        assert_int_equal(p.server.h2.own_resets, 0);
        assert_int_equal(p.server.h2.n_streams + p.client.h2.n_streams, 0);
        /* Calls on a stream that is gone do nothing. */
        say(s, "x");
        h2_credit(&s->st, 1);
        h2_leave(&s->st);
        h2_take_back(&s->st);
        assert_int_equal(h2_send_end(&s->st, NULL), 0);
        answer(s, 200, BODY_NONE, 0, true);
        pair_end(&p);
    }
}

/* What crosses our RST_STREAM is no mistake, also while that waits for a transport that is full. */
static void test_data_behind_our_reset(UNUSED void **state)
{
    struct peer s;
    struct raw r;
    server_begin(&s, &r, NULL);
    s.reset_in_body = true;
    raw_head(&r, 1, RAW_POST, false);
    raw_frame(&r, F_DATA, 0, 1, "a", 1);
    raw_frame(&r, F_DATA, 0, 1, "b", 1);
    assert_int_equal(raw_feed(&r, &s), 0);
    raw_frame(&r, F_DATA, 0, 1, "c", 1);
    raw_head(&r, 1, "t=1\n", true);
    assert_int_equal(raw_feed(&r, &s), 0);
    s.refuse_from = 1;
    raw_head(&r, 3, RAW_POST, false);
    raw_frame(&r, F_DATA, END_STREAM, 3, "d", 1);
    assert_int_equal(raw_feed(&r, &s), 0);
    assert_int_equal(peer_pull(&s), 0);
    assert_int_equal(rst_of(&s, 1), H2_CANCEL);
    assert_int_equal(rst_of(&s, 3), H2_REFUSED_STREAM);
    assert_int_equal(goaway_of(&s), -1);
    assert_int_equal(s.h2.own_resets, 0);
    server_end(&s, &r);
}

/* More streams at once than the SETTINGS allow, which the client has not seen yet: those beyond are
 * refused, and what they carry behind that is no mistake. */
static void test_too_many_before_settings(UNUSED void **state)
{
    struct peer s;
    struct raw r;
    struct h2_settings settings = H2_SETTINGS_DEFAULT;
    settings.max_concurrent_streams = 2;
    server_begin(&s, &r, &settings);
    for (uint32_t id = 1; id <= 9; id += 2)
        raw_head(&r, id, RAW_POST, false);
    raw_rst(&r, 1, H2_CANCEL);
    raw_head(&r, 11, RAW_POST, false);
    for (uint32_t id = 5; id <= 11; id += 2)
        raw_frame(&r, F_DATA, 0, id, "x", 1);
    assert_int_equal(raw_feed(&r, &s), 0);
    assert_int_equal(peer_pull(&s), 0);
    for (uint32_t id = 5; id <= 9; id += 2)
        assert_int_equal(rst_of(&s, id), H2_REFUSED_STREAM);
    assert_int_equal(s.n, 3);
    assert_body(s.streams[2], "x");
    raw_frame(&r, F_DATA, END_STREAM, 7, "x", 1);
    assert_int_equal(raw_feed(&r, &s), 0);
    server_end(&s, &r);
}

static void test_mistakes_about_closed_streams(UNUSED void **state)
{
    for (int kind = 0; kind < 4; kind++) {
        struct peer s;
        struct raw r;
        server_begin(&s, &r, NULL);
        raw_head(&r, 5, RAW_POST, false);
        raw_rst(&r, 5, H2_CANCEL);
        if (kind == 0)
            raw_frame(&r, F_DATA, 0, 5, "x", 1);
        else if (kind == 1)
            raw_head(&r, 5, "a=1\n", true);
        else if (kind == 2)
            raw_head(&r, 3, RAW_GET, true);
        else
            raw_frame(&r, F_DATA, 0, 7, "x", 1);
        assert_int_equal(raw_feed(&r, &s), kind == 3 ? 0 : -EPROTO);
        assert_int_equal(peer_pull(&s), 0);
        assert_int_equal(goaway_of(&s), kind < 2 ? H2_STREAM_CLOSED : H2_PROTOCOL_ERROR);
        assert_true(h2_done(&s.h2));
        assert_true(s.streams[0]->closes == 1 && !s.streams[0]->ours);
        /* What comes behind a failure is not read. */
        raw_head(&r, 9, RAW_GET, true);
        assert_int_equal(raw_feed(&r, &s), -EPROTO);
        assert_int_equal(s.n, 1);
        server_end(&s, &r);
    }
}

static void test_goaway(UNUSED void **state)
{
    struct pair p;
    pair_begin(&p, NULL);
    struct told *first = ask(&p, "GET", BODY_NONE, 0, true);
    talk(&p);
    h2_goaway_notice(&p.server.h2);
    assert_int_equal(peer_pull(&p.server), 0);
    struct told *crossed = ask(&p, "GET", BODY_NONE, 0, true); /* before the notice is seen */
    assert_int_equal(peer_pull(&p.client), 0);
    assert_int_equal(peer_carry(&p.client, &p.server, 0), 0);
    assert_int_equal(p.server.streams[1]->heads, 1); /* is still served */
    h2_goaway_final(&p.server.h2, H2_NO_ERROR);
    h2_goaway_final(&p.server.h2, H2_NO_ERROR);
    assert_int_equal(peer_pull(&p.server), 0);
    assert_int_equal(frames_of(&p.server, F_GOAWAY, 0, NULL), 2);
    struct told *late = ask(&p, "POST", BODY_CHUNKED, 0, false);
    say(late, "x");
    assert_int_equal(peer_pull(&p.client), 0);
    assert_int_equal(peer_carry(&p.client, &p.server, 0), 0);
    assert_int_equal(p.server.n, 2); /* nobody was told of it */
    assert_int_equal(peer_pull(&p.server), 0);
    assert_int_equal(rst_of(&p.server, 5), H2_REFUSED_STREAM);
    assert_int_equal(peer_carry(&p.server, &p.client, 0), 0);
    assert_int_equal(p.client.goaways, 2);
    assert_true(p.client.h2.goaway_received);
    assert_true(late->closes == 1 && late->unprocessed);
    assert_int_equal(first->closes + crossed->closes, 0);
    assert_false(h2_done(&p.server.h2));
    struct told *never = peer_new_stream(&p.client, false);
    struct message m;
    make_request(&m, "GET", "/", BODY_NONE, 0);
    if (h2_request(&p.client.h2, &never->st, &m, STR("http"), true) == 0) {
        talk(&p);
        assert_true(never->closes == 1 && never->unprocessed);
    }
    message_free(&m);
    answer(p.server.streams[0], 204, BODY_NONE, 0, true);
    answer(p.server.streams[1], 204, BODY_NONE, 0, true);
    talk(&p);
    assert_over(first);
    assert_over(crossed);
    assert_true(h2_done(&p.server.h2));
    pair_end(&p);
}

static void test_ping(UNUSED void **state)
{
    struct pair p;
    pair_begin(&p, NULL);
    h2_ping(&p.server.h2);
    h2_ping(&p.client.h2);
    talk(&p);
    assert_int_equal(p.server.pings, 1);
    assert_int_equal(p.client.pings, 1);
    pair_end(&p);
}

static void test_free_with_open_streams(UNUSED void **state)
{
    struct pair p;
    pair_begin(&p, NULL);
    for (int i = 0; i < 5; i++) {
        struct told *c = ask(&p, "POST", BODY_CHUNKED, 0, false);
        say(c, "abc");
    }
    talk(&p);
    say(p.client.streams[2], "waits");
    answer(p.server.streams[1], 200, BODY_CHUNKED, 0, false);
    say(p.server.streams[1], "waits");
    h2_leave(&p.server.streams[3]->st);
    h2_reset(&p.client.streams[4]->st, H2_CANCEL);
    pair_end(&p); /* checks that each stream is let go of */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_leave),
        cmocka_unit_test(test_leave_is_no_abuse),
        cmocka_unit_test(test_left_is_not_writable),
        cmocka_unit_test(test_reset_at_every_point),
        cmocka_unit_test(test_data_behind_our_reset),
        cmocka_unit_test(test_too_many_before_settings),
        cmocka_unit_test(test_mistakes_about_closed_streams),
        cmocka_unit_test(test_goaway),
        cmocka_unit_test(test_ping),
        cmocka_unit_test(test_free_with_open_streams),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
