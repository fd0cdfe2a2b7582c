/* test_client.c - admin_call() and the commands that use it, against a server in another process
 * that tells of a drain, one step a question. */
#include "admin/client.h"
#include "admin/http_server.h"
#include "base/check.h"
#include "cmd_drain.h"
#include "cmd_reload.h"
#include "cmd_status.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

enum { BIG = 300000 };

static char directory[] = "/tmp/test_client.XXXXXX";
static char socket_path[64], url[64], token_path[64];
static pid_t server;

/* --- the other process ------------------------------------------------------------------- */

static const char status_json[] =
    "{\"version\":\"0.1.0\",\"pid\":42,\"uptime_s\":7980,\"phase\":\"serving\",\"ready\":true,"
    "\"drain\":null,\"config\":{\"generation\":3,\"sha256\":\"0123456789abcdef\","
    "\"file\":\"/etc/sluice.yaml\",\"source\":\"last-good\","
    "\"pending_restart\":[\"workers\",\"admin.address\"],\"last_error\":{\"problems\":["
    "{\"line\":2,\"column\":1,\"path\":\"log\",\"message\":\"only this\","
    "\"severity\":\"warning\"},{\"line\":7,\"column\":5,\"path\":\"listeners[0].name\","
    "\"message\":\"expected \\u001b[31ma name\",\"severity\":\"error\"}]}},"
    "\"workers\":[{\"id\":0,\"loop_lag_us\":120,\"connections\":12,\"streams\":3,"
    "\"requests\":1234}],"
    "\"listeners\":[{\"name\":\"http\",\"direction\":\"inbound\",\"address\":\"0.0.0.0:15080\","
    "\"protocol\":\"http\",\"connections\":12,\"accepted\":99}],"
    "\"routes\":[{\"name\":\"http/0\",\"listener\":\"http\",\"requests\":1000,\"errors\":2,"
    "\"backends\":[{\"upstream\":\"app\",\"weight_ppm\":950000,\"intended_ppm\":950000,"
    "\"picked\":950},{\"upstream\":\"app-next\",\"weight_ppm\":50000,\"intended_ppm\":50000,"
    "\"picked\":50}]},{\"name\":\"moved\",\"listener\":\"http\",\"requests\":1}],"
    "\"upstreams\":[{\"name\":\"app\",\"connections\":7,\"active\":3,\"idle\":4,\"pending\":0,"
    "\"max_connections\":1024,\"endpoints\":[{\"address\":\"127.0.0.1:8080\",\"connections\":7,"
    "\"active\":3,\"requests\":950,\"errors\":1}]}],\"new\":{\"unknown\":1}}";

static void get_status(struct http_request *req, void *ctx)
{
    (void)ctx;
    http_reply(req, 200, "application/json", status_json, sizeof(status_json) - 1);
}

static void get_big(struct http_request *req, void *ctx)
{
    static char big[BIG];
    (void)ctx;
    memset(big, 'b', sizeof(big));
    http_reply(req, 200, "text/plain", big, sizeof(big));
}

static void get_never(struct http_request *req, void *ctx)
{
    (void)req;
    (void)ctx;
}

static int step;
static char asked[256]; /* the body of the last POST */

static void post_drain(struct http_request *req, void *ctx)
{
    (void)ctx;
    (void)snprintf(asked, sizeof(asked), "%.*s", STR_FMT(req->body));
    step = strstr(asked, "1000") ? 10 : strstr(asked, "2000") ? 20 : 0;
    http_reply(req, 202, "application/json", "{}", 2);
}

