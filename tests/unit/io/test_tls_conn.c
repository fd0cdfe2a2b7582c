/* test_tls_conn.c - connections over TLS in a loop: nothing that OpenSSL holds is forgotten. */
#include "io/conn.h"

#include "base/mem.h"
#include "io/socket.h"

#include "tests/unit/io/tls_peers.h"

#include <openssl/ssl.h>
#include <sys/ioctl.h>

struct end {
    struct conn conn;
    struct loop *loop;
    char got[256 * 1024];
    size_t received;
    size_t most; /* of one read; 0: all */
    int readable, drained, ready, failed, error, ends;
    ssize_t end;
    bool stop_reading; /* after each read */
    bool lazy;         /* reads nothing, and stops */
};

struct fixture {
    struct loop loop;
    struct tls_slot *client_slot, *server_slot;
    struct end client, server;
};

static struct end *of(struct conn *c)
{
    return CONTAINER_OF(c, struct end, conn);
}

static void on_readable(struct conn *c)
{
    struct end *e = of(c);
    e->readable++;
    if (e->lazy) {
        conn_read_stop(c);
        return;
    }
    size_t room = sizeof(e->got) - e->received;
    ssize_t n = conn_read(c, e->got + e->received, e->most && e->most < room ? e->most : room);
    if (n > 0) {
        e->received += (size_t)n;
    } else if (n != -EAGAIN) {
        e->ends++;
        e->end = n;
        conn_read_stop(c);
    }
    if (e->stop_reading)
        conn_read_stop(c);
}

static void on_drained(struct conn *c)
{
    of(c)->drained++;
}

static void on_ready(struct conn *c)
{
    of(c)->ready++;
}

static void on_failed(struct conn *c, int err)
{
    of(c)->failed++;
    of(c)->error = err;
}

static const struct conn_ops ops = {
    .readable = on_readable, .drained = on_drained, .failed = on_failed, .ready = on_ready};

static void open_ends(struct fixture *f, const char *name)
{
    struct peers p;
    peers_connect(&p, f->client_slot, f->server_slot, name);
    conn_open_transport(&f->client.conn, &f->loop, p.client, &ops, true);
    conn_open_transport(&f->server.conn, &f->loop, p.server, &ops, false);
}

static int setup(void **state)
{
    struct fixture *f = mem_zalloc(sizeof(*f));
    struct tls_client_settings cs = client_settings();
    struct tls_server_settings ss = server_settings();
    assert_non_null(f);
    assert_int_equal(loop_init(&f->loop), 0);
    f->client_slot = client_slot(&cs);
    f->server_slot = server_slot(&ss);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    if (f->client.conn.open)
        conn_close(&f->client.conn);
    if (f->server.conn.open)
        conn_close(&f->server.conn);
    (void)tls_slot_unref(f->client_slot);
    (void)tls_slot_unref(f->server_slot);
    loop_free(&f->loop);
    free(f);
    return 0;
}

static void turn(struct fixture *f)
{
    (void)ev_run(f->loop.ev, EVRUN_NOWAIT);
}

static void turns(struct fixture *f)
{
    for (int i = 0; i < 50; i++)
        turn(f);
}

static int opened(void **state)
{
    (void)setup(state);
    struct fixture *f = *state;
    open_ends(f, "a.test");
    turns(f);
    assert_int_equal(f->client.drained, 1);
    conn_read_start(&f->client.conn);
    turns(f); /* the ticket */
    f->client.readable = f->server.readable = 0;
    return 0;
}

static void test_handshake(void **state)
{
    struct fixture *f = *state;
    open_ends(f, "a.test");
    assert_true(f->server.conn.blocked && f->client.conn.blocked);
    turns(f);
    assert_int_equal(f->client.drained, 1);
    assert_int_equal(f->client.ready, 0);
    assert_int_equal(f->server.ready, 1);
    assert_int_equal(f->server.drained, 0);
    assert_int_equal(f->client.failed + f->server.failed, 0);
    assert_int_equal(f->server.received, 0);
    assert_int_equal(f->client.readable, 0); /* it did not begin to read */
    assert_false(f->server.conn.blocked || f->client.conn.blocked);
}

