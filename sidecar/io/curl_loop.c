/* curl_loop.c - libcurl's sockets and its timer on the loop.
 *
 * libcurl is never called from its own callbacks: they only note what to watch. What has ended is
 * collected behind curl_multi_socket_action(). */
#include "io/curl_loop.h"

#include "base/mem.h"
#include "io/address.h"
#include "io/curl_library.h"
#include "io/tls.h"

#include <errno.h>
#include <stdio.h>
#include <strings.h>
#include <unistd.h>

/* Without a request for so long, the CAs and buffers that libcurl keeps are given back. */
#define IDLE_S 0.5

struct curl_loop {
    struct loop *loop;
    const struct curl_library *lib;
    CURLM *multi; /* NULL: nothing to do for a while */
    struct ev_timer timer, idle;
    struct list watches; /* struct watch */
    uint32_t active;
};

/* A socket of libcurl's. */
struct watch {
    struct list link;
    struct ev_io io;
    struct curl_loop *owner;
};

/* --- what has ended --- */

static void release(struct curl_request *r)
{
    const struct curl_library *lib = r->loop->lib;
    (void)lib->multi_remove_handle(r->loop->multi, r->easy);
    lib->easy_cleanup(r->easy);
    lib->slist_free_all(r->headers);
    lib->slist_free_all(r->connects);
    r->easy = r->headers = r->connects = NULL;
    r->peer = tls_peer_unref(r->peer);
    if (--r->loop->active == 0)
        ev_timer_again(r->loop->loop->ev, &r->loop->idle);
}

static void forget_answer(struct curl_request *r)
{
    if (r->answer)
        explicit_bzero(r->answer, r->answer_n);
    free(r->answer);
    r->answer = NULL;
    r->answer_n = 0;
}

static void take_answer(struct curl_request *r, CURLcode code)
{
    const struct curl_library *lib = r->loop->lib;
    long status = 0;
    curl_off_t after = 0;
    (void)lib->easy_getinfo(r->easy, CURLINFO_RESPONSE_CODE, &status);
    (void)lib->easy_getinfo(r->easy, CURLINFO_RETRY_AFTER, &after);
    /* Where nobody keeps the body the head has all that counts: if it breaks off, or we have had
     * enough of it, that takes nothing from it. But 1xx is no answer. */
    bool whole = r->keep == 0 || code == CURLE_OK;
    r->status = whole && status >= 200 && status <= 599 ? (unsigned)status : 0;
    r->retry_after = after > 0 && after < 86400 ? (usec_t)after * USEC_PER_SEC : 0;
    if (r->status == 0)
        (void)snprintf(r->error, sizeof(r->error), "%s",
                       r->link_local ? "a link-local address (allowLinkLocal: true takes it)"
                       : r->received > r->keep && r->keep > 0 ? "the answer is too large"
                       : code == CURLE_OK                     ? "no answer"
                                                              : lib->easy_strerror(code));
    if (r->status == 0)
        forget_answer(r);
}

static void collect(struct curl_loop *c)
{
    CURLMsg *m;
    int left;
    while (c->multi && (m = c->lib->multi_info_read(c->multi, &left)) != NULL) {
        struct curl_request *r = NULL;
        if (m->msg != CURLMSG_DONE)
            continue;
        CURLcode code = m->data.result; /* m goes with its handle */
        (void)c->lib->easy_getinfo(m->easy_handle, CURLINFO_PRIVATE, &r);
        take_answer(r, code);
        release(r);
        r->done(r);
    }
}

static void act(struct curl_loop *c, curl_socket_t fd, int events)
{
    int running;
    (void)c->lib->multi_socket_action(c->multi, fd, events, &running);
    collect(c);
}

/* --- the loop's side --- */

static void on_socket(struct ev_loop *ev, struct ev_io *io, int events)
{
    struct watch *w = CONTAINER_OF(io, struct watch, io);
    (void)ev;
    act(w->owner, io->fd,
        (events & EV_READ ? CURL_CSELECT_IN : 0) | (events & EV_WRITE ? CURL_CSELECT_OUT : 0));
}

static void on_timer(struct ev_loop *ev, struct ev_timer *t, int events)
{
    struct curl_loop *c = CONTAINER_OF(t, struct curl_loop, timer);
    (void)events;
    ev_timer_stop(ev, t);
    act(c, CURL_SOCKET_TIMEOUT, 0);
}

