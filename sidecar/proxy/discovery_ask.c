/* discovery_ask.c - the look-ups of one name: A and AAAA, or SRV and then those of its targets. */
#include "proxy/discovery_parts.h"

#include "base/log.h"
#include "base/mem.h"

static const char *prefix(const struct discovered *n)
{
    return n->name.kind == ENDPOINT_SRV ? "srv:" : "";
}

static void log_change(const struct discovered *n, uint32_t failures_before)
{
    const struct dns_name *name = &n->name;
    if (failures_before == 0 && name->failures > 0)
        log_warn("dns: %s%s: %s; asked again in %.1f s, %s", prefix(n), name->host,
                 resolver_status_word(name->last), (double)(name->next - n->d->loop->now) / 1e6,
                 !name->targets            ? "there is no address yet"
                 : name->state == DNS_GOOD ? "the last good addresses stay"
                                           : "dns.onNotFound and dns.onEmpty decide");
    else if (failures_before > 0 && name->failures == 0)
        log_info("dns: %s%s: answered again", prefix(n), name->host);
}

static void log_refused(const struct discovered *n)
{
    uint32_t all, refused;
    dns_name_count(&n->name, n->allow_link_local, &all, &refused);
    if (refused > 0)
        log_warn("dns: %s%s: %u of its %u addresses are refused (link-local, unspecified, "
                 "multicast or broadcast)",
                 prefix(n), n->name.host, refused, all);
}

static void settled(struct discovered *n, bool changed, bool final, uint32_t failures_before)
{
    if (changed)
        log_refused(n);
    if (final) {
        n->asking = false;
        log_change(n, failures_before);
        timer_set(n->d->loop, &n->timer, n->name.next);
    }
    discovered_settled(n, changed, final);
}

static void fail(struct discovered *n, enum resolver_status status)
{
    usec_t wait;
    uint32_t before = n->name.failures;
    bool changed =
        dns_name_settle_without(&n->name, status, &n->d->loop->rng, n->d->loop->now, &wait);
    settled(n, changed, true, before);
}

static void settle(struct discovered *n, bool final)
{
    usec_t wait;
    uint32_t before = n->name.failures;
    bool changed = dns_name_settle(&n->name, &n->lookup, final, &n->bounds, &n->d->loop->rng,
                                   n->d->loop->now, &wait);
    settled(n, changed, final, before);
}

/* ---- name:port ---- */

static void on_addresses(void *ctx, const struct resolver_answer *answer)
{
    struct discovered *n = ctx;
    CHECK_OBJ(n, DISCOVERED_MAGIC);
    if (answer->final)
        n->ask = NULL;
    if (n->d->freeing)
        return;
    if (dns_lookup_begin(&n->lookup, NULL, 0) < 0) {
        if (answer->final)
            fail(n, RESOLVED_ERROR);
        return;
    }
    dns_lookup_add(&n->lookup, 0, &n->name, answer);
    settle(n, answer->final);
}

/* ---- srv: ---- */

static void target_done(struct discovered *n)
{
    CHECK(n->missing > 0);
    if (--n->missing > 0)
        return;
    free(n->of);
    n->of = NULL;
    settle(n, true);
}

static void on_target(void *ctx, const struct resolver_answer *answer)
{
    struct discovered_target *t = ctx;
    struct discovered *n = t->name;
    CHECK_OBJ(n, DISCOVERED_MAGIC);
    if (!answer->final) /* the whole set changes at once */
        return;
    t->ask = NULL;
    if (n->d->freeing)
        return;
    dns_lookup_add(&n->lookup, t->i, &n->name, answer);
    target_done(n);
}

static void ask_target(struct discovered *n, uint32_t i)
{
    char name[RESOLVER_NAME_MAX + 1];
    struct discovered_target *t = &n->of[i];
    size_t len = strlen(n->lookup.targets->at[i].host);

    *t = (struct discovered_target){.name = n, .i = i};
    /* The target is absolute (RFC 2782). */
    memcpy(name, n->lookup.targets->at[i].host, len);
    name[len] = '.';
    t->ask = resolver_ask(n->d->resolver, (struct str){name, len + 1}, dns_name_kinds(&n->name),
                          on_target, t);
}

static void ask_targets(struct discovered *n, const struct resolver_srv *srv, uint32_t n_srv)
{
    struct resolver_answer none = {.final = true, .srv_status = RESOLVED_NOT_ASKED};
    for (int f = 0; f < RESOLVER_FAMILIES; f++)
        none.family[f].status = RESOLVED_ERROR;
    if (dns_lookup_begin(&n->lookup, srv, n_srv) < 0) {
        fail(n, RESOLVED_ERROR);
        return;
    }
    n->of = mem_alloc(n_srv * sizeof(*n->of));
    if (!n->of) {
        dns_lookup_free(&n->lookup);
        fail(n, RESOLVED_ERROR);
        return;
    }
    n->missing = n_srv;
    for (uint32_t i = 0; i < n_srv; i++)
        ask_target(n, i);
    for (uint32_t i = 0, missing = n_srv; i < n_srv; i++) {
        if (n->of[i].ask)
            continue;
        dns_lookup_add(&n->lookup, i, &n->name, &none);
        missing--;
        target_done(n);
        if (missing == 0)
            return;
    }
}

static void on_srv(void *ctx, const struct resolver_answer *answer)
{
    struct discovered *n = ctx;
    struct resolver_srv usable[RESOLVER_RECORDS_MAX];
    uint32_t n_usable = 0;
    CHECK_OBJ(n, DISCOVERED_MAGIC);
    n->ask = NULL;
    if (n->d->freeing)
        return;
    for (uint32_t i = 0; i < answer->n_srv; i++) {
        if (answer->srv[i].host[0] && answer->srv[i].port) /* "." (RFC 2782) */
            usable[n_usable++] = answer->srv[i];
    }
    if (answer->srv_status != RESOLVED_OK)
        fail(n, answer->srv_status);
    else if (n_usable == 0)
        fail(n, RESOLVED_NODATA);
    else
        ask_targets(n, usable, n_usable);
}

/* ---- both ---- */

void discovered_ask(struct discovered *n)
{
    bool srv = n->name.kind == ENDPOINT_SRV;
    if (n->asking)
        return;
    n->asking = true;
    timer_set(n->d->loop, &n->timer, 0);
    n->ask =
        resolver_ask(n->d->resolver, str_of(n->name.host),
                     srv ? RESOLVE_SRV : dns_name_kinds(&n->name), srv ? on_srv : on_addresses, n);
    if (!n->ask)
        fail(n, RESOLVED_ERROR);
}

void discovered_on_timer(struct timer *t)
{
    struct discovered *n = CONTAINER_OF(t, struct discovered, timer);
    CHECK_OBJ(n, DISCOVERED_MAGIC);
    discovered_ask(n);
}

void discovered_stop(struct discovered *n)
{
    resolver_cancel(n->ask);
    n->ask = NULL;
    for (uint32_t i = 0; n->of && i < n->lookup.targets->n; i++)
        resolver_cancel(n->of[i].ask);
    free(n->of);
    n->of = NULL;
    dns_lookup_free(&n->lookup);
    timer_stop(n->d->loop, &n->timer);
    n->asking = false;
}
