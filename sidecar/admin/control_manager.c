/* control_manager.c - what the service manager is told of this process: how it fares, and that all
 * its loops turn. The supervisor passes it on. */
#include "admin/control.h"

#include "base/mem.h"

#include <errno.h>
#include <stdio.h>

#define STATUS_EVERY       5. /* seconds */
#define STATUS_EVERY_DRAIN 1.
#define BEATS_PER_INTERVAL 4

/* 1204 as "1,204". */
static const char *grouped(uint64_t n, char out[32])
{
    char digits[24];
    size_t len = (size_t)snprintf(digits, sizeof(digits), "%llu", (unsigned long long)n), o = 0;
    for (size_t i = 0; i < len; i++) {
        if (i > 0 && (len - i) % 3 == 0)
            out[o++] = ',';
        out[o++] = digits[i];
    }
    out[o] = '\0';
    return out;
}

struct totals {
    uint64_t connections, streams, requests;
};

static struct totals totals_of(const struct control *c)
{
    struct totals t = {0};
    for (uint32_t i = 0; i < c->process.n_workers; i++) {
        const struct worker_stats *w = &c->workers[i].stats;
        t.connections += count_read(&w->connections);
        t.streams += count_read(&w->streams);
        t.requests += requests_read(w);
    }
    return t;
}

static void say_serving(struct control *c, const struct totals *t, usec_t now, char *out,
                        size_t cap)
{
    struct control_manager *m = &c->manager;
    usec_t passed = now - m->told_at;
    uint64_t rate = passed > 0 ? (t->requests - m->requests) * USEC_PER_SEC / passed : 0;
    char a[32], b[32], r[32];
    (void)snprintf(out, cap, "%s: %s connections, %s requests in flight, %s req/s, generation %u",
                   prestop_unready(&c->prestop.rules) ? "unready, a container restarts" : "serving",
                   grouped(t->connections, a), grouped(t->streams, b), grouped(rate, r),
                   (unsigned)c->snapshot->generation);
}

static void say_draining(const struct control *c, const struct totals *t, usec_t now, char *out,
                         size_t cap)
{
    const struct drain *d = &c->process.drain;
    char a[32], b[32];
    if (drain_now(d) == DRAIN_EXIT) {
        (void)snprintf(out, cap, "drained");
        return;
    }
    (void)snprintf(out, cap, "draining (%s): %s connections, %s requests in flight, %.1f s left",
                   drain_phase_word(drain_now(d)), grouped(t->connections, a),
                   grouped(t->streams, b),
                   d->budget.deadline > now ? (double)(d->budget.deadline - now) / 1e6 : 0.);
}

/* While it changes. */
static void tell(struct control *c)
{
    struct control_manager *m = &c->manager;
    struct totals t = totals_of(c);
    usec_t now = clock_mono();
    char text[CHANNEL_TEXT_MAX];

    if (drain_now(&c->process.drain) == DRAIN_SERVING)
        say_serving(c, &t, now, text, sizeof(text));
    else
        say_draining(c, &t, now, text, sizeof(text));
    m->told_at = now;
    m->requests = t.requests;
    if (strcmp(text, m->told) != 0 && channel_status(c->channel, text) == 0)
        memcpy(m->told, text, sizeof(text));
}

static void on_status(struct ev_loop *ev, struct ev_timer *t, int events)
{
    struct control *c = CONTAINER_OF(t, struct control, manager.status);
    (void)events;
    tell(c);
    t->repeat = drain_now(&c->process.drain) == DRAIN_SERVING ? STATUS_EVERY : STATUS_EVERY_DRAIN;
    ev_timer_again(ev, t);
}

static void on_beat_mail(struct mail *mail, void *owner)
{
    struct control_ping *ping = CONTAINER_OF(mail, struct control_ping, mail);
    (void)owner;
    atomic_store(&ping->posted, 0);
}

/* A beat stands for pings that came back from every worker. While one is out none follows, so that
 * a loop that does not turn stops the beat. */
static void on_beat(struct ev_loop *ev, struct ev_timer *t, int events)
{
    struct control *c = CONTAINER_OF(t, struct control, manager.beat);
    struct control_manager *m = &c->manager;
    (void)ev;
    (void)events;
    for (uint32_t i = 0; i < c->process.n_workers; i++) {
        if (atomic_load(&m->pings[i].posted) != 0)
            return;
    }
    (void)channel_beat(c->channel);
    for (uint32_t i = 0; i < c->process.n_workers; i++) {
        atomic_store(&m->pings[i].posted, 1);
        mailbox_post(&c->workers[i].mailbox, &m->pings[i].mail, on_beat_mail);
    }
}

int control_manager_start(struct control *c)
{
    struct control_manager *m = &c->manager;
    usec_t watchdog = channel_watchdog(c->channel);

    if (!channel_manager_listens(c->channel))
        return 0;
    m->told_at = clock_mono();
    ev_timer_init(&m->status, on_status, 0., STATUS_EVERY);
    ev_timer_start(c->loop.ev, &m->status);
    if (watchdog == 0)
        return 0;
    m->pings = mem_zalloc(c->process.n_workers * sizeof(*m->pings));
    if (!m->pings)
        return -ENOMEM;
    double every = (double)watchdog / 1e6 / BEATS_PER_INTERVAL;
    ev_timer_init(&m->beat, on_beat, every, every);
    ev_timer_start(c->loop.ev, &m->beat);
    return 0;
}

void control_manager_drain(struct control *c)
{
    struct control_manager *m = &c->manager;
    if (!channel_manager_listens(c->channel) || m->told_at == 0)
        return; /* nobody listens, or nothing serves yet */
    tell(c);
    m->status.repeat = STATUS_EVERY_DRAIN;
    ev_timer_again(c->loop.ev, &m->status);
}

void control_manager_free(struct control *c)
{
    free(c->manager.pings);
    c->manager.pings = NULL;
}
