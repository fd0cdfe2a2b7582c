/* format.h - what a string of the configuration must look like. */
#ifndef SLUICE_CONFIG_FORMAT_H
#define SLUICE_CONFIG_FORMAT_H

#include "base/str.h"

enum format {
    FORMAT_LINE,         /* any text without control characters, not empty */
    FORMAT_VALUE,        /* the same; may be empty */
    FORMAT_TEXT,         /* anything, may be empty: a body */
    FORMAT_LABEL,        /* [a-z0-9-]{1,63} */
    FORMAT_NAME,         /* [A-Za-z0-9._-]{1,63} */
    FORMAT_FILE,         /* a file's path */
    FORMAT_SOCKET,       /* an absolute path that fits a Unix socket's address */
    FORMAT_PATH,         /* of a URL: absolute, in its normal form, without query */
    FORMAT_TARGET,       /* of a request of ours: absolute, perhaps with a query */
    FORMAT_HOST_PATTERN, /* example.com, *.example.com, 192.0.2.1, [::1] */
    FORMAT_HOST,         /* example.com, [::1] */
    FORMAT_HOST_PORT,    /* the same, perhaps with :port */
    FORMAT_TOKEN,        /* RFC 9110 §5.6.2 */
    FORMAT_METHOD,       /* a token in capitals */
    FORMAT_PSEUDONYM,    /* what Via calls us: RFC 9110 §7.6.3 */
    FORMAT_MEDIA_TYPE,   /* text/plain; charset=utf-8 */
    FORMAT_URL,          /* http:// or https://, for a request of ours */
    FORMAT_PERCENT,      /* 0 to 100, with at most four decimals */
    FORMAT_SPIFFE_RULE,  /* a SPIFFE id, or all below one: io/tls.h */
};

/* NULL: it does. Otherwise a literal to stand behind "expected". */
const char *format_check(enum format format, struct str s);

#endif
