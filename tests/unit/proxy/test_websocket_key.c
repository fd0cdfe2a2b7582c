/* test_websocket_key.c - which answers to a WebSocket key are right? */
#include "proxy/websocket_key.h"

#include "base/check.h"

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

static void test_right(UNUSED void **state)
{
    /* RFC 6455 §1.3 */
    assert_true(
        websocket_accept_ok(STR("dGhlIHNhbXBsZSBub25jZQ=="), STR("s3pPLMBiTxaQ9kYGzzhZRbK+xOo=")));
    assert_true(
        websocket_accept_ok(STR("x3JJHMbDL1EzLkh9GBhXDw=="), STR("HSmrc0sMlYUkAGmm5OPpG2HaGWk=")));
}

static void test_wrong_answer(UNUSED void **state)
{
    struct str key = STR("dGhlIHNhbXBsZSBub25jZQ==");
    char answer[] = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";
    struct str all = {answer, sizeof(answer) - 1};
    assert_true(websocket_accept_ok(key, all));
    for (size_t i = 0; i < all.n; i++) {
        answer[i] ^= 1;
        assert_false(websocket_accept_ok(key, all));
        answer[i] ^= 1;
        assert_false(websocket_accept_ok(key, (struct str){answer, i}));
    }
    assert_false(websocket_accept_ok(key, STR("S3PPLMBITXAQ9KYGZZHZRBK+XOO=")));
    assert_false(websocket_accept_ok(key, STR("s3pPLMBiTxaQ9kYGzzhZRbK+xOo= ")));
    assert_false(websocket_accept_ok(key, STR_NONE));
    assert_false(websocket_accept_ok(key, key));
}

static void test_bad_key(UNUSED void **state)
{
    static const char *const keys[] = {
        "",
        "dGhlIHNhbXBsZSBub25jZQ=",
        "dGhlIHNhbXBsZSBub25jZQ",
        "dGhlIHNhbXBsZSBub25jZQ===",
        "dGhlIHNhbXBsZSBub25jZQAA",
        "dGhlIHNhbXBsZSBub25jZQA=",
        "dGhlIHNhbXBsZSBub25j\r\n==",
        "dGhlIHNhbXBsZSBub25j  ==",
        "dGhlIHNhbXBsZSBub25j-_==",
        "dGhlIHNhbXBsZSBub25jZ===",
        " GhlIHNhbXBsZSBub25jZQ==",
    };
    for (size_t i = 0; i < ARRAY_LEN(keys); i++)
        assert_false(websocket_accept_ok(str_of(keys[i]), STR("s3pPLMBiTxaQ9kYGzzhZRbK+xOo=")));
    assert_false(websocket_accept_ok(STR_NONE, STR_NONE));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_right),
        cmocka_unit_test(test_wrong_answer),
        cmocka_unit_test(test_bad_key),
    };
    return cmocka_run_group_tests_name("websocket_key", tests, NULL, NULL);
}
