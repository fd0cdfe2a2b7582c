/* hooks.c - each hook is one thing at a time: telling that it is ready, waiting for its next
 * heartbeat, or telling that it ceases. */
#include "lifecycle/hooks.h"

#include "base/log.h"
#include "base/mem.h"
#include "lifecycle/cleanup_conf.h"
#include "lifecycle/cleanup_try.h"

#include <errno.h>

#define AGAIN_MOST (30 * USEC_PER_SEC)

enum { DRAIN_RETRIES = 3 };

struct hook {
    struct list link;
    struct hooks *owner;
    char *name;
    struct cleanup_action *action[HOOK_EVENTS]; /* NULL: none */
    usec_t interval;
    struct timer timer; /* the next try of onReady, or heartbeat */
    struct cleanup_run run;
    enum hook_event event; /* what runs */
    uint32_t failures;     /* of the event, one behind the other */
    bool ready;            /* it was told, and answered; or there is nothing to tell */
    bool leaving;          /* onDrain is its last */
    bool gone;             /* not configured any more: freed behind it */
    uint64_t good[HOOK_EVENTS], bad[HOOK_EVENTS];
};

struct hooks {
    struct loop *loop;
    struct cleanup_engine *engine;
    struct list all;
    bool started, draining, retired;
    usec_t deadline;
    void (*done)(void *ctx);
    void *done_ctx;
};

const char *hook_event_word(enum hook_event e)
{
    static const char *const words[HOOK_EVENTS] = {"ready", "heartbeat", "drain"};
    return words[e];
}

static void free_hook(struct hook *h)
{
    cleanup_cancel(&h->run);
    timer_stop(h->owner->loop, &h->timer);
    list_remove(&h->link);
    for (int e = 0; e < HOOK_EVENTS; e++)
        free(h->action[e]);
    free(h->name);
    free(h);
}

static void tell_if_done(struct hooks *hs)
{
    if (!hs->done)
        return;
    LIST_FOREACH (it, &hs->all) {
        if (LIST_ENTRY(it, struct hook, link)->run.inner)
            return;
    }
    void (*done)(void *) = hs->done;
    hs->done = NULL;
    done(hs->done_ctx);
}

/* --- sending ------------------------------------------------------------------------------ */

static void on_done(struct cleanup_run *r);

static void say_failed(const struct hook *h, const char *more)
{
    if (h->run.error[0])
        log_warn("hook %s: %s: %s%s", h->name, hook_event_word(h->event), h->run.error, more);
    else
        log_warn("hook %s: %s: status %u%s", h->name, hook_event_word(h->event), h->run.status,
                 more);
}

/* Without an action for it: it has gone well. */
static void send_event(struct hook *h, enum hook_event e)
{
    struct hooks *hs = h->owner;
    usec_t now = clock_mono();
    h->event = e;
    h->run = (struct cleanup_run){.action = h->action[e], .done = on_done};
    usec_t end = now + cleanup_longest(h->action[e]);
    if (cleanup_start(hs->engine, &h->run, h->leaving ? min_u64(end, hs->deadline) : end) == 0)
        return;
    log_error("hook %s: out of memory", h->name);
    timer_set(hs->loop, &h->timer, now + USEC_PER_SEC);
}

static void next_heartbeat(struct hook *h)
{
    if (h->action[HOOK_HEARTBEAT])
        timer_set(h->owner->loop, &h->timer, clock_mono() + h->interval);
}

static void retry_ready(struct hook *h)
{
    usec_t most = USEC_PER_SEC / 4;
    for (uint32_t i = 1; i < h->failures && most < AGAIN_MOST; i++)
        most *= 2;
    /* Half of it at least: a registry that is down is not asked without a pause. */
    most = min_u64(most, AGAIN_MOST);
    timer_set(h->owner->loop, &h->timer,
              clock_mono() + most / 2 + rng_next(&h->owner->loop->rng) % (most / 2));
}

static void ready_done(struct hook *h)
{
    if (h->run.result != CLEANUP_RELEASED) {
        if (h->failures++ == 0)
            say_failed(h, "; it is tried again until it succeeds");
        retry_ready(h);
        return;
    }
    log_info("hook %s: ready is told", h->name);
    h->failures = 0;
    h->ready = true;
    next_heartbeat(h);
}

