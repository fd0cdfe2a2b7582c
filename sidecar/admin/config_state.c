/* config_state.c - which configuration is in force, and what became of the last try to change it.
 */
#include "admin/config_state.h"

#include "base/mem.h"
#include "base/utf8.h"

typedef unsigned long long ull;

const char *config_trigger_word(enum config_trigger t)
{
    static const char *const words[] = {
        [CONFIG_AT_START] = "start", [CONFIG_BY_SIGNAL] = "signal", [CONFIG_BY_ADMIN] = "admin",
        [CONFIG_BY_WATCH] = "watch", [CONFIG_BY_POLL] = "poll",
    };
    CHECK((size_t)t < ARRAY_LEN(words));
    return words[t];
}

const char *config_source_word(enum config_source s)
{
    static const char *const words[] = {
        [CONFIG_FROM_FILE] = "file",
        [CONFIG_FROM_LAST_GOOD] = "last-good",
        [CONFIG_FROM_MEMORY] = "memory",
    };
    CHECK((size_t)s < ARRAY_LEN(words));
    return words[s];
}

static const char *const results[] = {
    [CONFIG_APPLIED] = "applied",
    [CONFIG_UNCHANGED] = "unchanged",
    [CONFIG_REFUSED] = "refused",
};

const char *config_result_word(enum config_result r)
{
    CHECK((size_t)r < ARRAY_LEN(results));
    return results[r];
}

/* ---- JSON: each takes what it is given, and false says that memory is short ---- */

static bool set(json_t *o, const char *key, json_t *value)
{
    return json_object_set_new(o, key, value) == 0;
}

static bool set_count(json_t *o, const char *key, uint64_t n)
{
    return set(o, key, json_integer((json_int_t)n));
}

/* What quotes a file, or names one, can hold any bytes. */
static json_t *text_json(const char *text)
{
    char *clean = utf8_clean(str_of(text));
    json_t *o = clean ? json_string(clean) : NULL;
    free(clean);
    return o;
}

static json_t *time_json(usec_t wall)
{
    char text[CLOCK_RFC3339_LEN];
    if (wall == 0)
        return json_null();
    clock_format_rfc3339(wall, text);
    return json_string(text);
}

static json_t *digest_json(const char *sha256)
{
    return sha256[0] ? json_string(sha256) : json_null();
}

static json_t *millis_json(usec_t t)
{
    return json_real((double)t / 1e3);
}

static json_t *whole(json_t *o, bool ok)
{
    if (o && ok)
        return o;
    json_decref(o);
    return NULL;
}

static json_t *problem_json(const struct config_problem *p)
{
    json_t *o = json_object();
    bool ok = set_count(o, "line", p->line) && set_count(o, "column", p->column) &&
              set(o, "path", text_json(p->path)) && set(o, "message", text_json(p->message)) &&
              set(o, "severity", json_string(p->warning ? "warning" : "error"));
    return whole(o, ok);
}

json_t *config_problems_json(const struct config_problems *p)
{
    json_t *a = json_array();
    bool ok = true;
    for (uint32_t i = 0; ok && i < p->n; i++)
        ok = json_array_append_new(a, problem_json(&p->items[i])) == 0;
    return whole(a, ok);
}

static json_t *try_json(const struct config_try *t)
{
    json_t *o = json_object();
    bool ok = set(o, "trigger", json_string(config_trigger_word(t->trigger))) &&
              set(o, "result", json_string(config_result_word(t->result))) &&
              set(o, "time", time_json(t->wall)) && set(o, "took_ms", millis_json(t->took)) &&
              set(o, "sha256", digest_json(t->sha256));
    return whole(o, ok);
}

