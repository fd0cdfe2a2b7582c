/* test_hpack_decode.c - the decoder against the examples of RFC 7541, and against nghttp2's two
 * halves. */
#include "base/check.h"
#include "base/mem.h"
#include "base/rng.h"
#include "http/hpack_decode.h"

#include <errno.h>
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include <nghttp2/nghttp2.h>

enum { TEXT = 1 << 20, BLOCK = 64 * 1024 };

/* What a block was read as, one line behind the other. */
struct read {
    char *text;
    size_t n;
    int fields, most; /* most: no more than so many; 0: all */
    int never;        /* those that no table may have */
};

static int notes;

static uint16_t note(uint8_t name_id, struct str name, struct str value)
{
    assert_int_equal(name_id, hpack_name_of(name));
    notes++;
    return (name.n * 31 + value.n) & 0x7fff;
}

/* What note() says of the static table's entries. */
static uint16_t static_notes[HPACK_STATIC + 1];

static void note_static(void)
{
    for (uint32_t i = 1; i <= HPACK_STATIC; i++) {
        const struct hpack_static_line *l = hpack_static_line(i);
        static_notes[i] = note(l->name_id, (struct str){l->text, l->name_len},
                               (struct str){l->text + l->name_len + 2, l->value_len});
    }
}

static bool on_field(void *user, const struct hpack_got *f)
{
    struct read *r = user;
    size_t n = (size_t)f->name_len + f->value_len + 4;
    assert_int_equal(f->note & ~HPACK_NEVER_INDEXED, (f->name_len * 31 + f->value_len) & 0x7fff);
    r->never += (f->note & HPACK_NEVER_INDEXED) != 0;
    assert_memory_equal(f->line + f->name_len, ": ", 2);
    assert_memory_equal(f->line + n - 2, "\r\n", 2);
    assert_true(r->n + n < TEXT);
    memcpy(r->text + r->n, f->line, n);
    r->n += n;
    return ++r->fields != r->most;
}

static const struct hpack_sink sink = {note, static_notes, on_field};

/* From memory of just that size, so that a sanitizer sees what is beyond. */
static int decode(struct hpack_decoder *d, const void *p, size_t n, struct read *r)
{
    static char text[TEXT];
    char *copy = malloc(n > 0 ? n : 1);
    assert_non_null(copy);
    memcpy(copy, p, n);
    *r = (struct read){.text = text, .most = r->most};
    int rc = hpack_decode(d, copy, n, &sink, r);
    free(copy);
    return rc;
}

static size_t from_hex(const char *hex, uint8_t *to)
{
    size_t n = 0;
    for (; *hex; hex++) {
        unsigned byte;
        if (*hex == ' ')
            continue;
        assert_int_equal(sscanf(hex, "%2x", &byte), 1);
        to[n++] = (uint8_t)byte;
        hex++;
    }
    return n;
}

static void assert_reads(struct hpack_decoder *d, const char *hex, const char *want)
{
    uint8_t block[512];
    struct read r = {0};
    assert_int_equal(decode(d, block, from_hex(hex, block), &r), 0);
    assert_int_equal(r.n, strlen(want));
    assert_memory_equal(r.text, want, r.n);
}

static void assert_refuses(const char *hex)
{
    struct hpack_decoder d = {0};
    uint8_t block[512];
    struct read r = {0};
    int rc = decode(&d, block, from_hex(hex, block), &r);
    if (rc != -EBADMSG)
        print_error("%s: %d\n", hex, rc);
    assert_int_equal(rc, -EBADMSG);
    hpack_decoder_free(&d);
}

