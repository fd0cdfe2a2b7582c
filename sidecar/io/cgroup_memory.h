/* cgroup_memory.h - how much of its memory limit the control group of this process uses, and how
 * long it waits for memory: what the kernel ends us by.
 *
 * Version 2 of cgroups, version 1, and both at once (where one of the two has the memory
 * controller). The files are opened once and read again and again; each limit may change while we
 * run, as a container's does when a pod is resized. */
#ifndef SLUICE_IO_CGROUP_MEMORY_H
#define SLUICE_IO_CGROUP_MEMORY_H

#include <stdbool.h>
#include <stdint.h>

struct cgroup_memory;

struct cgroup_usage {
    uint64_t used;  /* bytes, without file cache that nobody has used for a while: it goes first */
    uint64_t limit; /* of the group, or of one above it: whichever is nearer to its limit */
};

/* `root` is put in front of each path, those in the kernel's files too; "": the machine itself.
 * NULL: memory is short. That nothing is found there is no error. */
struct cgroup_memory *cgroup_memory_open(const char *root);
/* NULL, and returns NULL. */
struct cgroup_memory *cgroup_memory_free(struct cgroup_memory *m);

/* False: there is no limit. */
bool cgroup_memory_usage(struct cgroup_memory *m, struct cgroup_usage *ret);

/* Of the last 10 s, in parts per million: in which one of the tasks waited for memory, and in which
 * all did. Of the group; of the whole machine where groups have no such file. False: the kernel
 * does not tell. */
bool cgroup_memory_pressure(struct cgroup_memory *m, uint32_t *ret_some, uint32_t *ret_full);

#endif
