/* journal_disk.h - the journal's file: opened, shared between two processes, appended to, cut, and
 * replaced by another.
 *
 * Everybody who has it open holds a shared lock (an open file description's, which is converted
 * without a gap); whoever gets it exclusive is alone, and only then may cut or replace the file.
 * Who opens a file that is replaced meanwhile opens again. */
#ifndef SLUICE_LIFECYCLE_JOURNAL_DISK_H
#define SLUICE_LIFECYCLE_JOURNAL_DISK_H

#include "base/clock.h"

#include <stdbool.h>
#include <sys/types.h>

/* What a test may let fail. */
struct journal_disk {
    ssize_t (*write)(int fd, const void *p, size_t n);
    int (*sync)(int fd); /* fdatasync */
    int (*truncate)(int fd, off_t size);
    int (*rename)(const char *from, const char *to);
};
extern const struct journal_disk journal_disk_system;

/* A descriptor (O_APPEND) with the shared lock, or a negative errno; makes the file (0600) when
 * there is none. *ret_writable false: it can only be read now. Waits up to `patience` for who
 * replaces it: -EBUSY. */
int journal_disk_open(const char *path, usec_t patience, bool *ret_writable);

/* Are we alone? Then until journal_disk_share(). */
bool journal_disk_take(int fd);
void journal_disk_share(int fd);

/* Appends all of it: 0 or a negative errno; *ret_written bytes are there. *ret_end: where what was
 * written ends. */
int journal_disk_append(const struct journal_disk *d, int fd, const char *p, size_t n,
                        size_t *ret_written, uint64_t *ret_end);
/* Up to n bytes from `at`; fewer at the end. */
int journal_disk_read(int fd, uint64_t at, char *p, size_t n, size_t *ret_n);

/* A new file that journal_disk_replace() puts in the place of path, with the shared lock. */
int journal_disk_begin(const char *path, char *ret_temporary);
int journal_disk_replace(const struct journal_disk *d, int fd, const char *temporary,
                         const char *path);
void journal_disk_give_up(int fd, const char *temporary);
/* The directory of path, so that the replacement outlives a crash of the machine. */
int journal_disk_sync_directory(const struct journal_disk *d, const char *path);

#endif
