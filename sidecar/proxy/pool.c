/* pool.c - who gets which connection, and who waits for one. */
#include "proxy/pool.h"

#include "base/mem.h"
#include "io/socket.h"
#include "proxy/admission.h"
#include "proxy/stream.h"
#include "proxy/upstream.h"
#include "proxy/worker.h"

enum {
    CONNECT_TRIES = 3,
    AVOID_MS = 1000,    /* an endpoint that refused is not preferred for so long */
    PEEK_AFTER_MS = 10, /* a connection idle for longer is looked at before a request that */
                        /* could not be sent again goes out on it */
    REFILL_MS = 1000,
};

static void wake_at(struct pool *p, usec_t at)
{
    if (at != USEC_NEVER && (p->timer.at == 0 || at < p->timer.at))
        timer_set(&p->worker->loop, &p->timer, at);
}

/* --- choosing --- */

static bool tried(const struct stream *s, uint32_t i)
{
    return s && i < 64 && (s->tried_endpoints >> i & 1);
}

/* Endpoints that refused lately come last: they are taken only when there is no other. */
static bool usable(const struct pool *p, const struct stream *s, uint32_t i, bool any)
{
    return !tried(s, i) && (any || p->endpoints[i].avoid_until <= p->worker->loop.now);
}

static uint32_t next_usable(const struct pool *p, const struct stream *s, uint32_t from)
{
    for (int any = 0; any < 2; any++) {
        for (uint32_t k = 0; k < p->n_endpoints; k++) {
            uint32_t i = (from + k) % p->n_endpoints;
            if (usable(p, s, i, any))
                return i;
        }
    }
    return UINT32_MAX;
}

/* The index of an endpoint; UINT32_MAX when every one was tried. */
static uint32_t choose(struct pool *p, const struct stream *s)
{
    uint32_t n = p->n_endpoints;
    if (n == 1)
        return tried(s, 0) ? UINT32_MAX : 0;
    if (p->conf->balance == BALANCE_ROUND_ROBIN)
        return next_usable(p, s, p->cursor++ % n);
    struct rng *rng = &p->worker->loop.rng;
    uint32_t a = next_usable(p, s, rng_below(rng, n));
    if (a == UINT32_MAX)
        return a;
    uint32_t b = next_usable(p, s, (a + 1 + rng_below(rng, n - 1)) % n);
    return p->endpoints[b].active < p->endpoints[a].active ? b : a;
}

/* --- lists and counts --- */

static void idle_remove(struct pool *p, struct upstream_conn *u)
{
    list_remove(&u->link);
    list_remove(&u->endpoint_link);
    p->n_idle--;
    count_add(&p->stats.idle, -1);
}

static void lease(struct pool *p, struct upstream_conn *u, struct stream *s)
{
    struct endpoint *e = &p->endpoints[u->endpoint];
    list_push_back(&p->active, &u->link);
    e->active++;
    count_add(&e->stats.active, 1);
    count_add(&e->stats.requests, 1);
    count_add(&p->stats.active, 1);
    count_add(&p->stats.requests, 1);
    if (u->requests > 0)
        count_add(&p->stats.reused, 1);
    upstream_lease(u, s);
}

static void leave_active(struct pool *p, struct upstream_conn *u)
{
    struct endpoint *e = &p->endpoints[u->endpoint];
    list_remove(&u->link);
    e->active--;
    count_add(&e->stats.active, -1);
    count_add(&p->stats.active, -1);
}

/* Pending is who waits because the upstream is at its limit, not who waits for a connection that is
 * being made. False when `most` wait already. */
bool pool_count_pending(struct pool *p, struct stream *s, uint32_t most)
{
    if (s->wait.counted)
        return true;
    uint32_t before = atomic_fetch_add_explicit(&p->shared->pending, 1, memory_order_relaxed);
    if (before >= most) {
        (void)atomic_fetch_sub_explicit(&p->shared->pending, 1, memory_order_relaxed);
        return false;
    }
    s->wait.counted = true;
    count_add(&p->stats.pending, 1);
    return true;
}

void pool_uncount_pending(struct pool *p, struct stream *s)
{
    if (!s->wait.counted)
        return;
    s->wait.counted = false;
    count_add(&p->stats.pending, -1);
    (void)atomic_fetch_sub_explicit(&p->shared->pending, 1, memory_order_relaxed);
}

