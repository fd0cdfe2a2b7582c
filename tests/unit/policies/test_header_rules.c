/* test_header_rules.c - does a modifier do what it says, and nothing to what frames a message? */
#include "policies/header_rules.h"

#include "base/check.h"
#include "base/rng.h"
#include "tests/unit/policies/test_arena.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <setjmp.h>
#include <stdlib.h>
#include <cmocka.h>

/* --- a message that is a list of names and values --- */

enum { FIELDS = 256 };

static struct fields {
    uint32_t n;
    struct {
        char name[64], value[HEADER_WRITTEN_MAX + 1];
        bool gone;
    } f[FIELDS];
    int fail_in; /* the add that fails; 0: none */
} m;

static bool find(UNUSED const void *ctx, const struct header_wanted *wanted, uint32_t *i,
                 struct str *ret)
{
    for (; *i < m.n; (*i)++) {
        *ret = str_of(m.f[*i].name);
        if (!m.f[*i].gone && header_is_wanted(wanted, *ret))
            return true;
    }
    return false;
}

static void drop(UNUSED void *ctx, uint32_t i)
{
    assert_false(m.f[i].gone);
    m.f[i].gone = true;
}

static int add(UNUSED void *ctx, struct str name, struct str value)
{
    if (m.fail_in > 0 && --m.fail_in == 0)
        return -ENOMEM;
    assert_true(m.n < FIELDS && name.n < sizeof(m.f[0].name) && value.n < sizeof(m.f[0].value));
    (void)snprintf(m.f[m.n].name, sizeof(m.f[0].name), "%.*s", STR_FMT(name));
    (void)snprintf(m.f[m.n].value, sizeof(m.f[0].value), "%.*s", STR_FMT(value));
    m.f[m.n++].gone = false;
    return 0;
}

static const struct header_fields fields = {find, drop, add, NULL};

static void has(const char *name, const char *value)
{
    assert_int_equal(add(NULL, str_of(name), str_of(value)), 0);
}

/* "A: 1|B: 2" */
static const char *all(void)
{
    static char out[4096];
    size_t n = 0;
    out[0] = '\0';
    for (uint32_t i = 0; i < m.n; i++) {
        if (!m.f[i].gone)
            n += (size_t)snprintf(out + n, sizeof(out) - n, "%s%s: %s", n ? "|" : "", m.f[i].name,
                                  m.f[i].value);
    }
    return out;
}

/* --- the request that values are made of --- */

static struct str client = {"192.0.2.7", 9}, big, dirty = {"a\rb", 3};

static struct str variable(UNUSED const void *ctx, enum header_variable v)
{
    switch (v) {
    case HEADER_CLIENT_ADDRESS:
        return client;
    case HEADER_PATH:
        return STR("/a");
    case HEADER_HOST:
        return dirty;
    case HEADER_METHOD:
        return STR(" ");
    case HEADER_REQUEST_ID:
        return big;
    default:
        return STR_NONE;
    }
}

static struct str header(UNUSED const void *ctx, struct str name)
{
    for (uint32_t i = 0; i < m.n; i++) {
        if (!m.f[i].gone && str_ieq(str_of(m.f[i].name), name))
            return str_of(m.f[i].value);
    }
    return STR_NONE;
}

static const struct header_values values = {variable, header, NULL};

/* --- rules --- */

static struct header_write writes[HEADER_WRITES_MAX];
static struct header_remove removes[HEADER_REMOVES_MAX];
static struct header_rules r;

static int set_up(UNUSED void **state)
{
    m.n = 0;
    m.fail_in = 0;
    r = (struct header_rules){.request = true, .writes = writes, .removes = removes};
    big = STR_NONE;
    return 0;
}

static void rule(enum header_op op, const char *name, const char *value)
{
    struct template_problem problem = {0};
    struct header_write *w = &writes[r.n_writes++];
    *w = (struct header_write){.op = op, .name = str_of(name)};
    if (header_write_compile(arena, str_of(value), w, &problem) < 0)
        fail_msg("%s: %s at %zu", value, problem.what ? problem.what : "?", problem.at);
}

