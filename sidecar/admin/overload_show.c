/* overload_show.c - overload, for the metrics and for /v1/status. */
#include "admin/control.h"
#include "admin/exposition.h"

#include "proxy/stats.h"

typedef unsigned long long ull;

static const char *const action_words[SHED_ACTIONS] = {
#define X(id, word) [SHED_##id] = (word),
    SHED_TABLE(X)
#undef X
};

static uint64_t shed(const struct control *c, int action, bool dry_run)
{
    uint64_t n = 0;
    for (uint32_t i = 0; i < c->process.n_workers; i++)
        n += count_read(&c->workers[i].stats.shed[action][dry_run]);
    return n;
}

void metrics_overload(struct exposition *t, const struct control *c)
{
    const struct overload_watch *w = &c->overload;
    const struct overload_rules *r = &c->snapshot->conf->overload;
    metric_family(t, "overload_stage", "gauge",
                  "0: none, 1: no keep-alive, 2: low priority refused, 3: no new connections.");
    metric_put(t, "sluice_overload_stage %d\n", (int)w->state.stage);
    metric_family(t, "overload_dry_run", "gauge", "1: stages are told, and nothing is shed.");
    metric_put(t, "sluice_overload_dry_run %d\n", r->dry_run);
    metric_family(t, "overload_signal_stage", "gauge", "The stage that a signal brings.");
    for (int s = 0; s < OVERLOAD_SIGNALS; s++)
        metric_put(t, "sluice_overload_signal_stage{signal=\"%s\"} %d\n",
                   overload_signal_word((enum overload_signal)s), (int)w->state.signal[s].stage);
    metric_family(
        t, "overload_pressure", "gauge",
        "How near a signal is to its limit, 0 to 1; of the lag, to its highest threshold.");
    for (int s = 0; s < OVERLOAD_SIGNALS; s++) {
        if (w->state.signal[s].last.known)
            metric_put(t, "sluice_overload_pressure{signal=\"%s\"} %.6f\n",
                       overload_signal_word((enum overload_signal)s),
                       (double)overload_pressure(&w->state, r, (enum overload_signal)s) /
                           OVERLOAD_PPM);
    }
    metric_family(t, "overload_begun_total", "counter", "How often a stage began.");
    for (int s = OVERLOAD_NONE + 1; s < OVERLOAD_STAGES; s++)
        metric_put(t, "sluice_overload_begun_total{stage=\"%s\"} %llu\n",
                   overload_stage_word((enum overload_stage)s), (ull)w->begun[s]);
    metric_family(t, "overload_shed_total", "counter",
                  "Connections and requests that were shed, or would have been (dry_run).");
    for (int a = 0; a < SHED_ACTIONS; a++) {
        for (int dry = 0; dry < 2; dry++)
            metric_put(t, "sluice_overload_shed_total{action=\"%s\",dry_run=\"%s\"} %llu\n",
                       action_words[a], dry ? "true" : "false", (ull)shed(c, a, dry));
    }
}

static json_t *signal_json(const struct control *c, enum overload_signal s)
{
    const struct overload_watch *w = &c->overload;
    const struct overload_rules *r = &c->snapshot->conf->overload;
    const struct overload_signal_state *state = &w->state.signal[s];
    if (!state->last.known)
        return json_null();
    json_t *o = json_object();
    (void)json_object_set_new(o, "stage", json_string(overload_stage_word(state->stage)));
    (void)json_object_set_new(o, "pressure",
                              json_real((double)overload_pressure(&w->state, r, s) / OVERLOAD_PPM));
    if (w->amounts[s].limit > 0) {
        (void)json_object_set_new(o, "used", json_integer((json_int_t)w->amounts[s].used));
        (void)json_object_set_new(o, "limit", json_integer((json_int_t)w->amounts[s].limit));
    }
    if (s == OVERLOAD_LOOP_LAG)
        (void)json_object_set_new(o, "lag_us", json_integer((json_int_t)state->last.value));
    return o;
}

json_t *overload_json(const struct control *c)
{
    const struct overload_watch *w = &c->overload;
    json_t *o = json_object(), *signals = json_object(), *sheds = json_object();
    (void)json_object_set_new(o, "stage", json_string(overload_stage_word(w->state.stage)));
    (void)json_object_set_new(o, "cause",
                              w->state.stage == OVERLOAD_NONE
                                  ? json_null()
                                  : json_string(overload_signal_word(w->state.cause)));
    (void)json_object_set_new(o, "dry_run", json_boolean(c->snapshot->conf->overload.dry_run));
    for (int s = 0; s < OVERLOAD_SIGNALS; s++)
        (void)json_object_set_new(signals, overload_signal_word((enum overload_signal)s),
                                  signal_json(c, (enum overload_signal)s));
    (void)json_object_set_new(o, "signals", signals);
    for (int a = 0; a < SHED_ACTIONS; a++)
        (void)json_object_set_new(sheds, action_words[a],
                                  json_integer((json_int_t)shed(c, a, false)));
    (void)json_object_set_new(o, "shed", sheds);
    return o;
}
