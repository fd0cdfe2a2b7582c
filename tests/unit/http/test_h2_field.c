/* test_h2_field.c - what a field of HTTP/2 says by itself. */
#include "http/h2_parts.h"

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

static uint16_t note_of(const char *name, const char *value)
{
    return h2_field_note(hpack_name_of(str_of(name)), str_of(name), str_of(value));
}

/* The table by heart says what a look at the entry would. */
static void test_static_notes(UNUSED void **state)
{
    for (uint32_t i = 1; i <= HPACK_STATIC; i++) {
        const struct hpack_static_line *l = hpack_static_line(i);
        struct str name = {l->text, l->name_len};
        struct str value = {l->text + l->name_len + 2, l->value_len};
        assert_int_equal(h2_static_notes[i], h2_field_note(l->name_id, name, value));
    }
}

static void test_names(UNUSED void **state)
{
    assert_int_equal(note_of("content-type", "a/b"), FIELD_CONTENT_TYPE);
    assert_int_equal(note_of("x-request-id", "1"), FIELD_X_REQUEST_ID);
    assert_int_equal(note_of("accept", "*/*"), FIELD_OTHER);
    assert_int_equal(note_of("x-other", "1"), FIELD_OTHER);
    assert_int_equal(note_of("content_length", "1"), H2_ODD);
    assert_int_equal(note_of("X-Other", "1"), H2_MALFORMED);
    assert_int_equal(note_of("", "1"), H2_MALFORMED);
}

/* RFC 9113 §8.2.2 */
static void test_of_a_connection(UNUSED void **state)
{
    assert_int_equal(note_of("connection", "close"), H2_MALFORMED);
    assert_int_equal(note_of("keep-alive", "1"), H2_MALFORMED);
    assert_int_equal(note_of("proxy-connection", "close"), H2_MALFORMED);
    assert_int_equal(note_of("transfer-encoding", "chunked"), H2_MALFORMED);
    assert_int_equal(note_of("upgrade", "h2c"), H2_MALFORMED);
    assert_int_equal(note_of("te", "gzip"), H2_MALFORMED);
    assert_int_equal(note_of("te", "trailers"), FIELD_TE);
}

static void test_values(UNUSED void **state)
{
    assert_int_equal(note_of("x-other", "a b\tc"), FIELD_OTHER);
    assert_int_equal(note_of("x-other", " a"), H2_MALFORMED);
    assert_int_equal(note_of("x-other", "a\t"), H2_MALFORMED);
    assert_int_equal(note_of("x-other", "a\r\nb: c"), H2_MALFORMED);
    assert_int_equal(note_of("host", "a b"), FIELD_HOST | H2_ODD);
}

static void test_pseudo_fields(UNUSED void **state)
{
    assert_int_equal(note_of(":method", "GET"), H2_PSEUDO | HPACK_METHOD);
    assert_int_equal(note_of(":method", "G T"), H2_MALFORMED);
    assert_int_equal(note_of(":path", "/a?b"), H2_PSEUDO | HPACK_PATH);
    assert_int_equal(note_of(":path", "/a#b"), H2_PSEUDO | HPACK_PATH | H2_ODD);
    assert_int_equal(note_of(":path", ""), H2_MALFORMED);
    assert_int_equal(note_of(":scheme", "ftp"), H2_PSEUDO | HPACK_SCHEME | H2_ODD);
    assert_int_equal(note_of(":protocol", "websocket"), H2_PSEUDO | H2_PROTOCOL);
    assert_int_equal(note_of(":other", "1"), H2_MALFORMED);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_static_notes),    cmocka_unit_test(test_names),
        cmocka_unit_test(test_of_a_connection), cmocka_unit_test(test_values),
        cmocka_unit_test(test_pseudo_fields),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
