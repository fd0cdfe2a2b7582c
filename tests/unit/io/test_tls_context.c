/* test_tls_context.c - what is refused of certificates, keys, CAs and rules, and how it is said. */
#include "tests/unit/io/tls_peers.h"

static char why[512];

static bool server_takes(const struct tls_server_settings *s)
{
    why[0] = 0;
    struct tls_context *c = tls_context_server(s, time(NULL), why, sizeof(why));
    bool taken = c != NULL;
    assert_true(taken == (why[0] == 0));
    (void)tls_context_unref(c);
    return taken;
}

/* A listener with this one pair. */
static bool takes(const struct tls_pair *p)
{
    struct tls_server_settings s = server_settings();
    s.pairs = p;
    return server_takes(&s);
}

static void assert_refused(const struct tls_pair *p, const char *sentence)
{
    assert_false(takes(p));
    if (!strstr(why, sentence))
        fail_msg("\"%s\" is not \"%s\"", why, sentence);
}

static void test_good_ones(void **state)
{
    struct made rsa = make((struct wish){.cn = "rsa", .issuer = &cast.ca, .rsa_bits = 2048});
    struct made p384 = make((struct wish){.cn = "p384", .issuer = &cast.ca, .curve = "P-384"});
    struct tls_pair pairs[] = {cast.server_pair, pair_of(&rsa), pair_of(&p384)};
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(pairs); i++)
        assert_true(takes(&pairs[i]));
    made_free(&rsa);
    made_free(&p384);
}

static void test_not_pem(void **state)
{
    struct tls_pair p = cast.server_pair;
    char broken[4096];
    (void)state;
    p.cert = STR("");
    assert_refused(&p, "cert.pem: no certificate in it");
    p.cert = STR("hello\n");
    assert_refused(&p, "cert.pem: no certificate in it");
    p.cert = cast.server.key_pem;
    assert_refused(&p, "cert.pem: no certificate in it");
    memcpy(broken, cast.server.cert_pem.p, cast.server.cert_pem.n);
    broken[100] = '*'; /* no base64 */
    p.cert = (struct str){broken, cast.server.cert_pem.n};
    assert_false(takes(&p));
    assert_non_null(strstr(why, "cert.pem: "));
    p = cast.server_pair;
    p.key = STR("");
    assert_refused(&p, "key.pem: no private key in it");
    p.key = cast.server.cert_pem;
    assert_refused(&p, "key.pem: no private key in it");
}

/* Cut at every byte it is refused, or is the same; and nothing of the key is told. */
static void test_cut_everywhere(void **state)
{
    struct tls_pair p = cast.server_pair;
    (void)state;
    for (size_t n = 0; n < cast.server.cert_pem.n; n++) {
        p.cert = (struct str){cast.server.cert_pem.p, n};
        if (takes(&p))
            assert_true(n + 1 >= cast.server.cert_pem.n);
    }
    p = cast.server_pair;
    for (size_t n = 0; n < cast.server.key_pem.n; n++) {
        p.key = (struct str){cast.server.key_pem.p, n};
        if (takes(&p))
            assert_true(n + 1 >= cast.server.key_pem.n);
        else
            assert_null(memmem(why, strlen(why), cast.server.key_pem.p + 40, 8));
    }
}

static void test_mismatch(void **state)
{
    struct tls_pair p = cast.server_pair;
    struct made rsa = make((struct wish){.cn = "rsa", .issuer = &cast.ca, .rsa_bits = 2048});
    (void)state;
    p.key = cast.client.key_pem;
    assert_refused(&p, "key.pem: the key does not belong to the certificate in cert.pem");
    p.key = rsa.key_pem;
    assert_refused(&p, "key.pem: the key does not belong to the certificate in cert.pem");
    made_free(&rsa);
}

static void test_encrypted_key(void **state)
{
    struct tls_pair p = cast.server_pair;
    BIO *b = BIO_new(BIO_s_mem());
    char *text;
    (void)state;
    assert_int_equal(PEM_write_bio_PKCS8PrivateKey(b, cast.server.key, EVP_aes_128_cbc(), "secret",
                                                   6, NULL, NULL),
                     1);
    long n = BIO_get_mem_data(b, &text);
    p.key = (struct str){text, (size_t)n};
    assert_refused(&p, "key.pem: the key is encrypted");
    BIO_free(b);
}

static void test_dates(void **state)
{
    struct made old = make(
        (struct wish){.cn = "a.test", .issuer = &cast.ca, .from = -2 * AN_HOUR, .until = -AN_HOUR});
    struct made early = make(
        (struct wish){.cn = "a.test", .issuer = &cast.ca, .from = AN_HOUR, .until = 2 * AN_HOUR});
    struct made middle = make((struct wish){
        .cn = "middle", .issuer = &cast.ca, .ca = true, .from = -2 * AN_HOUR, .until = -AN_HOUR});
    struct made leaf = make((struct wish){.cn = "a.test", .issuer = &middle});
    struct tls_pair p = pair_of(&old);
    char both[16384];
    (void)state;
    assert_refused(&p, "cert.pem: the certificate expired at 20");
    p = pair_of(&early);
    assert_refused(&p, "cert.pem: the certificate is not valid before 20");
    p = pair_of(&leaf);
    int n = snprintf(both, sizeof(both), "%s%s", leaf.cert_pem.p, middle.cert_pem.p);
    p.cert = (struct str){both, (size_t)n};
    assert_refused(&p, "cert.pem: a certificate of its chain expired at 20");
    made_free(&old);
    made_free(&early);
    made_free(&leaf);
    made_free(&middle);
}

