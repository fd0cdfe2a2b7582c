/* test_h2_floods.c - HTTP/2: what no honest peer does, and what honest ones do as well. */
#include "h2_pair.h"

#include <errno.h>

static void test_no_empty_data_before_trailers(UNUSED void **state)
{
    struct pair p;
    struct message m;
    pair_begin(&p, NULL);
    for (int i = 0; i < 600; i++) {
        struct told *c = ask(&p, "GET", BODY_NONE, 0, true);
        talk(&p);
        struct told *s = p.server.streams[i];
        answer(s, 200, BODY_CHUNKED, 0, false);
        say(s, "x");
        talk(&p); /* the trailers come later than the last byte */
        message_init(&m, false);
        add_field(&m, "grpc-status", "0");
        assert_int_equal(h2_send_end(&s->st, &m), 0);
        message_free(&m);
        assert_int_equal(peer_pull(&p.server), 0);
        assert_int_equal(frames_of(&p.server, F_DATA, 0, NULL), 0);
        talk(&p);
        assert_over(c);
        assert_over(s);
        assert_true(field_is(&c->trailers, "grpc-status", "0"));
    }
    pair_end(&p);
}

/* One empty DATA a stream is honest (many senders put it before the trailers), more are counted. */
static void test_empty_data(UNUSED void **state)
{
    struct peer s;
    struct raw r;
    server_begin(&s, &r, NULL);
    raw_head(&r, 1, RAW_POST, false);
    for (int i = 0; i < 1001; i++)
        raw_frame(&r, F_DATA, 0, 1, "", 0);
    assert_int_equal(raw_feed(&r, &s), 0);
    raw_head(&r, 3, RAW_POST, false);
    raw_frame(&r, F_DATA, 0, 3, "", 0);
    assert_int_equal(raw_feed(&r, &s), 0);
    raw_frame(&r, F_DATA, 0, 3, "", 0);
    assert_int_equal(raw_feed(&r, &s), -EPROTO);
    assert_int_equal(s.h2.failure_why, REASON_H2_EMPTY_DATA_FLOOD);
    assert_int_equal(peer_pull(&s), 0);
    assert_int_equal(goaway_of(&s), H2_ENHANCE_YOUR_CALM);
    server_end(&s, &r);
}

static void flood(void (*one)(struct raw *, uint32_t i), int allowed, bool streams,
                  enum reason reason)
{
    struct peer s;
    struct raw r;
    int i, rc = 0;
    server_begin(&s, &r, NULL);
    assert_int_equal(raw_feed(&r, &s), 0);
    for (i = 0; i <= allowed + 1 && rc == 0; i++) {
        if (streams)
            raw_head(&r, (uint32_t)i * 2 + 1, RAW_GET, true);
        one(&r, (uint32_t)i);
        rc = raw_feed(&r, &s);
        if (rc == 0)
            rc = peer_pull(&s);
    }
    if (rc == 0)
        print_error("%s\n", reason_word(reason));
    assert_int_equal(rc, -EPROTO);
    assert_in_range(i, allowed - 1, allowed + 1);
    assert_int_equal(s.h2.failure_why, reason);
    assert_int_equal(peer_pull(&s), 0);
    assert_int_equal(goaway_of(&s), H2_ENHANCE_YOUR_CALM);
    server_end(&s, &r);
}

static void one_reset(struct raw *r, uint32_t i)
{
    raw_rst(r, i * 2 + 1, H2_CANCEL);
}

/* MadeYouReset: a frame for which we must reset the stream. */
static void one_large_window(struct raw *r, uint32_t i)
{
    raw_window(r, i * 2 + 1, INT32_MAX);
}

static void one_ping(struct raw *r, uint32_t i)
{
    (void)i;
    raw_frame(r, F_PING, 0, 0, "12345678", 8);
}

static void one_settings(struct raw *r, uint32_t i)
{
    (void)i;
    raw_frame(r, F_SETTINGS, 0, 0, "", 0);
}

static void one_priority(struct raw *r, uint32_t i)
{
    raw_frame(r, F_PRIORITY, 0, i * 2 + 1, (char[5]){0, 0, 0, 0, 16}, 5);
}

static void one_unknown(struct raw *r, uint32_t i)
{
    (void)i;
    raw_frame(r, 0x77, 0, 0, "", 0);
}

static void one_window(struct raw *r, uint32_t i)
{
    (void)i;
    raw_window(r, 0, 1);
}

