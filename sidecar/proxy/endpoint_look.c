/* endpoint_look.c - outlier detection on the control thread. */
#include "proxy/endpoint_look.h"

#include "base/mem.h"

enum { LOOKS_MOST = 6 }; /* a sample that is too small after so many is begun again */

bool endpoint_eject(struct endpoint_shared *e, struct upstream_shared *u,
                    const struct conf_upstream *conf, enum outlier_cause cause, usec_t now)
{
    usec_t length;
    if (!outlier_eject(&e->outlier, &e->standing, e->group, conf->outlier, cause, now, &length))
        return false;
    (void)atomic_fetch_add_explicit(&u->ejections[conf->outlier->dry_run][cause], 1,
                                    memory_order_relaxed);
    return true;
}

uint32_t endpoint_percent(const struct endpoint_shared *e, const struct conf_upstream *conf,
                          bool panics, usec_t now)
{
    uint32_t word = standing_word(&e->standing);
    uint32_t percent = atomic_load_explicit(&e->percent, memory_order_relaxed);
    usec_t since = atomic_load_explicit(&e->well_since, memory_order_relaxed);
    /* Then all that are not drained are used. */
    bool none = !panics && standing_read(e->group).usable == 0;
    if ((word & STANDING_DRAINED) ||
        (!none && ((word & STANDING_UNREACHABLE) || ((word & STANDING_OUT) && !panics))))
        return 0;
    if (conf->slow_start)
        percent = percent * slow_start_percent(conf->slow_start, since, now) / 100;
    return percent > 0 ? percent : 1; /* less than one is not shown as none */
}

/* --- who comes back --- */

static void pardon(struct endpoint_shared *e, const struct conf_upstream *conf, usec_t now,
                   const char *why)
{
    bool dry_run = (standing_word(&e->standing) & STANDING_EJECTED_DRY_RUN) != 0;
    if (!outlier_pardon(&e->outlier, &e->standing, e->group))
        return;
    if (!dry_run) /* else it was used all the time */
        endpoint_shared_well(e, now);
    log_info("upstream %.*s: endpoint %.*s %s, %s", STR_FMT(conf->name), STR_FMT(e->text),
             dry_run ? "would be used again (dryRun)" : "is used again", why);
}

/* Fewer endpoints are there than when they were ejected: who has least left comes back. */
static void keep_share(struct upstream_shared *u, const struct conf_upstream *conf, usec_t now)
{
    while (standing_is_over(&u->group, conf->outlier->max_percent)) {
        struct endpoint_shared *first = NULL;
        for (uint32_t i = 0; i < u->n_endpoints; i++) {
            struct endpoint_shared *e = u->endpoints[i];
            if ((standing_word(&e->standing) & STANDING_EJECTIONS) &&
                (!first || outlier_left(&e->outlier, now) < outlier_left(&first->outlier, now)))
                first = e;
        }
        if (!first)
            return;
        pardon(first, conf, now, "as too many are ejected now");
        if (standing_word(&first->standing) & STANDING_EJECTIONS)
            return; /* it is just being ejected */
    }
}

static void bring_back(struct upstream_shared *u, const struct conf_upstream *conf, usec_t now)
{
    if (standing_read(&u->group).ejected == 0)
        return;
    for (uint32_t i = 0; i < u->n_endpoints; i++) {
        struct endpoint_shared *e = u->endpoints[i];
        uint32_t word = standing_word(&e->standing);
        if (!(word & STANDING_EJECTIONS))
            continue;
        if (!conf->outlier)
            pardon(e, conf, now, "outlierDetection is not configured any more");
        else if (conf->outlier->dry_run && (word & STANDING_EJECTED))
            pardon(e, conf, now, "dryRun is configured now");
        else if (!conf->outlier->dry_run && (word & STANDING_EJECTED_DRY_RUN))
            pardon(e, conf, now, "dryRun is not configured any more");
        else if (outlier_left(&e->outlier, now) == 0)
            pardon(e, conf, now, "its ejection is over");
    }
    if (conf->outlier)
        keep_share(u, conf, now);
}

/* --- comparing --- */

static struct endpoint_seen seen_of(const struct endpoint_shared *e)
{
    struct endpoint_seen s = {0};
    for (uint32_t k = 0; k < e->n_workers; k++) {
        const struct endpoint_stats *w = &e->worker[k].stats;
        s.failed += count_read(&w->failed); /* before what it is a part of */
        s.requests += count_read(&w->judged);
        s.latency += count_read(&w->latency_us);
        s.answered += count_read(&w->answered);
    }
    return s;
}

static bool is_judged(const struct endpoint_shared *e)
{
    return !(standing_word(&e->standing) & (STANDING_NOT_THERE | STANDING_EJECTIONS));
}

