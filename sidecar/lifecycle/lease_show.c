/* lease_show.c - what may be seen of the registry. Never a key, a path, a header's value or a body:
 * who may read the state may not become the holder. */
#include "lifecycle/lease_parts.h"

#include "base/log.h"

#include <stdio.h>

static void set_text(json_t *o, const char *key, const char *z)
{
    (void)json_object_set_new(o, key, json_string(z));
}

static void set_number(json_t *o, const char *key, uint64_t v)
{
    (void)json_object_set_new(o, key, json_integer((json_int_t)v));
}

static const char *state_word(enum lease_state s)
{
    static const char *const words[] = {
        [LEASE_PENDING] = "pending",     [LEASE_HELD] = "held",         [LEASE_WAITING] = "waiting",
        [LEASE_RELEASING] = "releasing", [LEASE_RETRYING] = "retrying",
    };
    return words[s];
}

static json_t *lease_json(const struct lease *l, usec_t now)
{
    char id[20], key[LEASE_KEY_SHOWN], shown[CLEANUP_SHOWN_MAX], time[CLOCK_RFC3339_LEN];
    json_t *o = json_object();
    (void)snprintf(id, sizeof(id), "%016llx", (unsigned long long)l->id);
    lease_key_shown(l, key);
    clock_format_rfc3339(l->acquired_wall, time);
    set_text(o, "id", id);
    set_text(o, "name", l->name);
    set_text(o, "kind", lease_kind_word(l->kind));
    set_text(o, "state", state_word(l->state));
    if (l->kind != LEASE_STATIC) {
        set_text(o, "key_hash", key);
        set_text(o, "acquired", time);
        set_number(o, "references", l->refs);
        if (l->expires != 0) {
            set_number(o, "ttl_ms", l->ttl / USEC_PER_MSEC);
            set_number(o, "expires_in_ms",
                       l->expires > now ? (l->expires - now) / USEC_PER_MSEC : 0);
        }
        if (l->grace_at != 0)
            set_number(o, "grace_ends_in_ms",
                       l->grace_at > now ? (l->grace_at - now) / USEC_PER_MSEC : 0);
    }
    set_text(o, "release", cleanup_action_shown(l->action, shown));
    if (l->item.n_after > 0) {
        json_t *after = json_array();
        for (uint32_t i = 0; i < l->item.n_after; i++)
            (void)json_array_append_new(after, json_stringn(l->after[i].p, l->after[i].n));
        (void)json_object_set_new(o, "after", after);
    }
    if (l->state == LEASE_WAITING || l->state == LEASE_RELEASING || l->state == LEASE_RETRYING)
        set_text(o, "why", lease_why_word(l->why));
    if (l->state == LEASE_RETRYING) {
        set_number(o, "failed_runs", l->rounds);
        set_number(o, "next_run_in_ms",
                   l->retry_at > now ? (l->retry_at - now) / USEC_PER_MSEC : 0);
        if (l->run.error[0])
            set_text(o, "error", l->run.error);
        else if (l->run.status)
            set_number(o, "status", l->run.status);
    }
    return o;
}

static json_t *journal_json(const struct leases *ls)
{
    struct journal_stats s;
    usec_t now = clock_mono();
    if (!leases_journal_stats(ls, &s))
        return json_null();
    json_t *o = json_object();
    set_text(o, "path", ls->journal_path);
    (void)json_object_set_new(o, "encrypted", json_boolean(ls->journal_key_file != NULL));
    set_number(o, "records", s.records);
    set_number(o, "bytes", s.bytes);
    set_number(o, "failures", s.failures);
    set_number(o, "lag_ms",
               s.oldest_pending && now > s.oldest_pending ? (now - s.oldest_pending) / USEC_PER_MSEC
                                                          : 0);
    return o;
}

json_t *leases_json(const struct leases *ls, uint64_t after, uint32_t limit)
{
    usec_t now = clock_mono();
    uint64_t last = 0, next = 0;
    json_t *o = json_object(), *all = json_array();
    LIST_FOREACH (it, &ls->all) {
        const struct lease *l = LIST_ENTRY(it, struct lease, by_age);
        if (l->place <= after)
            continue;
        if (json_array_size(all) >= limit) {
            next = last;
            break;
        }
        (void)json_array_append_new(all, lease_json(l, now));
        last = l->place;
    }
    set_number(o, "held", ls->n);
    set_number(o, "max", ls->max);
    (void)json_object_set_new(o, "leases", all);
    if (next != 0)
        set_number(o, "next", next);
    (void)json_object_set_new(o, "journal", journal_json(ls));
    return o;
}

json_t *leases_json_one(const struct leases *ls, uint64_t id)
{
    const struct lease *l = lease_find(ls, id);
    return l ? lease_json(l, clock_mono()) : NULL;
}

static json_t *result_json(const struct lease_result *r)
{
    json_t *run = json_object();
    set_text(run, "name", r->name);
    set_text(run, "kind", lease_kind_word(r->kind));
    set_text(run, "result", cleanup_result_word(r->result));
    set_text(run, "why", lease_why_word(r->why));
    set_number(run, "tries", r->tries);
    set_number(run, "took_ms", r->took / USEC_PER_MSEC);
    if (r->error[0])
        set_text(run, "error", r->error);
    else if (r->status)
        set_number(run, "status", r->status);
    return run;
}

json_t *leases_results_json(const struct leases *ls)
{
    json_t *o, *runs;
    uint64_t all = 0;
    for (int r = CLEANUP_RELEASED; r < CLEANUP_RESULTS; r++)
        all += ls->ended[r];
    if (all == 0)
        return json_null();
    o = json_object();
    runs = json_array();
    for (int r = CLEANUP_RELEASED; r < CLEANUP_RESULTS; r++)
        set_number(o, cleanup_result_word((enum cleanup_result)r), ls->ended[r]);
    for (int others = 0; others < 2; others++) {
        for (uint32_t i = 0; i < ls->n_results; i++) {
            const struct lease_result *r = &ls->results[i];
            if ((r->result != CLEANUP_FAILED) == (others == 1))
                (void)json_array_append_new(runs, result_json(r));
        }
    }
    (void)json_object_set_new(o, "runs", runs);
    return o;
}

void leases_stats(const struct leases *ls, struct lease_stats *ret)
{
    usec_t oldest = 0;
    *ret = ls->stats;
    LIST_FOREACH (it, &ls->all) {
        const struct lease *l = LIST_ENTRY(it, struct lease, by_age);
        ret->held[l->kind]++;
        ret->waiting +=
            l->state == LEASE_WAITING || l->state == LEASE_RELEASING || l->state == LEASE_RETRYING;
        if (l->kind != LEASE_STATIC && (oldest == 0 || l->acquired_wall < oldest))
            oldest = l->acquired_wall;
    }
    /* Told as a point on the monotonic clock, as all times of ours. */
    usec_t wall = clock_wall(), now = clock_mono();
    if (oldest != 0)
        ret->oldest = wall > oldest && now > wall - oldest ? now - (wall - oldest) : now;
}

bool leases_journal_stats(const struct leases *ls, struct journal_stats *ret)
{
    if (!ls->journal)
        return false;
    journal_stats(ls->journal, ret);
    return true;
}
