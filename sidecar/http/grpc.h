/* grpc.h - what gRPC says by HTTP/2's fields: status, message and timeout.
 *
 * Pure. "PROTOCOL-HTTP2" and "http-grpc-status-mapping" are documents of github.com/grpc/grpc,
 * doc/. */
#ifndef SLUICE_HTTP_GRPC_H
#define SLUICE_HTTP_GRPC_H

#include "base/clock.h"
#include "base/outcome.h"
#include "base/str.h"

enum grpc_code {
    GRPC_OK = 0,
    GRPC_CANCELLED = 1,
    GRPC_UNKNOWN = 2,
    GRPC_INVALID_ARGUMENT = 3,
    GRPC_DEADLINE_EXCEEDED = 4,
    GRPC_NOT_FOUND = 5,
    GRPC_ALREADY_EXISTS = 6,
    GRPC_PERMISSION_DENIED = 7,
    GRPC_RESOURCE_EXHAUSTED = 8,
    GRPC_FAILED_PRECONDITION = 9,
    GRPC_ABORTED = 10,
    GRPC_OUT_OF_RANGE = 11,
    GRPC_UNIMPLEMENTED = 12,
    GRPC_INTERNAL = 13,
    GRPC_UNAVAILABLE = 14,
    GRPC_DATA_LOSS = 15,
    GRPC_UNAUTHENTICATED = 16,
    GRPC_CODES,
};

/* "OK", "CANCELLED" and so on. */
const char *grpc_code_word(enum grpc_code c);
/* application/grpc, with +proto or ;charset=... behind it; not application/grpc-web. */
bool grpc_is_content_type(struct str value);
/* What a client makes of an HTTP status where grpc-status is missing (http-grpc-status-mapping);
 * for 200 that is UNKNOWN. */
enum grpc_code grpc_code_of_http(unsigned status);
/* What a client is told of an end that sluice made; OK for REASON_NONE. */
enum grpc_code grpc_code_of_reason(enum reason reason);
/* The value of a grpc-status field; UNKNOWN for one that is no number, or none of these. */
enum grpc_code grpc_code_parse(struct str value);

/* The value of grpc-timeout, rounded down; the largest is some 11,000 years. 0, or -EINVAL: not 1
 * to 8 digits and a unit (H M S m u n). */
int grpc_timeout_parse(struct str value, usec_t *ret);

/* With the terminating NUL. */
enum { GRPC_TIMEOUT_LEN = 10 };

/* The same time or, for want of digits, a bit less. */
struct str grpc_timeout_format(usec_t t, char out[GRPC_TIMEOUT_LEN]);

/* grpc-message is percent-encoded; n bytes become 3n at the most. What does not fit into `cap`
 * bytes is cut, never within an escape. */
struct str grpc_message_encode(struct str text, char *out, size_t cap);

#endif
