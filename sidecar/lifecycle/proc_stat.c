/* proc_stat.c - what /proc tells of a process. */
#include "lifecycle/proc_stat.h"

#include "base/str.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { STAT_BYTES = 1024 };

/* The next word of a text whose words are separated by blanks; empty: there is none. */
static struct str next_word(struct str *text)
{
    while (text->n > 0 && (*text->p == ' ' || *text->p == '\t' || *text->p == '\n')) {
        text->p++;
        text->n--;
    }
    struct str word = {text->p, 0};
    while (word.n < text->n && !memchr(" \t\n", word.p[word.n], 3))
        word.n++;
    text->p += word.n;
    text->n -= word.n;
    return word;
}

/* proc(5), by the numbers there. */
enum { FIELD_STATE = 3, FIELD_THREADS = 20, FIELD_START = 22, FIELD_RSS = 24 };

/* "17 (name) S 1 ...": the name may have spaces and parentheses in it. */
int proc_stat_parse(const char *text, size_t n, struct proc_stat *ret)
{
    struct proc_stat s = {0};
    const char *open_at = memchr(text, '(', n), *close_at = memrchr(text, ')', n);
    uint64_t pid;
    if (!open_at || !close_at || close_at < open_at)
        return -EINVAL;
    struct str head = {text, (size_t)(open_at - text)};
    if (!str_to_u64(next_word(&head), &pid) || pid == 0 || pid > INT_MAX)
        return -EINVAL;
    s.pid = (pid_t)pid;
    size_t comm = (size_t)(close_at - open_at - 1);
    memcpy(s.comm, open_at + 1, comm < PROC_COMM_MAX ? comm : PROC_COMM_MAX);
    struct str rest = {close_at + 1, (size_t)(text + n - close_at - 1)};
    for (int field = FIELD_STATE; field <= FIELD_RSS; field++) {
        struct str word = next_word(&rest);
        uint64_t *into = field == FIELD_THREADS ? &s.threads
                         : field == FIELD_START ? &s.start
                         : field == FIELD_RSS   ? &s.rss_pages
                                                : NULL;
        if (word.n == 0 || (field == FIELD_STATE && word.n != 1) ||
            (into && !str_to_u64(word, into)))
            return -EINVAL;
        if (field == FIELD_STATE)
            s.state = *word.p;
    }
    /* Cut in the middle of it, the last number would be another. */
    if (rest.n == 0)
        return -EINVAL;
    *ret = s;
    return 0;
}

uint32_t proc_children_parse(const char *text, size_t n, pid_t *out, uint32_t room)
{
    struct str rest = {text, n};
    uint32_t found = 0;
    uint64_t pid;
    for (;;) {
        struct str word = next_word(&rest);
        /* The kernel puts a blank behind each. */
        if (rest.n == 0 || !str_to_u64(word, &pid) || pid == 0 || pid > INT_MAX)
            return found;
        if (found < room)
            out[found] = (pid_t)pid;
        found++;
    }
}

int proc_status_uid(const char *text, size_t n, uid_t *ret)
{
    static const char key[] = "\nUid:";
    const char *at = memmem(text, n, key, sizeof(key) - 1);
    uint64_t effective;
    if (!at)
        return -EINVAL;
    struct str rest = {at + sizeof(key) - 1, (size_t)(text + n - at) - (sizeof(key) - 1)};
    (void)next_word(&rest); /* the real one */
    if (!str_to_u64(next_word(&rest), &effective) || effective > UINT32_MAX || rest.n == 0)
        return -EINVAL;
    *ret = (uid_t)effective;
    return 0;
}

ssize_t proc_read(const char *root, pid_t pid, const char *file, char *text, size_t cap)
{
    char path[PATH_MAX];
    (void)snprintf(path, sizeof(path), "%s/%d/%s", root, (int)pid, file);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return -errno;
    ssize_t n = read(fd, text, cap);
    if (n < 0)
        n = -errno;
    (void)close(fd);
    return n;
}

int proc_stat_read(const char *root, pid_t pid, struct proc_stat *ret)
{
    char text[STAT_BYTES] = "";
    ssize_t n = proc_read(root, pid, "stat", text, sizeof(text));
    return n < 0 ? (int)n : proc_stat_parse(text, (size_t)n, ret);
}
