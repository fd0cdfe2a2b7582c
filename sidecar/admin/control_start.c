/* control_start.c - the configuration of the start: the file, or what stands in for a bad one. And
 * the copy of the text in force that the supervisor holds, for the start after a crash. */
#include "admin/control_reload.h"

#include "admin/control.h"
#include "base/mem.h"
#include "config/last_good.h"
#include "lifecycle/held_text.h"

#include <stdlib.h>

/* The supervisor's word for the text in force. */
static const char memory_name[] = "sluice:configuration";

/* For the serving process that comes after us should we crash, while the file is bad. */
void reload_hold_in_memory(struct control *c)
{
    const struct config_job *j = &c->reload->job;
    if (held_text_put(c->channel, memory_name, j->text, j->n) < 0)
        log_warn("the supervisor does not hold the configuration: after a crash the file must be "
                 "good");
}

static bool build_from(struct reload *r, enum config_source source, char *text, size_t n)
{
    struct config_job *j = &r->job;
    free(j->text);
    j->text = text;
    j->n = n;
    config_digest(text, n, j->sha256);
    config_problems_free(&j->problems);
    tls_set_free(&j->tls);
    config_job_build(j);
    r->source = source;
    return j->conf != NULL;
}

/* The file is bad: what was good last stands in for it. `held`: what the supervisor held, NULL:
 * nothing; it is taken over. */
static bool load_stand_in(struct control *c, char *held, size_t n)
{
    struct reload *r = c->reload;
    int error = 0;
    if (held && build_from(r, CONFIG_FROM_MEMORY, held, n)) {
        log_error("%s is bad: the configuration that was in force before the crash is taken",
                  c->config.file);
        return true;
    }
    if (!c->last_good)
        return false;
    char *text = last_good_load(c->last_good, &n, &error);
    if (!text) {
        log_error("no last good copy in %s: %s", c->last_good, strerror(-error));
        return false;
    }
    if (!build_from(r, CONFIG_FROM_LAST_GOOD, text, n)) {
        log_error("the last good copy in %s is bad too", c->last_good);
        reload_log_problems(c->config.file, &r->job.problems);
        return false;
    }
    log_error("%s is bad: the last good copy in %s is taken", c->config.file, c->last_good);
    return true;
}

static bool keep_restart_settings(struct reload *r, const struct conf *conf)
{
    r->at_start_arena = arena_new();
    return r->at_start_arena &&
           settings_copy(r->at_start_arena, conf->restart, &r->at_start.restart);
}

bool control_load(struct control *c)
{
    struct reload *r = c->reload = mem_zalloc(sizeof(*r));
    struct config_problems file_problems = {0};
    if (!r)
        return false;
    list_init(&c->generations);
    reload_connect(c);
    r->first = true;
    r->trigger = CONFIG_AT_START;
    r->began = clock_mono();
    r->job.file = c->config.file;
    r->job.lenient = channel_restarted();
    config_job_load(&r->job);
    size_t held_n = 0;
    char *held = held_text_take(memory_name, &held_n);
    if (!channel_restarted()) {
        free(held);
        held = NULL;
    }
    /* A crash must not bring down what a reload had refused: there is a stand-in for this, too. */
    if (r->job.conf && held && control_open_listeners(c, r->job.conf, &r->job.problems) < 0)
        r->job.conf = config_free(r->job.conf);
    config_problems_print(&r->job.problems, c->config.file, STDERR_FILENO);
    if (!r->job.conf) {
        file_problems = r->job.problems;
        r->job.problems = (struct config_problems){0};
        c->config.error = (struct config_try){
            .trigger = CONFIG_AT_START, .result = CONFIG_REFUSED, .wall = clock_wall()};
        memcpy(c->config.error.sha256, r->job.sha256, sizeof(r->job.sha256));
    }
    bool good = r->job.conf != NULL;
    if (good)
        free(held);
    else
        good = load_stand_in(c, held, held_n);
    if (!good) {
        config_problems_free(&file_problems);
        return false;
    }
    reload_log_problems(c->config.file, &r->job.tls_problems);
    c->config.problems = file_problems;
    c->config.last_ok = r->source == CONFIG_FROM_FILE;
    c->config.last = (struct config_try){.trigger = CONFIG_AT_START, .wall = clock_wall()};
    c->snapshot = snapshot_new(r->job.conf, 1);
    if (!c->snapshot || !keep_restart_settings(r, r->job.conf))
        return false;
    r->job.conf = NULL;
    return true;
}
