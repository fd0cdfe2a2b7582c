/* test_tls_resume.c - sessions that go on: in both roles, over rotation, and where they must not.
 */
#include "io/tls_parts.h"

#include "tests/unit/io/tls_peers.h"

struct fixture {
    struct tls_client_settings cs;
    struct tls_server_settings ss;
    struct tls_slot *client, *server;
};

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof(*f));
    assert_non_null(f);
    f->cs = client_settings();
    f->ss = server_settings();
    f->client = client_slot(&f->cs);
    f->server = server_slot(&f->ss);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    (void)tls_slot_unref(f->client);
    (void)tls_slot_unref(f->server);
    free(f);
    return 0;
}

/* A connection with a byte each way, which ends; was it resumed? Both have to say the same. */
static bool once_as(struct tls_slot *client, struct tls_slot *server, const char *name,
                    bool orderly)
{
    struct peers p;
    struct tls_identity c, s;
    char byte;
    peers_open(&p, client, server, name);
    assert_int_equal(p.client_result, 0);
    assert_int_equal(p.server_result, 0);
    assert_int_equal(put(&p.server, "x", 1), 1);
    ssize_t n = get(&p.client, &byte, 1); /* and the ticket before it */
    assert_int_equal(n, 1);
    assert_int_equal(put(&p.client, "y", 1), 1);
    assert_int_equal(get(&p.server, &byte, 1), 1);
    transport_tls_identity(&p.client, &c);
    transport_tls_identity(&p.server, &s);
    assert_true(c.resumed == s.resumed);
    assert_true(str_eq(c.subject, STR("CN=a.test"))); /* a session knows who it is with */
    if (orderly) {
        (void)p.client.ops->shutdown_write(&p.client);
        (void)p.server.ops->shutdown_write(&p.server);
    }
    peers_close(&p);
    return c.resumed;
}

static bool once(struct fixture *f)
{
    return once_as(f->client, f->server, "a.test", true);
}

static void test_resumed(void **state)
{
    struct fixture *f = *state;
    assert_false(once(f));
    for (int i = 0; i < 3; i++)
        assert_true(once(f));
}

/* A connection that was just closed has done nothing that its session should pay for. */
static void test_resumed_after_a_cut(void **state)
{
    struct fixture *f = *state;
    assert_false(once_as(f->client, f->server, "a.test", false));
    assert_true(once_as(f->client, f->server, "a.test", false));
}

/* The key before still opens, and what it opened is sealed anew; two rotations, and it is gone. */
static void test_rotation(void **state)
{
    struct fixture *f = *state;
    assert_false(once(f));
    assert_int_equal(tls_tickets_rotate(), 0);
    assert_true(once(f));
    assert_int_equal(tls_tickets_rotate(), 0);
    assert_true(once(f));
    assert_int_equal(tls_tickets_rotate(), 0);
    assert_int_equal(tls_tickets_rotate(), 0);
    assert_false(once(f));
    assert_true(once(f));
}

/* Each connection brings a ticket of its own: clients use one once (RFC 8446 §C.4). */
static void test_new_ticket_each_time(void **state)
{
    struct fixture *f = *state;
    struct tls_context *c = tls_slot_get(f->client);
    unsigned char before[1024] = "";
    assert_non_null(c);
    for (int i = 0; i < 3; i++) {
        struct peers p;
        char byte;
        const unsigned char *ticket = NULL;
        size_t n = 0;
        peers_open(&p, f->client, f->server, "a.test");
        uint64_t key = ((struct tls_state *)p.client.state)->session_key;
        assert_int_equal(put(&p.server, "x", 1), 1);
        assert_int_equal(get(&p.client, &byte, 1), 1);
        SSL_SESSION *s = tls_sessions_get(&c->sessions, key);
        assert_non_null(s);
        SSL_SESSION_get0_ticket(s, &ticket, &n);
        assert_in_range(n, 16, sizeof(before));
        assert_int_not_equal(memcmp(before, ticket, n), 0);
        memcpy(before, ticket, n);
        SSL_SESSION_free(s);
        peers_close(&p);
    }
    (void)tls_context_unref(c);
}