static void test_weak(void **state)
{
    struct made rsa = make((struct wish){.cn = "a.test", .issuer = &cast.ca, .rsa_bits = 1024});
    struct made ec = make((struct wish){.cn = "a.test", .issuer = &cast.ca, .curve = "P-224"});
    struct tls_pair p = pair_of(&rsa);
    (void)state;
    assert_refused(&p, "cert.pem: an RSA key of 1024 bits is weak");
    p = pair_of(&ec);
    assert_refused(&p, "cert.pem: a curve of 224 bits is weak");
    made_free(&rsa);
    made_free(&ec);
}

/* One bad pair among good ones names its own file. */
static void test_the_bad_one_is_named(void **state)
{
    struct tls_pair pairs[] = {cast.server_pair, cast.server_pair};
    struct tls_server_settings s = server_settings();
    (void)state;
    pairs[1].key_file = STR("second.key");
    pairs[1].key = cast.client.key_pem;
    s.n_pairs = 2;
    s.pairs = pairs;
    assert_false(server_takes(&s));
    assert_non_null(strstr(why, "second.key: "));
    s.n_pairs = 0;
    assert_false(server_takes(&s));
}

static void test_cas(void **state)
{
    struct tls_server_settings s = server_settings();
    struct tls_client_settings c = client_settings();
    char two[16384];
    (void)state;
    s.client_auth = TLS_CLIENT_REQUIRE;
    s.ca_file = STR("ca.pem");
    assert_false(server_takes(&s));
    assert_non_null(strstr(why, "ca.pem: no certificate in it"));
    int n = snprintf(two, sizeof(two), "%s%s", cast.ca.cert_pem.p, cast.other_ca.cert_pem.p);
    s.ca = (struct str){two, (size_t)n};
    assert_true(server_takes(&s));
    s.ca = (struct str){two, (size_t)n - 40};
    assert_false(server_takes(&s));
    c.ca = STR("nothing");
    assert_null(tls_context_client(&c, time(NULL), why, sizeof(why)));
    assert_non_null(strstr(why, "ca.pem: "));
    c = (struct tls_client_settings){.http1 = true}; /* the system's */
    struct tls_context *system = tls_context_client(&c, time(NULL), why, sizeof(why));
    assert_non_null(system);
    (void)tls_context_unref(system);
}

static void test_spiffe_rules(void **state)
{
    static const struct {
        struct str rule;
        bool good;
    } rules[] = {
        {{"spiffe://td", 11}, true},
        {{"spiffe://td/a", 13}, true},
        {{"spiffe://td/a/b.c-d_e", 21}, true},
        {{"spiffe://td/*", 13}, true},
        {{"spiffe://td/a/*", 15}, true},
        {{"spiffe://td/", 12}, false},
        {{"spiffe://", 9}, false},
        {{"spiffe:///a", 11}, false},
        {{"spiffe://TD/a", 13}, false},
        {{"spiffe://td/a//b", 16}, false},
        {{"spiffe://td/../b", 16}, false},
        {{"spiffe://td/*/b", 15}, false},
        {{"spiffe://td/a*", 14}, false},
        {{"spiffe://*", 10}, false},
        {{"https://td/a", 12}, false},
        {{"spiffe://td:80/a", 16}, false},
        {{"spiffe://td/a?b", 15}, false},
        {{"", 0}, false},
    };
    struct tls_server_settings s = server_settings();
    (void)state;
    s.client_auth = TLS_CLIENT_REQUIRE;
    s.ca_file = STR("ca.pem");
    s.ca = cast.ca.cert_pem;
    s.n_spiffe_ids = 1;
    for (size_t i = 0; i < ARRAY_LEN(rules); i++) {
        s.spiffe_ids = &rules[i].rule;
        if (server_takes(&s) != rules[i].good)
            fail_msg("%.*s", STR_FMT(rules[i].rule));
        assert_true(tls_is_spiffe_rule(rules[i].rule) == rules[i].good);
    }
}

static void test_client_pair(void **state)
{
    struct tls_client_settings c = client_settings();
    struct tls_context *made;
    (void)state;
    c.has_pair = true;
    c.pair = pair_of(&cast.client);
    made = tls_context_client(&c, time(NULL), why, sizeof(why));
    assert_non_null(made);
    struct str file;
    time_t until;
    assert_true(tls_context_certificate(made, 0, &file, &until));
    assert_true(str_eq(file, STR("cert.pem")));
    assert_true(until > time(NULL) + A_DAY - AN_HOUR && until <= time(NULL) + A_DAY);
    assert_false(tls_context_certificate(made, 1, &file, &until));
    (void)tls_context_unref(made);
    c.pair.key = cast.server.key_pem;
    assert_null(tls_context_client(&c, time(NULL), why, sizeof(why)));
    assert_non_null(strstr(why, "key.pem: the key does not belong"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_good_ones),
        cmocka_unit_test(test_not_pem),
        cmocka_unit_test(test_cut_everywhere),
        cmocka_unit_test(test_mismatch),
        cmocka_unit_test(test_encrypted_key),
        cmocka_unit_test(test_dates),
        cmocka_unit_test(test_weak),
        cmocka_unit_test(test_the_bad_one_is_named),
        cmocka_unit_test(test_cas),
        cmocka_unit_test(test_spiffe_rules),
        cmocka_unit_test(test_client_pair),
    };
    return cmocka_run_group_tests(tests, cast_make, cast_free);
}
