/* redact.h - what of a request a log may tell: sensitive values as salted hashes.
 *
 * Which values: whole fields of the log, and those of query parameters by their names, and of path
 * parameters (/app;jsessionid=x). Names are compared without case and as an application decodes
 * them, so that %74oken is token. The same value gives the same hash, so that a session can be
 * followed through a log by who cannot use it.
 *
 * Pure: the hash is an argument, bytes in and bytes out. */
#ifndef SLUICE_POLICIES_REDACT_H
#define SLUICE_POLICIES_REDACT_H

#include "base/str.h"

#include <stdint.h>

enum {
    REDACT_HASH_LEN = 16, /* hex digits */
    REDACT_LEN = 23,      /* "sha256:" and these */
    REDACT_NAMES_MAX = 256,
};

/* What a record tells of a request, as far as a peer has said it. X(id, name in the record) */
#define REDACT_FIELD_TABLE(X)                                                                      \
    X(CLIENT, "client")                                                                            \
    X(PEER, "peer")                                                                                \
    X(HOST, "host")                                                                                \
    X(PATH, "path")                                                                                \
    X(QUERY, "query")                                                                              \
    X(REQUEST_ID, "request_id")                                                                    \
    X(USER_AGENT, "user_agent")                                                                    \
    X(SNI, "sni")                                                                                  \
    X(SPIFFE_ID, "spiffe_id")

enum redact_field {
    REDACT_NOTHING,
#define X(id, name) REDACT_##id,
    REDACT_FIELD_TABLE(X)
#undef X
        REDACT_FIELDS,
};

struct redact_rules {
    uint32_t fields;  /* bits: enum redact_field, redacted as a whole */
    uint32_t n_names; /* of parameters; 0: none is redacted */
    const struct str *names;
};

/* Sixteen hex digits of it. */
struct redact_hash {
    void (*fn)(const void *ctx, struct str value, char out[REDACT_HASH_LEN]);
    const void *ctx;
};

/* The names that are redacted where nothing else is said. */
extern const struct str redact_default_names[];
extern const uint32_t redact_default_names_n;

/* A text with n bytes becomes at most this long. */
#define REDACT_BOUND(n) ((n) * (REDACT_LEN + 3) / 3 + REDACT_LEN)

/* What the log tells in the place of `text` (a query without its `?`), which may be cut at its end:
 * at out, which has REDACT_BOUND() bytes, or the text itself where nothing in it is sensitive.
 * *redacted grows by the values that were redacted. */
struct str redact(const struct redact_rules *r, const struct redact_hash *h,
                  enum redact_field field, struct str text, char *out, uint64_t *redacted);

#endif
