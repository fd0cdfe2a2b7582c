/* health_checks.c - who is looked at when. */
#include "proxy/health_checks.h"

#include "base/log.h"
#include "base/mem.h"
#include "healthcheck/probe.h"
#include "io/loop.h"

#include <errno.h>

enum {
    ENDPOINT_CHECK_MAGIC = 0x4843454e,
    STARTS_A_TURN = 8, /* some 50 us each, and more with TLS */
    LINES_A_SECOND = 20,
};

struct health_checks {
    struct loop *loop;
    struct list upstreams; /* upstream_checks.link */
    struct list due;       /* endpoint_check.due_link, longest waiting first */
    uint32_t running, waiting, most;
    uint32_t mark;
    bool stopped;
    struct timer pump;
    usec_t lines_since;
    uint32_t lines, lines_lost;
};

struct upstream_checks {
    struct list link;
    struct health_checks *hc;
    struct upstream_shared *shared;   /* a reference */
    const struct conf_upstream *conf; /* of the configuration in force */
    struct probe_regex *regex;
    struct list endpoints; /* endpoint_check.link */
    struct health_counts counts;
    uint32_t mark;
};

struct endpoint_check {
    uint32_t magic;
    uint32_t mark;
    struct list link, due_link;
    struct upstream_checks *of;
    struct endpoint_shared *endpoint; /* a reference */
    struct health health;
    struct timer timer;
    struct probe *probe; /* NULL: none is under way */
    usec_t began;
    uint64_t succeeded, errors; /* of the endpoint's requests at the last look */
    struct probe_target target;
    char ip[ADDRESS_IP_MAX];
};

static const struct health_rules *rules_of(const struct endpoint_check *c)
{
    return &c->of->conf->health_check.rules;
}

/* ---- what is told ---- */

/* Thousands that go at once are no reason for thousands of lines. */
static bool may_tell(struct health_checks *hc)
{
    usec_t now = hc->loop->now;
    if (now >= hc->lines_since + USEC_PER_SEC) {
        if (hc->lines_lost > 0)
            log_warn("health checks: %u more endpoints have changed", hc->lines_lost);
        hc->lines_since = now;
        hc->lines = hc->lines_lost = 0;
    }
    if (hc->lines < LINES_A_SECOND) {
        hc->lines++;
        return true;
    }
    hc->lines_lost++;
    return false;
}

static bool any_healthy(const struct upstream_checks *u)
{
    LIST_FOREACH (it, &u->endpoints) {
        if (LIST_ENTRY(it, struct endpoint_check, link)->health.healthy)
            return true;
    }
    return false;
}

static void tell(const struct endpoint_check *c, const char *detail)
{
    const struct upstream_checks *u = c->of;
    const struct health_rules *r = rules_of(c);
    char text[CHECK_TEXT_MAX];
    double ms = (double)c->health.last.took / 1e3;
    if (!may_tell(u->hc))
        return;
    (void)check_text(&c->health.last, text);
    if (c->health.healthy) {
        log_info("upstream %.*s: endpoint %.*s is UP: %s in %.1f ms, %u of %u checks passed",
                 STR_FMT(u->conf->name), STR_FMT(c->endpoint->text), text, ms, r->rise, r->rise);
        return;
    }
    log_warn("upstream %.*s: endpoint %.*s is DOWN: %s%s%s%s in %.1f ms, %u of %u checks failed",
             STR_FMT(u->conf->name), STR_FMT(c->endpoint->text), text,
             detail && *detail ? " (" : "", detail ? detail : "", detail && *detail ? ")" : "", ms,
             r->fall, r->fall);
    if (!any_healthy(u))
        log_error("upstream %.*s: no endpoint is healthy; requests go to all of them",
                  STR_FMT(u->conf->name));
}

/* ---- one look ---- */

static void sum_requests(const struct endpoint_shared *e, uint64_t *ret_succeeded,
                         uint64_t *ret_errors)
{
    *ret_succeeded = *ret_errors = 0;
    for (uint32_t k = 0; k < e->n_workers; k++) {
        *ret_succeeded += count_read(&e->worker[k].stats.succeeded);
        *ret_errors += count_read(&e->worker[k].stats.errors);
    }
}