static void heartbeat_done(struct hook *h)
{
    if (h->run.result == CLEANUP_RELEASED) {
        if (h->failures > 0)
            log_info("hook %s: heartbeats are answered again", h->name);
        h->failures = 0;
        next_heartbeat(h);
        return;
    }
    if (h->failures++ == 0)
        say_failed(h, "");
    if (h->run.result == CLEANUP_ALREADY_GONE && h->action[HOOK_READY]) {
        log_warn("hook %s: the registry does not know us: ready is told again", h->name);
        h->ready = false;
        retry_ready(h);
        return;
    }
    next_heartbeat(h);
}

static void on_done(struct cleanup_run *r)
{
    struct hook *h = CONTAINER_OF(r, struct hook, run);
    struct hooks *hs = h->owner;
    bool good = r->result == CLEANUP_RELEASED ||
                (h->event == HOOK_DRAIN && r->result == CLEANUP_ALREADY_GONE);
    *(good ? &h->good[h->event] : &h->bad[h->event]) += 1;
    if (h->event == HOOK_READY) {
        ready_done(h);
    } else if (h->event == HOOK_HEARTBEAT) {
        heartbeat_done(h);
    } else {
        if (good)
            log_info("hook %s: drain is told", h->name);
        else
            say_failed(h, "");
        if (h->gone)
            free_hook(h);
    }
    tell_if_done(hs);
}

static void begin(struct hook *h)
{
    if (h->action[HOOK_READY] && !h->ready) {
        send_event(h, HOOK_READY);
        return;
    }
    h->ready = true;
    next_heartbeat(h);
}

static void on_timer(struct timer *t)
{
    struct hook *h = CONTAINER_OF(t, struct hook, timer);
    if (h->leaving || h->owner->retired || h->run.inner)
        return;
    if (h->ready)
        send_event(h, HOOK_HEARTBEAT);
    else
        begin(h);
}

/* Its last word; also where onReady was under way: the registry may have it. */
static void leave(struct hook *h)
{
    if (h->leaving)
        return;
    h->leaving = true;
    cleanup_cancel(&h->run);
    timer_set(h->owner->loop, &h->timer, 0);
    if (h->action[HOOK_DRAIN])
        send_event(h, HOOK_DRAIN);
}

/* --- the configuration -------------------------------------------------------------------- */

static struct hook *make(struct hooks *hs, const struct conf_hook *c)
{
    const struct conf_request *const requests[HOOK_EVENTS] = {
        [HOOK_READY] = &c->on_ready, [HOOK_HEARTBEAT] = &c->heartbeat, [HOOK_DRAIN] = &c->on_drain};
    struct hook *h = mem_zalloc(sizeof(*h));
    if (!h)
        return NULL;
    h->owner = hs;
    timer_init(&h->timer, on_timer);
    h->interval = c->heartbeat_interval;
    h->name = mem_strndup(c->name);
    bool ok = h->name != NULL;
    for (int e = 0; e < HOOK_EVENTS; e++) {
        if (!requests[e]->given)
            continue;
        h->action[e] =
            cleanup_from_request(requests[e], c->timeout, e == HOOK_DRAIN ? DRAIN_RETRIES : 0);
        ok = ok && h->action[e];
    }
    if (ok)
        return h;
    free_hook(h);
    return NULL;
}

static bool same(const struct hook *a, const struct hook *b)
{
    for (int e = 0; e < HOOK_EVENTS; e++) {
        if (!a->action[e] != !b->action[e] ||
            (a->action[e] && !cleanup_action_equal(a->action[e], b->action[e])))
            return false;
    }
    return true;
}

static struct hook *find(const struct hooks *hs, const char *name)
{
    LIST_FOREACH (it, &hs->all) {
        struct hook *h = LIST_ENTRY(it, struct hook, link);
        if (!h->gone && strcmp(h->name, name) == 0)
            return h;
    }
    return NULL;
}

