/* client.c - how the command line talks to a running sluice. */
#include "admin/client.h"

#include "base/check.h"
#include "base/log.h"
#include "base/mem.h"
#include "http/h1_parse.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <netdb.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

enum {
    MAX_ANSWER = 64 << 20,
    MAX_TOKEN = 4096,
    REQUEST_HEAD_MAX = MAX_TOKEN + 1024,
};

#define DEFAULT_TIMEOUT (10 * USEC_PER_SEC)

struct call {
    const char *where;
    usec_t until;
    int fd;
    struct admin_answer *answer;
    size_t cap;     /* of answer->body */
    char host[256]; /* as it goes into Host */
};

static int PRINTF_LIKE(3, 4) failed(struct call *c, int rc, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    (void)vsnprintf(c->answer->error, sizeof(c->answer->error), fmt, args);
    va_end(args);
    return rc;
}

static int cannot_reach(struct call *c, int rc)
{
    return failed(c, rc,
                  "cannot reach sluice at %s: %s (is it running? --admin PATH|URL names another)",
                  c->where, strerror(-rc));
}

static int wait_for(struct call *c, short events)
{
    for (;;) {
        struct pollfd p = {.fd = c->fd, .events = events};
        usec_t now = clock_mono();
        if (now >= c->until)
            return -ETIMEDOUT;
        int n = poll(&p, 1, (int)((c->until - now) / USEC_PER_MSEC) + 1);
        if (n > 0)
            return 0;
        if (n < 0 && errno != EINTR)
            return -errno;
    }
}

/* --- connecting -------------------------------------------------------------------------- */

static int connect_to(struct call *c, int family, const struct sockaddr *to, socklen_t len)
{
    int error = 0;
    socklen_t n = sizeof(error);

    c->fd = socket(family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (c->fd < 0)
        return -errno;
    if (connect(c->fd, to, len) == 0)
        return 0;
    int rc = -errno;
    if (rc == -EINPROGRESS) {
        rc = wait_for(c, POLLOUT);
        if (rc == 0 && getsockopt(c->fd, SOL_SOCKET, SO_ERROR, &error, &n) == 0)
            rc = -error;
    }
    if (rc < 0) {
        (void)close(c->fd);
        c->fd = -1;
    }
    return rc;
}

static int connect_unix(struct call *c, const char *path)
{
    struct sockaddr_un un = {.sun_family = AF_UNIX};
    size_t n = strlen(path);

    if (n >= sizeof(un.sun_path))
        return cannot_reach(c, -ENAMETOOLONG);
    memcpy(un.sun_path, path, n);
    (void)snprintf(c->host, sizeof(c->host), "localhost");
    int rc = connect_to(c, AF_UNIX, (struct sockaddr *)&un, sizeof(un));
    return rc < 0 ? cannot_reach(c, rc) : 0;
}

/* authority: host:port, [address]:port, what stands behind http:// */
static int connect_tcp(struct call *c, struct str authority)
{
    char host[128], port[8] = "80";
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM}, *list;
    struct str h = authority;
    const char *colon = h.n > 0 ? memrchr(h.p, ':', h.n) : NULL;
    const char *bracket = h.n > 0 ? memrchr(h.p, ']', h.n) : NULL;

    (void)snprintf(c->host, sizeof(c->host), "%.*s", STR_FMT(authority));
    if (colon && (!bracket || colon > bracket)) {
        struct str p = {colon + 1, (size_t)(h.p + h.n - colon) - 1};
        if (p.n == 0 || p.n >= sizeof(port))
            return failed(c, -EINVAL, "%s: not a port", c->where);
        (void)snprintf(port, sizeof(port), "%.*s", STR_FMT(p));
        h.n = (size_t)(colon - h.p);
    }
    if (h.n > 1 && h.p[0] == '[' && h.p[h.n - 1] == ']')
        h = (struct str){h.p + 1, h.n - 2};
    if (h.n == 0 || h.n >= sizeof(host))
        return failed(c, -EINVAL, "%s: not an address", c->where);
    (void)snprintf(host, sizeof(host), "%.*s", STR_FMT(h));

    int rc = getaddrinfo(host, port, &hints, &list);
    if (rc != 0)
        return failed(c, -EHOSTUNREACH, "cannot reach sluice at %s: %s", c->where,
                      gai_strerror(rc));
    rc = -EHOSTUNREACH;
    for (struct addrinfo *a = list; a; a = a->ai_next) {
        rc = connect_to(c, a->ai_family, a->ai_addr, a->ai_addrlen);
        if (rc == 0)
            break;
    }
    freeaddrinfo(list);
    return rc < 0 ? cannot_reach(c, rc) : 0;
}

