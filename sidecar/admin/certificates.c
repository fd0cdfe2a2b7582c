/* certificates.c - the certificates in force, and what becomes of their files when these change. */
#include "admin/certificates.h"

#include "admin/control_reload.h"
#include "base/mem.h"
#include "proxy/listener.h"

/* --- slots --- */

static struct tls_slot *slot_of(const struct generation *g, const struct tls_set *s, uint32_t i)
{
    if (i < s->n_listeners)
        return g->views[0]->listeners[i]->shared->tls;
    return g->upstreams[i - s->n_listeners]->tls;
}

static void put_in_slot(const struct generation *g, const struct tls_set *s, uint32_t i)
{
    tls_slot_set(slot_of(g, s, i), tls_context_ref(s->entries[i].context));
}

static void take_problems(struct certificates *c, struct config_problems *problems)
{
    config_problems_free(&c->problems);
    c->problems = *problems;
    *problems = (struct config_problems){0};
}

void certificates_take(struct certificates *c, const struct generation *g, struct tls_set *set,
                       struct config_problems *problems)
{
    tls_set_free(&c->set);
    free(c->refused);
    c->set = *set;
    *set = (struct tls_set){0};
    /* Without memory for it what is refused is told with every look. */
    c->refused = mem_zalloc((c->set.n + 1) * sizeof(*c->refused));
    c->n_refused = 0;
    take_problems(c, problems);
    for (uint32_t i = 0; i < c->set.n; i++) {
        const struct tls_entry *e = &c->set.entries[i];
        if (e->context)
            put_in_slot(g, &c->set, i);
        if (e->state != TLS_ENTRY_REFUSED)
            continue;
        c->n_refused++;
        if (c->refused)
            memcpy(c->refused[i], e->digest, TLS_DIGEST_BYTES);
    }
    jwks_take(&c->jwks, g, &c->set.jwks);
}

void certificates_settled(const struct certificates *c, const struct generation *g)
{
    for (uint32_t i = 0; i < c->set.n; i++) {
        if (!c->set.entries[i].context)
            tls_slot_set(slot_of(g, &c->set, i), NULL);
    }
}

/* --- a look --- */

struct look {
    uint32_t applied, refused;
    bool told; /* nothing is refused that was not refused before */
};

static void look_at(struct certificates *c, const struct generation *g, uint32_t i,
                    struct tls_entry *found, struct look *l)
{
    struct tls_entry *e = &c->set.entries[i];
    unsigned char *refused = c->refused ? c->refused[i] : NULL;
    if (found->state == TLS_ENTRY_NEW) {
        (void)tls_context_unref(e->context);
        *e = *found;
        found->context = NULL;
        put_in_slot(g, &c->set, i);
        l->applied++;
    }
    if (found->state != TLS_ENTRY_REFUSED) {
        if (refused)
            memset(refused, 0, TLS_DIGEST_BYTES);
        return;
    }
    l->refused++;
    l->told = l->told && refused && memcmp(refused, found->digest, TLS_DIGEST_BYTES) == 0;
    if (refused)
        memcpy(refused, found->digest, TLS_DIGEST_BYTES);
}

static void tell(struct certificates *c, const char *file, const struct look *l, bool was_bad)
{
    if (l->applied > 0) {
        c->applied++;
        c->applied_wall = clock_wall();
        log_info("certificates: %u of %u listeners and upstreams have new ones", l->applied,
                 c->set.n);
    }
    if (l->refused > 0 && !l->told) {
        c->refusals++;
        c->refused_wall = clock_wall();
        reload_log_problems(file, &c->problems);
        log_error("certificates: %u of %u listeners and upstreams keep their old ones", l->refused,
                  c->set.n);
    }
    if (was_bad && l->refused == 0 && l->applied == 0)
        log_info("certificates: the files are again those in force");
}

void certificates_look(struct certificates *c, const struct generation *g, const char *file,
                       struct tls_set *set, struct config_problems *problems)
{
    struct look l = {.told = true};
    bool was_bad = c->n_refused > 0;
    /* Without memory for the look there is nothing in it. */
    for (uint32_t i = 0; set->n == c->set.n && i < set->n; i++)
        look_at(c, g, i, &set->entries[i], &l);
    bool news = jwks_look(&c->jwks, g, &c->set.jwks, &set->jwks);
    tls_set_free(set);
    c->n_refused = l.refused;
    take_problems(c, problems);
    if (news && (l.refused == 0 || l.told)) /* else tell() does */
        reload_log_problems(file, &c->problems);
    tell(c, file, &l, was_bad);
}

/* --- the watch --- */

void certificates_watch(struct certificates *c, const struct conf *in_force,
                        const struct conf *also)
{
    const char **names = NULL;
    uint32_t n = 0;
    if (!c->watch)
        return;
    int rc = tls_files_names(in_force, also, &names, &n);
    if (rc == 0)
        rc = files_watch_set(c->watch, names, n, &in_force->reload);
    if (rc < 0)
        log_warn("certificates: out of memory: not all files are watched");
    free(names);
}

void certificates_free(struct certificates *c)
{
    c->watch = files_watch_free(c->watch);
    tls_set_free(&c->set);
    config_problems_free(&c->problems);
    free(c->refused);
    *c = (struct certificates){0};
}
