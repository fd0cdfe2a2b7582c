/* config_job.c - a configuration's text, read and built off the control thread's loop. */
#include "admin/config_job.h"

#include "admin/jwks_first.h"
#include "config/last_good.h"
#include "config/problems.h"
#include "proxy/access_redact.h"

#include <signal.h>

/* The salt's file is read with each new configuration. */
static void make_redaction(struct config_job *j)
{
    const struct conf_access_log *log = &j->conf->access_log;
    const char *why = NULL;
    if (!j->has_log || !log->enabled)
        return;
    j->redact = access_redact_new(log, false, &why);
    if (!j->redact)
        problem_add(&j->problems, 0, 0, "accessLog.redact", false, "%.*s%s%s",
                    STR_FMT(log->salt_file), log->salt_file.n ? ": " : "", why);
}

void config_job_build(struct config_job *j)
{
    uint32_t before = j->problems.errors;
    j->conf = config_build(j->file, j->text, j->n, &j->problems);
    if (!j->conf)
        return;
    config_problems_free(&j->tls_problems);
    int rc = tls_files_load(j->conf, j->conf_in_force, j->tls_in_force, time(NULL), &j->tls,
                            j->lenient ? &j->tls_problems : &j->problems);
    if (rc == 0 && j->problems.errors == before)
        jwks_first_fetch(j->conf, j->conf_in_force, &j->tls.jwks, &j->problems);
    if (rc == 0 && j->problems.errors == before)
        make_redaction(j);
    if (rc == 0 && j->problems.errors == before)
        return;
    tls_set_free(&j->tls);
    j->refused = config_free(j->refused);
    j->refused = j->conf;
    j->conf = NULL;
}

/* The files in force: neither an unchanged nor a bad configuration keeps them from being renewed.
 */
static void look_at_files(struct config_job *j)
{
    const char *why;
    j->looked = true;
    (void)tls_files_load(j->conf_in_force, j->conf_in_force, j->tls_in_force, time(NULL), &j->tls,
                         &j->tls_problems);
    if (j->salt_stands_in)
        j->redact = access_redact_new(&j->conf_in_force->access_log, false, &why);
}

static void load_text(struct config_job *j)
{
    j->text = config_read(j->file, &j->n, &j->problems);
    if (!j->text)
        return;
    config_digest(j->text, j->n, j->sha256);
    j->unchanged = j->in_force[0] != '\0' && strcmp(j->sha256, j->in_force) == 0;
    if (!j->unchanged)
        config_job_build(j);
}

void config_job_load(struct config_job *j)
{
    if (!j->only_files)
        load_text(j);
    if (!j->conf && j->conf_in_force)
        look_at_files(j);
}

static void *job_main(void *arg)
{
    struct config_job *j = arg;
    sigset_t all;
    /* Signals are the control thread's. */
    (void)sigfillset(&all);
    (void)pthread_sigmask(SIG_SETMASK, &all, NULL);
    (void)pthread_setname_np(pthread_self(), "config");
    if (j->save)
        j->error = last_good_save(j->last_good, j->text, j->n);
    else
        config_job_load(j);
    mailbox_post(j->to, &j->mail, j->done);
    return NULL;
}

int config_job_start(struct config_job *j)
{
    return -pthread_create(&j->thread, NULL, job_main, j);
}

void config_job_join(struct config_job *j)
{
    (void)pthread_join(j->thread, NULL);
}

void config_job_free(struct config_job *j)
{
    free(j->text);
    j->text = NULL;
    j->conf = config_free(j->conf);
    config_problems_free(&j->problems);
    config_problems_free(&j->tls_problems);
    tls_set_free(&j->tls);
    j->redact = access_redact_free(j->redact);
    j->refused = config_free(j->refused);
}
