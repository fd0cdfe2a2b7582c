/* jwks.c - the issuers' keys in force, and what becomes of their files when these change. */
#include "admin/jwks.h"

#include "admin/jwks_refresh.h"
#include "base/log.h"
#include "proxy/jwt_state.h"

void jwks_take(struct jwks *j, const struct generation *g, struct jwks_set *set)
{
    j->n_refused = 0;
    for (uint32_t i = 0; i < set->n; i++) {
        struct jwks_entry *e = &set->entries[i];
        /* The same keys again would make every worker forget what they have verified. */
        if (e->state == JWKS_ENTRY_NEW)
            jwt_slot_set(g->jwts[i], jwt_keys_ref(e->keys));
        if (e->state != JWKS_ENTRY_REFUSED)
            continue;
        j->n_refused++;
        memcpy(e->refused, e->digest, JWKS_DIGEST_BYTES);
    }
}

bool jwks_look(struct jwks *j, const struct generation *g, struct jwks_set *in_force,
               struct jwks_set *found)
{
    uint32_t applied = 0, refused = 0;
    bool news = false;
    /* Without memory for the look there is nothing in it. */
    for (uint32_t i = 0; found->n == in_force->n && i < found->n; i++) {
        struct jwks_entry *e = &in_force->entries[i], *f = &found->entries[i];
        if (f->state == JWKS_ENTRY_URL)
            continue;
        if (f->state == JWKS_ENTRY_REFUSED) {
            refused++;
            news = news || memcmp(e->refused, f->digest, JWKS_DIGEST_BYTES) != 0;
            memcpy(e->refused, f->digest, JWKS_DIGEST_BYTES);
            continue;
        }
        if (f->state == JWKS_ENTRY_NEW) {
            (void)jwt_keys_unref(e->keys);
            *e = *f;
            f->keys = NULL;
            jwt_slot_set(g->jwts[i], jwt_keys_ref(e->keys));
            applied++;
        }
        memset(e->refused, 0, JWKS_DIGEST_BYTES);
    }
    if (applied > 0) {
        j->applied++;
        log_info("jwt: %u of %u issuers have new keys", applied, in_force->n);
    }
    if (news) {
        j->refusals++;
        log_error("jwt: %u of %u issuers keep their old keys", refused, in_force->n);
    }
    j->n_refused = refused;
    return news;
}

/* Without its query, which may be a secret. */
static json_t *url_json(struct str url)
{
    const char *end = memchr(url.p, '?', url.n);
    return json_stringn(url.p, end ? (size_t)(end - url.p) : url.n);
}

static void add_fetched(json_t *o, const struct conf_jwt *conf, const struct jwks_refresh *refresh)
{
    struct jwks_fetched f;
    (void)json_object_set_new(o, "url", url_json(conf->jwks_url));
    if (!jwks_refresh_state(refresh, conf, &f))
        return;
    (void)json_object_set_new(o, "age_s",
                              f.at > 0 ? json_real((double)(clock_mono() - f.at) / USEC_PER_SEC)
                                       : json_null());
    (void)json_object_set_new(o, "failures", json_integer(f.failures));
    (void)json_object_set_new(o, "error", f.why[0] ? json_string(f.why) : json_null());
}

static json_t *one_json(const struct conf_jwt *conf, const struct jwks_entry *e,
                        const struct jwks_refresh *refresh)
{
    static const unsigned char none[JWKS_DIGEST_BYTES];
    json_t *kids = json_array();
    for (uint32_t i = 0; e->keys && i < jwt_keys_count(e->keys); i++) {
        struct str kid = jwt_keys_kid(e->keys, i);
        (void)json_array_append_new(kids, kid.p ? json_stringn(kid.p, kid.n) : json_null());
    }
    json_t *o = json_pack("{s:s%, s:i, s:i, s:o}", "name", conf->name.p, conf->name.n, "keys",
                          (int)(e->keys ? jwt_keys_count(e->keys) : 0), "ignored",
                          (int)(e->keys ? jwt_keys_ignored(e->keys) : 0), "kids", kids);
    if (conf->jwks_url.p) {
        add_fetched(o, conf, refresh);
        return o;
    }
    (void)json_object_set_new(o, "file", json_stringn(conf->jwks.path.p, conf->jwks.path.n));
    (void)json_object_set_new(o, "refused",
                              json_boolean(memcmp(e->refused, none, sizeof(none)) != 0));
    return o;
}

json_t *jwks_json(const struct jwks_set *set, const struct conf *conf,
                  const struct jwks_refresh *refresh)
{
    json_t *list = json_array();
    for (uint32_t i = 0; i < set->n && i < conf->n_jwts; i++)
        (void)json_array_append_new(list, one_json(&conf->jwts[i], &set->entries[i], refresh));
    return list;
}
