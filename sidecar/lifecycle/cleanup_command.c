/* cleanup_command.c - a release that is a command: started, watched by its pidfd, and killed with
 * its process group when its time is over. */
#include "lifecycle/cleanup_parts.h"

#include "base/check.h"
#include "base/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

/* Its output goes where ours goes; nothing is open in it but the three. */
static int spawn(char *const *command, pid_t *ret)
{
    posix_spawn_file_actions_t files;
    posix_spawnattr_t how;
    sigset_t none, all;
    int rc = posix_spawn_file_actions_init(&files);
    if (rc != 0)
        return -rc;
    rc = posix_spawnattr_init(&how);
    if (rc != 0) {
        (void)posix_spawn_file_actions_destroy(&files);
        return -rc;
    }
    (void)sigemptyset(&none);
    (void)sigfillset(&all);
    rc = posix_spawn_file_actions_addopen(&files, 0, "/dev/null", O_RDONLY, 0);
    if (rc == 0)
        rc = posix_spawn_file_actions_adddup2(&files, 2, 1);
    if (rc == 0)
        rc = posix_spawn_file_actions_addclosefrom_np(&files, 3);
    if (rc == 0)
        rc = posix_spawnattr_setflags(&how, POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGMASK |
                                                POSIX_SPAWN_SETSIGDEF);
    if (rc == 0)
        rc = posix_spawnattr_setpgroup(&how, 0);
    if (rc == 0)
        rc = posix_spawnattr_setsigmask(&how, &none);
    if (rc == 0)
        rc = posix_spawnattr_setsigdefault(&how, &all);
    if (rc == 0)
        rc = posix_spawnp(ret, command[0], &files, &how, command, environ);
    (void)posix_spawnattr_destroy(&how);
    (void)posix_spawn_file_actions_destroy(&files);
    return -rc;
}

static void stop_watching(struct cleanup_inner *in)
{
    struct cleanup_command *c = &in->command;
    ev_timer_stop(in->engine->loop->ev, &c->late);
    ev_io_stop(in->engine->loop->ev, &c->exited);
    if (c->pidfd >= 0)
        (void)close(c->pidfd);
    c->pidfd = -1;
    c->pid = 0;
}

/* --- killed ------------------------------------------------------------------------------- */

/* It may take its time all the same: one that hangs in the kernel (a umount whose server is gone)
 * ends when that lets go of it. Nobody waits for it but this. */
struct killed {
    struct list link;
    struct cleanup_engine *engine;
    struct ev_io ended; /* its pidfd */
    pid_t pid;
};

static void killed_free(struct killed *k)
{
    ev_io_stop(k->engine->loop->ev, &k->ended);
    (void)close(k->ended.fd);
    list_remove(&k->link);
    free(k);
}

static void on_killed(struct ev_loop *ev, struct ev_io *io, int events)
{
    struct killed *k = CONTAINER_OF(io, struct killed, ended);
    (void)ev;
    (void)events;
    if (waitpid(k->pid, NULL, WNOHANG) != 0)
        killed_free(k);
}

void cleanup_command_forget(struct cleanup_engine *e)
{
    LIST_FOREACH_SAFE (it, &e->killed)
        killed_free(LIST_ENTRY(it, struct killed, link));
}

/* Where that cannot be had it stays a zombie until we end. */
static void reap_later(struct cleanup_inner *in)
{
    struct cleanup_command *c = &in->command;
    struct killed *k = c->pidfd >= 0 ? mem_zalloc(sizeof(*k)) : NULL;
    if (!k)
        return;
    k->engine = in->engine;
    k->pid = c->pid;
    ev_io_init(&k->ended, on_killed, c->pidfd, EV_READ);
    c->pidfd = -1;
    ev_io_stop(in->engine->loop->ev, &c->exited);
    ev_io_start(in->engine->loop->ev, &k->ended);
    list_push_back(&in->engine->killed, &k->link);
}

void cleanup_command_kill(struct cleanup_inner *in)
{
    struct cleanup_command *c = &in->command;
    if (c->pid == 0)
        return;
    (void)kill(-c->pid, SIGKILL);
    (void)kill(c->pid, SIGKILL);
    if (waitpid(c->pid, NULL, WNOHANG) == 0)
        reap_later(in);
    stop_watching(in);
}

/* --- while it runs ------------------------------------------------------------------------ */

static void on_exited(struct ev_loop *ev, struct ev_io *io, int events)
{
    struct cleanup_inner *in = CONTAINER_OF(io, struct cleanup_inner, command.exited);
    int status = 0;
    (void)ev;
    (void)events;
    pid_t pid = waitpid(in->command.pid, &status, WNOHANG);
    if (pid == 0)
        return;
    /* What it has left behind in its group goes with it. */
    (void)kill(-in->command.pid, SIGKILL);
    stop_watching(in);
    if (pid < 0)
        (void)snprintf(in->run->error, sizeof(in->run->error), "its exit code was not learned");
    else if (WIFSIGNALED(status))
        (void)snprintf(in->run->error, sizeof(in->run->error), "ended by signal %d",
                       WTERMSIG(status));
    else if (WEXITSTATUS(status) != 0)
        (void)snprintf(in->run->error, sizeof(in->run->error), "exit code %d", WEXITSTATUS(status));
    cleanup_exited(in, pid > 0 && WIFEXITED(status) && WEXITSTATUS(status) == 0);
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
    struct ev_loop *ev = in->engine->loop->ev;
    pid_t pid = -1;
    int rc = spawn(in->run->action->command, &pid);
    if (rc < 0)
        return rc;
    c->pid = pid;
    c->pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
    ev_timer_init(&c->late, on_late, (double)timeout / 1e6, 0.);
    if (c->pidfd < 0) {
        rc = -errno;
        cleanup_command_kill(in);
        return rc;
    }
    ev_now_update(ev);
    ev_io_init(&c->exited, on_exited, c->pidfd, EV_READ);
    ev_io_start(ev, &c->exited);
    ev_timer_start(ev, &c->late);
    return 0;
}