/* What was seen since `from`, which moves on when that is enough or too old. */
static void sample_rate(struct endpoint_looks *l, const struct endpoint_seen *now, uint64_t enough,
                        struct outlier_sample *ret)
{
    ret->requests = now->requests - l->rate.requests;
    ret->failed = now->failed - l->rate.failed;
    if (ret->requests < enough && ++l->rate_age < LOOKS_MOST)
        return;
    l->rate = *now;
    l->rate_age = 0;
}

static void sample_speed(struct endpoint_looks *l, const struct endpoint_seen *now, uint64_t enough,
                         struct outlier_sample *ret)
{
    ret->answered = now->answered - l->speed.answered;
    ret->latency = now->latency - l->speed.latency;
    if (ret->answered < enough && ++l->speed_age < LOOKS_MOST)
        return;
    l->speed = *now;
    l->speed_age = 0;
}

static void sample(struct endpoint_shared *e, const struct outlier_rules *r,
                   struct outlier_sample *ret)
{
    struct endpoint_looks *l = &e->looks;
    struct endpoint_seen now = seen_of(e);
    *ret = (struct outlier_sample){.judged = is_judged(e)};
    if (ret->judged) {
        outlier_decay(&e->outlier, now.requests - l->last.requests, now.failed - l->last.failed);
        sample_rate(l, &now, r->success_rate.min_requests, ret);
        sample_speed(l, &now, r->latency.min_requests, ret);
    } else {
        /* What it does meanwhile is no reason to eject it when it is back. */
        l->rate = l->speed = now;
        l->rate_age = l->speed_age = 0;
    }
    l->last = now;
}

static void tell(const struct endpoint_shared *e, const struct conf_upstream *conf,
                 const struct outlier_sample *s, usec_t now)
{
    struct standing_counts c = standing_read(e->group);
    const char *what = conf->outlier->dry_run ? "would be ejected (dryRun)" : "is ejected";
    unsigned long long left = outlier_left(&e->outlier, now) / USEC_PER_MSEC;
    if (s->cause == OUTLIER_LATENCY)
        log_warn("upstream %.*s: endpoint %.*s %s for %llu ms: latency, %.1f ms on average of "
                 "%llu requests, above %.1f ms; %u of %u are",
                 STR_FMT(conf->name), STR_FMT(e->text), what, left, (double)s->value / 1e3,
                 (unsigned long long)s->answered, (double)s->bound / 1e3, c.ejected, c.there);
    else
        log_warn("upstream %.*s: endpoint %.*s %s for %llu ms: success_rate, %.2f %% of %llu "
                 "requests, below %.2f %%; %u of %u are",
                 STR_FMT(conf->name), STR_FMT(e->text), what, left, (double)s->value / 1e4,
                 (unsigned long long)s->requests, (double)s->bound / 1e4, c.ejected, c.there);
}

/* The worst first, as long as there is room. */
static void eject_worst(struct upstream_shared *u, const struct conf_upstream *conf,
                        struct outlier_sample *samples, usec_t now)
{
    for (;;) {
        uint32_t worst = u->n_endpoints;
        for (uint32_t i = 0; i < u->n_endpoints; i++) {
            if (samples[i].cause != OUTLIER_NO_CAUSE &&
                (worst == u->n_endpoints || samples[i].badness > samples[worst].badness))
                worst = i;
        }
        if (worst == u->n_endpoints)
            return;
        struct endpoint_shared *e = u->endpoints[worst];
        if (endpoint_eject(e, u, conf, samples[worst].cause, now))
            tell(e, conf, &samples[worst], now);
        samples[worst].cause = OUTLIER_NO_CAUSE;
    }
}

static void compare(struct upstream_shared *u, const struct conf_upstream *conf, usec_t now)
{
    uint32_t n = u->n_endpoints;
    struct outlier_sample *samples = mem_alloc(max_u64(n, 1) * sizeof(*samples));
    uint64_t *scratch = mem_alloc(max_u64(n, 1) * sizeof(*scratch));
    if (samples && scratch) { /* else at the next interval */
        for (uint32_t i = 0; i < n; i++)
            sample(u->endpoints[i], conf->outlier, &samples[i]);
        outlier_compare(conf->outlier, samples, n, scratch);
        eject_worst(u, conf, samples, now);
    }
    free(samples);
    free(scratch);
}

void endpoint_look(struct upstream_shared *u, const struct conf_upstream *conf, usec_t now)
{
    bring_back(u, conf, now);
    if (!conf->outlier || now < u->looked_at + conf->outlier->interval)
        return;
    u->looked_at = now;
    compare(u, conf, now);
}
