/* test_tls_flood.c - what TLS says for itself in a connection that stands (RFC 8446 §4.6). */
#include "io/tls_parts.h"

#include "tests/unit/io/tls_peers.h"

enum { AT_ONCE = 32 };

struct fixture {
    struct tls_slot *client, *server;
    struct peers p;
};

static int setup(void **state)
{
    struct tls_client_settings cs = client_settings();
    struct tls_server_settings ss = server_settings();
    struct fixture *f = calloc(1, sizeof(*f));
    assert_non_null(f);
    f->client = client_slot(&cs);
    f->server = server_slot(&ss);
    peers_open(&f->p, f->client, f->server, "a.test");
    assert_int_equal(f->p.server_result, 0);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    peers_close(&f->p);
    (void)tls_slot_unref(f->client);
    (void)tls_slot_unref(f->server);
    free(f);
    return 0;
}

static struct tls_state *state_of(struct transport *t)
{
    return t->state;
}

static void renew_key(struct transport *t, int n, int how)
{
    SSL *ssl = state_of(t)->ssl;
    for (int i = 0; i < n; i++) {
        assert_int_equal(SSL_key_update(ssl, how), 1);
        assert_int_equal(SSL_do_handshake(ssl), 1);
    }
}

/* A byte that way still comes through. */
static void check_byte(struct transport *from, struct transport *to)
{
    char byte = 0;
    assert_int_equal(put(from, "x", 1), 1);
    assert_int_equal(get(to, &byte, 1), 1);
    assert_int_equal(byte, 'x');
}

/* As many at once as are allowed, of either kind, from either side. */
static void test_allowed(void **state)
{
    struct fixture *f = *state;
    struct transport *c = &f->p.client, *s = &f->p.server;
    char byte;
    renew_key(c, AT_ONCE / 2, SSL_KEY_UPDATE_NOT_REQUESTED);
    renew_key(c, AT_ONCE / 2, SSL_KEY_UPDATE_REQUESTED);
    assert_int_equal(get(s, &byte, 1), -EAGAIN);
    check_byte(c, s);
    check_byte(s, c); /* behind a ticket and the answers */
    renew_key(s, AT_ONCE / 2 - 1, SSL_KEY_UPDATE_NOT_REQUESTED);
    check_byte(s, c);
    check_byte(c, s);
    assert_false(transport_tls_flooded(s));
    assert_false(transport_tls_flooded(c));
}

/* What a second gives back is taken from the count. */
static void test_over_time(void **state)
{
    struct fixture *f = *state;
    struct transport *c = &f->p.client, *s = &f->p.server;
    for (int i = 0; i < 3; i++) {
        renew_key(c, AT_ONCE, SSL_KEY_UPDATE_NOT_REQUESTED);
        check_byte(c, s);
        assert_in_range(state_of(s)->talk, 1, AT_ONCE);
        state_of(s)->talk_at -= AT_ONCE;
    }
}

/* Data between them is no excuse; what is behind the last straw is not looked at. */
static void flood(struct transport *from, struct transport *to)
{
    char byte;
    for (int i = 0; i < AT_ONCE / 4 - 1; i++) { /* there may have been a ticket */
        renew_key(from, 4, SSL_KEY_UPDATE_NOT_REQUESTED);
        check_byte(from, to);
    }
    renew_key(from, 200, SSL_KEY_UPDATE_NOT_REQUESTED);
    assert_int_equal(put(from, "y", 1), 1);
    state_of(to)->talk = AT_ONCE - 2;
    state_of(to)->talk_at = (uint32_t)(clock_mono() / USEC_PER_SEC);
    assert_int_equal(get(to, &byte, 1), -EPROTO);
    assert_true(transport_tls_flooded(to));
    assert_int_equal(state_of(to)->talk, AT_ONCE + 1);
    assert_int_equal(get(to, &byte, 1), -EAGAIN);
    assert_int_equal(put(to, "x", 1), -EPIPE);
}

static void test_flood_of_client(void **state)
{
    struct fixture *f = *state;
    flood(&f->p.client, &f->p.server);
}

static void test_flood_of_server(void **state)
{
    struct fixture *f = *state;
    flood(&f->p.server, &f->p.client);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_allowed, setup, teardown),
        cmocka_unit_test_setup_teardown(test_over_time, setup, teardown),
        cmocka_unit_test_setup_teardown(test_flood_of_client, setup, teardown),
        cmocka_unit_test_setup_teardown(test_flood_of_server, setup, teardown),
    };
    return cmocka_run_group_tests(tests, cast_make, cast_free);
}
