/* test_h2_blocks.c - HTTP/2: header blocks in frames, and frames that are out of place. */
#include "h2_pair.h"

#include <errno.h>

enum { PADDED = 8, PRIORITY = 32 };

/* A request and its trailers, each in pieces, with all that may stand around them. */
static void wrapped(struct raw *r)
{
    uint8_t block[512], payload[600] = {7};
    size_t n = hpack_block(block, RAW_POST "x-one=1\ncookie=a=b\n");
    raw_begin(r);
    payload[1 + 3] = 99; /* depends on stream 99, which is as good as none */
    memcpy(payload + 6, block, 20);
    raw_frame(r, F_HEADERS, PADDED | PRIORITY, 1, payload, 6 + 20 + 7);
    raw_frame(r, F_CONTINUATION, 0, 1, "", 0);
    raw_frame(r, F_CONTINUATION, 0, 1, block + 20, 1);
    raw_frame(r, F_CONTINUATION, END_HEADERS, 1, block + 21, n - 21);
    raw_frame(r, F_DATA, 0, 1, "abc", 3);
    n = hpack_block(block, "x-sum=7\n");
    raw_frame(r, F_HEADERS, END_STREAM, 1, block, n);
    raw_frame(r, F_CONTINUATION, END_HEADERS, 1, "", 0);
    payload[0] = 0;
    n = hpack_block(payload + 1, RAW_GET);
    raw_frame(r, F_HEADERS, PADDED | END_HEADERS | END_STREAM, 3, payload, 1 + n);
}

static void test_blocks_in_pieces(UNUSED void **state)
{
    for (size_t step = 1; step < 200; step++) {
        struct peer s;
        struct raw r = {0};
        assert_int_equal(peer_init(&s, H2_SERVER, NULL), 0);
        wrapped(&r);
        for (size_t at = 0, n = buf_len(&r.b); at < n; at += step) {
            size_t some = min_u64(step, n - at);
            char *piece = malloc(some);
            assert_non_null(piece);
            memcpy(piece, (const char *)buf_data(&r.b) + at, some);
            size_t taken;
            assert_int_equal(h2_feed(&s.h2, piece, some, s.now, &taken), 0);
            assert_int_equal(taken, some);
            free(piece);
            assert_int_equal(peer_pull(&s), 0);
        }
        struct told *t = s.streams[0];
        assert_true(s.n == 2 && t->heads == 1 && t->ends == 1 && s.streams[1]->heads == 1);
        assert_true(field_is(&t->head, "x-one", "1") && field_is(&t->head, "cookie", "a=b"));
        assert_true(field_is(&t->trailers, "x-sum", "7"));
        assert_body(t, "abc");
        assert_int_equal(goaway_of(&s), -1);
        server_end(&s, &r);
    }
}

/* Its time runs from the first byte of its head on. */
static void test_block_begins_a_stream(UNUSED void **state)
{
    struct peer s;
    struct raw r;
    uint8_t block[200];
    server_begin(&s, &r, NULL);
    size_t n = hpack_block(block, RAW_GET);
    const uint8_t head[] = {0, 0, (uint8_t)n, F_HEADERS, END_STREAM | END_HEADERS, 0, 0, 0, 1};
    raw_bytes(&r, head, sizeof(head));
    raw_bytes(&r, block, 1);
    assert_int_equal(raw_feed(&r, &s), 0);
    assert_true(s.n == 1 && s.streams[0]->heads == 0 && s.h2.n_streams == 1);
    raw_bytes(&r, block + 1, n - 1);
    assert_int_equal(raw_feed(&r, &s), 0);
    assert_true(s.n == 1 && s.streams[0]->heads == 1);
    server_end(&s, &r);
}

