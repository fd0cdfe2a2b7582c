/* log_journal.c - lines to systemd-journald in its native protocol, one datagram each.
 *
 * https://systemd.io/JOURNAL_NATIVE_PROTOCOL: FIELD=value and a newline; or, where the value has
 * newlines itself, FIELD, newline, length (64 bits, little endian), value, newline. */
#include "base/log_journal.h"

#include "base/check.h"

#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <unistd.h>

/* Above what a serving process's sockets are placed on when it is started. */
enum { FD_HIGH = 128 };

static int journal_fd = -1;
static char head[96]; /* what every datagram begins with */
static struct sockaddr_un journal = {.sun_family = AF_UNIX,
                                     .sun_path = "/run/systemd/journal/socket"};

void log_journal_set_path(const char *path)
{
    (void)snprintf(journal.sun_path, sizeof(journal.sun_path), "%s", path);
}

/* JOURNAL_STREAM=device:inode of the stream that the service manager has connected. */
static bool stderr_is_journal(void)
{
    const char *text = getenv("JOURNAL_STREAM");
    size_t n = text ? strcspn(text, ":") : 0;
    uint64_t dev, ino;
    struct stat st;

    return text && text[n] == ':' && str_to_u64((struct str){text, n}, &dev) &&
           str_to_u64(str_of(text + n + 1), &ino) && fstat(STDERR_FILENO, &st) == 0 &&
           st.st_dev == dev && st.st_ino == ino;
}

bool log_journal_open(const char *component)
{
    if (!stderr_is_journal())
        return false;
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return false;
    int high = fcntl(fd, F_DUPFD_CLOEXEC, FD_HIGH);
    if (high >= 0) {
        (void)close(fd);
        fd = high;
    }
    (void)snprintf(head, sizeof(head), "SYSLOG_IDENTIFIER=sluice\nSLUICE_COMPONENT=%s\n",
                   component);
    journal_fd = fd;
    return true;
}

void log_journal_close(void)
{
    if (journal_fd >= 0)
        (void)close(journal_fd);
    journal_fd = -1;
}

bool log_journal_is_open(void)
{
    return journal_fd >= 0;
}

bool log_journal_send(int priority, const char *message, size_t len)
{
    char tail[32], intro[32];
    uint64_t size = htole64(len);
    size_t n = 0;

    if (memchr(message, '\n', len)) {
        n = sizeof("MESSAGE\n") - 1;
        memcpy(intro, "MESSAGE\n", n);
        memcpy(intro + n, &size, sizeof(size));
        n += sizeof(size);
    } else {
        n = sizeof("MESSAGE=") - 1;
        memcpy(intro, "MESSAGE=", n);
    }
    int t = snprintf(tail, sizeof(tail), "\nPRIORITY=%d\n", priority);
    struct iovec iov[] = {
        {head, strlen(head)}, {intro, n}, {(void *)(uintptr_t)message, len}, {tail, (size_t)t}};
    struct msghdr msg = {.msg_name = &journal,
                         .msg_namelen = sizeof(journal),
                         .msg_iov = iov,
                         .msg_iovlen = ARRAY_LEN(iov)};
    /* To an address each time, so that a journald that was started again is found. */
    return sendmsg(journal_fd, &msg, MSG_NOSIGNAL | MSG_DONTWAIT) >= 0;
}
