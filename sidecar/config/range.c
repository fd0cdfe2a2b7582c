/* range.c - between which values a key may be, in words. */
#include "config/range.h"

#include <stdio.h>

uint64_t range_most(const struct schema_key *key)
{
    uint64_t most = key->width >= 8 ? UINT64_MAX : ((uint64_t)1 << (8 * key->width)) - 1;
    return key->max ? key->max : most;
}

char *range_text(const struct schema_key *key, uint64_t v, char *out)
{
    if (key->type == SCHEMA_DURATION)
        return scalar_duration_text(v, out);
    if (key->type == SCHEMA_SIZE)
        return scalar_size_text(v, out);
    (void)snprintf(out, SCALAR_TEXT_MAX, key->type == SCHEMA_MODE ? "0%03llo" : "%llu",
                   (unsigned long long)v);
    return out;
}

static char *items_words(const struct schema_key *key, char *out)
{
    unsigned long long min = key->min, max = key->max;
    if (min && max)
        (void)snprintf(out, RANGE_TEXT_MAX, "%llu to %llu items", min, max);
    else if (max)
        (void)snprintf(out, RANGE_TEXT_MAX, "at most %llu items", max);
    else if (min)
        (void)snprintf(out, RANGE_TEXT_MAX, "at least %llu item%s", min, min == 1 ? "" : "s");
    return out;
}

char *range_words(const struct schema_key *key, char *out)
{
    char low[SCALAR_TEXT_MAX], high[SCALAR_TEXT_MAX];

    out[0] = '\0';
    switch (key->type) {
    case SCHEMA_LIST:
        return items_words(key, out);
    case SCHEMA_STRING:
        if (key->max)
            (void)snprintf(out, RANGE_TEXT_MAX, "at most %s", scalar_size_text(key->max, high));
        return out;
    case SCHEMA_INT:
    case SCHEMA_DURATION:
    case SCHEMA_SIZE:
    case SCHEMA_MODE:
        break;
    default:
        return out;
    }
    if (key->max && key->min == key->max)
        (void)snprintf(out, RANGE_TEXT_MAX, "%s", range_text(key, key->min, low));
    else if (key->max)
        (void)snprintf(out, RANGE_TEXT_MAX, "%s to %s", range_text(key, key->min, low),
                       range_text(key, key->max, high));
    else if (key->min)
        (void)snprintf(out, RANGE_TEXT_MAX, "at least %s", range_text(key, key->min, low));
    return out;
}