static void test_floods(UNUSED void **state)
{
    flood(one_reset, 500, true, REASON_H2_RESET_FLOOD);
    flood(one_large_window, 501, true, REASON_H2_RESET_FLOOD);
    flood(one_ping, 1000, false, REASON_H2_PING_FLOOD);
    flood(one_settings, 1000, false, REASON_H2_PING_FLOOD);
    flood(one_priority, 1000, false, REASON_H2_PRIORITY_FLOOD);
    flood(one_unknown, 1000, false, REASON_H2_PRIORITY_FLOOD);
    flood(one_window, 1001, false, REASON_H2_WINDOW_UPDATE_FLOOD);
}

/* A peer that reads nothing, and makes us answer: what waits for it has a bound. */
static void test_answers_that_nobody_reads(UNUSED void **state)
{
    struct peer s;
    struct raw r;
    uint32_t id;
    int rc = 0;
    server_begin(&s, &r, NULL);
    s.refuse_from = 1;
    raw_head(&r, 1, RAW_GET, true);
    for (id = 3; id < 100000 && rc == 0; id += 2) {
        raw_head(&r, id, RAW_GET, true);
        rc = raw_feed(&r, &s);
    }
    assert_int_equal(rc, -EPROTO);
    assert_true(id < 3 * 2 * 2000);
    server_end(&s, &r);
}

static void test_header_flood(UNUSED void **state)
{
    struct peer s;
    struct raw r;
    server_begin(&s, &r, NULL);
    raw_frame(&r, F_HEADERS, END_STREAM, 1, "", 0);
    for (int i = 0; i < H2_CONTINUATIONS_MAX; i++)
        raw_frame(&r, F_CONTINUATION, 0, 1, "", 0);
    assert_int_equal(raw_feed(&r, &s), 0);
    raw_frame(&r, F_CONTINUATION, 0, 1, "", 0);
    assert_int_equal(raw_feed(&r, &s), -EPROTO);
    assert_int_equal(s.h2.failure_why, REASON_H2_HEADER_FLOOD);
    server_end(&s, &r);
}

/* nghttp2 has ended the connection, and tells us when its GOAWAY goes out. What came with the fault
 * is read until then, and each head is one of its own: they are no flood together. */
static void test_heads_behind_a_fault(UNUSED void **state)
{
    struct peer s;
    struct raw r;
    server_begin(&s, &r, NULL);
    raw_frame(&r, F_PRIORITY, 0, 1, "1234", 4);
    for (uint32_t i = 0; i < 3000; i++)
        raw_head(&r, i * 2 + 1, RAW_GET, true);
    (void)raw_feed(&r, &s);
    assert_int_equal(peer_pull(&s), 0);
    assert_int_equal(goaway_of(&s), H2_FRAME_SIZE_ERROR);
    assert_int_equal(s.h2.failure_why, REASON_H2_PROTOCOL);
    server_end(&s, &r);
}

/* A byte that stands for 4,000: what they come to may not be a few times what has come in, and a
 * server is fed no more until its owner has passed some of them on. Heads are never cut for it. */
static void test_crowded(UNUSED void **state)
{
    enum { REQUESTS = 20, REFERENCES = 6 };
    static uint8_t block[8192];
    struct raw r = {0};
    struct peer s;
    uint64_t most = 0;
    assert_int_equal(peer_init(&s, H2_SERVER, NULL), 0);
    raw_begin(&r);
    size_t plain = hpack_block(block, RAW_GET), n = plain;
    block[n++] = 0x40; /* goes into the table (RFC 7541 §6.2.1) */
    block[n++] = 1;
    block[n++] = 'x';
    n += hpack_len(block + n, 3900);
    memset(block + n, 'v', 3900);
    n += 3900;
    for (uint32_t i = 0; i < REQUESTS; i++) {
        memset(block + n, 0x80 | 62, REFERENCES);
        raw_frame(&r, F_HEADERS, 0x5, 2 * i + 1, block, n + REFERENCES);
        n = plain;
    }
    assert_int_equal(raw_feed(&r, &s), 0);
    most = s.h2.head_bytes;
    assert_true(s.crowded >= REQUESTS / 3 && s.crowded < REQUESTS);
    assert_true(most < 3 * (uint64_t)s.h2.settings.max_field_bytes);
    for (uint32_t i = 0; i < REQUESTS; i++) {
        assert_int_equal(s.streams[i]->heads, 1);
        assert_int_equal(s.streams[i]->head.n_fields, REFERENCES + (i == 0));
        h2_reset(&s.streams[i]->st, H2_CANCEL);
    }
    assert_true(s.h2.head_bytes == 0 && !h2_crowded(&s.h2));
    raw_free(&r);
    peer_free(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_no_empty_data_before_trailers),
        cmocka_unit_test(test_empty_data),
        cmocka_unit_test(test_floods),
        cmocka_unit_test(test_answers_that_nobody_reads),
        cmocka_unit_test(test_header_flood),
        cmocka_unit_test(test_heads_behind_a_fault),
        cmocka_unit_test(test_crowded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
