/* tls_peers.h - a client and a server over a socket pair, both of transport_tls_*(). */
#ifndef TESTS_TLS_PEERS_H
#define TESTS_TLS_PEERS_H

#include "tests/unit/io/tls_certs.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <sys/socket.h>
#include <unistd.h>
#include <cmocka.h>

/* Who signs, and whom all tests know. */
struct cast {
    struct made ca, other_ca, server, client;
    struct tls_pair server_pair;
};

static struct cast cast;

static inline int cast_make(void **state)
{
    (void)state;
    cast.ca = make((struct wish){.cn = "Test CA"});
    cast.other_ca = make((struct wish){.cn = "Other CA"});
    cast.server = make((struct wish){.cn = "a.test",
                                     .sans = "DNS:a.test,IP:127.0.0.1,URI:spiffe://td/ns/server",
                                     .issuer = &cast.ca});
    cast.client = make(
        (struct wish){.cn = "client", .sans = "URI:spiffe://td/ns/client", .issuer = &cast.ca});
    cast.server_pair = pair_of(&cast.server);
    return 0;
}

static inline int cast_free(void **state)
{
    (void)state;
    made_free(&cast.ca);
    made_free(&cast.other_ca);
    made_free(&cast.server);
    made_free(&cast.client);
    return 0;
}

static inline struct tls_server_settings server_settings(void)
{
    return (struct tls_server_settings){
        .n_pairs = 1, .pairs = &cast.server_pair, .http2 = true, .alpn = true};
}

static inline struct tls_client_settings client_settings(void)
{
    return (struct tls_client_settings){
        .ca_file = STR("ca.pem"), .ca = cast.ca.cert_pem, .http1 = true, .http2 = true};
}

static inline struct tls_slot *server_slot(const struct tls_server_settings *s)
{
    char why[256] = "";
    struct tls_context *c = tls_context_server(s, time(NULL), why, sizeof(why));
    if (!c)
        fail_msg("%s", why);
    struct tls_slot *slot = tls_slot_new(c);
    assert_non_null(slot);
    return slot;
}

static inline struct tls_slot *client_slot(const struct tls_client_settings *s)
{
    char why[256] = "";
    struct tls_context *c = tls_context_client(s, time(NULL), why, sizeof(why));
    if (!c)
        fail_msg("%s", why);
    struct tls_slot *slot = tls_slot_new(c);
    assert_non_null(slot);
    return slot;
}

struct peers {
    struct transport client, server;
    int client_result, server_result; /* of the handshake */
};

static inline struct address peer_address(uint16_t port)
{
    struct address a = {.len = sizeof(struct sockaddr_in)};
    a.u.in = (struct sockaddr_in){.sin_family = AF_INET, .sin_port = htons(port)};
    return a;
}

static inline void peers_connect(struct peers *p, struct tls_slot *client, struct tls_slot *server,
                                 const char *name)
{
    int fds[2];
    struct address to = peer_address(443);
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds), 0);
    *p = (struct peers){0};
    assert_int_equal(transport_tls_client(&p->client, fds[0], client, str_of(name), &to), 0);
    assert_int_equal(transport_tls_server(&p->server, fds[1], server), 0);
    assert_true(transport_is_tls(&p->client));
}

/* Both shake hands until both are through; a failed one goes on to read, so that the other hears
 * its alert. */
static inline void peers_shake(struct peers *p)
{
    p->client_result = p->server_result = -EAGAIN;
    for (int i = 0; i < 100 && (p->client_result == -EAGAIN || p->server_result == -EAGAIN); i++) {
        if (p->client_result == -EAGAIN)
            p->client_result = p->client.ops->handshake(&p->client);
        if (p->server_result == -EAGAIN)
            p->server_result = p->server.ops->handshake(&p->server);
    }
}

static inline void peers_open(struct peers *p, struct tls_slot *client, struct tls_slot *server,
                              const char *name)
{
    peers_connect(p, client, server, name);
    peers_shake(p);
}

static inline void transport_end(struct transport *t)
{
    if (t->ops && t->fd >= 0)
        t->ops->close(t);
}

static inline void peers_close(struct peers *p)
{
    transport_end(&p->client);
    transport_end(&p->server);
}

static inline ssize_t put(struct transport *t, const void *p, size_t n)
{
    struct iovec v = {(void *)(uintptr_t)p, n};
    return t->ops->writev(t, &v, 1);
}

static inline ssize_t get(struct transport *t, void *p, size_t n)
{
    return t->ops->read(t, p, n);
}

static inline const char *word_of(const struct transport *t)
{
    const char *text = NULL;
    enum tls_failure f = transport_tls_failure(t, &text);
    assert_true((f == TLS_FAILURE_NONE) == (text == NULL));
    return tls_failure_word(f);
}

#endif
