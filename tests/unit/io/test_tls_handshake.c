/* test_tls_handshake.c - who is let in, who is believed, and what is said of the others. */
#include "io/tls_parts.h"

#include "tests/unit/io/tls_peers.h"

/* A handshake that succeeds, and what both sides make of it. */
static void shake(const struct tls_client_settings *cs, const struct tls_server_settings *ss,
                  const char *name, struct tls_identity *client, struct tls_identity *server)
{
    struct tls_slot *c = client_slot(cs), *s = server_slot(ss);
    static struct peers p; /* the texts live in the transports */
    peers_close(&p);
    peers_open(&p, c, s, name);
    if (p.client_result < 0 || p.server_result < 0)
        fail_msg("client %d %s, server %d %s", p.client_result, word_of(&p.client), p.server_result,
                 word_of(&p.server));
    assert_string_equal(word_of(&p.client), "none");
    if (client)
        transport_tls_identity(&p.client, client);
    if (server)
        transport_tls_identity(&p.server, server);
    (void)tls_slot_unref(c);
    (void)tls_slot_unref(s);
}

/* One that fails, and why. */
static void refused(const struct tls_client_settings *cs, const struct tls_server_settings *ss,
                    const char *name, const char *client_word, const char *server_word)
{
    struct tls_slot *c = client_slot(cs), *s = server_slot(ss);
    struct peers p;
    char byte;
    peers_open(&p, c, s, name);
    /* In TLS 1.3 a client is through before the server has looked at its certificate. */
    if (p.client_result == 0 && p.server_result < 0)
        assert_true(get(&p.client, &byte, 1) < 0);
    else
        assert_true(p.client_result < 0 && p.client_result != -EAGAIN);
    assert_true(p.server_result < 0 && p.server_result != -EAGAIN);
    if (client_word)
        assert_string_equal(word_of(&p.client), client_word);
    assert_string_equal(word_of(&p.server), server_word);
    peers_close(&p);
    (void)tls_slot_unref(c);
    (void)tls_slot_unref(s);
}

static void test_plain_success(void **state)
{
    struct tls_client_settings cs = client_settings();
    struct tls_server_settings ss = server_settings();
    struct tls_identity c, s;
    (void)state;
    shake(&cs, &ss, "a.test", &c, &s);
    assert_true(str_eq(c.alpn, STR("h2")) && str_eq(s.alpn, STR("h2")));
    assert_true(str_eq(s.sni, STR("a.test")));
    assert_true(str_eq(c.spiffe_id, STR("spiffe://td/ns/server")));
    assert_true(str_eq(c.subject, STR("CN=a.test")));
    assert_int_equal(s.subject.n, 0);
    assert_int_equal(s.spiffe_id.n, 0);
    assert_string_equal(c.version, "TLSv1.3");
    assert_string_equal(c.cipher, "TLS_AES_128_GCM_SHA256");
    assert_false(c.resumed);
}

static void test_by_address(void **state)
{
    struct tls_client_settings cs = client_settings();
    struct tls_server_settings ss = server_settings();
    struct tls_identity s;
    (void)state;
    shake(&cs, &ss, "127.0.0.1", NULL, &s);
    assert_int_equal(s.sni.n, 0); /* addresses are no server names */
    refused(&cs, &ss, "127.0.0.2", "name_mismatch", "peer_refused_certificate");
    refused(&cs, &ss, "::1", "name_mismatch", "peer_refused_certificate");
}

static void test_names(void **state)
{
    struct tls_client_settings cs = client_settings();
    struct tls_server_settings ss = server_settings();
    struct str sans[] = {STR("x.test"), STR("127.0.0.1")};
    struct tls_identity s;
    (void)state;
    refused(&cs, &ss, "b.test", "name_mismatch", "peer_refused_certificate");
    refused(&cs, &ss, "", "name_mismatch", "peer_refused_certificate");
    cs.server_name = STR("A.TEST");
    shake(&cs, &ss, "10.0.0.1", NULL, &s);
    assert_true(str_ieq(s.sni, STR("a.test")));
    cs.server_name = STR("y.test");
    cs.n_sans = 2;
    cs.sans = sans;
    shake(&cs, &ss, "10.0.0.1", NULL, &s);
    assert_true(str_eq(s.sni, STR("y.test")));
    cs.n_sans = 1;
    refused(&cs, &ss, "a.test", "name_mismatch", "peer_refused_certificate");
    cs.insecure = true;
    shake(&cs, &ss, "a.test", NULL, NULL);
}