static void forget_watch(struct watch *w)
{
    ev_io_stop(w->owner->loop->ev, &w->io);
    list_remove(&w->link);
    free(w);
}

static void drop_multi(struct curl_loop *c)
{
    if (!c->multi)
        return;
    CURLM *multi = c->multi;
    (void)c->lib->multi_cleanup(multi);
    c->multi = NULL;
    LIST_FOREACH_SAFE (it, &c->watches)
        forget_watch(LIST_ENTRY(it, struct watch, link));
    ev_timer_stop(c->loop->ev, &c->timer);
}

static void on_idle(struct ev_loop *ev, struct ev_timer *t, int events)
{
    struct curl_loop *c = CONTAINER_OF(t, struct curl_loop, idle);
    (void)events;
    ev_timer_stop(ev, t);
    if (c->active == 0)
        drop_multi(c);
}

/* --- libcurl's side --- */

static int watch_socket(CURL *easy, curl_socket_t fd, int what, void *ctx, void *mine)
{
    struct curl_loop *c = ctx;
    struct watch *w = mine;
    (void)easy;
    if (what == CURL_POLL_REMOVE) {
        if (w)
            forget_watch(w);
        return 0;
    }
    if (!w) {
        w = mem_zalloc(sizeof(*w));
        if (!w)
            return -1; /* the transfer fails */
        w->owner = c;
        ev_io_init(&w->io, on_socket, fd, 0);
        list_push_back(&c->watches, &w->link);
        (void)c->lib->multi_assign(c->multi, fd, w);
    }
    ev_io_stop(c->loop->ev, &w->io);
    ev_io_set(&w->io, fd,
              (what & CURL_POLL_IN ? EV_READ : 0) | (what & CURL_POLL_OUT ? EV_WRITE : 0));
    ev_io_start(c->loop->ev, &w->io);
    return 0;
}

static int set_timer(CURLM *multi, long ms, void *ctx)
{
    struct curl_loop *c = ctx;
    (void)multi;
    ev_timer_stop(c->loop->ev, &c->timer);
    if (ms < 0)
        return 0;
    ev_now_update(c->loop->ev);
    ev_timer_set(&c->timer, (double)ms / 1e3, 0.);
    ev_timer_start(c->loop->ev, &c->timer);
    return 0;
}

static curl_socket_t open_socket(void *ctx, curlsocktype purpose, struct curl_sockaddr *to)
{
    struct curl_request *r = ctx;
    struct address a = {.len = (socklen_t)to->addrlen};
    (void)purpose;
    if (to->addrlen <= sizeof(a.u))
        memcpy(&a.u, &to->addr, to->addrlen);
    if (!r->allow_link_local && address_is_link_local(&a)) {
        r->link_local = true;
        return CURL_SOCKET_BAD;
    }
    return socket(to->family, to->socktype | SOCK_CLOEXEC, to->protocol);
}

static size_t take_body(char *p, size_t size, size_t n, void *ctx)
{
    struct curl_request *r = ctx;
    n *= size;
    r->received += n;
    if (r->keep == 0)
        return r->received <= CURL_ANSWER_MAX ? n : 0;
    if (r->received > r->keep)
        return 0;
    if (!r->answer)
        r->answer = mem_alloc(r->keep);
    if (!r->answer)
        return 0;
    memcpy(r->answer + r->answer_n, p, n);
    r->answer_n += n;
    return n;
}

/* --- a request --- */

static bool add_line(struct curl_request *r, const char *line)
{
    struct curl_slist *more = r->loop->lib->slist_append(r->headers, line);
    if (more)
        r->headers = more;
    return more != NULL;
}

static bool add_field(struct curl_request *r, const struct curl_field *f)
{
    size_t n = strlen(f->name) + strlen(f->value) + 3;
    char *line = mem_alloc(n);
    if (!line)
        return false;
    /* "Name;" is libcurl's way to send an empty field. */
    (void)snprintf(line, n, f->value[0] ? "%s: %s" : "%s;", f->name, f->value);
    bool ok = add_line(r, line);
    free(line);
    return ok;
}

