/* jwks_files.h - the JWK sets that a configuration names, read and made into keys.
 *
 * Reading blocks: never on a loop that serves. Part of tls_files.h, by which they are loaded and
 * watched. */
#ifndef SLUICE_CONFIG_JWKS_FILES_H
#define SLUICE_CONFIG_JWKS_FILES_H

#include "config/conf_authz.h"

struct config_problems;

enum {
    JWKS_FILE_BYTES = 1 << 20,
    JWKS_DIGEST_BYTES = 32,
};

enum jwks_entry_state {
    JWKS_ENTRY_NONE,
    JWKS_ENTRY_SAME,    /* the file is as it was: the keys are the old ones */
    JWKS_ENTRY_NEW,     /* new keys */
    JWKS_ENTRY_REFUSED, /* what is wrong is in the problems; no keys */
    JWKS_ENTRY_URL,     /* no file: they come from a URL, and who fetches them has them */
};

struct jwks_entry {
    enum jwks_entry_state state;
    struct jwt_keys *keys; /* a reference */
    /* SHA-256 of the file, or of why it could not be read. */
    unsigned char digest[JWKS_DIGEST_BYTES];
    /* Of what was refused last, so that it is told once; zeros: nothing is. The keeper's. */
    unsigned char refused[JWKS_DIGEST_BYTES];
};

/* By conf_jwt.index. */
struct jwks_set {
    uint32_t n;
    struct jwks_entry *entries;
};

/* As tls_files_load(). */
int jwks_files_load(const struct conf *c, const struct conf *in_force, const struct jwks_set *have,
                    struct jwks_set *ret, struct config_problems *problems);
/* Frees the entries and their references, not the struct, which is empty then. */
void jwks_set_free(struct jwks_set *s);

#endif
