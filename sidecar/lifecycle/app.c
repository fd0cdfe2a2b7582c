/* app.c - the application that this sidecar serves: when it is looked at, and who is told. */
#include "lifecycle/app.h"

#include "base/log.h"
#include "base/mem.h"
#include "io/loop.h"
#include "lifecycle/app_probe.h"
#include "lifecycle/app_process.h"

#include <errno.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

enum {
    APP_MAGIC = 0x41505021,
    GRACE_LOOKS = 8,           /* in one deathGrace, while in doubt */
    LOOK_DOUBT_MS = 125,       /* at most between them */
    LOOK_MS = 250,             /* else */
    LOOK_DISTURBING_MS = 5000, /* where a look is a connection to the application */
    PORTS_TOLD = 32,           /* of thousands that endpoints on loopback may be */
};

struct app {
    uint32_t magic;
    struct loop *loop;
    struct app_source source;
    struct app_events events;
    struct timer timer;
    struct ev_io io; /* of pidfd */
    int pidfd;       /* of the child, or of the process; -1: none, or it has ended */
    struct app_child child;
    struct app_process process; /* pid 0: it was not found */
    struct app_proof proof;
    struct app_settings *settings; /* NULL: not configured yet */
    enum app_state state;
    enum lease_proof last_proof; /* of APP_GONE */
    uint64_t ends[LEASE_PROOFS];
    uint64_t open; /* connections at the last look */
    enum app_probed ports;
    bool disturbed;
    bool stopped;
};

/* A copy of what is configured, in one piece. */
struct app_settings {
    usec_t grace;
    const char *process; /* NULL: none */
    uint32_t n;
    struct address at[];
};

const char *app_state_word(enum app_state s)
{
    static const char *const words[APP_STATES] = {"unknown", "alive", "doubtful", "gone"};
    return words[s];
}

const char *app_proof_word(enum lease_proof proof)
{
    static const char *const words[LEASE_PROOFS] = {"pidfd", "ports", "sigterm", "deadline"};
    return words[proof];
}

/* --- states --- */

static void set_gone(struct app *a, enum lease_proof proof)
{
    if (a->state == APP_GONE || a->stopped)
        return;
    struct app_sight s = {0};
    a->source.connections(a->source.ctx, &s.open, &s.opened);
    a->open = s.open;
    app_proof_gone(&a->proof, &s, clock_mono());
    a->state = APP_GONE;
    a->last_proof = proof;
    a->ends[proof]++;
    log_info("the application has gone: %s",
             proof == LEASE_PROOF_PIDFD     ? "its process has ended"
             : proof == LEASE_PROOF_PORTS   ? "its ports refuse, and no connection of it is open"
             : proof == LEASE_PROOF_SIGTERM ? "our SIGTERM follows its end"
                                            : "its time is over");
    a->events.gone(a->events.ctx, proof);
}

static void set_state(struct app *a, enum app_state s)
{
    enum app_state before = a->state;
    if (s == before || a->stopped)
        return;
    a->state = s;
    if (s == APP_DOUBTFUL)
        log_debug("the application: its ports refuse, and no connection of it is open");
    if (before == APP_GONE && s == APP_ALIVE) {
        log_info("the application is there again");
        a->events.back(a->events.ctx);
    }
}

/* --- its process --- */

static void unwatch(struct app *a)
{
    if (a->pidfd < 0)
        return;
    ev_io_stop(a->loop->ev, &a->io);
    (void)close(a->pidfd);
    a->pidfd = -1;
}

static void find_process(struct app *a, uint64_t before);
static void look_soon(struct app *a);

static void on_pidfd(struct ev_loop *ev, struct ev_io *io, int events)
{
    struct app *a = CONTAINER_OF(io, struct app, io);
    uint64_t now = app_process_ticks();
    (void)ev;
    (void)events;
    CHECK_OBJ(a, APP_MAGIC);
    unwatch(a);
    if (a->child.pid == 0) {
        /* Its workers are of the same application; who started later is another. */
        find_process(a, now);
        if (a->pidfd >= 0)
            return;
    }
    set_gone(a, LEASE_PROOF_PIDFD);
    look_soon(a);
}

/* Takes it. */
static void watch_pidfd(struct app *a, int fd)
{
    unwatch(a);
    a->pidfd = fd;
    ev_io_init(&a->io, on_pidfd, fd, EV_READ);
    ev_io_start(a->loop->ev, &a->io);
}

