/* test_h2_past.c - what is remembered of a client's streams, against a model that forgets
 * nothing. */
#include "http/h2_past.h"

#include "base/check.h"
#include "base/rng.h"

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

enum { MODEL_IDS = 40000 };

struct model {
    int32_t last;
    uint8_t state[MODEL_IDS];
};

static void model_advance(struct model *m, int32_t id)
{
    for (int32_t skipped = m->last + 1; skipped < id; skipped++)
        m->state[skipped] = H2_PAST_SKIPPED;
    m->last = id;
}

static enum h2_past_state model_of(const struct model *m, int32_t id)
{
    if (!(id & 1) || id > m->last || (m->last - id) / 2 >= H2_PAST_STREAMS)
        return H2_PAST_NONE;
    return (enum h2_past_state)m->state[id];
}

static void compare(const struct h2_past *p, const struct model *m)
{
    for (int32_t id = m->last - 2 * H2_PAST_STREAMS - 9; id < m->last + 2 * H2_PAST_STREAMS; id++) {
        enum h2_past_state want = id <= 0 ? H2_PAST_NONE : model_of(m, id);
        assert_int_equal(h2_past_of(p, id), want);
    }
}

static void run(uint64_t seed, uint32_t jump)
{
    static struct model m;
    struct h2_past p;
    struct rng rng;
    memset(&m, 0, sizeof(m));
    rng_init(&rng, seed);
    h2_past_init(&p);
    compare(&p, &m);
    for (;;) {
        int32_t id = (m.last | 1) + 2 * (int32_t)rng_below(&rng, jump);
        bool first = id > m.last;
        if (id >= MODEL_IDS)
            break;
        if (first)
            model_advance(&m, id);
        if (rng_below(&rng, 3) == 0) { /* as it begins; perhaps it is taken then */
            h2_past_reset(&p, id);
            if (first || m.state[id] != H2_PAST_RESET_BY_PEER)
                m.state[id] = H2_PAST_RESET;
        }
        if (m.state[id] != H2_PAST_RESET || rng_below(&rng, 2) == 0) {
            h2_past_opened(&p, id);
            if (id == m.last)
                m.state[id] = H2_PAST_OPENED;
        }
        int32_t old = m.last - (int32_t)rng_below(&rng, 3 * H2_PAST_STREAMS);
        if (old > 0 && rng_below(&rng, 2) == 0) {
            h2_past_reset(&p, old);
            if ((old & 1) && (m.last - old) / 2 < H2_PAST_STREAMS &&
                m.state[old] != H2_PAST_RESET_BY_PEER)
                m.state[old] = H2_PAST_RESET;
        }
        if (old > 0 && rng_below(&rng, 4) == 0) {
            h2_past_reset_by_peer(&p, old);
            if ((old & 1) && (m.last - old) / 2 < H2_PAST_STREAMS)
                m.state[old] = H2_PAST_RESET_BY_PEER;
        }
        h2_past_opened(&p, (m.last - 1) & ~1); /* even: no client's */
        if (rng_below(&rng, 16) == 0)
            compare(&p, &m);
    }
    compare(&p, &m);
}

static void test_model(UNUSED void **state)
{
    for (uint64_t seed = 1; seed <= 12; seed++) {
        run(seed, 2);
        run(seed, 5);
        run(seed, 300);
        run(seed, 3 * H2_PAST_STREAMS);
    }
}

static void test_ends_of_the_range(UNUSED void **state)
{
    struct h2_past p;
    h2_past_init(&p);
    h2_past_opened(&p, 1);
    h2_past_opened(&p, INT32_MAX);
    assert_int_equal(h2_past_of(&p, INT32_MAX), H2_PAST_OPENED);
    assert_int_equal(h2_past_of(&p, INT32_MAX - 2), H2_PAST_SKIPPED);
    assert_int_equal(h2_past_of(&p, 1), H2_PAST_NONE);
    h2_past_opened(&p, INT32_MAX);
    h2_past_reset(&p, INT32_MAX);
    assert_int_equal(h2_past_of(&p, INT32_MAX), H2_PAST_RESET);
    h2_past_init(&p);
    h2_past_opened(&p, INT32_MAX);
    assert_int_equal(h2_past_of(&p, INT32_MAX - 2 * (H2_PAST_STREAMS - 1)), H2_PAST_SKIPPED);
    assert_int_equal(h2_past_of(&p, INT32_MAX - 2 * H2_PAST_STREAMS), H2_PAST_NONE);
    assert_int_equal(h2_past_of(&p, 0), H2_PAST_NONE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_model),
        cmocka_unit_test(test_ends_of_the_range),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
