/* test_tls_transport.c - bytes through TLS: whole, in crumbs, against a full socket, to the end. */
#include "tests/unit/io/tls_peers.h"

#include <openssl/ssl.h>
#include <sys/ioctl.h>

struct fixture {
    struct tls_slot *client, *server;
    struct peers p;
};

static struct fixture *setup_with(const struct tls_client_settings *cs,
                                  const struct tls_server_settings *ss)
{
    struct fixture *f = calloc(1, sizeof(*f));
    assert_non_null(f);
    f->client = client_slot(cs);
    f->server = server_slot(ss);
    peers_open(&f->p, f->client, f->server, "a.test");
    assert_int_equal(f->p.client_result, 0);
    assert_int_equal(f->p.server_result, 0);
    return f;
}

static int setup(void **state)
{
    struct tls_client_settings cs = client_settings();
    struct tls_server_settings ss = server_settings();
    *state = setup_with(&cs, &ss);
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

static void small_buffers(const struct fixture *f)
{
    int bytes = 4096;
    (void)setsockopt(f->p.client.fd, SOL_SOCKET, SO_SNDBUF, &bytes, sizeof(bytes));
    (void)setsockopt(f->p.server.fd, SOL_SOCKET, SO_SNDBUF, &bytes, sizeof(bytes));
}

/* What byte number `i` of a test's stream is. */
static char byte_at(size_t i)
{
    return (char)(i * 131 + (i >> 8) * 7);
}

static void make_bytes(char *p, size_t n, size_t from)
{
    for (size_t i = 0; i < n; i++)
        p[i] = byte_at(from + i);
}

static void check_bytes(const char *p, size_t n, size_t from)
{
    for (size_t i = 0; i < n; i++) {
        if (p[i] != byte_at(from + i))
            fail_msg("byte %zu", from + i);
    }
}

static void test_small(void **state)
{
    struct fixture *f = *state;
    char got[64];
    assert_int_equal(get(&f->p.server, got, sizeof(got)), -EAGAIN);
    assert_false(f->p.server.ops->pending(&f->p.server));
    assert_int_equal(put(&f->p.client, "hello", 5), 5);
    assert_int_equal(get(&f->p.server, got, sizeof(got)), 5);
    assert_memory_equal(got, "hello", 5);
    assert_int_equal(put(&f->p.server, "world", 5), 5);
    assert_int_equal(get(&f->p.client, got, sizeof(got)), 5);
    assert_memory_equal(got, "world", 5);
}

/* Records on the wire, as the receiver's socket has them. */
static int records_waiting(int fd)
{
    static unsigned char raw[1 << 18];
    ssize_t n = recv(fd, raw, sizeof(raw), MSG_PEEK);
    int records = 0;
    for (ssize_t at = 0; at + 5 <= n; records++)
        at += 5 + (raw[at + 3] << 8 | raw[at + 4]);
    return records;
}

/* A head and its body go in one record; large ones in full records. */
static void test_coalescing(void **state)
{
    struct fixture *f = *state;
    static char big[40 * 1024], got[64 * 1024];
    struct iovec v[] = {
        {(char *)(uintptr_t) "head", 4}, {NULL, 0}, {(char *)(uintptr_t) "body", 4}};
    while (get(&f->p.client, got, sizeof(got)) != -EAGAIN) { /* the tickets */
    }
    assert_int_equal(f->p.server.ops->writev(&f->p.server, v, 3), 8);
    assert_int_equal(records_waiting(f->p.client.fd), 1);
    assert_int_equal(get(&f->p.client, got, sizeof(got)), 8);
    assert_memory_equal(got, "headbody", 8);
    make_bytes(big, sizeof(big), 4);
    v[2] = (struct iovec){big, sizeof(big)};
    make_bytes(got, 4, 0);
    v[0] = (struct iovec){got, 4};
    assert_int_equal(f->p.server.ops->writev(&f->p.server, v, 3), 4 + sizeof(big));
    assert_int_equal(records_waiting(f->p.client.fd), 3); /* 40 KiB + 4 */
    for (size_t at = 0; at < 4 + sizeof(big);) {
        ssize_t n = get(&f->p.client, got, sizeof(got));
        assert_true(n > 0);
        check_bytes(got, (size_t)n, at);
        at += (size_t)n;
    }
    v[0].iov_len = v[2].iov_len = 0;
    assert_int_equal(f->p.server.ops->writev(&f->p.server, v, 3), 0);
}

/* Every size of a read, and what is left inside is told by pending(). */
static void test_reads_of_every_size(void **state)
{
    struct fixture *f = *state;
    static char sent[20000], got[20000];
    make_bytes(sent, sizeof(sent), 0);
    for (size_t size = 1; size < sizeof(got); size = size * 3 + 1) {
        assert_int_equal(put(&f->p.client, sent, sizeof(sent)), sizeof(sent));
        for (size_t at = 0; at < sizeof(sent);) {
            ssize_t n = get(&f->p.server, got, size);
            int unread = 0;
            assert_true(n > 0 && (size_t)n <= size);
            check_bytes(got, (size_t)n, at);
            at += (size_t)n;
            /* What is not in the socket any more must be inside. */
            (void)ioctl(f->p.server.fd, FIONREAD, &unread);
            if (unread == 0)
                assert_true(f->p.server.ops->pending(&f->p.server) == (at < sizeof(sent)));
        }
        assert_int_equal(get(&f->p.server, got, size), -EAGAIN);
        assert_false(f->p.server.ops->pending(&f->p.server));
    }
}

/* A socket pair in between, which lets through what a test gives it. */
struct wire {
    struct peers p;
    int client_end, server_end; /* our ends of the two */
};

static void wire_connect(struct wire *w, struct tls_slot *client, struct tls_slot *server)
{
    int a[2], b[2];
    struct address to = peer_address(1);
    *w = (struct wire){0};
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, a), 0);
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, b), 0);
    w->client_end = a[1];
    w->server_end = b[1];
    assert_int_equal(transport_tls_client(&w->p.client, a[0], client, STR("a.test"), &to), 0);
    assert_int_equal(transport_tls_server(&w->p.server, b[0], server), 0);
}

