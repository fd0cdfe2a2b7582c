/* h2_parts.h - what the files of the HTTP/2 codec share. Not for others. */
#ifndef SLUICE_HTTP_H2_PARTS_H
#define SLUICE_HTTP_H2_PARTS_H

#include "http/h2.h"
#include "http/hpack.h"

#include <nghttp2/nghttp2.h>

/* h2_field.c: what is known of a field by itself. An enum field_id, or H2_PSEUDO and an enum
 * hpack_name, or H2_PSEUDO | H2_PROTOCOL; and these bits. */
enum h2_note {
    H2_PROTOCOL = HPACK_NAME_OWN,
    H2_NAME = 0xff,
    H2_PSEUDO = 0x100,
    H2_MALFORMED = 0x200, /* no message may have it */
    H2_ODD = 0x400,       /* no request may */
};
uint16_t h2_field_note(uint8_t name_id, struct str name, struct str value);
/* The same of the entries of HPACK's static table, by index. */
extern const uint16_t h2_static_notes[HPACK_STATIC + 1];

/* h2_head.c: from fields to a message. */

/* A field of the head or the trailers that st is reading. What is wrong is kept in st->bad, for
 * h2_head_finish(), or st->malformed. */
void h2_head_field(struct h2_stream *st, const struct hpack_got *f);
/* The head is whole: sets what follows from all of it (body, authority, cookies in one field).
 * REASON_NONE, or what the request is answered with, or why the response is none; but nothing of
 * that when st->malformed is set then. */
enum reason h2_head_finish(struct h2_stream *st, bool end);

/* h2_write.c: from a message to fields.
 *
 * nghttp2 minds the frames: their order, what may be sent, the streams' states. What a head says is
 * encoded here (hpack.h): nghttp2 is given one field that stands for the block, and where it begins
 * the HEADERS frame, the block goes out in place of what it has made of that. */

struct h2_block {
    struct list link; /* h2->blocks, until it has gone out */
    char mark[8];     /* the value of nghttp2's field, by whose address the block is found again */
    size_t most;      /* bytes that it can take, encoded */
    uint32_t n;
    char *buf;  /* a copy of the message's, behind the fields */
    char *text; /* the end of what was written behind that */
    struct hpack_field fields[];
};

/* NULL when memory is short. They belong to the connection: the frame's way out frees them, or
 * h2_block_free() when there will be none, or h2_free(). */
struct h2_block *h2_block_request(struct h2 *h, const struct message *m, struct str scheme,
                                  bool end);
struct h2_block *h2_block_response(struct h2 *h, const struct message *m, bool end, bool to_head);
struct h2_block *h2_block_trailers(struct h2 *h, const struct message *m);
void h2_block_free(struct h2 *h, struct h2_block *b);

/* What nghttp2 is given for it. */
nghttp2_nv h2_block_nv(struct h2_block *b);
/* The block of a HEADERS frame that is to be sent. */
struct h2_block *h2_block_of(const nghttp2_frame *frame);

/* h2_frames.c: bytes that come in, as h2_feed() has them. A negative code of nghttp2's, or not. */
ssize_t h2_receive(struct h2 *h, const char *p, size_t n, size_t *ret_taken);
/* The header block of the frame that nghttp2 tells of; st is NULL when nobody wants its fields. */
void h2_read_block(struct h2 *h, struct h2_stream *st);
void h2_in_free(struct h2 *h);

/* h2_recv.c: the callbacks of what comes in. */
void h2_recv_callbacks(nghttp2_session_callbacks *c);
/* h2_send.c: the callbacks of what goes out. */
void h2_send_callbacks(nghttp2_session_callbacks *c);

/* Most look-ups are of the stream that the one before was of: callbacks come in rows. */
static inline struct h2_stream *h2_stream_of(struct h2 *h, int32_t id)
{
    if (id == 0)
        return NULL;
    if (!h->last || h->last->id != id)
        h->last = nghttp2_session_get_stream_user_data(h->session, id);
    return h->last;
}
/* DATA or HEADERS have come on a stream of the client's that is not there: is that a mistake? */
void h2_look_back(struct h2 *h, int32_t id, bool headers);
/* RST_STREAM(NO_ERROR), when that is due to a stream that was left. */
void h2_reset_left(struct h2_stream *st);
/* Takes it off the connection; its owner's from here on. */
void h2_unlink(struct h2_stream *st);
/* The connection ends with this code, and that is why. Only the first counts. */
void h2_fail(struct h2 *h, enum h2_error code, enum reason why);

/* What a session allocates by. */
nghttp2_mem h2_heap(struct h2 *h);

#endif