static bool add_fields(struct curl_request *r)
{
    bool typed = false;
    for (uint32_t i = 0; i < r->n_fields; i++) {
        if (!add_field(r, &r->fields[i]))
            return false;
        typed = typed || str_ieq(str_of(r->fields[i].name), STR("content-type"));
    }
    /* Nothing of its own: no form's type, no waiting for 100. */
    return add_line(r, "Expect:") && (typed || add_line(r, "Content-Type:"));
}

static bool sends_length(const struct curl_request *r)
{
    static const char *const with_content[] = {"POST", "PUT", "PATCH"};
    for (size_t i = 0; i < ARRAY_LEN(with_content); i++) {
        if (strcmp(r->method, with_content[i]) == 0)
            return true;
    }
    return r->body.n > 0;
}

/* --- whom it has to meet --- */

static CURLcode on_ssl_ctx(CURL *easy, void *ssl_ctx, void *ctx)
{
    struct curl_request *r = ctx;
    (void)easy;
    return tls_peer_use(r->peer, ssl_ctx) == 0 ? CURLE_OK : CURLE_OUT_OF_MEMORY;
}

/* Its contexts are ours to change only where it has them from the same library. */
static bool has_our_library(const struct curl_library *lib)
{
    char ours[TLS_LIBRARY_MAX];
    const char *its = lib->version_info(CURLVERSION_NOW)->ssl_version;
    return its && strcmp(its, tls_peer_library(ours)) == 0;
}

static int make_peer(struct curl_request *r)
{
    int rc = 0;
    if (r->insecure || (!r->sans && !r->spiffe_ids))
        return 0;
    if (!has_our_library(r->loop->lib))
        return -ENOTSUP;
    r->peer = tls_peer_new(r->sans, r->spiffe_ids, &rc);
    return rc;
}

static int set_tls_options(struct curl_request *r)
{
    const struct curl_library *lib = r->loop->lib;
    int bad = 0;
#define SET(option, value) (bad |= lib->easy_setopt(r->easy, (option), (value)) != CURLE_OK)
    SET(CURLOPT_SSLVERSION,
        r->tls_1_3 ? (long)CURL_SSLVERSION_TLSv1_3 : (long)CURL_SSLVERSION_TLSv1_2);
    /* Who resumes a session does not show a certificate again. */
    SET(CURLOPT_SSL_SESSIONID_CACHE, 0L);
    SET(CURLOPT_SSL_VERIFYPEER, r->insecure ? 0L : 1L);
    SET(CURLOPT_SSL_VERIFYHOST, r->insecure || r->peer ? 0L : 2L);
    if (r->peer) {
        SET(CURLOPT_SSL_CTX_FUNCTION, on_ssl_ctx);
        SET(CURLOPT_SSL_CTX_DATA, r);
    }
    if (r->ca_file) {
        SET(CURLOPT_CAINFO, r->ca_file);
        SET(CURLOPT_CAPATH, NULL);
    }
    if (r->cert_file)
        SET(CURLOPT_SSLCERT, r->cert_file);
    if (r->key_file)
        SET(CURLOPT_SSLKEY, r->key_file);
#undef SET
    return bad ? -EINVAL : 0;
}

static long version_of(const struct curl_request *r)
{
    if (!r->http2)
        return CURL_HTTP_VERSION_1_1;
    return str_starts(str_of(r->url), STR("https:")) ? CURL_HTTP_VERSION_2TLS
                                                     : CURL_HTTP_VERSION_2_PRIOR_KNOWLEDGE;
}

