/* last_good.h - a copy on disk of the last configuration that was taken, for a start at which the
 * file is bad. The directory is the operator's (--last-good DIR); the copy is written to a
 * temporary file of mode 0600, fsync'd, renamed, and the directory fsync'd: there is the old one or
 * the new. */
#ifndef SLUICE_CONFIG_LAST_GOOD_H
#define SLUICE_CONFIG_LAST_GOOD_H

#include <stddef.h>

/* Blocks on the disk: not for a worker's thread. 0 or -errno; the old copy stays then (or, when
 * only the directory could not be synced, the new one may be lost with the power). */
int last_good_save(const char *dir, const char *text, size_t n);
/* The text, to be freed; NULL with *ret_error (-ENOENT: there is none). */
char *last_good_load(const char *dir, size_t *ret_n, int *ret_error);
/* Where it is, for messages. The caller's buffer of PATH_MAX. */
const char *last_good_path(const char *dir, char *out);

/* SHA-256 in hex with its NUL: out has 65 bytes. "" when OpenSSL has no memory for it. */
void config_digest(const char *text, size_t n, char *out);

#endif