static void wire_close(struct wire *w)
{
    peers_close(&w->p);
    (void)close(w->client_end);
    (void)close(w->server_end);
}

/* Passes at most n bytes on; how many. */
static ssize_t pass(int from, int to, size_t n)
{
    char bytes[4096];
    ssize_t got = recv(from, bytes, n < sizeof(bytes) ? n : sizeof(bytes), 0);
    if (got > 0)
        assert_int_equal(send(to, bytes, (size_t)got, 0), got);
    return got;
}

/* All one byte at a time: the handshake, a message each way, the end. */
static void test_one_byte_at_a_time(void **state)
{
    struct fixture *f = *state;
    struct wire w;
    char got[16];
    int c = -EAGAIN, s = -EAGAIN;
    size_t turns = 0;
    wire_connect(&w, f->client, f->server);
    while ((c == -EAGAIN || s == -EAGAIN) && turns++ < 20000) {
        if (c == -EAGAIN)
            c = w.p.client.ops->handshake(&w.p.client);
        (void)pass(w.client_end, w.server_end, 1);
        if (s == -EAGAIN)
            s = w.p.server.ops->handshake(&w.p.server);
        (void)pass(w.server_end, w.client_end, 1);
    }
    assert_int_equal(c, 0);
    assert_int_equal(s, 0);
    assert_int_equal(put(&w.p.client, "ping", 4), 4);
    ssize_t n;
    do {
        assert_true(pass(w.client_end, w.server_end, 1) == 1);
        n = get(&w.p.server, got, sizeof(got));
        if (n < 0)
            assert_false(w.p.server.ops->pending(&w.p.server)); /* half a record: no spinning */
    } while (n == -EAGAIN);
    assert_int_equal(n, 4);
    assert_memory_equal(got, "ping", 4);
    assert_int_equal(w.p.client.ops->shutdown_write(&w.p.client), 0);
    do {
        assert_true(pass(w.client_end, w.server_end, 1) == 1);
        n = get(&w.p.server, got, sizeof(got));
    } while (n == -EAGAIN);
    assert_int_equal(n, 0);
    assert_int_equal(get(&w.p.server, got, sizeof(got)), 0);
    wire_close(&w);
}

