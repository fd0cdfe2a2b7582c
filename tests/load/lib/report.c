/* report.c - counts and times, as a table or as JSON. */
#include "report.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

static const char *const failure_names[] = {
#define X(id, name) name,
    FAILURE_TABLE(X)
#undef X
};

/* 64 buckets to a doubling: within 1.6 %. */
static uint32_t bucket_of(usec_t v)
{
    if (v < LATENCY_SUB)
        return (uint32_t)v;
    uint32_t top = 63u - (uint32_t)__builtin_clzll(v);
    uint32_t b = (top - 5) * LATENCY_SUB + (uint32_t)((v >> (top - 6)) & (LATENCY_SUB - 1));
    return b < LATENCY_BUCKETS ? b : LATENCY_BUCKETS - 1;
}

static double bucket_middle(uint32_t b)
{
    if (b < LATENCY_SUB)
        return b;
    uint32_t shift = b / LATENCY_SUB - 1;
    return ((double)(LATENCY_SUB + b % LATENCY_SUB) + 0.5) * (double)(1ull << shift);
}

static void succeeded(struct report *r, usec_t now)
{
    if (r->last_success && now - r->last_success > r->longest_gap)
        r->longest_gap = now - r->last_success;
    r->last_success = now;
    if (r->outage_start) {
        if (now - r->outage_start > r->longest_outage)
            r->longest_outage = now - r->outage_start;
        r->outage_start = 0;
    }
}

static void add_latency(struct report *r, usec_t latency)
{
    r->latency[bucket_of(latency)]++;
    r->latency_sum += latency;
    if (latency > r->latency_max)
        r->latency_max = latency;
}

static void add_version(struct report *r, const char *version, uint32_t method)
{
    for (size_t i = 0; i < MAX_VERSIONS; i++) {
        struct version_count *v = &r->versions[i];
        if (v->version[0] == '\0')
            memcpy(v->version, version, sizeof(v->version));
        else if (strcmp(v->version, version) != 0)
            continue;
        v->by_method[method]++;
        return;
    }
}

static void add_word(struct report *r, const char *word)
{
    for (size_t i = 0; i < MAX_WORDS; i++) {
        struct word_count *w = &r->words[i];
        if (w->count == 0)
            memcpy(w->word, word, sizeof(w->word));
        else if (strcmp(w->word, word) != 0)
            continue;
        w->count++;
        return;
    }
}

void report_answer(struct report *r, const struct response *res, uint32_t method, usec_t latency,
                   usec_t now)
{
    r->status[res->status < 600 ? res->status : 0]++;
    if (res->version[0])
        add_version(r, res->version, method);
    if (res->by_sluice && res->status >= 400) {
        r->failed[FAILURE_PROXY_ERROR]++;
        add_word(r, res->proxy_status);
        return;
    }
    add_latency(r, latency);
    if (res->status >= 500) {
        r->app_error++;
        return;
    }
    r->answered++;
    succeeded(r, now);
}

void report_echo(struct report *r, usec_t latency, usec_t now)
{
    r->answered++;
    add_latency(r, latency);
    succeeded(r, now);
}

void report_refused(struct report *r, uint64_t *counter, usec_t now)
{
    ++*counter;
    if (!r->outage_start)
        r->outage_start = now;
}

uint64_t report_failed(const struct report *r)
{
    uint64_t n = 0;
    for (size_t i = 0; i < FAILURE_COUNT; i++)
        n += r->failed[i];
    return n;
}

static double quantile(const struct report *r, double q)
{
    uint64_t total = 0, seen = 0;
    for (size_t i = 0; i < LATENCY_BUCKETS; i++)
        total += r->latency[i];
    if (total == 0)
        return 0;
    double rank = q * (double)total;
    for (uint32_t i = 0; i < LATENCY_BUCKETS; i++) {
        seen += r->latency[i];
        if ((double)seen >= rank) {
            double v = bucket_middle(i);
            return v < (double)r->latency_max ? v : (double)r->latency_max;
        }
    }
    return (double)r->latency_max;
}

