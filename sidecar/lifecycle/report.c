/* report.c - what the drain did. */
#include "lifecycle/report.h"

#include "base/mem.h"

#include <stdio.h>

const char *drain_class_word(enum drain_class c)
{
    static const char *const words[DRAIN_CLASSES] = {"h1_idle", "h1_active", "h2_idle", "h2_active",
                                                     "grpc",    "websocket", "tcp"};
    return words[c];
}

const char *drain_how_word(enum drain_how h)
{
    static const char *const words[DRAIN_HOWS] = {"completed", "closed", "peer",
                                                  "last_call", "failed", "forced"};
    return words[h];
}

static void entry_set(struct drain_entry *e, enum drain_class c, enum reason reason, usec_t age,
                      struct str peer, struct str route)
{
    e->cls = c;
    e->reason = reason;
    e->age = age;
    (void)snprintf(e->peer, sizeof(e->peer), "%.*s", (int)min_u64(peer.n, sizeof(e->peer) - 1),
                   peer.p ? peer.p : "");
    (void)snprintf(e->route, sizeof(e->route), "%.*s", (int)min_u64(route.n, sizeof(e->route) - 1),
                   route.p ? route.p : "");
}

void drain_tally_add(struct drain_tally *t, enum drain_class c, enum drain_how how,
                     enum reason reason, usec_t age, struct str peer, struct str route)
{
    t->counts[c][how]++;
    if (how == DRAIN_FORCED) {
        if (t->n_forced < DRAIN_FORCED_KEPT)
            entry_set(&t->forced[t->n_forced], c, reason, age, peer, route);
        t->n_forced++;
    }
    if (age > t->longest.age && c != DRAIN_H1_IDLE)
        entry_set(&t->longest, c, reason, age, peer, route);
}

void drain_tally_merge(struct drain_tally *into, const struct drain_tally *from)
{
    for (int c = 0; c < DRAIN_CLASSES; c++) {
        for (int h = 0; h < DRAIN_HOWS; h++)
            into->counts[c][h] += from->counts[c][h];
    }
    into->crossed += from->crossed;
    for (uint32_t i = 0; i < from->n_forced && i < DRAIN_FORCED_KEPT; i++) {
        if (into->n_forced + i < DRAIN_FORCED_KEPT)
            into->forced[into->n_forced + i] = from->forced[i];
    }
    into->n_forced += from->n_forced;
    if (from->longest.age > into->longest.age)
        into->longest = from->longest;
}

static json_t *millis(usec_t t)
{
    return json_integer((json_int_t)(t / USEC_PER_MSEC));
}

static json_t *entry_json(const struct drain_entry *e, bool with_peer)
{
    json_t *o = json_object();
    (void)json_object_set_new(o, "class", json_string(drain_class_word(e->cls)));
    (void)json_object_set_new(o, "reason", json_string(reason_word(e->reason)));
    (void)json_object_set_new(o, "age_ms", millis(e->age));
    if (with_peer)
        (void)json_object_set_new(o, "peer", json_string(e->peer));
    (void)json_object_set_new(o, "route", json_string(e->route));
    return o;
}

static json_t *classes_json(const struct drain_tally *t)
{
    json_t *classes = json_object();
    for (int c = 0; c < DRAIN_CLASSES; c++) {
        json_t *o = json_object();
        for (int h = 0; h < DRAIN_HOWS; h++)
            (void)json_object_set_new(o, drain_how_word((enum drain_how)h),
                                      json_integer((json_int_t)t->counts[c][h]));
        (void)json_object_set_new(classes, drain_class_word((enum drain_class)c), o);
    }
    return classes;
}

/* How long each phase that began has lasted. */
static json_t *budget_json(const struct drain *d, usec_t now)
{
    json_t *o = json_object();
    for (int p = DRAIN_NOTICE; p < DRAIN_EXIT; p++) {
        if (d->began[p] == 0)
            continue;
        usec_t end = now;
        for (int q = p + 1; q < DRAIN_PHASES; q++) {
            if (d->began[q] != 0) {
                end = d->began[q];
                break;
            }
        }
        char key[32];
        (void)snprintf(key, sizeof(key), "%s_ms", drain_phase_word((enum drain_phase)p));
        (void)json_object_set_new(o, key, millis(end - d->began[p]));
    }
    return o;
}

char *drain_report_json(const struct drain *d, const struct drain_tally *t, json_t *cleanups,
                        json_t *app, uint64_t open, usec_t now)
{
    json_t *o = json_object();
    (void)json_object_set_new(o, "phase", json_string(drain_phase_word(drain_now(d))));
    (void)json_object_set_new(o, "app", app ? app : json_null());
    (void)json_object_set_new(o, "open", json_integer((json_int_t)open));
    if (d->started != 0) {
        char when[CLOCK_RFC3339_LEN];
        clock_format_rfc3339(d->started_wall, when);
        usec_t end = d->began[DRAIN_EXIT] ? d->began[DRAIN_EXIT] : now;
        (void)json_object_set_new(o, "trigger", json_string(drain_trigger_word(d->trigger)));
        (void)json_object_set_new(o, "started", json_string(when));
        (void)json_object_set_new(o, "elapsed_ms", millis(end - d->started));
        (void)json_object_set_new(o, "deadline_ms", millis(d->budget.deadline - d->started));
        (void)json_object_set_new(o, "remaining_ms",
                                  millis(d->budget.deadline > end ? d->budget.deadline - end : 0));
        (void)json_object_set_new(o, "budget", budget_json(d, end));
        (void)json_object_set_new(o, "classes", classes_json(t));
        (void)json_object_set_new(o, "idle_close_crossed", json_integer((json_int_t)t->crossed));
        json_t *forced = json_array();
        for (uint32_t i = 0; i < t->n_forced && i < DRAIN_FORCED_KEPT; i++)
            (void)json_array_append_new(forced, entry_json(&t->forced[i], true));
        (void)json_object_set_new(o, "forced", forced);
        (void)json_object_set_new(o, "forced_total", json_integer(t->n_forced));
        (void)json_object_set_new(o, "longest",
                                  t->longest.age ? entry_json(&t->longest, true) : json_null());
        (void)json_object_set(o, "cleanups", cleanups ? cleanups : json_null());
    }
    char *text = json_dumps(o, JSON_COMPACT);
    json_decref(cleanups);
    json_decref(o);
    return text;
}

/* Counts of all of them stand beside the lists. */
static void shorten_lists(json_t *o, size_t keep)
{
    json_t *lists[] = {
        json_object_get(json_object_get(o, "app"), "ports"),
        json_object_get(o, "forced"),
        json_object_get(json_object_get(o, "cleanups"), "runs"),
    };
    for (size_t i = 0; i < ARRAY_LEN(lists); i++) {
        while (json_array_size(lists[i]) > keep)
            (void)json_array_remove(lists[i], json_array_size(lists[i]) - 1);
    }
    (void)json_object_set_new(o, "truncated", json_true());
}

char *drain_report_line(const char *text, size_t most)
{
    static const size_t keep[] = {16, 4, 0};
    if (strlen(text) <= most)
        return mem_strndup(str_of(text));
    json_t *o = json_loads(text, 0, NULL);
    char *line = NULL;
    for (size_t i = 0; o && !line && i < ARRAY_LEN(keep); i++) {
        shorten_lists(o, keep[i]);
        line = json_dumps(o, JSON_COMPACT);
        if (line && strlen(line) > most) {
            free(line);
            line = NULL;
        }
    }
    json_decref(o);
    return line;
}
