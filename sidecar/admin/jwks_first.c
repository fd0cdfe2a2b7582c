/* jwks_first.c - the keys of issuers that are new, from their URLs. */
#include "admin/jwks_first.h"

#include "admin/jwks_fetch.h"
#include "base/check.h"
#include "base/mem.h"
#include "config/problems.h"

#include <stdio.h>

struct first {
    struct loop loop;
    struct curl_loop *curl;
    uint32_t running;
};

struct one {
    struct jwks_fetch fetch;
    struct first *of;
    const struct conf_jwt *conf; /* NULL: there is nothing to fetch */
};

static bool is_known(const struct conf *in_force, const struct conf_jwt *j)
{
    const struct conf_jwt *was = in_force ? conf_find_jwt(in_force, j->name) : NULL;
    return was && was->jwks_url.p && str_eq(was->jwks_url, j->jwks_url);
}

static void on_fetched(struct jwks_fetch *f)
{
    struct one *o = CONTAINER_OF(f, struct one, fetch);
    if (--o->of->running == 0)
        loop_stop(&o->of->loop);
}

static void begin(struct first *f, struct one *o, const struct conf *c)
{
    o->of = f;
    o->fetch.done = on_fetched;
    if (jwks_fetch_start(&o->fetch, f->curl, o->conf, c->allow_link_local) == 0)
        f->running++;
}

static void take(struct one *o, bool at_start, struct jwks_entry *e,
                 struct config_problems *problems)
{
    char where[48];
    if (o->fetch.keys) {
        e->keys = o->fetch.keys;
        e->state = JWKS_ENTRY_NEW;
        memcpy(e->digest, o->fetch.digest, sizeof(e->digest));
        return;
    }
    (void)snprintf(where, sizeof(where), "jwt[%u].jwks.url", o->conf->index);
    problem_add(problems, o->conf->jwks.line, o->conf->jwks.column, where, at_start,
                "the keys cannot be fetched: %s", o->fetch.why);
}

static void run(struct first *f, struct one *list, const struct conf *c)
{
    const char *why = NULL;
    int rc = loop_init(&f->loop);
    f->curl = rc == 0 ? curl_loop_new(&f->loop, &why) : NULL;
    for (uint32_t i = 0; i < c->n_jwts; i++) {
        if (!list[i].conf)
            continue;
        if (f->curl)
            begin(f, &list[i], c);
        else
            (void)snprintf(list[i].fetch.why, sizeof(list[i].fetch.why), "%s",
                           rc < 0 ? "out of memory" : why);
    }
    if (f->running > 0)
        loop_run(&f->loop);
    f->curl = curl_loop_free(f->curl);
    if (rc == 0)
        loop_free(&f->loop);
}

void jwks_first_fetch(const struct conf *c, const struct conf *in_force, struct jwks_set *set,
                      struct config_problems *problems)
{
    struct one *list = NULL;
    struct first f = {0};
    for (uint32_t i = 0; i < c->n_jwts && i < set->n; i++) {
        const struct conf_jwt *j = &c->jwts[i];
        if (!j->jwks_url.p || is_known(in_force, j))
            continue;
        if (!list)
            list = mem_zalloc(c->n_jwts * sizeof(*list));
        if (!list) {
            problem_out_of_memory(problems);
            return;
        }
        list[i].conf = j;
    }
    if (!list)
        return;
    run(&f, list, c);
    for (uint32_t i = 0; i < c->n_jwts; i++) {
        if (list[i].conf)
            take(&list[i], in_force == NULL, &set->entries[i], problems);
    }
    free(list);
}
