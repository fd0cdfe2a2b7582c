/* resolver.c - look-ups: which names are asked for, in which order, and what is told.
 *
 * c-ares' callbacks only record. What is ready is told by a timer of its own, so that whoever is
 * told may ask, cancel and free as it likes. */
#include "io/resolver_parts.h"

#include "base/mem.h"

#include <arpa/nameser.h>
#include <errno.h>
#include <stdio.h>

static void start_candidate(struct resolver_ask *a);

/* ---- the end of a look-up ---- */

static void free_ask(struct reap *reap)
{
    struct resolver_ask *a = CONTAINER_OF(reap, struct resolver_ask, reap);
    CHECK_OBJ(a, RESOLVER_ASK_MAGIC);
    if (a->kinds & RESOLVE_SRV)
        free(a->query[0].u.srv);
    a->magic = 0;
    free(a);
}

static void make_ready(struct resolver_ask *a)
{
    if (!list_linked(&a->ready))
        list_push_back(&a->r->ready, &a->ready);
    timer_set(a->r->loop, &a->r->deliver, a->r->loop->now);
}

static void activate(struct resolver_ask *a)
{
    list_remove(&a->link);
    list_push_back(&a->r->active, &a->link);
    a->r->n_active++;
    a->active = true;
}

static void start_waiting(struct resolver *r)
{
    while (r->n_active < RESOLVER_IN_FLIGHT && !list_empty(&r->waiting) && !r->freeing) {
        struct resolver_ask *a = LIST_ENTRY(list_first(&r->waiting), struct resolver_ask, link);
        activate(a);
        start_candidate(a);
    }
    resolver_arm(r);
}

/* It has no query under way. */
static void end_ask(struct resolver_ask *a)
{
    struct resolver *r = a->r;
    CHECK(a->pending == 0);
    list_remove(&a->ready);
    list_remove(&a->link);
    r->n_active -= a->active;
    loop_reap(r->loop, &a->reap, free_ask);
}

/* ---- names to try, as resolv.conf(5) says ---- */

/* The candidate's name into out (RESOLVER_NAME_MAX); false: there are no more. "" where it would
 * be too long. */
static bool candidate_name(const struct resolver_ask *a, char *out)
{
    const struct ares_options *s = &a->r->search;
    int i = a->candidate, dots = 0, domains = a->absolute ? 0 : s->ndomains;
    for (const char *p = a->name; *p; p++)
        dots += *p == '.';
    if (i > domains)
        return false;
    bool as_is_first = dots >= s->ndots || domains == 0;
    bool as_is = i == (as_is_first ? 0 : domains);
    const char *domain = as_is ? NULL : s->domains[as_is_first ? i - 1 : i];
    /* The root as a domain is the name itself. */
    bool bare = !domain || !domain[0] || strcmp(domain, ".") == 0;
    int n = snprintf(out, RESOLVER_NAME_MAX, bare ? "%s" : "%s.%s", a->name, bare ? "" : domain);
    if (n < 0 || n >= RESOLVER_NAME_MAX)
        out[0] = '\0';
    return true;
}

/* ---- queries ---- */

static const struct {
    unsigned kind;
    int type;
} kinds[] = {{RESOLVE_A, ns_t_a}, {RESOLVE_AAAA, ns_t_aaaa}, {RESOLVE_SRV, ns_t_srv}};

static struct resolver_query *query_of(struct resolver_ask *a, unsigned kind)
{
    return &a->query[kind == RESOLVE_AAAA ? RESOLVER_V6 : RESOLVER_V4];
}

static bool any_with(const struct resolver_ask *a, enum resolver_status status)
{
    return a->query[0].status == status || a->query[1].status == status;
}

static bool is_failure(enum resolver_status s)
{
    return s > RESOLVED_NODATA && s < RESOLVED_STATUSES;
}

/* All queries for this candidate have ended. True: it is the name that was meant, or a server does
 * not let us find out. As in c-ares' own search, after SERVFAIL the next one is tried, but not when
 * the other family says that the name exists. */
static bool decided(struct resolver_ask *a)
{
    bool stop = any_with(a, RESOLVED_OK);
    for (int i = 0; i < RESOLVER_FAMILIES; i++) {
        enum resolver_status s = a->query[i].status;
        a->existed = a->existed || s == RESOLVED_NODATA;
        if (is_failure(s)) {
            a->failed = true;
            a->failure = s;
            stop = stop || s != RESOLVED_SERVFAIL || any_with(a, RESOLVED_NODATA);
        }
    }
    return stop;
}

