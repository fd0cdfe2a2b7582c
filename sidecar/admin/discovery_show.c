/* discovery_show.c - what is known of the names among the endpoints, as metrics and JSON. */
#include "admin/discovery_show.h"

#include <stdio.h>

enum { NAME_TEXT_MAX = RESOLVER_NAME_MAX + 8 };

/* As in the file, in small letters: of what endpoint_check_name() takes, so nothing is to be
 * escaped. */
static const char *name_text(const struct dns_name *n, char *out)
{
    (void)snprintf(out, NAME_TEXT_MAX, "%s%s", n->kind == ENDPOINT_SRV ? "srv:" : "", n->host);
    return out;
}

static const char *family_text(const struct dns_name *n)
{
    static const char *const words[] = {"any", "ipv4", "ipv6"};
    return words[n->family];
}

/* ---- metrics ---- */

static void put_results(void *ctx, const struct discovery_status *s)
{
    char name[NAME_TEXT_MAX];
    for (int r = 0; r < RESOLVED_CANCELED; r++)
        metric_put(ctx, "sluice_dns_queries_total{name=\"%s\",family=\"%s\",result=\"%s\"} %llu\n",
                   name_text(s->name, name), family_text(s->name),
                   resolver_status_word((enum resolver_status)r),
                   (unsigned long long)s->name->results[r]);
}

static void put_addresses(void *ctx, const struct discovery_status *s)
{
    char name[NAME_TEXT_MAX];
    metric_put(ctx, "sluice_dns_addresses{name=\"%s\",family=\"%s\"} %u\n",
               name_text(s->name, name), family_text(s->name), s->addresses);
}

static void put_refused(void *ctx, const struct discovery_status *s)
{
    char name[NAME_TEXT_MAX];
    metric_put(ctx, "sluice_dns_addresses_refused{name=\"%s\",family=\"%s\"} %u\n",
               name_text(s->name, name), family_text(s->name), s->refused);
}

static double age_seconds(const struct discovery_status *s)
{
    return s->now > s->name->last_good ? (double)(s->now - s->name->last_good) / 1e6 : 0.;
}

static void put_age(void *ctx, const struct discovery_status *s)
{
    char name[NAME_TEXT_MAX];
    if (s->name->last_good > 0)
        metric_put(ctx, "sluice_dns_last_good_age_seconds{name=\"%s\",family=\"%s\"} %.3f\n",
                   name_text(s->name, name), family_text(s->name), age_seconds(s));
}

void discovery_metrics(const struct discovery *d, struct exposition *t)
{
    metric_family(t, "dns_queries_total", "counter", "Look-ups of a name, by result.");
    discovery_walk(d, put_results, t);
    metric_family(t, "dns_addresses", "gauge", "Addresses that a name has.");
    discovery_walk(d, put_addresses, t);
    metric_family(t, "dns_addresses_refused", "gauge", "Those among them that are not used.");
    discovery_walk(d, put_refused, t);
    metric_family(t, "dns_last_good_age_seconds", "gauge", "Since a name was last answered well.");
    discovery_walk(d, put_age, t);
}

/* ---- JSON ---- */

struct names_json {
    json_t *array;
    bool failed;
};

static json_t *seconds_json(bool known, double seconds)
{
    return known ? json_real(seconds) : json_null();
}

static json_t *results_json(const struct dns_name *n)
{
    json_t *o = json_object();
    for (int r = 0; o && r < RESOLVED_CANCELED; r++) {
        if (json_object_set_new(o, resolver_status_word((enum resolver_status)r),
                                json_integer((json_int_t)n->results[r])) < 0) {
            json_decref(o);
            return NULL;
        }
    }
    return o;
}

static void add_name(void *ctx, const struct discovery_status *s)
{
    struct names_json *all = ctx;
    const struct dns_name *n = s->name;
    char name[NAME_TEXT_MAX];
    bool waits = !s->asking && n->next > s->now;
    const struct {
        const char *key;
        json_t *value;
    } members[] = {
        {"name", json_string(name_text(n, name))},
        {"family", json_string(family_text(n))},
        {"state", json_string(dns_state_word(n->state))},
        {"asking", json_boolean(s->asking)},
        {"addresses", json_integer(s->addresses)},
        {"refused", json_integer(s->refused)},
        {"next_seconds", seconds_json(waits, waits ? (double)(n->next - s->now) / 1e6 : 0.)},
        {"last_good_age_seconds", seconds_json(n->last_good > 0, age_seconds(s))},
        {"last_result",
         n->last == RESOLVED_NOT_ASKED ? json_null() : json_string(resolver_status_word(n->last))},
        {"failures", json_integer(n->failures)},
        {"queries", results_json(n)},
    };
    json_t *o = json_object();
    for (size_t i = 0; i < ARRAY_LEN(members); i++) {
        if (json_object_set_new(o, members[i].key, members[i].value) < 0)
            all->failed = true;
    }
    if (json_array_append_new(all->array, o) < 0)
        all->failed = true;
}

json_t *discovery_json(const struct discovery *d)
{
    struct names_json all = {.array = json_array()};
    discovery_walk(d, add_name, &all);
    if (all.failed) {
        json_decref(all.array);
        return NULL;
    }
    return all.array;
}
