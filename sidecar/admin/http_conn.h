/* http_conn.h - one connection of a control server; for admin/http_*.c only. */
#ifndef SLUICE_ADMIN_HTTP_CONN_H
#define SLUICE_ADMIN_HTTP_CONN_H

#include "admin/guard.h"
#include "admin/http_server.h"
#include "base/buf.h"
#include "base/list.h"
#include "http/h1_parse.h"

enum { HTTP_SERVER_MAGIC = 0x48535621, HTTP_CONN_MAGIC = 0x48434e21 };

enum conn_state {
    CONN_IDLE, /* no byte of the next request yet */
    CONN_HEAD,
    CONN_BODY,
    CONN_HANDLING, /* the handler has the request */
    CONN_REPLYING,
    CONN_LINGER, /* FIN sent; reads until the peer's, because unread bytes would make a reset */
    CONN_DEAD,
};

struct http_conn {
    uint32_t magic;
    enum conn_state state;
    struct http_server *server;
    struct list node; /* on its server's conns, dead or orphans */
    int fd;
    ev_io readable, writable;
    ev_timer timer;
    bool pumping;
    bool eof;  /* the peer sends no more */
    bool last; /* close after this answer */
    bool continue_due;
    struct buf in, out, body;
    size_t body_bytes; /* so far, kept or not */
    struct h1_head head;
    struct h1_body framing;
    struct message msg, trailers, reply;
    struct http_request req;
};

struct http_server {
    uint32_t magic;
    struct ev_loop *loop;
    struct http_server_options options;
    struct guard_token token;
    int fd, spare_fd;
    unsigned depth; /* pumps that are running */
    size_t n_conns;
    struct list conns;   /* the longest idle first among the idle ones */
    struct list dead;    /* to be freed */
    struct list orphans; /* the client is gone, the handler still has the request */
    struct buf_pool pool;
    ev_io acceptable;
    ev_timer accept_again;
    ev_prepare reaper;
};

/* The fd is the connection's when it succeeds. NULL when memory is short. */
struct http_conn *http_conn_new(struct http_server *s, int fd);
/* Goes on with whatever can be done now; harmless when it is running already. */
void http_conn_pump(struct http_conn *c);
/* Writes what is there. False when the peer takes no more for now, or the connection is gone. */
bool http_conn_flush(struct http_conn *c);
/* Closes at once; http_conn_free() follows from the reaper, never inside a callback. */
void http_conn_close(struct http_conn *c);
void http_conn_free(struct http_conn *c);

/* Ends the request, whoever answers it. */
void http_conn_answer(struct http_conn *c, unsigned status, const char *type, const char *body,
                      size_t n);
/* The same with a problem+json; detail may be anything. */
void http_conn_refuse(struct http_conn *c, unsigned status, const char *code, const char *detail);

/* A connection has gone or become idle: there may be room again. */
void http_server_accept_resume(struct http_server *s);

#endif