static void leave_queue(struct pool *p, struct stream *s)
{
    list_remove(&s->wait.link);
    pool_uncount_pending(p, s);
    if (s->wait.making) {
        s->wait.making->waiter = NULL;
        s->wait.making = NULL;
    }
}

static struct stream *stream_of(struct list *wait_link)
{
    return CONTAINER_OF(wait_link, struct stream, wait.link);
}

/* --- opening --- */

/* A slot of the process-wide limit; false when there is none. */
static bool take_slot(struct pool *p)
{
    uint32_t before = atomic_fetch_add_explicit(&p->shared->connections, 1, memory_order_relaxed);
    if (before < p->conf->max_connections)
        return true;
    (void)atomic_fetch_sub_explicit(&p->shared->connections, 1, memory_order_relaxed);
    return false;
}

/* Ordered before the look at who starves: either we see the bit of a worker that has just failed to
 * take a slot, or the worker that it asks next sees this one free. */
static void give_slot(struct pool *p)
{
    (void)atomic_fetch_sub(&p->shared->connections, 1);
}

/* A connection under way to endpoint i, the slot already taken (and given back on failure). */
static struct upstream_conn *open_one(struct pool *p, uint32_t i, enum reason *ret_reason)
{
    struct upstream_conn *u = upstream_connect(p, i, ret_reason);
    if (!u) {
        give_slot(p);
        count_add(&p->stats.connect_failed, 1);
        return NULL;
    }
    list_push_back(&p->connecting, &u->link);
    p->n_connecting++;
    count_add(&p->stats.connecting, 1);
    count_add(&p->stats.connections, 1);
    count_add(&p->stats.opened, 1);
    count_add(&p->endpoints[i].stats.connections, 1);
    u->idle_until = p->worker->loop.now + p->conf->connect_timeout;
    wake_at(p, u->idle_until);
    return u;
}

/* Opens a connection for s to endpoint i, trying another endpoint when one refuses at once. */
static bool open_for(struct pool *p, struct stream *s, uint32_t i, enum reason *ret_reason)
{
    *ret_reason = REASON_NO_ENDPOINT;
    for (; s->wait.making == NULL && i != UINT32_MAX; i = choose(p, s)) {
        if (!take_slot(p)) {
            *ret_reason = REASON_CONNECTION_LIMIT;
            return false;
        }
        struct upstream_conn *u = open_one(p, i, ret_reason);
        if (u) {
            u->waiter = s;
            s->wait.making = u;
            pool_uncount_pending(p, s);
            return true;
        }
        p->endpoints[i].avoid_until = p->worker->loop.now + AVOID_MS * USEC_PER_MSEC;
        count_add(&p->endpoints[i].stats.errors, 1);
        s->tried_endpoints |= i < 64 ? UINT64_C(1) << i : 0;
        if (i >= 64)
            break;
    }
    return s->wait.making != NULL;
}

/* --- asking other workers --- */

struct pool_mail {
    struct mail mail;
    uint32_t upstream;
    void (*fn)(struct pool *);
};

static void on_mail(struct mail *m, void *owner)
{
    struct pool_mail *pm = CONTAINER_OF(m, struct pool_mail, mail);
    struct worker *w = owner;
    pm->fn(&w->pools[pm->upstream]);
    free(pm);
}

void pool_post(struct pool *p, uint32_t worker, void (*fn)(struct pool *))
{
    struct pool_mail *pm = mem_zalloc(sizeof(*pm));
    if (!pm)
        return; /* who waits is told by its queue time */
    pm->upstream = p->conf->index;
    pm->fn = fn;
    mailbox_post(&p->worker->process->workers[worker].mailbox, &pm->mail, on_mail);
}

static uint64_t my_bit(const struct pool *p)
{
    return UINT64_C(1) << p->worker->id;
}

/* We wait, and the slots may be held as idle connections elsewhere. */
static void ask_others(struct pool *p)
{
    uint64_t was = atomic_fetch_or(&p->shared->starving, my_bit(p));
    if (was & my_bit(p))
        return;
    for (uint32_t i = 0; i < p->worker->process->n_workers; i++) {
        if (i != p->worker->id)
            pool_post(p, i, pool_yield_idle);
    }
}

