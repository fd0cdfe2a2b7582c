/* test_hpack.c - the encoder against the examples of RFC 7541, and against nghttp2's decoder. */
#include "base/check.h"
#include "base/mem.h"
#include "http/hpack.h"

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include <nghttp2/nghttp2.h>

enum { BYTES = 256 * 1024, FIELDS = 40 };

static struct hpack_field field(const char *name, const char *value)
{
    struct str n = str_of(name);
    uint8_t id = hpack_name_of(n);
    return (struct hpack_field){name,          value, (uint32_t)strlen(value),
                                (uint16_t)n.n, id,    (uint8_t)hpack_how_of(id, strlen(value))};
}

static size_t encode(struct hpack *h, const struct hpack_field *f, size_t n, char *to)
{
    char *end = hpack_begin(h, to);
    assert_true(end - to <= HPACK_UPDATES_MAX);
    for (size_t i = 0; i < n; i++) {
        char *at = end;
        end = hpack_put(h, &f[i], at);
        assert_true((size_t)(end - at) <= hpack_most(&f[i]));
    }
    return (size_t)(end - to);
}

/* The decoder gives these fields, and takes all of it. */
static void assert_decoded(nghttp2_hd_inflater *inflater, const char *p, size_t n,
                           const struct hpack_field *f, size_t n_fields)
{
    size_t seen = 0;
    for (;;) {
        nghttp2_nv nv;
        int flags = 0;
        ssize_t used = nghttp2_hd_inflate_hd2(inflater, &nv, &flags, (const uint8_t *)p, n, 1);
        assert_true(used >= 0);
        p += used;
        n -= (size_t)used;
        if (flags & NGHTTP2_HD_INFLATE_EMIT) {
            assert_true(seen < n_fields);
            assert_int_equal(nv.namelen, f[seen].name_len);
            assert_memory_equal(nv.name, f[seen].name, nv.namelen);
            assert_int_equal(nv.valuelen, f[seen].value_len);
            if (nv.valuelen > 0)
                assert_memory_equal(nv.value, f[seen].value, nv.valuelen);
            assert_int_equal((nv.flags & NGHTTP2_NV_FLAG_NO_INDEX) != 0,
                             f[seen].how == HPACK_NEVER);
            seen++;
        }
        if (flags & NGHTTP2_HD_INFLATE_FINAL)
            break;
    }
    assert_int_equal(n, 0);
    assert_int_equal(seen, n_fields);
    assert_int_equal(nghttp2_hd_inflate_end_headers(inflater), 0);
}

static void assert_bytes(struct hpack *h, const struct hpack_field *f, size_t n, const char *want,
                         size_t n_want)
{
    char to[512];
    assert_int_equal(encode(h, f, n, to), n_want);
    assert_memory_equal(to, want, n_want);
}
#define ASSERT_BYTES(h, f, want) assert_bytes(h, f, ARRAY_LEN(f), want, sizeof(want) - 1)

/* RFC 7541, C.2 */
static void test_representations(void **state)
{
    (void)state;
    struct hpack h = {0};
    struct hpack_field indexed[] = {field("custom-key", "custom-header")};
    struct hpack_field plain[] = {field(":path", "/sample/path")};
    struct hpack_field never[] = {field("password", "secret")};
    struct hpack_field whole[] = {field(":method", "GET"), field(":status", "404")};
    never[0].how = HPACK_NEVER;
    ASSERT_BYTES(&h, indexed,
                 "\x40\x0a"
                 "custom-key"
                 "\x0d"
                 "custom-header");
    ASSERT_BYTES(&h, plain,
                 "\x04\x0c"
                 "/sample/path");
    ASSERT_BYTES(&h, never,
                 "\x10\x08"
                 "password"
                 "\x06"
                 "secret");
    ASSERT_BYTES(&h, whole, "\x82\x8d");
    ASSERT_BYTES(&h, indexed, "\xbe");
    hpack_free(&h);
}

