/* clock.c - times as people and HTTP write them. */
#include "base/clock.h"

#include <stdio.h>

void clock_format_rfc3339(usec_t wall, char *out)
{
    time_t secs = (time_t)(wall / USEC_PER_SEC);
    struct tm tm;
    char day[32];
    (void)gmtime_r(&secs, &tm);
    (void)strftime(day, sizeof(day), "%Y-%m-%dT%H:%M:%S", &tm);
    (void)snprintf(out, CLOCK_RFC3339_LEN, "%.19s.%03uZ", day,
                   (unsigned)(wall % USEC_PER_SEC / USEC_PER_MSEC));
}

void clock_format_http(usec_t wall, char *out)
{
    static const char days[7][4] = {"Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"};
    static const char months[12][4] = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                       "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
    time_t secs = (time_t)(wall / USEC_PER_SEC);
    struct tm tm;
    (void)gmtime_r(&secs, &tm);
    /* strftime's %a and %b follow the locale, which HTTP does not. */
    (void)snprintf(out, CLOCK_HTTP_LEN, "%s, %02u %s %04u %02u:%02u:%02u GMT", days[tm.tm_wday % 7],
                   (unsigned)tm.tm_mday % 100, months[tm.tm_mon % 12],
                   (unsigned)(tm.tm_year + 1900) % 10000, (unsigned)tm.tm_hour % 100,
                   (unsigned)tm.tm_min % 100, (unsigned)tm.tm_sec % 100);
}