static void removing(const char *text)
{
    const char *wrong = header_remove_compile(str_of(text), r.request, &removes[r.n_removes++]);
    if (wrong)
        fail_msg("%s: %s", text, wrong);
}

static struct header_changes apply(const char *want)
{
    struct header_changes c = {0};
    assert_int_equal(header_rules_apply(&r, &values, &fields, &c), 0);
    assert_string_equal(all(), want);
    return c;
}

/* --- tests --- */

static void test_each(UNUSED void **state)
{
    has("x-a", "1");
    has("X-A", "2");
    has("X-B", "3");
    rule(HEADER_SET, "X-A", "new");
    rule(HEADER_SET_IF_ABSENT, "X-b", "no");
    rule(HEADER_SET_IF_ABSENT, "X-C", "yes");
    rule(HEADER_ADD, "X-B", "4");
    rule(HEADER_ADD, "X-B", "5");
    struct header_changes c = apply("X-B: 3|X-A: new|X-C: yes|X-B: 4|X-B: 5");
    assert_int_equal(c.written, 4);
    assert_int_equal(c.removed, 0);
    assert_int_equal(c.left_out, 0);
}

static void test_remove_is_first(UNUSED void **state)
{
    has("X-A", "1");
    has("x-internal-user", "u");
    has("X-Internal-", "u"); /* begins so, and ends there */
    has("X-Intern", "stays");
    has("Via", "1.1 x");
    removing("x-a");
    removing("X-Internal-*");
    removing("v*"); /* Via is out of reach */
    rule(HEADER_SET, "X-B", "was {header.X-A}");
    rule(HEADER_SET_IF_ABSENT, "X-A", "again");
    struct header_changes c = apply("X-Intern: stays|Via: 1.1 x|X-B: was 1|X-A: again");
    assert_int_equal(c.removed, 3);
    assert_int_equal(c.written, 2);
}

/* Of a request only: what its client could mean by a name. */
static void test_underscores(UNUSED void **state)
{
    for (int request = 0; request < 2; request++) {
        (void)set_up(NULL);
        r.request = request;
        r.n_writes = r.n_removes = 0;
        has("A_B", "1");
        has("a_b_c", "2");
        has("X_Y-z", "3");
        has("X_Y-", "4");
        has("A_BC", "5");
        rule(HEADER_SET, "a-b", "new");
        rule(HEADER_SET_IF_ABSENT, "A-BC", "new");
        removing("x-y-*");
        (void)apply(request ? "a_b_c: 2|A_BC: 5|a-b: new|A-BC: new"
                            : "A_B: 1|a_b_c: 2|X_Y-z: 3|X_Y-: 4|A_BC: 5|a-b: new|A-BC: new");
    }
    const struct header_wanted rule_with_one = {.name = STR("a_b"), .loosely = true};
    assert_false(header_is_wanted(&rule_with_one, STR("a-b")));
}

static void test_values(UNUSED void **state)
{
    has("X-In", "in");
    rule(HEADER_ADD, "A", "{client.address} {path} {{x} {header.x-in}{header.X-IN}");
    rule(HEADER_ADD, "B", "  literal ");
    apply("X-In: in|A: 192.0.2.7 /a {x} inin|B: literal");
}

/* Nothing is written; what set would have replaced is gone all the same. */
static void test_left_out(UNUSED void **state)
{
    has("X-User", "forged");
    has("X-Two", "stays");
    rule(HEADER_SET, "X-User", "{header.x-verified}");
    rule(HEADER_SET_IF_ABSENT, "X-New", "{upstream}");
    rule(HEADER_ADD, "X-Two", "{host}");     /* a control character */
    rule(HEADER_ADD, "X-Three", "{method}"); /* only space */
    struct header_changes c = apply("X-Two: stays");
    assert_int_equal(c.left_out, 4);
    assert_int_equal(c.removed, 1);
    assert_int_equal(c.written, 0);
}

