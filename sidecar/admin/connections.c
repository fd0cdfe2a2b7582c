/* connections.c - GET /v1/connections: what is open, connection by connection. */
#include "admin/connections.h"

#include "admin/control.h"
#include "proxy/downstream_h2.h"
#include "proxy/endpoint.h"
#include "proxy/listener.h"
#include "proxy/websocket_tunnel.h"

#include <jansson.h>

enum { LIMIT_DEFAULT = 1000, LIMIT_MAX = 10000 };

enum shown { SHOWN_HTTP1, SHOWN_HTTP2, SHOWN_WEBSOCKET, SHOWN_TCP, SHOWN_CLASSES };

static const char *const words[SHOWN_CLASSES] = {"http1", "http2", "websocket", "tcp"};

/* What a worker is asked for. */
struct ask {
    uint32_t limit;
    uint32_t classes; /* bits */
};

static void put_text(json_t *o, const char *key, struct str s)
{
    if (s.n > 0)
        (void)json_object_set_new(o, key, json_stringn(s.p, s.n));
}

static void put_number(json_t *o, const char *key, uint64_t n)
{
    (void)json_object_set_new(o, key, json_integer((json_int_t)n));
}

static void put_since(json_t *o, const char *key, usec_t since, usec_t now)
{
    put_number(o, key, now > since ? (now - since) / USEC_PER_MSEC : 0);
}

static void put_websocket(json_t *o, const struct websocket_tunnel *t, usec_t now)
{
    static const char *const who[] = {"client", "server"};
    json_t *w = json_object();
    (void)json_object_set_new(
        w, "state", json_string(t->closing || t->ending || t->first_code ? "closing" : "open"));
    if (t->first_code)
        put_number(w, "close_code", t->first_code);
    for (int i = WEBSOCKET_CLIENT; i <= WEBSOCKET_SERVER; i++) {
        const struct websocket_peer *p = &t->peers[i];
        json_t *end = json_object();
        put_number(end, "messages", p->reader.messages);
        if (p->ping_at)
            put_since(end, "pinged_ms_ago", p->ping_at, now);
        if (p->pong_at)
            put_since(end, "pong_ms_ago", p->pong_at, now);
        (void)json_object_set_new(w, who[i], end);
    }
    (void)json_object_set_new(o, "websocket", w);
}

static void put_stream(json_t *o, const struct stream *s, usec_t now)
{
    put_since(o, "stream_age_ms", s->began, now);
    put_since(o, "idle_ms", s->active_at, now);
    if (s->route)
        put_text(o, "route", s->route->name);
    if (s->upstream)
        put_text(o, "upstream", s->upstream->name);
    if (s->endpoint)
        put_text(o, "endpoint", s->endpoint->shared->text);
    put_number(o, "bytes_in", s->request.bytes);
    put_number(o, "bytes_out", s->response.bytes);
    if (s->websocket)
        put_websocket(o, s->websocket, now);
}

static json_t *begin(const struct downstream *d, enum shown class, usec_t now)
{
    json_t *o = json_object();
    (void)json_object_set_new(o, "class", json_string(words[class]));
    put_text(o, "listener", d->listener->conf->name);
    put_text(o, "peer", (struct str){d->peer, d->peer_len});
    put_since(o, "age_ms", d->opened, now);
    put_number(o, "requests", d->requests);
    return o;
}

static const char *state_of(const struct downstream *d)
{
    static const char *const states[] = {"head", "body", "wait", "tunnel", "linger", "closed"};
    return d->idle ? "idle" : states[d->state];
}

/* HTTP/1, a tunnel, or TCP: one stream at most. */
static void list_one(json_t *a, const struct downstream *d, const struct ask *ask, usec_t now)
{
    const struct stream *s = d->side.stream;
    enum shown class = d->listener->conf->protocol == PROTOCOL_TCP ? SHOWN_TCP
                       : s && s->websocket                         ? SHOWN_WEBSOCKET
                                                                   : SHOWN_HTTP1;
    if (!(ask->classes & (1u << class)))
        return;
    json_t *o = begin(d, class, now);
    (void)json_object_set_new(o, "state", json_string(state_of(d)));
    if (s)
        put_stream(o, s, now);
    else
        put_since(o, "idle_ms", d->since, now);
    (void)json_array_append_new(a, o);
}

