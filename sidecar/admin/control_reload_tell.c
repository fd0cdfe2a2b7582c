/* control_reload_tell.c - what became of a reload: for the log, for who asked, for /v1/config. */
#include "admin/control_reload.h"

#include "admin/control.h"
#include "base/mem.h"

void reload_log_problems(const char *file, const struct config_problems *p)
{
    for (uint32_t i = 0; i < p->n; i++) {
        const struct config_problem *it = &p->items[i];
        char place[32] = "";
        if (it->line > 0) /* else it is the whole file */
            (void)snprintf(place, sizeof(place), ":%u:%u", it->line, it->column);
        log_line(it->warning ? LOG_WARN : LOG_ERROR, "%s%s: %s%s%s", file, place, it->path,
                 it->path[0] ? ": " : "", it->message);
    }
    if (p->dropped > 0)
        log_line(p->errors > 0 ? LOG_ERROR : LOG_WARN, "%s: %u more problems", file, p->dropped);
}

json_t *control_config_json(const struct control *c)
{
    json_t *o = config_state_json(&c->config);
    json_t *certificates = certificates_json(&c->certificates, c->snapshot->conf);
    json_t *jwt = jwks_json(&c->certificates.set.jwks, c->snapshot->conf, c->jwks_refresh);
    if (json_object_set_new(o, "certificates", certificates) == 0 &&
        json_object_set_new(o, "jwt", jwt) == 0)
        return o;
    json_decref(o);
    return NULL;
}

static void answer(struct reload_waiter *waiter, struct control *c, enum config_result result)
{
    struct http_request *req = waiter->request;
    free(waiter);
    if (!req)
        return;
    req->on_gone = NULL;
    json_t *o = control_config_json(c);
    (void)json_object_set_new(o, "result", json_string(config_result_word(result)));
    if (result == CONFIG_REFUSED) {
        json_t *error = json_object_get(o, "last_error");
        (void)json_object_set_new(o, "type", json_string("about:blank"));
        (void)json_object_set_new(o, "title", json_string("Configuration refused"));
        (void)json_object_set_new(o, "status", json_integer(422));
        (void)json_object_set_new(o, "code", json_string("configuration_refused"));
        (void)json_object_set(o, "problems", json_object_get(error, "problems"));
    }
    char *text = json_dumps(o, JSON_INDENT(1) | JSON_REAL_PRECISION(6));
    json_decref(o);
    if (!text)
        http_reply_problem(req, 503, "out_of_memory", NULL);
    else if (result == CONFIG_REFUSED)
        http_reply(req, 422, "application/problem+json", text, strlen(text));
    else
        http_reply(req, 200, "application/json", text, strlen(text));
    free(text);
}

/* Takes the problems over. */
void reload_note_try(struct control *c, enum config_result result, struct config_problems *p)
{
    struct reload *r = c->reload;
    struct config_state *s = &c->config;
    struct config_try t = {
        .trigger = r->trigger,
        .result = result,
        .wall = clock_wall(),
        .took = clock_mono() - r->began,
    };
    memcpy(t.sha256, r->job.sha256, sizeof(t.sha256));
    s->last = t;
    if (!r->first)
        s->tries[result]++;
    if (r->watch)
        config_watch_seen(r->watch,
                          r->source == CONFIG_FROM_FILE ? r->job.sha256 : s->error.sha256);
    s->last_ok = result != CONFIG_REFUSED && r->source == CONFIG_FROM_FILE;
    if (result != CONFIG_REFUSED && !s->last_ok)
        return; /* a stand-in: what is wrong with the file stays told */
    config_problems_free(&s->problems);
    s->error = (struct config_try){0};
    if (result == CONFIG_REFUSED) {
        s->error = t;
        s->problems = *p;
        *p = (struct config_problems){0};
    }
}

void reload_tell_waiters(struct control *c, enum config_result result)
{
    struct reload *r = c->reload;
    while (r->waiters) {
        struct reload_waiter *w = r->waiters;
        r->waiters = w->next;
        answer(w, c, result);
    }
}

static void on_waiter_gone(struct http_request *req)
{
    struct reload_waiter *w = req->user;
    w->request = NULL;
}

bool reload_add_waiter(struct reload_waiter **list, struct http_request *req)
{
    struct reload_waiter *w = mem_zalloc(sizeof(*w));
    if (!w) {
        http_reply_problem(req, 503, "out_of_memory", NULL);
        return false;
    }
    w->request = req;
    req->user = w;
    req->on_gone = on_waiter_gone;
    while (*list)
        list = &(*list)->next;
    *list = w;
    return true;
}
