/* overload_watch.c - reading what overload is measured by, and telling the workers. */
#include "admin/control.h"

#include "proxy/upstream_shared.h"
#include "proxy/worker_overload.h"

#include <dirent.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/stat.h>

#define LOOK_EVERY .25 /* seconds */

/* --- readings --- */

static struct overload_reading share(const struct overload_amount *a)
{
    if (a->limit == 0)
        return (struct overload_reading){0};
    double ppm = (double)a->used / (double)a->limit * OVERLOAD_PPM;
    return (struct overload_reading){true, ppm < OVERLOAD_PPM ? (uint64_t)ppm : OVERLOAD_PPM};
}

static struct overload_amount memory_of(const struct overload_watch *w)
{
    struct cgroup_usage u = {0};
    if (!w->memory || !cgroup_memory_usage(w->memory, &u))
        return (struct overload_amount){0};
    return (struct overload_amount){u.used, u.limit};
}

/* Only counted where it is cheap: a list of 20,000 takes milliseconds. */
static uint32_t count_fds(void)
{
    DIR *d = opendir("/proc/self/fd");
    uint32_t n = 0;
    while (d && readdir(d))
        n++;
    if (d)
        (void)closedir(d);
    return n > 3 ? n - 3 : 0; /* ".", "..", and the directory's own */
}

/* Linux 6.2 and later count for us; else it is what we know of. */
static uint64_t fds_open(const struct control *c)
{
    struct stat st;
    if (stat("/proc/self/fd", &st) == 0 && st.st_size > 0)
        return (uint64_t)st.st_size;
    uint64_t n = c->overload.other_fds + atomic_load(&c->process.connections);
    for (uint32_t i = 0; i < c->snapshot->conf->n_upstreams; i++)
        n += atomic_load(&c->generation->upstreams[i]->connections);
    return n;
}

static struct overload_amount fds_of(const struct control *c)
{
    struct rlimit r;
    if (getrlimit(RLIMIT_NOFILE, &r) < 0 || r.rlim_cur == RLIM_INFINITY)
        return (struct overload_amount){0};
    return (struct overload_amount){fds_open(c), r.rlim_cur};
}

static struct overload_reading lag_of(const struct control *c, usec_t now)
{
    struct overload_reading r = {.known = true};
    for (uint32_t i = 0; i < c->process.n_workers; i++)
        r.value = max_u64(r.value, control_loop_lag(c, i, now));
    return r;
}

static void read_all(struct control *c, struct overload_reading out[OVERLOAD_SIGNALS], usec_t now)
{
    struct overload_watch *w = &c->overload;
    const struct overload_rules *r = &c->snapshot->conf->overload;
    uint32_t some = 0, full = 0;
    bool stall = overload_looks_at(r, OVERLOAD_PRESSURE_SOME) ||
                 overload_looks_at(r, OVERLOAD_PRESSURE_FULL);
    bool known = stall && w->memory && cgroup_memory_pressure(w->memory, &some, &full);
    w->amounts[OVERLOAD_MEMORY] = memory_of(w);
    w->amounts[OVERLOAD_FDS] = fds_of(c);
    out[OVERLOAD_MEMORY] = share(&w->amounts[OVERLOAD_MEMORY]);
    out[OVERLOAD_FDS] = share(&w->amounts[OVERLOAD_FDS]);
    out[OVERLOAD_PRESSURE_SOME] = (struct overload_reading){known, some};
    out[OVERLOAD_PRESSURE_FULL] = (struct overload_reading){known, full};
    out[OVERLOAD_LOOP_LAG] = lag_of(c, now);
}

/* --- what follows --- */

/* "memory: 91.3 % of 64.0 MiB", "loop_lag: 1204 ms". */
static void describe(const struct overload_watch *w, char *out, size_t cap)
{
    enum overload_signal s = w->state.cause;
    const struct overload_reading *r = &w->state.signal[s].last;
    const char *word = overload_signal_word(s);
    double percent = (double)r->value * 100 / OVERLOAD_PPM;
    if (s == OVERLOAD_LOOP_LAG)
        (void)snprintf(out, cap, "%s: %llu ms", word,
                       (unsigned long long)(r->value / USEC_PER_MSEC));
    else if (s == OVERLOAD_MEMORY)
        (void)snprintf(out, cap, "%s: %.1f %% of %.1f MiB", word, percent,
                       (double)w->amounts[s].limit / (1 << 20));
    else if (s == OVERLOAD_FDS)
        (void)snprintf(out, cap, "%s: %.1f %% of %llu", word, percent,
                       (unsigned long long)w->amounts[s].limit);
    else
        (void)snprintf(out, cap, "%s: %.1f %% of the time", word, percent);
}

static void tell(const struct overload_watch *w, enum overload_stage was, bool dry_run)
{
    char cause[96];
    const char *dry = dry_run ? " (dryRun)" : "", *is = overload_stage_word(w->state.stage);
    if (w->state.stage == OVERLOAD_NONE) {
        log_info("overload%s: over", dry);
        return;
    }
    describe(w, cause, sizeof(cause));
    if (w->state.stage > was)
        log_warn("overload%s: stage %s (%s)", dry, is, cause);
    else
        log_info("overload%s: stage %s (%s)", dry, is, cause);
}

static void look(struct control *c)
{
    struct overload_watch *w = &c->overload;
    const struct overload_rules *r = &c->snapshot->conf->overload;
    struct overload_reading readings[OVERLOAD_SIGNALS];
    enum overload_stage was = w->state.stage;
    usec_t now = clock_mono();
    read_all(c, readings, now);
    if (overload_step(&w->state, r, readings, now))
        tell(w, was, r->dry_run);
    for (int s = (int)was + 1; s <= (int)w->state.stage; s++)
        w->begun[s]++;
    uint32_t word = overload_word(&w->state, r);
    if (word == atomic_load(&c->process.overload))
        return;
    atomic_store(&c->process.overload, word);
    for (uint32_t i = 0; i < c->process.n_workers; i++)
        worker_overload_changed(&c->workers[i]);
}

static void on_tick(struct ev_loop *ev, struct ev_timer *t, int events)
{
    struct control *c = CONTAINER_OF(t, struct control, overload.tick);
    (void)ev;
    (void)events;
    look(c);
    /* Else they are asked once a second. */
    if (overload_looks_at(&c->snapshot->conf->overload, OVERLOAD_LOOP_LAG))
        control_ping_workers(c, false);
}

void overload_watch_start(struct control *c)
{
    struct overload_watch *w = &c->overload;
    w->memory = cgroup_memory_open("");
    if (!w->memory)
        log_warn("overload: memory is not looked at: out of memory");
    w->other_fds = count_fds();
    ev_timer_init(&w->tick, on_tick, LOOK_EVERY, LOOK_EVERY);
    ev_timer_start(c->loop.ev, &w->tick);
    look(c);
}

void overload_watch_free(struct control *c)
{
    c->overload.memory = cgroup_memory_free(c->overload.memory);
}
