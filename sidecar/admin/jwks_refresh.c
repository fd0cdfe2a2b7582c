/* jwks_refresh.c - issuers' keys kept fresh from their URLs. */
#include "admin/jwks_refresh.h"

#include "admin/jwks_fetch.h"
#include "base/log.h"
#include "base/mem.h"
#include "proxy/jwt_state.h"

#include <stdio.h>

/* The first pause after a failure. */
#define PAUSE_MIN USEC_PER_SEC

struct source {
    struct jwks_refresh *of;
    char *name, *url;            /* copies: what it is known by */
    const struct conf_jwt *conf; /* in force */
    struct jwt_slot *slot;       /* a reference */
    struct jwks_fetch fetch;
    struct timer timer;
    bool fetching, asked;
    usec_t began; /* the last fetch */
    unsigned char digest[JWKS_FETCH_DIGEST];
    struct jwks_fetched state;
    char why[sizeof(((struct jwks_fetch *)0)->why)];
};

struct jwks_refresh {
    struct loop *loop;
    struct curl_loop *curl; /* NULL: not needed yet */
    struct jwks_set *set;
    bool allow_link_local;
    struct source **sources; /* by conf_jwt.index; NULL: not by a URL, or memory was short */
    uint32_t n;
};

const char *jwks_result_word(enum jwks_result r)
{
    static const char *const words[] = {
#define X(id, word) [JWKS_##id] = word,
        JWKS_RESULT_TABLE(X)
#undef X
    };
    return words[r];
}

/* --- what came --- */

static void put_in_force(struct source *s, struct jwt_keys *keys)
{
    struct jwks_entry *e = &s->of->set->entries[s->conf->index];
    (void)jwt_keys_unref(e->keys);
    e->keys = keys;
    jwt_slot_set(s->slot, jwt_keys_ref(keys));
    memcpy(s->digest, s->fetch.digest, sizeof(s->digest));
    memcpy(e->digest, s->digest, sizeof(e->digest));
    log_info("jwt %s: %u keys from its URL are in force", s->name, jwt_keys_count(keys));
}

static void take_keys(struct source *s)
{
    bool same = s->state.at > 0 && memcmp(s->digest, s->fetch.digest, sizeof(s->digest)) == 0;
    if (s->state.failures > 0)
        log_info("jwt %s: its keys can be fetched again", s->name);
    s->state.at = clock_mono();
    s->state.failures = 0;
    s->why[0] = '\0';
    s->state.results[same ? JWKS_UNCHANGED : JWKS_APPLIED]++;
    if (same) /* the same again would make every worker forget what they have verified */
        (void)jwt_keys_unref(s->fetch.keys);
    else
        put_in_force(s, s->fetch.keys);
    s->fetch.keys = NULL;
}

static void take_failure(struct source *s)
{
    const struct jwks_entry *e = &s->of->set->entries[s->conf->index];
    s->state.results[s->fetch.answered ? JWKS_REFUSED : JWKS_FAILED]++;
    if (s->state.failures < UINT32_MAX)
        s->state.failures++;
    if (s->state.failures == 1 || strcmp(s->why, s->fetch.why) != 0)
        log_warn("jwt %s: its keys cannot be fetched: %s; %u stay in force", s->name, s->fetch.why,
                 e->keys ? jwt_keys_count(e->keys) : 0);
    memcpy(s->why, s->fetch.why, sizeof(s->why));
}

/* --- when --- */

/* 90 to 100 % of it, so that the pods of a roll-out do not ask all at once. */
static usec_t jittered(struct source *s, usec_t t)
{
    return t - (usec_t)rng_below(&s->of->loop->rng, (uint32_t)min_u64(t / 10 + 1, UINT32_MAX));
}

static usec_t pause_of(const struct source *s)
{
    usec_t most = s->conf->jwks_interval, t = PAUSE_MIN;
    for (uint32_t i = 1; i < s->state.failures && t < most; i++)
        t *= 2;
    if (s->state.failures == 0)
        t = most;
    return min_u64(max_u64(t, s->fetch.request.retry_after), most);
}

static void set_timer(struct source *s)
{
    timer_set(s->of->loop, &s->timer, clock_mono() + jittered(s, pause_of(s)));
}

static void ended(struct source *s)
{
    s->fetching = false;
    if (s->fetch.keys)
        take_keys(s);
    else
        take_failure(s);
    if (s->asked) {
        s->asked = false;
        jwt_slot_answered(s->slot);
    }
    set_timer(s);
}

static void on_fetched(struct jwks_fetch *f)
{
    ended(CONTAINER_OF(f, struct source, fetch));
}

static void begin(struct source *s)
{
    struct jwks_refresh *r = s->of;
    const char *why = NULL;
    s->began = clock_mono();
    s->fetching = true;
    if (!r->curl)
        r->curl = curl_loop_new(r->loop, &why);
    if (r->curl && jwks_fetch_start(&s->fetch, r->curl, s->conf, r->allow_link_local) == 0)
        return;
    if (!r->curl) {
        s->fetch.answered = false;
        (void)snprintf(s->fetch.why, sizeof(s->fetch.why), "%s", why);
    }
    ended(s);
}

static void on_timer(struct timer *t)
{
    struct source *s = CONTAINER_OF(t, struct source, timer);
    if (!s->fetching)
        begin(s);
}

