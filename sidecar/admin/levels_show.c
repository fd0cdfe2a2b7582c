/* levels_show.c - the levels of an upstream as JSON, and where each endpoint stands. */
#include "admin/endpoint_api.h"

#include "proxy/levels.h"

static json_t *percent(uint32_t ppm)
{
    return json_real((double)ppm / (FAILOVER_WHOLE / 100));
}

static json_t *zones_json(const struct places *p, const struct conf_upstream *conf,
                          const struct levels *l, const struct level *level)
{
    json_t *a = json_array();
    for (uint32_t i = 0; i < level->n_places; i++) {
        const struct place *at = &p->at[level->first_place + i];
        struct str zone = place_zone(at);
        json_t *o = json_object();
        (void)json_object_set_new(o, "zone", json_stringn(zone.p, zone.n));
        (void)json_object_set_new(o, "own", json_boolean(str_eq(zone, conf->own_zone)));
        (void)json_object_set_new(o, "endpoints", json_integer(at->n));
        (void)json_object_set_new(o, "share_percent", percent(l->zone_ppm[level->first_place + i]));
        (void)json_array_append_new(a, o);
    }
    return a;
}

json_t *levels_json(const struct upstream_shared *u, const struct conf_upstream *conf)
{
    struct levels l;
    if (!upstream_levels(u, conf, &l))
        return NULL;
    json_t *a = json_array();
    for (uint32_t i = 0; i < l.n; i++) {
        const struct level *level = &l.at[i];
        json_t *o = json_object();
        (void)json_object_set_new(o, "priority", json_integer(level->priority));
        (void)json_object_set_new(o, "there", json_integer(level->count.there));
        (void)json_object_set_new(o, "well", json_integer(level->count.usable));
        (void)json_object_set_new(o, "share_percent", percent(l.ppm[i]));
        if (l.by_zone && (!l.panic || l.dry_run))
            (void)json_object_set_new(o, "zones", zones_json(u->places, conf, &l, level));
        (void)json_array_append_new(a, o);
    }
    return a;
}

void levels_add_place(const struct upstream_shared *u, uint32_t i, json_t *o)
{
    const struct place *at = places_at(u->places, i);
    if (!at)
        return;
    (void)json_object_set_new(o, "priority", json_integer(at->priority));
    if (at->zone_n > 0)
        (void)json_object_set_new(o, "zone", json_stringn(at->zone, at->zone_n));
}