/* RFC 7541, C.2 to C.4 */
static void test_requests(void **state)
{
    struct hpack_decoder d = {0};
    (void)state;
    assert_reads(&d, "400a 6375 7374 6f6d 2d6b 6579 0d63 7573 746f 6d2d 6865 6164 6572",
                 "custom-key: custom-header\r\n");
    assert_reads(&d, "be", "custom-key: custom-header\r\n");
    assert_reads(&d, "040c 2f73 616d 706c 652f 7061 7468", ":path: /sample/path\r\n");
    assert_reads(&d, "1008 7061 7373 776f 7264 0673 6563 7265 74", "password: secret\r\n");
    assert_reads(&d, "82", ":method: GET\r\n");
    assert_reads(&d, "90", "accept-encoding: gzip, deflate\r\n");
    assert_reads(&d, "bd", "www-authenticate: \r\n");
    assert_reads(&d, "be", "custom-key: custom-header\r\n");
    hpack_decoder_free(&d);
    static const char *const first = ":method: GET\r\n:scheme: http\r\n:path: /\r\n"
                                     ":authority: www.example.com\r\n";
    static const char *const second = ":method: GET\r\n:scheme: http\r\n:path: /\r\n"
                                      ":authority: www.example.com\r\ncache-control: no-cache\r\n";
    static const char *const third = ":method: GET\r\n:scheme: https\r\n:path: /index.html\r\n"
                                     ":authority: www.example.com\r\ncustom-key: custom-value\r\n";
    assert_reads(&d, "8286 8441 0f77 7777 2e65 7861 6d70 6c65 2e63 6f6d", first);
    assert_reads(&d, "8286 84be 5808 6e6f 2d63 6163 6865", second);
    assert_reads(&d, "8287 85bf 400a 6375 7374 6f6d 2d6b 6579 0c63 7573 746f 6d2d 7661 6c75 65",
                 third);
    hpack_decoder_free(&d);
    assert_reads(&d, "8286 8441 8cf1 e3c2 e5f2 3a6b a0ab 90f4 ff", first);
    assert_reads(&d, "8286 84be 5886 a8eb 1064 9cbf", second);
    assert_reads(&d, "8287 85bf 4088 25a8 49e9 5ba9 7d7f 8925 a849 e95b b8e8 b4bf", third);
    hpack_decoder_free(&d);
}

/* RFC 7541, C.6: a table of 256 bytes, from which entries go. */
static void test_responses(void **state)
{
    struct hpack_decoder d = {0};
    (void)state;
    assert_reads(&d, "3fe1 01", "");
    assert_reads(&d,
                 "4882 6402 5885 aec3 771a 4b61 96d0 7abe 9410 54d4 44a8 2005 9504 0b81 66e0 82a6 "
                 "2d1b ff6e 919d 29ad 1718 63c7 8f0b 97c8 e9ae 82ae 43d3",
                 ":status: 302\r\ncache-control: private\r\n"
                 "date: Mon, 21 Oct 2013 20:13:21 GMT\r\nlocation: https://www.example.com\r\n");
    assert_reads(&d, "4883 640e ffc1 c0bf",
                 ":status: 307\r\ncache-control: private\r\n"
                 "date: Mon, 21 Oct 2013 20:13:21 GMT\r\nlocation: https://www.example.com\r\n");
    assert_reads(&d,
                 "88c1 6196 d07a be94 1054 d444 a820 0595 040b 8166 e084 a62d 1bff c05a 839b d9ab "
                 "77ad 94e7 821d d7f2 e6c7 b335 dfdf cd5b 3960 d5af 2708 7f36 72c1 ab27 0fb5 291f "
                 "9587 3160 65c0 03ed 4ee5 b106 3d50 07",
                 ":status: 200\r\ncache-control: private\r\n"
                 "date: Mon, 21 Oct 2013 20:13:22 GMT\r\nlocation: https://www.example.com\r\n"
                 "content-encoding: gzip\r\nset-cookie: foo=ASDJKHQKBZXOQWEOPIUAXQWEOIU; "
                 "max-age=3600; version=1\r\n");
    /* What is larger than the table empties it (§4.4). */
    assert_reads(&d, "20", "");
    assert_reads(&d, "4001 6101 62", "a: b\r\n");
    uint8_t block[8];
    struct read r = {0};
    assert_int_equal(decode(&d, block, from_hex("be", block), &r), -EBADMSG);
    hpack_decoder_free(&d);
}

static void test_mistakes(void **state)
{
    (void)state;
    assert_refuses("80");                   /* index 0 */
    assert_refuses("be");                   /* the table is empty */
    assert_refuses("ff 80 80 80 80 80 80"); /* a number without an end */
    assert_refuses("ff ff ff ff 7f");
    assert_refuses("ff ff ff ff ff ff ff ff ff ff 01");
    assert_refuses("ff");
    assert_refuses("7e 01 61"); /* the name of an entry that is not there */
    assert_refuses("40");       /* no name */
    assert_refuses("40 02 61");
    assert_refuses("40 01 61"); /* no value */
    assert_refuses("40 01 61 05 62");
    assert_refuses("00 01 61 ff ff ff ff 7f 61");
    assert_refuses("82 20");                   /* a change of the size behind a field */
    assert_refuses("3f e2 1f");                /* 4,097 */
    assert_refuses("00 01 61 81 ff ff");       /* 8 ones are no padding */
    assert_refuses("00 01 61 82 1f ff");       /* nor are 11 */
    assert_refuses("00 01 61 81 18");          /* padded with zeros */
    assert_refuses("00 01 61 84 ff ff ff ff"); /* EOS */
    assert_refuses("00 01 61 84 ff ff ff fc");
}