static double ms(usec_t v)
{
    return (double)v / 1000.0;
}

/* An outage that never ended lasts to the end of the run. */
static usec_t longest_outage(const struct report *r)
{
    usec_t open = r->outage_start && r->end > r->outage_start ? r->end - r->outage_start : 0;
    return open > r->longest_outage ? open : r->longest_outage;
}

static double requests_per_second(const struct report *r)
{
    double seconds = (double)(r->end - r->start) / 1e6;
    return seconds > 0 ? (double)(r->answered + r->app_error) / seconds : 0;
}

static void print_string(const char *s)
{
    (void)putchar('"');
    for (; *s; s++) {
        if (*s == '"' || *s == '\\')
            (void)printf("\\%c", *s);
        else if ((unsigned char)*s < 0x20 || (unsigned char)*s >= 0x7f)
            (void)printf("\\u%04x", (unsigned)(unsigned char)*s);
        else
            (void)putchar(*s);
    }
    (void)putchar('"');
}

static void print_json(const struct report *r, const struct options *o)
{
    const char *comma = "";
    (void)printf("{\"seconds\":%.3f,\"sent\":%" PRIu64 ",\"answered\":%" PRIu64
                 ",\"app_error\":%" PRIu64 ",\"failed\":%" PRIu64 ",\"failed_by_kind\":{",
                 (double)(r->end - r->start) / 1e6, r->sent, r->answered, r->app_error,
                 report_failed(r));
    for (size_t i = 0; i < FAILURE_COUNT; i++)
        (void)printf("%s\"%s\":%" PRIu64, i ? "," : "", failure_names[i], r->failed[i]);
    (void)printf("},\"proxy_errors\":{");
    for (size_t i = 0; i < MAX_WORDS && r->words[i].count > 0; i++) {
        (void)printf("%s", i ? "," : "");
        print_string(r->words[i].word);
        (void)printf(":%" PRIu64, r->words[i].count);
    }
    (void)printf("},\"refused\":%" PRIu64 ",\"refused_connect_timeout\":%" PRIu64
                 ",\"refused_reset\":%" PRIu64 ",\"idle_close_crossed\":%" PRIu64
                 ",\"idle_close_crossed_by_reset\":%" PRIu64 ",\"idle_closed\":%" PRIu64
                 ",\"idle_reset\":%" PRIu64 ",\"unfinished\":%" PRIu64 ",\"local_error\":%" PRIu64
                 ",\"connects\":%" PRIu64 ",\"rps\":%.1f",
                 r->refused, r->refused_timeout, r->refused_reset, r->crossed, r->crossed_by_reset,
                 r->idle_closed, r->idle_reset, r->unfinished, r->local_error, r->connects,
                 requests_per_second(r));
    (void)printf(
        ",\"latency_us\":{\"p50\":%.0f,\"p90\":%.0f,\"p99\":%.0f,\"p999\":%.0f,\"max\":%" PRIu64
        "},\"bytes_in\":%" PRIu64 ",\"bytes_out\":%" PRIu64
        ",\"longest_gap_ms\":%.3f,\"longest_outage_ms\":%.3f,\"status\":{",
        quantile(r, 0.5), quantile(r, 0.9), quantile(r, 0.99), quantile(r, 0.999), r->latency_max,
        r->bytes_in, r->bytes_out, ms(r->longest_gap), ms(longest_outage(r)));
    for (size_t i = 0; i < 600; i++) {
        if (r->status[i] > 0) {
            (void)printf("%s\"%zu\":%" PRIu64, comma, i, r->status[i]);
            comma = ",";
        }
    }
    (void)printf("},\"versions\":{");
    for (size_t i = 0; i < MAX_VERSIONS && r->versions[i].version[0]; i++) {
        const struct version_count *v = &r->versions[i];
        (void)printf("%s", i ? "," : "");
        print_string(v->version);
        (void)printf(":{\"total\":%" PRIu64, v->by_method[0] + v->by_method[1]);
        for (size_t m = 0; m < o->n_methods; m++)
            (void)printf(",\"%s\":%" PRIu64, o->request[m].method, v->by_method[m]);
        (void)printf("}");
    }
    (void)printf("}}\n");
}