static int set_options(struct curl_request *r)
{
    const struct curl_library *lib = r->loop->lib;
    int bad = 0;
#define SET(option, value) (bad |= lib->easy_setopt(r->easy, (option), (value)) != CURLE_OK)
    SET(CURLOPT_PRIVATE, r);
    SET(CURLOPT_URL, r->url);
    SET(CURLOPT_PROTOCOLS_STR, "http,https");
    SET(CURLOPT_FOLLOWLOCATION, 0L);
    SET(CURLOPT_HTTP_VERSION, version_of(r));
    SET(CURLOPT_PROXY, "");
    SET(CURLOPT_NOPROXY, "*");
    SET(CURLOPT_NOSIGNAL, 1L);
    /* A resolver's thread that still waits for an answer is left to itself, not waited for. */
    SET(CURLOPT_QUICK_EXIT, 1L);
    SET(CURLOPT_FORBID_REUSE, 1L);
    SET(CURLOPT_FRESH_CONNECT, 1L);
    SET(CURLOPT_USERAGENT, "sluice/" SLUICE_VERSION);
    SET(CURLOPT_WRITEFUNCTION, take_body);
    SET(CURLOPT_WRITEDATA, r);
    SET(CURLOPT_OPENSOCKETFUNCTION, open_socket);
    SET(CURLOPT_OPENSOCKETDATA, r);
    SET(CURLOPT_HTTPHEADER, r->headers);
    SET(CURLOPT_TIMEOUT_MS, (long)max_u64(r->timeout / USEC_PER_MSEC, 1));
    SET(CURLOPT_CONNECTTIMEOUT_MS, (long)max_u64(r->timeout / USEC_PER_MSEC, 1));
    if (strcmp(r->method, "HEAD") == 0)
        SET(CURLOPT_NOBODY, 1L);
    if (sends_length(r)) {
        SET(CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)r->body.n);
        SET(CURLOPT_POSTFIELDS, r->body.n > 0 ? r->body.p : "");
    }
    SET(CURLOPT_CUSTOMREQUEST, r->method);
    if (r->connects)
        SET(CURLOPT_CONNECT_TO, r->connects);
    if (r->unix_path)
        SET(CURLOPT_UNIX_SOCKET_PATH, r->unix_path);
#undef SET
    return bad ? -EINVAL : set_tls_options(r);
}

static int prepare_multi(struct curl_loop *c)
{
    if (c->multi)
        return 0;
    c->multi = c->lib->multi_init();
    if (!c->multi)
        return -ENOMEM;
    (void)c->lib->multi_setopt(c->multi, CURLMOPT_SOCKETFUNCTION, watch_socket);
    (void)c->lib->multi_setopt(c->multi, CURLMOPT_SOCKETDATA, c);
    (void)c->lib->multi_setopt(c->multi, CURLMOPT_TIMERFUNCTION, set_timer);
    (void)c->lib->multi_setopt(c->multi, CURLMOPT_TIMERDATA, c);
    return 0;
}

int curl_loop_start(struct curl_loop *c, struct curl_request *r)
{
    r->loop = c;
    r->easy = r->headers = r->connects = NULL;
    r->status = 0;
    r->retry_after = r->received = 0;
    r->answer = NULL;
    r->answer_n = 0;
    r->error[0] = '\0';
    r->link_local = false;
    r->peer = NULL;
    int rc = prepare_multi(c);
    if (rc < 0)
        return rc;
    r->easy = c->lib->easy_init();
    if (!r->easy)
        return -ENOMEM;
    rc = add_fields(r) ? 0 : -ENOMEM;
    if (rc == 0 && r->connect_to) {
        r->connects = c->lib->slist_append(NULL, r->connect_to);
        rc = r->connects ? 0 : -ENOMEM;
    }
    if (rc == 0)
        rc = make_peer(r);
    if (rc == 0)
        rc = set_options(r);
    c->active++;
    ev_timer_stop(c->loop->ev, &c->idle);
    if (rc == 0 && c->lib->multi_add_handle(c->multi, r->easy) != CURLM_OK)
        rc = -ENOMEM;
    if (rc < 0)
        release(r);
    return rc;
}

void curl_loop_cancel(struct curl_request *r)
{
    if (!r->easy)
        return;
    release(r);
    forget_answer(r);
}

struct curl_loop *curl_loop_new(struct loop *l, const char **ret_why)
{
    const struct curl_library *lib = curl_library(ret_why);
    struct curl_loop *c = lib ? mem_zalloc(sizeof(*c)) : NULL;
    if (!c) {
        if (lib)
            *ret_why = "out of memory";
        return NULL;
    }
    c->loop = l;
    c->lib = lib;
    list_init(&c->watches);
    ev_timer_init(&c->timer, on_timer, 0., 0.);
    ev_timer_init(&c->idle, on_idle, 0., IDLE_S);
    return c;
}

struct curl_loop *curl_loop_free(struct curl_loop *c)
{
    if (!c)
        return NULL;
    drop_multi(c);
    ev_timer_stop(c->loop->ev, &c->idle);
    free(c);
    return NULL;
}
