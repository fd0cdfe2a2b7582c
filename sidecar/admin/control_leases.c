/* control_leases.c - where the registry of leases and the hooks meet the rest of the control
 * thread.
 */
#include "admin/control.h"

#include "proxy/learn_mail.h"

#include <errno.h>

int control_leases_init(struct control *c)
{
    c->cleanups = cleanup_engine_new(&c->loop);
    c->leases = c->cleanups ? leases_new(&c->loop, &c->mailbox, c->cleanups) : NULL;
    c->process.leases = c->leases;
    c->hooks = c->leases ? hooks_new(&c->loop, c->cleanups) : NULL;
    return c->hooks ? 0 : -ENOMEM;
}

void control_leases_free(struct control *c)
{
    c->hooks = hooks_free(c->hooks);
    c->process.leases = NULL;
    c->leases = leases_free(c->leases);
    learn_mail_end(&c->process);
    c->cleanups = cleanup_engine_free(c->cleanups);
}

void control_leases_configure(struct control *c)
{
    if (leases_configure(c->leases, c->snapshot->conf) < 0 ||
        hooks_configure(c->hooks, c->snapshot->conf) < 0)
        log_error("cleanups and hooks stay as they were: out of memory");
}

void control_leases_start(struct control *c)
{
    leases_start(c->leases);
    hooks_start(c->hooks);
}

void control_leases_retire(struct control *c)
{
    hooks_retire(c->hooks);
    leases_retire(c->leases);
}

void control_leases_drain(struct control *c, usec_t deadline)
{
    hooks_drain(c->hooks, deadline);
}

/* What hooks send ends by D too, and is waited for as a release is. */
static void hooks_told(void *ctx)
{
    struct control *c = ctx;
    void (*done)(struct control *) = c->cleaned;
    c->cleaned = NULL;
    if (done)
        done(c);
}

static void released(void *ctx)
{
    struct control *c = ctx;
    hooks_wait(c->hooks, hooks_told, c);
}

void control_leases_cleanup(struct control *c, usec_t deadline, void (*done)(struct control *c))
{
    c->cleaned = done;
    hooks_drain(c->hooks, deadline);
    leases_cleanup(c->leases, deadline, released, c);
}