void jwks_refresh_asked(struct jwks_refresh *r, struct mail *mail)
{
    struct jwt_slot *slot = jwt_slot_of(mail);
    struct source *s = NULL;
    for (uint32_t i = 0; r && i < r->n && !s; i++) {
        if (r->sources[i] && r->sources[i]->slot == slot)
            s = r->sources[i];
    }
    if (!s) {
        jwt_slot_answered(slot); /* it has no URL any more */
    } else {
        usec_t at = max_u64(clock_mono(), s->began + s->conf->jwks_unknown_after);
        s->asked = true;
        if (!s->fetching && at < s->timer.at)
            timer_set(r->loop, &s->timer, at);
    }
    (void)jwt_slot_unref(slot);
}

/* --- sources come and go --- */

static struct source *source_free(struct source *s)
{
    if (!s)
        return NULL;
    jwks_fetch_cancel(&s->fetch);
    timer_stop(s->of->loop, &s->timer);
    if (s->asked)
        jwt_slot_answered(s->slot);
    if (s->slot)
        (void)jwt_slot_unref(s->slot);
    free(s->name);
    free(s->url);
    free(s);
    return NULL;
}

static struct source *source_new(struct jwks_refresh *r, const struct conf_jwt *j,
                                 struct jwt_slot *slot)
{
    struct source *s = mem_zalloc(sizeof(*s));
    if (!s)
        return NULL;
    s->of = r;
    s->slot = jwt_slot_ref(slot);
    s->name = mem_strndup(j->name);
    s->url = mem_strndup(j->jwks_url);
    s->fetch.done = on_fetched;
    timer_init(&s->timer, on_timer);
    return s->name && s->url ? s : source_free(s);
}

/* Its first keys came with the configuration, or did not. */
static void source_start(struct source *s, const struct conf_jwt *j)
{
    const struct jwks_entry *e = &s->of->set->entries[j->index];
    s->conf = j;
    s->began = clock_mono();
    if (e->keys) {
        memcpy(s->digest, e->digest, sizeof(s->digest));
        s->state.at = s->began;
        s->state.results[JWKS_APPLIED]++;
    } else {
        s->state.failures = 1;
        s->state.results[JWKS_FAILED]++;
        (void)snprintf(s->why, sizeof(s->why), "not at the start");
    }
    set_timer(s);
}

/* It goes on under another configuration, whose texts the next fetch needs. */
static void source_keep(struct source *s, const struct conf_jwt *j)
{
    struct jwks_entry *e = &s->of->set->entries[j->index];
    bool again = s->fetching;
    jwks_fetch_cancel(&s->fetch);
    s->fetching = false;
    s->conf = j;
    (void)jwt_keys_unref(e->keys);
    e->keys = jwt_slot_keys(s->slot);
    memcpy(e->digest, s->digest, sizeof(e->digest));
    usec_t at = again ? clock_mono() : s->began + jittered(s, pause_of(s));
    if (at < s->timer.at || again)
        timer_set(s->of->loop, &s->timer, at);
}

static struct source *take_source(struct jwks_refresh *r, const struct conf_jwt *j)
{
    for (uint32_t i = 0; i < r->n; i++) {
        struct source *s = r->sources[i];
        if (!s || !str_eq(str_of(s->name), j->name) || !str_eq(str_of(s->url), j->jwks_url))
            continue;
        r->sources[i] = NULL;
        return s;
    }
    return NULL;
}

static void configure_one(struct jwks_refresh *r, const struct generation *g,
                          const struct conf_jwt *j, struct source **ret)
{
    bool fresh = r->set->entries[j->index].state == JWKS_ENTRY_NEW;
    struct source *s = fresh ? NULL : take_source(r, j);
    *ret = s ? s : source_new(r, j, g->jwts[j->index]);
    if (s)
        source_keep(s, j);
    else if (*ret)
        source_start(*ret, j);
    else
        log_error("jwt %.*s: out of memory: its keys are not fetched again", STR_FMT(j->name));
}

void jwks_refresh_configure(struct jwks_refresh *r, const struct generation *g)
{
    const struct conf *c = g->snapshot->conf;
    struct source **sources = mem_zalloc((c->n_jwts + 1) * sizeof(struct source *));
    r->allow_link_local = c->allow_link_local;
    for (uint32_t i = 0; i < c->n_jwts && i < r->set->n && sources; i++) {
        if (c->jwts[i].jwks_url.p)
            configure_one(r, g, &c->jwts[i], &sources[i]);
    }
    for (uint32_t i = 0; i < r->n; i++)
        r->sources[i] = source_free(r->sources[i]);
    free(r->sources);
    r->sources = sources;
    r->n = sources ? c->n_jwts : 0;
    if (!sources)
        log_error("jwt: out of memory: keys are not fetched again");
}

bool jwks_refresh_state(const struct jwks_refresh *r, const struct conf_jwt *j,
                        struct jwks_fetched *ret)
{
    const struct source *s = r && j->index < r->n ? r->sources[j->index] : NULL;
    if (!s)
        return false;
    *ret = s->state;
    ret->why = s->why;
    return true;
}

struct jwks_refresh *jwks_refresh_new(struct loop *l, struct jwks_set *set)
{
    struct jwks_refresh *r = mem_zalloc(sizeof(*r));
    if (!r)
        return NULL;
    r->loop = l;
    r->set = set;
    return r;
}

struct jwks_refresh *jwks_refresh_free(struct jwks_refresh *r)
{
    if (!r)
        return NULL;
    for (uint32_t i = 0; i < r->n; i++)
        r->sources[i] = source_free(r->sources[i]);
    r->curl = curl_loop_free(r->curl);
    free(r->sources);
    free(r);
    return NULL;
}
