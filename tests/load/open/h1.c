/* h1.c - one request at a time on a connection; who gives up closes it. */
#include "open.h"

#include <errno.h>
#include <sys/socket.h>

static void h1_send(struct open *o, struct link *l)
{
    while (l->call && l->sent < o->request_bytes) {
        ssize_t n = send(l->fd, o->request + l->sent, o->request_bytes - l->sent,
                         MSG_NOSIGNAL | MSG_DONTWAIT);
        if (n < 0) {
            if (errno != EAGAIN)
                link_close(o, l);
            return;
        }
        l->sent += (size_t)n;
    }
}

/* The connection that was used last: those that there are too many of stay idle. */
static struct link *h1_link(struct open *o)
{
    struct list *it = list_first(&o->free);
    if (it) {
        list_remove(it);
        return LIST_ENTRY(it, struct link, free);
    }
    it = list_first(&o->closed);
    return it ? LIST_ENTRY(it, struct link, closed) : NULL;
}

static void h1_begin(struct open *o, struct call *c)
{
    struct link *l = h1_link(o);
    if (!l || (l->fd < 0 && !link_open(o, l))) {
        call_end(o, c, l ? OPEN_REFUSED : OPEN_NO_ROOM);
        return;
    }
    c->link = l;
    l->call = c;
    l->calls = 1;
    l->sent = 0;
    response_begin(&l->response, false);
    h1_send(o, l);
}

static void h1_answered(struct open *o, struct link *l)
{
    struct call *c = l->call;
    l->call = NULL;
    l->calls = 0;
    call_end(o, c, l->response.status);
    if (l->response.close)
        link_close(o, l);
    else
        list_push_front(&o->free, &l->free);
}

static void h1_event(struct open *o, struct link *l)
{
    h1_send(o, l);
    while (l->fd >= 0) {
        ssize_t n = recv(l->fd, o->in, sizeof(o->in), MSG_DONTWAIT);
        if (n < 0 && errno == EAGAIN)
            return;
        size_t taken = 0;
        enum response_result result = RESPONSE_BAD;
        if (n > 0 && l->call)
            result = response_feed(&l->response, o->in, (size_t)n, &taken);
        if (result == RESPONSE_BAD || taken < (size_t)n)
            link_close(o, l);
        else if (result == RESPONSE_DONE)
            h1_answered(o, l);
    }
}

static void h1_cancel(struct open *o, struct call *c)
{
    struct link *l = c->link;
    l->call = NULL;
    l->calls = 0;
    link_close(o, l);
}

const struct protocol protocol_h1 = {h1_begin, h1_event, h1_cancel};
