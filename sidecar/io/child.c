/* child.c - a command that runs beside us. */
#include "io/child.h"

#include "base/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

/* ---- starting ---- */

static int set_files(posix_spawn_file_actions_t *files, int out)
{
    int rc = posix_spawn_file_actions_addopen(files, 0, "/dev/null", O_RDONLY, 0);
    if (rc == 0 && out >= 0)
        rc = posix_spawn_file_actions_adddup2(files, out, 2);
    if (rc == 0)
        rc = posix_spawn_file_actions_adddup2(files, 2, 1);
    if (rc == 0)
        rc = posix_spawn_file_actions_addclosefrom_np(files, 3);
    return rc;
}

static int set_signals_and_group(posix_spawnattr_t *how)
{
    sigset_t none, all;
    (void)sigemptyset(&none);
    (void)sigfillset(&all);
    int rc = posix_spawnattr_setflags(how, POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGMASK |
                                               POSIX_SPAWN_SETSIGDEF);
    if (rc == 0)
        rc = posix_spawnattr_setpgroup(how, 0);
    if (rc == 0)
        rc = posix_spawnattr_setsigmask(how, &none);
    if (rc == 0)
        rc = posix_spawnattr_setsigdefault(how, &all);
    return rc;
}

static int spawn(char *const *command, char *const *env, int out, pid_t *ret)
{
    posix_spawn_file_actions_t files;
    posix_spawnattr_t how;
    int rc = posix_spawn_file_actions_init(&files);
    if (rc != 0)
        return -rc;
    rc = posix_spawnattr_init(&how);
    if (rc != 0) {
        (void)posix_spawn_file_actions_destroy(&files);
        return -rc;
    }
    rc = set_files(&files, out);
    if (rc == 0)
        rc = set_signals_and_group(&how);
    if (rc == 0)
        rc = posix_spawnp(ret, command[0], &files, &how, command, env ? env : environ);
    (void)posix_spawnattr_destroy(&how);
    (void)posix_spawn_file_actions_destroy(&files);
    return -rc;
}

/* ---- killed ---- */

/* It may take its time all the same. */
struct killed {
    struct list link; /* on loop.killed */
    struct loop *loop;
    struct ev_io ended; /* its pidfd */
    pid_t pid;
};

static void killed_free(struct killed *k)
{
    ev_io_stop(k->loop->ev, &k->ended);
    (void)close(k->ended.fd);
    free(k);
}

static void on_killed(struct ev_loop *ev, struct ev_io *io, int events)
{
    struct killed *k = CONTAINER_OF(io, struct killed, ended);
    (void)ev;
    (void)events;
    if (waitpid(k->pid, NULL, WNOHANG) == 0)
        return;
    list_remove(&k->link);
    killed_free(k);
}

void child_forget_killed(struct loop *l)
{
    struct list *it;
    while ((it = list_pop(&l->killed)) != NULL)
        killed_free(LIST_ENTRY(it, struct killed, link));
}

/* Without memory for it, it stays a zombie until we end. */
static void reap_later(struct loop *l, pid_t pid, int pidfd)
{
    struct killed *k = mem_zalloc(sizeof(*k));
    if (!k) {
        (void)close(pidfd);
        return;
    }
    k->loop = l;
    k->pid = pid;
    ev_io_init(&k->ended, on_killed, pidfd, EV_READ);
    ev_io_start(l->ev, &k->ended);
    list_push_back(&l->killed, &k->link);
}

static void kill_all(pid_t pid)
{
    (void)kill(-pid, SIGKILL);
    (void)kill(pid, SIGKILL);
}

void child_kill(struct child *c)
{
    if (c->pid == 0)
        return;
    int pidfd = c->exited.fd;
    ev_io_stop(c->loop->ev, &c->exited);
    kill_all(c->pid);
    if (waitpid(c->pid, NULL, WNOHANG) == 0)
        reap_later(c->loop, c->pid, pidfd);
    else
        (void)close(pidfd);
    c->pid = 0;
}

/* ---- while it runs ---- */

static void on_exited(struct ev_loop *ev, struct ev_io *io, int events)
{
    struct child *c = CONTAINER_OF(io, struct child, exited);
    int status = 0;
    (void)events;
    pid_t pid = waitpid(c->pid, &status, WNOHANG);
    if (pid == 0)
        return;
    (void)kill(-c->pid, SIGKILL);
    ev_io_stop(ev, &c->exited);
    (void)close(c->exited.fd);
    c->pid = 0;
    c->fn(c, pid > 0 ? status : -1);
}

int child_start(struct child *c, struct loop *l, char *const *command, char *const *env, int out,
                void (*fn)(struct child *c, int status))
{
    pid_t pid = -1;
    int rc = spawn(command, env, out, &pid);
    if (rc < 0)
        return rc;
    int pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
    if (pidfd < 0) {
        rc = -errno;
        kill_all(pid);
        (void)waitpid(pid, NULL, WNOHANG);
        return rc;
    }
    c->loop = l;
    c->pid = pid;
    c->fn = fn;
    ev_io_init(&c->exited, on_exited, pidfd, EV_READ);
    ev_io_start(l->ev, &c->exited);
    return 0;
}