/* Another listener of the same process, of the same rules, resumes too; a new certificate does not
 * hinder it. */
static void test_other_server(void **state)
{
    struct fixture *f = *state;
    struct tls_slot *other = server_slot(&f->ss);
    assert_false(once(f));
    assert_true(once_as(f->client, other, "a.test", true));
    (void)tls_slot_unref(other);
}

static void test_by_name_and_peer(void **state)
{
    struct fixture *f = *state;
    assert_false(once(f));
    assert_false(once_as(f->client, f->server, "127.0.0.1", true));
    assert_true(once_as(f->client, f->server, "127.0.0.1", true));
    assert_true(once(f));
}

/* Other rules are another context, which begins without sessions. */
static void test_new_client_context(void **state)
{
    struct fixture *f = *state;
    char why[256];
    assert_false(once(f));
    assert_true(once(f));
    tls_slot_set(f->client, tls_context_client(&f->cs, time(NULL), why, sizeof(why)));
    assert_false(once(f));
}

/* A ticket of a listener that asks for no certificate opens none that does. */
static void test_tickets_heed_client_auth(void **state)
{
    struct fixture *f = *state;
    struct tls_server_settings strict = f->ss, stricter;
    struct str rules[] = {STR("spiffe://td/ns/client")};
    strict.client_auth = TLS_CLIENT_REQUIRE;
    strict.ca_file = STR("ca.pem");
    strict.ca = cast.ca.cert_pem;
    stricter = strict;
    stricter.n_spiffe_ids = 1;
    stricter.spiffe_ids = rules;
    struct tls_slot *s1 = server_slot(&strict), *s2 = server_slot(&stricter);
    struct peers p;
    assert_false(once(f));
    peers_open(&p, f->client, s1, "a.test");
    assert_true(p.server_result < 0);
    assert_string_equal(word_of(&p.server), "no_client_certificate");
    peers_close(&p);
    f->cs.has_pair = true;
    f->cs.pair = pair_of(&cast.client);
    struct tls_slot *c = client_slot(&f->cs);
    assert_false(once_as(c, s1, "a.test", true));
    assert_true(once_as(c, s1, "a.test", true));
    assert_false(once_as(c, s2, "a.test", true));
    (void)tls_slot_unref(c);
    (void)tls_slot_unref(s1);
    (void)tls_slot_unref(s2);
}

/* The client's certificate is in the ticket, and is told of a resumed connection too. */
static void test_identity_is_resumed(void **state)
{
    struct fixture *f = *state;
    f->ss.client_auth = TLS_CLIENT_REQUIRE;
    f->ss.ca_file = STR("ca.pem");
    f->ss.ca = cast.ca.cert_pem;
    f->cs.has_pair = true;
    f->cs.pair = pair_of(&cast.client);
    struct tls_slot *c = client_slot(&f->cs), *s = server_slot(&f->ss);
    struct peers p;
    struct tls_identity id;
    assert_false(once_as(c, s, "a.test", true));
    peers_open(&p, c, s, "a.test");
    transport_tls_identity(&p.server, &id);
    assert_true(id.resumed);
    assert_true(str_eq(id.spiffe_id, STR("spiffe://td/ns/client")));
    peers_close(&p);
    (void)tls_slot_unref(c);
    (void)tls_slot_unref(s);
}

/* Whose certificate has expired since is not resumed. */
static void test_expired_since(void **state)
{
    struct fixture *f = *state;
    struct made brief = make((struct wish){
        .cn = "a.test", .sans = "DNS:a.test", .issuer = &cast.ca, .from = -60, .until = 2});
    struct tls_pair pair = pair_of(&brief);
    struct peers p;
    f->ss.pairs = &pair;
    struct tls_slot *s = server_slot(&f->ss);
    time_t until = time(NULL) + 2;
    assert_false(once_as(f->client, s, "a.test", true));
    while (time(NULL) <= until + 1)
        (void)usleep(50 * 1000);
    peers_open(&p, f->client, s, "a.test");
    assert_int_equal(p.client_result, -EPROTO);
    assert_string_equal(word_of(&p.client), "certificate_expired");
    peers_close(&p);
    (void)tls_slot_unref(s);
    made_free(&brief);
}

