/* config_job.c - a configuration's text, read and built off the control thread's loop. */
#include "admin/config_job.h"

#include "config/last_good.h"

#include <signal.h>

void config_job_load(struct config_job *j)
{
    j->text = config_read(j->file, &j->n, &j->problems);
    if (!j->text)
        return;
    config_digest(j->text, j->n, j->sha256);
    j->unchanged = j->in_force[0] != '\0' && strcmp(j->sha256, j->in_force) == 0;
    if (!j->unchanged)
        j->conf = config_build(j->file, j->text, j->n, &j->problems);
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
}
