/* test_tls_peer.c - whom a TLS client that is not ours has to meet: what may be asked, and who
 * keeps it. That it is asked of servers is shown by tests/scenario/test_learn.py. */
#include "io/tls.h"

#include "base/check.h"
#include "base/mem.h"

#include <errno.h>
#include <openssl/ssl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static int refusal(const char *sans, const char *spiffe_ids)
{
    int error = 0;
    assert_null(tls_peer_new(sans, spiffe_ids, &error));
    return error;
}

static void test_somebody_is_meant(UNUSED void **state)
{
    int error = 0;
    assert_int_equal(refusal(NULL, NULL), -EINVAL);
    assert_int_equal(refusal("", ""), -EINVAL);
    assert_int_equal(refusal(NULL, "spiffe://"), -EINVAL);
    assert_int_equal(refusal(NULL, "spiffe://td/a  spiffe://td/b"), -EINVAL);
    struct tls_peer *p = tls_peer_new("a.test 192.0.2.1", "spiffe://td/a spiffe://td/b/*", &error);
    assert_non_null(p);
    assert_null(tls_peer_unref(p));
    assert_null(tls_peer_unref(NULL));
}

/* The context goes after who made it; and has one for good. */
static void test_kept_by_the_context(UNUSED void **state)
{
    int error = 0;
    struct tls_peer *p = tls_peer_new("a.test", NULL, &error);
    SSL_CTX *one = SSL_CTX_new(TLS_client_method()), *two = SSL_CTX_new(TLS_client_method());
    assert_int_equal(tls_peer_use(p, one), 0);
    assert_int_equal(tls_peer_use(p, two), 0);
    assert_int_equal(tls_peer_use(p, two), -ENOMEM);
    assert_int_equal(SSL_CTX_get_verify_mode(one), SSL_VERIFY_PEER);
    SSL_CTX_free(one);
    (void)tls_peer_unref(p);
    SSL_CTX_free(two);
}

static void test_failing_allocations(UNUSED void **state)
{
    bool made = false;
    for (uint64_t nth = 1; !made; nth++) {
        int error = 0;
        mem_fail_at(nth, false);
        struct tls_peer *p = tls_peer_new("a.test b.test", "spiffe://td/a", &error);
        mem_fail_at(0, false);
        made = p != NULL;
        assert_int_equal(error, made ? 0 : -ENOMEM);
        (void)tls_peer_unref(p);
        assert_true(nth < 100);
    }
}

static void test_library(UNUSED void **state)
{
    char text[TLS_LIBRARY_MAX];
    assert_memory_equal(tls_peer_library(text), "OpenSSL/", 8);
    assert_true(text[8] >= '3' && text[8] <= '9');
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_somebody_is_meant),
        cmocka_unit_test(test_kept_by_the_context),
        cmocka_unit_test(test_failing_allocations),
        cmocka_unit_test(test_library),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