/* Against a socket that is full now and then; bytes that were not taken come again at another
 * address, with more behind. */
static void test_full_socket(void **state)
{
    struct fixture *f = *state;
    enum { TOTAL = 1 << 20 };
    static char got[65536];
    unsigned seed = 1;
    small_buffers(f);
    for (size_t sent = 0, received = 0, want = 0; received < TOTAL;) {
        want += 1 + (seed = seed * 1103515245 + 12345) % 60000;
        if (want > TOTAL - sent)
            want = TOTAL - sent;
        while (want > 0) {
            char *p = malloc(want);
            assert_non_null(p);
            make_bytes(p, want, sent);
            size_t half = want / 3;
            struct iovec v[] = {{p, half}, {p + half, want - half}};
            ssize_t n = f->p.client.ops->writev(&f->p.client, v, 2);
            free(p);
            if (n == -EAGAIN)
                break;
            assert_true(n > 0);
            sent += (size_t)n;
            want -= (size_t)n;
        }
        for (int i = 0; i < 3; i++) {
            ssize_t n = get(&f->p.server, got, 1 + seed % sizeof(got));
            if (n == -EAGAIN)
                break;
            assert_true(n > 0);
            check_bytes(got, (size_t)n, received);
            received += (size_t)n;
            assert_true(received <= sent + 16384);
        }
    }
}

/* Each size around a record's, against a full socket. */
static void test_sizes_around_a_record(void **state)
{
    struct fixture *f = *state;
    static char sent[40000], got[65536];
    small_buffers(f);
    const size_t sizes[] = {1, 2, 1399, 16383, 16384, 16385, 32767, 32768, 32769, 40000};
    for (size_t i = 0; i < ARRAY_LEN(sizes); i++) {
        size_t at = 0, received = 0;
        make_bytes(sent, sizes[i], 0);
        while (received < sizes[i]) {
            if (at < sizes[i]) {
                ssize_t n = put(&f->p.server, sent + at, sizes[i] - at);
                assert_true(n > 0 || n == -EAGAIN);
                at += n > 0 ? (size_t)n : 0;
            }
            ssize_t n = get(&f->p.client, got, sizeof(got));
            assert_true(n > 0 || n == -EAGAIN);
            if (n > 0) {
                check_bytes(got, (size_t)n, received);
                received += (size_t)n;
            }
        }
        assert_int_equal(at, sizes[i]);
    }
}

/* Who sends without pause is read in turns: one call gives at most what was asked for, and the next
 * what is inside, without the socket. */
static void test_reading_in_turns(void **state)
{
    struct fixture *f = *state;
    static char sent[65536], got[65536];
    int before, after;
    make_bytes(sent, sizeof(sent), 0);
    (void)put(&f->p.client, sent, sizeof(sent));
    ssize_t n = get(&f->p.server, got, 20000);
    assert_int_equal(n, 20000);
    assert_true(f->p.server.ops->pending(&f->p.server));
    (void)ioctl(f->p.server.fd, FIONREAD, &before);
    assert_true(before > 0);
    ssize_t more = get(&f->p.server, got, sizeof(got));
    assert_true(more > 0);
    (void)ioctl(f->p.server.fd, FIONREAD, &after);
    assert_int_equal(before, after);
    assert_false(f->p.server.ops->pending(&f->p.server));
    check_bytes(got, (size_t)more, (size_t)n);
}

/* --- ends --- */

