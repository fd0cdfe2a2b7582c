/* leak_watch.h - samples what the application takes (app_usage.h), and tells when it takes more and
 * more (policies/leak.h). On the control thread.
 *
 * Nothing is read while its process is not known. Another process begins anew. */
#ifndef SLUICE_LIFECYCLE_LEAK_WATCH_H
#define SLUICE_LIFECYCLE_LEAK_WATCH_H

#include "policies/leak.h"

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

struct leak_watch;
struct loop;

struct leak_watch_source {
    pid_t (*pid)(void *ctx);            /* of the application; 0: not known */
    uint64_t (*connections)(void *ctx); /* that it holds with us, in either direction */
    void *ctx;
};

/* NULL when memory is short. It samples from the first configure() on. */
struct leak_watch *leak_watch_new(struct loop *loop, const struct leak_watch_source *source);
/* NULL is harmless; returns NULL. */
struct leak_watch *leak_watch_free(struct leak_watch *w);
/* Any time. Another interval or window begins anew; another threshold does not. */
void leak_watch_configure(struct leak_watch *w, const struct leak_rules *rules);
void leak_watch_stop(struct leak_watch *w);

/* The last sample; false: there is none of a process that lives. */
bool leak_watch_usage(const struct leak_watch *w, uint64_t ret[LEAK_RESOURCES],
                      uint32_t *ret_processes);
bool leak_watch_suspects(const struct leak_watch *w, enum leak_resource r);
/* Since our start, of all its processes. */
uint64_t leak_watch_reports(const struct leak_watch *w, enum leak_resource r);

/* For /v1/status; null when it is off, NULL when memory is short. */
json_t *leak_watch_json(const struct leak_watch *w);

#endif
