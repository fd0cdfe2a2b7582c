/* test_message.c - field names, growth, and slices that survive it. */
#include "feed.h"

#include "base/mem.h"

#include <errno.h>

static void every_known_name_is_found(void **state)
{
    static const struct str names[FIELD_ID_COUNT] = {
#define X(id, lower) [FIELD_##id] = {lower, sizeof(lower) - 1},
        FIELD_TABLE(X)
#undef X
    };
    (void)state;
    for (int id = FIELD_OTHER + 1; id < FIELD_ID_COUNT; id++) {
        struct str name = names[id];
        char upper[32], other[32];
        assert_true(name.n > 0 && name.n < sizeof(upper));
        assert_int_equal(field_id_of(name), id);
        for (size_t i = 0; i < name.n; i++)
            upper[i] = (char)(name.p[i] >= 'a' && name.p[i] <= 'z' ? name.p[i] - 32 : name.p[i]);
        assert_int_equal(field_id_of((struct str){upper, name.n}), id);
        /* One byte changed in any way but its case, and it is another name. */
        for (size_t i = 0; i < name.n; i++) {
            for (int c = 0; c < 256; c++) {
                memcpy(other, name.p, name.n);
                other[i] = (char)c;
                bool same = ascii_lower((char)c) == name.p[i];
                assert_int_equal(field_id_of((struct str){other, name.n}) == (enum field_id)id,
                                 same);
            }
        }
        assert_int_not_equal(field_id_of((struct str){name.p, name.n - 1}), id);
        memcpy(other, name.p, name.n);
        other[name.n] = 'x';
        assert_int_equal(field_id_of((struct str){other, name.n + 1}), FIELD_OTHER);
    }
    assert_int_equal(field_id_of(STR("")), FIELD_OTHER);
    assert_int_equal(field_id_of(STR("x")), FIELD_OTHER);
    assert_int_equal(field_id_of(STR("accept")), FIELD_OTHER);
    assert_int_equal(field_id_of(STR("x-a-name-that-is-longer-than-all")), FIELD_OTHER);
}

static void fields_are_added_found_and_dropped(void **state)
{
    struct message m;
    (void)state;
    message_init(&m, true);
    assert_int_equal(message_add(&m, FIELD_OTHER, STR("X-Foo"), STR("1")), 0);
    assert_int_equal(message_add(&m, FIELD_OTHER, STR("X-Foo"), STR("2")), 0);
    assert_int_equal(message_add_known(&m, FIELD_X_REQUEST_ID, STR("abc")), 0);
    assert_true(str_eq(field_name(&m, &m.fields[2]), STR("X-Request-Id")));
    struct field *f = message_find_name(&m, STR("x-foo"));
    assert_ptr_equal(f, &m.fields[0]);
    f->dropped = 1;
    assert_ptr_equal(message_find_name(&m, STR("X-FOO")), &m.fields[1]);
    assert_ptr_equal(message_find_name(&m, STR("x-request-ID")), &m.fields[2]);
    assert_null(message_find_name(&m, STR("x-bar")));
    assert_int_equal(message_drop(&m, FIELD_X_REQUEST_ID), 1);
    assert_int_equal(message_drop(&m, FIELD_X_REQUEST_ID), 0);
    assert_null(message_find(&m, FIELD_X_REQUEST_ID));
    message_free(&m);
}

/* Values that lie in the buffer itself, which moves while they are copied. */
static void aliases_survive_growth(void **state)
{
    struct message m;
    char value[300];
    (void)state;
    memset(value, 'v', sizeof(value));
    message_init(&m, true);
    assert_int_equal(message_add(&m, FIELD_OTHER, STR("name"), (struct str){value, 300}), 0);
    for (int i = 0; i < 200; i++) {
        struct field f = m.fields[0];
        assert_int_equal(message_add(&m, FIELD_OTHER, field_name(&m, &f), field_value(&m, &f)), 0);
        struct str last = field_value(&m, &m.fields[m.n_fields - 1]);
        assert_int_equal(last.n, 300);
        assert_memory_equal(last.p, value, 300);
    }
    struct text t;
    struct str first = field_value(&m, &m.fields[0]);
    assert_int_equal(message_append(&m, first.p, first.n, &t), 0);
    assert_memory_equal(message_str(&m, t).p, value, 300);
    assert_int_equal(m.n_fields, 201);
    message_free(&m);
}