static void get_drain(struct http_request *req, void *ctx)
{
    static const char *const running =
        "{\"phase\":\"drain\",\"open\":7,\"remaining_ms\":1234,\"trigger\":\"admin\"}";
    static const char *const ended =
        "{\"phase\":\"exit\",\"trigger\":\"admin\",\"started\":\"2026-01-01T00:00:00.000Z\","
        "\"elapsed_ms\":12345,\"deadline_ms\":25000,\"remaining_ms\":12655,\"open\":0,"
        "\"budget\":{\"notice_ms\":5000,\"drain_ms\":7345},"
        "\"classes\":{\"h1_idle\":{\"completed\":1,\"closed\":20,\"forced\":0},"
        "\"tcp\":{\"completed\":3,\"closed\":0,\"forced\":1}},"
        "\"forced\":[{\"class\":\"tcp\",\"reason\":\"forced\",\"age_ms\":60000,"
        "\"peer\":\"192.0.2.7\",\"route\":\"\\u001b[31mdb\"}],\"forced_total\":2,"
        "\"longest\":{\"class\":\"tcp\",\"age_ms\":60000,\"route\":\"db\"}}";
    const char *text = running;

    (void)ctx;
    switch (step++) {
    case 0:
    case 10:
    case 20:
        text = "{\"phase\":\"serving\"}";
        break;
    case 3:
        text = ended;
        break;
    case 12:
        text = "{\"phase\":\"serving\"}";
        break;
    case 22:
        _exit(0); /* ended by a signal before the report was read */
    default:
        break;
    }
    http_reply(req, 200, "application/json", text, strlen(text));
}

/* One answer after the other. */
static void post_reload(struct http_request *req, void *ctx)
{
#define TAKEN "\"generation\":4,\"sha256\":\"0123456789abcdef\",\"last_reload\":{\"took_ms\":12.5},"
    static const struct {
        unsigned status;
        const char *body;
    } answers[] = {
        {200, "{" TAKEN "\"pending_restart\":[],\"result\":\"applied\"}"},
        {200, "{" TAKEN "\"pending_restart\":[\"workers\",\"dns\"],\"result\":\"unchanged\"}"},
        {422,
         "{\"code\":\"config_refused\",\"detail\":\"2 problems\",\"file\":\"/etc/s.yaml\","
         "\"last_error\":{\"dropped\":1},\"problems\":[{\"line\":7,\"column\":5,\"path\":\"a.b\","
         "\"message\":\"expected \\u001b[1ma name\",\"severity\":\"error\"},"
         "{\"line\":0,\"column\":0,\"path\":\"\",\"message\":\"odd\","
         "\"severity\":\"warning\"}]}"},
        {409, "{\"code\":\"draining\",\"detail\":\"It drains.\"}"},
        {422, "{\"problems\":5}"},
        {200, "[]"},
        {200, "{\"result\":1}"},
        {200, "{" TAKEN "\"result\":\"applied\"}"},
        {422, "{\"problems\":[]}"},
    };
    static size_t turn;
    const char *body = answers[turn % ARRAY_LEN(answers)].body;
    (void)ctx;
    http_reply(req, answers[turn++ % ARRAY_LEN(answers)].status, "application/json", body,
               strlen(body));
}

static void handle(struct http_request *req, void *ctx)
{
    static const struct http_route routes[] = {
        {"GET", "/v1/status", get_status, false}, {"GET", "/v1/drain", get_drain, false},
        {"POST", "/v1/drain", post_drain, true},  {"GET", "/v1/big", get_big, false},
        {"GET", "/v1/never", get_never, false},   {"POST", "/v1/reload", post_reload, true},
    };
    http_dispatch(routes, ARRAY_LEN(routes), req, ctx);
}

static void serve(int unix_fd, int tcp_fd)
{
    struct http_server_options o = {.handler = handle, .flags = HTTP_SERVER_MUTATIONS};
    struct ev_loop *loop = ev_loop_new(EVFLAG_AUTO);
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
    o.token_file = token_path;
    CHECK(http_server_new(loop, tcp_fd, &o));
    o.flags |= HTTP_SERVER_UNIX;
    CHECK(http_server_new(loop, unix_fd, &o));
    (void)ev_run(loop, 0);
    _exit(1);
}

static int start_server(void **state)
{
    struct sockaddr_un un = {.sun_family = AF_UNIX};
    struct sockaddr_in in = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t n = sizeof(in);

    (void)state;
    (void)unlink(socket_path);
    (void)snprintf(un.sun_path, sizeof(un.sun_path), "%s", socket_path);
    int unix_fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    int tcp_fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    CHECK(bind(unix_fd, (struct sockaddr *)&un, sizeof(un)) == 0 && listen(unix_fd, 16) == 0);
    CHECK(bind(tcp_fd, (struct sockaddr *)&in, n) == 0 && listen(tcp_fd, 16) == 0);
    (void)getsockname(tcp_fd, (struct sockaddr *)&in, &n);
    (void)snprintf(url, sizeof(url), "http://127.0.0.1:%u/", ntohs(in.sin_port));
    server = fork();
    if (server == 0)
        serve(unix_fd, tcp_fd);
    (void)close(unix_fd);
    (void)close(tcp_fd);
    return 0;
}

