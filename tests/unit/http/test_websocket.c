/* test_websocket.c - frames over bytes that are cut anywhere, and what is no frame. */
#include "http/websocket.h"

#include "base/check.h"
#include "base/mem.h"
#include "base/rng.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { BYTES_MAX = 1 << 18, TOLD_MAX = 1 << 16 };

/* What a stream of bytes was read as. */
struct reading {
    size_t n;
    char bytes[BYTES_MAX]; /* that came out */
    char told[TOLD_MAX];   /* the control frames, the boundaries, the error */
    size_t told_n;
    uint64_t messages;
    bool bad;
};

static void tell(struct reading *g, const char *what, uint64_t a, uint64_t b)
{
    int n = snprintf(g->told + g->told_n, TOLD_MAX - g->told_n, "%s %llu %llu\n", what,
                     (unsigned long long)a, (unsigned long long)b);
    assert_in_range(n, 1, TOLD_MAX - g->told_n - 1);
    g->told_n += (size_t)n;
}

static void read_some(struct websocket_reader *r, const char *p, size_t n, struct reading *g)
{
    while (n > 0 && !g->bad) {
        struct websocket_piece piece;
        size_t taken = 0;
        enum websocket_result got = websocket_read(r, 0, p, n, &taken, &piece);
        assert_true(taken <= n);
        switch (got) {
        case WEBSOCKET_BAD:
            g->bad = true;
            tell(g, piece.detail, piece.code, g->n);
            break;
        case WEBSOCKET_CONTROL:
            assert_true(websocket_between_frames(r));
            tell(g, "control", piece.opcode, piece.payload_len);
            tell(g, "at", g->n, websocket_close_code(&piece));
            break;
        case WEBSOCKET_DATA:
            assert_true(piece.n > 0 && taken > 0);
            break;
        case WEBSOCKET_MORE:
            assert_int_equal(taken, n);
            break;
        }
        assert_true(piece.n <= BYTES_MAX - g->n);
        if (got == WEBSOCKET_DATA || got == WEBSOCKET_CONTROL) {
            memcpy(g->bytes + g->n, piece.p, piece.n);
            g->n += piece.n;
        }
        p += taken;
        n -= taken;
    }
}

static struct reading *read_in(const char *p, size_t n, bool masked, size_t step)
{
    struct reading *g = calloc(1, sizeof(*g));
    struct websocket_reader r;
    assert_non_null(g);
    websocket_reader_init(&r, masked);
    websocket_reader_extensions(&r, STR("permessage-deflate; client_max_window_bits=12"));
    for (size_t at = 0; at < n && !g->bad; at += step)
        read_some(&r, p + at, n - at < step ? n - at : step, g);
    g->messages = r.messages;
    websocket_reader_free(&r);
    return g;
}

static void same(const struct reading *a, const struct reading *b)
{
    assert_int_equal(a->n, b->n);
    assert_memory_equal(a->bytes, b->bytes, a->n);
    assert_string_equal(a->told, b->told);
    assert_int_equal(a->messages, b->messages);
}

/* --- building --- */

struct out {
    size_t n;
    char p[BYTES_MAX];
};

static void put(struct out *o, const void *p, size_t n)
{
    assert_true(n <= sizeof(o->p) - o->n);
    memcpy(o->p + o->n, p, n);
    o->n += n;
}

/* `form` 0: the shortest; 2, 8: bytes of extended length. */
static void frame_as(struct out *o, uint8_t b0, uint64_t length, bool masked, int form, size_t body)
{
    uint8_t head[14] = {b0};
    size_t n = 2;
    if (form == 0)
        form = length > 65535 ? 8 : length > 125 ? 2 : 1;
    head[1] = form == 1 ? (uint8_t)length : form == 2 ? 126 : 127;
    for (int i = form; form > 1 && i-- > 0;)
        head[n++] = (uint8_t)(length >> (8 * i));
    if (masked) {
        head[1] |= 0x80;
        memcpy(head + n, "\x11\x22\x33\x44", 4);
        n += 4;
    }
    put(o, head, n);
    for (size_t i = 0; i < body; i++)
        put(o, &(char){(char)(i * 7)}, 1);
}

static void frame(struct out *o, uint8_t b0, size_t length, bool masked)
{
    frame_as(o, b0, length, masked, 0, length);
}

/* --- tests --- */