static void test_close_notify_both_ways(void **state)
{
    struct fixture *f = *state;
    char got[16];
    assert_int_equal(put(&f->p.client, "last", 4), 4);
    assert_int_equal(f->p.client.ops->shutdown_write(&f->p.client), 0);
    assert_int_equal(f->p.client.ops->shutdown_write(&f->p.client), 0); /* harmless */
    assert_int_equal(put(&f->p.client, "x", 1), -EPIPE);
    assert_int_equal(get(&f->p.server, got, sizeof(got)), 4);
    assert_int_equal(get(&f->p.server, got, sizeof(got)), 0);
    assert_false(f->p.server.ops->pending(&f->p.server));
    /* The other direction goes on. */
    assert_int_equal(put(&f->p.server, "answer", 6), 6);
    assert_int_equal(f->p.server.ops->shutdown_write(&f->p.server), 0);
    assert_int_equal(get(&f->p.client, got, sizeof(got)), 6);
    assert_int_equal(get(&f->p.client, got, sizeof(got)), 0);
    assert_int_equal(recv(f->p.client.fd, got, 1, 0), 0); /* FIN came too */
}

/* The end is in the buffer that the bytes were read with: no poll will tell it. */
static void test_end_behind_bytes(void **state)
{
    struct fixture *f = *state;
    char got[16];
    assert_int_equal(put(&f->p.server, "abc", 3), 3);
    assert_int_equal(f->p.server.ops->shutdown_write(&f->p.server), 0);
    ssize_t n = get(&f->p.client, got, 1);
    assert_int_equal(n, 1);
    assert_true(f->p.client.ops->pending(&f->p.client));
    assert_int_equal(get(&f->p.client, got, sizeof(got)), 2);
    assert_true(f->p.client.ops->pending(&f->p.client));
    assert_int_equal(get(&f->p.client, got, sizeof(got)), 0);
    assert_false(f->p.client.ops->pending(&f->p.client));
}

static void test_truncated(void **state)
{
    struct fixture *f = *state;
    char got[16];
    assert_int_equal(put(&f->p.server, "abc", 3), 3);
    f->p.server.ops->close(&f->p.server); /* no orderly end */
    assert_int_equal(get(&f->p.client, got, sizeof(got)), 3);
    assert_int_equal(get(&f->p.client, got, sizeof(got)), -ECONNABORTED);
    assert_int_equal(get(&f->p.client, got, sizeof(got)), -ECONNABORTED);
    assert_int_equal(f->p.client.ops->shutdown_write(&f->p.client), 0);
}

/* In the middle of a record. */
static void test_cut_record(void **state)
{
    struct fixture *f = *state;
    struct wire w;
    char got[64];
    int c = -EAGAIN, s = -EAGAIN;
    wire_connect(&w, f->client, f->server);
    while (c == -EAGAIN || s == -EAGAIN) {
        if (c == -EAGAIN)
            c = w.p.client.ops->handshake(&w.p.client);
        (void)pass(w.client_end, w.server_end, 4096);
        if (s == -EAGAIN)
            s = w.p.server.ops->handshake(&w.p.server);
        (void)pass(w.server_end, w.client_end, 4096);
    }
    assert_int_equal(put(&w.p.client, "ping", 4), 4);
    (void)pass(w.client_end, w.server_end, 9);
    assert_int_equal(get(&w.p.server, got, sizeof(got)), -EAGAIN);
    (void)shutdown(w.server_end, SHUT_WR);
    assert_int_equal(get(&w.p.server, got, sizeof(got)), -ECONNABORTED);
    wire_close(&w);
}

static void test_bytes_behind_the_end(void **state)
{
    struct fixture *f = *state;
    char got[64];
    assert_int_equal(f->p.client.ops->shutdown_write(&f->p.client), 0);
    assert_int_equal(get(&f->p.server, got, sizeof(got)), 0);
    assert_int_equal(get(&f->p.server, got, sizeof(got)), 0);
}

