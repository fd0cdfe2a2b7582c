/* test_tls_hello.c - the server name of a ClientHello: cut anywhere, in any number of records, and
 * with lengths that lie. */
#include "base/check.h"
#include "http/tls_hello.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>
#include <openssl/ssl.h>

struct bytes {
    size_t n;
    unsigned char p[3 * TLS_HELLO_MAX];
};

static void put(struct bytes *b, const void *p, size_t n)
{
    assert_true(b->n + n <= sizeof(b->p));
    memcpy(b->p + b->n, p, n);
    b->n += n;
}

static void put_number(struct bytes *b, size_t v, size_t bytes)
{
    while (bytes-- > 0) {
        unsigned char c = (unsigned char)(v >> (8 * bytes));
        put(b, &c, 1);
    }
}

struct wish {
    const char *name;   /* NULL: no extension of it */
    const char *second; /* another one */
    size_t padding;     /* of an extension in front */
    bool no_extensions;
    int name_type, list_more, name_more, message_more, extensions_more; /* lies */
};

static void put_name(struct bytes *b, const struct wish *w, const char *name)
{
    size_t n = strlen(name);
    put_number(b, 0, 2);
    put_number(b, n + 5, 2);
    put_number(b, (size_t)((int)n + 3 + w->list_more), 2);
    put_number(b, (size_t)w->name_type, 1);
    put_number(b, (size_t)((int)n + w->name_more), 2);
    put(b, name, n);
}

/* The handshake message. */
static void message(struct bytes *b, const struct wish *w)
{
    static struct bytes e, m;
    static const char zeros[TLS_HELLO_MAX];
    e.n = m.n = b->n = 0;
    if (w->padding > 0) {
        put_number(&e, 21, 2);
        put_number(&e, w->padding, 2);
        put(&e, zeros, w->padding);
    }
    if (w->name)
        put_name(&e, w, w->name);
    if (w->second)
        put_name(&e, w, w->second);
    put_number(&m, 0x0303, 2);
    put(&m, zeros, 32);
    put_number(&m, 32, 1);
    put(&m, zeros, 32);
    put_number(&m, 4, 2);
    put_number(&m, 0x13011302, 4);
    put_number(&m, 0x0100, 2);
    if (!w->no_extensions) {
        put_number(&m, (size_t)((int)e.n + w->extensions_more), 2);
        put(&m, e.p, e.n);
    }
    put_number(b, 1, 1);
    put_number(b, (size_t)((int)m.n + w->message_more), 3);
    put(b, m.p, m.n);
}

/* In records of so many bytes. */
static void records(struct bytes *out, const struct bytes *m, size_t each)
{
    out->n = 0;
    for (size_t at = 0; at < m->n; at += each) {
        size_t n = m->n - at < each ? m->n - at : each;
        put_number(out, 0x160301, 3);
        put_number(out, n, 2);
        put(out, m->p + at, n);
    }
}

static struct bytes msg, wire;

static enum tls_hello_result read_whole(const struct wish *w, size_t each, struct tls_hello *h)
{
    message(&msg, w);
    records(&wire, &msg, each);
    return tls_hello_read((const char *)wire.p, wire.n, h);
}

static void test_cut_anywhere(void **state)
{
    static const size_t sizes[] = {1, 2, 3, 7, 64, 16384};
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(sizes); i++) {
        struct tls_hello h = {0};
        struct wish w = {.name = "Www.Example-1.test", .padding = 20};
        assert_int_equal(read_whole(&w, sizes[i], &h), TLS_HELLO_DONE);
        assert_string_equal(h.name, "www.example-1.test");
        assert_int_equal(h.name_len, 18);
        for (size_t n = 0; n < wire.n; n++)
            assert_int_equal(tls_hello_read((const char *)wire.p, n, &h), TLS_HELLO_MORE);
    }
}

static void test_no_name(void **state)
{
    struct tls_hello h = {.name_len = 5};
    struct wish none = {0}, old = {.no_extensions = true};
    (void)state;
    assert_int_equal(read_whole(&none, 100, &h), TLS_HELLO_DONE);
    assert_int_equal(h.name_len, 0);
    h.name_len = 5;
    assert_int_equal(read_whole(&old, 100, &h), TLS_HELLO_DONE);
    assert_int_equal(h.name_len, 0);
}