static void test_spiffe_of_server(void **state)
{
    struct tls_client_settings cs = client_settings();
    struct tls_server_settings ss = server_settings();
    struct str one[] = {STR("spiffe://td/ns/server")}, below[] = {STR("spiffe://td/ns/*")},
               other[] = {STR("spiffe://td/ns/serve"), STR("spiffe://td/ns/server/*"),
                          STR("spiffe://other/ns/server")};
    (void)state;
    cs.n_spiffe_ids = 1;
    cs.spiffe_ids = one;
    shake(&cs, &ss, "another.name", NULL, NULL); /* in place of names */
    cs.spiffe_ids = below;
    shake(&cs, &ss, "", NULL, NULL);
    cs.n_spiffe_ids = 3;
    cs.spiffe_ids = other;
    refused(&cs, &ss, "a.test", "spiffe_id_refused", "peer_handshake_failure");
}

static void test_client_certificates(void **state)
{
    struct tls_client_settings cs = client_settings();
    struct tls_server_settings ss = server_settings();
    struct tls_identity s;
    (void)state;
    ss.ca_file = STR("ca.pem");
    ss.ca = cast.ca.cert_pem;
    ss.client_auth = TLS_CLIENT_OPTIONAL;
    shake(&cs, &ss, "a.test", NULL, &s);
    assert_int_equal(s.subject.n, 0);
    ss.client_auth = TLS_CLIENT_REQUIRE;
    refused(&cs, &ss, "a.test", "none", "no_client_certificate");
    cs.has_pair = true;
    cs.pair = pair_of(&cast.client);
    shake(&cs, &ss, "a.test", NULL, &s);
    assert_true(str_eq(s.spiffe_id, STR("spiffe://td/ns/client")));
    assert_true(str_eq(s.subject, STR("CN=client")));
    ss.client_auth = TLS_CLIENT_NONE;
    shake(&cs, &ss, "a.test", NULL, &s);
    assert_int_equal(s.subject.n, 0); /* it was not asked for */
}

static void test_client_is_not_trusted(void **state)
{
    struct tls_client_settings cs = client_settings();
    struct tls_server_settings ss = server_settings();
    (void)state;
    ss.ca_file = STR("ca.pem");
    ss.ca = cast.other_ca.cert_pem;
    ss.client_auth = TLS_CLIENT_OPTIONAL; /* if there is one, it has to be good */
    cs.has_pair = true;
    cs.pair = pair_of(&cast.client);
    refused(&cs, &ss, "a.test", "none", "certificate_unknown_ca");
}

static void test_spiffe_of_client(void **state)
{
    struct tls_client_settings cs = client_settings();
    struct tls_server_settings ss = server_settings();
    struct str right[] = {STR("spiffe://td/ns/x"), STR("spiffe://td/*")},
               wrong[] = {STR("spiffe://td/ns/clien"), STR("spiffe://td/ns/client/*")};
    struct made two = make((struct wish){.cn = "two",
                                         .sans = "URI:spiffe://td/ns/client,URI:spiffe://td/b",
                                         .issuer = &cast.ca}),
                dots = make((struct wish){
                    .cn = "dots", .sans = "URI:spiffe://td/a/../ns/client", .issuer = &cast.ca}),
                none = make((struct wish){.cn = "none", .issuer = &cast.ca});
    (void)state;
    ss.ca_file = STR("ca.pem");
    ss.ca = cast.ca.cert_pem;
    ss.client_auth = TLS_CLIENT_REQUIRE;
    ss.n_spiffe_ids = 2;
    ss.spiffe_ids = right;
    cs.has_pair = true;
    cs.pair = pair_of(&cast.client);
    shake(&cs, &ss, "a.test", NULL, NULL);
    cs.pair = pair_of(&two);
    refused(&cs, &ss, "a.test", "none", "spiffe_id_refused");
    cs.pair = pair_of(&dots);
    refused(&cs, &ss, "a.test", "none", "spiffe_id_refused");
    cs.pair = pair_of(&none);
    refused(&cs, &ss, "a.test", "none", "spiffe_id_refused");
    cs.pair = pair_of(&cast.client);
    ss.spiffe_ids = wrong;
    refused(&cs, &ss, "a.test", "none", "spiffe_id_refused");
    made_free(&two);
    made_free(&dots);
    made_free(&none);
}