static void finish(struct resolver_ask *a)
{
    a->done = true;
    make_ready(a);
}

/* No candidate has a record. What was not found out weighs more than what was. */
static void finish_without(struct resolver_ask *a)
{
    enum resolver_status s = a->failed    ? a->failure
                             : a->existed ? RESOLVED_NODATA
                                          : RESOLVED_NXDOMAIN;
    for (int i = 0; i < RESOLVER_FAMILIES; i++) {
        if (a->query[i].status != RESOLVED_NOT_ASKED)
            a->query[i].status = s;
    }
    finish(a);
}

static void on_reply(struct resolver_query *q, unsigned kind, int status,
                     const unsigned char *reply, int len)
{
    struct resolver_ask *a = q->ask;
    CHECK_OBJ(a, RESOLVER_ASK_MAGIC);
    CHECK(a->pending > 0);
    a->pending--;
    q->n = 0;
    if (kind == RESOLVE_SRV) { /* of an earlier candidate */
        free(q->u.srv);
        q->u.srv = NULL;
    }
    if (status == ARES_SUCCESS && a->fn)
        resolver_read_reply(q, kind, reply, len);
    else
        q->status = resolver_status_of(status);
    if (a->r->freeing)
        return;
    if (!a->fn) {
        if (a->pending == 0) {
            end_ask(a);
            start_waiting(a->r);
        }
    } else if (a->pending > 0) {
        if (q->status == RESOLVED_OK)
            make_ready(a);
    } else if (decided(a)) {
        finish(a);
    } else {
        a->candidate++;
        start_candidate(a);
    }
}

static void on_a(void *ctx, int status, int timeouts, unsigned char *reply, int len)
{
    (void)timeouts;
    on_reply(ctx, RESOLVE_A, status, reply, len);
}

static void on_aaaa(void *ctx, int status, int timeouts, unsigned char *reply, int len)
{
    (void)timeouts;
    on_reply(ctx, RESOLVE_AAAA, status, reply, len);
}

static void on_srv(void *ctx, int status, int timeouts, unsigned char *reply, int len)
{
    (void)timeouts;
    on_reply(ctx, RESOLVE_SRV, status, reply, len);
}

/* Queries may end within ares_query(): nothing of the look-up is touched behind the last one. */
static void start_candidate(struct resolver_ask *a)
{
    static ares_callback const replies[] = {on_a, on_aaaa, on_srv};
    ares_channel dns = a->r->dns;
    unsigned wanted = a->kinds;
    char name[RESOLVER_NAME_MAX];

    do {
        if (!candidate_name(a, name)) {
            finish_without(a);
            return;
        }
        a->candidate += name[0] == '\0';
    } while (name[0] == '\0');
    for (size_t i = 0; i < ARRAY_LEN(kinds); i++) {
        if (wanted & kinds[i].kind) {
            query_of(a, kinds[i].kind)->status = RESOLVED_PENDING;
            a->pending++;
        }
    }
    for (size_t i = 0; i < ARRAY_LEN(kinds); i++) {
        if (wanted & kinds[i].kind)
            ares_query(dns, name, ns_c_in, kinds[i].type, replies[i], query_of(a, kinds[i].kind));
    }
}

/* ---- telling ---- */

static void fill_answer(struct resolver_ask *a, struct resolver_answer *answer)
{
    *answer = (struct resolver_answer){.final = a->done, .srv_status = RESOLVED_NOT_ASKED};
    for (int i = 0; i < RESOLVER_FAMILIES; i++) {
        const struct resolver_query *q = &a->query[i];
        struct resolver_family *f = &answer->family[i];
        f->status = a->kinds & RESOLVE_SRV ? RESOLVED_NOT_ASKED : q->status;
        if (f->status != RESOLVED_OK)
            continue;
        f->ips = q->u.ips;
        f->n = q->n;
        f->ttl = q->ttl;
    }
    if (a->kinds & RESOLVE_SRV) {
        answer->srv_status = a->query[0].status;
        answer->srv = a->query[0].u.srv;
        answer->n_srv = answer->srv_status == RESOLVED_OK ? a->query[0].n : 0;
    }
}

