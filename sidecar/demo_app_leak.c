/* demo_app_leak.c - the demo application's path for an application that gives nothing back:
 *
 *   /leak?fds=N&sockets=N&threads=N&rss=BYTES     takes so much more, until its end */
#include "demo_app_conn.h"

#include "base/mem.h"

#include <fcntl.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

enum { MOST_AT_ONCE = 10000, MOST_BYTES = 1 << 30, STACK_BYTES = 64 * 1024 };

struct block {
    struct block *before;
};

static struct block *blocks; /* so that tools see what was meant */

static void *wait_for_ever(void *nothing)
{
    for (;;)
        (void)pause();
    return nothing;
}

static uint64_t take_fds(uint64_t n, bool sockets)
{
    uint64_t taken = 0;
    while (taken < n && (sockets ? socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)
                                 : open("/dev/null", O_RDONLY | O_CLOEXEC)) >= 0)
        taken++;
    return taken;
}

static uint64_t take_threads(uint64_t n)
{
    pthread_attr_t attr;
    pthread_t t;
    uint64_t taken = 0;
    if (pthread_attr_init(&attr) != 0)
        return 0;
    (void)pthread_attr_setstacksize(&attr, STACK_BYTES);
    (void)pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
    while (taken < n && pthread_create(&t, &attr, wait_for_ever, NULL) == 0)
        taken++;
    (void)pthread_attr_destroy(&attr);
    return taken;
}

static uint64_t take_memory(uint64_t n)
{
    struct block *b = n > sizeof(*b) ? mem_alloc(n) : NULL;
    if (!b)
        return 0;
    memset(b, 1, n);
    b->before = blocks;
    blocks = b;
    return n;
}

void answer_leak(struct app *a, struct app_conn *c, struct str query)
{
    char text[160];
    uint64_t fds = min_u64(answer_query_number(query, STR("fds"), 0), MOST_AT_ONCE);
    uint64_t sockets = min_u64(answer_query_number(query, STR("sockets"), 0), MOST_AT_ONCE);
    uint64_t threads = min_u64(answer_query_number(query, STR("threads"), 0), MOST_AT_ONCE);
    uint64_t rss = min_u64(answer_query_number(query, STR("rss"), 0), MOST_BYTES);
    int n = snprintf(text, sizeof(text),
                     "{\"fds\": %" PRIu64 ", \"sockets\": %" PRIu64 ", \"threads\": %" PRIu64
                     ", \"rss\": %" PRIu64 "}\n",
                     take_fds(fds, false), take_fds(sockets, true), take_threads(threads),
                     take_memory(rss));
    answer_text(a, c, 200, "application/json", text, (size_t)n);
}