static int call_connect(struct call *c)
{
    struct str where = str_of(c->where);

    if (str_starts(where, STR("http://"))) {
        struct str authority = {where.p + 7, where.n - 7};
        const char *slash = authority.n > 0 ? memchr(authority.p, '/', authority.n) : NULL;
        if (slash)
            authority.n = (size_t)(slash - authority.p);
        return connect_tcp(c, authority);
    }
    if (strstr(c->where, "://"))
        return failed(c, -EINVAL, "%s: only http:// and Unix sockets are spoken here", c->where);
    return connect_unix(c, str_starts(where, STR("unix:")) ? c->where + 5 : c->where);
}

/* --- the request ------------------------------------------------------------------------- */

static int send_all(struct call *c, const char *p, size_t n)
{
    while (n > 0) {
        ssize_t sent = send(c->fd, p, n, MSG_NOSIGNAL);
        if (sent < 0 && errno == EAGAIN) {
            int rc = wait_for(c, POLLOUT);
            if (rc < 0)
                return rc;
        } else if (sent < 0 && errno != EINTR) {
            return -errno;
        } else if (sent > 0) {
            p += sent;
            n -= (size_t)sent;
        }
    }
    return 0;
}

/* "Authorization: Bearer ...\r\n" into out. */
static int token_field(struct call *c, const char *path, char *out, size_t cap)
{
    char text[MAX_TOKEN];

    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n = fd < 0 ? -1 : read(fd, text, sizeof(text));
    int rc = n < 0 ? -errno : 0;
    if (fd >= 0)
        (void)close(fd);
    if (rc < 0)
        return failed(c, rc, "cannot read the token in %s: %s", path, strerror(-rc));
    while (n > 0 && (unsigned char)text[n - 1] <= ' ')
        n--;
    for (ssize_t i = 0; i < n; i++) {
        if (text[i] <= ' ' || text[i] > '~')
            n = 0;
    }
    if (n == 0)
        return failed(c, -EINVAL, "%s has no token in it", path);
    (void)snprintf(out, cap, "Authorization: Bearer %.*s\r\n", (int)n, text);
    return 0;
}

static int send_request(struct call *c, const struct admin_target *t, const char *method,
                        const char *path, const char *body)
{
    char head[REQUEST_HEAD_MAX], token[MAX_TOKEN + 64] = "", length[96] = "";

    if (t->token_file) {
        int rc = token_field(c, t->token_file, token, sizeof(token));
        if (rc < 0)
            return rc;
    }
    if (body || strcmp(method, "POST") == 0 || strcmp(method, "PUT") == 0)
        (void)snprintf(length, sizeof(length),
                       "Content-Type: application/json\r\nContent-Length: %zu\r\n",
                       body ? strlen(body) : 0);
    int n = snprintf(head, sizeof(head),
                     "%s %s HTTP/1.1\r\nHost: %s\r\nUser-Agent: sluice\r\nConnection: close\r\n"
                     "%s%s\r\n",
                     method, path, c->host, token, length);
    if (n < 0 || (size_t)n >= sizeof(head))
        return failed(c, -ENAMETOOLONG, "the request is too long");
    int rc = send_all(c, head, (size_t)n);
    if (rc == 0 && body)
        rc = send_all(c, body, strlen(body));
    /* One who refuses early has an answer for us, even when he takes no more. */
    return rc == -EPIPE || rc == -ECONNRESET ? 0 : rc < 0 ? cannot_reach(c, rc) : 0;
}

/* --- the answer -------------------------------------------------------------------------- */

static int keep(struct call *c, const char *p, size_t n)
{
    struct admin_answer *a = c->answer;

    if (a->n + n > MAX_ANSWER)
        return -EFBIG;
    if (a->n + n + 1 > c->cap) {
        size_t cap = c->cap ? c->cap : 4096;
        while (cap < a->n + n + 1)
            cap *= 2;
        char *body = mem_realloc(a->body, cap);
        if (!body)
            return -ENOMEM;
        a->body = body;
        c->cap = cap;
    }
    if (n > 0)
        memcpy(a->body + a->n, p, n);
    a->n += n;
    a->body[a->n] = '\0';
    return 0;
}

