/* exposition.h - text in Prometheus' exposition format 0.0.4 while it is put together. */
#ifndef SLUICE_ADMIN_EXPOSITION_H
#define SLUICE_ADMIN_EXPOSITION_H

#include "base/check.h"

#include <stdbool.h>
#include <stddef.h>

/* Zeros at first; `p` is freed by who owns it. */
struct exposition {
    char *p;
    size_t len, cap;
    bool failed; /* memory was short: what is there is not whole */
};

/* A line of at most 511 bytes. */
void metric_put(struct exposition *t, const char *fmt, ...) PRINTF_LIKE(2, 3);
/* HELP and TYPE of sluice_<name>, in front of its samples. */
void metric_family(struct exposition *t, const char *name, const char *type, const char *help);

#endif
