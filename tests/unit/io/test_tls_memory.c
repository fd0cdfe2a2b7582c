/* test_tls_memory.c - every allocation of a connection's life fails once, OpenSSL's too; and what a
 * connection that rests costs. */
#include "tests/unit/openssl_memory.h"
#include "tests/unit/io/tls_peers.h"

#include <malloc.h>

/* Contexts, a handshake, a byte each way, the end. How far it came is not asked: that nothing is
 * touched that is not there is what the sanitizers tell. */
static void live(void)
{
    struct tls_client_settings cs = client_settings();
    struct tls_server_settings ss = server_settings();
    struct address to = peer_address(1);
    struct peers p = {0};
    struct tls_identity id;
    char why[256], byte;
    int fds[2];
    ss.client_auth = TLS_CLIENT_OPTIONAL;
    ss.ca_file = STR("ca.pem");
    ss.ca = cast.ca.cert_pem;
    cs.has_pair = true;
    cs.pair = pair_of(&cast.client);
    struct tls_context *s = tls_context_server(&ss, time(NULL), why, sizeof(why));
    struct tls_context *c = tls_context_client(&cs, time(NULL), why, sizeof(why));
    struct tls_slot *server = tls_slot_new(s), *client = tls_slot_new(c);
    if (!server)
        (void)tls_context_unref(s);
    if (!client)
        (void)tls_context_unref(c);
    if (server && client && s && c) {
        assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds), 0);
        if (transport_tls_client(&p.client, fds[0], client, STR("a.test"), &to) < 0) {
            p.client.ops = NULL;
            (void)close(fds[0]);
        }
        if (transport_tls_server(&p.server, fds[1], server) < 0) {
            p.server.ops = NULL;
            (void)close(fds[1]);
        }
        if (p.client.ops && p.server.ops) {
            peers_shake(&p);
            (void)put(&p.server, "x", 1);
            (void)get(&p.client, &byte, 1);
            (void)put(&p.client, "y", 1);
            (void)get(&p.server, &byte, 1);
            transport_tls_identity(&p.server, &id);
            (void)p.client.ops->shutdown_write(&p.client);
            (void)p.server.ops->shutdown_write(&p.server);
        }
        peers_close(&p);
    }
    (void)tls_slot_unref(client);
    (void)tls_slot_unref(server);
}

static void test_each_allocation_fails(void **state)
{
    (void)state;
    live(); /* what OpenSSL makes once, it makes now */
    live();
    for (uint64_t n = 1;; n += 1 + n / 64) {
        uint64_t before = mem_failures();
        mem_fail_at(n, false);
        live();
        mem_fail_at(0, false);
        if (mem_failures() == before) {
            print_message("%llu allocations\n", (unsigned long long)n - 1);
            assert_true(n > 100);
            break;
        }
    }
    live();
}

enum { MANY = 200 };

static size_t bytes_in_use(void)
{
    struct mallinfo2 m = mallinfo2();
    return m.uordblks + m.hblkhd;
}

/* Of the server, after a request and its answer, with nothing under way. The sanitizers' allocators
 * count otherwise. */
static void test_resting_connection(void **state)
{
    static struct peers many[MANY];
    struct tls_client_settings cs = client_settings();
    struct tls_server_settings ss = server_settings();
    struct tls_slot *client = client_slot(&cs), *server = server_slot(&ss);
    char bytes[1000];
    (void)state;
    memset(bytes, 'x', sizeof(bytes));
    size_t before = bytes_in_use();
    for (int i = 0; i < MANY; i++) {
        peers_open(&many[i], client, server, "a.test");
        assert_int_equal(many[i].server_result, 0);
        assert_int_equal(put(&many[i].client, bytes, sizeof(bytes)), sizeof(bytes));
        assert_int_equal(get(&many[i].server, bytes, sizeof(bytes)), sizeof(bytes));
        assert_int_equal(put(&many[i].server, bytes, sizeof(bytes)), sizeof(bytes));
        assert_int_equal(get(&many[i].client, bytes, sizeof(bytes)), sizeof(bytes));
    }
    size_t both = bytes_in_use() - before;
    for (int i = 0; i < MANY; i++)
        transport_end(&many[i].client);
    size_t servers = bytes_in_use() - before;
    print_message("bytes for each: server %zu, client %zu\n", servers / MANY,
                  (both - servers) / MANY);
    assert_true(servers / MANY <= 16 * 1024);
    assert_true((both - servers) / MANY <= 20 * 1024); /* it keeps the server's certificate */
    for (int i = 0; i < MANY; i++)
        transport_end(&many[i].server);
    (void)tls_slot_unref(client);
    (void)tls_slot_unref(server);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_each_allocation_fails),
        cmocka_unit_test(test_resting_connection),
    };
    /* Before OpenSSL's first allocation. */
    if (!openssl_memory_is_ours())
        return 1;
    return cmocka_run_group_tests(tests, cast_make, cast_free);
}
