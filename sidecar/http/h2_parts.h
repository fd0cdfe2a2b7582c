/* h2_parts.h - what the files of the HTTP/2 codec share. Not for others. */
#ifndef SLUICE_HTTP_H2_PARTS_H
#define SLUICE_HTTP_H2_PARTS_H

#include "http/h2.h"

#include <nghttp2/nghttp2.h>

/* h2_head.c: from fields to a message. */

/* A field of the head or the trailers that st is reading. What is wrong is kept in st->bad, for
 * h2_head_finish(). False: the stream must be reset with PROTOCOL_ERROR. */
bool h2_head_field(struct h2_stream *st, struct str name, struct str value);
/* The head is whole: sets what follows from all of it (body, authority, cookies in one field).
 * REASON_NONE, or what the request is answered with, or why the response is none. */
enum reason h2_head_finish(struct h2_stream *st, bool end);

/* h2_write.c: from a message to fields. */

enum { H2_NV_EXTRA = 8 };
/* Room for all of m's fields and the pseudo-fields; free() it. NULL when memory is short. */
nghttp2_nv *h2_nv_alloc(const struct message *m, nghttp2_nv *small, size_t n_small);
/* Each fills nv and returns how many; number is scratch for what is written in digits, and must
 * live as long as nv. */
enum { H2_NUMBERS = 24 };
size_t h2_nv_request(nghttp2_nv *nv, const struct message *m, struct str path, struct str scheme,
                     bool end, char *number);
size_t h2_nv_response(nghttp2_nv *nv, const struct message *m, bool end, bool to_head,
                      char *number);
size_t h2_nv_trailers(nghttp2_nv *nv, const struct message *m);

/* h2_recv.c: the callbacks of what comes in. */
void h2_recv_callbacks(nghttp2_session_callbacks *c);
/* h2_send.c: the callbacks of what goes out. */
void h2_send_callbacks(nghttp2_session_callbacks *c);

static inline struct h2_stream *h2_stream_of(nghttp2_session *session, int32_t id)
{
    return id == 0 ? NULL : nghttp2_session_get_stream_user_data(session, id);
}
/* What is allowed of a head on st; NULL: on a stream that nobody has. */
static inline uint32_t h2_max_fields(const struct h2 *h, const struct h2_stream *st)
{
    return st && st->max_fields > 0 ? st->max_fields : h->settings.max_fields;
}
static inline uint32_t h2_max_field_bytes(const struct h2 *h, const struct h2_stream *st)
{
    return st && st->max_field_bytes > 0 ? st->max_field_bytes : h->settings.max_field_bytes;
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
