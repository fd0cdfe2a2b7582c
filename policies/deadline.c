/* deadline.c - X-Request-Deadline: a point in time that a request is given to its end. */
#include "policies/deadline.h"

#include <errno.h>
#include <stdio.h>

enum { WHOLE_DIGITS = 10, FRACTION_DIGITS = 9, MICRO_DIGITS = 6 };

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

int deadline_parse(struct str value, usec_t *ret_wall)
{
    size_t i = 0;
    usec_t whole = 0, micro = 0;
    for (; i < value.n && i < WHOLE_DIGITS && is_digit(value.p[i]); i++)
        whole = whole * 10 + (usec_t)(value.p[i] - '0');
    if (i == 0)
        return -EINVAL;
    if (i < value.n) {
        size_t begin = i + 1, n = value.n - begin;
        if (value.p[i] != '.' || n == 0 || n > FRACTION_DIGITS)
            return -EINVAL;
        for (size_t k = 0; k < n; k++) {
            if (!is_digit(value.p[begin + k]))
                return -EINVAL;
        }
        for (size_t k = 0; k < MICRO_DIGITS; k++)
            micro = micro * 10 + (k < n ? (usec_t)(value.p[begin + k] - '0') : 0);
    }
    *ret_wall = whole * USEC_PER_SEC + micro;
    return 0;
}

struct str deadline_format(usec_t wall, char out[DEADLINE_LEN])
{
    int n = snprintf(out, DEADLINE_LEN, "%llu.%06llu", (unsigned long long)(wall / USEC_PER_SEC),
                     (unsigned long long)(wall % USEC_PER_SEC));
    return (struct str){out, n > 0 ? (size_t)n : 0};
}
