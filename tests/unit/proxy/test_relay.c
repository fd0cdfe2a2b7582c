/* test_relay.c - is every byte passed on once, and credited once, when it is taken? */
#include "proxy/relay.h"

#include "base/check.h"
#include "base/mem.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

/* A side that only notes what it is told. */
struct fake {
    struct side side;
    char got[64];
    size_t n;
    size_t credited;
    size_t block_at; /* blocked once it has so many bytes; 0: never */
};

static void fake_body(struct side *s, const char *p, size_t n)
{
    struct fake *f = CONTAINER_OF(s, struct fake, side);
    assert_true(f->n + n <= sizeof(f->got));
    memcpy(f->got + f->n, p, n);
    f->n += n;
    s->blocked = f->block_at > 0 && f->n >= f->block_at;
}

static void fake_credit(struct side *s, size_t n)
{
    CONTAINER_OF(s, struct fake, side)->credited += n;
}

static const struct side_ops fake_ops = {.body = fake_body, .credit = fake_credit};

struct fixture {
    struct buf_pool pool;
    struct fake from, to;
    struct relay relay;
};

static void init(struct fixture *f)
{
    *f = (struct fixture){.from.side.ops = &fake_ops, .to.side.ops = &fake_ops};
    f->relay.from = &f->from.side;
}

static void push(struct fixture *f, const char *text)
{
    assert_int_equal(relay_push(&f->relay, &f->pool, text, strlen(text)), 0);
}

static void check(struct fixture *f, const char *got, size_t credited)
{
    assert_int_equal(f->to.n, strlen(got));
    assert_memory_equal(f->to.got, got, f->to.n);
    assert_int_equal(f->from.credited, credited);
}

static void test_straight_through(UNUSED void **state)
{
    struct fixture f;
    init(&f);
    relay_open(&f.relay, &f.pool, &f.to.side);
    push(&f, "abc");
    check(&f, "abc", 3);
    push(&f, "de");
    check(&f, "abcde", 5);
    assert_int_equal(f.relay.bytes, 5);
    buf_pool_free(&f.pool);
}

static void test_early_bytes_wait(UNUSED void **state)
{
    struct fixture f;
    init(&f);
    push(&f, "ab");
    push(&f, "cd");
    check(&f, "", 0);
    relay_drained(&f.relay); /* nobody has taken them */
    relay_open(&f.relay, &f.pool, &f.to.side);
    check(&f, "abcd", 4);
    push(&f, "e");
    check(&f, "abcde", 5);
    buf_pool_free(&f.pool);
}

static void test_credit_waits_for_who_takes(UNUSED void **state)
{
    struct fixture f;
    init(&f);
    f.to.block_at = 4;
    relay_open(&f.relay, &f.pool, &f.to.side);
    push(&f, "abc");
    check(&f, "abc", 3);
    push(&f, "def");
    check(&f, "abcdef", 3);
    relay_drained(&f.relay); /* still blocked */
    check(&f, "abcdef", 3);
    f.to.side.blocked = false;
    relay_drained(&f.relay);
    check(&f, "abcdef", 6);
    relay_drained(&f.relay); /* once only */
    check(&f, "abcdef", 6);
}

static void test_early_bytes_can_block(UNUSED void **state)
{
    struct fixture f;
    init(&f);
    f.to.block_at = 1;
    push(&f, "abc");
    relay_open(&f.relay, &f.pool, &f.to.side);
    check(&f, "abc", 0);
    f.to.side.blocked = false;
    relay_drained(&f.relay);
    check(&f, "abc", 3);
    buf_pool_free(&f.pool);
}

/* Whatever is held is credited, and what still comes is, at once: else its sender would stand
 * still for ever. */
static void test_discard(UNUSED void **state)
{
    struct fixture f;
    init(&f);
    push(&f, "abc");
    relay_discard(&f.relay, &f.pool);
    check(&f, "", 3);
    push(&f, "defg");
    check(&f, "", 7);
    assert_int_equal(buf_len(&f.relay.early), 0);
    assert_int_equal(f.relay.bytes, 7);
    buf_pool_free(&f.pool);

    init(&f);
    f.to.block_at = 1;
    relay_open(&f.relay, &f.pool, &f.to.side);
    push(&f, "abc");
    check(&f, "abc", 0);
    relay_discard(&f.relay, &f.pool);
    check(&f, "abc", 3);
    push(&f, "de");
    check(&f, "abc", 5);
    buf_pool_free(&f.pool);
}

static void test_sender_gone(UNUSED void **state)
{
    struct fixture f;
    init(&f);
    f.to.block_at = 1;
    relay_open(&f.relay, &f.pool, &f.to.side);
    push(&f, "abc");
    f.relay.from = NULL;
    f.to.side.blocked = false;
    relay_drained(&f.relay);
    relay_discard(&f.relay, &f.pool);
    check(&f, "abc", 0);
}

static void test_no_memory(UNUSED void **state)
{
    struct fixture f;
    init(&f);
    mem_fail_at(1, false);
    assert_int_equal(relay_push(&f.relay, &f.pool, "abc", 3), -ENOMEM);
    mem_fail_at(0, false);
    relay_discard(&f.relay, &f.pool);
    buf_pool_free(&f.pool);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_straight_through),
        cmocka_unit_test(test_early_bytes_wait),
        cmocka_unit_test(test_credit_waits_for_who_takes),
        cmocka_unit_test(test_early_bytes_can_block),
        cmocka_unit_test(test_discard),
        cmocka_unit_test(test_sender_gone),
        cmocka_unit_test(test_no_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