/* Our own bit stays: nobody else would know that we wait. */
static void tell_starving(struct pool *p)
{
    uint64_t starving = atomic_load(&p->shared->starving) & ~my_bit(p);
    if (starving == 0 || p->closing)
        return;
    (void)atomic_fetch_and(&p->shared->starving, ~starving);
    for (uint32_t i = 0; i < p->worker->process->n_workers; i++) {
        if (starving >> i & 1)
            pool_post(p, i, pool_slot_free);
    }
}

/* --- leasing --- */

/* A request that cannot be repeated does not go out on a connection that its server has closed
 * meanwhile; between busy requests no look is needed. */
static bool looks_dead(const struct upstream_conn *u, const struct stream *s)
{
    usec_t idle_since = u->idle_until - u->idle_timeout;
    if (u->worker->loop.now < idle_since + PEEK_AFTER_MS * USEC_PER_MSEC ||
        method_is_idempotent((enum http_method)s->req.method))
        return false;
    return socket_has_unread(u->conn.transport.fd);
}

static struct upstream_conn *take_idle(struct pool *p, struct stream *s, struct list *from,
                                       bool by_endpoint)
{
    struct list *first;
    while ((first = list_first(from)) != NULL) {
        struct upstream_conn *u = by_endpoint
                                      ? LIST_ENTRY(first, struct upstream_conn, endpoint_link)
                                      : LIST_ENTRY(first, struct upstream_conn, link);
        if (!looks_dead(u, s)) {
            idle_remove(p, u);
            return u;
        }
        count_add(&p->stats.closed_idle, 1);
        upstream_close(u);
    }
    return NULL;
}

static enum pool_lease enqueue(struct pool *p, struct stream *s, uint32_t i,
                               enum reason *ret_reason)
{
    s->wait.until = p->worker->loop.now + p->conf->queue_timeout;
    list_push_back(&p->waiting, &s->wait.link);
    if (open_for(p, s, i, ret_reason))
        return POOL_WAITS;
    if (*ret_reason == REASON_CONNECTION_LIMIT) {
        if (pool_count_pending(p, s, p->conf->max_pending)) {
            wake_at(p, s->wait.until);
            ask_others(p);
            return POOL_WAITS;
        }
        *ret_reason = REASON_PENDING_OVERFLOW;
    }
    leave_queue(p, s);
    return POOL_REFUSED;
}

enum pool_lease pool_lease(struct pool *p, struct stream *s, bool fresh, enum reason *ret_reason)
{
    struct upstream_conn *u = NULL;
    uint32_t i = choose(p, s);
    if (!fresh && p->n_idle > 0) {
        if (i != UINT32_MAX)
            u = take_idle(p, s, &p->endpoints[i].idle, true);
        if (!u && p->n_idle > 0 &&
            atomic_load_explicit(&p->shared->connections, memory_order_relaxed) >=
                p->conf->max_connections)
            u = take_idle(p, s, &p->idle, false);
    }
    if (!u) {
        /* An idle connection that may not be used holds a slot that a new one could have. */
        if (fresh && p->n_idle > 0 &&
            atomic_load_explicit(&p->shared->connections, memory_order_relaxed) >=
                p->conf->max_connections)
            pool_yield_idle(p);
        return enqueue(p, s, i, ret_reason);
    }
    lease(p, u, s);
    return POOL_LEASED;
}

void pool_cancel(struct pool *p, struct stream *s)
{
    leave_queue(p, s);
}

/* Gives a connection to the first that may have it; false when nobody waits. */
static bool hand_over(struct pool *p, struct upstream_conn *u)
{
    LIST_FOREACH (it, &p->waiting) {
        struct stream *s = stream_of(it);
        if ((s->fresh || s->tcp) && u->requests > 0)
            continue;
        leave_queue(p, s);
        lease(p, u, s);
        stream_on_connected(s);
        return true;
    }
    return false;
}

