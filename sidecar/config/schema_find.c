/* schema_find.c - a key by its name, by what somebody may have meant, or by what it does. */
#include "config/schema.h"

const struct schema_key *schema_find(const struct schema_map *map, struct str name)
{
    for (uint32_t i = 0; i < map->n_keys; i++) {
        if (str_eq(name, str_of(map->keys[i].name)))
            return &map->keys[i];
    }
    return NULL;
}

const char *schema_nearest(struct str wrong, const char *(*next)(const void *ctx, uint32_t i),
                           const void *ctx, uint32_t n)
{
    const char *best = NULL;
    unsigned best_distance = 3;
    for (uint32_t i = 0; i < n; i++) {
        struct str known = str_of(next(ctx, i));
        unsigned distance = str_distance(wrong, known, 3);
        if (distance > known.n / 2) /* any two short words are two typos apart */
            distance = 3;
        if (distance < best_distance) {
            best = known.p;
            best_distance = distance;
        }
    }
    for (uint32_t i = 0; i < n && !best; i++) {
        struct str known = str_of(next(ctx, i));
        if (wrong.n >= 3 &&
            (str_starts(known, wrong) || (known.n >= 3 && str_starts(wrong, known))))
            best = known.p;
    }
    return best;
}

bool schema_waits(const struct schema_key *key)
{
    const struct schema_map *map = key->of ? key->of->map : key->map;
    if (key->flags & KEY_RESTART)
        return true;
    for (uint32_t i = 0; map && i < map->n_keys; i++) {
        if (schema_waits(&map->keys[i]))
            return true;
    }
    return false;
}

const struct schema_key *schema_identity(const struct schema_map *map)
{
    for (uint32_t i = 0; i < map->n_keys; i++) {
        if (map->keys[i].flags & KEY_IDENTITY)
            return &map->keys[i];
    }
    return NULL;
}