/* Every kind and size of frame, as often cut as there are places to cut. */
static void test_every_cut(UNUSED void **state)
{
    static struct out o;
    for (int masked = 0; masked < 2; masked++) {
        o.n = 0;
        frame(&o, 0x81, 0, masked);
        frame(&o, 0x82, 1, masked);
        frame(&o, 0x01, 125, masked); /* a message in three frames, with others between them */
        frame(&o, 0x89, 0, masked);
        frame(&o, 0x00, 0, masked);
        frame(&o, 0x8a, 125, masked);
        frame(&o, 0x80, 126, masked);
        frame(&o, 0xc1, 300, masked); /* compressed */
        frame(&o, 0x42, 3, masked);
        frame(&o, 0x80, 3, masked);
        frame(&o, 0x88, 2, masked);
        struct reading *whole = read_in(o.p, o.n, masked, o.n);
        assert_false(whole->bad);
        assert_int_equal(whole->messages, 5);
        assert_int_equal(whole->n, o.n);
        assert_memory_equal(whole->bytes, o.p, o.n);
        for (size_t cut = 1; cut < o.n; cut++) {
            struct reading *g = calloc(1, sizeof(*g));
            struct websocket_reader r;
            websocket_reader_init(&r, masked);
            websocket_reader_extensions(&r, STR("permessage-deflate"));
            read_some(&r, o.p, cut, g);
            /* What came out ends in a payload or between frames, never in a head. */
            assert_true(g->n <= cut);
            read_some(&r, o.p + cut, o.n - cut, g);
            g->messages = r.messages;
            websocket_reader_free(&r);
            same(whole, g);
            free(g);
        }
        for (size_t step = 1; step < 20; step++) {
            struct reading *g = read_in(o.p, o.n, masked, step);
            same(whole, g);
            free(g);
        }
        free(whole);
    }
}

static void test_long_frames(UNUSED void **state)
{
    static struct out o;
    static const size_t lengths[] = {65534, 65535, 65536, 70000};
    for (size_t i = 0; i < ARRAY_LEN(lengths); i++) {
        o.n = 0;
        frame(&o, 0x82, lengths[i], true);
        frame(&o, 0x81, 5, true);
        struct reading *whole = read_in(o.p, o.n, true, o.n), *cut = read_in(o.p, o.n, true, 3);
        assert_int_equal(whole->messages, 2);
        assert_int_equal(whole->n, o.n);
        same(whole, cut);
        free(whole);
        free(cut);
    }
}

static void assert_bad(const struct out *o, bool masked, enum websocket_code code,
                       const char *detail)
{
    char expected[128];
    for (size_t step = 1; step <= o->n; step++) {
        struct reading *g = read_in(o->p, o->n, masked, step);
        assert_true(g->bad);
        (void)snprintf(expected, sizeof(expected), "%s %d 0\n", detail, code);
        assert_string_equal(g->told, expected);
        free(g);
    }
}

static void test_bad_frames(UNUSED void **state)
{
    static const struct {
        uint8_t b0;
        uint64_t length;
        int form;
        int masked;
        const char *detail;
    } cases[] = {
        {0x83, 0, 0, 1, "an unknown opcode"},
        {0x87, 0, 0, 1, "an unknown opcode"},
        {0x8b, 0, 0, 1, "an unknown opcode"},
        {0x8f, 0, 0, 1, "an unknown opcode"},
        {0xa1, 0, 0, 1, "a reserved bit that no extension uses"},
        {0x91, 0, 0, 1, "a reserved bit that no extension uses"},
        {0xc9, 0, 0, 1, "a reserved bit that no extension uses"},
        {0xc0, 0, 0, 1, "a reserved bit that no extension uses"},
        {0x09, 0, 0, 1, "a control frame in fragments"},
        {0x08, 2, 0, 1, "a control frame in fragments"},
        {0x89, 126, 2, 1, "a control frame over 125 bytes"},
        {0x88, 70000, 8, 1, "a control frame over 125 bytes"},
        {0x80, 5, 0, 1, "a continuation of nothing"},
        {0x00, 5, 0, 1, "a continuation of nothing"},
        {0x81, 5, 0, 0, "a client's frame without mask"},
        {0x81, 125, 2, 1, "a length that is not the shortest form"},
        {0x81, 0, 2, 1, "a length that is not the shortest form"},
        {0x81, 65535, 8, 1, "a length that is not the shortest form"},
        {0x82, 0x8000000000000000, 8, 1, "a length of 2^63 or more"},
        {0x82, UINT64_MAX, 8, 1, "a length of 2^63 or more"},
    };
    static struct out o;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        o.n = 0;
        frame_as(&o, cases[i].b0, cases[i].length, cases[i].masked, cases[i].form, 0);
        assert_bad(&o, true, WEBSOCKET_PROTOCOL_ERROR, cases[i].detail);
    }
    o.n = 0;
    frame(&o, 0x81, 0, true);
    assert_bad(&o, false, WEBSOCKET_PROTOCOL_ERROR, "a server's frame with a mask");
}

/* The largest length that there is, of which little comes. */
static void test_longest_frame(UNUSED void **state)
{
    static struct out o;
    o.n = 0;
    frame_as(&o, 0x82, INT64_MAX, false, 8, 100);
    struct reading *g = read_in(o.p, o.n, false, 7);
    assert_false(g->bad);
    assert_int_equal(g->n, o.n);
    free(g);
}