/* Nobody here waits for it: it is kept, or makes room for who waits elsewhere. */
static void become_idle(struct pool *p, struct upstream_conn *u)
{
    u->pooled = true;
    u->idle_until = p->worker->loop.now + u->idle_timeout;
    list_push_front(&p->idle, &u->link);
    list_push_front(&p->endpoints[u->endpoint].idle, &u->endpoint_link);
    p->n_idle++;
    count_add(&p->stats.idle, 1);
    if (p->closing || (atomic_load(&p->shared->starving) & ~my_bit(p)) != 0)
        upstream_close(u);
    else
        wake_at(p, u->idle_until);
}

void pool_on_idle(struct pool *p, struct upstream_conn *u)
{
    leave_active(p, u);
    if (!list_empty(&p->waiting) && hand_over(p, u))
        return;
    become_idle(p, u);
}

static void leave_connecting(struct pool *p, struct upstream_conn *u)
{
    list_remove(&u->link);
    p->n_connecting--;
    count_add(&p->stats.connecting, -1);
}

void pool_on_connected(struct pool *p, struct upstream_conn *u)
{
    leave_connecting(p, u);
    p->endpoints[u->endpoint].avoid_until = 0;
    struct stream *s = u->waiter;
    if (s) {
        leave_queue(p, s);
        lease(p, u, s);
        stream_on_connected(s);
        return;
    }
    if (!hand_over(p, u))
        become_idle(p, u);
}

void pool_on_connect_failed(struct pool *p, struct upstream_conn *u, enum reason reason)
{
    struct endpoint *e = &p->endpoints[u->endpoint];
    struct stream *s = u->waiter;
    e->avoid_until = p->worker->loop.now + AVOID_MS * USEC_PER_MSEC;
    count_add(&e->stats.errors, 1);
    count_add(&p->stats.connect_failed, 1);
    u->waiter = NULL;
    if (s) {
        s->wait.making = NULL;
        s->tries++;
        s->tried_endpoints |= u->endpoint < 64 ? UINT64_C(1) << u->endpoint : 0;
    }
    upstream_close(u);
    if (!s)
        return;
    enum reason why = reason;
    if (s->tries < CONNECT_TRIES && u->endpoint < 64 && list_linked(&s->wait.link) &&
        open_for(p, s, choose(p, s), &why))
        return;
    if (why == REASON_CONNECTION_LIMIT) {
        (void)pool_count_pending(p, s, UINT32_MAX); /* it was let in already */
        wake_at(p, s->wait.until);
        ask_others(p);
        return;
    }
    if (!list_linked(&s->wait.link))
        return; /* closing the failed one gave it another's place */
    leave_queue(p, s);
    stream_on_refused(s, reason);
}

void pool_on_closed(struct pool *p, struct upstream_conn *u)
{
    switch ((enum upstream_state)u->state) {
    case UPSTREAM_CONNECTING:
        leave_connecting(p, u);
        break;
    case UPSTREAM_IDLE:
        idle_remove(p, u);
        break;
    default:
        leave_active(p, u);
        break;
    }
    count_add(&p->stats.connections, -1);
    count_add(&p->endpoints[u->endpoint].stats.connections, -1);
    give_slot(p);
    tell_starving(p);
    if (!list_empty(&p->waiting))
        wake_at(p, p->worker->loop.now);
    else if (p->conf->min_idle > p->n_idle + p->n_connecting && !p->closing)
        wake_at(p, p->worker->loop.now + REFILL_MS * USEC_PER_MSEC);
}

void pool_slot_free(struct pool *p)
{
    /* Whoever waits without a connection under way gets one made; a failure leaves the queue, so
     * the walk begins again. */
    bool again = true;
    while (again) {
        again = false;
        LIST_FOREACH (it, &p->waiting) {
            struct stream *s = stream_of(it);
            enum reason why = REASON_NONE;
            if (s->wait.making)
                continue;
            if (open_for(p, s, choose(p, s), &why))
                continue;
            if (why == REASON_CONNECTION_LIMIT) {
                ask_others(p);
                return;
            }
            leave_queue(p, s);
            stream_on_refused(s, why);
            again = true;
            break;
        }
    }
}

void pool_yield_idle(struct pool *p)
{
    struct list *oldest = list_last(&p->idle);
    if (oldest)
        upstream_close(LIST_ENTRY(oldest, struct upstream_conn, link));
    else if (atomic_load(&p->shared->connections) < p->conf->max_connections)
        tell_starving(p); /* a slot became free while it was asking */
}

