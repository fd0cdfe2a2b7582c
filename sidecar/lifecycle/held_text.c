/* held_text.c - text in the supervisor's hands: always a whole one, as each is a memfd of its own.
 */
#include "lifecycle/held_text.h"

#include "base/mem.h"
#include "lifecycle/inherited.h"

#include <errno.h>
#include <sys/mman.h>
#include <unistd.h>

static int write_all(int fd, const char *text, size_t n)
{
    while (n > 0) {
        ssize_t done = write(fd, text, n);
        if (done < 0 && errno == EINTR)
            continue;
        if (done <= 0)
            return done < 0 ? -errno : -ENOSPC;
        text += done;
        n -= (size_t)done;
    }
    return 0;
}

int held_text_put(struct channel *ch, const char *name, const char *text, size_t n)
{
    if (!ch)
        return 0;
    int fd = memfd_create(name, MFD_CLOEXEC);
    if (fd < 0)
        return -errno;
    int rc = write_all(fd, text, n);
    if (rc == 0)
        rc = channel_hold(ch, name, fd);
    (void)close(fd);
    return rc;
}

char *held_text_take(const char *name, size_t *ret_n)
{
    int fd = inherited_take(name);
    off_t size = fd >= 0 ? lseek(fd, 0, SEEK_END) : -1;
    char *text = size > 0 ? mem_alloc((size_t)size + 1) : NULL;
    if (text && pread(fd, text, (size_t)size, 0) != size) {
        free(text);
        text = NULL;
    }
    if (text) {
        text[size] = '\0';
        *ret_n = (size_t)size;
    }
    if (fd >= 0)
        (void)close(fd);
    return text;
}