struct reader {
    struct message msg, trailers;
    struct h1_head head;
    struct h1_body body;
    bool in_body, done;
};

/* Bytes to the parser; 0, or -EPROTO. */
static int take(struct call *c, struct reader *r, enum http_method method, const char *p, size_t n)
{
    while (n > 0 && !r->done) {
        size_t taken = 0;
        struct str data = STR_NONE;
        enum h1_result result = r->in_body
                                    ? h1_body_feed(&r->body, &r->trailers, p, n, &taken, &data)
                                    : h1_head_feed(&r->head, &r->msg, p, n, &taken);
        if (result == H1_ERROR)
            return -EPROTO;
        int rc = keep(c, data.p, data.n);
        if (rc < 0)
            return rc;
        p += taken;
        n -= taken;
        if (result != H1_DONE)
            continue;
        if (r->in_body) {
            r->done = true;
        } else if (r->msg.status >= 200) {
            c->answer->status = r->msg.status;
            r->in_body = true;
            h1_body_init(&r->body, &r->msg, &r->head);
            r->done = r->body.done;
        } else { /* 100 Continue and the like: the answer comes behind it */
            message_free(&r->msg);
            message_init(&r->msg, false);
            h1_head_init(&r->head, &H1_LIMITS_DEFAULT, method);
        }
    }
    return 0;
}

static int read_answer(struct call *c, enum http_method method)
{
    struct reader r = {0};
    int rc = 0;

    message_init(&r.msg, false);
    message_init(&r.trailers, false);
    h1_head_init(&r.head, &H1_LIMITS_DEFAULT, method);
    while (rc == 0 && !r.done) {
        char block[16384];
        ssize_t n = recv(c->fd, block, sizeof(block), 0);
        if (n > 0)
            rc = take(c, &r, method, block, (size_t)n);
        else if (n == 0)
            break;
        else if (errno == EAGAIN)
            rc = wait_for(c, POLLIN);
        else if (errno != EINTR)
            rc = -errno;
    }
    bool whole = r.done || (r.in_body && r.msg.body == BODY_CLOSE);
    message_free(&r.msg);
    message_free(&r.trailers);
    if (rc == -ETIMEDOUT)
        return failed(c, rc, "sluice at %s did not answer in time", c->where);
    if (rc == -EPROTO)
        return failed(c, rc, "%s answers, but not in HTTP/1.1: is that sluice?", c->where);
    if (rc < 0)
        return failed(c, rc, "the answer from %s was cut: %s", c->where, strerror(-rc));
    if (!whole)
        return failed(c, -ECONNRESET, "sluice at %s closed the connection before it answered",
                      c->where);
    return keep(c, NULL, 0);
}

int admin_call(const struct admin_target *t, const char *method, const char *path, const char *body,
               struct admin_answer *ret)
{
    struct call c = {
        .where = t->where ? t->where : ADMIN_DEFAULT_SOCKET,
        .until = clock_mono() + (t->timeout ? t->timeout : DEFAULT_TIMEOUT),
        .fd = -1,
        .answer = ret,
    };
    enum http_method m = strcmp(method, "HEAD") == 0 ? METHOD_HEAD : METHOD_GET;

    *ret = (struct admin_answer){0};
    int rc = call_connect(&c);
    if (rc == 0)
        rc = send_request(&c, t, method, path, body);
    if (rc == 0)
        rc = read_answer(&c, m);
    if (c.fd >= 0)
        (void)close(c.fd);
    if (rc < 0) {
        free(ret->body);
        ret->body = NULL;
        ret->n = 0;
        ret->status = 0;
    }
    return rc;
}

void admin_answer_free(struct admin_answer *a)
{
    free(a->body);
    *a = (struct admin_answer){0};
}

char *admin_answer_problem(const struct admin_answer *a, char *out, size_t cap)
{
    json_t *o = a->body ? json_loadb(a->body, a->n, 0, NULL) : NULL;
    const char *detail = json_string_value(json_object_get(o, "detail"));
    const char *title = json_string_value(json_object_get(o, "title"));
    const char *code = json_string_value(json_object_get(o, "code"));
    char quoted[256];

    if (!detail)
        detail = title ? title : "sluice refused";
    (void)log_quote(str_of(detail), quoted, sizeof(quoted));
    (void)snprintf(out, cap, "%s (%s%s%u)", quoted, code ? code : "", code ? ", " : "HTTP ",
                   a->status);
    json_decref(o);
    return out;
}
