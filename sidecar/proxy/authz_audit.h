/* authz_audit.h - who was refused by a route's authz, a line each in the log; never with what the
 * token is or says. A worker tells so many a second, and how many it did not tell: who is refused
 * makes up requests as fast as he likes. */
#ifndef SLUICE_PROXY_AUTHZ_AUDIT_H
#define SLUICE_PROXY_AUTHZ_AUDIT_H

#include "base/clock.h"
#include "base/outcome.h"

struct stream;

enum { AUTHZ_AUDIT_LINES = 10 }; /* a second */

/* A worker's. */
struct authz_audit {
    usec_t since; /* when the first of these was told */
    uint32_t told;
    uint64_t untold; /* since the last one that was */
};

struct authz_refusal {
    enum reason reason;
    const char *detail; /* a literal, or NULL */
    struct str issuer;  /* the name in the configuration of who should have signed; empty: nobody */
    bool dry_run;
};

void authz_audit(struct stream *s, const struct authz_refusal *r);

#endif
