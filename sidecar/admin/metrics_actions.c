/* metrics_actions.c - header rules: how many messages they changed. */
#include "admin/control.h"
#include "admin/exposition.h"

typedef unsigned long long ull;

static uint64_t header_count(const struct control *c, int message, int result)
{
    uint64_t n = 0;
    for (uint32_t k = 0; k < c->process.n_workers; k++)
        n += count_read(&c->workers[k].stats.header_rules[message][result]);
    return n;
}

static void put_header_rules(struct exposition *t, const struct control *c)
{
    static const char *const messages[] = {"request", "response"};
    static const char *const results[] = {
#define X(id, word) word,
        HEADER_COUNT_TABLE(X)
#undef X
    };
    metric_family(t, "header_rules_total", "counter",
                  "Messages that header rules changed; left_out: fields not written.");
    for (int m = 0; m < 2; m++) {
        for (int r = 0; r < HEADER_COUNTS; r++)
            metric_put(t, "sluice_header_rules_total{message=\"%s\",result=\"%s\"} %llu\n",
                       messages[m], results[r], (ull)header_count(c, m, r));
    }
}

void metrics_actions(struct exposition *t, const struct control *c)
{
    put_header_rules(t, c);
}
