/* fuzz_learn.c - what comes from the other side, and what is made of it: a JSON text in pieces has
 * the values that it has in one piece and that jansson's tree has; and whatever a value is, a
 * template's structure stays as it was.
 *
 * The first byte chooses; the second is the seed of the cuts. */
#include "tests/unit/policies/take_json.h"

#include "base/rng.h"
#include "policies/template.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct json_path paths[JSON_TAKE_PATHS_MAX];
static struct template target, header, json_body;
static struct arena *kept; /* for as long as the process */

static void compile_all(void)
{
    static const char *const texts[] = {"$",      "$.a",           "$.b.a",   "$[0]",
                                        "$.a[1]", "$['odd name']", "$.a.a.a", "$[1][0].a"};
    static const struct str names[] = {{"v", 1}};
    struct template_problem problem;
    struct arena *a = kept = arena_new();
    size_t at;
    CHECK(a);
    for (size_t i = 0; i < ARRAY_LEN(texts); i++)
        CHECK(!json_path_compile(a, str_of(texts[i]), &paths[i], &at));
    CHECK(template_compile(a, STR("/s/{v}?x={v}"), TEMPLATE_TARGET, names, 1, &target, &problem) ==
          0);
    CHECK(template_compile(a, STR("Bearer {v}"), TEMPLATE_HEADER, names, 1, &header, &problem) ==
          0);
    CHECK(template_compile(a, STR("{\"s\":\"{v}\",\"n\":[{v}]}"), TEMPLATE_JSON, names, 1,
                           &json_body, &problem) == 0);
}

static size_t cut_random(void *ctx)
{
    return 1 + rng_below(ctx, 16);
}

static size_t cut_ones(void *ctx)
{
    (void)ctx;
    return 1;
}

static void take(struct str text, uint64_t seed)
{
    static struct taken whole, cut;
    struct rng rng;
    rng_init(&rng, seed);
    take_json(&whole, paths, ARRAY_LEN(paths), text, NULL, NULL);
    CHECK(agrees_with_jansson(&whole, text));
    take_json(&cut, paths, ARRAY_LEN(paths), text, cut_random, &rng);
    CHECK(taken_equal(&whole, &cut));
    take_json(&cut, paths, ARRAY_LEN(paths), text, cut_ones, NULL);
    CHECK(taken_equal(&whole, &cut));
}

static void put(struct str value)
{
    static char out[16 * 1024];
    size_t n = 0;
    if (template_render(&target, &value, out, sizeof(out), &n) == 0) {
        CHECK(n >= 7 && memcmp(out, "/s/", 3) == 0);
        const char *mark = memchr(out, '?', n);
        CHECK(mark && !memchr(out + 3, '/', n - 3));
        CHECK(!memchr(mark + 1, '?', n - (size_t)(mark + 1 - out)) && !memchr(out, '&', n));
        for (size_t i = 0; i < n; i++)
            CHECK(out[i] > 0x20 && out[i] < 0x7f);
    }
    if (template_render(&header, &value, out, sizeof(out), &n) == 0)
        CHECK(!memchr(out, '\n', n) && !memchr(out, '\r', n) && !memchr(out, '\0', n));
    if (template_render(&json_body, &value, out, sizeof(out), &n) == 0) {
        json_error_t e;
        json_t *v = json_loadb(out, n, JSON_ALLOW_NUL, &e);
        /* A number may be more than jansson holds. */
        CHECK(v || strstr(e.text, "too big") || strstr(e.text, "overflow"));
        CHECK(!v || (json_object_size(v) == 2 && json_array_size(json_object_get(v, "n")) == 1));
        json_decref(v);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (!paths[1].steps)
        compile_all();
    if (size < 2)
        return 0;
    struct str rest = {(const char *)data + 2, size - 2};
    switch (data[0] & 3) {
    case 0:
    case 1:
        take(rest, data[1]);
        break;
    case 2:
        put(rest);
        break;
    default: {
        struct arena *a = arena_new();
        struct json_path path;
        struct template t;
        struct template_problem problem;
        const struct str names[] = {{"v", 1}};
        char out[256];
        size_t at = 0, n = 0;
        CHECK(a);
        if (json_path_compile(a, rest, &path, &at))
            CHECK(at <= rest.n);
        if (template_compile(a, rest, (enum template_place)(data[1] % 6), names, 1, &t, &problem) ==
            0)
            (void)template_render(&t, &(struct str){"a\"b", 3}, out, sizeof(out), &n);
        (void)arena_free(a);
    }
    }
    return 0;
}