/* Requests have gone well there since the last look, and none badly. */
static bool has_served(struct endpoint_check *c)
{
    uint64_t succeeded, errors;
    sum_requests(c->endpoint, &succeeded, &errors);
    bool served = succeeded > c->succeeded && errors == c->errors;
    c->succeeded = succeeded;
    c->errors = errors;
    return served;
}

static void schedule(struct endpoint_check *c)
{
    struct loop *l = c->of->hc->loop;
    usec_t wait = health_wait(&c->health, rules_of(c), (uint32_t)rng_next(&l->rng));
    /* One that hangs for all of its time is not looked at without a pause. */
    timer_set(l, &c->timer, max_u64(c->began + wait, clock_mono() + wait / 2));
}

static void note(struct endpoint_check *c, const struct check_result *result, const char *detail)
{
    c->of->counts.results[result->word]++;
    bool changed = health_note(&c->health, rules_of(c), result, clock_mono());
    if (changed) {
        endpoint_shared_set_unhealthy(c->endpoint, !c->health.healthy);
        tell(c, detail);
    }
    schedule(c);
}

static void wake_pump(struct health_checks *hc)
{
    if (!list_empty(&hc->due) && hc->running < hc->most)
        timer_set(hc->loop, &hc->pump, clock_mono());
}

static void on_done(void *ctx, const struct check_result *result, const char *detail,
                    const struct probe_answer *answer)
{
    struct endpoint_check *c = ctx;
    (void)answer;
    CHECK_OBJ(c, ENDPOINT_CHECK_MAGIC);
    c->probe = NULL;
    c->of->hc->running--;
    note(c, result, detail);
    wake_pump(c->of->hc);
}

static void start(struct endpoint_check *c)
{
    struct health_checks *hc = c->of->hc;
    const struct conf_health_check *conf = &c->of->conf->health_check;
    c->began = clock_mono();
    c->probe = probe_start(hc->loop, &conf->probe, c->of->regex, &c->target, conf->rules.timeout,
                           on_done, c);
    if (c->probe)
        hc->running++;
    else
        note(c, &(struct check_result){.word = CHECK_SOCKERR}, "out of memory");
}

static void leave_queue(struct endpoint_check *c)
{
    if (!list_linked(&c->due_link))
        return;
    list_remove(&c->due_link);
    c->of->hc->waiting--;
}

static void on_pump(struct timer *t)
{
    struct health_checks *hc = CONTAINER_OF(t, struct health_checks, pump);
    struct list *first;
    for (int i = 0; i < STARTS_A_TURN && hc->running < hc->most; i++) {
        first = list_first(&hc->due);
        if (!first)
            return;
        struct endpoint_check *c = LIST_ENTRY(first, struct endpoint_check, due_link);
        leave_queue(c);
        start(c);
        if (c->of->conf->health_check.exec)
            break; /* a process takes a millisecond to make */
    }
    wake_pump(hc);
}

static void on_due(struct timer *t)
{
    struct endpoint_check *c = CONTAINER_OF(t, struct endpoint_check, timer);
    CHECK_OBJ(c, ENDPOINT_CHECK_MAGIC);
    struct health_checks *hc = c->of->hc;
    if (health_skip(&c->health, rules_of(c), has_served(c))) {
        c->of->counts.skipped++;
        c->began = hc->loop->now;
        schedule(c);
        return;
    }
    list_push_back(&hc->due, &c->due_link);
    hc->waiting++;
    wake_pump(hc);
}

/* ---- whom ---- */

static void stop(struct endpoint_check *c)
{
    if (c->probe)
        c->of->hc->running--;
    c->probe = probe_cancel(c->probe);
    timer_stop(c->of->hc->loop, &c->timer);
    leave_queue(c);
}

static void forget(struct endpoint_check *c)
{
    stop(c);
    list_remove(&c->link);
    endpoint_shared_set_unhealthy(c->endpoint, false);
    c->endpoint->check = NULL;
    endpoint_shared_unref(c->endpoint);
    c->magic = 0;
    free(c);
}