static void print_table(const struct report *r, const struct options *o)
{
    (void)printf("sent                 %12" PRIu64 "   in %.2f s, %.0f answers/s\n", r->sent,
                 (double)(r->end - r->start) / 1e6, requests_per_second(r));
    (void)printf("answered             %12" PRIu64 "\n", r->answered);
    if (r->app_error)
        (void)printf("app_error            %12" PRIu64 "   5xx that the application gave\n",
                     r->app_error);
    (void)printf("failed               %12" PRIu64 "\n", report_failed(r));
    for (size_t i = 0; i < FAILURE_COUNT; i++) {
        if (r->failed[i])
            (void)printf("  %-22s %8" PRIu64 "\n", failure_names[i], r->failed[i]);
    }
    for (size_t i = 0; i < MAX_WORDS && r->words[i].count > 0; i++)
        (void)printf("    %8" PRIu64 "  %s\n", r->words[i].count, r->words[i].word);
    (void)printf("refused              %12" PRIu64 "   connects\n", r->refused);
    if (r->refused_timeout)
        (void)printf("refused (timeout)    %12" PRIu64 "\n", r->refused_timeout);
    if (r->refused_reset)
        (void)printf("refused (reset)      %12" PRIu64 "   before a byte was sent\n",
                     r->refused_reset);
    (void)printf("idle_close_crossed   %12" PRIu64 "   (%" PRIu64 " by reset)\n", r->crossed,
                 r->crossed_by_reset);
    if (r->idle_closed || r->idle_reset)
        (void)printf("idle_closed          %12" PRIu64 "   (%" PRIu64
                     " more by reset), no request on them\n",
                     r->idle_closed, r->idle_reset);
    if (r->unfinished)
        (void)printf("unfinished           %12" PRIu64 "   when the client ended\n", r->unfinished);
    if (r->local_error)
        (void)printf("local_error          %12" PRIu64 "   no port or fd on this side\n",
                     r->local_error);
    (void)printf("latency ms            p50 %.3f  p90 %.3f  p99 %.3f  p99.9 %.3f  max %.3f\n",
                 quantile(r, 0.5) / 1000, quantile(r, 0.9) / 1000, quantile(r, 0.99) / 1000,
                 quantile(r, 0.999) / 1000, ms(r->latency_max));
    (void)printf("bytes                 in %" PRIu64 "  out %" PRIu64 "   connects %" PRIu64 "\n",
                 r->bytes_in, r->bytes_out, r->connects);
    (void)printf(
        "longest gap ms        %.1f between answers; outage %.1f from a refusal to an answer\n",
        ms(r->longest_gap), ms(longest_outage(r)));
    for (size_t i = 0; i < 600; i++) {
        if (r->status[i] > 0)
            (void)printf("status %-3zu           %12" PRIu64 "\n", i, r->status[i]);
    }
    uint64_t all = 0;
    for (size_t i = 0; i < MAX_VERSIONS; i++)
        all += r->versions[i].by_method[0] + r->versions[i].by_method[1];
    for (size_t i = 0; i < MAX_VERSIONS && r->versions[i].version[0]; i++) {
        const struct version_count *v = &r->versions[i];
        uint64_t total = v->by_method[0] + v->by_method[1];
        (void)printf("version %-12s %12" PRIu64 "   %.3f %%", v->version, total,
                     100.0 * (double)total / (double)all);
        for (size_t m = 0; m < o->n_methods && o->n_methods > 1; m++)
            (void)printf("  %s %" PRIu64, o->request[m].method, v->by_method[m]);
        (void)printf("\n");
    }
}

void report_print(const struct report *r, const struct options *o)
{
    if (o->json)
        print_json(r, o);
    else if (!o->quiet)
        print_table(r, o);
    (void)fflush(stdout);
}
