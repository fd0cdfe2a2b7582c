/* http_server.h - a small HTTP/1.1 server for the control thread: admin and health.
 *
 * Over libev directly, on one thread; every function is called on the loop's thread. Requests of
 * one connection are answered in order, one at a time. Bodies are whole before the handler sees
 * them. What it answers by itself is application/problem+json. */
#ifndef SLUICE_ADMIN_HTTP_SERVER_H
#define SLUICE_ADMIN_HTTP_SERVER_H

#include "base/clock.h"
#include "base/str.h"
#include "http/message.h"

#include <ev.h>

struct http_server;
struct http_conn;

enum { HTTP_REQUEST_MAGIC = 0x48525121 };

/* Valid from the handler's call until http_reply() or on_gone, whichever comes first. The slices
 * live as long as it does. */
struct http_request {
    uint32_t magic;
    enum http_method method;
    struct str method_text;
    struct str path;  /* normalised, '/' first */
    struct str query; /* without '?' */
    struct str body;  /* empty for GET and HEAD, whatever was sent */
    bool may_mutate;  /* over a Unix socket, or with the token */
    const struct message *head;
    /* The handler's own, for a request that it keeps: on_gone is called once when the client goes
     * away (its end of the connection closed, or an error) or the server is freed before
     * http_reply(). Nothing may be replied any more then. Where it is NULL the request stays valid
     * until http_reply() (or the server's end), and the reply goes nowhere. */
    void (*on_gone)(struct http_request *req);
    void *user;
    struct http_conn *conn; /* the server's */
};

/* Must lead to one http_reply(), now or later. */
typedef void http_handler(struct http_request *req, void *ctx);

enum {
    HTTP_SERVER_UNIX = 1,      /* Unix socket: mutations without a token, any Host */
    HTTP_SERVER_MUTATIONS = 2, /* mutations may happen here at all */
    HTTP_SERVER_ANY_HOST = 4,  /* no DNS-rebinding guard (health) */
};

/* A zero in a number means its default. */
struct http_server_options {
    http_handler *handler;
    void *ctx;
    unsigned flags;
    const char *token_file; /* TCP mutations need its content as Bearer token; NULL: none */
    const struct str *allowed_hosts; /* besides localhost and IP addresses; not copied */
    size_t n_allowed_hosts;
    uint32_t max_connections; /* 64 */
    uint32_t max_body;        /* 64 KiB */
    usec_t header_time;       /* first byte of a request to its last header byte; 5 s */
    usec_t idle_time;         /* between requests, a whole body, progress of a write; 30 s */
};

/* listen_fd: a listening, non-blocking socket; the server's from now on (on failure it stays the
 * caller's). The options are copied. NULL when memory is short. */
struct http_server *http_server_new(struct ev_loop *loop, int listen_fd,
                                    const struct http_server_options *options);

/* Writes what can be written at once, then closes everything; on_gone is called for requests
 * without a reply. Not from a handler. */
struct http_server *http_server_free(struct http_server *s);

/* Stops accepting and closes the listening socket; idle connections are closed, the others after
 * their answer. Where another process has that socket as well, loop_forget() follows. */
void http_server_stop(struct http_server *s);

size_t http_server_connections(const struct http_server *s);

/* content_type NULL: no Content-Type (a 204, say). The body is copied. req is gone afterwards. */
void http_reply(struct http_request *req, unsigned status, const char *content_type,
                const char *body, size_t n);
void http_reply_text(struct http_request *req, unsigned status, const char *text);

/* {"type":"about:blank","title","status","code","detail"}; code is a stable word; detail
 * NULL: without. */
void http_reply_problem(struct http_request *req, unsigned status, const char *code,
                        const char *detail);

/* The answer to a request that may not mutate: 401 where a token would help, else 403. */
void http_reply_forbidden(struct http_request *req);

/* A field of the response, before http_reply(); both are copied. 0 or -ENOMEM. */
int http_reply_field(struct http_request *req, const char *name, const char *value);

/* A request field's value; empty with .p == NULL when there is none. */
struct str http_request_field(const struct http_request *req, const char *name);

/* The value of `name` in the query (a=1&b=2), percent-decoded into out; false when it is not there
 * or does not fit. A name without '=' has an empty value. */
bool http_query_get(const struct http_request *req, const char *name, char *out, size_t cap);

/* The connection of a request, which stays the server's. */
int http_request_fd(const struct http_request *req);
/* A connection whose request another process has read: it is answered as any other, and closed
 * behind it. The fd is the server's when it succeeds. NULL when memory is short. */
struct http_request *http_server_adopt(struct http_server *s, int fd, enum http_method method);

/* In constant time but for the lengths. An empty `expected` equals nothing. */
bool http_token_equal(struct str given, struct str expected);

/* --- a tiny router ------------------------------------------------------------------------ */

struct http_route {
    const char *method; /* "GET" serves HEAD too */
    const char *path;   /* "/v1/status"; with "*" at its end: a prefix */
    http_handler *fn;
    bool mutates; /* refused unless req->may_mutate */
};

/* 404, 405 with Allow, 401 or 403 for what is not found or not allowed; else calls the route's fn.
 * The first match in the table wins. */
void http_dispatch(const struct http_route *routes, size_t n, struct http_request *req, void *ctx);

#endif
