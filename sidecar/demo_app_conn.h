/* demo_app_conn.h - the demo application's connections: shared by its loop and its answers.
 *
 * One thread, one epoll, no lock. A connection is freed only at the end of its own event
 * (demo_conn_settle), so nothing that a handler touches goes away under it. */
#ifndef SLUICE_DEMO_APP_CONN_H
#define SLUICE_DEMO_APP_CONN_H

#include "base/buf.h"
#include "base/list.h"

enum { APP_READ_BYTES = 256 * 1024, APP_WHEEL_SLOTS = 1024, APP_PATTERN = 64 };

enum app_state {
    APP_HEAD,      /* reading a request's head */
    APP_BODY,      /* reading its body */
    APP_TIMER,     /* waiting for `due` */
    APP_STREAM,    /* writing a long body */
    APP_HANG,      /* never answers */
    APP_TUNNEL,    /* echoes raw bytes */
    APP_WEBSOCKET, /* echoes frames */
    APP_LINGER,    /* answered and shut; reads what still comes, then closes */
};

enum app_handler {
    HANDLE_ROOT,
    HANDLE_HEALTH,
    HANDLE_DELAY,
    HANDLE_BYTES,
    HANDLE_CHUNKED,
    HANDLE_UPLOAD,
    HANDLE_ECHO,
    HANDLE_STATUS,
    HANDLE_EARLY,
    HANDLE_HANG,
    HANDLE_CLOSE,
    HANDLE_RESET,
    HANDLE_CUT,
    HANDLE_HEADERS,
    HANDLE_WEBSOCKET,
    HANDLE_STATS,
    HANDLE_LOGIN,
    HANDLE_LOGOUT,
    HANDLE_USE,
    HANDLE_SESSIONS,
    HANDLE_HELD,
    HANDLE_EXIT,
    HANDLE_ABORT,
    HANDLE_OOM,
    HANDLE_UNLISTEN,
    HANDLE_LEAK,
    HANDLE_NOT_FOUND,
};

enum chunk_state { CHUNK_SIZE, CHUNK_EXTENSION, CHUNK_DATA, CHUNK_DATA_END, CHUNK_TRAILER };

struct app {
    int epoll;
    struct str version;
    const char *ready; /* the whole answer to GET / on a connection that stays */
    size_t ready_bytes;
    const char *body; /* of / and /delay */
    size_t body_bytes;
    struct buf_pool pool;
    uint64_t now_ms;   /* monotonic, of this loop turn; current only while n_timers > 0 */
    uint64_t wheel_ms; /* timers up to here have fired */
    uint32_t n_timers;
    struct list wheel[APP_WHEEL_SLOTS];
    uint64_t requests, connections, open;
    uint32_t login_ms; /* /login answers so late */
    char *in;          /* APP_READ_BYTES */
    char *pattern;     /* APP_READ_BYTES of printable bytes, for /bytes and /chunked */
};

/* The frame in hand. */
struct app_websocket {
    uint8_t head[16], mask[4];
    size_t n;  /* of head, so far */
    size_t at; /* in the mask */
    bool silent, closing;
};

struct app_conn {
    int fd;
    uint8_t state;   /* enum app_state */
    uint8_t handler; /* enum app_handler */
    uint8_t chunk;   /* enum chunk_state */
    bool keep_alive;
    bool body_chunked;    /* the request's body */
    bool answered;        /* before its body was read */
    bool is_head;         /* the method is HEAD: no body in the answer */
    bool peer_done;       /* EOF was read */
    bool close_after;     /* once `out` is empty */
    bool dead;            /* freed by demo_conn_settle() */
    bool at_line_start;   /* of a trailer section */
    uint32_t interest;    /* epoll events armed */
    struct buf held;      /* read, not yet used: half a head, pipelined requests */
    struct buf out;       /* written, not yet taken by the socket */
    uint64_t body_left;   /* of the request's body or its present chunk */
    uint64_t body_bytes;  /* read so far */
    uint64_t sum, word;   /* /upload's checksum, see upload_sum() */
    size_t stream_at;     /* place in the pattern */
    uint64_t stream_left; /* bytes (/bytes) or chunks (/chunked) to write */
    uint32_t stream_size; /* of a chunk */
    uint32_t stream_ms;   /* between chunks */
    uint32_t code;        /* /status, /exit */
    uint64_t session;     /* /login: its number; 0: none */
    struct app_websocket websocket;
    uint64_t due; /* in wheel */
    struct list timer;
};

/* The first line and the fields that matter of one request; slices of the bytes that were read. */
struct app_request {
    struct str head; /* all of it, with the empty line */
    struct str method, path, query;
    struct str websocket_key, idempotency_key;
    uint64_t content_length;
    bool chunked, has_length, http10, keep_alive, expects_continue, upgrade_websocket;
};

/* demo_app_answer.c: the paths. */
void answer_begin(struct app *a, struct app_conn *c, const struct app_request *r);
void answer_body_bytes(struct app *a, struct app_conn *c, const char *p, size_t n);
void answer_body_done(struct app *a, struct app_conn *c);
void answer_timer(struct app *a, struct app_conn *c);
/* Writes more of a long body; to be called whenever the socket takes bytes. */
void answer_stream(struct app *a, struct app_conn *c);
/* A request that cannot be read: 400 and the end. */
void answer_bad_request(struct app *a, struct app_conn *c);

/* demo_app_session.c: paths of a device and of one that holds a session. False: it is none of
 * them. */
bool answer_session_begin(struct app *a, struct app_conn *c, const struct app_request *r);
bool answer_session(struct app *a, struct app_conn *c);
void answer_session_timer(struct app *a, struct app_conn *c);

/* demo_app_leak.c */
void answer_leak(struct app *a, struct app_conn *c, struct str query);

/* demo_app.c: no new connections from now on. */
void demo_unlisten(void);

/* What demo_app_answer.c has for others. */
void answer_text(struct app *a, struct app_conn *c, unsigned status, const char *type,
                 const char *body, size_t n);
uint64_t answer_query_number(struct str query, struct str name, uint64_t otherwise);
/* .p NULL: it is not there. */
struct str answer_query_text(struct str query, struct str name);

/* demo_app_websocket.c */
void demo_websocket_begin(struct app *a, struct app_conn *c, const struct app_request *r);
/* Takes all the bytes. */
size_t demo_websocket_step(struct app *a, struct app_conn *c, const char *p, size_t n);

/* demo_app_conn.c: what the answers need of a connection. */
void demo_conn_send(struct app *a, struct app_conn *c, const char *p, size_t n);
/* What stands in `out`, as far as the socket takes it. */
void demo_conn_flush(struct app *a, struct app_conn *c);
/* As much as the socket takes now, straight from p; returns how many bytes went. */
size_t demo_conn_send_some(struct app_conn *c, const char *p, size_t n);
void demo_conn_die(struct app_conn *c, bool reset);
/* The answer is complete: next request, or the end. */
void demo_conn_answered(struct app_conn *c);
void demo_conn_set_timer(struct app *a, struct app_conn *c, uint32_t ms);

/* demo_app_conn.c: what the loop calls. The connection may be gone afterwards. */
void demo_conn_event(struct app *a, struct app_conn *c, uint32_t events);
void app_fire_timers(struct app *a);

#endif
