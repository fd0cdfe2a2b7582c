/* test_http_guard.c - who is let in by the control server: hosts, tokens, the Unix socket. */
#include "admin/guard.h"
#include "http_rig.h"

#include <fcntl.h>

static void test_host_guard(void **state)
{
    (void)state;
    const struct str allowed[] = {STR("sluice.internal")};
    struct http_server_options o = {.allowed_hosts = allowed, .n_allowed_hosts = 1};
    struct fixture *f = start(o);
    static const struct {
        const char *host;
        bool ok;
    } cases[] = {
        {"localhost", true},
        {"LOCALHOST:15900", true},
        {"127.0.0.1:1", true},
        {"[::1]:15900", true},
        {"10.1.2.3", true},
        {"sluice.internal:80", true},
        {"evil.example", false},
        {"localhost.evil.example", false},
        {"127.0.0.1.evil.example:15900", false},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        char request[256];
        (void)snprintf(request, sizeof(request),
                       "GET /v1/hello HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n\r\n",
                       cases[i].host);
        assert_in(ask(f, request), cases[i].ok ? "HTTP/1.1 200" : "HTTP/1.1 403");
    }
    assert_false(guard_host_allowed(STR(""), allowed, 1));
    assert_false(guard_host_allowed(STR("[::1"), allowed, 1));
    finish(f);

    o.flags = HTTP_SERVER_ANY_HOST;
    f = start(o);
    assert_in(ask(f, "GET /v1/hello HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n\r\n"),
              "HTTP/1.1 200");
    finish(f);
}

static void write_file(const char *path, const char *text)
{
    char other[80];
    (void)snprintf(other, sizeof(other), "%s.new", path);
    int fd = open(other, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    CHECK(fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text));
    (void)close(fd);
    CHECK(rename(other, path) == 0);
}

static void test_mutations(void **state)
{
    (void)state;
    char path[64];
    (void)snprintf(path, sizeof(path), "/tmp/test_http_server.%d", (int)getpid());
    (void)unlink(path);
    struct fixture *f = start(tcp_options);
    assert_in(ask(f, "POST /v1/change HTTP/1.1\r\n" END), "HTTP/1.1 403");
    finish(f);

    struct http_server_options o = tcp_options;
    o.token_file = path;
    f = start(o);
    /* No file, no token; and an empty one fits nothing. */
    assert_in(ask(f, "POST /v1/change HTTP/1.1\r\nAuthorization: Bearer \r\n" END), "HTTP/1.1 401");
    write_file(path, "\n");
    assert_in(ask(f, "POST /v1/change HTTP/1.1\r\nAuthorization: Bearer x\r\n" END),
              "WWW-Authenticate: Bearer");
    write_file(path, "secret\n");
    assert_in(ask(f, "POST /v1/change HTTP/1.1\r\nAuthorization: Bearer secre\r\n" END), " 401");
    assert_in(ask(f, "POST /v1/change HTTP/1.1\r\nAuthorization: Basic secret\r\n" END), " 401");
    assert_int_equal(0, f->mutated);
    assert_in(ask(f, "POST /v1/change HTTP/1.1\r\nAuthorization: bearer secret\r\n" END), " 204");
    write_file(path, "rotated\n");
    assert_in(ask(f, "POST /v1/change HTTP/1.1\r\nAuthorization: Bearer secret\r\n" END), " 401");
    assert_in(ask(f, "POST /v1/change HTTP/1.1\r\nAuthorization: Bearer rotated\r\n" END), " 204");
    assert_int_equal(2, f->mutated);
    finish(f);
    (void)unlink(path);

    o = (struct http_server_options){.flags = HTTP_SERVER_UNIX | HTTP_SERVER_MUTATIONS};
    f = start(o);
    assert_in(ask(f, "POST /v1/change HTTP/1.1\r\nHost: any\r\nConnection: close\r\n\r\n"), " 204");
    finish(f);
    assert_true(http_token_equal(STR("a"), STR("a")));
    assert_false(http_token_equal(STR(""), STR("")));
    assert_false(http_token_equal(STR("b"), STR("a")));
}

int main(void)
{
    (void)signal(SIGPIPE, SIG_IGN);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_host_guard),
        cmocka_unit_test(test_mutations),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
