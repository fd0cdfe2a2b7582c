/* access_redact.h - the salted hash by which the access log tells what it must not tell
 * (policies/redact.h).
 *
 * SHA-256 over the salt and the value behind it, its first 8 bytes in hex: who has the salt can
 * look for a value that he knows with `(cat salt; printf %s VALUE) | sha256sum`. */
#ifndef SLUICE_PROXY_ACCESS_REDACT_H
#define SLUICE_PROXY_ACCESS_REDACT_H

#include "config/config.h"

struct access_redact;

enum { REDACT_SALT_MIN = 16, REDACT_SALT_MAX = 4096 };

/* Reads the salt, without the line's end behind it, or makes one. NULL with *ret_why, a literal or
 * of strerror(). `lenient`: for a file that is bad a salt of our own stands in; *ret_why says what
 * is wrong with it (NULL: nothing). */
struct access_redact *access_redact_new(const struct conf_access_log *conf, bool lenient,
                                        const char **ret_why);
struct access_redact *access_redact_free(struct access_redact *a);
/* Goes on counting where `was` is, and with its salt where neither has one of a file: what was
 * told before and after a reload compares. */
void access_redact_follow(struct access_redact *a, struct access_redact *was);
/* As redact(), of the control thread. */
struct str access_redact(struct access_redact *a, enum redact_field field, struct str text,
                         char *out);
/* The salt is not the file's. */
bool access_redact_stands_in(const struct access_redact *a);
/* Values ever. */
uint64_t access_redact_count(const struct access_redact *a);

#endif
