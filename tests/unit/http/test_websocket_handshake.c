/* test_websocket_handshake.c - how a WebSocket begins, by HTTP/1.1 and by HTTP/2. */
#include "http/websocket_handshake.h"

#include "base/check.h"

#include <errno.h>

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

static void add(struct message *m, const char *name, const char *value)
{
    assert_int_equal(message_add(m, field_id_of(str_of(name)), str_of(name), str_of(value)), 0);
}

static struct str value_of(const struct message *m, enum field_id id)
{
    const struct field *f = message_find(m, id);
    return f ? field_value(m, f) : STR_NONE;
}

static void test_is_upgrade(UNUSED void **state)
{
    struct message m;
    message_init(&m, true);
    m.version_minor = 1;
    m.method = METHOD_GET;
    m.connection_upgrade = 1;
    add(&m, "Upgrade", "WebSocket");
    assert_true(websocket_is_upgrade(&m));
    m.method = METHOD_POST;
    assert_false(websocket_is_upgrade(&m));
    m.method = METHOD_GET;
    m.body = BODY_LENGTH;
    assert_false(websocket_is_upgrade(&m));
    m.body = BODY_NONE;
    m.version_minor = 0;
    assert_false(websocket_is_upgrade(&m));
    m.version_minor = 1;
    m.connection_upgrade = 0;
    assert_false(websocket_is_upgrade(&m));
    m.connection_upgrade = 1;
    (void)message_drop(&m, FIELD_UPGRADE);
    assert_false(websocket_is_upgrade(&m));
    add(&m, "Upgrade", "h2c");
    assert_false(websocket_is_upgrade(&m));
    message_free(&m);
}

/* Our keys are valid ones, and no two are the same. */
static void test_own_key(UNUSED void **state)
{
    struct rng rng;
    char last[WEBSOCKET_KEY_LEN] = "";
    rng_init(&rng, 7);
    for (int i = 0; i < 100; i++) {
        struct message req, res;
        message_init(&req, true);
        message_init(&res, false);
        add(&req, "Sec-WebSocket-Key", "theirs");
        assert_int_equal(websocket_add_key(&req, &rng), 0);
        struct str key = value_of(&req, FIELD_SEC_WEBSOCKET_KEY);
        assert_true(websocket_key_ok(key));
        assert_memory_not_equal(key.p, last, sizeof(last));
        memcpy(last, key.p, sizeof(last));
        assert_int_equal(websocket_add_accept(&res, key), 0);
        assert_true(websocket_accept_ok(key, value_of(&res, FIELD_SEC_WEBSOCKET_ACCEPT)));
        message_free(&req);
        message_free(&res);
    }
}

/* RFC 8441 §5.1's request. */
static void test_from_connect(UNUSED void **state)
{
    struct message m;
    message_init(&m, true);
    m.http2 = 1;
    m.version_minor = 1;
    m.method = METHOD_CONNECT;
    m.body = BODY_CHUNKED;
    assert_int_equal(message_append(&m, "CONNECT", 7, &m.method_text), 0);
    add(&m, "sec-websocket-protocol", "chat, superchat");
    add(&m, "sec-websocket-extensions", "permessage-deflate");
    add(&m, "sec-websocket-version", "13");
    add(&m, "sec-websocket-key", "AAAAAAAAAAAAAAAAAAAAAA==");
    add(&m, "upgrade", "h2c");
    assert_int_equal(websocket_from_connect(&m, STR("connect-udp")), -EPROTONOSUPPORT);
    assert_int_equal(m.method, METHOD_CONNECT);
    assert_int_equal(websocket_from_connect(&m, STR("websocket")), 0);
    assert_int_equal(m.method, METHOD_GET);
    assert_true(str_eq(message_str(&m, m.method_text), STR("GET")));
    assert_int_equal(m.body, BODY_NONE);
    assert_true(m.websocket);
    assert_true(websocket_is_upgrade(&m));
    assert_true(str_eq(value_of(&m, FIELD_UPGRADE), STR("websocket")));
    assert_null(message_find(&m, FIELD_SEC_WEBSOCKET_KEY));
    assert_non_null(message_find_name(&m, STR("sec-websocket-protocol")));
    assert_non_null(message_find_name(&m, STR("sec-websocket-version")));
    unsigned left_out = 0;
    for (uint32_t i = 0; i < m.n_fields; i++)
        left_out += websocket_field_is_h1(&m.fields[i]);
    assert_int_equal(left_out, 3); /* both Upgrades, and the key */
    message_free(&m);
}

static void test_from_ok(UNUSED void **state)
{
    static const struct {
        uint16_t status, becomes;
    } cases[] = {{200, 101}, {204, 101}, {299, 101}, {302, 302}, {403, 403}, {500, 500}};
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct message m;
        message_init(&m, false);
        m.http2 = 1;
        m.version_minor = 1;
        m.status = cases[i].status;
        m.body = BODY_CHUNKED;
        add(&m, "sec-websocket-accept", "theirs");
        assert_int_equal(websocket_from_ok(&m), 0);
        assert_int_equal(m.status, cases[i].becomes);
        assert_int_equal(m.websocket, m.status == 101);
        assert_int_equal(websocket_is_upgrade(&m), m.status == 101);
        assert_int_equal(m.body, m.status == 101 ? BODY_NONE : BODY_CHUNKED);
        assert_int_equal(message_find(&m, FIELD_SEC_WEBSOCKET_ACCEPT) == NULL, m.status == 101);
        message_free(&m);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_is_upgrade),   cmocka_unit_test(test_own_key),
        cmocka_unit_test(test_from_connect), cmocka_unit_test(test_from_ok),
        cmocka_unit_test(test_right),        cmocka_unit_test(test_wrong_answer),
        cmocka_unit_test(test_bad_key),
    };
    return cmocka_run_group_tests_name("websocket_handshake", tests, NULL, NULL);
}
