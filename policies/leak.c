/* leak.c - does an application take more and more, and give nothing back? */
#include "policies/leak.h"

#include "base/check.h"

#include <string.h>

enum { JUMP_SAMPLES = 2 };

const char *leak_word(enum leak_resource r)
{
    static const char *const words[LEAK_RESOURCES] = {"fds", "threads", "rss_bytes", "sockets"};
    return words[r];
}

/* Growth that is worth a word. */
static uint64_t least(enum leak_resource r)
{
    static const uint64_t of[LEAK_RESOURCES] = {16, 8, UINT64_C(16) << 20, 16};
    return of[r];
}

void leak_begin(struct leak *l, usec_t now)
{
    memset(l, 0, sizeof(*l));
    l->began = now;
}

bool leak_suspected(const struct leak *l, enum leak_resource r)
{
    return l->judged[r].jump || l->judged[r].trends != 0;
}

enum leak_resource leak_most(const struct leak *l, uint32_t mask)
{
    enum leak_resource most = LEAK_RESOURCES;
    double best = -1;
    for (int r = 0; r < LEAK_RESOURCES; r++) {
        const struct leak_growth *g = &l->judged[r].growth;
        double times = (double)g->to / (double)(g->from + 1);
        if ((mask & (1u << r)) == 0 || times <= best)
            continue;
        best = times;
        most = (enum leak_resource)r;
    }
    return most;
}

/* What is left of a growth when that of the connections with us is taken off; memory hangs on other
 * things. */
static uint64_t beyond(enum leak_resource r, uint64_t from, uint64_t to, uint64_t connections_from,
                       uint64_t connections_to)
{
    uint64_t grown = to > from ? to - from : 0;
    uint64_t traffic =
        connections_to > connections_from && r != LEAK_RSS ? connections_to - connections_from : 0;
    return grown > traffic ? grown - traffic : 0;
}

/* --- the window and its score --- */

/* Over those of the window that know the resource; how many they are. */
static uint32_t means(const struct leak *l, enum leak_resource r, usec_t since, uint64_t *ret_value,
                      uint64_t *ret_connections)
{
    uint64_t value = 0, connections = 0;
    uint32_t n = 0;
    for (uint32_t i = 0; i < l->n; i++) {
        if (l->window[i].at < since || l->window[i].sample.value[r] == LEAK_UNKNOWN)
            continue;
        value += l->window[i].sample.value[r];
        connections += l->window[i].sample.connections;
        n++;
    }
    *ret_value = n > 0 ? value / n : 0;
    *ret_connections = n > 0 ? connections / n : 0;
    return n;
}

static void judge_jump(struct leak *l, enum leak_resource r, const struct leak_rules *rules,
                       const struct leak_sample *s, usec_t now)
{
    struct leak_judgement *j = &l->judged[r];
    usec_t since = now > rules->window ? now - rules->window : 0;
    bool was = j->jump;
    uint64_t mean, connections;
    /* Unknown, or a gap: there is nothing to compare. */
    if (s->value[r] == LEAK_UNKNOWN ||
        means(l, r, since, &mean, &connections) < LEAK_SAMPLES_MIN / 2) {
        j->score = j->high = 0;
        j->jump = false;
        return;
    }
    uint64_t more = beyond(r, mean, s->value[r], connections, s->connections);
    j->score = (uint32_t)min_u64(more * 100 / (mean + 1), UINT32_MAX);
    j->high = j->score > rules->threshold && more >= least(r) ? j->high + 1 : 0;
    j->jump = was ? j->score >= rules->threshold / 2 : j->high >= JUMP_SAMPLES;
    if (j->jump && !was && j->trends == 0)
        j->growth = (struct leak_growth){.from = mean, .since = since};
}

/* --- slots and their trend --- */

/* What was not known for a time is not known for all of it. */
static void lower(struct leak_slot *into, const struct leak_slot *by)
{
    for (int r = 0; r < LEAK_RESOURCES; r++) {
        if (into->value[r] == LEAK_UNKNOWN || by->value[r] == LEAK_UNKNOWN)
            into->value[r] = LEAK_UNKNOWN;
        else
            into->value[r] = min_u64(into->value[r], by->value[r]);
    }
    into->connections = min_u64(into->connections, by->connections);
}

/* The slot is higher than the one before. */
static bool rises_at(const struct leak_level *v, enum leak_resource r, uint32_t i)
{
    return v->slot[i].value[r] != LEAK_UNKNOWN && v->slot[i - 1].value[r] < v->slot[i].value[r];
}

static bool is_trend(const struct leak_level *v, enum leak_resource r)
{
    const struct leak_slot *first = &v->slot[0], *last = &v->slot[LEAK_SLOTS - 1];
    if (v->n < LEAK_SLOTS)
        return false;
    for (uint32_t i = 1; i < LEAK_SLOTS; i++) {
        if (!rises_at(v, r, i))
            return false;
    }
    uint64_t more =
        beyond(r, first->value[r], last->value[r], first->connections, last->connections);
    return more >= least(r) && more >= first->value[r] * LEAK_GROWTH_PERCENT / 100;
}