static void tell(struct resolver_ask *a)
{
    struct resolver_answer answer;
    bool final = a->done;
    resolver_fn *fn = a->fn;
    fill_answer(a, &answer);
    if (final)
        a->fn = NULL; /* a cancel from within finds nothing to do */
    fn(a->ctx, &answer);
    if (final)
        end_ask(a);
}

static void on_deliver(struct timer *t)
{
    struct resolver *r = CONTAINER_OF(t, struct resolver, deliver);
    CHECK_OBJ(r, RESOLVER_MAGIC);
    r->delivering = true;
    while (!list_empty(&r->ready)) {
        struct resolver_ask *a = LIST_ENTRY(list_first(&r->ready), struct resolver_ask, ready);
        list_remove(&a->ready);
        tell(a);
    }
    r->delivering = false;
    start_waiting(r);
}

/* ---- for others ---- */

struct resolver *resolver_new(struct loop *l, const struct resolver_options *o)
{
    struct resolver *r = mem_zalloc(sizeof(*r));
    if (!r)
        return NULL;
    r->magic = RESOLVER_MAGIC;
    r->loop = l;
    list_init(&r->waiting);
    list_init(&r->active);
    list_init(&r->ready);
    timer_init(&r->deliver, on_deliver);
    if (resolver_open(r, o) < 0) {
        free(r);
        return NULL;
    }
    return r;
}

static void cancel_all(struct resolver *r, struct list *list)
{
    while (!list_empty(list)) {
        struct resolver_ask *a = LIST_ENTRY(list_first(list), struct resolver_ask, link);
        struct resolver_answer answer;
        list_remove(&a->link);
        list_remove(&a->ready);
        for (int i = 0; i < RESOLVER_FAMILIES; i++) {
            if (a->query[i].status != RESOLVED_NOT_ASKED)
                a->query[i].status = RESOLVED_CANCELED;
        }
        a->done = true;
        fill_answer(a, &answer);
        if (a->fn)
            a->fn(a->ctx, &answer);
        loop_reap(r->loop, &a->reap, free_ask);
    }
}

struct resolver *resolver_free(struct resolver *r)
{
    if (!r)
        return NULL;
    CHECK_OBJ(r, RESOLVER_MAGIC);
    CHECK(!r->delivering && !r->freeing);
    r->freeing = true;
    resolver_close(r);
    timer_stop(r->loop, &r->deliver);
    cancel_all(r, &r->active);
    cancel_all(r, &r->waiting);
    r->magic = 0;
    free(r);
    return NULL;
}

struct resolver_ask *resolver_ask(struct resolver *r, struct str name, unsigned wanted,
                                  resolver_fn *fn, void *ctx)
{
    struct resolver_ask *a = mem_zalloc(sizeof(*a));
    CHECK_OBJ(r, RESOLVER_MAGIC);
    CHECK(!r->freeing && wanted != 0 && (wanted == RESOLVE_SRV || !(wanted & RESOLVE_SRV)));
    if (!a)
        return NULL;
    *a = (struct resolver_ask){
        .magic = RESOLVER_ASK_MAGIC, .r = r, .fn = fn, .ctx = ctx, .kinds = wanted};
    for (int i = 0; i < RESOLVER_FAMILIES; i++) {
        a->query[i].ask = a;
        a->query[i].status = RESOLVED_NOT_ASKED;
    }
    for (size_t i = 0; i < ARRAY_LEN(kinds); i++) {
        if (wanted & kinds[i].kind)
            query_of(a, kinds[i].kind)->status = RESOLVED_PENDING;
    }
    a->absolute = name.n > 0 && name.p[name.n - 1] == '.';
    name.n -= a->absolute;
    (void)snprintf(a->name, sizeof(a->name), "%.*s", STR_FMT(name));
    list_push_back(&r->waiting, &a->link);
    if (name.n == 0 || name.n >= sizeof(a->name)) {
        a->failed = true;
        a->failure = RESOLVED_MALFORMED;
        activate(a);
        finish_without(a);
    } else if (wanted != RESOLVE_SRV && resolver_read_hosts(a)) {
        activate(a);
        finish(a);
    } else {
        start_waiting(r);
    }
    return a;
}

void resolver_cancel(struct resolver_ask *a)
{
    if (!a)
        return;
    CHECK_OBJ(a, RESOLVER_ASK_MAGIC);
    if (!a->fn)
        return;
    a->fn = NULL;
    list_remove(&a->ready);
    if (a->pending > 0)
        return; /* its slot is free when c-ares has ended its queries */
    end_ask(a);
}
