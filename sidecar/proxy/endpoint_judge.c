/* endpoint_judge.c - outlier detection on a worker: what a try said is counted, and failures in a
 * row eject. What needs comparing with others is endpoint_look.c's. */
#include "proxy/endpoint.h"

#include "proxy/endpoint_look.h"
#include "proxy/pool.h"
#include "proxy/worker.h"

static void count(struct endpoint_stats *stats, enum result r, usec_t latency)
{
    count_add(&stats->judged, 1);
    if (result_failed(r))
        count_add(&stats->failed, 1);
    if (latency > 0) {
        count_add(&stats->answered, 1);
        count_add(&stats->latency_us, (int64_t)latency);
    }
}

void endpoint_judge(struct endpoint *e, enum result r, usec_t latency)
{
    const struct conf_upstream *conf = e->pool->conf;
    struct endpoint_shared *shared = e->shared;
    count(e->stats, r, latency);
    /* While it is ejected: it was sent before, or there is nobody better. */
    if (standing_word(&shared->standing) & STANDING_EJECTIONS)
        return;
    enum outlier_cause cause = outlier_report(&shared->outlier, conf->outlier, r);
    if (cause == OUTLIER_NO_CAUSE)
        return;
    if (endpoint_eject(shared, e->pool->shared, conf, cause, e->pool->worker->loop.now)) {
        struct standing_counts c = standing_read(shared->group);
        log_warn("upstream %.*s: endpoint %.*s %s for %llu ms: %s, %u in a row; %u of %u are",
                 STR_FMT(conf->name), STR_FMT(shared->text),
                 conf->outlier->dry_run ? "would be ejected (dryRun)" : "is ejected",
                 (unsigned long long)(outlier_left(&shared->outlier, e->pool->worker->loop.now) /
                                      USEC_PER_MSEC),
                 outlier_cause_word(cause), conf->outlier->consecutive[cause], c.ejected, c.there);
    } else {
        count_add(&e->pool->stats->ejections_refused, 1);
    }
}