/* RFC 7541, C.3 */
static void test_requests(void **state)
{
    (void)state;
    struct hpack h = {0};
    struct hpack_field one[] = {field(":method", "GET"), field(":scheme", "http"),
                                field(":path", "/"), field(":authority", "www.example.com")};
    struct hpack_field two[] = {field(":method", "GET"), field(":scheme", "http"),
                                field(":path", "/"), field(":authority", "www.example.com"),
                                field("cache-control", "no-cache")};
    struct hpack_field three[] = {
        field(":method", "GET"), field(":scheme", "https"), field(":path", "/index.html"),
        field(":authority", "www.example.com"), field("custom-key", "custom-value")};
    ASSERT_BYTES(&h, one,
                 "\x82\x86\x84\x41\x0f"
                 "www.example.com");
    ASSERT_BYTES(&h, two,
                 "\x82\x86\x84\xbe\x58\x08"
                 "no-cache");
    ASSERT_BYTES(&h, three,
                 "\x82\x87\x85\xbf\x40\x0a"
                 "custom-key"
                 "\x0c"
                 "custom-value");
    hpack_free(&h);
}

static void test_names(void **state)
{
    (void)state;
    static const char *const names[] = {[1] = ":authority",
                                        [2] = ":method",
                                        [4] = ":path",
                                        [6] = ":scheme",
                                        [8] = ":status",
                                        [15] = "accept-charset",
                                        "accept-encoding",
                                        "accept-language",
                                        "accept-ranges",
                                        "accept",
                                        "access-control-allow-origin",
                                        "age",
                                        "allow",
                                        "authorization",
                                        "cache-control",
                                        "content-disposition",
                                        "content-encoding",
                                        "content-language",
                                        "content-length",
                                        "content-location",
                                        "content-range",
                                        "content-type",
                                        "cookie",
                                        "date",
                                        "etag",
                                        "expect",
                                        "expires",
                                        "from",
                                        "host",
                                        "if-match",
                                        "if-modified-since",
                                        "if-none-match",
                                        "if-range",
                                        "if-unmodified-since",
                                        "last-modified",
                                        "link",
                                        "location",
                                        "max-forwards",
                                        "proxy-authenticate",
                                        "proxy-authorization",
                                        "range",
                                        "referer",
                                        "refresh",
                                        "retry-after",
                                        "server",
                                        "set-cookie",
                                        "strict-transport-security",
                                        "transfer-encoding",
                                        "user-agent",
                                        "vary",
                                        "via",
                                        "www-authenticate"};
    assert_int_equal(ARRAY_LEN(names), HPACK_NAME_OWN);
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        if (names[i])
            assert_int_equal(hpack_name_of(str_of(names[i])), i);
    }
    static const char *const others[] = {"", "a", "x-via", "vib", "Via", "hosu", "cookiee"};
    for (size_t i = 0; i < ARRAY_LEN(others); i++)
        assert_int_equal(hpack_name_of(str_of(others[i])), HPACK_NAME_OTHER);
    assert_int_equal(hpack_how_of(23, 100), HPACK_NEVER); /* authorization */
    assert_int_equal(hpack_how_of(32, 19), HPACK_NEVER);  /* cookie */
    assert_int_equal(hpack_how_of(32, 20), HPACK_INDEXED);
    assert_int_equal(hpack_how_of(HPACK_PATH, 1), HPACK_PLAIN);
}

/* Numbers that the caller gives to names of its own: the first head spells them, others do not. */
static void test_own_names(void **state)
{
    (void)state;
    struct hpack h = {0};
    struct hpack_field f[] = {field("x-forwarded-proto", "http"), field("x-forwarded-for", "::1")};
    f[0].name_id = HPACK_NAME_OWN;
    f[1].name_id = HPACK_NAME_OWN + 1;
    char to[256];
    (void)encode(&h, f, 2, to);
    ASSERT_BYTES(&h, f, "\xbf\xbe");
    struct hpack_field other[] = {f[0]};
    other[0].value = "https";
    other[0].value_len = 5;
    ASSERT_BYTES(&h, other,
                 "\x7f\x00\x05"
                 "https");
    hpack_free(&h);
}