static json_t *error_json(const struct config_state *s)
{
    json_t *o;
    if (s->error.result != CONFIG_REFUSED)
        return json_null();
    o = json_object();
    bool ok = set(o, "time", time_json(s->error.wall)) &&
              set(o, "trigger", json_string(config_trigger_word(s->error.trigger))) &&
              set(o, "sha256", digest_json(s->error.sha256)) &&
              set(o, "problems", config_problems_json(&s->problems)) &&
              set_count(o, "dropped", s->problems.dropped);
    return whole(o, ok);
}

static json_t *pending_json(const struct config_state *s)
{
    json_t *a = json_array();
    bool ok = true;
    for (uint32_t i = 0; ok && i < s->n_pending; i++)
        ok = json_array_append_new(a, text_json(s->pending[i])) == 0;
    return whole(a, ok);
}

static json_t *reloads_json(const struct config_state *s)
{
    json_t *o = json_object();
    bool ok = true;
    for (size_t i = 0; i < ARRAY_LEN(results); i++)
        ok = ok && set_count(o, results[i], s->tries[i]);
    return whole(o, ok);
}

static json_t *swap_json(const struct config_state *s)
{
    json_t *o = json_object();
    bool ok = set(o, "last", millis_json(s->swap_last)) && set(o, "max", millis_json(s->swap_max));
    return whole(o, ok);
}

json_t *config_state_json(const struct config_state *s)
{
    json_t *o = json_object();
    bool ok = set_count(o, "generation", s->generation) &&
              set(o, "sha256", digest_json(s->sha256)) &&
              set(o, "file", text_json(s->file ? s->file : "")) &&
              set(o, "source", json_string(config_source_word(s->source))) &&
              set(o, "applied", time_json(s->applied_wall)) &&
              set_count(o, "generations_alive", s->generations) &&
              set_count(o, "oldest_generation", s->oldest) &&
              set(o, "pending_restart", pending_json(s)) &&
              set(o, "last_reload", try_json(&s->last)) && set(o, "last_error", error_json(s)) &&
              set(o, "reloads", reloads_json(s)) && set(o, "swap_ms", swap_json(s));
    return whole(o, ok);
}

/* ---- metrics ---- */

void config_state_metrics(const struct config_state *s, struct exposition *t)
{
    metric_family(t, "config_generation", "gauge", "Generation of the configuration in force.");
    metric_put(t, "sluice_config_generation %llu\n", (ull)s->generation);
    metric_family(t, "config_generations", "gauge",
                  "Generations that are alive: the one in force, and those that streams hold.");
    metric_put(t, "sluice_config_generations %llu\n", (ull)s->generations);
    metric_family(t, "config_last_reload_success", "gauge",
                  "1: the file is in force; 0: it was refused, or could not be read.");
    metric_put(t, "sluice_config_last_reload_success %d\n", s->last_ok);
    metric_family(t, "config_pending_restart", "gauge", "Keys whose change waits for a restart.");
    metric_put(t, "sluice_config_pending_restart %llu\n", (ull)s->n_pending);
    metric_family(t, "config_last_applied_timestamp_seconds", "gauge",
                  "When the configuration in force was taken.");
    metric_put(t, "sluice_config_last_applied_timestamp_seconds %.3f\n",
               (double)s->applied_wall / 1e6);
    metric_family(t, "config_reloads_total", "counter", "Reloads since the start, by result.");
    for (size_t i = 0; i < ARRAY_LEN(results); i++)
        metric_put(t, "sluice_config_reloads_total{result=\"%s\"} %llu\n", results[i],
                   (ull)s->tries[i]);
    metric_family(t, "config_swap_seconds_max", "gauge",
                  "Longest that a reload has held a worker's loop.");
    metric_put(t, "sluice_config_swap_seconds_max %.6f\n", (double)s->swap_max / 1e6);
}

void config_state_free(struct config_state *s)
{
    config_problems_free(&s->problems);
    for (uint32_t i = 0; i < s->n_pending; i++)
        free(s->pending[i]);
    free(s->pending);
    s->pending = NULL;
    s->n_pending = 0;
}
