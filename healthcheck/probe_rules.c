/* probe_rules.c - what is asked and expected. */
#include "healthcheck/probe.h"

#include <errno.h>

static bool same_fields(const struct probe_rules *a, const struct probe_rules *b)
{
    bool same = a->n_fields == b->n_fields;
    for (uint32_t i = 0; same && i < a->n_fields; i++)
        same = str_eq(a->fields[i].name, b->fields[i].name) &&
               str_eq(a->fields[i].value, b->fields[i].value);
    return same;
}

static bool same_ranges(const struct probe_rules *a, const struct probe_rules *b)
{
    bool same = a->n_ranges == b->n_ranges;
    for (uint32_t i = 0; same && i < a->n_ranges; i++)
        same = a->ranges[i].from == b->ranges[i].from && a->ranges[i].to == b->ranges[i].to;
    return same;
}

static bool same_command(char *const *a, char *const *b)
{
    if (!a || !b)
        return a == b;
    while (*a && *b && strcmp(*a, *b) == 0) {
        a++;
        b++;
    }
    return !*a && !*b;
}

bool probe_rules_equal(const struct probe_rules *a, const struct probe_rules *b)
{
    return a->kind == b->kind && a->any_answer == b->any_answer && str_eq(a->method, b->method) &&
           str_eq(a->target, b->target) && str_eq(a->host, b->host) && str_eq(a->body, b->body) &&
           str_eq(a->body_regex, b->body_regex) && str_eq(a->service, b->service) &&
           str_eq(a->send, b->send) && str_eq(a->expect, b->expect) && same_fields(a, b) &&
           same_ranges(a, b) && same_command(a->command, b->command);
}

static bool parse_status(struct str s, uint16_t *ret)
{
    uint64_t v;
    if (s.n != 3 || !str_to_u64(s, &v) || v < 200 || v > 599)
        return false;
    *ret = (uint16_t)v;
    return true;
}

/* "204", "200-399" */
static bool parse_range(struct str item, struct probe_range *ret)
{
    const char *dash = memchr(item.p, '-', item.n);
    struct str from = item, to = item;
    if (dash) {
        from = str_trim((struct str){item.p, (size_t)(dash - item.p)});
        to = str_trim((struct str){dash + 1, (size_t)(item.p + item.n - dash - 1)});
    }
    return parse_status(from, &ret->from) && parse_status(to, &ret->to) && ret->from <= ret->to;
}

int probe_ranges_parse(struct str text, struct probe_range *ret)
{
    struct str item;
    int n = 0;
    while (str_list_next(&text, &item)) {
        if (n == PROBE_RANGES_MAX || !parse_range(item, &ret[n]))
            return -EINVAL;
        n++;
    }
    return n > 0 ? n : -EINVAL;
}

bool probe_status_fits(const struct probe_rules *r, unsigned status)
{
    for (uint32_t i = 0; i < r->n_ranges; i++) {
        if (status >= r->ranges[i].from && status <= r->ranges[i].to)
            return true;
    }
    return false;
}
