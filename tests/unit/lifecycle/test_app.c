/* test_app.c - the watch over the application: real ports, real processes. */
#include "base/check.h"
#include "io/loop.h"
#include "lifecycle/app.h"
#include "lifecycle/app_probe.h"
#include "lifecycle/app_process.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/pidfd.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#define MS       USEC_PER_MSEC
#define PATIENCE (20 * USEC_PER_SEC)

struct bench {
    struct loop loop;
    struct app *app;
    uint64_t open, opened;
    bool sigterm_follows;
    uint32_t gone, back;
    enum lease_proof proof;
    struct address at;
    int listener;
};

static void connections(void *ctx, uint64_t *ret_open, uint64_t *ret_opened)
{
    struct bench *b = ctx;
    *ret_open = b->open;
    *ret_opened = b->opened;
}

static bool sigterm_follows(void *ctx)
{
    return ((struct bench *)ctx)->sigterm_follows;
}

static void on_gone(void *ctx, enum lease_proof proof)
{
    struct bench *b = ctx;
    b->gone++;
    b->proof = proof;
}

static void on_back(void *ctx)
{
    ((struct bench *)ctx)->back++;
}

static void listen_again(struct bench *b)
{
    int one = 1;
    b->listener = socket(b->at.u.sa.sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    (void)setsockopt(b->listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
    assert_int_equal(0, bind(b->listener, &b->at.u.sa, b->at.len));
    assert_int_equal(0, listen(b->listener, 16));
    b->at.len = sizeof(b->at.u);
    assert_int_equal(0, getsockname(b->listener, &b->at.u.sa, &b->at.len));
}

static void stop_listening(struct bench *b)
{
    (void)close(b->listener);
    b->listener = -1;
}

static int set(void **state)
{
    struct bench *b = calloc(1, sizeof(*b));
    struct app_source source = {connections, sigterm_follows, b};
    struct app_events events = {on_gone, on_back, b};
    b->listener = -1;
    b->at.u.in =
        (struct sockaddr_in){.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    b->at.len = sizeof(struct sockaddr_in);
    assert_int_equal(0, loop_init(&b->loop));
    b->app = app_new(&b->loop, &source, &events);
    assert_non_null(b->app);
    *state = b;
    return 0;
}

static int strike(void **state)
{
    struct bench *b = *state;
    b->app = app_free(b->app);
    loop_free(&b->loop);
    if (b->listener >= 0)
        stop_listening(b);
    free(b);
    return 0;
}

static void configure(struct bench *b, const char *process, bool port)
{
    struct conf_app conf = {.death_grace = 200 * MS,
                            .n_addresses = port,
                            .addresses = &b->at,
                            .process = process ? str_of(process) : STR_NONE};
    assert_int_equal(0, app_configure(b->app, &conf));
}

static void turn(struct bench *b, usec_t time)
{
    for (usec_t until = clock_mono() + time; clock_mono() < until;) {
        b->loop.now = clock_mono();
        (void)ev_run(b->loop.ev, EVRUN_NOWAIT);
        (void)poll(NULL, 0, 1);
    }
}

static void wait_state(struct bench *b, enum app_state s)
{
    for (usec_t until = clock_mono() + PATIENCE; app_now(b->app) != s && clock_mono() < until;)
        turn(b, 2 * MS);
    assert_int_equal(app_now(b->app), s);
}

static struct address parsed(const char *text)
{
    struct address a;
    const char *why;
    assert_int_equal(0, address_parse(str_of(text), &a, &why));
    return a;
}

/* --- ports --- */

static void ask(const struct address *a, enum app_probed expected, bool disturbed)
{
    bool did;
    assert_int_equal(expected, app_probe(a, 1, &did));
    assert_int_equal(disturbed, did);
}

/* No connection has come: accept() would have it. */
static void assert_nobody_came(int listener)
{
    assert_int_equal(-1, accept4(listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK));
    assert_int_equal(EAGAIN, errno);
}

static void test_ports_are_asked_without_a_connection(void **state)
{
    struct bench *b = *state;
    static const char *const binds[] = {"127.0.0.1:1", "0.0.0.0:1", "[::1]:1", "[::]:1"};
    for (size_t i = 0; i < ARRAY_LEN(binds); i++) {
        struct address a = parsed(binds[i]);
        bool six = a.u.sa.sa_family == AF_INET6;
        if (six)
            a.u.in6.sin6_port = 0;
        else
            a.u.in.sin_port = 0;
        b->at = a;
        listen_again(b);
        char text[32];
        (void)snprintf(text, sizeof(text), "%s:%u", i == 2 ? "[::1]" : "127.0.0.1",
                       address_port(&b->at));
        a = parsed(text); /* [::] takes IPv4 too */
        ask(&a, APP_PROBE_ACCEPTS, false);
        assert_nobody_came(b->listener);
        stop_listening(b);
        ask(&a, APP_PROBE_REFUSES, false);
    }
    bool disturbed;
    assert_int_equal(APP_PROBE_NONE, app_probe(NULL, 0, &disturbed));
    /* One of them is enough. */
    b->at = parsed("127.0.0.1:1");
    b->at.u.in.sin_port = 0;
    listen_again(b);
    struct address two[2] = {parsed("127.0.0.1:1"), b->at};
    assert_int_equal(APP_PROBE_ACCEPTS, app_probe(two, 2, &disturbed));
}

static void test_unix_ports(void **state)
{
    struct bench *b = *state;
    char path[64];
    (void)snprintf(path, sizeof(path), "/tmp/test_app-%d.sock", (int)getpid());
    b->at = (struct address){.u.un.sun_family = AF_UNIX};
    (void)snprintf(b->at.u.un.sun_path, sizeof(b->at.u.un.sun_path), "%s", path);
    b->at.len = sizeof(b->at.u.un);
    struct address a = b->at;
    ask(&a, APP_PROBE_REFUSES, false); /* there is no such file */
    listen_again(b);
    ask(&a, APP_PROBE_ACCEPTS, false);
    assert_nobody_came(b->listener);
    stop_listening(b);
    ask(&a, APP_PROBE_REFUSES, false);
    (void)unlink(path);
}

static void test_gone_and_back(void **state)
{
    struct bench *b = *state;
    listen_again(b);
    configure(b, NULL, true);
    wait_state(b, APP_ALIVE);
    assert_int_equal(b->back, 0);
    stop_listening(b);
    usec_t from = clock_mono();
    wait_state(b, APP_GONE);
    assert_true(clock_mono() - from >= 200 * MS);
    assert_int_equal(b->gone, 1);
    assert_int_equal(b->proof, LEASE_PROOF_PORTS);
    listen_again(b);
    wait_state(b, APP_ALIVE);
    assert_int_equal(b->back, 1);
    assert_nobody_came(b->listener);
    assert_int_equal(app_ends(b->app, LEASE_PROOF_PORTS), 1);
}

static void test_live_connection_behind_a_closed_listener(void **state)
{
    struct bench *b = *state;
    listen_again(b);
    configure(b, NULL, true);
    wait_state(b, APP_ALIVE);
    b->open = 1;
    stop_listening(b);
    turn(b, 1500 * MS);
    assert_int_equal(app_now(b->app), APP_ALIVE);
    b->open = 0;
    wait_state(b, APP_GONE);
    assert_int_equal(b->gone, 1);
}

static void test_sigterm_is_proof(void **state)
{
    struct bench *b = *state;
    listen_again(b);
    configure(b, NULL, true);
    wait_state(b, APP_ALIVE);
    /* The grace is over, and it lives. */
    app_sigterm(b->app);
    assert_int_equal(app_now(b->app), APP_ALIVE);
    assert_int_equal(b->gone, 0);
    /* At a pod's end it closes its port long before it has ended. */
    b->sigterm_follows = true;
    stop_listening(b);
    wait_state(b, APP_DOUBTFUL);
    turn(b, 600 * MS);
    assert_int_equal(app_now(b->app), APP_DOUBTFUL);
    app_sigterm(b->app);
    assert_int_equal(app_now(b->app), APP_GONE);
    assert_int_equal(b->proof, LEASE_PROOF_SIGTERM);
    app_sigterm(b->app);
    assert_int_equal(b->gone, 1);
}

static void test_nothing_is_known(void **state)
{
    struct bench *b = *state;
    configure(b, NULL, false);
    turn(b, 20 * MS);
    assert_int_equal(app_now(b->app), APP_UNKNOWN);
    app_deadline(b->app);
    assert_int_equal(b->gone, 1);
    assert_int_equal(b->proof, LEASE_PROOF_DEADLINE);
}

/* --- processes --- */

/* A process that is called so, and sleeps; its workers too. ret_worker NULL: it has none. */
static pid_t process_called(const char *name, pid_t *ret_worker)
{
    int pipes[2];
    assert_int_equal(0, pipe2(pipes, O_CLOEXEC));
    pid_t pid = fork();
    if (pid == 0) {
        pid_t worker = 0;
        (void)prctl(PR_SET_NAME, name);
        if (ret_worker && (worker = fork()) == 0) {
            for (;;)
                (void)pause();
        }
        (void)!write(pipes[1], &worker, sizeof(worker));
        for (;;)
            (void)pause();
    }
    pid_t worker;
    assert_int_equal(sizeof(worker), read(pipes[0], &worker, sizeof(worker)));
    if (ret_worker)
        *ret_worker = worker;
    (void)close(pipes[0]);
    (void)close(pipes[1]);
    return pid;
}

static void end_process(pid_t pid)
{
    (void)kill(pid, SIGKILL);
    (void)waitpid(pid, NULL, 0);
}

static void own_name(char out[16], const char *suffix)
{
    (void)snprintf(out, 16, "a%d%s", (int)getpid() % 100000, suffix);
}

static void test_process_by_name(void **state)
{
    struct bench *b = *state;
    char name[16];
    own_name(name, "x");
    listen_again(b); /* while its process lives its port proves nothing */
    configure(b, name, true);
    stop_listening(b);
    pid_t pid = process_called(name, NULL);
    wait_state(b, APP_ALIVE);
    turn(b, 1000 * MS);
    assert_int_equal(app_now(b->app), APP_ALIVE);
    end_process(pid);
    wait_state(b, APP_GONE);
    assert_int_equal(b->proof, LEASE_PROOF_PIDFD);
    /* The next one is back when its port accepts. */
    pid = process_called(name, NULL);
    turn(b, 600 * MS);
    assert_int_equal(app_now(b->app), APP_GONE);
    listen_again(b);
    wait_state(b, APP_ALIVE);
    assert_int_equal(b->back, 1);
    end_process(pid);
    wait_state(b, APP_GONE);
    assert_int_equal(b->gone, 2);
}

/* Behind the end of its process its connections stand until we have seen theirs. */
static void test_what_it_left_open_is_no_return(void **state)
{
    struct bench *b = *state;
    char name[16];
    own_name(name, "o");
    listen_again(b);
    pid_t pid = process_called(name, NULL);
    configure(b, NULL, true);
    wait_state(b, APP_ALIVE);
    configure(b, name, true);
    turn(b, 600 * MS);
    b->open = b->opened = 3;
    stop_listening(b);
    turn(b, 600 * MS);
    end_process(pid);
    wait_state(b, APP_GONE);
    turn(b, 600 * MS);
    assert_int_equal(app_now(b->app), APP_GONE);
    b->open = 0;
    turn(b, 600 * MS);
    assert_int_equal(app_now(b->app), APP_GONE);
    assert_int_equal(b->gone, 1);
    assert_int_equal(b->back, 0);
    b->opened++; /* it has started, and does not listen yet */
    wait_state(b, APP_ALIVE);
    assert_int_equal(b->back, 1);
}

static void test_workers_outlive_their_parent(void **state)
{
    struct bench *b = *state;
    char name[16];
    pid_t worker;
    own_name(name, "w");
    (void)prctl(PR_SET_CHILD_SUBREAPER, 1);
    configure(b, name, false);
    pid_t parent = process_called(name, &worker);
    turn(b, 20 * MS); /* a tick of the kernel's between their start and their end */
    wait_state(b, APP_ALIVE);
    end_process(parent);
    turn(b, 200 * MS);
    assert_int_equal(app_now(b->app), APP_ALIVE);
    end_process(worker);
    wait_state(b, APP_GONE);
    assert_int_equal(b->gone, 1);
    /* Without ports it is back with its process. */
    parent = process_called(name, NULL);
    wait_state(b, APP_ALIVE);
    assert_int_equal(b->back, 1);
    end_process(parent);
}

static void test_who_is_found(void **state)
{
    (void)state;
    struct app_process p;
    char name[16];
    own_name(name, "f");
    assert_int_equal(-ESRCH, app_process_open(name, 0, &p));
    pid_t first = process_called(name, NULL);
    (void)poll(NULL, 0, 30); /* ticks are of 10 ms */
    uint64_t between = app_process_ticks();
    (void)poll(NULL, 0, 30);
    pid_t second = process_called(name, NULL);
    int fd = app_process_open(name, 0, &p);
    assert_true(fd >= 0);
    assert_int_equal(p.pid, first);
    (void)close(fd);
    end_process(first);
    /* Who started later is another application. */
    assert_int_equal(-ESRCH, app_process_open(name, between, &p));
    fd = app_process_open(name, 0, &p);
    assert_true(fd >= 0);
    assert_int_equal(p.pid, second);
    (void)close(fd);
    end_process(second);
    /* Never ourselves. */
    (void)prctl(PR_SET_NAME, name);
    assert_int_equal(-ESRCH, app_process_open(name, 0, &p));
}

static void test_child(void **state)
{
    struct bench *b = *state;
    listen_again(b);
    configure(b, NULL, true);
    wait_state(b, APP_ALIVE);
    pid_t pid = process_called("child", NULL);
    app_child_started(b->app, pid, pidfd_open(pid, 0));
    /* Of a child the ports prove nothing. */
    stop_listening(b);
    turn(b, 700 * MS);
    assert_int_equal(app_now(b->app), APP_ALIVE);
    (void)kill(pid, SIGKILL);
    wait_state(b, APP_GONE); /* by its pidfd: nobody has reaped it */
    assert_int_equal(b->proof, LEASE_PROOF_PIDFD);
    int status;
    assert_int_equal(pid, waitpid(pid, &status, 0));
    app_child_ended(b->app, pid, status, false);
    assert_int_equal(b->gone, 1);
    assert_true(app_child_now(b->app)->ended);
    json_t *o = app_json(b->app);
    assert_string_equal("gone", json_string_value(json_object_get(o, "state")));
    assert_int_equal(SIGKILL,
                     json_integer_value(json_object_get(json_object_get(o, "exit"), "signal")));
    json_decref(o);
}

/* It died while the serving process was down: the supervisor's word is all there is. */
static void test_child_that_ended_before_us(void **state)
{
    struct bench *b = *state;
    configure(b, NULL, true);
    app_child_ended(b->app, 7, 0, false);
    assert_int_equal(app_now(b->app), APP_GONE);
    assert_int_equal(b->gone, 1);
    turn(b, 20 * MS);
    assert_int_equal(app_now(b->app), APP_GONE);
}

/* A connection is there at the first look already, and so the port is not asked for its sake: that
 * is a sign of life all the same, and the grace behind it is the short one. */
static void test_connected_from_the_first_look(void **state)
{
    struct bench *b = *state;
    listen_again(b);
    stop_listening(b);
    b->open = b->opened = 1;
    configure(b, NULL, true);
    turn(b, 50 * MS);
    assert_int_equal(APP_ALIVE, app_now(b->app));
    b->open = 0;
    usec_t from = clock_mono();
    wait_state(b, APP_GONE);
    assert_true(clock_mono() - from >= 200 * MS);
    assert_int_equal(LEASE_PROOF_PORTS, b->proof);
}

static void test_stopped_it_tells_nothing(void **state)
{
    struct bench *b = *state;
    pid_t pid = process_called("child", NULL);
    configure(b, NULL, false);
    app_child_started(b->app, pid, pidfd_open(pid, 0));
    app_stop(b->app);
    end_process(pid);
    turn(b, 50 * MS);
    app_child_ended(b->app, pid, 0, false);
    app_deadline(b->app);
    assert_int_equal(b->gone, 0);
}

#define TEST(fn) cmocka_unit_test_setup_teardown(fn, set, strike)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_ports_are_asked_without_a_connection),
        TEST(test_unix_ports),
        TEST(test_gone_and_back),
        TEST(test_live_connection_behind_a_closed_listener),
        TEST(test_sigterm_is_proof),
        TEST(test_nothing_is_known),
        TEST(test_process_by_name),
        TEST(test_what_it_left_open_is_no_return),
        TEST(test_workers_outlive_their_parent),
        TEST(test_who_is_found),
        TEST(test_child),
        TEST(test_child_that_ended_before_us),
        TEST(test_connected_from_the_first_look),
        TEST(test_stopped_it_tells_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