/* RFC 7541 §4.2: the deepest cut first, then what it is. */
static void test_size_updates(void **state)
{
    (void)state;
    struct hpack h = {0};
    struct hpack_field f[] = {field("a", "b")};
    hpack_set_max(&h, 1 << 20);
    ASSERT_BYTES(&h, f,
                 "\x40\x01"
                 "a"
                 "\x01"
                 "b");
    ASSERT_BYTES(&h, f, "\xbe");
    hpack_set_max(&h, 0);
    hpack_set_max(&h, 100);
    hpack_set_max(&h, 4096);
    ASSERT_BYTES(&h, f,
                 "\x20\x3f\xe1\x1f"
                 "\x40\x01"
                 "a"
                 "\x01"
                 "b");
    ASSERT_BYTES(&h, f, "\xbe");
    hpack_set_max(&h, 33);
    hpack_set_max(&h, 33);
    ASSERT_BYTES(&h, f,
                 "\x3f\x02"
                 "\0\x01"
                 "a"
                 "\x01"
                 "b");
    ASSERT_BYTES(&h, f,
                 "\0\x01"
                 "a"
                 "\x01"
                 "b");
    hpack_free(&h);
}

static uint32_t next(uint32_t *seed)
{
    *seed = *seed * 1664525 + 1013904223;
    return *seed >> 8;
}

/* Heads as they could be, for long: the table fills, wraps and moves, and follows the peer's
 * settings; the decoder always reads what was written. */
static void long_run(uint32_t seed, bool memory_short)
{
    static const char *const some[] = {
        "date",   "x-one", "x-other", "etag", ":path", "authorization", "cookie",
        "server", "via",   ":status", "a",    "bcd",   "abcdefgh"};
    static char pool[FIELDS][3000], to[BYTES];
    struct hpack h = {0};
    nghttp2_hd_inflater *inflater;
    assert_int_equal(nghttp2_hd_inflate_new(&inflater), 0);
    for (int round = 0; round < 3000; round++) {
        struct hpack_field f[FIELDS];
        size_t n = next(&seed) % FIELDS;
        for (size_t i = 0; i < n; i++) {
            /* Values of a few lengths that come again, and now and then one that is large. */
            uint32_t len = next(&seed) % 50 == 0 ? next(&seed) % 2999 : next(&seed) % 40;
            memset(pool[i], 'a' + (int)(next(&seed) % 3), len);
            pool[i][len] = '\0';
            f[i] = field(some[next(&seed) % ARRAY_LEN(some)], pool[i]);
            if (next(&seed) % 16 == 0)
                f[i].how = HPACK_NEVER;
        }
        if (next(&seed) % 20 == 0) {
            uint32_t max = next(&seed) % 2 ? 4096 : next(&seed) % 6000;
            assert_int_equal(nghttp2_hd_inflate_change_table_size(inflater, max), 0);
            hpack_set_max(&h, max);
        }
        if (memory_short)
            mem_fail_at(1 + next(&seed) % 3, true);
        size_t written = encode(&h, f, n, to);
        mem_fail_at(0, false);
        assert_decoded(inflater, to, written, f, n);
    }
    nghttp2_hd_inflate_del(inflater);
    hpack_free(&h);
}

static void test_long_runs(void **state)
{
    (void)state;
    for (uint32_t seed = 1; seed <= 10; seed++)
        long_run(seed, false);
}

static void test_memory_is_short(void **state)
{
    (void)state;
    for (uint32_t seed = 1; seed <= 3; seed++)
        long_run(seed, true);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_representations), cmocka_unit_test(test_requests),
        cmocka_unit_test(test_names),           cmocka_unit_test(test_own_names),
        cmocka_unit_test(test_size_updates),    cmocka_unit_test(test_long_runs),
        cmocka_unit_test(test_memory_is_short),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
