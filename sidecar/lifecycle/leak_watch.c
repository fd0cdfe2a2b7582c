/* leak_watch.c - samples what the application takes, and tells when it takes more and more. */
#include "lifecycle/leak_watch.h"

#include "base/check.h"
#include "base/log.h"
#include "base/mem.h"
#include "io/loop.h"
#include "lifecycle/app_usage.h"

#include <stdio.h>
#include <string.h>

enum { LEAK_WATCH_MAGIC = 0x4c45414b, VALUE_TEXT = 32, GROWTH_TEXT = 96 };

struct leak_watch {
    uint32_t magic;
    struct loop *loop;
    struct leak_watch_source source;
    struct app_usage_source from;
    struct leak_rules rules;
    struct timer timer;
    pid_t pid; /* that `usage` and `leak` are of; 0: none */
    struct app_usage usage;
    struct leak leak;
    uint64_t reports[LEAK_RESOURCES];
    bool stopped;
};

/* ---- what is told ---- */

static const char *title(enum leak_resource r)
{
    return r == LEAK_RSS ? "RSS" : leak_word(r);
}

static const char *value_text(enum leak_resource r, uint64_t v, char out[VALUE_TEXT])
{
    if (r == LEAK_RSS)
        (void)snprintf(out, VALUE_TEXT, "%.1f MiB", (double)v / (1024 * 1024));
    else
        (void)snprintf(out, VALUE_TEXT, "%llu", (unsigned long long)v);
    return out;
}

static void growth_text(const struct leak_watch *w, enum leak_resource r, usec_t now,
                        char out[GROWTH_TEXT])
{
    const struct leak_growth *g = &w->leak.judged[r].growth;
    char from[VALUE_TEXT], to[VALUE_TEXT];
    (void)snprintf(out, GROWTH_TEXT, "%s %s -> %s in %.0f s", title(r),
                   value_text(r, g->from, from), value_text(r, g->to, to),
                   (double)(now - g->since) / 1e6);
}

/* What has grown most comes first. */
static void tell_growth(const struct leak_watch *w, uint32_t mask, usec_t now)
{
    char line[LEAK_RESOURCES * GROWTH_TEXT] = "", one[GROWTH_TEXT];
    size_t n = 0;
    for (uint32_t left = mask; left != 0;) {
        enum leak_resource r = leak_most(&w->leak, left);
        left &= ~(1u << r);
        growth_text(w, r, now, one);
        n += (size_t)snprintf(line + n, sizeof(line) - n, "%s%s", n > 0 ? ", " : "", one);
        n = min_u64(n, sizeof(line) - 1);
    }
    log_warn("the application (pid %d, %s) grows: %s", (int)w->pid, w->usage.name, line);
}

static void tell_end(const struct leak_watch *w, uint32_t mask)
{
    char text[VALUE_TEXT];
    for (int k = 0; k < LEAK_RESOURCES; k++) {
        enum leak_resource r = (enum leak_resource)k;
        bool known = w->usage.value[r] != LEAK_UNKNOWN;
        if (mask & (1u << r))
            log_info("the application (pid %d, %s) does not grow any more: %s %s", (int)w->pid,
                     w->usage.name, title(r),
                     known ? value_text(r, w->usage.value[r], text) : "unknown");
    }
}

/* Once a process. */
static void tell_missing(const struct leak_watch *w)
{
    const struct app_usage *u = &w->usage;
    if (u->fds_error != 0)
        log_info("the application (pid %d, %s): its fds are not known: %s", (int)w->pid, u->name,
                 strerror(u->fds_error));
    if (u->sockets_error != 0)
        log_info("the application (pid %d, %s): its sockets are not known: %s", (int)w->pid,
                 u->name, strerror(u->sockets_error));
}

/* ---- a sample ---- */

static void take(struct leak_watch *w, pid_t pid)
{
    struct app_usage before = w->usage;
    struct leak_news news;
    if (app_usage_read(&w->from, pid, &w->usage) < 0) {
        w->pid = 0; /* it has gone, and that will be told */
        return;
    }
    usec_t now = clock_mono();
    bool same = w->pid == pid && before.start == w->usage.start;
    w->pid = pid;
    if (!same) {
        leak_begin(&w->leak, now);
        tell_missing(w);
    }
    struct leak_sample s = {.connections = w->source.connections(w->source.ctx)};
    memcpy(s.value, w->usage.value, sizeof(s.value));
    leak_take(&w->leak, &w->rules, &s, now, &news);
    for (int r = 0; r < LEAK_RESOURCES; r++)
        w->reports[r] += (news.suspected >> r) & 1;
    if (news.suspected != 0)
        tell_growth(w, news.suspected, now);
    if (news.over != 0)
        tell_end(w, news.over);
}