static SSL_SESSION *session_of(unsigned char id)
{
    SSL_SESSION *s = SSL_SESSION_new();
    assert_non_null(s);
    assert_int_equal(SSL_SESSION_set1_id(s, &id, 1), 1);
    (void)SSL_SESSION_set_protocol_version(s, TLS1_2_VERSION);
    return s;
}

/* Bounded: the one that was put in longest ago goes. */
static void test_sessions_are_bounded(void **state)
{
    struct tls_sessions t = {0};
    (void)state;
    assert_int_equal(tls_sessions_init(&t), 0);
    for (uint64_t key = 1; key <= 3 * TLS_SESSIONS_MAX; key++) {
        tls_sessions_put(&t, key, session_of((unsigned char)key));
        tls_sessions_put(&t, key, session_of((unsigned char)key));
        assert_true(t.n <= TLS_SESSIONS_MAX);
    }
    assert_int_equal(t.n, TLS_SESSIONS_MAX);
    for (uint64_t key = 1; key <= 3 * TLS_SESSIONS_MAX; key++) {
        SSL_SESSION *s = tls_sessions_get(&t, key);
        assert_true((s != NULL) == (key > 2 * TLS_SESSIONS_MAX));
        SSL_SESSION_free(s);
    }
    tls_sessions_free(&t);
    tls_sessions_free(&t);
}

/* --- several threads --- */

static struct fixture *shared;
static _Atomic bool stop;

static void *connect_on_and_on(void *arg)
{
    (void)arg;
    for (int i = 0; i < 100; i++)
        (void)once(shared);
    return NULL;
}

static void *change_on_and_on(void *arg)
{
    char why[256];
    (void)arg;
    while (!stop) {
        (void)tls_tickets_rotate();
        tls_slot_set(shared->server, tls_context_server(&shared->ss, time(NULL), why, sizeof(why)));
        tls_slot_set(shared->client, tls_context_client(&shared->cs, time(NULL), why, sizeof(why)));
        (void)usleep(1000);
    }
    return NULL;
}

static void test_threads(void **state)
{
    pthread_t threads[3], changes;
    shared = *state;
    stop = false;
    assert_int_equal(pthread_create(&changes, NULL, change_on_and_on, NULL), 0);
    for (int i = 0; i < 3; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, connect_on_and_on, NULL), 0);
    for (int i = 0; i < 3; i++)
        (void)pthread_join(threads[i], NULL);
    stop = true;
    (void)pthread_join(changes, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_resumed, setup, teardown),
        cmocka_unit_test_setup_teardown(test_resumed_after_a_cut, setup, teardown),
        cmocka_unit_test_setup_teardown(test_rotation, setup, teardown),
        cmocka_unit_test_setup_teardown(test_new_ticket_each_time, setup, teardown),
        cmocka_unit_test_setup_teardown(test_other_server, setup, teardown),
        cmocka_unit_test_setup_teardown(test_by_name_and_peer, setup, teardown),
        cmocka_unit_test_setup_teardown(test_new_client_context, setup, teardown),
        cmocka_unit_test_setup_teardown(test_tickets_heed_client_auth, setup, teardown),
        cmocka_unit_test_setup_teardown(test_identity_is_resumed, setup, teardown),
        cmocka_unit_test_setup_teardown(test_expired_since, setup, teardown),
        cmocka_unit_test_setup_teardown(test_sessions_are_bounded, setup, teardown),
        cmocka_unit_test_setup_teardown(test_threads, setup, teardown),
    };
    return cmocka_run_group_tests(tests, cast_make, cast_free);
}