/* What is sent before the handshake is done goes behind it, and the end behind that. */
static void test_sent_early(void **state)
{
    struct fixture *f = *state;
    open_ends(f, "a.test");
    conn_send(&f->client.conn, "early", 5);
    conn_send(&f->server.conn, "greeting", 8);
    conn_shutdown(&f->client.conn);
    turns(f);
    conn_read_start(&f->client.conn);
    turns(f);
    assert_int_equal(f->server.received, 5);
    assert_memory_equal(f->server.got, "early", 5);
    assert_int_equal(f->server.ends, 1);
    assert_int_equal(f->server.end, 0);
    assert_int_equal(f->client.received, 8);
}

static void test_handshake_fails(void **state)
{
    struct fixture *f = *state;
    open_ends(f, "b.test");
    turns(f);
    assert_int_equal(f->client.failed, 1);
    assert_int_equal(f->client.error, EPROTO);
    assert_int_equal(f->client.drained, 0);
    assert_string_equal(word_of(&f->client.conn.transport), "name_mismatch");
    assert_int_equal(f->server.failed, 1);
    assert_int_equal(f->server.ready, 0);
    /* Who failed may linger: what comes is thrown away until the peer's end. */
    conn_shutdown(&f->server.conn);
    conn_close(&f->client.conn);
    turns(f);
    assert_int_equal(f->server.failed, 1);
    assert_int_equal(f->server.ends, 1);
    assert_int_equal(f->server.received, 0);
}

static void test_peer_closes_in_handshake(void **state)
{
    struct fixture *f = *state;
    open_ends(f, "a.test");
    turn(f);
    conn_close(&f->client.conn);
    turns(f);
    assert_int_equal(f->server.failed, 1);
    assert_int_equal(f->server.error, ECONNRESET);
}

static void test_connect_is_refused(void **state)
{
    struct fixture *f = *state;
    struct transport t;
    struct address a = peer_address(0), to = a;
    a.u.in.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    /* A bound socket that does not listen. */
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(bind(fd, &a.u.sa, a.len), 0);
    assert_int_equal(getsockname(fd, &to.u.sa, &to.len), 0);
    int c = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    (void)connect(c, &to.u.sa, to.len);
    assert_int_equal(transport_tls_client(&t, c, f->client_slot, STR("a.test"), &to), 0);
    conn_open_transport(&f->client.conn, &f->loop, t, &ops, true);
    turns(f);
    assert_int_equal(f->client.failed, 1);
    assert_int_equal(f->client.error, ECONNREFUSED);
    (void)close(fd);
}

/* The client's first request comes in one packet with the end of its handshake. */
static void test_first_bytes_behind_the_handshake(void **state)
{
    struct fixture *f = *state;
    open_ends(f, "a.test");
    conn_send(&f->client.conn, "first", 5);
    /* The client alone, until it is through; then the server finds both flights at once. */
    while (f->client.conn.stage != CONN_STANDS)
        turn(f);
    turns(f);
    assert_int_equal(f->server.ready, 1);
    assert_int_equal(f->server.received, 5);
}

static void test_request_and_answer(void **state)
{
    struct fixture *f = *state;
    conn_send(&f->client.conn, "ping", 4);
    turns(f);
    assert_int_equal(f->server.received, 4);
    assert_int_equal(f->server.readable, 1); /* and no call more */
    conn_send(&f->server.conn, "pong", 4);
    turns(f);
    assert_int_equal(f->client.received, 4);
    assert_int_equal(f->client.readable, 1);
}

static char byte_at(size_t i)
{
    return (char)(i * 131 + (i >> 8) * 7);
}

static void send_bytes(struct conn *c, size_t n)
{
    char *p = malloc(n);
    assert_non_null(p);
    for (size_t i = 0; i < n; i++)
        p[i] = byte_at(i);
    conn_send(c, p, n);
    free(p);
}

