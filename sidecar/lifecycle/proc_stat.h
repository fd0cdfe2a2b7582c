/* proc_stat.h - what /proc tells of a process: its files' texts, read and taken apart.
 *
 * Only such files as the kernel writes without waiting for the process: cmdline, environ, smaps and
 * the like take a lock of its memory, which one that hangs may hold. */
#ifndef SLUICE_LIFECYCLE_PROC_STAT_H
#define SLUICE_LIFECYCLE_PROC_STAT_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

enum { PROC_COMM_MAX = 15 };

/* /proc/PID/stat. */
struct proc_stat {
    pid_t pid;
    char comm[PROC_COMM_MAX + 1]; /* bytes of the process's own choice */
    char state;
    uint64_t threads;
    uint64_t start; /* in ticks since the machine's boot */
    uint64_t rss_pages;
};

/* The text, without a NUL. 0, or -EINVAL and nothing is written. */
int proc_stat_parse(const char *text, size_t n, struct proc_stat *ret);
/* Of /proc/PID/task/TID/children: into at most `room`; how many there are of them. What is behind
 * something else than a number is not read. */
uint32_t proc_children_parse(const char *text, size_t n, pid_t *out, uint32_t room);
/* The effective user of /proc/PID/status; 0, or -EINVAL. */
int proc_status_uid(const char *text, size_t n, uid_t *ret);

/* The first `cap` bytes of ROOT/PID/FILE; how many, or -errno. */
ssize_t proc_read(const char *root, pid_t pid, const char *file, char *text, size_t cap);
/* 0, or -errno. */
int proc_stat_read(const char *root, pid_t pid, struct proc_stat *ret);

#endif
