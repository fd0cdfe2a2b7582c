/* cleanup_try.c - exponential backoff with full jitter, between 100 ms and 5 s. */
#include "lifecycle/cleanup_try.h"

#include "base/check.h"

const char *cleanup_result_word(enum cleanup_result r)
{
    static const char *const words[CLEANUP_RESULTS] = {
        [CLEANUP_PENDING] = "pending",
        [CLEANUP_RELEASED] = "released",
        [CLEANUP_ALREADY_GONE] = "already_gone",
        [CLEANUP_FAILED] = "failed",
    };
    return words[r];
}

enum cleanup_verdict cleanup_judge(unsigned status)
{
    if (status >= 200 && status <= 299)
        return CLEANUP_SAYS_RELEASED;
    if (status == 404 || status == 410)
        return CLEANUP_SAYS_GONE;
    if (status < 200 || status >= 500 || status == 408 || status == 425 || status == 429)
        return CLEANUP_SAYS_AGAIN;
    return CLEANUP_SAYS_NO;
}

static usec_t widest(uint32_t tries)
{
    usec_t most = CLEANUP_BACKOFF_FIRST;
    for (uint32_t i = 1; i < tries && most < CLEANUP_BACKOFF_MOST; i++)
        most *= 2;
    return min_u64(most, CLEANUP_BACKOFF_MOST);
}

usec_t cleanup_backoff(uint32_t tries, uint64_t random)
{
    return random % (widest(tries) + 1);
}

usec_t cleanup_try_again(const struct cleanup_action *a, uint32_t tries, usec_t now,
                         usec_t deadline, usec_t retry_after, uint64_t random)
{
    if (tries > a->retries)
        return 0;
    usec_t at =
        now + max_u64(cleanup_backoff(tries, random), min_u64(retry_after, CLEANUP_BACKOFF_MOST));
    return at < deadline ? at : 0;
}

usec_t cleanup_longest(const struct cleanup_action *a)
{
    usec_t sum = a->timeout;
    for (uint32_t i = 1; i <= a->retries; i++)
        sum += CLEANUP_BACKOFF_MOST + a->timeout;
    return sum;
}
