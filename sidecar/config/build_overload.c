/* build_overload.c - stages of overload: thresholds in order, and what has no effect. */
#include "config/builder.h"

#include "config/lint.h"
#include "config/problems.h"

static const char *const stage_keys[OVERLOAD_STAGES] = {
    [OVERLOAD_NO_KEEP_ALIVE] = "noKeepAlive",
    [OVERLOAD_REFUSE_LOW] = "refuseLow",
    [OVERLOAD_NO_CONNECTIONS] = "noConnections",
};

/* The map of a signal's thresholds; NULL: it is not given. */
static const struct yaml_node *map_of(const struct yaml_node *node, enum overload_signal s)
{
    static const char *const keys[OVERLOAD_SIGNALS] = {
        [OVERLOAD_MEMORY] = "memory",      [OVERLOAD_FDS] = "fds",
        [OVERLOAD_PRESSURE_SOME] = "some", [OVERLOAD_PRESSURE_FULL] = "full",
        [OVERLOAD_LOOP_LAG] = "loopLag",
    };
    bool stall = s == OVERLOAD_PRESSURE_SOME || s == OVERLOAD_PRESSURE_FULL;
    return yaml_get(stall ? yaml_get(node, "pressure") : node, keys[s]);
}

static char *threshold_text(enum overload_signal s, const struct yaml_node *node, uint64_t v,
                            char *out)
{
    return s == OVERLOAD_LOOP_LAG ? builder_duration(node, v, out) : builder_number(node, v, out);
}

/* Those that are not 0 do not fall. */
static void check_order(struct builder *b, enum overload_signal signal,
                        const struct overload_thresholds *t, const struct yaml_node *map)
{
    int before = OVERLOAD_NONE;
    for (int s = OVERLOAD_NONE + 1; s < OVERLOAD_STAGES; s++) {
        if (t->at[s] == 0 || !builder_sound(map, stage_keys[s]))
            continue;
        if (before != OVERLOAD_NONE && t->at[before] > t->at[s]) {
            const struct yaml_node *low = yaml_get(map, stage_keys[before]),
                                   *high = yaml_get(map, stage_keys[s]);
            char low_text[PROBLEM_QUOTE_MAX], high_text[PROBLEM_QUOTE_MAX];
            problem_at(b->problems, high ? high : low, "%s %s is more than %s %s",
                       stage_keys[before], threshold_text(signal, low, t->at[before], low_text),
                       stage_keys[s], threshold_text(signal, high, t->at[s], high_text));
        }
        before = s;
    }
}

void build_overload(struct builder *b)
{
    struct overload_rules *r = &b->conf->overload;
    const struct yaml_node *node = yaml_get(b->root, "overload");
    for (int i = 0; i < OVERLOAD_SIGNALS; i++) {
        struct overload_thresholds *t = &r->signal[i];
        check_order(b, (enum overload_signal)i, t, map_of(node, (enum overload_signal)i));
        for (int s = 0; s < OVERLOAD_STAGES && i != OVERLOAD_LOOP_LAG; s++)
            t->at[s] *= OVERLOAD_PPM / 100;
    }
    /* The application is in our group then, and may use most of it for good. */
    if (b->conf->app.n_command > 0 && !map_of(node, OVERLOAD_MEMORY))
        r->signal[OVERLOAD_MEMORY] = (struct overload_thresholds){{0}};
}

/* ---- what has no effect ---- */

static bool any_low(const struct conf *c)
{
    for (uint32_t i = 0; i < c->n_listeners; i++) {
        for (uint32_t j = 0; j < c->listeners[i].n_routes; j++) {
            if (c->listeners[i].routes[j].priority == PRIORITY_LOW)
                return true;
        }
    }
    return false;
}

/* It would begin with the stage below it, or does nothing else. */
static void check_refuse_low(struct builder *b, const struct overload_thresholds *t,
                             const struct yaml_node *map)
{
    const struct yaml_node *it = yaml_get(map, stage_keys[OVERLOAD_REFUSE_LOW]);
    if (it && t->at[OVERLOAD_REFUSE_LOW] > 0 && t->at[OVERLOAD_NO_KEEP_ALIVE] > 0 &&
        !any_low(b->conf))
        warning_at(b->problems, it, "has no effect: no route has priority: low");
}

void lint_overload(struct builder *b)
{
    const struct overload_rules *r = &b->conf->overload;
    const struct yaml_node *node = yaml_get(b->root, "overload");
    static const char *const times[] = {"hold", "hysteresis", "dryRun"};
    bool any = false;
    for (int i = 0; i < OVERLOAD_SIGNALS; i++) {
        enum overload_signal s = (enum overload_signal)i;
        const struct yaml_node *map = map_of(node, s);
        bool looks = overload_looks_at(r, s),
             by_default = s == OVERLOAD_MEMORY || s == OVERLOAD_FDS;
        any = any || looks;
        if (map && !looks && !by_default)
            warning_at(b->problems, map, "has no effect: all thresholds are 0");
        check_refuse_low(b, &r->signal[s], map);
    }
    for (size_t i = 0; i < ARRAY_LEN(times) && !any; i++) {
        const struct yaml_node *it = yaml_get(node, times[i]);
        if (it)
            warning_at(b->problems, it, "has no effect: all thresholds are 0");
    }
}