static void memory_short(void **state)
{
    struct message m;
    char value[600];
    (void)state;
    memset(value, 'v', sizeof(value));
    for (uint64_t nth = 1; nth < 12; nth++) {
        message_init(&m, true);
        mem_fail_at(nth, false);
        for (int i = 0; i < 100; i++) {
            unsigned before = m.n_fields;
            int r = message_add(&m, FIELD_OTHER, STR("n"), (struct str){value, sizeof(value)});
            assert_true(r == 0 || r == -ENOMEM);
            assert_int_equal(m.n_fields, before + (r == 0));
        }
        mem_fail_at(0, false);
        assert_true(m.n_fields >= 99);
        message_free(&m);
    }
    message_init(&m, true);
    assert_null(message_reserve(&m, UINT32_MAX));
    message_free(&m);
}

/* What a long stream keeps of its request, and nothing of the room. */
static void shrunk(void **state)
{
    (void)state;
    for (int big = 0; big < 2; big++) {
        struct message_room room;
        struct message m;
        message_init_in(&m, true, &room);
        assert_int_equal(message_append(&m, "GET", 3, &m.method_text), 0);
        assert_int_equal(message_append(&m, "/path", 5, &m.path), 0);
        assert_int_equal(message_append(&m, "a=b", 3, &m.query), 0);
        assert_int_equal(message_append(&m, "example.com", 11, &m.authority), 0);
        for (int i = 0; i < (big ? 100 : 2); i++)
            assert_int_equal(message_add(&m, FIELD_OTHER, STR("X-Other"), STR("some value")), 0);
        assert_int_equal(message_add_known(&m, FIELD_USER_AGENT, STR("test/1")), 0);
        assert_int_equal(message_add_known(&m, FIELD_X_FORWARDED_FOR, STR("192.0.2.1")), 0);
        assert_int_equal(message_drop(&m, FIELD_X_FORWARDED_FOR), 1);
        assert_int_equal(message_add_known(&m, FIELD_COOKIE, STR("secret")), 0);
        uint64_t ids = (uint64_t)1 << FIELD_USER_AGENT | (uint64_t)1 << FIELD_X_FORWARDED_FOR;
        assert_int_equal(message_shrink(&m, ids, 1024), 0);
        memset(&room, 0xee, sizeof(room));
        assert_true(str_eq(message_str(&m, m.method_text), STR("GET")));
        assert_true(str_eq(message_str(&m, m.path), STR("/path")));
        assert_true(str_eq(message_str(&m, m.query), STR("a=b")));
        assert_true(str_eq(message_str(&m, m.authority), STR("example.com")));
        assert_int_equal(m.n_fields, 2);
        const struct field *f = message_find(&m, FIELD_USER_AGENT);
        assert_true(f && str_eq(field_value(&m, f), STR("test/1")));
        assert_null(message_find(&m, FIELD_X_FORWARDED_FOR)); /* dropped, and there */
        assert_true(str_eq(field_value(&m, &m.fields[1]), STR("192.0.2.1")));
        assert_int_equal(message_shrink(&m, ids, 1024), 0); /* it is out of its room already */
        assert_int_equal(m.n_fields, 2);
        assert_int_equal(message_add_known(&m, FIELD_COOKIE, STR("more")), 0); /* it grows again */
        assert_true(str_eq(field_value(&m, &m.fields[1]), STR("192.0.2.1")));
        assert_true(str_eq(message_str(&m, m.path), STR("/path")));
        message_clear(&m);
        assert_int_equal(message_add_known(&m, FIELD_COOKIE, STR("else")), 0);
        message_free(&m);
    }
}

static void shrink_memory_short(void **state)
{
    (void)state;
    struct message_room room;
    struct message m;
    message_init_in(&m, true, &room);
    assert_int_equal(message_append(&m, "/path", 5, &m.path), 0);
    mem_fail_at(1, false);
    assert_int_equal(message_shrink(&m, 0, 1024), -ENOMEM);
    mem_fail_at(0, false);
    assert_ptr_equal(m.buf, room.buf);
    assert_true(str_eq(message_str(&m, m.path), STR("/path")));
    message_free(&m);
}

static void cleared(void **state)
{
    (void)state;
    struct message_room room;
    struct message m;
    message_init_in(&m, true, &room);
    for (int i = 0; i < 100; i++)
        assert_int_equal(message_add(&m, FIELD_OTHER, STR("X-Other"), STR("some value")), 0);
    assert_ptr_not_equal(m.buf, room.buf);
    message_clear(&m);
    assert_ptr_equal(m.buf, room.buf);
    assert_int_equal(m.n_fields, 0);
    assert_true(m.is_request);
    message_free(&m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(shrunk),
        cmocka_unit_test(shrink_memory_short),
        cmocka_unit_test(cleared),
        cmocka_unit_test(every_known_name_is_found),
        cmocka_unit_test(fields_are_added_found_and_dropped),
        cmocka_unit_test(aliases_survive_growth),
        cmocka_unit_test(memory_short),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
