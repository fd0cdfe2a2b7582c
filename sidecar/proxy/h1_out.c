/* h1_out.c - a body on its way out of an HTTP/1 connection. */
#include "proxy/h1_out.h"

#include "http/h1_write.h"

#include <errno.h>

enum { COPY_BELOW = 2048 };

static bool put(struct conn *c, const char *p, size_t n)
{
    if (n < COPY_BELOW && buf_len(&c->out) + n < 2 * COPY_BELOW) {
        if (buf_append(&c->loop->bufs, &c->out, p, n) < 0)
            conn_break(c, ENOMEM);
        return false;
    }
    conn_send(c, p, n);
    return true;
}

bool h1_out_body(struct conn *c, enum body_kind tx, const char *p, size_t n)
{
    if (tx != BODY_CHUNKED)
        return put(c, p, n);
    char head[H1_CHUNK_HEAD_MAX];
    bool sent = put(c, head, h1_write_chunk_head(head, n));
    sent |= put(c, p, n);
    sent |= put(c, "\r\n", 2);
    return sent;
}

void h1_out_end(struct conn *c, enum body_kind tx, const struct message *trailers)
{
    if (tx == BODY_CHUNKED && h1_write_last_chunk(&c->loop->bufs, &c->out, trailers) < 0)
        conn_break(c, ENOMEM);
}