static void check_received(const struct end *e, size_t n)
{
    assert_int_equal(e->received, n);
    for (size_t i = 0; i < n; i++) {
        if (e->got[i] != byte_at(i))
            fail_msg("byte %zu", i);
    }
}

/* Reads that leave bytes inside are followed by others, though the socket is empty. */
static void test_small_reads(void **state)
{
    struct fixture *f = *state;
    f->server.most = 1000;
    send_bytes(&f->client.conn, 16384);
    for (int i = 0; i < 200 && f->server.received < 16384; i++)
        turn(f);
    check_received(&f->server, 16384);
    int before = f->server.readable;
    turns(f);
    assert_int_equal(f->server.readable, before); /* nothing is fed for nothing */
}

/* While reading is stopped nothing is told, and nothing spins; then all comes. */
static void test_stopped_with_bytes_inside(void **state)
{
    struct fixture *f = *state;
    int unread = 0;
    f->server.most = 100;
    f->server.stop_reading = true;
    send_bytes(&f->client.conn, 8000);
    turns(f);
    assert_int_equal(f->server.received, 100);
    assert_int_equal(f->server.readable, 1);
    (void)ioctl(f->server.conn.transport.fd, FIONREAD, &unread);
    assert_int_equal(unread, 0);
    assert_true(conn_has_unread(&f->server.conn));
    f->server.stop_reading = false;
    conn_read_start(&f->server.conn);
    turns(f);
    turns(f);
    check_received(&f->server, 8000);
    assert_false(conn_has_unread(&f->server.conn));
}

/* The read interest is set anew (a write blocks) between what feeds an event and the event. */
static void test_blocked_with_bytes_inside(void **state)
{
    struct fixture *f = *state;
    f->server.most = 100;
    f->server.stop_reading = true;
    send_bytes(&f->client.conn, 200);
    turns(f);
    assert_int_equal(f->server.received, 100);
    f->server.stop_reading = false;
    conn_read_start(&f->server.conn);
    f->client.lazy = true;
    while (!f->server.conn.blocked)
        conn_send(&f->server.conn, f->client.got, 16384);
    turn(f);
    check_received(&f->server, 200);
}

static void test_much_both_ways(void **state)
{
    struct fixture *f = *state;
    int bytes = 4096;
    (void)setsockopt(f->client.conn.transport.fd, SOL_SOCKET, SO_SNDBUF, &bytes, sizeof(bytes));
    (void)setsockopt(f->server.conn.transport.fd, SOL_SOCKET, SO_SNDBUF, &bytes, sizeof(bytes));
    f->client.drained = 0;
    send_bytes(&f->client.conn, sizeof(f->server.got));
    send_bytes(&f->server.conn, sizeof(f->client.got));
    conn_shutdown(&f->client.conn);
    assert_true(f->client.conn.blocked && f->server.conn.blocked);
    for (int i = 0; i < 10000 && (f->server.ends == 0 || f->server.drained == 0); i++)
        turn(f);
    turns(f);
    check_received(&f->server, sizeof(f->server.got));
    check_received(&f->client, sizeof(f->client.got));
    assert_int_equal(f->server.end, 0);
    assert_int_equal(f->client.drained, 1);
    assert_int_equal(f->server.drained, 1);
}

/* close_notify finds no room, and comes when there is. */
static void test_end_against_a_full_socket(void **state)
{
    struct fixture *f = *state;
    int bytes = 4096;
    (void)setsockopt(f->server.conn.transport.fd, SOL_SOCKET, SO_SNDBUF, &bytes, sizeof(bytes));
    f->client.lazy = true;
    turns(f);
    /* Records of a byte fill the socket, so that the end is the one that finds no room. */
    size_t sent = 0;
    while (!f->server.conn.blocked) {
        conn_send(&f->server.conn, "x", 1);
        sent++;
    }
    while (f->server.conn.blocked) {
        char byte[1];
        if (conn_read(&f->client.conn, byte, 1) == 1)
            f->client.received++;
        turn(f);
    }
    conn_shutdown(&f->server.conn);
    turns(f);
    f->client.lazy = false;
    conn_read_start(&f->client.conn);
    for (int i = 0; i < 10000 && f->client.ends == 0; i++)
        turn(f);
    assert_int_equal(f->client.end, 0);
    assert_int_equal(f->client.received, sent);
    assert_false(f->server.conn.blocked);
}

