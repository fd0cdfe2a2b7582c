/* child.h - a command that runs beside us: started without a shell, in a process group of its own,
 * and killed with it.
 *
 * It is watched by its pidfd: SIGCHLD is nobody's. On the loop that started it. */
#ifndef SLUICE_IO_CHILD_H
#define SLUICE_IO_CHILD_H

#include "io/loop.h"

#include <sys/types.h>

/* Embedded by who runs it; zeros: none runs. */
struct child {
    struct loop *loop;
    struct ev_io exited;
    pid_t pid; /* 0: none */
    void (*fn)(struct child *c, int status);
};

/* command: NULL at its end; the first is looked for in PATH. env: likewise, NULL: ours. Its input
 * is /dev/null; `out` is where both outputs go, -1: where ours go to. Nothing else is open in it. 0
 * or -errno. When it has ended `fn` comes, once and never from within: with waitpid()'s status, or
 * -1 where that was not learned. What it left behind in its group has been killed by then. */
int child_start(struct child *c, struct loop *l, char *const *command, char *const *env, int out,
                void (*fn)(struct child *c, int status));

/* With its group; `fn` does not come. One that hangs in the kernel (a umount whose server is gone)
 * ends when that lets go of it, and nobody waits. Harmless where none runs. */
void child_kill(struct child *c);

/* loop.c: those that were killed and have not ended are left to whoever outlives us. */
void child_forget_killed(struct loop *l);

#endif
