/* h2_pair.h - two codecs back to back, and a server against frames by hand. */
#ifndef SLUICE_TESTS_UNIT_HTTP_H2_PAIR_H
#define SLUICE_TESTS_UNIT_HTTP_H2_PAIR_H

#include "h2_peer.h"

struct pair {
    struct peer client, server;
};

static inline void pair_begin(struct pair *p, const struct h2_settings *server)
{
    assert_int_equal(peer_init(&p->client, H2_CLIENT, NULL), 0);
    assert_int_equal(peer_init(&p->server, H2_SERVER, server), 0);
    assert_int_equal(peers_talk(&p->client, &p->server, 0), 0);
    assert_int_equal(p->client.settings, 1);
    assert_int_equal(p->server.settings, 1);
}

static inline void pair_end(struct pair *p)
{
    peer_free(&p->client);
    peer_free(&p->server);
}

static inline void talk(struct pair *p)
{
    assert_int_equal(peers_talk(&p->client, &p->server, 0), 0);
}

/* A request that is only a head; its stream at the client. */
static inline struct told *ask(struct pair *p, const char *method, enum body_kind body,
                               uint64_t length, bool end)
{
    struct told *t = peer_new_stream(&p->client, false);
    struct message m;
    make_request(&m, method, "/a/b?c=d", body, length);
    assert_int_equal(h2_request(&p->client.h2, &t->st, &m, STR("http"), end), 0);
    message_free(&m);
    return t;
}

static inline void answer(struct told *t, uint16_t status, enum body_kind body, uint64_t length,
                          bool end)
{
    struct message m;
    make_response(&m, status, body, length);
    add_field(&m, "Server", "x");
    assert_int_equal(h2_respond(&t->st, &m, end), 0);
    message_free(&m);
}

static inline void say(struct told *t, const char *s)
{
    assert_int_equal(h2_send(&t->st, s, strlen(s)), 0);
}

static inline void assert_body(const struct told *t, const char *want)
{
    assert_int_equal(buf_len(&t->body), strlen(want));
    if (*want)
        assert_memory_equal(buf_data(&t->body), want, strlen(want));
}

static inline void assert_over(const struct told *t)
{
    assert_int_equal(t->closes, 1);
    assert_int_equal(t->code, H2_NO_ERROR);
    assert_null(t->st.h2);
}

static inline void server_begin(struct peer *s, struct raw *r, const struct h2_settings *settings)
{
    *r = (struct raw){0};
    assert_int_equal(peer_init(s, H2_SERVER, settings), 0);
    raw_begin(r);
}

static inline void server_end(struct peer *s, struct raw *r)
{
    raw_free(r);
    peer_free(s);
}

#endif
