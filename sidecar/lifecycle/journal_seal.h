/* journal_seal.h - what is in a record, for nobody who only has the disk.
 *
 * XAES-256-GCM (C2SP): a key for each record, derived from the first half of a random 192-bit
 * nonce, and AES-256-GCM under it with the other half. Nonces need no counter that a crash could
 * set back or a second process could share, and one key file serves any number of pods. */
#ifndef SLUICE_LIFECYCLE_JOURNAL_SEAL_H
#define SLUICE_LIFECYCLE_JOURNAL_SEAL_H

#include "base/str.h"

enum { SEAL_KEY_BYTES = 32, SEAL_NONCE_BYTES = 24, SEAL_TAG_BYTES = 16 };

struct seal; /* a key, made ready; used by one thread at a time */

/* NULL: memory is short. */
struct seal *seal_new(const char *key);
struct seal *seal_free(struct seal *s);

/* A key file: 32 bytes, raw, or as 64 hex digits and white space behind. `open_to_others`: its
 * mode lets everybody read it. 0; -EINVAL: it holds something else; and what open(2) and read(2)
 * say. */
int seal_key_read(const char *path, char *ret_key, bool *ret_open_to_others);

/* Nonce, text and tag: out has text.n + 40 bytes. nonce NULL: a random one. 0, or -ENOMEM. */
int seal_close(struct seal *s, const char *nonce, struct str text, struct str aad, char *out);
/* out has sealed.n - 40 bytes. 0; -EKEYREJECTED: not sealed with this key, or not with this aad;
 * -ENOMEM. */
int seal_open(struct seal *s, struct str sealed, struct str aad, char *out);

/* Overwrites it first. NULL is allowed. */
void secret_free(void *p, size_t n);

#endif