static void test_new_message_in_fragments(UNUSED void **state)
{
    static struct out o;
    o.n = 0;
    frame(&o, 0x01, 3, false);
    size_t first = o.n;
    frame(&o, 0x81, 3, false);
    for (size_t step = 1; step <= o.n; step++) {
        struct reading *g = read_in(o.p, o.n, false, step);
        assert_true(g->bad);
        assert_int_equal(g->n, first); /* what was right has come out, and nothing of the rest */
        free(g);
    }
}

static void test_extensions(UNUSED void **state)
{
    static const struct {
        const char *text;
        uint8_t first, any;
    } cases[] = {
        {"", 0, 0},
        {"permessage-deflate", WEBSOCKET_RSV1, 0},
        {"PerMessage-Deflate ; server_no_context_takeover", WEBSOCKET_RSV1, 0},
        {"x-other, permessage-deflate", WEBSOCKET_RSV1, WEBSOCKET_RSV},
        {"permessage-bzip2; q=1", 0, WEBSOCKET_RSV},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct websocket_reader r;
        websocket_reader_init(&r, true);
        websocket_reader_extensions(&r, str_of(cases[i].text));
        assert_int_equal(r.rsv_first, cases[i].first);
        assert_int_equal(r.rsv_any, cases[i].any);
    }
}

static void test_max_payload(UNUSED void **state)
{
    static struct out o;
    for (size_t length = 999; length <= 1001; length++) {
        struct websocket_reader r;
        struct websocket_piece piece;
        size_t taken = 0;
        o.n = 0;
        frame(&o, 0x82, length, true);
        websocket_reader_init(&r, true);
        enum websocket_result got = websocket_read(&r, 1000, o.p, o.n, &taken, &piece);
        assert_int_equal(got, length > 1000 ? WEBSOCKET_BAD : WEBSOCKET_DATA);
        if (got == WEBSOCKET_BAD)
            assert_int_equal(piece.code, WEBSOCKET_TOO_BIG);
    }
}

/* What is kept of a frame that came in part is kept no longer than that. */
static void test_held(UNUSED void **state)
{
    static struct out o;
    struct websocket_reader r;
    struct websocket_piece piece;
    size_t taken = 0;
    o.n = 0;
    frame(&o, 0x89, 5, true);
    frame(&o, 0x82, 10, true);
    websocket_reader_init(&r, true);
    assert_int_equal(websocket_read(&r, 0, o.p, 3, &taken, &piece), WEBSOCKET_MORE);
    assert_non_null(r.held);
    assert_int_equal(websocket_read(&r, 0, o.p + 3, o.n - 3, &taken, &piece), WEBSOCKET_CONTROL);
    assert_int_equal(taken, 8);
    assert_int_equal(websocket_read(&r, 0, o.p + 11, o.n - 11, &taken, &piece), WEBSOCKET_DATA);
    assert_null(r.held);
    assert_int_equal(r.messages, 1);
}

static void test_no_memory(UNUSED void **state)
{
    static struct out o;
    struct websocket_reader r;
    struct websocket_piece piece;
    size_t taken = 0;
    o.n = 0;
    frame(&o, 0x89, 5, true);
    websocket_reader_init(&r, true);
    mem_fail_at(1, false);
    assert_int_equal(websocket_read(&r, 0, o.p, 3, &taken, &piece), WEBSOCKET_BAD);
    mem_fail_at(0, false);
    assert_int_equal(piece.code, WEBSOCKET_INTERNAL_ERROR);
    websocket_reader_free(&r);
}

/* Where a run ends, and whether a frame of ours may follow there. */
static void test_stops(UNUSED void **state)
{
    static struct out o;
    size_t ends[4];
    struct websocket_reader r;
    struct websocket_piece piece;
    size_t taken = 0;
    o.n = 0;
    frame(&o, 0x01, 10, false);
    ends[0] = o.n;
    frame(&o, 0x80, 10, false);
    ends[1] = o.n;
    frame(&o, 0x82, 10, false);
    ends[2] = o.n;
    frame(&o, 0x82, 10, false);
    ends[3] = o.n - 5;

    websocket_reader_init(&r, false);
    assert_int_equal(websocket_read(&r, 0, o.p, ends[3], &taken, &piece), WEBSOCKET_DATA);
    assert_int_equal(taken, ends[3]);
    assert_false(websocket_between_frames(&r));

    websocket_reader_init(&r, false);
    r.stop = WEBSOCKET_STOP_AT_FRAME;
    assert_int_equal(websocket_read(&r, 0, o.p, o.n, &taken, &piece), WEBSOCKET_DATA);
    assert_int_equal(taken, ends[0]);
    assert_true(websocket_between_frames(&r));
    assert_false(websocket_between_messages(&r));
    r.stop = WEBSOCKET_STOP_AT_MESSAGE;
    assert_int_equal(websocket_read(&r, 0, o.p + ends[0], o.n - ends[0], &taken, &piece),
                     WEBSOCKET_DATA);
    assert_int_equal(taken, ends[1] - ends[0]);
    assert_true(websocket_between_messages(&r));
}