static int stop_server(void **state)
{
    (void)state;
    (void)kill(server, SIGKILL);
    (void)waitpid(server, NULL, 0);
    return 0;
}

/* --- admin_call() ------------------------------------------------------------------------- */

static void assert_in(const char *text, const char *what)
{
    if (!text || !strstr(text, what))
        fail_msg("no \"%s\" in:\n%s", what, text ? text : "nothing");
}

static void test_call(void **state)
{
    struct admin_answer a;
    char problem[256];
    const char *const wheres[] = {socket_path, url};
    (void)state;

    for (size_t i = 0; i < ARRAY_LEN(wheres); i++) {
        struct admin_target t = {.where = wheres[i]};
        assert_int_equal(0, admin_call(&t, "GET", "/v1/status", NULL, &a));
        assert_int_equal(200, a.status);
        assert_int_equal(sizeof(status_json) - 1, a.n);
        assert_string_equal(status_json, a.body);
        admin_answer_free(&a);
        assert_int_equal(0, admin_call(&t, "GET", "/v1/big", NULL, &a));
        assert_int_equal(BIG, a.n);
        assert_int_equal('b', a.body[BIG - 1]);
        admin_answer_free(&a);
        assert_int_equal(0, admin_call(&t, "HEAD", "/v1/big", NULL, &a));
        assert_int_equal(200, a.status);
        assert_int_equal(0, a.n);
        admin_answer_free(&a);
        assert_int_equal(0, admin_call(&t, "GET", "/nothing", NULL, &a));
        assert_int_equal(404, a.status);
        assert_string_equal("There is nothing at this path. (not_found, 404)",
                            admin_answer_problem(&a, problem, sizeof(problem)));
        admin_answer_free(&a);
    }
}

static void test_token(void **state)
{
    struct admin_answer a;
    struct admin_target t = {.where = url};
    (void)state;

    assert_int_equal(0, admin_call(&t, "POST", "/v1/drain", NULL, &a));
    assert_int_equal(401, a.status);
    admin_answer_free(&a);
    t.token_file = token_path;
    assert_int_equal(0, admin_call(&t, "POST", "/v1/drain", "{\"deadline_ms\":5}", &a));
    assert_int_equal(202, a.status);
    admin_answer_free(&a);
    t.token_file = "/nonexistent/token";
    assert_int_equal(-ENOENT, admin_call(&t, "POST", "/v1/drain", NULL, &a));
    assert_in(a.error, "cannot read the token in /nonexistent/token");
}

static void test_errors(void **state)
{
    struct admin_answer a;
    char missing[96], expected[256];
    (void)state;

    (void)snprintf(missing, sizeof(missing), "%s/missing.sock", directory);
    (void)snprintf(expected, sizeof(expected),
                   "cannot reach sluice at %s: No such file or directory (is it running? --admin "
                   "PATH|URL names another)",
                   missing);
    struct admin_target t = {.where = missing};
    assert_int_equal(-ENOENT, admin_call(&t, "GET", "/v1/status", NULL, &a));
    assert_string_equal(expected, a.error);
    assert_null(a.body);

    t.where = "https://localhost:1";
    assert_int_equal(-EINVAL, admin_call(&t, "GET", "/", NULL, &a));
    t.where = "http://127.0.0.1:";
    assert_int_equal(-EINVAL, admin_call(&t, "GET", "/", NULL, &a));
    t.where = "http://";
    assert_int_equal(-EINVAL, admin_call(&t, "GET", "/", NULL, &a));
    t.where = "http://127.0.0.1:1";
    assert_int_equal(-ECONNREFUSED, admin_call(&t, "GET", "/", NULL, &a));
    assert_in(a.error, "Connection refused");

    t = (struct admin_target){.where = socket_path, .timeout = 20 * USEC_PER_MSEC};
    assert_int_equal(-ETIMEDOUT, admin_call(&t, "GET", "/v1/never", NULL, &a));
    assert_in(a.error, "did not answer in time");
}

