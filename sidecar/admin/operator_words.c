/* operator_words.c - operators' words as JSON: to the supervisor, and back from it.
 *
 *     {"endpoints": [{"upstream": "app", "address": "10.0.0.7:8080", "drained": true, "percent":
 * 100}], "breakers": ["app"]}
 *
 * Spoken between releases: what a program does not know of it, it passes over. */
#include "admin/operator_words.h"

#include "admin/control.h"
#include "lifecycle/held_text.h"
#include "proxy/breaker_tell.h"
#include "proxy/endpoint_word.h"

#include <errno.h>
#include <jansson.h>
#include <string.h>

static const char held_name[] = "sluice:operator";

/* --- to the supervisor --- */

static int add_endpoint(json_t *to, struct str upstream, const struct endpoint_word *w)
{
    char address[ADDRESS_TEXT_MAX];
    (void)address_format(&w->address, address);
    return json_array_append_new(to, json_pack("{s:s%, s:s, s:b, s:i}", "upstream", upstream.p,
                                               upstream.n, "address", address, "drained",
                                               w->drained, "percent", (int)w->percent));
}

/* NULL: memory is short. */
static json_t *words_json(const struct control *c)
{
    const struct conf *conf = c->snapshot->conf;
    json_t *endpoints = json_array(), *breakers = json_array();
    int rc = 0;
    for (uint32_t i = 0; i < conf->n_upstreams; i++) {
        const struct upstream_shared *u = c->generation->upstreams[i];
        struct str name = conf->upstreams[i].name;
        for (uint32_t k = 0; k < u->n_words; k++)
            rc |= add_endpoint(endpoints, name, &u->words[k]);
        if (breaker_is_forced(&u->breaker))
            rc |= json_array_append_new(breakers, json_stringn(name.p, name.n));
    }
    if (json_array_size(endpoints) + json_array_size(breakers) == 0 && rc == 0) {
        json_decref(endpoints);
        json_decref(breakers);
        return json_object();
    }
    json_t *o = json_pack("{s:o, s:o}", "endpoints", endpoints, "breakers", breakers);
    if (o && rc == 0)
        return o;
    json_decref(o);
    return NULL;
}

void operator_words_hold(struct control *c)
{
    json_t *words = words_json(c);
    bool none = words && json_object_size(words) == 0;
    int rc = 0;
    if (none && c->words_held) {
        rc = channel_drop(c->channel, held_name);
        if (rc == -ENOENT)
            rc = 0;
    } else if (!none) {
        char *text = words ? json_dumps(words, JSON_COMPACT) : NULL;
        rc = text ? held_text_put(c->channel, held_name, text, strlen(text)) : -ENOMEM;
        free(text);
    }
    json_decref(words);
    if (rc < 0)
        log_warn("operators' words: the supervisor does not hold the last of them (%s): they are "
                 "lost should this process end",
                 strerror(-rc));
    else
        c->words_held = !none;
}

/* --- from it --- */

static struct str text_of(const json_t *v)
{
    return json_is_string(v) ? (struct str){json_string_value(v), json_string_length(v)} : STR_NONE;
}

static struct upstream_shared *shared_of(const struct control *c, const json_t *name,
                                         const struct conf_upstream **ret)
{
    *ret = conf_find_upstream(c->snapshot->conf, text_of(name));
    return *ret ? c->generation->upstreams[(*ret)->index] : NULL;
}

static bool take_endpoint(const struct control *c, const json_t *o)
{
    const struct conf_upstream *conf;
    struct upstream_shared *u = shared_of(c, json_object_get(o, "upstream"), &conf);
    struct str address = text_of(json_object_get(o, "address"));
    json_int_t percent = json_integer_value(json_object_get(o, "percent"));
    struct endpoint_word w = {.drained = json_is_true(json_object_get(o, "drained"))};
    const char *why;
    if (!u || percent < 1 || percent > 100 || address_parse(address, &w.address, &why) < 0)
        return false;
    w.percent = (uint32_t)percent;
    if (endpoint_word_set(u, &w) < 0)
        return false;
    log_info("upstream %.*s: endpoint %.*s is still %s, with %u %% of its share, by the operator's "
             "word",
             STR_FMT(conf->name), STR_FMT(address), w.drained ? "drained" : "ready", w.percent);
    return true;
}

static bool take_breaker(const struct control *c, const json_t *name)
{
    const struct conf_upstream *conf;
    struct upstream_shared *u = shared_of(c, name, &conf);
    struct breaker_change change = {0};
    if (!u)
        return false;
    (void)breaker_force(&u->breaker, clock_mono(), &change);
    breaker_tell(conf->name, &conf->breaker, &change);
    return true;
}

void operator_words_take(struct control *c)
{
    size_t n = 0, i;
    char *text = held_text_take(held_name, &n);
    json_t *words = text ? json_loadb(text, n, 0, NULL) : NULL, *it;
    uint32_t lost = text && !words;
    c->words_held = text != NULL;
    json_array_foreach(json_object_get(words, "endpoints"), i, it)
    {
        lost += !take_endpoint(c, it);
    }
    json_array_foreach(json_object_get(words, "breakers"), i, it)
    {
        lost += !take_breaker(c, it);
    }
    if (lost > 0)
        log_warn(
            "operators' words: %u of the process before this one are lost: their upstreams are "
            "gone, or memory is short",
            lost);
    json_decref(words);
    free(text);
}
