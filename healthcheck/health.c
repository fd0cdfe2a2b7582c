/* health.c - rise and fall. */
#include "healthcheck/health.h"

#include "base/check.h"

#include <stdio.h>

static const struct {
    const char *word;
    bool well;
    const char *meaning;
} words[] = {
#define X(id, word, well, meaning) {word, well, meaning},
    CHECK_TABLE(X)
#undef X
};

const char *check_word(enum check_word w)
{
    return words[w].word;
}

const char *check_meaning(enum check_word w)
{
    return words[w].meaning;
}

bool check_well(enum check_word w)
{
    return words[w].well;
}

char *check_text(const struct check_result *r, char out[CHECK_TEXT_MAX])
{
    bool coded = r->code != 0 || r->word == CHECK_PROCERR;
    (void)snprintf(out, CHECK_TEXT_MAX, coded ? "%s/%u" : "%s", words[r->word].word, r->code);
    return out;
}

void health_init(struct health *h, const struct health_rules *r, usec_t now)
{
    *h = (struct health){.healthy = !r->initially_unhealthy, .since = now};
}

void health_begin_anew(struct health *h)
{
    h->streak = 0;
    h->skipped = 0;
}

bool health_note(struct health *h, const struct health_rules *r, const struct check_result *result,
                 usec_t now)
{
    bool well = check_well(result->word);
    h->last = *result;
    h->checked_at = now;
    h->skipped = 0;
    if (result->word == CHECK_SOCKERR) /* it was not asked */
        return false;
    h->passed += well;
    h->failed += !well;
    if (well == h->healthy) {
        h->streak = 0;
        return false;
    }
    if (++h->streak < (well ? r->rise : r->fall))
        return false;
    h->healthy = well;
    h->streak = 0;
    h->since = now;
    h->changes++;
    return true;
}

/* Nothing speaks against it, and the last check has said so. */
static bool is_steady(const struct health *h)
{
    return h->healthy && h->streak == 0 && check_well(h->last.word);
}

bool health_skip(struct health *h, const struct health_rules *r, bool served)
{
    if (!served || !r->skip_while_serving || !is_steady(h) || h->skipped >= HEALTH_SKIPS)
        return false;
    h->skipped++;
    return true;
}

usec_t health_wait(const struct health *h, const struct health_rules *r, uint32_t random)
{
    bool quick = !h->healthy || h->streak > 0;
    usec_t wait = quick ? min_u64(r->unhealthy_interval, r->interval) : r->interval;
    usec_t most = wait / 100 * r->jitter;
    return wait - most + ((random >> 16) * (2 * most + 1) >> 16);
}

usec_t health_first_wait(const struct health_rules *r, uint32_t i, uint32_t n)
{
    return n > 0 ? r->interval / n * i : 0;
}
