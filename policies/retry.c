/* retry.c - whether a request that failed is sent once more, and when. */
#include "policies/retry.h"

#include <string.h>

const char *retry_condition_word(enum retry_condition c)
{
    static const char *const words[] = {
#define X(id, word) [RETRY_ON_##id] = (word),
        RETRY_CONDITION_TABLE(X)
#undef X
    };
    return words[c];
}

const char *retry_verdict_word(enum retry_verdict v)
{
    static const char *const words[] = {
#define X(id, word) [RETRY_##id] = (word),
        RETRY_VERDICT_TABLE(X)
#undef X
    };
    return words[v];
}

/* --- what happened --- */

/* The bits that a status of gRPC is (its "Status codes and their use"). */
static uint32_t bits_of_grpc(int code)
{
    switch (code) {
    case 1:
        return RETRY_BIT(RETRY_ON_CANCELLED);
    case 4:
        return RETRY_BIT(RETRY_ON_DEADLINE_EXCEEDED);
    case 8:
        return RETRY_BIT(RETRY_ON_RESOURCE_EXHAUSTED);
    case 13:
        return RETRY_BIT(RETRY_ON_INTERNAL);
    case 14:
        return RETRY_BIT(RETRY_ON_UNAVAILABLE);
    default:
        return 0;
    }
}

static uint32_t bits_of_status(unsigned status)
{
    if (status == 409)
        return RETRY_BIT(RETRY_ON_4XX);
    if (status < 500 || status > 599)
        return 0;
    return RETRY_BIT(RETRY_ON_5XX) |
           (status >= 502 && status <= 504 ? RETRY_BIT(RETRY_ON_GATEWAY_ERROR) : 0);
}

static uint32_t bits_of(const struct retry_failure *f)
{
    uint32_t grpc = bits_of_grpc(f->grpc), any = RETRY_BIT(RETRY_ON_5XX);
    switch (f->what) {
    case RETRY_NO_CONNECTION:
        return grpc | any | RETRY_BIT(RETRY_ON_CONNECT_FAILURE);
    case RETRY_UNPROCESSED:
        return grpc | any | RETRY_BIT(RETRY_ON_REFUSED_STREAM);
    case RETRY_NO_ANSWER:
        return grpc | any | RETRY_BIT(RETRY_ON_RESET);
    case RETRY_ANSWER:
        break;
    }
    return grpc | bits_of_status(f->status);
}

bool retry_fits(uint32_t on, const struct retry_failure *f, enum retry_condition *ret)
{
    uint32_t bits = bits_of(f) & on;
    if (bits == 0)
        return false;
    *ret = (enum retry_condition)__builtin_ctz(bits);
    return true;
}

/* --- when --- */

usec_t retry_backoff(const struct retry_rules *r, uint32_t made, uint64_t random)
{
    usec_t most = r->base;
    for (uint32_t i = 0; i < made && most < r->max; i++)
        most *= 2;
    if (most > r->max)
        most = r->max;
    /* The upper 32 bits times the range: uniform, but for less than the clock's own grain. */
    return (usec_t)(((random >> 32) * ((uint64_t)most + 1)) >> 32);
}

/* The server acted on it, perhaps. */
static bool may_have_acted(enum retry_what what)
{
    return what == RETRY_NO_ANSWER || what == RETRY_ANSWER;
}

enum retry_verdict retry_decide(const struct retry_rules *r, const struct retry_failure *f,
                                const struct retry_ask *ask, usec_t *ret_wait,
                                enum retry_condition *ret_condition)
{
    if (!retry_fits(r->on, f, ret_condition))
        return RETRY_OTHER;
    if (may_have_acted(f->what) && !(r->methods & ask->method))
        return RETRY_METHOD;
    if (ask->made >= r->attempts)
        return RETRY_ATTEMPTS;
    if (ask->told_wait == USEC_NEVER)
        return RETRY_PUSHBACK;
    usec_t wait = retry_backoff(r, ask->made, ask->random);
    if (wait < ask->told_wait)
        wait = ask->told_wait;
    if (wait >= ask->left || wait > RETRY_WAIT_MAX)
        return RETRY_DEADLINE;
    if (!ask->body_kept)
        return RETRY_BODY;
    *ret_wait = wait;
    return RETRY_YES;
}

/* --- what the server told --- */

static bool two_digits(const char *p, unsigned *ret)
{
    if (p[0] < '0' || p[0] > '9' || p[1] < '0' || p[1] > '9')
        return false;
    *ret = (unsigned)(p[0] - '0') * 10 + (unsigned)(p[1] - '0');
    return true;
}

static unsigned month_of(const char *p)
{
    static const char months[] = "JanFebMarAprMayJunJulAugSepOctNovDec";
    for (unsigned i = 0; i < 12; i++) {
        if (memcmp(p, &months[(size_t)i * 3], 3) == 0)
            return i + 1;
    }
    return 0;
}

/* Days from 1970-01-01 to the day, years from 1970 on (H. Hinnant, days_from_civil). */
static uint64_t days_to(unsigned year, unsigned month, unsigned day)
{
    unsigned y = month <= 2 ? year - 1 : year;
    unsigned era = y / 400, of_era = y % 400;
    unsigned of_year = (153 * (month > 2 ? month - 3 : month + 9) + 2) / 5 + day - 1;
    unsigned of_era_days = of_era * 365 + of_era / 4 - of_era / 100 + of_year;
    return (uint64_t)era * 146097 + of_era_days - 719468;
}

/* IMF-fixdate, "Thu, 01 Jan 2026 00:00:00 GMT"; the day's name is not compared. */
static bool parse_date(struct str v, usec_t *ret)
{
    unsigned day, century, year, hour, minute, second, month;
    if (v.n != 29 || v.p[3] != ',' || v.p[4] != ' ' || v.p[7] != ' ' || v.p[11] != ' ' ||
        v.p[16] != ' ' || v.p[19] != ':' || v.p[22] != ':' || memcmp(v.p + 25, " GMT", 4) != 0)
        return false;
    month = month_of(v.p + 8);
    if (!two_digits(v.p + 5, &day) || month == 0 || !two_digits(v.p + 12, &century) ||
        !two_digits(v.p + 14, &year) || !two_digits(v.p + 17, &hour) ||
        !two_digits(v.p + 20, &minute) || !two_digits(v.p + 23, &second))
        return false;
    year += century * 100;
    if (year < 1970 || day < 1 || day > 31 || hour > 23 || minute > 59 || second > 60)
        return false;
    *ret = (days_to(year, month, day) * 86400 + (uint64_t)hour * 3600 + (uint64_t)minute * 60 +
            second) *
           USEC_PER_SEC;
    return true;
}

usec_t retry_after(struct str value, usec_t wall)
{
    uint64_t seconds;
    usec_t at;
    if (str_to_u64(value, &seconds))
        return seconds < USEC_NEVER / USEC_PER_SEC ? seconds * USEC_PER_SEC : USEC_NEVER - 1;
    return parse_date(value, &at) && at > wall ? at - wall : 0;
}

usec_t retry_pushback(struct str value)
{
    uint64_t ms;
    if (!str_to_u64(value, &ms) || ms > INT32_MAX)
        return USEC_NEVER;
    return ms * USEC_PER_MSEC;
}