/* A record that was changed on its way: an alert goes back, and what still comes is thrown away. */
static void test_changed_record(void **state)
{
    struct fixture *f = *state;
    static const unsigned char forged[] = {0x17, 3, 3, 0, 20, 1, 2, 3, 4, 5, 6, 7, 8,
                                           9,    1, 2, 3, 4,  5, 6, 7, 8, 9, 0, 1};
    char got[64];
    assert_int_equal(send(f->p.client.fd, forged, sizeof(forged), 0), sizeof(forged));
    assert_int_equal(get(&f->p.server, got, sizeof(got)), -EPROTO);
    assert_int_equal(send(f->p.client.fd, "more", 4, 0), 4);
    assert_int_equal(get(&f->p.server, got, sizeof(got)), -EAGAIN);
    assert_int_equal(put(&f->p.server, "x", 1), -EPIPE);
    assert_int_equal(get(&f->p.client, got, sizeof(got)), -EPROTO); /* the alert */
    (void)shutdown(f->p.client.fd, SHUT_WR);
    assert_int_equal(get(&f->p.server, got, sizeof(got)), 0);
}

/* close_notify finds no room: it is sent when there is, and FIN not before. */
static void test_end_against_a_full_socket(void **state)
{
    struct fixture *f = *state;
    static char bytes[16384], got[65536];
    size_t sent = 0, received = 0;
    ssize_t n;
    small_buffers(f);
    memset(bytes, 'x', sizeof(bytes));
    /* Small records until one is not taken; then that one alone. */
    while ((n = put(&f->p.server, bytes, 600)) > 0)
        sent += (size_t)n;
    assert_int_equal(n, -EAGAIN);
    n = get(&f->p.client, got, 600);
    assert_int_equal(n, 600);
    received += 600;
    while ((n = put(&f->p.server, bytes, 600)) == -EAGAIN) {
        n = get(&f->p.client, got, 600);
        assert_true(n > 0);
        received += (size_t)n;
    }
    assert_int_equal(n, 600);
    sent += 600;
    /* Fill the rest with what a record's smallest is, so that the alert does not fit. */
    for (int turns = 0; turns < 10000; turns++) {
        int r = f->p.server.ops->shutdown_write(&f->p.server);
        if (r == 0)
            break;
        assert_int_equal(r, -EAGAIN);
        n = get(&f->p.client, got, 600);
        assert_true(n >= 0 || n == -EAGAIN);
        received += n > 0 ? (size_t)n : 0;
    }
    while ((n = get(&f->p.client, got, sizeof(got))) > 0)
        received += (size_t)n;
    assert_int_equal(n, 0);
    assert_int_equal(received, sent);
}

static void test_peer_is_gone(void **state)
{
    struct fixture *f = *state;
    char got[64];
    assert_int_equal(put(&f->p.client, "last words", 10), 10);
    f->p.client.ops->close(&f->p.client);
    assert_int_equal(put(&f->p.server, "x", 1), -EPIPE);
    assert_int_equal(put(&f->p.server, "x", 1), -EPIPE);
    /* What it said before is still read. */
    assert_int_equal(get(&f->p.server, got, sizeof(got)), 10);
    assert_true(get(&f->p.server, got, sizeof(got)) < 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_small, setup, teardown),
        cmocka_unit_test_setup_teardown(test_coalescing, setup, teardown),
        cmocka_unit_test_setup_teardown(test_reads_of_every_size, setup, teardown),
        cmocka_unit_test_setup_teardown(test_one_byte_at_a_time, setup, teardown),
        cmocka_unit_test_setup_teardown(test_full_socket, setup, teardown),
        cmocka_unit_test_setup_teardown(test_sizes_around_a_record, setup, teardown),
        cmocka_unit_test_setup_teardown(test_reading_in_turns, setup, teardown),
        cmocka_unit_test_setup_teardown(test_close_notify_both_ways, setup, teardown),
        cmocka_unit_test_setup_teardown(test_end_behind_bytes, setup, teardown),
        cmocka_unit_test_setup_teardown(test_truncated, setup, teardown),
        cmocka_unit_test_setup_teardown(test_cut_record, setup, teardown),
        cmocka_unit_test_setup_teardown(test_bytes_behind_the_end, setup, teardown),
        cmocka_unit_test_setup_teardown(test_changed_record, setup, teardown),
        cmocka_unit_test_setup_teardown(test_end_against_a_full_socket, setup, teardown),
        cmocka_unit_test_setup_teardown(test_peer_is_gone, setup, teardown),
    };
    return cmocka_run_group_tests(tests, cast_make, cast_free);
}
