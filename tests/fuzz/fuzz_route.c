/* fuzz_route.c - a route table and requests from the input; the index and a plain scan agree.
 *
 * The first byte chooses: a table of known patterns with requests, or raw bytes as patterns and
 * request, where only memory errors and hangs can be found. */
#include "tests/unit/policies/route_naive.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void known(struct source s)
{
    static struct naive_world w;
    uint32_t bad = 0;
    char why[128];
    random_table(&w, &s, NAIVE_ROUTES);
    struct route_table *t = route_table_new(w.match, w.n, &bad, why, sizeof(why));
    struct route_scratch *scratch = route_scratch_new();
    CHECK(t && scratch);
    for (int i = 0; i < 64 && s.n > 0; i++) {
        random_request(&w, &s);
        CHECK(route_table_match(t, &w.request.r, scratch) == naive_match(w.match, w.n, &w.request));
    }
    (void)route_scratch_free(scratch);
    (void)route_table_free(t);
}

/* A line of the input. */
static struct str line(struct source *s)
{
    size_t n = 0;
    const uint8_t *p = s->p;
    while (n < s->n && p[n] != '\n')
        n++;
    size_t used = n < s->n ? n + 1 : n;
    *s = (struct source){p + used, s->n - used};
    return (struct str){(const char *)p, n};
}

static struct str one_header(const void *ctx, UNUSED struct str name)
{
    return *(const struct str *)ctx;
}

static void raw(struct source s)
{
    uint32_t bad = 0;
    char why[128];
    struct str host = line(&s), value = line(&s);
    const struct route_condition header = {line(&s), (enum route_text_match)take(&s, 4), line(&s),
                                           take(&s, 2)};
    const struct route_condition query = {line(&s), (enum route_text_match)take(&s, 4), line(&s),
                                          take(&s, 2)};
    const struct route_match m = {
        .hosts = &host,
        .n_hosts = take(&s, 2),
        .path_how = (enum route_path_match)take(&s, 4),
        .path = line(&s),
        .headers = &header,
        .n_headers = take(&s, 2),
        .query = &query,
        .n_query = take(&s, 2),
    };
    const struct route_request r = {.method = STR("GET"),
                                    .host = line(&s),
                                    .path = line(&s),
                                    .query = line(&s),
                                    .header = one_header,
                                    .ctx = &value};
    struct route_table *t = route_table_new(&m, 1, &bad, why, sizeof(why));
    struct route_scratch *scratch = route_scratch_new();
    if (t) {
        int at = route_table_match(t, &r, scratch);
        CHECK(at == 0 || at == ROUTE_NONE || at == ROUTE_LIMIT);
    } else {
        CHECK(bad == 0 && why[0] != '\0');
    }
    (void)route_scratch_free(scratch);
    (void)route_table_free(t);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct source s = {data, size};
    if (take(&s, 2))
        known(s);
    else
        raw(s);
    return 0;
}
