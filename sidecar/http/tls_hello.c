/* tls_hello.c - a TLS ClientHello's server name, read and not answered. */
#include "http/tls_hello.h"

enum {
    RECORD_HEADER = 5,
    RECORD_HANDSHAKE = 22,
    RECORD_MAX = 1 << 14,
    CLIENT_HELLO = 1,
    SESSION_ID_MAX = 32,
    EXTENSION_SERVER_NAME = 0,
    NAME_HOST = 0,
};

/* The handshake message, through the records that carry it. */
struct reader {
    const unsigned char *p, *end;
    size_t record; /* bytes left of the present one */
    size_t left;   /* of the message, or of the part of it that is being read */
};

#define TRY(call)                                                                                  \
    do {                                                                                           \
        enum tls_hello_result r_ = (call);                                                         \
        if (r_ != TLS_HELLO_DONE)                                                                  \
            return r_;                                                                             \
    } while (0)

/* A record of another type, or an empty one, has no place in the middle of a message (RFC 8446
 * §5.1). */
static enum tls_hello_result next_record(struct reader *r)
{
    size_t n = (size_t)(r->end - r->p);
    if (n > 0 && r->p[0] != RECORD_HANDSHAKE)
        return TLS_HELLO_BAD;
    if (n > 1 && r->p[1] != 3)
        return TLS_HELLO_BAD;
    if (n < RECORD_HEADER)
        return TLS_HELLO_MORE;
    r->record = (size_t)r->p[3] << 8 | r->p[4];
    r->p += RECORD_HEADER;
    return r->record > 0 && r->record <= RECORD_MAX ? TLS_HELLO_DONE : TLS_HELLO_BAD;
}

/* Takes n bytes, into out if it is not NULL. */
static enum tls_hello_result take(struct reader *r, size_t n, unsigned char *out)
{
    if (n > r->left)
        return TLS_HELLO_BAD;
    r->left -= n;
    while (n > 0) {
        if (r->record == 0)
            TRY(next_record(r));
        size_t here = (size_t)(r->end - r->p);
        size_t some = n < r->record ? n : r->record;
        some = some < here ? some : here;
        if (some == 0)
            return TLS_HELLO_MORE;
        if (out) {
            memcpy(out, r->p, some);
            out += some;
        }
        r->p += some;
        r->record -= some;
        n -= some;
    }
    return TLS_HELLO_DONE;
}

static enum tls_hello_result number(struct reader *r, size_t bytes, size_t *ret)
{
    unsigned char b[3];
    TRY(take(r, bytes, b));
    *ret = 0;
    for (size_t i = 0; i < bytes; i++)
        *ret = *ret << 8 | b[i];
    return TLS_HELLO_DONE;
}

/* A vector with a length in front: skipped. */
static enum tls_hello_result skip_vector(struct reader *r, size_t bytes, size_t min, size_t max)
{
    size_t n;
    TRY(number(r, bytes, &n));
    if (n < min || n > max)
        return TLS_HELLO_BAD;
    return take(r, n, NULL);
}

static bool is_host_char(unsigned char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' ||
           c == '_' || c == '.';
}

/* One name, of a host, which fills the extension: no other kind was ever defined. */
static enum tls_hello_result read_name(struct reader *r, size_t size, struct tls_hello *ret)
{
    size_t list, type, n;
    TRY(number(r, 2, &list));
    TRY(number(r, 1, &type));
    TRY(number(r, 2, &n));
    if (list != size - 2 || type != NAME_HOST || n != list - 3 || n == 0 || n > TLS_HELLO_NAME_MAX)
        return TLS_HELLO_BAD;
    TRY(take(r, n, (unsigned char *)ret->name));
    for (size_t i = 0; i < n; i++) {
        if (!is_host_char((unsigned char)ret->name[i]))
            return TLS_HELLO_BAD;
        ret->name[i] = ascii_lower(ret->name[i]);
    }
    ret->name[n] = '\0';
    ret->name_len = n;
    return TLS_HELLO_DONE;
}

static enum tls_hello_result read_extensions(struct reader *r, struct tls_hello *ret)
{
    size_t all, type, size;
    bool named = false;
    TRY(number(r, 2, &all));
    if (all != r->left)
        return TLS_HELLO_BAD;
    while (r->left > 0) {
        TRY(number(r, 2, &type));
        TRY(number(r, 2, &size));
        if (type != EXTENSION_SERVER_NAME) {
            TRY(take(r, size, NULL));
            continue;
        }
        if (named || size < 5 || size > r->left)
            return TLS_HELLO_BAD;
        named = true;
        TRY(read_name(r, size, ret));
    }
    return TLS_HELLO_DONE;
}

static enum tls_hello_result read_hello(struct reader *r, struct tls_hello *ret)
{
    size_t type, size;
    r->left = 4;
    TRY(number(r, 1, &type));
    if (type != CLIENT_HELLO)
        return TLS_HELLO_BAD;
    TRY(number(r, 3, &size));
    r->left = size;
    TRY(take(r, 2 + 32, NULL)); /* version, random */
    TRY(skip_vector(r, 1, 0, SESSION_ID_MAX));
    TRY(skip_vector(r, 2, 2, UINT16_MAX - 1)); /* cipher suites */
    TRY(skip_vector(r, 1, 1, UINT8_MAX));      /* compressions */
    return r->left > 0 ? read_extensions(r, ret) : TLS_HELLO_DONE;
}

enum tls_hello_result tls_hello_read(const char *p, size_t n, struct tls_hello *ret)
{
    struct tls_hello found = {0};
    struct reader r = {.p = (const unsigned char *)p};
    r.end = r.p + (n < TLS_HELLO_MAX ? n : TLS_HELLO_MAX);
    if (n > 0 && r.p[0] != RECORD_HANDSHAKE)
        return TLS_HELLO_NOT_TLS;
    if (n > 1 && r.p[1] != 3)
        return TLS_HELLO_NOT_TLS;
    enum tls_hello_result result = read_hello(&r, &found);
    if (result == TLS_HELLO_DONE)
        *ret = found;
    return result;
}
