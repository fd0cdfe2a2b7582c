/* demo_app_holder.c - logs in, holds a session, uses it now and then. All calls block: a demo. */
#include "demo_app_holder.h"

#include "base/clock.h"
#include "base/mem.h"
#include "base/str.h"

#include <errno.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <unistd.h>

enum { TRY_MS = 50, PATIENCE_S = 20, ID_BYTES = 128, ANSWER_BYTES = 4096 };

static struct {
    struct address address;
    char session[ID_BYTES];
    int fd;
    uint32_t use_ms;
    usec_t next;
} holder = {.fd = -1};

const char *holder_session(void)
{
    return holder.session;
}

static void hang_up(void)
{
    if (holder.fd >= 0)
        (void)close(holder.fd);
    holder.fd = -1;
}

static int dial(void)
{
    const struct timeval patience = {.tv_sec = 5};
    int fd = socket(holder.address.u.sa.sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -errno;
    (void)setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
    (void)setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience));
    if (connect(fd, &holder.address.u.sa, holder.address.len) < 0) {
        int rc = -errno;
        (void)close(fd);
        return rc;
    }
    holder.fd = fd;
    return 0;
}

/* Where the body begins, when the answer is whole; NULL: not yet. */
static const char *whole(const char *answer, size_t n)
{
    const char *body = memmem(answer, n, "\r\n\r\n", 4);
    const char *length = memmem(answer, n, "ontent-", 7);
    if (!body)
        return NULL;
    body += 4;
    while (length && length < body) {
        uint64_t bytes = 0;
        if ((size_t)(answer + n - length) > 15 && (length[7] | 0x20) == 'l') {
            const char *from = length + 15;
            const char *eol = memchr(from, '\r', (size_t)(answer + n - from));
            if (eol && str_to_u64(str_trim((struct str){from, (size_t)(eol - from)}), &bytes))
                return (uint64_t)(answer + n - body) >= bytes ? body : NULL;
        }
        length = memmem(length + 7, (size_t)(answer + n - length - 7), "ontent-", 7);
    }
    return body; /* 204 */
}

/* The status, and the answer in `answer` (ANSWER_BYTES, terminated); or a negative errno. */
static int ask(const char *method, const char *target, char *answer)
{
    char request[512];
    size_t n = 0;
    int rc = holder.fd >= 0 ? 0 : dial();
    if (rc < 0)
        return rc;
    int bytes = snprintf(request, sizeof(request), "%s %s HTTP/1.1\r\nHost: device\r\n%s\r\n",
                         method, target, method[0] == 'P' ? "Content-Length: 0\r\n" : "");
    if (send(holder.fd, request, (size_t)bytes, MSG_NOSIGNAL) != bytes) {
        hang_up();
        return -EPIPE;
    }
    do {
        ssize_t got = recv(holder.fd, answer + n, ANSWER_BYTES - 1 - n, 0);
        if (got <= 0) {
            rc = got < 0 ? -errno : -ECONNRESET;
            hang_up();
            return rc;
        }
        n += (size_t)got;
        answer[n] = '\0';
    } while (!whole(answer, n) && n < ANSWER_BYTES - 1);
    return n > 12 ? (int)strtol(answer + 9, NULL, 10) : -EBADMSG;
}

static bool take_session(const char *answer)
{
    const char *at = strstr(answer, "\"session\"");
    at = at ? strchr(at + 9, '"') : NULL;
    const char *end = at ? strchr(at + 1, '"') : NULL;
    if (!end || (size_t)(end - at) > ID_BYTES)
        return false;
    memcpy(holder.session, at + 1, (size_t)(end - at - 1));
    return true;
}

int holder_login(const struct address *address, uint32_t use_ms)
{
    char answer[ANSWER_BYTES];
    const usec_t until = clock_mono() + PATIENCE_S * USEC_PER_SEC;
    int status = 0;

    holder.address = *address;
    holder.use_ms = use_ms;
    for (;;) {
        status = ask("POST", "/login", answer);
        if (status == 200 && take_session(answer))
            break;
        if (clock_mono() >= until)
            return status < 0 ? status : -EPERM;
        (void)usleep(TRY_MS * 1000);
    }
    holder.next = clock_mono() + use_ms * USEC_PER_MSEC;
    (void)printf("session %s\n", holder.session);
    (void)fflush(stdout);
    return 0;
}

int holder_wait_ms(void)
{
    if (holder.use_ms == 0 || holder.session[0] == '\0')
        return -1;
    usec_t now = clock_mono();
    return now >= holder.next ? 0 : (int)((holder.next - now) / USEC_PER_MSEC) + 1;
}

void holder_tick(void)
{
    char answer[ANSWER_BYTES], target[ID_BYTES + 32];
    if (holder_wait_ms() != 0)
        return;
    (void)snprintf(target, sizeof(target), "/use?session=%s", holder.session);
    (void)ask("GET", target, answer);
    holder.next = clock_mono() + holder.use_ms * USEC_PER_MSEC;
}

void holder_abort(void)
{
    abort();
}

/* Until the kernel ends it: to be asked of one that has a limit. */
void holder_out_of_memory(void)
{
    const size_t piece = (size_t)16 << 20;
    for (;;) {
        char *p = mmap(NULL, piece, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (p == MAP_FAILED)
            abort();
        memset(p, 'x', piece);
    }
}
