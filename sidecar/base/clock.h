/* clock.h - microseconds, monotonic for everything that is decided, wall time for what is shown. */
#ifndef SLUICE_BASE_CLOCK_H
#define SLUICE_BASE_CLOCK_H

#include <stddef.h>
#include <stdint.h>
#include <time.h>

/* A point on the monotonic clock, or a length of time; in microseconds. 0 means "none". */
typedef uint64_t usec_t;

#define USEC_PER_MSEC ((usec_t)1000)
#define USEC_PER_SEC  ((usec_t)1000000)
#define USEC_NEVER    UINT64_MAX

static inline usec_t clock_timespec_usec(const struct timespec *ts)
{
    return (usec_t)ts->tv_sec * USEC_PER_SEC + (usec_t)ts->tv_nsec / 1000;
}

/* CLOCK_MONOTONIC: timers, deadlines, ages, latencies. */
static inline usec_t clock_mono(void)
{
    struct timespec ts;
    (void)clock_gettime(CLOCK_MONOTONIC, &ts);
    return clock_timespec_usec(&ts);
}

/* CLOCK_REALTIME: log lines, Date fields, certificates and tokens only. */
static inline usec_t clock_wall(void)
{
    struct timespec ts;
    (void)clock_gettime(CLOCK_REALTIME, &ts);
    return clock_timespec_usec(&ts);
}

/* Since 1970, up to a tick of the kernel's late: where seconds are enough, as in tokens. */
static inline int64_t clock_wall_seconds(void)
{
    struct timespec ts;
    (void)clock_gettime(CLOCK_REALTIME_COARSE, &ts);
    return (int64_t)ts.tv_sec;
}

#define CLOCK_RFC3339_LEN sizeof("2026-01-01T00:00:00.000Z")
#define CLOCK_HTTP_LEN    sizeof("Thu, 01 Jan 2026 00:00:00 GMT")

/* Writes UTC with milliseconds; out has CLOCK_RFC3339_LEN bytes. */
void clock_format_rfc3339(usec_t wall, char *out);
/* Writes an IMF-fixdate (RFC 9110 §5.6.7); out has CLOCK_HTTP_LEN bytes. */
void clock_format_http(usec_t wall, char *out);

#endif