static void test_server_is_not_trusted(void **state)
{
    struct tls_client_settings cs = client_settings();
    struct tls_server_settings ss = server_settings();
    struct made self = make((struct wish){.cn = "a.test", .sans = "DNS:a.test"});
    struct tls_pair pair = pair_of(&self);
    (void)state;
    cs.ca = cast.other_ca.cert_pem;
    refused(&cs, &ss, "a.test", "certificate_unknown_ca", "peer_unknown_ca");
    ss.pairs = &pair;
    refused(&cs, &ss, "a.test", "certificate_unknown_ca", "peer_unknown_ca");
    cs.insecure = true;
    shake(&cs, &ss, "a.test", NULL, NULL);
    made_free(&self);
}

static void test_purpose(void **state)
{
    struct tls_client_settings cs = client_settings();
    struct tls_server_settings ss = server_settings();
    struct made m = make((struct wish){
        .cn = "a.test", .sans = "DNS:a.test", .usage = "clientAuth", .issuer = &cast.ca});
    struct tls_pair pair = pair_of(&m);
    (void)state;
    ss.pairs = &pair;
    refused(&cs, &ss, "a.test", "certificate_purpose", "peer_refused_certificate");
    made_free(&m);
}

/* Good when it was loaded, and seen later: contexts take the time that they are given. */
static void test_certificate_of_another_time(void **state)
{
    struct tls_client_settings cs = client_settings();
    struct tls_server_settings ss = server_settings();
    struct made old = make((struct wish){.cn = "a.test",
                                         .sans = "DNS:a.test",
                                         .issuer = &cast.ca,
                                         .from = -2 * AN_HOUR,
                                         .until = -AN_HOUR}),
                early = make((struct wish){.cn = "a.test",
                                           .sans = "DNS:a.test",
                                           .issuer = &cast.ca,
                                           .from = AN_HOUR,
                                           .until = 2 * AN_HOUR});
    const struct {
        const struct made *m;
        long at;
        const char *word, *alert;
    } cases[] = {
        {&old, -AN_HOUR - 60, "certificate_expired", "peer_refused_certificate"},
        {&early, AN_HOUR + 60, "certificate_not_yet_valid", "peer_refused_certificate"},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct tls_pair pair = pair_of(cases[i].m);
        char why[256];
        struct peers p;
        ss.pairs = &pair;
        struct tls_slot *s =
            tls_slot_new(tls_context_server(&ss, time(NULL) + cases[i].at, why, sizeof(why)));
        struct tls_slot *c = client_slot(&cs);
        peers_open(&p, c, s, "a.test");
        assert_int_equal(p.client_result, -EPROTO);
        assert_string_equal(word_of(&p.client), cases[i].word);
        assert_string_equal(word_of(&p.server), cases[i].alert);
        peers_close(&p);
        (void)tls_slot_unref(c);
        (void)tls_slot_unref(s);
    }
    made_free(&old);
    made_free(&early);
}

static void test_alpn(void **state)
{
    struct tls_client_settings cs = client_settings();
    struct tls_server_settings ss = server_settings();
    struct tls_identity c, s;
    (void)state;
    cs.http2 = false;
    shake(&cs, &ss, "a.test", &c, &s);
    assert_true(str_eq(c.alpn, STR("http/1.1")) && str_eq(s.alpn, STR("http/1.1")));
    cs.http2 = true;
    ss.http2 = false;
    shake(&cs, &ss, "a.test", &c, &s);
    assert_true(str_eq(c.alpn, STR("http/1.1")));
    cs.http1 = false;
    refused(&cs, &ss, "a.test", "peer_no_application_protocol", "no_application_protocol");
    ss.alpn = false;
    shake(&cs, &ss, "a.test", &c, &s);
    assert_int_equal(c.alpn.n, 0);
    ss.alpn = true;
    cs.http2 = false;
    shake(&cs, &ss, "a.test", &c, &s);
    assert_int_equal(s.alpn.n, 0);
}

