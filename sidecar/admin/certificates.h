/* certificates.h - the certificates in force, and what becomes of their files when these change.
 *
 * The control thread's. A configuration comes into force with its contexts (certificates_take).
 * From then on its files are watched: a change makes a round of control_reload.c that reads nothing
 * but them, on the reading thread, and what is new there goes into the slots (certificates_look),
 * while connections that stand keep what they have. What is refused - expired, half-written, a key
 * that is not the certificate's - leaves the old context in its slot; the next change or poll tries
 * again. */
#ifndef SLUICE_ADMIN_CERTIFICATES_H
#define SLUICE_ADMIN_CERTIFICATES_H

#include "admin/exposition.h"
#include "admin/generation.h"
#include "admin/jwks.h"
#include "config/tls_files.h"
#include "config/watch_files.h"

#include <jansson.h>

struct certificates {
    struct tls_set set; /* of the configuration in force */
    /* By entry: what was refused last, so that it is told once; zeros: nothing is. */
    unsigned char (*refused)[TLS_DIGEST_BYTES];
    uint32_t n_refused;
    struct config_problems problems; /* while something is refused */
    uint64_t applied, refusals;      /* looks that did so */
    usec_t applied_wall, refused_wall;
    struct jwks jwks;
    struct files_watch *watch; /* NULL: not yet, or not any more */
};

/* The set of a configuration that comes into force now: into the slots of its generation. Takes the
 * set over, and what is wrong with it (nothing, but at a start after a crash); their structs are
 * empty then. A listener or upstream that has lost its TLS keeps a context until
 * certificates_settled(), as its workers still go by the old configuration. */
void certificates_take(struct certificates *c, const struct generation *g, struct tls_set *set,
                       struct config_problems *problems);
/* Every worker has it. */
void certificates_settled(const struct certificates *c, const struct generation *g);
/* What a look at the files in force has found; takes set and problems over. `file` is the
 * configuration's name, for the log. */
void certificates_look(struct certificates *c, const struct generation *g, const char *file,
                       struct tls_set *set, struct config_problems *problems);
/* The files of `also` (a configuration that was refused; NULL: none) are watched besides those in
 * force: they may be why. */
void certificates_watch(struct certificates *c, const struct conf *in_force,
                        const struct conf *also);

/* For /v1/config; NULL when memory is short. */
json_t *certificates_json(const struct certificates *c, const struct conf *conf);
/* The families certificate_*. */
void certificates_metrics(const struct certificates *c, const struct conf *conf,
                          struct exposition *t);
/* Frees what it points at, not the struct. */
void certificates_free(struct certificates *c);

#endif