static void test_control_frames(UNUSED void **state)
{
    static const uint8_t mask[4] = {0xde, 0xad, 0xbe, 0xef};
    for (int masked = 0; masked < 2; masked++) {
        for (size_t n = 0; n <= 125; n++) {
            char out[WEBSOCKET_CONTROL_MAX], payload[125];
            struct websocket_reader r;
            struct websocket_piece piece;
            size_t taken = 0;
            for (size_t i = 0; i < n; i++)
                payload[i] = (char)(i * 31);
            size_t len =
                websocket_write_control(out, WEBSOCKET_PING, payload, n, masked ? mask : NULL);
            assert_int_equal(len, 2 + n + (masked ? 4 : 0));
            websocket_reader_init(&r, masked);
            assert_int_equal(websocket_read(&r, 0, out, len, &taken, &piece), WEBSOCKET_CONTROL);
            assert_int_equal(taken, len);
            assert_int_equal(piece.opcode, WEBSOCKET_PING);
            assert_int_equal(piece.payload_len, n);
            assert_memory_equal(piece.payload, payload, n < WEBSOCKET_PEEK ? n : WEBSOCKET_PEEK);
        }
    }
}

static void test_close_frames(UNUSED void **state)
{
    static const uint8_t mask[4] = {1, 2, 3, 4};
    char out[WEBSOCKET_CONTROL_MAX];
    struct websocket_reader r;
    struct websocket_piece piece;
    size_t taken = 0;
    size_t n = websocket_write_close(out, WEBSOCKET_GOING_AWAY, STR("bye"), mask);
    assert_int_equal(n, 2 + 4 + 2 + 3);
    websocket_reader_init(&r, true);
    assert_int_equal(websocket_read(&r, 0, out, n, &taken, &piece), WEBSOCKET_CONTROL);
    assert_int_equal(websocket_close_code(&piece), 1001);
    assert_memory_equal(piece.payload + 2, "bye", 3);
    n = websocket_write_control(out, WEBSOCKET_CLOSE, NULL, 0, NULL);
    assert_memory_equal(out, "\x88\x00", 2);
    websocket_reader_init(&r, false);
    assert_int_equal(websocket_read(&r, 0, out, n, &taken, &piece), WEBSOCKET_CONTROL);
    assert_int_equal(websocket_close_code(&piece), WEBSOCKET_NO_CODE);
}

/* Random frames and random damage: every way to cut them comes to the same. */
static void test_random(UNUSED void **state)
{
    static struct out o;
    struct rng rng;
    rng_init(&rng, 5);
    for (int round = 0; round < 300; round++) {
        bool masked = rng_below(&rng, 2), open = false;
        o.n = 0;
        for (uint32_t i = rng_below(&rng, 12); i > 0; i--) {
            bool fin = rng_below(&rng, 2), control = rng_below(&rng, 4) == 0;
            if (control) {
                frame(&o, (uint8_t)(0x88 + rng_below(&rng, 3)), rng_below(&rng, 126), masked);
                continue;
            }
            frame(&o, (uint8_t)((fin ? 0x80 : 0) | (open ? 0 : 1 + rng_below(&rng, 2))),
                  rng_below(&rng, 3) ? rng_below(&rng, 200) : 0, masked);
            open = !fin;
        }
        if (o.n > 0 && rng_below(&rng, 2))
            o.p[rng_below(&rng, (uint32_t)o.n)] ^= (char)(1 << rng_below(&rng, 8));
        if (o.n == 0)
            continue;
        struct reading *whole = read_in(o.p, o.n, masked, o.n);
        for (size_t step = 1; step < 16; step++) {
            struct reading *g = read_in(o.p, o.n, masked, step);
            same(whole, g);
            free(g);
        }
        free(whole);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_cut),
        cmocka_unit_test(test_long_frames),
        cmocka_unit_test(test_bad_frames),
        cmocka_unit_test(test_longest_frame),
        cmocka_unit_test(test_new_message_in_fragments),
        cmocka_unit_test(test_extensions),
        cmocka_unit_test(test_max_payload),
        cmocka_unit_test(test_held),
        cmocka_unit_test(test_no_memory),
        cmocka_unit_test(test_stops),
        cmocka_unit_test(test_control_frames),
        cmocka_unit_test(test_close_frames),
        cmocka_unit_test(test_random),
    };
    return cmocka_run_group_tests_name("websocket", tests, NULL, NULL);
}
