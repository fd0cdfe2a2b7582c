/* app_process.h - a process that is known by its name, where the PID namespace is shared.
 *
 * Its number may be another's by the time that it is used: what is remembered of it is when it
 * started, and that is looked at again behind pidfd_open(), which then stands for this one
 * process. */
#ifndef SLUICE_LIFECYCLE_APP_PROCESS_H
#define SLUICE_LIFECYCLE_APP_PROCESS_H

#include <stdint.h>
#include <sys/types.h>

struct app_process {
    pid_t pid;
    uint64_t start; /* in ticks since the machine's boot */
};

/* The time in the same ticks. */
uint64_t app_process_ticks(void);

/* The oldest whose comm, or whose program file's name, is `name`; neither we nor our parent, and
 * started before `before` (ticks; 0: whenever). A pidfd of it, and which it is; -ESRCH: there is
 * none; or -errno. */
int app_process_open(const char *name, uint64_t before, struct app_process *ret);

#endif
