/* h1_write.h - HTTP/1.1 heads, chunks and trailers to bytes.
 *
 * Framing fields (Content-Length, Transfer-Encoding, Connection, Upgrade's Connection) are never
 * copied from a message: they are written from what the caller decided. Fields marked dropped are
 * left out. */
#ifndef SLUICE_HTTP_H1_WRITE_H
#define SLUICE_HTTP_H1_WRITE_H

#include "base/buf.h"
#include "http/message.h"

struct h1_framing {
    enum body_kind body;        /* as it will be sent: NONE, LENGTH, CHUNKED or CLOSE */
    uint64_t content_length;    /* with BODY_LENGTH */
    bool declare_length;        /* BODY_NONE: still write Content-Length (HEAD and 304 responses
                                 * that declared one; POST without a body: 0) */
    bool connection_close;      /* write Connection: close */
    bool connection_keep_alive; /* write Connection: keep-alive (to an HTTP/1.0 client) */
    bool upgrade;               /* write Connection: upgrade (Upgrade itself is a field) */
    bool te_trailers;           /* write TE: trailers and name it in Connection */
};

/* Each appends to b; 0 or -ENOMEM with b unchanged. The request's Host is m->authority, its
 * target m->path and m->query; always HTTP/1.1. */
int h1_write_request(struct buf_pool *pool, struct buf *b, const struct message *m,
                     const struct h1_framing *f);
/* Status line (with the message's reason or the usual one) and fields, always HTTP/1.1. */
int h1_write_response(struct buf_pool *pool, struct buf *b, const struct message *m,
                      const struct h1_framing *f);

enum { H1_CHUNK_HEAD_MAX = 20 };
/* The bytes before a chunk's data: size and CRLF; returns how many. n > 0. */
size_t h1_write_chunk_head(char *out, uint64_t n);
/* Last chunk, trailer fields (NULL: none), final CRLF. */
int h1_write_last_chunk(struct buf_pool *pool, struct buf *b, const struct message *trailers);

/* "OK", "Not Found"; "" for a status that has no registered phrase. */
struct str http_status_phrase(unsigned status);

#endif