static void test_ciphers(void **state)
{
    const struct {
        const char *offered, *chosen;
    } cases[] = {
        {"TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256:TLS_AES_128_GCM_SHA256",
         "TLS_AES_128_GCM_SHA256"},
        {"TLS_CHACHA20_POLY1305_SHA256:TLS_AES_128_GCM_SHA256", "TLS_CHACHA20_POLY1305_SHA256"},
        {"TLS_AES_256_GCM_SHA384", "TLS_AES_256_GCM_SHA384"},
    };
    struct tls_client_settings cs = client_settings();
    struct tls_server_settings ss = server_settings();
    struct tls_slot *server = server_slot(&ss);
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct tls_slot *client = client_slot(&cs);
        struct tls_context *c = tls_slot_get(client);
        struct tls_identity id;
        struct peers p;
        assert_non_null(c);
        assert_int_equal(SSL_CTX_set_ciphersuites(c->ctx[0], cases[i].offered), 1);
        peers_open(&p, client, server, "a.test");
        assert_int_equal(p.server_result, 0);
        transport_tls_identity(&p.server, &id);
        assert_string_equal(id.cipher, cases[i].chosen);
        peers_close(&p);
        (void)tls_context_unref(c);
        (void)tls_slot_unref(client);
    }
    (void)tls_slot_unref(server);
}

static void test_versions(void **state)
{
    struct tls_client_settings cs = client_settings();
    struct tls_server_settings ss = server_settings();
    struct tls_slot *s;
    struct peers p;
    /* A ClientHello of TLS 1.1, and what is none. */
    static const unsigned char old[] = {0x16, 3, 1, 0, 45, 1, 0, 0, 41, 3, 2, 1, 2, 3,    4, 5, 6,
                                        7,    8, 9, 0, 1,  2, 3, 4, 5,  6, 7, 8, 9, 0,    1, 2, 3,
                                        4,    5, 6, 7, 8,  9, 0, 1, 2,  0, 0, 2, 0, 0x2f, 1, 0};
    static const char http[] = "GET / HTTP/1.1\r\nHost: a.test\r\n\r\n";
    static const char noise[] = "SSH-2.0-OpenSSH_9.2p1 Debian-2+deb12u3\r\n";
    const struct {
        const void *p;
        size_t n;
        const char *word;
    } cases[] = {{old, sizeof(old), "protocol_version"},
                 {http, sizeof(http) - 1, "not_tls"},
                 {noise, sizeof(noise) - 1, "not_tls"}};
    struct tls_identity c;
    (void)state;
    ss.min_version = TLS_1_3;
    shake(&cs, &ss, "a.test", &c, NULL);
    s = server_slot(&ss);
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        int fds[2];
        assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds), 0);
        assert_int_equal(transport_tls_server(&p.server, fds[1], s), 0);
        assert_int_equal(send(fds[0], cases[i].p, cases[i].n, 0), cases[i].n);
        assert_int_equal(p.server.ops->handshake(&p.server), -EPROTO);
        assert_string_equal(word_of(&p.server), cases[i].word);
        assert_int_equal(p.server.ops->handshake(&p.server), -EPROTO); /* and stays so */
        transport_end(&p.server);
        (void)close(fds[0]);
    }
    (void)tls_slot_unref(s);
}

static void test_peer_closes(void **state)
{
    struct tls_client_settings cs = client_settings();
    struct tls_server_settings ss = server_settings();
    struct tls_slot *c = client_slot(&cs), *s = server_slot(&ss);
    struct peers p;
    (void)state;
    peers_connect(&p, c, s, "a.test");
    assert_int_equal(p.client.ops->handshake(&p.client), -EAGAIN);
    assert_false(p.client.wants_write);
    assert_int_equal(p.server.ops->handshake(&p.server), -EAGAIN);
    p.client.ops->close(&p.client);
    p.server_result = p.server.ops->handshake(&p.server);
    assert_int_equal(p.server_result, -ECONNRESET);
    assert_string_equal(word_of(&p.server), "peer_closed");
    peers_close(&p);
    (void)tls_slot_unref(c);
    (void)tls_slot_unref(s);
}

static void test_empty_slot(void **state)
{
    struct tls_slot *s = tls_slot_new(NULL);
    struct transport t;
    (void)state;
    assert_int_equal(transport_tls_server(&t, -1, s), -ENOKEY);
    assert_int_equal(transport_tls_client(&t, -1, s, STR("a"), NULL), -ENOKEY);
    (void)tls_slot_unref(s);
}

/* --- certificates by name --- */

static void check_sni(const struct tls_server_settings *ss, const char *name, const char *subject)
{
    struct tls_client_settings cs = client_settings();
    struct tls_identity c;
    cs.insecure = true;
    shake(&cs, ss, name, &c, NULL);
    assert_true(c.subject.n > 3);
    if (!str_eq((struct str){c.subject.p + 3, c.subject.n - 3}, str_of(subject)))
        fail_msg("%s: %.*s, not %s", name, STR_FMT(c.subject), subject);
}

