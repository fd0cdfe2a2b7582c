/* tls_hello.h - a TLS ClientHello's server name, read and not answered (RFC 8446 §4.1.2, RFC 6066
 * §3): for passing a connection through by what it asks for. Pure. */
#ifndef SLUICE_HTTP_TLS_HELLO_H
#define SLUICE_HTTP_TLS_HELLO_H

#include "base/str.h"

#include <stdint.h>

enum {
    TLS_HELLO_MAX = 16 * 1024, /* all records of it */
    TLS_HELLO_NAME_MAX = 255,
};

enum tls_hello_result {
    TLS_HELLO_MORE, /* what is there is a beginning of one */
    TLS_HELLO_DONE,
    TLS_HELLO_NOT_TLS, /* the first bytes are no handshake record */
    TLS_HELLO_BAD,     /* lengths that do not fit, two names, a name that is none */
};

struct tls_hello {
    size_t name_len; /* 0: it names no server */
    char name[TLS_HELLO_NAME_MAX + 1];
};

/* Reads what has come so far, from the connection's first byte; n above TLS_HELLO_MAX is not looked
 * at, and TLS_HELLO_MORE with so many bytes means that it is too long. It may be in any number of
 * records. The name is in lower case, and only letters, digits, "-", "_" and ".". */
enum tls_hello_result tls_hello_read(const char *p, size_t n, struct tls_hello *ret);

#endif
