/* learn_use.c - which connection carries a session: where a rule has a disconnectGrace. */
#include "proxy/learning_parts.h"

#include "proxy/learn_mail.h"
#include "proxy/view.h"

bool learn_allows(const struct stream *s)
{
    return s->view->snapshot->conf->leases.on_failure == JOURNAL_ALLOW;
}

/* NULL: its client has gone. */
static struct downstream *connection_of(const struct stream *s)
{
    const struct transport *t = s->client;
    return t ? CONTAINER_OF(CONTAINER_OF(t, struct conn, transport), struct downstream, conn)
             : NULL;
}

uint64_t learn_holder(struct stream *s)
{
    struct downstream *d = connection_of(s);
    struct worker *w = s->worker;
    if (!d)
        return 0;
    if (d->carrier.holder == 0)
        d->carrier.holder = (uint64_t)(w->id + 1) << 48 | ++w->learn.last_holder;
    return d->carrier.holder;
}

static uint64_t hash(struct str s, uint64_t h)
{
    for (size_t i = 0; i < s.n; i++)
        h = (h ^ (unsigned char)s.p[i]) * UINT64_C(0x100000001b3);
    return h;
}

/* The registry is told once, and again when another connection has ended since: it may have been
 * the last on which the session was used. */
static void note(struct stream *s, const struct learn_rule *r, struct str key)
{
    struct downstream *d = connection_of(s);
    struct process *p = s->worker->process;
    uint64_t which = hash(key, hash(r->name, UINT64_C(0xcbf29ce484222325)));
    uint32_t ends = atomic_load_explicit(&p->carriers_ended, memory_order_relaxed);
    if (d && d->carrier.holder != 0 && d->carrier.session == which && d->carrier.ends == ends)
        return;
    uint64_t holder = learn_holder(s);
    if (holder == 0)
        return;
    d->carrier.session = which;
    d->carrier.ends = ends;
    learn_tell_reconnected(s->worker, r->name, key, holder);
}

void learn_note_use(struct stream *s)
{
    const struct learn_rules *rules = s->route->learn;
    for (uint32_t i = 0; rules->any_use && i < rules->n; i++) {
        const struct learn_rule *r = &rules->rules[i];
        char key[LEARN_KEY_MAX];
        size_t n = 0;
        struct learn_values *v = r->disconnect_grace > 0 ? learn_uses(s, r) : NULL;
        if (v && template_render(&r->key, v->v, key, sizeof(key), &n) == 0)
            note(s, r, (struct str){key, n});
    }
}

void learn_connection_ended(struct worker *w, uint64_t holder)
{
    (void)atomic_fetch_add_explicit(&w->process->carriers_ended, 1, memory_order_relaxed);
    learn_tell_disconnected(w, holder);
}
