/* journal_disk.c - the journal's file: opened, shared, appended to, cut and replaced. */
#include "lifecycle/journal_disk.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static const usec_t look_again = 2 * USEC_PER_MSEC;

const struct journal_disk journal_disk_system = {
    .write = write,
    .sync = fdatasync,
    .truncate = ftruncate,
    .rename = rename,
};

static int lock(int fd, short kind)
{
    struct flock l = {.l_type = kind, .l_whence = SEEK_SET};
    return fcntl(fd, F_OFD_SETLK, &l) < 0 ? -errno : 0;
}

bool journal_disk_take(int fd)
{
    return lock(fd, F_WRLCK) == 0;
}

void journal_disk_share(int fd)
{
    (void)lock(fd, F_RDLCK); /* from exclusive it cannot fail */
}

static int open_any(const char *path, bool *ret_writable)
{
    const int flags = O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY;
    int fd = open(path, O_RDWR | O_APPEND | O_CREAT | flags, 0600);

    *ret_writable = fd >= 0;
    if (fd >= 0 || (errno != EROFS && errno != EACCES && errno != EPERM))
        return fd < 0 ? -errno : fd;
    int rc = -errno; /* why it cannot be made, when there is none */
    fd = open(path, O_RDONLY | flags);
    return fd >= 0 ? fd : errno == ENOENT ? rc : -errno;
}

/* 0; -EAGAIN: again from the beginning, somebody replaces it or has. */
static int settle(int fd, const char *path)
{
    struct stat mine, there;
    int rc = lock(fd, F_RDLCK);

    if (rc == -EAGAIN || rc == -EACCES)
        return -EAGAIN;
    /* Any other: a file system without locks. We are never alone there, and nothing is cut. */
    if (fstat(fd, &mine) < 0)
        return -errno;
    if (!S_ISREG(mine.st_mode))
        return S_ISDIR(mine.st_mode) ? -EISDIR : -EINVAL;
    if (stat(path, &there) < 0)
        return errno == ENOENT ? -EAGAIN : -errno;
    return mine.st_ino == there.st_ino && mine.st_dev == there.st_dev ? 0 : -EAGAIN;
}

int journal_disk_open(const char *path, usec_t patience, bool *ret_writable)
{
    const usec_t until = clock_mono() + patience;

    for (;;) {
        bool writable = false;
        int fd = open_any(path, &writable);
        if (fd < 0)
            return fd;
        int rc = settle(fd, path);
        if (rc == 0) {
            *ret_writable = writable;
            return fd;
        }
        (void)close(fd);
        if (rc != -EAGAIN)
            return rc;
        if (clock_mono() >= until)
            return -EBUSY;
        (void)usleep((useconds_t)look_again);
    }
}

int journal_disk_append(const struct journal_disk *d, int fd, const char *p, size_t n,
                        size_t *ret_written, uint64_t *ret_end)
{
    size_t done = 0;
    int rc = 0;

    while (rc == 0 && done < n) {
        ssize_t sent = d->write(fd, p + done, n - done);
        if (sent > 0)
            done += (size_t)sent;
        else if (sent == 0)
            rc = -EIO;
        else if (errno != EINTR)
            rc = -errno;
    }
    /* Linux moves the position of an O_APPEND descriptor to where its own write ended. */
    off_t end = lseek(fd, 0, SEEK_CUR);
    if (end < 0 && rc == 0)
        rc = -errno;
    *ret_written = done;
    *ret_end = end < 0 ? 0 : (uint64_t)end;
    return rc;
}

int journal_disk_read(int fd, uint64_t at, char *p, size_t n, size_t *ret_n)
{
    size_t got = 0;

    while (got < n) {
        ssize_t r = pread(fd, p + got, n - got, (off_t)(at + got));
        if (r == 0)
            break;
        if (r > 0)
            got += (size_t)r;
        else if (errno != EINTR)
            return -errno;
    }
    *ret_n = got;
    return 0;
}

/* ---- another in its place ---- */

int journal_disk_begin(const char *path, char *ret_temporary)
{
    int n = snprintf(ret_temporary, PATH_MAX, "%s.new", path);

    if (n <= 0 || n >= PATH_MAX)
        return -ENAMETOOLONG;
    /* Of one name: who makes it is alone, and what a crash has left is overwritten. */
    if (unlink(ret_temporary) < 0 && errno != ENOENT)
        return -errno;
    int fd =
        open(ret_temporary, O_RDWR | O_APPEND | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0)
        return -errno;
    (void)lock(fd, F_RDLCK); /* before anybody can find it */
    return fd;
}

int journal_disk_replace(const struct journal_disk *d, int fd, const char *temporary,
                         const char *path)
{
    if (d->sync(fd) < 0 || d->rename(temporary, path) < 0)
        return -errno;
    return 0;
}

void journal_disk_give_up(int fd, const char *temporary)
{
    (void)close(fd);
    (void)unlink(temporary);
}

int journal_disk_sync_directory(const struct journal_disk *d, const char *path)
{
    char dir[PATH_MAX];
    const char *slash = strrchr(path, '/');
    int rc = 0;

    (void)snprintf(dir, sizeof(dir), "%.*s", slash ? (int)(slash - path + 1) : 1,
                   slash ? path : ".");
    int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return -errno;
    if (d->sync(fd) < 0 && errno != EINVAL) /* EINVAL: a file system that has no such thing */
        rc = -errno;
    (void)close(fd);
    return rc;
}