static void test_truncated(void **state)
{
    struct fixture *f = *state;
    conn_send(&f->server.conn, "half", 4);
    conn_close(&f->server.conn);
    turns(f);
    assert_int_equal(f->client.received, 4);
    assert_int_equal(f->client.ends, 1);
    assert_int_equal(f->client.end, -ECONNABORTED);
}

static void test_write_fails(void **state)
{
    struct fixture *f = *state;
    f->server.lazy = true;
    conn_send(&f->client.conn, "last words", 10);
    conn_close(&f->client.conn);
    conn_send(&f->server.conn, "x", 1);
    assert_int_equal(f->server.failed, 0);
    turns(f);
    assert_int_equal(f->server.failed, 1);
    assert_int_equal(f->server.error, EPIPE);
    f->server.lazy = false;
    conn_read_start(&f->server.conn);
    turns(f);
    assert_int_equal(f->server.received, 10);
    assert_int_equal(f->server.ends, 1);
}

/* New certificates come, connections stand; and what comes later gets the new ones. */
static void test_slot_swap(void **state)
{
    struct fixture *f = *state;
    struct tls_server_settings ss = server_settings();
    struct made m = make((struct wish){.cn = "new", .sans = "DNS:a.test", .issuer = &cast.ca});
    struct tls_pair pair = pair_of(&m);
    char why[256];
    ss.pairs = &pair;
    tls_slot_set(f->server_slot, tls_context_server(&ss, time(NULL), why, sizeof(why)));
    conn_send(&f->client.conn, "ping", 4);
    turns(f);
    assert_int_equal(f->server.received, 4);
    conn_send(&f->server.conn, "pong", 4);
    turns(f);
    assert_int_equal(f->client.received, 4);
    struct peers p;
    struct tls_identity id;
    struct tls_client_settings cs = client_settings();
    struct tls_slot *c = client_slot(&cs);
    peers_open(&p, c, f->server_slot, "a.test");
    assert_int_equal(p.client_result, 0);
    transport_tls_identity(&p.client, &id);
    assert_true(str_eq(id.subject, STR("CN=new")));
    peers_close(&p);
    (void)tls_slot_unref(c);
    made_free(&m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_handshake, setup, teardown),
        cmocka_unit_test_setup_teardown(test_sent_early, setup, teardown),
        cmocka_unit_test_setup_teardown(test_handshake_fails, setup, teardown),
        cmocka_unit_test_setup_teardown(test_peer_closes_in_handshake, setup, teardown),
        cmocka_unit_test_setup_teardown(test_connect_is_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(test_first_bytes_behind_the_handshake, setup, teardown),
        cmocka_unit_test_setup_teardown(test_request_and_answer, opened, teardown),
        cmocka_unit_test_setup_teardown(test_small_reads, opened, teardown),
        cmocka_unit_test_setup_teardown(test_stopped_with_bytes_inside, opened, teardown),
        cmocka_unit_test_setup_teardown(test_blocked_with_bytes_inside, opened, teardown),
        cmocka_unit_test_setup_teardown(test_much_both_ways, opened, teardown),
        cmocka_unit_test_setup_teardown(test_end_against_a_full_socket, opened, teardown),
        cmocka_unit_test_setup_teardown(test_truncated, opened, teardown),
        cmocka_unit_test_setup_teardown(test_write_fails, opened, teardown),
        cmocka_unit_test_setup_teardown(test_slot_swap, opened, teardown),
    };
    return cmocka_run_group_tests(tests, cast_make, cast_free);
}