/* Frames of one header block that end the connection, and with which code. */
static void test_wrong_blocks(UNUSED void **state)
{
    static const uint8_t get[] = {0x82, 0x86, 0x84, 0x41, 1, 'a'};
    static const struct {
        struct {
            uint8_t type, flags, id, n, p[12];
        } frames[2];
        int code;
    } cases[] = {
        {{{F_HEADERS, PADDED | END_HEADERS, 1, 0, {0}}}, H2_FRAME_SIZE_ERROR},
        {{{F_HEADERS, PADDED | END_HEADERS, 1, 3, {3, 0x82, 0x86}}}, H2_PROTOCOL_ERROR},
        {{{F_HEADERS, PRIORITY | END_HEADERS, 1, 4, {0}}}, H2_FRAME_SIZE_ERROR},
        {{{F_HEADERS, PADDED | PRIORITY | END_HEADERS, 1, 5, {0}}}, H2_FRAME_SIZE_ERROR},
        {{{F_HEADERS, PRIORITY | END_HEADERS, 1, 6, {0, 0, 0, 1, 0, 0x82}}}, H2_PROTOCOL_ERROR},
        {{{F_HEADERS, PADDED, 1, 3, {3, 0x82, 0x86}}}, H2_PROTOCOL_ERROR},
        {{{F_HEADERS, END_HEADERS, 0, 1, {0x82}}}, H2_PROTOCOL_ERROR},
        {{{F_HEADERS, END_HEADERS, 2, 1, {0x82}}}, H2_PROTOCOL_ERROR},
        {{{F_HEADERS, END_HEADERS, 1, 1, {0x80}}}, H2_COMPRESSION_ERROR},
        {{{F_HEADERS, 0, 1, 1, {0x82}}, {F_CONTINUATION, END_HEADERS, 1, 1, {0xbe}}},
         H2_COMPRESSION_ERROR},
        {{{F_HEADERS, 0, 1, 1, {0x82}}, {F_CONTINUATION, END_HEADERS, 3, 1, {0x86}}},
         H2_PROTOCOL_ERROR},
        {{{F_HEADERS, 0, 1, 1, {0x82}}, {F_DATA, 0, 1, 1, {0}}}, H2_PROTOCOL_ERROR},
        {{{F_HEADERS, 0, 1, 1, {0x82}}, {F_HEADERS, END_HEADERS, 3, 1, {0x82}}}, H2_PROTOCOL_ERROR},
        {{{F_HEADERS, 0, 1, 1, {0x82}}, {F_PING, 0, 0, 8, {0}}}, H2_PROTOCOL_ERROR},
        {{{F_HEADERS, 0, 1, 1, {0x82}}, {0x20, 0, 0, 1, {0}}}, H2_PROTOCOL_ERROR},
        {{{F_CONTINUATION, END_HEADERS, 1, 1, {0x82}}}, H2_PROTOCOL_ERROR},
        {{{5, END_HEADERS, 1, 5, {0, 0, 0, 2, 0x82}}}, H2_PROTOCOL_ERROR}, /* PUSH_PROMISE */
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct peer s;
        struct raw r;
        server_begin(&s, &r, NULL);
        for (size_t k = 0; k < 2 && (k == 0 || cases[i].frames[k].n > 0); k++)
            raw_frame(&r, cases[i].frames[k].type, cases[i].frames[k].flags, cases[i].frames[k].id,
                      cases[i].frames[k].p, cases[i].frames[k].n);
        raw_frame(&r, F_HEADERS, END_STREAM | END_HEADERS, 5, get, sizeof(get));
        (void)raw_feed(&r, &s);
        assert_int_equal(peer_pull(&s), 0);
        if (goaway_of(&s) != cases[i].code)
            print_error("case %zu\n", i);
        assert_int_equal(goaway_of(&s), cases[i].code);
        for (uint32_t k = 0; k < s.n; k++)
            assert_int_equal(s.streams[k]->heads, 0);
        server_end(&s, &r);
    }
    struct peer s;
    struct raw r;
    static uint8_t large[16385];
    server_begin(&s, &r, NULL);
    raw_frame(&r, F_HEADERS, END_HEADERS, 1, large, sizeof(large));
    (void)raw_feed(&r, &s);
    assert_int_equal(peer_pull(&s), 0);
    assert_int_equal(goaway_of(&s), H2_FRAME_SIZE_ERROR);
    server_end(&s, &r);
}

/* What is refused or ignored has its place in the table all the same. */
static void test_table_of_what_is_refused(UNUSED void **state)
{
    static const char first[] = "\x82\x86\x84\x41\x01"
                                "a\x40\x03"
                                "x-a\x01"
                                "1";
    struct peer s;
    struct raw r;
    server_begin(&s, &r, NULL);
    s.refuse_from = 1;
    raw_frame(&r, F_HEADERS, END_STREAM | END_HEADERS, 1, "\x82\x86\x84\x41\x01z", 6);
    raw_frame(&r, F_HEADERS, END_STREAM | END_HEADERS, 3, first, sizeof(first) - 1);
    assert_int_equal(raw_feed(&r, &s), 0);
    s.refuse_from = 0;
    raw_frame(&r, F_HEADERS, END_STREAM | END_HEADERS, 5, "\x82\x86\x84\xbf\xbe", 5);
    assert_int_equal(raw_feed(&r, &s), 0);
    assert_int_equal(peer_pull(&s), 0);
    assert_int_equal(rst_of(&s, 3), H2_REFUSED_STREAM);
    assert_int_equal(s.n, 2);
    assert_true(field_is(&s.streams[1]->head, "x-a", "1"));
    assert_true(str_eq(message_str(&s.streams[1]->head, s.streams[1]->head.authority), STR("a")));
    server_end(&s, &r);
}

static void test_wrong_preface(UNUSED void **state)
{
    struct peer s;
    assert_int_equal(peer_init(&s, H2_SERVER, NULL), 0);
    assert_int_equal(peer_feed(&s, "PRI * HTTP/2.0\r\n\r\nSM\r\n\rX", 24), -EPROTO);
    assert_int_equal(peer_feed(&s, "x", 1), -EPROTO);
    assert_int_equal(peer_pull(&s), 0);
    assert_true(h2_done(&s.h2));
    peer_free(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_blocks_in_pieces), cmocka_unit_test(test_block_begins_a_stream),
        cmocka_unit_test(test_wrong_blocks),     cmocka_unit_test(test_table_of_what_is_refused),
        cmocka_unit_test(test_wrong_preface),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
