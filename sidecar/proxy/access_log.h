/* access_log.h - one JSON line a request, written in batches off the request's way.
 *
 * A worker copies what it knows into a ring of its own; the control thread makes text of it and
 * writes. A full ring drops the record and counts it: traffic never waits for a disk. */
#ifndef SLUICE_PROXY_ACCESS_LOG_H
#define SLUICE_PROXY_ACCESS_LOG_H

#include "base/outcome.h"
#include "config/config.h"

#include <stdatomic.h>

struct stream;
struct access_ring;
struct access_log;
struct access_redact;

/* One for each worker; bytes is rounded up to a power of two. NULL when memory is short. */
struct access_ring *access_ring_new(uint32_t bytes);
struct access_ring *access_ring_free(struct access_ring *r);
/* On the worker. Drops the record when there is no room. */
void access_ring_add(struct access_ring *r, const struct stream *s, const struct outcome *o);
uint64_t access_ring_dropped(const struct access_ring *r);

/* On the control thread. The file is opened for appending; NULL with a negative errno in
 * *ret_error. `redact` is taken over in any case. `lenient`: without a file it loses what comes,
 * and counts it, until it is opened anew; *ret_error says why (0: it has one). */
struct access_log *access_log_open(const char *path, struct access_ring **rings, uint32_t n_rings,
                                   struct access_redact *redact, bool lenient, int *ret_error);
/* Takes what the rings hold and writes it. Returns true when there was anything. */
bool access_log_drain(struct access_log *l);
/* SIGUSR1: the path is opened anew (after a rotation). 0 or -errno, when the old file stays. */
int access_log_reopen(struct access_log *l);
/* Tells what comes from now on by these rules; what the rings hold is told by those before. Taken
 * over. */
void access_log_redact_by(struct access_log *l, struct access_redact *redact);
bool access_log_salt_stands_in(const struct access_log *l);   /* access_redact_stands_in() */
uint64_t access_log_redacted(const struct access_log *l);     /* values that were told as hashes */
uint64_t access_log_write_errors(const struct access_log *l); /* records lost to a failing disk */
struct access_log *access_log_close(struct access_log *l);

#endif
