/* open.h - requests that come when they are due, whatever became of those before. */
#ifndef LOAD_OPEN_H
#define LOAD_OPEN_H

#include "base/clock.h"
#include "base/list.h"
#include "base/rng.h"
#include "lib/response.h"

#include <netinet/in.h>
#include <nghttp2/nghttp2.h>

enum { OPEN_READ_BYTES = 64 * 1024, OPEN_PATH_MAX = 256 };

/* How a request ended that got no whole answer; in the place of its status. */
enum {
    OPEN_TIMEOUT = 1, /* its client's patience was over */
    OPEN_BROKEN = 2,  /* the connection or the stream ended */
    OPEN_REFUSED = 3, /* no connection could be made */
    OPEN_NO_ROOM = 4, /* every connection was taken: the loop was not open any more */
    OPEN_LATE = 5, /* not sent: this process was so late itself that half the patience was over */
};

struct record {
    uint32_t due_us, latency_us; /* since the start; since it was due */
    uint16_t status;
};

struct link;

/* A request under way. */
struct call {
    struct list open; /* in open.calls, oldest first; HTTP/2: in link.done when it has ended */
    struct link *link;
    int32_t stream; /* HTTP/2 */
    uint16_t status;
    usec_t due;
};

/* A connection, or the place for one. */
struct link {
    struct list free;   /* HTTP/1.1: in open.free, when it is open and no request is on it */
    struct list closed; /* in open.closed */
    int fd;             /* -1: closed */
    uint32_t calls;
    bool leaving;             /* HTTP/2: the server has said GOAWAY */
    struct call *call;        /* HTTP/1.1 */
    struct response response; /* HTTP/1.1 */
    size_t sent;              /* HTTP/1.1: of the request */
    nghttp2_session *session; /* HTTP/2 */
    struct list done;
};

struct open;

/* What speaks a protocol. Nothing but call_end() frees a call. */
struct protocol {
    /* Sends the request, which is in open.calls already; or ends it. */
    void (*begin)(struct open *o, struct call *c);
    void (*event)(struct open *o, struct link *l);
    /* Its client gives up. The caller ends the call. */
    void (*cancel)(struct open *o, struct call *c);
};
extern const struct protocol protocol_h1, protocol_h2;

struct open {
    const struct protocol *protocol;
    struct sockaddr_in address;
    const char *authority, *path;
    double rate; /* requests a second */
    usec_t duration, patience;
    uint32_t n_links;
    char request[OPEN_PATH_MAX + 128]; /* HTTP/1.1 */
    size_t request_bytes;

    int epoll;
    usec_t start, now, next; /* next: when the next request is due */
    struct rng rng;
    struct list calls, free, closed;
    struct link *links;
    uint32_t at; /* HTTP/2: connections take turns */
    struct record *records;
    size_t n_records, room;
    char in[OPEN_READ_BYTES];
};

/* Records how it ended. */
void call_end(struct open *o, struct call *c, uint16_t status);
/* Makes a connection in this place; false: it can't be. */
bool link_open(struct open *o, struct link *l);
/* Ends it, and the calls on it as broken. */
void link_close(struct open *o, struct link *l);

#endif
