/* tls_files.h - the PEM files that a configuration names, and the TLS contexts they make; and with
 * them its JWK sets (jwks_files.h), which are read, watched and renewed in the same way.
 *
 * Reading blocks, and keys are worked on: never on a loop that serves. */
#ifndef SLUICE_CONFIG_TLS_FILES_H
#define SLUICE_CONFIG_TLS_FILES_H

#include "config/build.h"
#include "config/jwks_files.h"

enum {
    TLS_FILE_BYTES = 1 << 20, /* of one file */
    TLS_DIGEST_BYTES = 32,
};

enum tls_entry_state {
    TLS_ENTRY_NONE,    /* no TLS there */
    TLS_ENTRY_SAME,    /* neither settings nor files have changed: the context is the old one */
    TLS_ENTRY_NEW,     /* a new context */
    TLS_ENTRY_REFUSED, /* what is wrong is in the problems; no context */
};

/* What one listener or upstream has. */
struct tls_entry {
    enum tls_entry_state state;
    struct tls_context *context; /* a reference */
    /* Of the settings, and of the files' contents or why they could not be read: SHA-256. */
    unsigned char digest[TLS_DIGEST_BYTES];
};

/* Of a configuration: its listeners in their order, and behind them its upstreams. */
struct tls_set {
    uint32_t n_listeners, n;
    struct tls_entry *entries;
    struct jwks_set jwks;
};

/* Reads all files of `c`, and makes what is not the same as in `have`, which is of `in_force` (both
 * NULL: everything); there, listeners and upstreams are known by name. Every problem is at the
 * place of a file's name: "/etc/tls/tls.key: the key does not belong to ...". `now`: for what has
 * expired. 0, or -ENOMEM, which is a problem too; *ret is to be freed in any case. */
int tls_files_load(const struct conf *c, const struct conf *in_force, const struct tls_set *have,
                   time_t now, struct tls_set *ret, struct config_problems *problems);
/* Frees the entries and their references, not the struct, which is empty then. */
void tls_set_free(struct tls_set *s);
/* NULL where the set has none (it is empty). */
const struct tls_entry *tls_set_listener(const struct tls_set *s, uint32_t index);
const struct tls_entry *tls_set_upstream(const struct tls_set *s, uint32_t index);

/* The names of the files of c, and of `also` (NULL: none), each once, as an array to be freed (the
 * names are the configurations'); 0 or -ENOMEM. */
int tls_files_names(const struct conf *c, const struct conf *also, const char ***ret,
                    uint32_t *ret_n);

/* config_load() (build.h) and this: everything that `sluice validate` checks. */
struct conf *config_load_with_files(const char *file, struct config_problems *problems);

#endif
