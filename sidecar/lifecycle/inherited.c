/* inherited.c - sockets that were open when we were started. */
#include "lifecycle/inherited.h"

#include "base/check.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum { FD_FIRST = 3 }; /* SD_LISTEN_FDS_START */

static struct {
    bool loaded;
    size_t n_activated;
    struct address
        activated[CHANNEL_MAX_HELD]; /* Unix sockets that came from the service manager */
    size_t n;                        /* not taken yet */
    struct {
        int fd;
        char name[CHANNEL_NAME_MAX];
    } sockets[CHANNEL_MAX_HELD];
} inherited;

static bool is_plain(char c)
{
    return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') ||
           (c != '\0' && strchr("./_-@", c) != NULL);
}

size_t inherited_encode_name(const char *name, char *out, size_t cap)
{
    size_t o = 0;
    for (; *name; name++) {
        if (o + 4 > cap)
            return 0;
        if (is_plain(*name))
            out[o++] = *name;
        else
            o += (size_t)snprintf(out + o, cap - o, "%%%02X", (unsigned)(unsigned char)*name);
    }
    if (o >= cap)
        return 0;
    out[o] = '\0';
    return o;
}

static int hex_value(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c = ascii_lower(c);
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* A '%' that no two hex digits follow stands for itself; what does not fit is cut. */
static void decode_name(struct str s, char *out, size_t cap)
{
    size_t o = 0;
    for (size_t i = 0; i < s.n && o + 1 < cap; i++) {
        int high = s.p[i] == '%' && i + 2 < s.n ? hex_value(s.p[i + 1]) : -1;
        int low = high >= 0 ? hex_value(s.p[i + 2]) : -1;
        if (low >= 0 && high * 16 + low != 0) {
            out[o++] = (char)(high * 16 + low);
            i += 2;
        } else {
            out[o++] = s.p[i];
        }
    }
    out[o] = '\0';
}

static void note_activated(int fd)
{
    struct address a = {.len = sizeof(a.u)};
    if (getsockname(fd, &a.u.sa, &a.len) == 0 && a.u.sa.sa_family == AF_UNIX)
        inherited.activated[inherited.n_activated++] = a;
}

static void load(void)
{
    const char *activated = getenv(CHANNEL_ACTIVATED_ENV);
    const char *pid = getenv("LISTEN_PID");
    const char *count = getenv("LISTEN_FDS");
    const char *names = getenv("LISTEN_FDNAMES");
    uint64_t pid_number, n;

    if (inherited.loaded)
        return;
    inherited.loaded = true;
    if (!pid || !count || !str_to_u64(str_of(pid), &pid_number) ||
        pid_number != (uint64_t)getpid() || !str_to_u64(str_of(count), &n))
        return;
    n = min_u64(n, CHANNEL_MAX_HELD);
    for (uint64_t i = 0; i < n; i++) {
        int fd = FD_FIRST + (int)i;
        size_t len = names ? strcspn(names, ":") : 0;
        /* One that is not open, or no socket, is skipped; its name too. */
        if (fcntl(fd, F_SETFD, FD_CLOEXEC) == 0) {
            inherited.sockets[inherited.n].fd = fd;
            decode_name(len > 0 ? (struct str){names, len} : STR("unknown"),
                        inherited.sockets[inherited.n].name, CHANNEL_NAME_MAX);
            inherited.n++;
            /* Without a supervisor between us all are the service manager's. */
            if (!activated || (i < strlen(activated) && activated[i] == '1'))
                note_activated(fd);
        }
        if (names)
            names = names[len] == ':' ? names + len + 1 : NULL;
    }
    (void)unsetenv(CHANNEL_ACTIVATED_ENV);
    (void)unsetenv("LISTEN_PID");
    (void)unsetenv("LISTEN_FDS");
    (void)unsetenv("LISTEN_FDNAMES");
}

/* The order of the others stays: the first of two with one name comes first. */
static int take_at(size_t i)
{
    int fd = inherited.sockets[i].fd;
    inherited.n--;
    memmove(&inherited.sockets[i], &inherited.sockets[i + 1],
            (inherited.n - i) * sizeof(inherited.sockets[0]));
    return fd;
}

int inherited_take(const char *name)
{
    load();
    for (size_t i = 0; i < inherited.n; i++) {
        if (strcmp(inherited.sockets[i].name, name) == 0)
            return take_at(i);
    }
    return -ENOENT;
}

int inherited_take_address(const struct address *a, char *ret_name, size_t cap)
{
    load();
    for (size_t i = 0; i < inherited.n; i++) {
        struct address bound = {.len = sizeof(bound.u)};
        int listening = 0;
        socklen_t n = sizeof(listening);
        int fd = inherited.sockets[i].fd;
        if (getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listening, &n) < 0 || !listening ||
            getsockname(fd, &bound.u.sa, &bound.len) < 0 || !address_equal(a, &bound))
            continue;
        if (ret_name)
            (void)snprintf(ret_name, cap, "%s", inherited.sockets[i].name);
        return take_at(i);
    }
    return -ENOENT;
}

bool inherited_path_is_activated(const struct address *a)
{
    load();
    for (size_t i = 0; i < inherited.n_activated; i++) {
        if (address_equal(a, &inherited.activated[i]))
            return true;
    }
    return false;
}

size_t inherited_left(void)
{
    load();
    return inherited.n;
}

const char *inherited_left_name(size_t i)
{
    load();
    return i < inherited.n ? inherited.sockets[i].name : NULL;
}

size_t inherited_close_rest(struct channel *ch)
{
    size_t closed = 0;

    load();
    while (inherited.n > 0) {
        char name[CHANNEL_NAME_MAX];
        memcpy(name, inherited.sockets[0].name, sizeof(name));
        (void)channel_drop(ch, name);
        (void)close(take_at(0));
        closed++;
    }
    return closed;
}