static void test_dry_run(UNUSED void **state)
{
    has("X-A", "1");
    has("X-B", "2");
    r.dry_run = true;
    removing("X-A");
    rule(HEADER_SET, "X-B", "{upstream}");
    rule(HEADER_SET_IF_ABSENT, "X-A", "x");
    rule(HEADER_SET_IF_ABSENT, "X-B", "x");
    rule(HEADER_ADD, "X-C", "x");
    struct header_changes c = apply("X-A: 1|X-B: 2");
    assert_int_equal(c.removed, 2);
    assert_int_equal(c.written, 2);
    assert_int_equal(c.left_out, 1);
}

static void test_bound(UNUSED void **state)
{
    static char text[HEADER_WRITTEN_MAX];
    struct header_changes c = {0};
    memset(text, 'x', sizeof(text));
    rule(HEADER_SET, "X-A", "{request.id}");
    big = (struct str){text, sizeof(text) - 7};
    assert_int_equal(header_rules_apply(&r, &values, &fields, &c), 0);
    assert_int_equal(m.n, 1);
    assert_int_equal(strlen(m.f[0].value), big.n);
    big.n++;
    has("X-B", "1");
    removing("X-B");
    assert_int_equal(header_rules_apply(&r, &values, &fields, &c), -EMSGSIZE);
    assert_false(m.f[0].gone || m.f[1].gone);
    big.n = sizeof(text) - 8; /* no room for a second name */
    rule(HEADER_ADD, "X-C", "1");
    assert_int_equal(header_rules_apply(&r, &values, &fields, &c), -EMSGSIZE);
}

static void test_no_memory(UNUSED void **state)
{
    struct header_changes c = {.written = 77};
    rule(HEADER_ADD, "X-A", "1");
    rule(HEADER_ADD, "X-B", "1");
    m.fail_in = 2;
    assert_int_equal(header_rules_apply(&r, &values, &fields, &c), -ENOMEM);
    assert_int_equal(c.written, 77);
}

static const char *const untouchable[] = {
    "Content-Length",
    "Transfer-Encoding",
    "transfer_encoding",
    "Trailer",
    "Connection",
    "Keep-Alive",
    "Proxy-Connection",
    "Proxy-Authenticate",
    "TE",
    "UPGRADE",
    "Proxy_Authorization",
    "HTTP2-Settings",
    "Expect",
    "Host",
    "Sec-WebSocket-Key",
    "Sec-WebSocket-Accept",
    "grpc-status",
    "grpc-message",
    "grpc-timeout",
    "Via",
    "Sec-WebSocket-Protocol",
    "Sec-WebSocket-Version",
    "Sec-WebSocket-Extensions",
};

static void test_refuses(UNUSED void **state)
{
    struct header_remove gone;
    for (size_t i = 0; i < ARRAY_LEN(untouchable); i++) {
        assert_non_null(header_rules_refuses(str_of(untouchable[i]), true));
        assert_non_null(header_rules_refuses(str_of(untouchable[i]), false));
        assert_non_null(header_remove_compile(str_of(untouchable[i]), true, &gone));
    }
    assert_non_null(header_rules_refuses(STR("X-Request-ID"), true));
    assert_null(header_rules_refuses(STR("X-Request-ID"), false));
    assert_non_null(header_rules_refuses(STR("x_forwarded_for"), true));
    assert_null(header_rules_refuses(STR("Proxy-Status"), true));
    assert_non_null(header_rules_refuses(STR("Proxy-Status"), false));
    assert_null(header_rules_refuses(STR("Content-Type"), true));
    assert_null(header_rules_refuses(STR("Set-Cookie"), false));
}

static void test_remove_compile(UNUSED void **state)
{
    struct header_remove gone = {0};
    assert_null(header_remove_compile(STR("X-A*"), true, &gone));
    assert_true(gone.prefix && str_eq(gone.name, STR("X-A")));
    assert_null(header_remove_compile(STR("X-A"), true, &gone));
    assert_true(!gone.prefix && str_eq(gone.name, STR("X-A")));
    assert_non_null(header_remove_compile(STR("*"), true, &gone));
    assert_non_null(header_remove_compile(STR(""), true, &gone));
    assert_non_null(header_remove_compile(STR("X-*-B"), true, &gone));
    assert_null(header_remove_compile(STR("Host-*"), true, &gone));
}