static void test_every_symbol(void **state)
{
    (void)state;
    nghttp2_hd_deflater *deflater;
    assert_int_equal(nghttp2_hd_deflate_new(&deflater, 0), 0);
    for (unsigned i = 0; i < 256; i++) {
        /* With enough of what is short nghttp2 writes it in the code. */
        char value[65], to[256];
        uint8_t block[256];
        memset(value, 'e', sizeof(value));
        value[32] = (char)i;
        nghttp2_nv nv = {(uint8_t *)(uintptr_t) "x", (uint8_t *)value, 1, 64, 0};
        ssize_t n = nghttp2_hd_deflate_hd(deflater, block, sizeof(block), &nv, 1);
        assert_true(n > 0);
        struct hpack_decoder d = {0};
        struct read r = {0};
        assert_int_equal(decode(&d, block, (size_t)n, &r), 0);
        (void)snprintf(to, sizeof(to), "x: ");
        assert_memory_equal(r.text, to, 3);
        assert_memory_equal(r.text + 3, value, 64);
        hpack_decoder_free(&d);
    }
    nghttp2_hd_deflate_del(deflater);
}

/* ---- against nghttp2 ---- */

static size_t random_text(struct rng *rng, char *to, size_t most, bool any)
{
    size_t n = rng_below(rng, (uint32_t)most + 1);
    for (size_t i = 0; i < n; i++)
        to[i] = any ? (char)rng_below(rng, 256) : (char)('a' + rng_below(rng, 26));
    return n;
}

static void long_run(uint32_t seed)
{
    static uint8_t block[BLOCK];
    static char names[24][64], values[24][4200], want[TEXT];
    struct rng rng;
    struct hpack_decoder d = {0};
    nghttp2_hd_deflater *deflater;
    rng_init(&rng, seed);
    assert_int_equal(nghttp2_hd_deflate_new(&deflater, 4096), 0);
    for (int i = 0; i < 400; i++) {
        nghttp2_nv nv[24];
        size_t n_nv = rng_below(&rng, ARRAY_LEN(nv) + 1), n_want = 0;
        if (rng_below(&rng, 40) == 0)
            assert_int_equal(nghttp2_hd_deflate_change_table_size(deflater, rng_below(&rng, 4097)),
                             0);
        for (size_t k = 0; k < n_nv; k++) {
            /* Few names and values, so that they come again. */
            bool any = rng_below(&rng, 8) == 0;
            size_t large = rng_below(&rng, 100) == 0 ? sizeof(values[k]) : 30;
            size_t name_len = 1 + random_text(&rng, names[k], any ? 60 : 1, false);
            size_t value_len = random_text(&rng, values[k], any ? large : 1, any);
            names[k][name_len - 1] = 'x';
            nv[k] = (nghttp2_nv){(uint8_t *)names[k], (uint8_t *)values[k], name_len, value_len,
                                 rng_below(&rng, 10) == 0 ? NGHTTP2_NV_FLAG_NO_INDEX : 0};
            n_want +=
                (size_t)snprintf(want + n_want, TEXT - n_want, "%.*s: ", (int)name_len, names[k]);
            memcpy(want + n_want, values[k], value_len);
            memcpy(want + n_want + value_len, "\r\n", 2);
            n_want += value_len + 2;
        }
        ssize_t n = nghttp2_hd_deflate_hd(deflater, block, sizeof(block), nv, n_nv);
        assert_true(n >= 0);
        struct read r = {0};
        assert_int_equal(decode(&d, block, (size_t)n, &r), 0);
        assert_int_equal(r.n, n_want);
        assert_memory_equal(r.text, want, n_want);
    }
    nghttp2_hd_deflate_del(deflater);
    hpack_decoder_free(&d);
}

static void test_long_runs(void **state)
{
    (void)state;
    for (uint32_t seed = 1; seed <= 20; seed++)
        long_run(seed);
}

