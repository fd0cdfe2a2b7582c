/* file_text.c - a small file as one piece of memory, read without ever waiting for a peer. */
#include "config/file_text.h"

#include "base/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

enum { TRIES = 5, ROOM_FIRST = 4096 };

static bool same_state(const struct stat *a, const struct stat *b)
{
    return a->st_size == b->st_size && a->st_mtim.tv_sec == b->st_mtim.tv_sec &&
           a->st_mtim.tv_nsec == b->st_mtim.tv_nsec && a->st_ctim.tv_sec == b->st_ctim.tv_sec &&
           a->st_ctim.tv_nsec == b->st_ctim.tv_nsec;
}

static int open_regular(const char *path, struct stat *ret_state)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    int rc = 0;

    if (fd < 0)
        return errno == ENXIO ? -EINVAL : -errno; /* ENXIO: a socket, or a device without driver */
    if (fstat(fd, ret_state) < 0)
        rc = -errno;
    else if (S_ISDIR(ret_state->st_mode))
        rc = -EISDIR;
    else if (!S_ISREG(ret_state->st_mode))
        rc = -EINVAL;
    if (rc == 0)
        return fd;
    (void)close(fd);
    return rc;
}

/* From the beginning to the end of it, and one byte more than `max` at most. */
static int read_to_end(int fd, size_t room, size_t max, char **ret_text, size_t *ret_n)
{
    char *text = NULL;
    size_t n = 0, cap = 0;
    ssize_t got = 1;

    while (got != 0 && n <= max) {
        if (cap - n < 2) { /* NUL */
            size_t more = cap ? cap * 2 : room;
            char *p = mem_realloc(text, more);
            if (!p) {
                free(text);
                return -ENOMEM;
            }
            text = p;
            cap = more;
        }
        got = pread(fd, text + n, cap - n - 1, (off_t)n);
        if (got > 0)
            n += (size_t)got;
        if (got < 0 && errno != EINTR) {
            int rc = -errno;
            free(text);
            return rc;
        }
    }
    if (n > max) {
        free(text);
        return -EFBIG;
    }
    text[n] = '\0';
    *ret_text = text;
    *ret_n = n;
    return 0;
}

/* A text is whole when the file was the same before and after. A writer that truncates and writes
 * again would else give the beginning of its text, which may well be valid YAML. */
static int read_whole(int fd, struct stat *state, size_t max, char **ret_text, size_t *ret_n)
{
    for (int i = 0; i < TRIES; i++) {
        struct stat after;
        size_t size = state->st_size > 0 ? (size_t)state->st_size : 0;
        char *text = NULL;
        if (size > max)
            return -EFBIG;
        int rc = read_to_end(fd, size + ROOM_FIRST, max, &text, ret_n);
        if (rc < 0)
            return rc;
        if (fstat(fd, &after) < 0) {
            rc = -errno;
            free(text);
            return rc;
        }
        /* A size of 0 may say that there is none, as in /proc. */
        if (same_state(state, &after) && (size == 0 || *ret_n == size)) {
            *ret_text = text;
            return 0;
        }
        free(text);
        *state = after;
    }
    return -EBUSY;
}

char *file_text_read(const char *path, size_t max, size_t *ret_n, int *ret_error)
{
    struct stat state = {0};
    char *text = NULL;
    int fd = open_regular(path, &state);
    int rc = fd;

    if (fd >= 0) {
        rc = read_whole(fd, &state, max, &text, ret_n);
        (void)close(fd);
    }
    if (rc < 0)
        *ret_error = rc;
    return text;
}
