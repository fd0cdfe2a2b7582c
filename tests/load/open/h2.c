/* h2.c - many requests on a connection; who gives up resets the stream. */
#include "open.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

enum { STREAMS = 100 }; /* on a connection, where the server does not allow fewer */

static ssize_t on_send(nghttp2_session *session, const uint8_t *p, size_t n, int flags, void *user)
{
    struct link *l = user;
    (void)session;
    (void)flags;
    ssize_t sent = send(l->fd, p, n, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (sent < 0)
        return errno == EAGAIN ? NGHTTP2_ERR_WOULDBLOCK : NGHTTP2_ERR_CALLBACK_FAILURE;
    return sent;
}

static int on_header(nghttp2_session *session, const nghttp2_frame *frame, const uint8_t *name,
                     size_t name_bytes, const uint8_t *value, size_t value_bytes, uint8_t flags,
                     void *user)
{
    struct call *c = nghttp2_session_get_stream_user_data(session, frame->hd.stream_id);
    (void)flags;
    (void)user;
    if (c && value_bytes == 3 && name_bytes == 7 && memcmp(name, ":status", 7) == 0)
        c->status = (uint16_t)((value[0] - '0') * 100 + (value[1] - '0') * 10 + (value[2] - '0'));
    return 0;
}

static int on_frame(nghttp2_session *session, const nghttp2_frame *frame, void *user)
{
    struct link *l = user;
    (void)session;
    l->leaving = l->leaving || frame->hd.type == NGHTTP2_GOAWAY;
    return 0;
}

/* Only notes it: records are made when nghttp2 has returned. */
static int on_stream_close(nghttp2_session *session, int32_t stream, uint32_t code, void *user)
{
    struct call *c = nghttp2_session_get_stream_user_data(session, stream);
    struct link *l = user;
    if (c) {
        if (code != NGHTTP2_NO_ERROR || c->status == 0)
            c->status = OPEN_BROKEN;
        list_remove(&c->open);
        list_push_back(&l->done, &c->open);
    }
    return 0;
}

static bool h2_open(struct open *o, struct link *l)
{
    static nghttp2_session_callbacks *callbacks;
    if (!callbacks) {
        if (nghttp2_session_callbacks_new(&callbacks) != 0)
            return false;
        nghttp2_session_callbacks_set_send_callback(callbacks, on_send);
        nghttp2_session_callbacks_set_on_header_callback(callbacks, on_header);
        nghttp2_session_callbacks_set_on_frame_recv_callback(callbacks, on_frame);
        nghttp2_session_callbacks_set_on_stream_close_callback(callbacks, on_stream_close);
    }
    l->leaving = false;
    if (!link_open(o, l))
        return false;
    if (nghttp2_session_client_new(&l->session, callbacks, l) != 0) {
        link_close(o, l);
        return false;
    }
    return nghttp2_submit_settings(l->session, NGHTTP2_FLAG_NONE, NULL, 0) == 0;
}

static uint32_t h2_room(const struct link *l)
{
    if (l->fd < 0)
        return STREAMS;
    uint32_t most =
        nghttp2_session_get_remote_settings(l->session, NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS);
    most = most < STREAMS ? most : STREAMS;
    return l->leaving || l->calls >= most ? 0 : most - l->calls;
}

static struct link *h2_link(struct open *o)
{
    for (uint32_t i = 0; i < o->n_links; i++) {
        struct link *l = &o->links[o->at++ % o->n_links];
        if (h2_room(l) > 0)
            return l;
    }
    return NULL;
}

#define FIELD(name, value, n)                                                                      \
    {                                                                                              \
        (uint8_t *)(uintptr_t)(name), (uint8_t *)(uintptr_t)(value), sizeof(name) - 1, (n),        \
            NGHTTP2_NV_FLAG_NO_COPY_NAME | NGHTTP2_NV_FLAG_NO_COPY_VALUE                           \
    }

static void h2_begin(struct open *o, struct call *c)
{
    struct link *l = h2_link(o);
    if (!l || (l->fd < 0 && !h2_open(o, l))) {
        call_end(o, c, l ? OPEN_REFUSED : OPEN_NO_ROOM);
        return;
    }
    const nghttp2_nv fields[] = {FIELD(":method", "GET", 3), FIELD(":scheme", "http", 4),
                                 FIELD(":authority", o->authority, strlen(o->authority)),
                                 FIELD(":path", o->path, strlen(o->path))};
    c->stream = nghttp2_submit_request(l->session, NULL, fields, 4, NULL, c);
    if (c->stream < 0) {
        call_end(o, c, OPEN_BROKEN);
        return;
    }
    c->link = l;
    l->calls++;
    if (nghttp2_session_send(l->session) != 0)
        link_close(o, l);
}

static void h2_reap(struct open *o, struct link *l)
{
    struct list *it;
    while ((it = list_first(&l->done)) != NULL) {
        struct call *c = LIST_ENTRY(it, struct call, open);
        l->calls--;
        call_end(o, c, c->status);
    }
}

static void h2_event(struct open *o, struct link *l)
{
    for (;;) {
        ssize_t n = recv(l->fd, o->in, sizeof(o->in), MSG_DONTWAIT);
        if (n < 0 && errno == EAGAIN)
            break;
        if (n <= 0 ||
            nghttp2_session_mem_recv(l->session, (const uint8_t *)o->in, (size_t)n) != n) {
            h2_reap(o, l);
            link_close(o, l);
            return;
        }
    }
    h2_reap(o, l);
    if (nghttp2_session_send(l->session) != 0 || (l->leaving && l->calls == 0))
        link_close(o, l);
}

static void h2_cancel(struct open *o, struct call *c)
{
    struct link *l = c->link;
    (void)nghttp2_session_set_stream_user_data(l->session, c->stream, NULL);
    (void)nghttp2_submit_rst_stream(l->session, NGHTTP2_FLAG_NONE, c->stream, NGHTTP2_CANCEL);
    c->link = NULL;
    l->calls--;
    if (nghttp2_session_send(l->session) != 0)
        link_close(o, l);
}

const struct protocol protocol_h2 = {h2_begin, h2_event, h2_cancel};