static void find_process(struct app *a, uint64_t before)
{
    struct app_process found;
    int fd = app_process_open(a->settings->process, before, &found);
    if (fd < 0) {
        a->process.pid = 0;
        return;
    }
    if (found.pid != a->process.pid || found.start != a->process.start)
        log_info("the application is process %d (%s)", (int)found.pid, a->settings->process);
    a->process = found;
    watch_pidfd(a, fd);
}

/* --- looks --- */

static void ask_ports(struct app *a, struct app_sight *s)
{
    const struct app_settings *set = a->settings;
    a->source.connections(a->source.ctx, &s->open, &s->opened);
    a->open = s->open;
    s->held = a->source.sigterm_follows(a->source.ctx);
    /* Who holds a connection lives, unless it is known to have gone; it need not be asked, but for
     * the first time: whether there are ports to prove its end by. */
    a->disturbed = false;
    if (s->open == 0 || a->state == APP_GONE || set->n == 0 || a->ports == APP_PROBE_NONE)
        a->ports = app_probe(set->at, set->n, &a->disturbed);
    s->ports = a->ports;
}

enum app_state app_look(struct app *a)
{
    struct app_sight s = {0};
    CHECK_OBJ(a, APP_MAGIC);
    if (!a->settings || a->stopped || a->child.pid != 0)
        return a->state;
    if (a->settings->process && a->pidfd < 0)
        find_process(a, 0);
    if (a->pidfd >= 0 && (a->state != APP_GONE || a->settings->n == 0)) {
        set_state(a, APP_ALIVE);
        return a->state;
    }
    ask_ports(a, &s);
    enum app_state next = app_proof_look(&a->proof, &s, a->settings->grace, clock_mono());
    if (next == APP_GONE)
        set_gone(a, LEASE_PROOF_PORTS);
    else if (next != APP_UNKNOWN || a->state != APP_GONE)
        set_state(a, next);
    return a->state;
}

static usec_t next_look(const struct app *a)
{
    usec_t doubt = min_u64(a->settings->grace / GRACE_LOOKS, LOOK_DOUBT_MS * USEC_PER_MSEC);
    /* All signs of life may be over already: opened since the look before, and closed again. */
    bool brief = a->state == APP_ALIVE && a->ports != APP_PROBE_ACCEPTS && a->open == 0;
    if (a->state == APP_DOUBTFUL || brief)
        return doubt;
    return (a->disturbed ? LOOK_DISTURBING_MS : LOOK_MS) * USEC_PER_MSEC;
}

static void on_timer(struct timer *t)
{
    struct app *a = CONTAINER_OF(t, struct app, timer);
    CHECK_OBJ(a, APP_MAGIC);
    (void)app_look(a);
    if (!a->stopped && a->child.pid == 0)
        timer_set(a->loop, t, clock_mono() + next_look(a));
}

static void look_soon(struct app *a)
{
    if (a->stopped || !a->settings)
        return;
    a->timer.at = 0;
    timer_set(a->loop, &a->timer, clock_mono());
}

/* --- our child --- */

void app_child_started(struct app *a, pid_t pid, int pidfd)
{
    CHECK_OBJ(a, APP_MAGIC);
    a->child = (struct app_child){.pid = pid};
    timer_stop(a->loop, &a->timer);
    if (a->stopped) {
        if (pidfd >= 0)
            (void)close(pidfd);
        return;
    }
    if (pidfd >= 0)
        watch_pidfd(a, pidfd);
    set_state(a, APP_ALIVE);
}

void app_child_ended(struct app *a, pid_t pid, int status, bool released)
{
    CHECK_OBJ(a, APP_MAGIC);
    timer_stop(a->loop, &a->timer);
    unwatch(a);
    a->child =
        (struct app_child){.pid = pid, .ended = true, .released = released, .status = status};
    set_gone(a, LEASE_PROOF_PIDFD);
}

const struct app_child *app_child_now(const struct app *a)
{
    return &a->child;
}

pid_t app_pid(const struct app *a)
{
    if (a->stopped)
        return 0;
    if (a->child.pid != 0)
        return a->child.ended ? 0 : a->child.pid;
    return a->pidfd >= 0 ? a->process.pid : 0;
}

/* --- what others know --- */