static void aim(struct endpoint_check *c)
{
    const struct conf_upstream *u = c->of->conf;
    const struct address *to = &c->endpoint->address;
    bool named = u->tls.enabled && u->tls.server_name.n > 0;
    struct str name = {c->ip, address_format_ip(to, c->ip)};
    c->target = (struct probe_target){
        .upstream = u->name,
        .text = named ? u->tls.server_name : c->endpoint->text,
        .address = to,
        .tls = u->tls.enabled ? c->of->shared->tls : NULL,
        .tls_name = to->u.sa.sa_family == AF_UNIX ? STR_NONE : name,
        .protocol = u->protocol == UPSTREAM_HTTP1   ? PROBE_HTTP1
                    : u->protocol == UPSTREAM_HTTP2 ? PROBE_HTTP2
                                                    : PROBE_BY_ALPN,
    };
}

static struct endpoint_check *meet(struct upstream_checks *u, struct endpoint_shared *e)
{
    struct endpoint_check *c = mem_zalloc(sizeof(*c));
    if (!c)
        return NULL;
    c->magic = ENDPOINT_CHECK_MAGIC;
    c->of = u;
    c->endpoint = endpoint_shared_ref(e);
    timer_init(&c->timer, on_due);
    sum_requests(e, &c->succeeded, &c->errors);
    health_init(&c->health, rules_of(c), u->hc->loop->now);
    endpoint_shared_set_unhealthy(e, !c->health.healthy);
    list_push_back(&u->endpoints, &c->link);
    e->check = c;
    aim(c);
    return c;
}

/* Those that the upstream has now. `anew`: by other rules than before. */
static void take_endpoints(struct upstream_checks *u, bool anew)
{
    struct health_checks *hc = u->hc;
    uint32_t fresh = 0, n = 0, lost = 0, mark = ++hc->mark;
    for (uint32_t i = 0; i < u->shared->n_endpoints; i++)
        fresh += anew || !u->shared->endpoints[i]->check;
    for (uint32_t i = 0; i < u->shared->n_endpoints; i++) {
        struct endpoint_shared *e = u->shared->endpoints[i];
        bool first = !e->check;
        struct endpoint_check *c = first ? meet(u, e) : e->check;
        if (!c) {
            lost++;
            continue;
        }
        c->mark = mark;
        if (first || anew)
            timer_set(hc->loop, &c->timer,
                      clock_mono() + health_first_wait(rules_of(c), n++, fresh));
    }
    LIST_FOREACH_SAFE (it, &u->endpoints) {
        struct endpoint_check *c = LIST_ENTRY(it, struct endpoint_check, link);
        if (c->mark != mark)
            forget(c);
    }
    if (lost > 0)
        log_warn("upstream %.*s: %u endpoints are not checked: out of memory",
                 STR_FMT(u->conf->name), lost);
}

static struct upstream_checks *upstream_free(struct upstream_checks *u)
{
    struct list *it;
    while ((it = list_pop(&u->endpoints)) != NULL)
        forget(LIST_ENTRY(it, struct endpoint_check, link));
    list_remove(&u->link);
    u->shared->checks = NULL;
    upstream_shared_unref(u->shared);
    (void)probe_regex_free(u->regex);
    free(u);
    return NULL;
}

static struct upstream_checks *upstream_new(struct health_checks *hc,
                                            struct upstream_shared *shared)
{
    struct upstream_checks *u = mem_zalloc(sizeof(*u));
    if (!u)
        return NULL;
    u->hc = hc;
    u->shared = upstream_shared_ref(shared);
    list_init(&u->endpoints);
    list_push_back(&hc->upstreams, &u->link);
    shared->checks = u;
    return u;
}

static bool same_rules(const struct conf_upstream *a, const struct conf_upstream *b)
{
    const struct health_rules *x = &a->health_check.rules, *y = &b->health_check.rules;
    return x->interval == y->interval && x->unhealthy_interval == y->unhealthy_interval &&
           x->timeout == y->timeout && x->rise == y->rise && x->fall == y->fall &&
           x->jitter == y->jitter && x->skip_while_serving == y->skip_while_serving &&
           a->protocol == b->protocol && a->tls.enabled == b->tls.enabled &&
           str_eq(a->tls.server_name, b->tls.server_name) &&
           probe_rules_equal(&a->health_check.probe, &b->health_check.probe);
}

/* Texts are those of the new configuration from here on; what is under way by equal rules goes on.
 */