static void test_sni(void **state)
{
    struct made made[] = {
        make((struct wish){.cn = "first", .sans = "DNS:a.test", .issuer = &cast.ca}),
        make((struct wish){.cn = "wild", .sans = "DNS:*.b.test,DNS:B.test", .issuer = &cast.ca}),
        make((struct wish){.cn = "exact", .sans = "DNS:x.b.test", .issuer = &cast.ca}),
        make((struct wish){.cn = "late", .sans = "DNS:a.test,DNS:c.test", .issuer = &cast.ca}),
        make((struct wish){.cn = "nameless", .issuer = &cast.ca}),
    };
    struct tls_pair pairs[ARRAY_LEN(made)];
    struct tls_server_settings ss = server_settings();
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(made); i++)
        pairs[i] = pair_of(&made[i]);
    ss.pairs = pairs;
    ss.n_pairs = ARRAY_LEN(made);
    check_sni(&ss, "a.test", "first");
    check_sni(&ss, "A.Test", "first");
    check_sni(&ss, "b.test", "wild");
    check_sni(&ss, "z.b.test", "wild");
    check_sni(&ss, "x.b.test", "exact");
    check_sni(&ss, "c.test", "late");
    check_sni(&ss, "y.z.b.test", "first"); /* a wildcard is one label */
    check_sni(&ss, ".b.test", "first");
    check_sni(&ss, "unknown", "first");
    check_sni(&ss, "127.0.0.1", "first");
    for (size_t i = 0; i < ARRAY_LEN(made); i++)
        made_free(&made[i]);
}

/* RSA and EC for one name: who can do both gets EC, and no third context is asked. */
static void test_two_kinds_of_key(void **state)
{
    struct made rsa = make((struct wish){
                    .cn = "rsa", .sans = "DNS:a.test", .issuer = &cast.ca, .rsa_bits = 2048}),
                ec = make((struct wish){.cn = "ec", .sans = "DNS:a.test", .issuer = &cast.ca});
    struct tls_pair pairs[] = {pair_of(&rsa), pair_of(&ec)};
    struct tls_server_settings ss = server_settings();
    (void)state;
    ss.pairs = pairs;
    ss.n_pairs = 1;
    check_sni(&ss, "a.test", "rsa");
    ss.n_pairs = 2;
    check_sni(&ss, "a.test", "ec");
    made_free(&rsa);
    made_free(&ec);
}

/* What stands between the leaf and the CA is sent along. */
static void test_chain(void **state)
{
    struct made middle = make((struct wish){.cn = "middle", .issuer = &cast.ca, .ca = true}),
                leaf = make((struct wish){.cn = "leaf", .sans = "DNS:a.test", .issuer = &middle});
    struct tls_client_settings cs = client_settings();
    struct tls_server_settings ss = server_settings();
    struct tls_pair pair = pair_of(&leaf);
    char both[16384];
    (void)state;
    ss.pairs = &pair;
    refused(&cs, &ss, "a.test", "certificate_unknown_ca", "peer_unknown_ca");
    int n = snprintf(both, sizeof(both), "%s%s", leaf.cert_pem.p, middle.cert_pem.p);
    pair.cert = (struct str){both, (size_t)n};
    shake(&cs, &ss, "a.test", NULL, NULL);
    made_free(&middle);
    made_free(&leaf);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_plain_success),
        cmocka_unit_test(test_by_address),
        cmocka_unit_test(test_names),
        cmocka_unit_test(test_spiffe_of_server),
        cmocka_unit_test(test_client_certificates),
        cmocka_unit_test(test_client_is_not_trusted),
        cmocka_unit_test(test_spiffe_of_client),
        cmocka_unit_test(test_server_is_not_trusted),
        cmocka_unit_test(test_purpose),
        cmocka_unit_test(test_certificate_of_another_time),
        cmocka_unit_test(test_alpn),
        cmocka_unit_test(test_ciphers),
        cmocka_unit_test(test_versions),
        cmocka_unit_test(test_peer_closes),
        cmocka_unit_test(test_empty_slot),
        cmocka_unit_test(test_sni),
        cmocka_unit_test(test_two_kinds_of_key),
        cmocka_unit_test(test_chain),
    };
    return cmocka_run_group_tests(tests, cast_make, cast_free);
}