/* --- time --- */

/* Who has a connection being made is not meant: that has a time of its own. The others are in the
 * order of their times, and the end of one is never the end of another. Returns when the next is
 * due; USEC_NEVER: none. */
static usec_t expire_queue(struct pool *p, usec_t now)
{
    LIST_FOREACH_SAFE (it, &p->waiting) {
        struct stream *s = stream_of(it);
        if (s->wait.making)
            continue;
        if (now < s->wait.until)
            return s->wait.until;
        leave_queue(p, s);
        stream_on_refused(s, REASON_QUEUE_TIMEOUT);
    }
    return USEC_NEVER;
}

static void expire_connecting(struct pool *p, usec_t now)
{
    struct list *first;
    while ((first = list_first(&p->connecting)) != NULL) {
        struct upstream_conn *u = LIST_ENTRY(first, struct upstream_conn, link);
        if (now < u->idle_until)
            break;
        pool_on_connect_failed(p, u, REASON_CONNECT_TIMEOUT);
    }
}

static void expire_idle(struct pool *p, usec_t now)
{
    LIST_FOREACH_SAFE (it, &p->idle) {
        struct upstream_conn *u = LIST_ENTRY(it, struct upstream_conn, link);
        if (now >= u->idle_until && p->n_idle > p->conf->min_idle)
            upstream_close(u);
        else if (now >= u->idle_until)
            u->idle_until = now + u->idle_timeout;
    }
}

static void on_timer(struct timer *t)
{
    struct pool *p = CONTAINER_OF(t, struct pool, timer);
    usec_t now = p->worker->loop.now;
    expire_connecting(p, now);
    expire_idle(p, now);
    pool_slot_free(p);
    wake_at(p, expire_queue(p, now));
    pool_fill(p);
    LIST_FOREACH (it, &p->idle)
        wake_at(p, LIST_ENTRY(it, struct upstream_conn, link)->idle_until);
    struct list *first = list_first(&p->connecting);
    if (first)
        wake_at(p, LIST_ENTRY(first, struct upstream_conn, link)->idle_until);
}

void pool_fill(struct pool *p)
{
    while (!p->closing && p->n_idle + p->n_connecting < p->conf->min_idle && take_slot(p)) {
        enum reason why = REASON_NONE;
        uint32_t i = next_usable(p, NULL, p->cursor++ % p->n_endpoints);
        if (i == UINT32_MAX || !open_one(p, i, &why)) {
            if (i == UINT32_MAX)
                give_slot(p);
            wake_at(p, p->worker->loop.now + REFILL_MS * USEC_PER_MSEC);
            return;
        }
    }
}

int pool_init(struct pool *p, struct worker *w, const struct conf_upstream *conf,
              struct upstream_shared *shared)
{
    *p = (struct pool){.worker = w, .conf = conf, .shared = shared};
    p->endpoints = mem_zalloc(conf->n_endpoints * sizeof(*p->endpoints));
    if (!p->endpoints)
        return -1;
    p->n_endpoints = conf->n_endpoints;
    for (uint32_t i = 0; i < p->n_endpoints; i++) {
        p->endpoints[i].conf = &conf->endpoints[i];
        list_init(&p->endpoints[i].idle);
    }
    list_init(&p->idle);
    list_init(&p->connecting);
    list_init(&p->waiting);
    admission_init(p);
    list_init(&p->active);
    timer_init(&p->timer, on_timer);
    return 0;
}

void pool_free(struct pool *p)
{
    struct list *first;
    if (!p->endpoints)
        return;
    p->closing = true;
    while ((first = list_first(&p->idle)) != NULL)
        upstream_close(LIST_ENTRY(first, struct upstream_conn, link));
    while ((first = list_first(&p->connecting)) != NULL)
        upstream_close(LIST_ENTRY(first, struct upstream_conn, link));
    CHECK(list_empty(&p->active) && list_empty(&p->waiting));
    timer_stop(&p->worker->loop, &p->timer);
    admission_free(p);
    free(p->stats.first_byte);
    free(p->endpoints);
    p->endpoints = NULL;
}
