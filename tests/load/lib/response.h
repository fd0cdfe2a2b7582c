/* response.h - HTTP/1.1 answers from bytes, as the load client needs them: whole or not, whose,
 * and whether the connection goes on.
 *
 * Incremental and cheap: a head that arrives in one read is parsed where it lies. */
#ifndef LOAD_RESPONSE_H
#define LOAD_RESPONSE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { RESPONSE_VERSION_MAX = 32, RESPONSE_PROXY_STATUS_MAX = 96 };

enum response_state {
    RESPONSE_HEAD,
    RESPONSE_LENGTH,
    RESPONSE_UNTIL_CLOSE,
    RESPONSE_CHUNK_SIZE,
    RESPONSE_CHUNK_EXTENSION,
    RESPONSE_CHUNK_DATA,
    RESPONSE_CHUNK_END,
    RESPONSE_TRAILER,
};

enum response_result { RESPONSE_MORE, RESPONSE_DONE, RESPONSE_BAD };

struct response {
    uint8_t state;  /* enum response_state */
    bool to_head;   /* answers a HEAD request: no body */
    bool close;     /* the connection ends with it */
    bool by_sluice; /* Proxy-Status names sluice */
    bool line_has_bytes;
    uint8_t size_digits;
    uint16_t status;
    uint64_t left;
    char version[RESPONSE_VERSION_MAX];           /* X-Version; empty: none */
    char proxy_status[RESPONSE_PROXY_STATUS_MAX]; /* what follows the name; empty: none */
    char *held;                                   /* the start of a head that came in pieces */
    size_t held_bytes, held_room;
};

void response_begin(struct response *r, bool to_head);
void response_free(struct response *r);
/* *ret_taken says how many bytes belong to it. */
enum response_result response_feed(struct response *r, const char *p, size_t n, size_t *ret_taken);
/* The connection ended: is that a whole answer? */
static inline bool response_whole_at_eof(const struct response *r)
{
    return r->state == RESPONSE_UNTIL_CLOSE;
}

#endif