static void test_lies(void **state)
{
    static const struct wish bad[] = {
        {.name = "a", .second = "b"},
        {.name = "a", .second = "a"},
        {.name = "a", .name_type = 1},
        {.name = "a", .list_more = 1},
        {.name = "abc", .list_more = -1},
        {.name = "a", .name_more = 1},
        {.name = "abc", .name_more = -1},
        {.name = ""},
        {.name = "a b"},
        {.name = "a\x80"},
        {.name = "a:1"},
        {.name = "[::1]"},
        {.name = "a", .message_more = 1},
        {.name = "a", .message_more = -1},
        {.name = "a", .extensions_more = 1},
        {.name = "a", .extensions_more = -1},
    };
    char long_name[TLS_HELLO_NAME_MAX + 2];
    struct tls_hello h;
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        if (read_whole(&bad[i], 50, &h) != TLS_HELLO_BAD)
            fail_msg("case %zu", i);
    }
    memset(long_name, 'a', sizeof(long_name));
    long_name[TLS_HELLO_NAME_MAX] = '\0';
    assert_int_equal(read_whole(&(struct wish){.name = long_name}, 50, &h), TLS_HELLO_DONE);
    assert_int_equal(h.name_len, TLS_HELLO_NAME_MAX);
    long_name[TLS_HELLO_NAME_MAX] = 'a';
    long_name[TLS_HELLO_NAME_MAX + 1] = '\0';
    assert_int_equal(read_whole(&(struct wish){.name = long_name}, 50, &h), TLS_HELLO_BAD);
}

static void test_too_long(void **state)
{
    struct tls_hello h;
    struct wish w = {.name = "a", .padding = TLS_HELLO_MAX - 1000};
    (void)state;
    assert_int_equal(read_whole(&w, 16384, &h), TLS_HELLO_DONE);
    w.padding = TLS_HELLO_MAX - 10;
    assert_int_equal(read_whole(&w, 16384, &h), TLS_HELLO_MORE);
    assert_true(wire.n > TLS_HELLO_MAX);
}

static enum tls_hello_result read_text(const char *p, size_t n)
{
    struct tls_hello h;
    return tls_hello_read(p, n, &h);
}

static void test_no_hello(void **state)
{
    (void)state;
#define READ(text) read_text(text, sizeof(text) - 1)
    assert_int_equal(READ(""), TLS_HELLO_MORE);
    assert_int_equal(READ("G"), TLS_HELLO_NOT_TLS);
    assert_int_equal(READ("GET / HTTP/1.1\r\n"), TLS_HELLO_NOT_TLS);
    assert_int_equal(READ("\x80\x2e\x01\x03\x01"), TLS_HELLO_NOT_TLS); /* SSL 2's */
    assert_int_equal(READ("\x15\x03\x01"), TLS_HELLO_NOT_TLS);
    assert_int_equal(READ("\x16"), TLS_HELLO_MORE);
    assert_int_equal(READ("\x16\x02"), TLS_HELLO_NOT_TLS);
    assert_int_equal(READ("\x16\x03\x01\x00\x00"), TLS_HELLO_BAD);         /* an empty record */
    assert_int_equal(READ("\x16\x03\x01\x40\x01"), TLS_HELLO_BAD);         /* too large a one */
    assert_int_equal(READ("\x16\x03\x01\x00\x04\x02"), TLS_HELLO_BAD);     /* a ServerHello */
    assert_int_equal(READ("\x16\x03\x01\x00\x01\x01\x17"), TLS_HELLO_BAD); /* data in between */
    assert_int_equal(READ("\x16\x03\x01\x00\x01\x01\x16\x02"), TLS_HELLO_BAD);
}

/* What a real client sends. */
static void test_openssl(void **state)
{
    SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());
    SSL *ssl = SSL_new(ctx);
    BIO *in = BIO_new(BIO_s_mem()), *out = BIO_new(BIO_s_mem());
    struct tls_hello h;
    char *p;
    (void)state;
    SSL_set_bio(ssl, in, out);
    assert_int_equal(SSL_set_tlsext_host_name(ssl, "db.example"), 1);
    SSL_set_connect_state(ssl);
    assert_true(SSL_do_handshake(ssl) < 0);
    long n = BIO_get_mem_data(out, &p);
    assert_int_equal(tls_hello_read(p, (size_t)n, &h), TLS_HELLO_DONE);
    assert_string_equal(h.name, "db.example");
    SSL_free(ssl);
    SSL_CTX_free(ctx);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_cut_anywhere), cmocka_unit_test(test_no_name),
        cmocka_unit_test(test_lies),         cmocka_unit_test(test_too_long),
        cmocka_unit_test(test_no_hello),     cmocka_unit_test(test_openssl),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
