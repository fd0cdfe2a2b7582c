/* held.c - the sockets that the supervisor keeps open over the lives of serving processes. */
#include "lifecycle/held.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

/* Of a listening socket that has one. */
static bool socket_path(int fd, struct sockaddr_un *ret)
{
    socklen_t len = sizeof(*ret);
    int listening = 0;
    socklen_t n = sizeof(listening);

    memset(ret, 0, sizeof(*ret));
    return getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listening, &n) == 0 && listening != 0 &&
           getsockname(fd, (struct sockaddr *)ret, &len) == 0 && ret->sun_family == AF_UNIX &&
           len < sizeof(*ret) && ret->sun_path[0] != '\0';
}

static bool same_socket(int a, int b)
{
    struct stat sa, sb;
    return fstat(a, &sa) == 0 && fstat(b, &sb) == 0 && sa.st_ino == sb.st_ino &&
           sa.st_dev == sb.st_dev;
}

static struct held *held_find(struct held_set *s, const char *name)
{
    for (size_t i = 0; i < s->n; i++) {
        if (strcmp(s->at[i].name, name) == 0)
            return &s->at[i];
    }
    return NULL;
}

int held_fd_above(int fd, int base)
{
    int high = fcntl(fd, F_DUPFD_CLOEXEC, base);
    int rc = high < 0 ? -errno : high;
    (void)close(fd);
    return rc;
}

/* Its place, or s->n. */
static size_t find_socket(const struct held_set *s, int fd)
{
    size_t i = 0;
    while (i < s->n && !same_socket(s->at[i].fd, fd))
        i++;
    return i;
}

static struct held *held_find_socket(struct held_set *s, int fd)
{
    size_t i = find_socket(s, fd);
    return i < s->n ? &s->at[i] : NULL;
}

int held_drop(struct held_set *s, const char *name)
{
    struct held *h = held_find(s, name);
    if (!h)
        return -ENOENT;
    (void)close(h->fd);
    *h = s->at[--s->n];
    return 0;
}

int held_add(struct held_set *s, const char *name, int fd, int base, bool bound)
{
    int high = held_fd_above(fd, base);
    if (high < 0)
        return high;

    struct held *same = bound ? held_find_socket(s, high) : NULL;
    if (same) {
        /* It came from us, perhaps under the service manager's name: two copies would keep it
         * open when one is dropped. Whose path it is stays as it was. */
        int ours = same->fd;
        (void)close(high);
        if (strcmp(same->name, name) != 0) {
            (void)held_drop(s, name);
            same = held_find_socket(s, ours);
            (void)snprintf(same->name, sizeof(same->name), "%s", name);
        }
        return 0;
    }
    struct held *h = bound ? held_find(s, name) : NULL;
    if (h) {
        (void)close(h->fd);
    } else if (s->n < CHANNEL_MAX_HELD && (int)s->n < base - 3 - HELD_ROOM) {
        h = &s->at[s->n++];
    } else {
        (void)close(high);
        return -ENOSPC;
    }
    *h = (struct held){.fd = high, .activated = !bound};
    (void)snprintf(h->name, sizeof(h->name), "%s", name);

    struct sockaddr_un un;
    struct stat st;
    if (bound && socket_path(high, &un) && lstat(un.sun_path, &st) == 0) {
        h->unlink = true;
        h->dev = st.st_dev;
        h->ino = st.st_ino;
    }
    return 0;
}

void held_close_all(struct held_set *s, const struct held_set *others)
{
    while (s->n > 0) {
        struct held *h = &s->at[--s->n];
        struct sockaddr_un un;
        struct stat st;
        /* Not when somebody else has bound the path since. */
        if (h->unlink && !(others && find_socket(others, h->fd) < others->n) &&
            socket_path(h->fd, &un) && lstat(un.sun_path, &st) == 0 && st.st_dev == h->dev &&
            st.st_ino == h->ino)
            (void)unlink(un.sun_path);
        (void)close(h->fd);
    }
}

int held_copy(const struct held_set *from, struct held_set *to, int base)
{
    for (size_t i = 0; i < from->n; i++) {
        int fd = fcntl(from->at[i].fd, F_DUPFD_CLOEXEC, base);
        if (fd < 0) {
            int rc = -errno;
            held_close_all(to, from);
            return rc;
        }
        to->at[i] = from->at[i];
        to->at[i].fd = fd;
        to->n = i + 1;
    }
    return 0;
}

void held_set_cloexec(const struct held_set *s, bool cloexec)
{
    for (size_t i = 0; i < s->n; i++)
        (void)fcntl(s->at[i].fd, F_SETFD, cloexec ? FD_CLOEXEC : 0);
}