static void judge_trend(struct leak *l, uint32_t level, usec_t slot, usec_t now)
{
    const struct leak_level *v = &l->level[level];
    for (int k = 0; k < LEAK_RESOURCES; k++) {
        enum leak_resource r = (enum leak_resource)k;
        struct leak_judgement *j = &l->judged[r];
        uint32_t bit = 1u << level;
        if (is_trend(v, r)) {
            if (j->trends < bit) /* the longest view of it is told */
                j->growth = (struct leak_growth){.from = v->slot[0].value[r],
                                                 .to = v->slot[LEAK_SLOTS - 1].value[r],
                                                 .since = now - slot * LEAK_SLOTS,
                                                 .trend = true};
            j->trends |= bit;
        } else if (v->n < 2 || !rises_at(v, r, v->n - 1)) {
            j->trends &= ~bit;
        }
    }
}

static void push(struct leak *l, const struct leak_slot *s, usec_t slot, usec_t now)
{
    struct leak_slot carried = *s;
    for (uint32_t i = 0; i < LEAK_LEVELS; i++, slot *= LEAK_UP) {
        struct leak_level *v = &l->level[i];
        if (v->n == LEAK_SLOTS)
            memmove(&v->slot[0], &v->slot[1], sizeof(v->slot) - sizeof(v->slot[0]));
        else
            v->n++;
        v->slot[v->n - 1] = carried;
        judge_trend(l, i, slot, now);
        if (v->taken == 0)
            v->up = carried;
        else
            lower(&v->up, &carried);
        if (++v->taken < LEAK_UP)
            return;
        v->taken = 0;
        carried = v->up;
    }
}

static void forget_slots(struct leak *l)
{
    memset(l->level, 0, sizeof(l->level));
    for (int r = 0; r < LEAK_RESOURCES; r++)
        l->judged[r].trends = 0;
}

static void take_into_slot(struct leak *l, const struct leak_rules *r, const struct leak_sample *s,
                           usec_t now)
{
    struct leak_slot mine = {.connections = s->connections};
    memcpy(mine.value, s->value, sizeof(mine.value));
    if (l->slot_ends != 0 && now >= l->slot_ends) {
        /* A slot of few samples is a gap: neither it nor what was before says anything. */
        if (l->slot_samples >= LEAK_SAMPLES_MIN / 2 && now < l->slot_ends + r->window)
            push(l, &l->slot, r->window, now);
        else
            forget_slots(l);
        l->slot_ends = now < l->slot_ends + r->window ? l->slot_ends + r->window : now + r->window;
        l->slot_samples = 0;
    }
    if (l->slot_ends == 0)
        l->slot_ends = now + r->window;
    if (l->slot_samples++ == 0)
        l->slot = mine;
    else
        lower(&l->slot, &mine);
}

/* --- a sample --- */

static void keep(struct leak *l, const struct leak_sample *s, usec_t now)
{
    l->window[l->next].at = now;
    l->window[l->next].sample = *s;
    l->next = (l->next + 1) % LEAK_SAMPLES_MAX;
    if (l->n < LEAK_SAMPLES_MAX)
        l->n++;
}

static struct leak_sample clamp(const struct leak_sample *s)
{
    struct leak_sample c = *s;
    for (int r = 0; r < LEAK_RESOURCES; r++) {
        if (c.value[r] > LEAK_VALUE_MAX && c.value[r] != LEAK_UNKNOWN)
            c.value[r] = LEAK_VALUE_MAX;
    }
    if (c.connections > LEAK_VALUE_MAX)
        c.connections = LEAK_VALUE_MAX;
    return c;
}

/* Told when it begins, and again whenever it has doubled. */
static void tell(struct leak *l, enum leak_resource r, bool was, uint64_t value,
                 struct leak_news *news)
{
    struct leak_judgement *j = &l->judged[r];
    if (value <= j->growth.from) { /* back to where it began */
        j->jump = false;
        j->trends = 0;
    }
    bool is = leak_suspected(l, r);
    if (is && value != LEAK_UNKNOWN)
        j->growth.to = value;
    if (is && (!was || j->growth.to / 2 >= j->told)) {
        j->told = j->growth.to;
        news->suspected |= 1u << r;
    }
    if (was && !is)
        news->over |= 1u << r;
}

void leak_take(struct leak *l, const struct leak_rules *rules, const struct leak_sample *sample,
               usec_t now, struct leak_news *ret)
{
    struct leak_sample s = clamp(sample);
    bool was[LEAK_RESOURCES];
    *ret = (struct leak_news){0};
    if (now < l->began + rules->window) {
        keep(l, &s, now);
        return;
    }
    for (int r = 0; r < LEAK_RESOURCES; r++)
        was[r] = leak_suspected(l, (enum leak_resource)r);
    take_into_slot(l, rules, &s, now);
    for (int r = 0; r < LEAK_RESOURCES; r++) {
        judge_jump(l, (enum leak_resource)r, rules, &s, now);
        tell(l, (enum leak_resource)r, was[r], s.value[r], ret);
    }
    keep(l, &s, now);
}