static void begin_anew(struct upstream_checks *u, bool anew)
{
    LIST_FOREACH (it, &u->endpoints) {
        struct endpoint_check *c = LIST_ENTRY(it, struct endpoint_check, link);
        if (anew) {
            stop(c);
            health_begin_anew(&c->health);
        } else if (c->probe) {
            probe_move(c->probe, &u->conf->health_check.probe, u->regex);
        }
        aim(c);
    }
}

static int take_rules(struct upstream_checks *u, const struct conf_upstream *conf)
{
    const struct conf_upstream *was = u->conf;
    bool anew = !was || !same_rules(was, conf);
    struct probe_regex *regex = anew ? NULL : u->regex;
    struct str pattern = conf->health_check.probe.body_regex;
    char why[8];
    if (anew && pattern.n > 0 && probe_regex_new(pattern, &regex, why, sizeof(why)) < 0)
        return -ENOMEM;
    struct probe_regex *old = u->regex;
    u->conf = conf;
    u->regex = regex;
    begin_anew(u, anew);
    if (regex != old)
        (void)probe_regex_free(old);
    take_endpoints(u, anew);
    return 0;
}

/* ---- for others ---- */

struct health_checks *health_checks_new(struct loop *l)
{
    struct health_checks *hc = mem_zalloc(sizeof(*hc));
    if (!hc)
        return NULL;
    hc->loop = l;
    list_init(&hc->upstreams);
    list_init(&hc->due);
    timer_init(&hc->pump, on_pump);
    return hc;
}

struct health_checks *health_checks_free(struct health_checks *hc)
{
    struct list *it;
    if (!hc)
        return NULL;
    while ((it = list_pop(&hc->upstreams)) != NULL)
        (void)upstream_free(LIST_ENTRY(it, struct upstream_checks, link));
    timer_stop(hc->loop, &hc->pump);
    free(hc);
    return NULL;
}

void health_checks_configure(struct health_checks *hc, const struct conf *conf,
                             struct upstream_shared *const *upstreams)
{
    struct list left, *it;
    if (hc->stopped)
        return;
    hc->most = conf->max_probes;
    list_init(&left);
    list_move(&hc->upstreams, &left);
    for (uint32_t i = 0; i < conf->n_upstreams; i++) {
        const struct conf_upstream *c = &conf->upstreams[i];
        struct upstream_checks *u = upstreams[i]->checks;
        if (!c->health_check.enabled || !c->used)
            continue;
        if (u)
            list_remove(&u->link);
        if (u)
            list_push_back(&hc->upstreams, &u->link);
        else
            u = upstream_new(hc, upstreams[i]);
        if (u && take_rules(u, c) == 0)
            continue;
        log_error("upstream %.*s is not checked: out of memory", STR_FMT(c->name));
        if (u)
            (void)upstream_free(u);
    }
    while ((it = list_pop(&left)) != NULL)
        (void)upstream_free(LIST_ENTRY(it, struct upstream_checks, link));
    wake_pump(hc);
}

void health_checks_update(struct health_checks *hc, const struct conf_upstream *u,
                          struct upstream_shared *shared)
{
    if (hc->stopped || !shared->checks || shared->checks->conf != u)
        return;
    take_endpoints(shared->checks, false);
    wake_pump(hc); /* who is gone may have had the last place */
}

void health_checks_stop(struct health_checks *hc)
{
    hc->stopped = true;
    timer_stop(hc->loop, &hc->pump);
    LIST_FOREACH (up, &hc->upstreams) {
        struct upstream_checks *u = LIST_ENTRY(up, struct upstream_checks, link);
        LIST_FOREACH (it, &u->endpoints)
            stop(LIST_ENTRY(it, struct endpoint_check, link));
    }
}

const struct health *health_checks_of(const struct endpoint_shared *e)
{
    return e->check ? &e->check->health : NULL;
}

const struct health_counts *health_checks_counts(const struct upstream_shared *u)
{
    return u->checks ? &u->checks->counts : NULL;
}

void health_checks_load(const struct health_checks *hc, uint32_t *ret_running,
                        uint32_t *ret_waiting)
{
    *ret_running = hc->running;
    *ret_waiting = hc->waiting;
}
