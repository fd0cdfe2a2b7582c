/* probe_exec.c - a command that says whether an endpoint is well: 0 of its exit. */
#include "healthcheck/probe_parts.h"

#include "base/mem.h"
#include "io/child.h"
#include "io/socket.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

enum {
    LINE_MAX_BYTES = 96, /* of what it says, for the log: its first line */
    OUTPUT_MAX = 64 * 1024,
    OWN_VARIABLES = 2,
};

struct probe_exec {
    struct probe *probe;
    struct child child;
    struct ev_io says; /* its output; fd -1: closed */
    uint32_t received, n;
    bool line_over;
    char line[LINE_MAX_BYTES];
    char env[OWN_VARIABLES][320];
};

/* ---- what it says ---- */

static void take_line(struct probe_exec *x, const char *p, size_t n)
{
    for (size_t i = 0; i < n && !x->line_over; i++) {
        unsigned char c = (unsigned char)p[i];
        x->line_over = c == '\n' || x->n + 1 == sizeof(x->line);
        if (!x->line_over) /* a log's line, whatever it writes */
            x->line[x->n++] = c < 0x20 || c > 0x7e ? '?' : (char)c;
    }
    x->line[x->n] = '\0';
}

static void hear_no_more(struct probe_exec *x)
{
    if (x->says.fd < 0)
        return;
    ev_io_stop(x->probe->loop->ev, &x->says);
    (void)close(x->says.fd);
    x->says.fd = -1;
}

/* False: there is no more for now. */
static bool hear(struct probe_exec *x)
{
    char bytes[4096];
    ssize_t n = read(x->says.fd, bytes, sizeof(bytes));
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return false;
    if (n > 0) {
        take_line(x, bytes, (size_t)n);
        x->received += (uint32_t)n;
    }
    if (n > 0 && x->received <= OUTPUT_MAX)
        return true;
    hear_no_more(x); /* who says more than that finds its pipe closed */
    return false;
}

static void on_says(struct ev_loop *ev, struct ev_io *io, int events)
{
    (void)ev;
    (void)events;
    (void)hear(CONTAINER_OF(io, struct probe_exec, says));
}

/* ---- its end ---- */

static void on_exited(struct child *c, int status)
{
    struct probe_exec *x = CONTAINER_OF(c, struct probe_exec, child);
    while (x->says.fd >= 0 && hear(x))
        ;
    hear_no_more(x);
    if (status == -1)
        probe_end(x->probe, CHECK_SOCKERR, 0, "its exit code was not learned");
    else if (WIFSIGNALED(status))
        probe_end(x->probe, CHECK_PROCERR, (unsigned)(128 + WTERMSIG(status)), "ended by a signal");
    else if (WEXITSTATUS(status) == 0)
        probe_end(x->probe, CHECK_PROCOK, 0, NULL);
    else
        probe_end(x->probe, CHECK_PROCERR, (unsigned)WEXITSTATUS(status), x->line);
}

/* ---- its beginning ---- */

static bool is_ours(const char *variable)
{
    return strncmp(variable, "SLUICE_UPSTREAM=", 16) == 0 ||
           strncmp(variable, "SLUICE_ENDPOINT=", 16) == 0;
}

/* Ours, and whom it is about. An array to be freed; its texts are not. */
static char **environment(struct probe_exec *x)
{
    const struct probe_target *to = x->probe->target;
    char address[ADDRESS_TEXT_MAX];
    size_t n = 0, k = 0;
    while (environ[n])
        n++;
    char **env = mem_zalloc((n + OWN_VARIABLES + 1) * sizeof(char *));
    if (!env)
        return NULL;
    for (size_t i = 0; i < n; i++) {
        if (!is_ours(environ[i]))
            env[k++] = environ[i];
    }
    (void)snprintf(x->env[0], sizeof(x->env[0]), "SLUICE_UPSTREAM=%.*s", STR_FMT(to->upstream));
    (void)snprintf(x->env[1], sizeof(x->env[1]), "SLUICE_ENDPOINT=%s",
                   address_format(to->address, address));
    for (size_t i = 0; i < OWN_VARIABLES; i++)
        env[k++] = x->env[i];
    return env;
}

static int run(struct probe_exec *x, int out)
{
    const struct probe *p = x->probe;
    char *const *command = p->rules->command;
    char **env = environment(x);
    int rc = env ? child_start(&x->child, p->loop, command, env, out, on_exited) : -ENOMEM;
    free(env);
    return rc;
}

/* That there is no such program says that the check is wrong, and nothing of the endpoint; it is
 * told as what it is all the same, or nobody would look. What we are short of is no such thing. */
static void could_not(struct probe *p, int error)
{
    bool short_of = socket_error_is_ours(error) || error == EAGAIN; /* a process too many */
    probe_end(p, short_of ? CHECK_SOCKERR : CHECK_PROCERR, 0, strerror(error));
}

void probe_exec_start(struct probe *p)
{
    int ends[2];
    struct probe_exec *x = mem_zalloc(sizeof(*x));
    if (!x) {
        could_not(p, ENOMEM);
        return;
    }
    p->exec = x;
    x->probe = p;
    x->says.fd = -1;
    if (pipe2(ends, O_CLOEXEC) < 0) {
        could_not(p, errno);
        return;
    }
    (void)fcntl(ends[0], F_SETFL, O_NONBLOCK);
    ev_io_init(&x->says, on_says, ends[0], EV_READ);
    ev_io_start(p->loop->ev, &x->says);
    int rc = run(x, ends[1]);
    (void)close(ends[1]);
    if (rc < 0)
        could_not(p, -rc);
}

void probe_exec_end(struct probe *p)
{
    if (!p->exec)
        return;
    child_kill(&p->exec->child);
    hear_no_more(p->exec);
    free(p->exec);
    p->exec = NULL;
}