void app_acquires(struct app *a)
{
    if (a->settings && a->pidfd < 0 && (a->settings->process || a->state == APP_GONE))
        (void)app_look(a);
}

void app_sigterm(struct app *a)
{
    if (app_look(a) != APP_ALIVE)
        set_gone(a, LEASE_PROOF_SIGTERM);
}

void app_deadline(struct app *a)
{
    set_gone(a, LEASE_PROOF_DEADLINE);
}

void app_stop(struct app *a)
{
    CHECK_OBJ(a, APP_MAGIC);
    a->stopped = true;
    unwatch(a);
    timer_stop(a->loop, &a->timer);
}

enum app_state app_now(const struct app *a)
{
    return a->state;
}

uint64_t app_ends(const struct app *a, enum lease_proof proof)
{
    return a->ends[proof];
}

static json_t *ports_json(const struct app_settings *set)
{
    json_t *list = json_array();
    for (uint32_t i = 0; set && i < set->n && i < PORTS_TOLD; i++) {
        char text[ADDRESS_TEXT_MAX];
        (void)json_array_append_new(list, json_string(address_format(&set->at[i], text)));
    }
    return list;
}

static json_t *exit_json(const struct app_child *c)
{
    if (!c->ended)
        return json_null();
    return json_pack("{s:o, s:o, s:b}", "code",
                     WIFEXITED(c->status) ? json_integer(WEXITSTATUS(c->status)) : json_null(),
                     "signal",
                     WIFSIGNALED(c->status) ? json_integer(WTERMSIG(c->status)) : json_null(),
                     "by_sigterm", c->released);
}

json_t *app_json(const struct app *a)
{
    bool child = a->child.pid != 0 || a->child.ended;
    pid_t pid = child ? a->child.pid : a->pidfd >= 0 ? a->process.pid : 0;
    const char *known_by = child                                                   ? "child"
                           : a->settings && a->settings->process && a->process.pid ? "process"
                           : a->settings && a->settings->n                         ? "ports"
                                                                                   : "nothing";
    return json_pack(
        "{s:s, s:s, s:o, s:o, s:I, s:I, s:o, s:o}", "state", app_state_word(a->state), "known_by",
        known_by, "pid", pid > 0 ? json_integer(pid) : json_null(), "ports",
        ports_json(a->settings), "ports_total", (json_int_t)(a->settings ? a->settings->n : 0),
        "connections", (json_int_t)a->open, "proof",
        a->state == APP_GONE ? json_string(app_proof_word(a->last_proof)) : json_null(), "exit",
        exit_json(&a->child));
}

/* --- from its beginning to its end --- */

struct app *app_new(struct loop *loop, const struct app_source *source,
                    const struct app_events *events)
{
    struct app *a = mem_zalloc(sizeof(*a));
    if (!a)
        return NULL;
    a->magic = APP_MAGIC;
    a->loop = loop;
    a->source = *source;
    a->events = *events;
    a->pidfd = -1;
    app_proof_init(&a->proof);
    timer_init(&a->timer, on_timer);
    return a;
}

struct app *app_free(struct app *a)
{
    if (!a)
        return NULL;
    app_stop(a);
    free(a->settings);
    a->magic = 0;
    free(a);
    return NULL;
}

static bool same_process(const struct app_settings *old, const struct conf_app *conf)
{
    struct str before = old && old->process ? str_of(old->process) : STR_NONE;
    return str_eq(before, conf->process);
}

int app_configure(struct app *a, const struct conf_app *conf)
{
    CHECK_OBJ(a, APP_MAGIC);
    size_t addresses = conf->n_addresses * sizeof(struct address);
    struct app_settings *set = mem_zalloc(sizeof(*set) + addresses + conf->process.n + 1);
    if (!set)
        return -ENOMEM;
    set->grace = conf->death_grace;
    set->n = conf->n_addresses;
    if (set->n > 0)
        memcpy(set->at, conf->addresses, addresses);
    if (conf->process.n > 0) {
        char *name = (char *)set->at + addresses;
        memcpy(name, conf->process.p, conf->process.n);
        set->process = name;
    }
    if (a->child.pid == 0 && !same_process(a->settings, conf)) {
        unwatch(a);
        a->process = (struct app_process){0};
    }
    free(a->settings);
    a->settings = set;
    if (a->child.pid == 0)
        look_soon(a);
    return 0;
}
