/* cleanup_command.c - a release that is a command. */
#include "lifecycle/cleanup_parts.h"

#include "base/check.h"

#include <stdio.h>
#include <sys/wait.h>

void cleanup_command_kill(struct cleanup_inner *in)
{
    struct cleanup_command *c = &in->command;
    if (c->child.pid == 0)
        return;
    child_kill(&c->child);
    ev_timer_stop(in->engine->loop->ev, &c->late);
}

static void on_exited(struct child *child, int status)
{
    struct cleanup_inner *in = CONTAINER_OF(child, struct cleanup_inner, command.child);
    char *error = in->run->error;
    size_t most = sizeof(in->run->error);
    ev_timer_stop(in->engine->loop->ev, &in->command.late);
    if (status == -1)
        (void)snprintf(error, most, "its exit code was not learned");
    else if (WIFSIGNALED(status))
        (void)snprintf(error, most, "ended by signal %d", WTERMSIG(status));
    else if (WEXITSTATUS(status) != 0)
        (void)snprintf(error, most, "exit code %d", WEXITSTATUS(status));
    cleanup_exited(in, status != -1 && WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

static void on_late(struct ev_loop *ev, struct ev_timer *t, int events)
{
    struct cleanup_inner *in = CONTAINER_OF(t, struct cleanup_inner, command.late);
    (void)ev;
    (void)events;
    cleanup_command_kill(in);
    (void)snprintf(in->run->error, sizeof(in->run->error), "killed after its timeout");
    cleanup_exited(in, false);
}

int cleanup_command_start(struct cleanup_inner *in, usec_t timeout)
{
    struct cleanup_command *c = &in->command;
    struct loop *l = in->engine->loop;
    int rc = child_start(&c->child, l, in->run->action->command, NULL, -1, on_exited);
    if (rc < 0)
        return rc;
    ev_now_update(l->ev);
    ev_timer_init(&c->late, on_late, (double)timeout / 1e6, 0.);
    ev_timer_start(l->ev, &c->late);
    return 0;
}
