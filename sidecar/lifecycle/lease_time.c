/* lease_time.c - what becomes due by itself: TTLs, connections that did not come back, runs that
 * are tried again. One timer for all; a look at each entry when it fires. */
#include "lifecycle/lease_parts.h"

/* So that many that become due one behind the other cost a look for all, and not for each. */
#define LOOK_AGAIN (20 * USEC_PER_MSEC)

static usec_t sooner(usec_t a, usec_t b)
{
    return b != 0 && b < a ? b : a;
}

usec_t lease_due(const struct lease *l)
{
    if (l->kind == LEASE_STATIC)
        return USEC_NEVER;
    if (l->state == LEASE_HELD || l->state == LEASE_PENDING)
        return sooner(sooner(USEC_NEVER, l->expires), l->grace_at);
    return l->state == LEASE_RETRYING ? sooner(USEC_NEVER, l->retry_at) : USEC_NEVER;
}

void leases_look_at(struct leases *ls, usec_t due)
{
    if (due == USEC_NEVER || !ls->started || ls->retiring)
        return;
    if (ls->next_due != 0 && ls->next_due <= due)
        return;
    ls->next_due = due;
    timer_set(ls->loop, &ls->timer, due);
}

static void act(struct lease *l, usec_t now)
{
    if (l->state == LEASE_RETRYING) {
        lease_queue(l, l->why);
    } else if (l->grace_at != 0 && l->grace_at <= now) {
        lease_queue(l, LEASE_BY_DISCONNECT);
    } else {
        l->owner->stats.expired++;
        lease_queue(l, LEASE_BY_TTL);
    }
}

void leases_on_timer(struct timer *t)
{
    struct leases *ls = CONTAINER_OF(t, struct leases, timer);
    usec_t now = clock_mono(), next = USEC_NEVER;
    ls->next_due = 0;
    if (ls->retiring)
        return;
    leases_poll_journal(ls); /* at an upgrade: the other one may have renewed or forgotten it */
    LIST_FOREACH_SAFE (it, &ls->all) {
        struct lease *l = LIST_ENTRY(it, struct lease, by_age);
        usec_t due = lease_due(l);
        if (due <= now)
            act(l, now);
        else
            next = due < next ? due : next;
    }
    leases_pump(ls);
    if (next != USEC_NEVER)
        leases_look_at(ls, max_u64(next, now + LOOK_AGAIN));
}

void leases_disconnected(struct leases *ls, uint64_t holder)
{
    usec_t now = clock_mono();
    LIST_FOREACH (it, &ls->all) {
        struct lease *l = LIST_ENTRY(it, struct lease, by_age);
        if (holder == 0 || l->holder != holder)
            continue;
        l->holder = 0;
        if (l->disconnect_grace == 0)
            continue;
        l->grace_at = now + l->disconnect_grace;
        leases_look_at(ls, lease_due(l));
    }
}

void leases_reconnected(struct leases *ls, struct str name, struct str key, uint64_t holder)
{
    struct lease *l = lease_find_key(ls, name, key);
    if (!l)
        return;
    l->holder = holder;
    l->grace_at = 0;
}
