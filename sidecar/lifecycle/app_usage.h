/* app_usage.h - what the application takes: descriptors, threads, memory and sockets of a process
 * and of the processes that its main thread has started, read at one moment.
 *
 * Where the process is another user's: threads and memory are told to everybody; descriptors are
 * counted by st_size of /proc/PID/fd (since Linux 6.2); of its sockets those of TCP that its user
 * has in our network namespace, unless that user is ours, too. What cannot be had is LEAK_UNKNOWN,
 * and why stands beside it.
 *
 * Bounded, and without waiting: some 20 system calls for a small application, and at most
 * APP_USAGE_LINKS more for descriptors that are looked at. */
#ifndef SLUICE_LIFECYCLE_APP_USAGE_H
#define SLUICE_LIFECYCLE_APP_USAGE_H

#include "lifecycle/proc_stat.h"
#include "policies/leak.h"

#include <stdbool.h>

enum {
    APP_USAGE_PROCESSES = 64, /* counted; more are left out, and told */
    APP_USAGE_LINKS = 256,    /* of all processes together; with more it is a sample of so many */
    APP_USAGE_FDS = 65536,    /* listed one by one, before Linux 6.2: more count as so many */
    APP_USAGE_SOCKETS = 4096, /* by user: likewise */
};

/* How it was found out. */
enum usage_by {
    USAGE_BY_NOTHING,
    USAGE_BY_SIZE, /* st_size of /proc/PID/fd */
    USAGE_BY_LIST, /* its entries */
    USAGE_BY_USER, /* its user's sockets */
};
const char *usage_by_word(enum usage_by b);

struct app_usage {
    uint64_t value[LEAK_RESOURCES]; /* rss in bytes; LEAK_UNKNOWN */
    char name[PROC_COMM_MAX + 1];   /* of the first process; printable */
    uint64_t start;                 /* of it, in ticks */
    uint32_t processes;
    bool more; /* than APP_USAGE_PROCESSES */
    enum usage_by fds_by, sockets_by;
    int fds_error, sockets_error; /* errno of what could not be had; 0: nothing */
};

/* Where from; for tests another place. */
struct app_usage_source {
    const char *proc; /* "/proc" */
    bool sized;       /* st_size of a directory fd there is a count */
    uint64_t page_bytes;
};
/* Of this machine. */
void app_usage_source_init(struct app_usage_source *s);

/* 0; -ESRCH or another -errno where even the first process cannot be read: then it has gone. */
int app_usage_read(const struct app_usage_source *s, pid_t pid, struct app_usage *ret);

#endif