/* What came before is asked of the table, not found out again. */
static void test_notes_are_kept(void **state)
{
    struct hpack_decoder d = {0};
    (void)state;
    assert_reads(&d, "4001 6101 62", "a: b\r\n");
    notes = 0;
    assert_reads(&d, "be be", "a: b\r\na: b\r\n");
    assert_int_equal(notes, 0);
    hpack_decoder_free(&d);
}

/* §6.2.3, also where the name is an entry's. */
static void test_never_indexed(void **state)
{
    struct hpack_decoder d = {0};
    struct read r = {0};
    uint8_t block[64];
    (void)state;
    assert_int_equal(
        decode(&d, block, from_hex("1001 6101 62 0001 6101 62 4001 6101 62", block), &r), 0);
    assert_true(r.fields == 3 && r.never == 1);
    assert_int_equal(decode(&d, block, from_hex("be 1f2f 0163 0f2f 0163 7e01 63", block), &r), 0);
    assert_true(r.fields == 4 && r.never == 1);
    hpack_decoder_free(&d);
}

/* What goes out of the table as something comes in, or its size changes (§4). */
static void test_eviction(void **state)
{
    struct hpack_decoder d = {0};
    struct read r = {0};
    uint8_t block[64];
    (void)state;
    /* 34 bytes each: one has room, two have not. */
    assert_reads(&d, "3f09 4001 6101 62", "a: b\r\n");
    assert_int_equal(decode(&d, block, from_hex("4001 6301 64 be bf", block), &r), -EBADMSG);
    assert_int_equal(r.fields, 2);
    hpack_decoder_free(&d);
    /* The name of the entry that it pushes out. */
    assert_reads(&d, "3f09 4001 6101 62 7e01 63 be", "a: b\r\na: c\r\na: c\r\n");
    /* Larger than the table: it empties it, and is a field all the same. */
    assert_reads(&d, "7e09 3132 3334 3536 3738 39", "a: 123456789\r\n");
    assert_int_equal(decode(&d, block, from_hex("be", block), &r), -EBADMSG);
    hpack_decoder_free(&d);
    /* Smaller and larger again in front of a block, as often as it likes. */
    assert_reads(&d, "4001 6101 62", "a: b\r\n");
    assert_reads(&d, "3fe1 1f 3f09 3fe1 1f be", "a: b\r\n");
    assert_reads(&d, "20 3fe1 1f", "");
    assert_int_equal(decode(&d, block, from_hex("be", block), &r), -EBADMSG);
    hpack_decoder_free(&d);
}

static void test_stopped(void **state)
{
    struct hpack_decoder d = {0};
    struct read r = {.most = 2};
    (void)state;
    assert_int_equal(decode(&d, "\x82\x86\x84", 3, &r), -ECANCELED);
    assert_int_equal(r.fields, 2);
    hpack_decoder_free(&d);
}

/* An entry that cannot be kept is one that the peer has, so the connection must end. */
static void test_memory_is_short(void **state)
{
    static const char block[] = "\x40\x01\x61\x01\x62";
    (void)state;
    for (uint64_t nth = 1; nth <= 2; nth++) {
        struct hpack_decoder d = {0};
        struct read r = {0};
        mem_fail_at(nth, false);
        assert_int_equal(decode(&d, block, sizeof(block) - 1, &r), -ENOMEM);
        mem_fail_at(0, false);
        hpack_decoder_free(&d);
    }
    struct hpack_decoder d = {0};
    struct read r = {0};
    char large[4 + 2000] = "\x40\x01\x61\x7f";
    memset(large + 4, 'x', sizeof(large) - 4);
    large[4] = (char)(0x80 | ((1990 - 127) & 0x7f));
    large[5] = (1990 - 127) >> 7;
    mem_fail_at(1, false);
    assert_int_equal(decode(&d, large, 6 + 1990, &r), -ENOMEM);
    mem_fail_at(0, false);
    hpack_decoder_free(&d);
    assert_int_equal(decode(&d, large, 6 + 1990, &r), 0);
    hpack_decoder_free(&d);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_requests),  cmocka_unit_test(test_responses),
        cmocka_unit_test(test_mistakes),  cmocka_unit_test(test_every_symbol),
        cmocka_unit_test(test_long_runs), cmocka_unit_test(test_notes_are_kept),
        cmocka_unit_test(test_stopped),   cmocka_unit_test(test_memory_is_short),
        cmocka_unit_test(test_eviction),  cmocka_unit_test(test_never_indexed),
    };
    note_static();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