static void on_timer(struct timer *t)
{
    struct leak_watch *w = CONTAINER_OF(t, struct leak_watch, timer);
    CHECK_OBJ(w, LEAK_WATCH_MAGIC);
    pid_t pid = w->source.pid(w->source.ctx);
    if (pid != 0)
        take(w, pid);
    else
        w->pid = 0;
    timer_set(w->loop, t, clock_mono() + w->rules.interval);
}

/* ---- what others ask ---- */

bool leak_watch_usage(const struct leak_watch *w, uint64_t ret[LEAK_RESOURCES],
                      uint32_t *ret_processes)
{
    if (w->pid == 0)
        return false;
    memcpy(ret, w->usage.value, sizeof(w->usage.value));
    *ret_processes = w->usage.processes;
    return true;
}

bool leak_watch_suspects(const struct leak_watch *w, enum leak_resource r)
{
    return w->pid != 0 && leak_suspected(&w->leak, r);
}

uint64_t leak_watch_reports(const struct leak_watch *w, enum leak_resource r)
{
    return w->reports[r];
}

static json_t *growth_json(const struct leak_watch *w, enum leak_resource r, usec_t now)
{
    const struct leak_growth *g = &w->leak.judged[r].growth;
    if (!leak_suspected(&w->leak, r))
        return json_null();
    return json_pack("{s:I, s:I, s:I, s:s}", "from", (json_int_t)g->from, "to", (json_int_t)g->to,
                     "in_ms", (json_int_t)((now - g->since) / USEC_PER_MSEC), "seen_as",
                     g->trend ? "trend" : "jump");
}

static json_t *resource_json(const struct leak_watch *w, enum leak_resource r, usec_t now)
{
    const struct app_usage *u = &w->usage;
    bool known = u->value[r] != LEAK_UNKNOWN;
    json_t *o = json_pack("{s:o, s:f, s:b, s:o}", "value",
                          known ? json_integer((json_int_t)u->value[r]) : json_null(), "score",
                          (double)w->leak.judged[r].score / 100, "suspected",
                          leak_suspected(&w->leak, r), "growth", growth_json(w, r, now));
    int error = r == LEAK_FDS ? u->fds_error : r == LEAK_SOCKETS ? u->sockets_error : 0;
    if (o && known && (r == LEAK_FDS || r == LEAK_SOCKETS))
        (void)json_object_set_new(
            o, "by", json_string(usage_by_word(r == LEAK_FDS ? u->fds_by : u->sockets_by)));
    if (o && !known)
        (void)json_object_set_new(o, "unavailable", json_string(strerror(error)));
    return o;
}

json_t *leak_watch_json(const struct leak_watch *w)
{
    if (!w->rules.enabled)
        return json_null();
    usec_t now = clock_mono();
    json_t *resources = w->pid != 0 ? json_object() : json_null();
    for (int k = 0; w->pid != 0 && k < LEAK_RESOURCES; k++) {
        enum leak_resource r = (enum leak_resource)k;
        (void)json_object_set_new(resources, leak_word(r), resource_json(w, r, now));
    }
    return json_pack("{s:o, s:o, s:I, s:b, s:o, s:o}", "pid",
                     w->pid != 0 ? json_integer(w->pid) : json_null(), "name",
                     w->pid != 0 ? json_string(w->usage.name) : json_null(), "processes",
                     (json_int_t)(w->pid != 0 ? w->usage.processes : 0), "more_processes",
                     w->pid != 0 && w->usage.more, "watched_ms",
                     w->pid != 0 ? json_integer((json_int_t)((now - w->leak.began) / USEC_PER_MSEC))
                                 : json_null(),
                     "resources", resources);
}

/* ---- from its beginning to its end ---- */

struct leak_watch *leak_watch_new(struct loop *loop, const struct leak_watch_source *source)
{
    struct leak_watch *w = mem_zalloc(sizeof(*w));
    if (!w)
        return NULL;
    w->magic = LEAK_WATCH_MAGIC;
    w->loop = loop;
    w->source = *source;
    app_usage_source_init(&w->from);
    timer_init(&w->timer, on_timer);
    return w;
}

void leak_watch_configure(struct leak_watch *w, const struct leak_rules *rules)
{
    CHECK_OBJ(w, LEAK_WATCH_MAGIC);
    bool same = w->rules.enabled == rules->enabled && w->rules.interval == rules->interval &&
                w->rules.window == rules->window;
    w->rules = *rules;
    if (same || w->stopped)
        return;
    w->pid = 0;
    timer_stop(w->loop, &w->timer);
    w->timer.at = 0;
    if (rules->enabled)
        timer_set(w->loop, &w->timer, clock_mono());
}

void leak_watch_stop(struct leak_watch *w)
{
    w->stopped = true;
    w->pid = 0;
    timer_stop(w->loop, &w->timer);
}

struct leak_watch *leak_watch_free(struct leak_watch *w)
{
    if (!w)
        return NULL;
    leak_watch_stop(w);
    w->magic = 0;
    free(w);
    return NULL;
}