static void refuses(const char *text, const char *what, const char *name)
{
    struct header_write w = {0};
    struct template_problem problem = {0};
    assert_int_equal(header_write_compile(arena, str_of(text), &w, &problem), -EINVAL);
    if (what)
        assert_non_null(strstr(problem.what, what));
    else
        assert_true(str_eq(problem.name, str_of(name)));
}

static void test_compile(UNUSED void **state)
{
    refuses("{client}", NULL, "client");
    refuses("{header.}", NULL, "header.");
    refuses("{headers.a}", NULL, "headers.a");
    refuses("{header.a", "begins the name", NULL);
    refuses("{header.a b}", "begins the name", NULL);
    refuses("{}", "begins the name", NULL);
    refuses("{header.a}{header.b}{header.c}{header.d}{header.e}{header.f}{header.g}{header.h}"
            "{header.i}",
            "more than 8", NULL);
    rule(HEADER_ADD, "A",
         "{header.a}{header.b}{header.c}{header.d}{header.e}{header.f}{header.g}{header.h}{header."
         "a}");
    assert_int_equal(writes[0].n_headers, 8);
}

/* Whatever the rules and the message: nothing out of reach changes, the bound holds, no value has
 * a control character, and a dry run changes nothing and counts the same. */
static void test_any(UNUSED void **state)
{
    static const char *const names[] = {"X-A", "x-a", "X-B", "X-Bc", "Via", "Connection", "Host"};
    static const char *const texts[] = {"1",          "{client.address}", "{header.X-A}",
                                        "{upstream}", "{host}",           "{header.X-B}-{path}"};
    static const char *const gone[] = {"X-A", "x-*", "c*", "h*", "X-B"};
    struct rng rng;
    rng_init(&rng, 7);
    for (int round = 0; round < 20000; round++) {
        (void)set_up(NULL);
        uint32_t n = rng_below(&rng, 8), kept = 0;
        for (uint32_t i = 0; i < n; i++) {
            uint32_t k = rng_below(&rng, ARRAY_LEN(names));
            has(names[k], "v");
            kept += k >= 4;
        }
        for (uint32_t i = rng_below(&rng, 3); i > 0; i--)
            removing(gone[rng_below(&rng, ARRAY_LEN(gone))]);
        for (uint32_t op = 0; op < 3; op++) {
            for (uint32_t i = rng_below(&rng, 3); i > 0; i--)
                rule((enum header_op)op, names[rng_below(&rng, 4)],
                     texts[rng_below(&rng, ARRAY_LEN(texts))]);
        }
        char before[4096];
        struct header_changes dry = {0}, wet = {0};
        (void)snprintf(before, sizeof(before), "%s", all());
        r.dry_run = true;
        assert_int_equal(header_rules_apply(&r, &values, &fields, &dry), 0);
        assert_string_equal(all(), before);
        r.dry_run = false;
        assert_int_equal(header_rules_apply(&r, &values, &fields, &wet), 0);
        assert_int_equal(dry.left_out, wet.left_out);
        assert_true(m.n <= n + r.n_writes && m.n - n == wet.written);
        for (uint32_t i = 0; i < m.n; i++) {
            assert_null(strpbrk(m.f[i].value, "\r\n"));
            kept -= !m.f[i].gone && header_rules_refuses(str_of(m.f[i].name), true);
        }
        assert_int_equal(kept, 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_each, set_up),
        cmocka_unit_test_setup(test_remove_is_first, set_up),
        cmocka_unit_test_setup(test_underscores, set_up),
        cmocka_unit_test_setup(test_values, set_up),
        cmocka_unit_test_setup(test_left_out, set_up),
        cmocka_unit_test_setup(test_dry_run, set_up),
        cmocka_unit_test_setup(test_bound, set_up),
        cmocka_unit_test_setup(test_no_memory, set_up),
        cmocka_unit_test_setup(test_refuses, set_up),
        cmocka_unit_test_setup(test_remove_compile, set_up),
        cmocka_unit_test_setup(test_compile, set_up),
        cmocka_unit_test_setup(test_any, set_up),
    };
    return cmocka_run_group_tests(tests, arena_set_up, arena_tear_down);
}