/* The connection, and each WebSocket in it. */
static void list_h2(json_t *a, const struct downstream *d, const struct ask *ask, usec_t now)
{
    if (ask->classes & (1u << SHOWN_HTTP2)) {
        json_t *o = begin(d, SHOWN_HTTP2, now);
        (void)json_object_set_new(o, "state", json_string(d->idle ? "idle" : "active"));
        put_number(o, "streams", d->h2->h2.n_streams);
        (void)json_array_append_new(a, o);
    }
    if (!(ask->classes & (1u << SHOWN_WEBSOCKET)))
        return;
    LIST_FOREACH (it, &d->h2->h2.streams) {
        struct h2_stream *st = LIST_ENTRY(it, struct h2_stream, link);
        const struct stream *s = CONTAINER_OF(st, struct h2_request, st)->side.stream;
        if (!s || !s->websocket || json_array_size(a) >= ask->limit)
            continue;
        json_t *o = begin(d, SHOWN_WEBSOCKET, now);
        (void)json_object_set_new(o, "state", json_string("tunnel"));
        (void)json_object_set_new(o, "over", json_string("http2"));
        put_stream(o, s, now);
        (void)json_array_append_new(a, o);
    }
}

static void list_population(json_t *a, const struct list *l, const struct ask *ask, usec_t now)
{
    LIST_FOREACH (it, l) {
        const struct downstream *d = LIST_ENTRY(it, struct downstream, link);
        if (json_array_size(a) >= ask->limit)
            return;
        if (d->h2)
            list_h2(a, d, ask, now);
        else
            list_one(a, d, ask, now);
    }
}

/* On the worker. */
static void list_connections(struct gather_part *part)
{
    struct worker *w = part->worker;
    const struct ask ask = {part->gather->ask[0], part->gather->ask[1]};
    usec_t now = clock_mono();
    json_t *a = json_array();
    for (int dir = 0; dir < 2; dir++) {
        list_population(a, &w->population[dir].active, &ask, now);
        list_population(a, &w->population[dir].idle, &ask, now);
    }
    part->user = a;
}

static void connections_done(struct gather *g)
{
    json_t *o = json_object(), *all = json_array();
    uint32_t limit = g->ask[0];
    for (uint32_t i = 0; i < g->n; i++) {
        json_t *it;
        size_t k;
        json_array_foreach((json_t *)g->parts[i].user, k, it)
        {
            if (json_array_size(all) < limit)
                (void)json_array_append(all, it);
        }
        json_decref(g->parts[i].user);
    }
    put_number(o, "open", atomic_load(&g->control->process.connections));
    put_number(o, "limit", limit);
    (void)json_object_set_new(o, "connections", all);
    char *text = g->request ? json_dumps(o, JSON_INDENT(1)) : NULL;
    json_decref(o);
    if (text)
        http_reply(g->request, 200, "application/json", text, strlen(text));
    else if (g->request)
        http_reply_problem(g->request, 503, "out_of_memory", NULL);
    free(text);
}

/* False: it is answered. */
static bool read_ask(struct http_request *req, struct ask *ask)
{
    char text[32];
    uint64_t n = 0;
    *ask = (struct ask){LIMIT_DEFAULT, (1u << SHOWN_CLASSES) - 1};
    if (http_query_get(req, "limit", text, sizeof(text))) {
        if (!str_to_u64(str_of(text), &n) || n < 1 || n > LIMIT_MAX) {
            http_reply_problem(req, 400, "bad_request", "limit is a number from 1 to 10000");
            return false;
        }
        ask->limit = (uint32_t)n;
    }
    if (!http_query_get(req, "class", text, sizeof(text)))
        return true;
    for (uint32_t i = 0; i < SHOWN_CLASSES; i++) {
        if (strcmp(text, words[i]) == 0) {
            ask->classes = 1u << i;
            return true;
        }
    }
    http_reply_problem(req, 400, "bad_request", "class is http1, http2, websocket or tcp");
    return false;
}

void connections_get(struct http_request *req, void *ctx)
{
    struct ask ask;
    if (read_ask(req, &ask) &&
        gather_ask(ctx, req, list_connections, connections_done, ask.limit, ask.classes) < 0)
        http_reply_problem(req, 503, "out_of_memory", NULL);
}
