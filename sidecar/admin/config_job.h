/* config_job.h - what of a reload may take long, on a thread of its own: reading, hashing, parsing
 * and checking a configuration, reading certificates and keys and making TLS contexts of them, and
 * writing the last good copy. The control thread must go on
 * answering probes meanwhile. One job at a time. */
#ifndef SLUICE_ADMIN_CONFIG_JOB_H
#define SLUICE_ADMIN_CONFIG_JOB_H

#include "admin/config_state.h"
#include "config/tls_files.h"
#include "io/mailbox.h"

#include <pthread.h>

struct access_redact;

struct config_job {
    struct mail mail; /* to the control thread, when it has ended */
    pthread_t thread;
    void (*done)(struct mail *, void *owner);
    struct mailbox *to;
    const char *file;
    const char *last_good; /* save: the directory */
    bool save;
    /* load: in: the text in force, which need not be built; out: the rest. save: in: the text. */
    char in_force[CONFIG_DIGEST_MAX];
    char sha256[CONFIG_DIGEST_MAX]; /* "": it could not be read */
    bool unchanged;
    char *text;
    size_t n;
    struct conf *conf; /* NULL: unchanged, or see problems */
    struct config_problems problems;
    /* TLS. in: what is in force (it stays meanwhile), NULL at the start; `only_files`: nothing but
     * its files is looked at. out: the set of `conf`; or, where there is no new one, of what is in
     * force (looked), with problems of its own. */
    const struct conf *conf_in_force;
    const struct tls_set *tls_in_force;
    bool only_files, looked;
    /* Bad files do not stop it: their listeners and upstreams have no context, and what is wrong is
     * in tls_problems. For the start after a crash, which must not end what goes on elsewhere. */
    bool lenient;
    struct tls_set tls;
    struct config_problems tls_problems;
    /* in: there is an access log, and its salt is not the file's; out: what `conf` tells it to
     * redact, or where there is no new one, that in force with the file's salt. */
    bool has_log, salt_stands_in;
    struct access_redact *redact;
    /* The configuration was refused for one of its files: all of them, which may change. */
    struct conf *refused;
    int error; /* save: 0 or -errno */
};

/* Without a thread: the first start. */
void config_job_load(struct config_job *j);
/* Builds from j->text, with its TLS; NULL in j->conf: see problems. */
void config_job_build(struct config_job *j);
/* 0 or -errno; then `done` comes to the mailbox's owner, who calls config_job_join(). */
int config_job_start(struct config_job *j);
void config_job_join(struct config_job *j);
/* What nobody took. */
void config_job_free(struct config_job *j);

#endif
