/* worker_overload.c - shedding: keep-alive ends, idle connections are closed little by little,
 * requests are refused by priority, and accepting pauses. What is under way is never touched. */
#include "proxy/worker_overload.h"

#include "proxy/downstream.h"
#include "proxy/downstream_h2.h"
#include "proxy/listener.h"

/* Idle connections of a stage that has lasted for longer than that are closed as they are found. */
#define IDLE_WINDOW (5 * USEC_PER_SEC)
#define IDLE_TICK   (250 * USEC_PER_MSEC)

static void count(struct worker *w, enum shed_action a)
{
    bool dry_run = worker_overload(w) & OVERLOAD_WORD_DRY_RUN;
    count_add(&w->stats.shed[a][dry_run], 1);
}

bool worker_overload_asks_to_leave(struct worker *w)
{
    count(w, SHED_KEEP_ALIVE);
    return overload_word_acts(worker_overload(w)) != OVERLOAD_NONE;
}

bool worker_overload_refuses_now(struct worker *w, enum priority p)
{
    uint32_t word = worker_overload(w);
    if (!overload_refuses(overload_word_stage(word), p))
        return false;
    count(w, p == PRIORITY_LOW ? SHED_LOW : SHED_NORMAL);
    return overload_word_acts(word) != OVERLOAD_NONE;
}

/* --- idle connections --- */

/* An HTTP/2 connection goes as its GOAWAY has been read, or a second later. */
static void close_idle(struct list *it)
{
    struct downstream *d = LIST_ENTRY(it, struct downstream, link);
    struct worker *w = d->worker;
    if (w->loop.now - d->since < DRAIN_IDLE_LEAD)
        return;
    if (!d->h2) {
        d->ops->idle_close(d);
        if (d->state == DOWNSTREAM_LINGER || d->state == DOWNSTREAM_CLOSED)
            count(w, SHED_IDLE);
    } else if (d->h2->goodbye == H2_STAYS) {
        d->ops->notice(d);
        count(w, SHED_IDLE);
    }
}

static void on_tick(struct timer *t)
{
    struct worker *w = CONTAINER_OF(t, struct worker, overload.tick);
    struct worker_overload *o = &w->overload;
    usec_t now = w->loop.now, wait = IDLE_TICK;
    for (int d = 0; d < 2; d++) {
        if (worker_phase_for(w, (enum direction)d) >= DRAIN_DRAIN)
            continue; /* it closes them by its own timetable */
        usec_t next = worker_close_some(&w->population[d].idle, close_idle, &o->idle_next[d], now,
                                        o->idle_until);
        wait = now < o->idle_until ? min_u64(wait, next) : wait;
    }
    timer_set(&w->loop, t, now + wait);
}

/* --- stages --- */

static void act(struct worker *w, enum overload_stage was, enum overload_stage is)
{
    struct worker_overload *o = &w->overload;
    if (is == OVERLOAD_NONE) {
        timer_set(&w->loop, &o->tick, 0);
    } else if (was == OVERLOAD_NONE) {
        /* Responses have carried the word for that long when the first one is closed. */
        usec_t from = w->loop.now + DRAIN_IDLE_LEAD;
        o->idle_until = from + IDLE_WINDOW;
        o->idle_next[0] = o->idle_next[1] = 0;
        timer_set(&w->loop, &o->tick, from);
    }
    bool pauses = is >= OVERLOAD_NO_CONNECTIONS, paused = was >= OVERLOAD_NO_CONNECTIONS;
    if (pauses && !paused) {
        worker_each_listener(w, listener_stop);
        count_add(&w->stats.accept_paused, 1);
    } else if (paused && !pauses) {
        worker_each_listener(w, listener_start);
    }
}

static void on_changed(struct mail *m, void *owner)
{
    struct worker *w = owner;
    struct worker_overload *o = CONTAINER_OF(m, struct worker_overload, mail);
    atomic_store(&o->posted, false); /* what comes from here on is another mail */
    enum overload_stage was = o->acts;
    o->acts = overload_word_acts(worker_overload(w));
    if (!o->stopped)
        act(w, was, o->acts);
}

void worker_overload_changed(struct worker *w)
{
    if (!atomic_exchange(&w->overload.posted, true))
        mailbox_post(&w->mailbox, &w->overload.mail, on_changed);
}

void worker_overload_init(struct worker *w)
{
    timer_init(&w->overload.tick, on_tick);
}

void worker_overload_stop(struct worker *w)
{
    w->overload.stopped = true;
    timer_stop(&w->loop, &w->overload.tick);
}
