/* breaker_tell.c - the line of the log for each change of a circuit breaker's state. */
#include "proxy/breaker_tell.h"

#include "base/log.h"

#include <stdio.h>

enum { WHY_MAX = 96 };

typedef unsigned long long ull;

static const char *why(const struct breaker_change *c, char *out)
{
    switch (c->cause) {
    case BREAKER_CONSECUTIVE:
        (void)snprintf(out, WHY_MAX, "%llu errors in a row", (ull)c->bad);
        return out;
    case BREAKER_ERROR_RATE:
        (void)snprintf(out, WHY_MAX, "%llu of the last %llu requests failed", (ull)c->bad,
                       (ull)c->calls);
        return out;
    case BREAKER_SLOW_CALLS:
        (void)snprintf(out, WHY_MAX, "%llu of the last %llu requests were slow", (ull)c->bad,
                       (ull)c->calls);
        return out;
    case BREAKER_PROBE_FAILED:
        return "the probe failed";
    case BREAKER_PROBE_TIMEOUT:
        return "the probe had no answer in time";
    default:
        return "by an operator";
    }
}

void breaker_tell(struct str upstream, const struct breaker_rules *r,
                  const struct breaker_change *c)
{
    char text[WHY_MAX];
    const char *dry = r->dry_run ? " (dryRun)" : "";
    if (!c->happened)
        return;
    switch (c->to) {
    case BREAKER_OPEN:
        log_warn("upstream %.*s: circuit breaker opened for %.1f s: %s%s", STR_FMT(upstream),
                 (double)c->open_for / 1e6, why(c, text), dry);
        break;
    case BREAKER_FORCED:
        log_warn("upstream %.*s: circuit breaker opened %s, until it is reset", STR_FMT(upstream),
                 why(c, text));
        break;
    case BREAKER_HALF_OPEN:
        log_info("upstream %.*s: circuit breaker half-open: one request at a time goes through%s",
                 STR_FMT(upstream), dry);
        break;
    default:
        if (c->from == BREAKER_HALF_OPEN && c->successes > 0)
            log_info("upstream %.*s: circuit breaker closed: %u probe%s went well%s",
                     STR_FMT(upstream), (unsigned)c->successes, c->successes == 1 ? "" : "s", dry);
        else
            log_info("upstream %.*s: circuit breaker closed by an operator", STR_FMT(upstream));
    }
}