static void retire_old(struct hooks *hs, const struct list *keep)
{
    LIST_FOREACH_SAFE (it, &hs->all) {
        struct hook *old = LIST_ENTRY(it, struct hook, link);
        bool there = old->gone;
        LIST_FOREACH (n, keep)
            there = there || strcmp(LIST_ENTRY(n, struct hook, link)->name, old->name) == 0;
        if (there)
            continue;
        old->gone = true;
        if (hs->started && !hs->retired)
            leave(old);
        if (!old->run.inner)
            free_hook(old);
    }
}

/* It is unchanged, or takes the place of what had its name: the registry hears onReady again, which
 * replaces what it has. */
static void take_in(struct hooks *hs, struct hook *h)
{
    struct hook *old = find(hs, h->name);
    if (old && same(old, h)) {
        old->interval = h->interval;
        free_hook(h);
        return;
    }
    if (old)
        free_hook(old);
    list_remove(&h->link);
    list_push_back(&hs->all, &h->link);
    if (hs->started)
        begin(h);
}

int hooks_configure(struct hooks *hs, const struct conf *conf)
{
    struct list fresh;
    const char *why;
    list_init(&fresh);
    if (hs->draining || hs->retired)
        return 0;
    for (uint32_t i = 0; i < conf->n_hooks; i++) {
        struct hook *h = make(hs, &conf->hooks[i]);
        if (!h) {
            for (struct list *it; (it = list_pop(&fresh));)
                free_hook(LIST_ENTRY(it, struct hook, link));
            return -ENOMEM;
        }
        list_push_back(&fresh, &h->link);
    }
    if (conf->n_hooks > 0 && !cleanup_engine_ready(hs->engine, &why))
        log_error("hooks: %s: no request can be made", why);
    hs->deadline = USEC_NEVER;
    retire_old(hs, &fresh);
    for (struct list *it; (it = list_pop(&fresh));)
        take_in(hs, LIST_ENTRY(it, struct hook, link));
    return 0;
}

/* --- the life ----------------------------------------------------------------------------- */

struct hooks *hooks_new(struct loop *l, struct cleanup_engine *engine)
{
    struct hooks *hs = mem_zalloc(sizeof(*hs));
    if (!hs)
        return NULL;
    hs->loop = l;
    hs->engine = engine;
    hs->deadline = USEC_NEVER;
    list_init(&hs->all);
    return hs;
}

struct hooks *hooks_free(struct hooks *hs)
{
    if (!hs)
        return NULL;
    for (struct list *it; (it = list_pop(&hs->all));)
        free_hook(LIST_ENTRY(it, struct hook, link));
    free(hs);
    return NULL;
}

void hooks_start(struct hooks *hs)
{
    hs->started = true;
    LIST_FOREACH (it, &hs->all)
        begin(LIST_ENTRY(it, struct hook, link));
}

void hooks_drain(struct hooks *hs, usec_t deadline)
{
    if (hs->draining && deadline >= hs->deadline)
        return;
    hs->deadline = deadline;
    LIST_FOREACH (it, &hs->all) {
        struct hook *h = LIST_ENTRY(it, struct hook, link);
        if (hs->draining)
            cleanup_shorten(&h->run, deadline);
        else if (hs->started && !hs->retired)
            leave(h);
    }
    hs->draining = true;
}

void hooks_retire(struct hooks *hs)
{
    hs->retired = true;
    LIST_FOREACH (it, &hs->all) {
        struct hook *h = LIST_ENTRY(it, struct hook, link);
        cleanup_cancel(&h->run);
        timer_set(hs->loop, &h->timer, 0);
    }
}

void hooks_wait(struct hooks *hs, void (*done)(void *ctx), void *ctx)
{
    hs->done = done;
    hs->done_ctx = ctx;
    tell_if_done(hs);
}

void hooks_each(const struct hooks *hs, hook_each *each, void *ctx)
{
    for (int e = 0; e < HOOK_EVENTS; e++) {
        LIST_FOREACH (it, &hs->all) {
            const struct hook *h = LIST_ENTRY(it, struct hook, link);
            if (h->action[e] && !h->gone)
                each(ctx, h->name, (enum hook_event)e, h->good[e], h->bad[e]);
        }
    }
}
