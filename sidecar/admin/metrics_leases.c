/* metrics_leases.c - what is held, how it was released, and the journal's state. Labels are kinds,
 * results, and the hooks' names: bounded by the configuration. */
#include "admin/control.h"
#include "admin/exposition.h"

#include "lifecycle/journal.h"

typedef unsigned long long ull;

static void put_one(struct exposition *t, const char *name, const char *type, const char *help,
                    uint64_t v)
{
    metric_family(t, name, type, help);
    metric_put(t, "sluice_%s %llu\n", name, (ull)v);
}

static void put_results(struct exposition *t, const struct lease_stats *s)
{
    metric_family(t, "releases_total", "counter", "Releases that were run, by their result.");
    for (int k = 0; k < LEASE_KINDS; k++) {
        for (int r = CLEANUP_RELEASED; r < CLEANUP_RESULTS; r++)
            metric_put(t, "sluice_releases_total{kind=\"%s\",result=\"%s\"} %llu\n",
                       lease_kind_word((enum lease_kind)k),
                       cleanup_result_word((enum cleanup_result)r), (ull)s->results[k][r]);
    }
}

static void put_journal(struct exposition *t, const struct leases *ls, usec_t now)
{
    struct journal_stats s = {0};
    (void)leases_journal_stats(ls, &s);
    put_one(t, "lease_journal_records", "gauge", "Leases that are in the journal.", s.records);
    put_one(t, "lease_journal_bytes", "gauge", "Size of the journal's file.", s.bytes);
    put_one(t, "lease_journal_written_total", "counter", "Records that were written.", s.appended);
    put_one(t, "lease_journal_syncs_total", "counter", "Times that the disk was waited for.",
            s.synced);
    put_one(t, "lease_journal_failures_total", "counter", "Records that are not on disk.",
            s.failures);
    put_one(t, "lease_journal_damaged_bytes", "gauge", "Damaged when it was opened.", s.cut_bytes);
    metric_family(t, "lease_journal_lag_seconds", "gauge",
                  "Since when the oldest record waits for the disk.");
    metric_put(t, "sluice_lease_journal_lag_seconds %.6f\n",
               s.oldest_pending && now > s.oldest_pending ? (double)(now - s.oldest_pending) / 1e6
                                                          : 0.);
}

static void put_hook(void *ctx, const char *name, enum hook_event e, uint64_t good, uint64_t bad)
{
    metric_put(ctx, "sluice_hook_requests_total{hook=\"%s\",event=\"%s\",result=\"ok\"} %llu\n",
               name, hook_event_word(e), (ull)good);
    metric_put(ctx, "sluice_hook_requests_total{hook=\"%s\",event=\"%s\",result=\"failed\"} %llu\n",
               name, hook_event_word(e), (ull)bad);
}

void metrics_leases(struct exposition *t, const struct control *c)
{
    struct lease_stats s;
    usec_t now = clock_mono();
    leases_stats(c->leases, &s);
    metric_family(t, "leases_held", "gauge",
                  "Cleanups, leases and learned sessions that are held.");
    for (int k = 0; k < LEASE_KINDS; k++)
        metric_put(t, "sluice_leases_held{kind=\"%s\"} %llu\n", lease_kind_word((enum lease_kind)k),
                   (ull)s.held[k]);
    put_one(t, "leases_releasing", "gauge", "Those whose release is due or under way.", s.waiting);
    metric_family(t, "leases_oldest_seconds", "gauge", "Age of the oldest that is held.");
    metric_put(t, "sluice_leases_oldest_seconds %.3f\n",
               s.oldest && now > s.oldest ? (double)(now - s.oldest) / 1e6 : 0.);
    put_results(t, &s);
    put_one(t, "leases_forgotten_total", "counter", "Those whose own release was seen going by.",
            s.forgotten);
    put_one(t, "leases_expired_total", "counter", "Those whose time to live passed.", s.expired);
    put_one(t, "leases_renewed_total", "counter", "Heartbeats.", s.renewed);
    put_one(t, "leases_refused_total", "counter",
            "Those that were not taken: too many, or a drain.", s.refused);
    put_one(t, "leases_journal_refused_total", "counter", "Those that the journal could not take.",
            s.journal_refused);
    put_one(t, "releases_retried_total", "counter", "Runs that failed and will be tried again.",
            s.retried);
    put_one(t, "leases_unread_total", "counter",
            "Those of an earlier process that could not be held again.", s.unread);
    put_journal(t, c->leases, now);
    metric_family(t, "hook_requests_total", "counter", "Requests of hooks, by their result.");
    hooks_each(c->hooks, put_hook, t);
}