/* --- the commands ------------------------------------------------------------------------- */

/* Runs one with its standard output and error in a file; words end with NULL. */
static int run(int (*cmd)(int, char **), char *out, size_t cap, const char *const *words)
{
    char file[80];
    char copies[8][96], *argv[9] = {NULL};
    int argc = 0;

    (void)snprintf(file, sizeof(file), "%s/out", directory);
    for (; words[argc]; argc++) {
        (void)snprintf(copies[argc], sizeof(copies[argc]), "%s", words[argc]);
        argv[argc] = copies[argc];
    }
    (void)fflush(NULL);
    int fd = open(file, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    pid_t pid = fork();
    if (pid == 0) {
        (void)dup2(fd, STDOUT_FILENO);
        (void)dup2(fd, STDERR_FILENO);
        int rc = cmd(argc, argv);
        (void)fflush(NULL);
        _exit(rc);
    }
    int status = 0;
    (void)waitpid(pid, &status, 0);
    ssize_t n = pread(fd, out, cap - 1, 0);
    out[n > 0 ? n : 0] = '\0';
    (void)close(fd);
    (void)unlink(file);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

#define WORDS(...) ((const char *const[]){__VA_ARGS__, NULL})

static void test_status_command(void **state)
{
    char out[8192];
    (void)state;

    assert_int_equal(
        0, run(command_status.fn, out, sizeof(out), WORDS("status", "--admin", socket_path)));
    assert_in(out, "sluice  0.1.0, pid 42, up 2h 13m\n");
    assert_in(out, "phase   serving, ready\n");
    assert_in(out, "config  generation 3, sha256 0123456789ab, from last-good\n");
    assert_in(out,
              "\nreload  refused: /etc/sluice.yaml:7:5: listeners[0].name: expected ?[31ma name "
              "(and 1 more)\n");
    assert_in(out, "\nnote    these wait for a restart: workers, admin.address\n");
    assert_in(out, "ROUTE   LISTENER  REQUESTS  ERRORS  BACKEND   INTENDED  ACTUAL  PICKED\n");
    assert_in(out, "http/0  http          1000       2  app            95%     95%     950\n");
    assert_in(out, "                                    app-next        5%      5%      50\n");
    assert_in(out, "moved   http             1       0\n");
    assert_in(out,
              "  127.0.0.1:8080            7              3                      950       1\n");
    assert_int_equal(
        0, run(command_status.fn, out, sizeof(out), WORDS("status", "-o", "json", "--admin", url)));
    assert_int_equal(0, strncmp(out, status_json, sizeof(status_json) - 1));
    assert_int_equal(
        1, run(command_status.fn, out, sizeof(out), WORDS("status", "--admin", "/nowhere")));
    assert_in(out, "cannot reach sluice at /nowhere");
    assert_int_equal(2, run(command_status.fn, out, sizeof(out), WORDS("status", "-o", "xml")));
    assert_int_equal(2, run(command_status.fn, out, sizeof(out), WORDS("status", "extra")));
    assert_int_equal(0, run(command_status.fn, out, sizeof(out), WORDS("status", "--help")));
    assert_in(out, "usage: sluice status");
}

static void test_reload_command(void **state)
{
    char out[8192];
    static const struct {
        int rc;
        const char *out;
    } expected[] = {
        {0, "generation 4 in force (sha256 01234567…, 12 ms)\n"},
        {0, "unchanged: generation 4\nnote: these wait for a restart: workers, dns\n"},
        {1, "/etc/s.yaml:7:5: a.b: expected ?[1ma name\n/etc/s.yaml: warning: odd\n"
            "/etc/s.yaml: 1 more problem\n"},
        {1, "sluice reload: It drains. (draining, 409)\n"},
        {1, "sluice reload: sluice refused (HTTP 422)\n"},
        {3, "sluice reload: the answer is not understood\n"},
        {3, "sluice reload: the answer is not understood\n"},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(expected); i++) {
        assert_int_equal(expected[i].rc, run(command_reload.fn, out, sizeof(out),
                                             WORDS("reload", "--admin", socket_path)));
        assert_string_equal(expected[i].out, out);
    }
    assert_int_equal(
        0, run(command_reload.fn, out, sizeof(out),
               WORDS("reload", "-o", "json", "--admin", url, "--token-file", token_path)));
    assert_int_equal(0, strncmp(out, "{\"generation\":4,", 16));
    assert_int_equal(1, run(command_reload.fn, out, sizeof(out),
                            WORDS("reload", "-o", "json", "--admin", socket_path)));
    assert_string_equal("{\"problems\":[]}\n", out);
    assert_int_equal(1, run(command_reload.fn, out, sizeof(out), WORDS("reload", "--admin", url)));
    assert_in(out, "token_required, 401");
    assert_int_equal(
        1, run(command_reload.fn, out, sizeof(out), WORDS("reload", "--admin", "/nowhere")));
    assert_in(out, "sluice reload: cannot reach sluice at /nowhere");
    assert_int_equal(2, run(command_reload.fn, out, sizeof(out), WORDS("reload", "now")));
    assert_int_equal(2, run(command_reload.fn, out, sizeof(out), WORDS("reload", "-o", "xml")));
}

static void test_drain_command(void **state)
{
    char out[8192];
    (void)state;

    assert_int_equal(
        0, run(command_drain.fn, out, sizeof(out), WORDS("drain", "--admin", socket_path)));
    assert_string_equal("draining\n", out);
    assert_int_equal(0, run(command_drain.fn, out, sizeof(out),
                            WORDS("drain", "--wait", "--admin", socket_path)));
    assert_in(out, "drained  in 12.3 s of 25.0 s, by admin, begun 2026-01-01T00:00:00.000Z\n");
    assert_in(out, "phases   notice 5.0 s, drain 7.3 s\n");
    assert_in(out, "forced   2\n");
    assert_in(out, "longest  tcp, 60.0 s, route db\n");
    assert_in(out, "CLASS    completed  closed  forced\n");
    assert_in(out, "h1_idle          1      20       0\n");
    assert_in(out, "tcp     forced  60.0 s  192.0.2.7  ?[31mdb\n");
    assert_in(out, "and 1 more\n");
    /* The steps of the other process follow the deadline that it was told. */
    assert_int_equal(1, run(command_drain.fn, out, sizeof(out),
                            WORDS("drain", "--wait", "--deadline", "1s", "--admin", socket_path)));
    assert_in(out, "went back to serving");
    assert_int_equal(0, run(command_drain.fn, out, sizeof(out),
                            WORDS("drain", "--wait", "--deadline", "2s", "--admin", socket_path)));
    assert_in(out, "it has exited; this is what was seen last");
    assert_int_equal(1, run(command_drain.fn, out, sizeof(out), WORDS("drain", "--admin", url)));
    assert_int_equal(2,
                     run(command_drain.fn, out, sizeof(out), WORDS("drain", "--deadline", "soon")));
    assert_in(out, "\"soon\" is no time");
}

int main(void)
{
    (void)signal(SIGPIPE, SIG_IGN);
    CHECK(mkdtemp(directory));
    (void)snprintf(socket_path, sizeof(socket_path), "%s/admin.sock", directory);
    (void)snprintf(token_path, sizeof(token_path), "%s/token", directory);
    int fd = open(token_path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    CHECK(fd >= 0 && write(fd, "s3cret\n", 7) == 7);
    (void)close(fd);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_call, start_server, stop_server),
        cmocka_unit_test_setup_teardown(test_token, start_server, stop_server),
        cmocka_unit_test_setup_teardown(test_errors, start_server, stop_server),
        cmocka_unit_test_setup_teardown(test_status_command, start_server, stop_server),
        cmocka_unit_test_setup_teardown(test_reload_command, start_server, stop_server),
        cmocka_unit_test_setup_teardown(test_drain_command, start_server, stop_server),
    };
    int rc = cmocka_run_group_tests(tests, NULL, NULL);
    (void)unlink(token_path);
    (void)unlink(socket_path);
    (void)rmdir(directory);
    return rc;
}
