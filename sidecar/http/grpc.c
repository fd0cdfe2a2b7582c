/* grpc.c - what gRPC says by HTTP/2's fields. */
#include "http/grpc.h"

#include "base/check.h"

#include <errno.h>

enum { TIMEOUT_DIGITS = 8, TIMEOUT_MOST = 99999999 };

const char *grpc_code_word(enum grpc_code c)
{
    static const char *const words[GRPC_CODES] = {
        [GRPC_OK] = "OK",
        [GRPC_CANCELLED] = "CANCELLED",
        [GRPC_UNKNOWN] = "UNKNOWN",
        [GRPC_INVALID_ARGUMENT] = "INVALID_ARGUMENT",
        [GRPC_DEADLINE_EXCEEDED] = "DEADLINE_EXCEEDED",
        [GRPC_NOT_FOUND] = "NOT_FOUND",
        [GRPC_ALREADY_EXISTS] = "ALREADY_EXISTS",
        [GRPC_PERMISSION_DENIED] = "PERMISSION_DENIED",
        [GRPC_RESOURCE_EXHAUSTED] = "RESOURCE_EXHAUSTED",
        [GRPC_FAILED_PRECONDITION] = "FAILED_PRECONDITION",
        [GRPC_ABORTED] = "ABORTED",
        [GRPC_OUT_OF_RANGE] = "OUT_OF_RANGE",
        [GRPC_UNIMPLEMENTED] = "UNIMPLEMENTED",
        [GRPC_INTERNAL] = "INTERNAL",
        [GRPC_UNAVAILABLE] = "UNAVAILABLE",
        [GRPC_DATA_LOSS] = "DATA_LOSS",
        [GRPC_UNAUTHENTICATED] = "UNAUTHENTICATED",
    };
    CHECK(c < GRPC_CODES);
    return words[c];
}

bool grpc_is_content_type(struct str v)
{
    const struct str name = STR("application/grpc");
    return v.n >= name.n && str_ieq((struct str){v.p, name.n}, name) &&
           (v.n == name.n || v.p[name.n] == '+' || v.p[name.n] == ';');
}

enum grpc_code grpc_code_of_http(unsigned status)
{
    switch (status) {
    case 400:
        return GRPC_INTERNAL;
    case 401:
        return GRPC_UNAUTHENTICATED;
    case 403:
        return GRPC_PERMISSION_DENIED;
    case 404:
        return GRPC_UNIMPLEMENTED;
    case 429:
    case 502:
    case 503:
    case 504:
        return GRPC_UNAVAILABLE;
    default:
        return GRPC_UNKNOWN;
    }
}

/* UNAVAILABLE is what clients repeat without asking: only for what the server's application has not
 * answered, or for a stream that is to be opened again. */
enum grpc_code grpc_code_of_reason(enum reason reason)
{
    switch (reason) {
    case REASON_NONE:
        return GRPC_OK;
    case REASON_CLIENT_TIMEOUT:
    case REASON_CLIENT_ABORT:
        return GRPC_CANCELLED;
    case REASON_DEADLINE:
    case REASON_FIRST_BYTE_TIMEOUT:
    case REASON_TRY_TIMEOUT:
        return GRPC_DEADLINE_EXCEEDED;
    case REASON_OUT_OF_MEMORY:
    case REASON_RATE_LIMITED:
    case REASON_HEADERS_TOO_LARGE:
        return GRPC_RESOURCE_EXHAUSTED;
    case REASON_UPSTREAM_PROTOCOL:
    case REASON_UPSTREAM_HEADERS_TOO_LARGE:
    case REASON_UPGRADE_FAILED:
        return GRPC_INTERNAL;
    case REASON_FORCED:
    case REASON_ROUTE_REMOVED:
        return GRPC_UNAVAILABLE;
    default:
        break;
    }
    /* 502 to 504, 404 and 400 as a client would take them; what is left breaks a protocol. */
    enum grpc_code c = grpc_code_of_http(reason_table[reason].status);
    return c == GRPC_UNKNOWN ? GRPC_INTERNAL : c;
}

enum grpc_code grpc_code_parse(struct str v)
{
    unsigned n = 0;
    if (v.n == 0 || v.n > 2)
        return GRPC_UNKNOWN;
    for (size_t i = 0; i < v.n; i++) {
        if (v.p[i] < '0' || v.p[i] > '9')
            return GRPC_UNKNOWN;
        n = n * 10 + (unsigned)(v.p[i] - '0');
    }
    return n < GRPC_CODES ? (enum grpc_code)n : GRPC_UNKNOWN;
}

/* Finest first. Nanoseconds are not written: the clock has none. */
static const struct {
    char letter;
    usec_t usec;
} units[] = {
    {'u', 1},
    {'m', USEC_PER_MSEC},
    {'S', USEC_PER_SEC},
    {'M', 60 * USEC_PER_SEC},
    {'H', 3600 * USEC_PER_SEC},
};

int grpc_timeout_parse(struct str v, usec_t *ret)
{
    usec_t n = 0;
    if (v.n < 2 || v.n > TIMEOUT_DIGITS + 1)
        return -EINVAL;
    for (size_t i = 0; i + 1 < v.n; i++) {
        if (v.p[i] < '0' || v.p[i] > '9')
            return -EINVAL;
        n = n * 10 + (usec_t)(v.p[i] - '0');
    }
    char unit = v.p[v.n - 1];
    if (unit == 'n') {
        *ret = n / 1000;
        return 0;
    }
    for (size_t i = 0; i < ARRAY_LEN(units); i++) {
        if (units[i].letter == unit) {
            *ret = n * units[i].usec;
            return 0;
        }
    }
    return -EINVAL;
}

struct str grpc_timeout_format(usec_t t, char out[GRPC_TIMEOUT_LEN])
{
    size_t u = 0;
    while (u + 1 < ARRAY_LEN(units) && t / units[u].usec > TIMEOUT_MOST)
        u++;
    usec_t n = min_u64(t / units[u].usec, TIMEOUT_MOST);
    char *at = out + GRPC_TIMEOUT_LEN - 1;
    *at = '\0';
    *--at = units[u].letter;
    const char *end = at + 1;
    do
        *--at = (char)('0' + n % 10);
    while ((n /= 10) > 0);
    return (struct str){at, (size_t)(end - at)};
}

struct str grpc_message_encode(struct str text, char *out, size_t cap)
{
    static const char hex[] = "0123456789ABCDEF";
    size_t n = 0;
    for (size_t i = 0; i < text.n; i++) {
        unsigned char c = (unsigned char)text.p[i];
        bool plain = c >= 0x20 && c <= 0x7e && c != '%';
        if (cap - n < (plain ? 1u : 3u))
            break;
        if (plain) {
            out[n++] = (char)c;
            continue;
        }
        out[n++] = '%';
        out[n++] = hex[c >> 4];
        out[n++] = hex[c & 15];
    }
    return (struct str){out, n};
}
