/* take_json.h - values of a JSON text taken in pieces, and the same by jansson's tree: for the unit
 * test and the fuzzer. */
#ifndef TESTS_UNIT_POLICIES_TAKE_JSON_H
#define TESTS_UNIT_POLICIES_TAKE_JSON_H

#include "policies/json_take.h"

#include "base/check.h"

#include <jansson.h>
#include <stdio.h>

enum { TAKE_CAP = 1024 };

struct taken {
    uint32_t n;
    enum json_state state;
    struct json_value values[JSON_TAKE_PATHS_MAX];
    char bytes[JSON_TAKE_PATHS_MAX][TAKE_CAP];
};

/* cut(ctx) gives the length of the next piece. */
static inline void take_json(struct taken *t, const struct json_path *paths, uint32_t n,
                             struct str text, size_t (*cut)(void *ctx), void *ctx)
{
    struct json_take take;
    memset(t, 0x55, sizeof(*t));
    t->n = n;
    for (uint32_t i = 0; i < n; i++)
        t->values[i] =
            (struct json_value){.path = &paths[i], .bytes = t->bytes[i], .cap = TAKE_CAP};
    json_take_init(&take, t->values, n);
    for (size_t at = 0; at < text.n;) {
        size_t piece = cut ? min_u64(cut(ctx), text.n - at) : text.n;
        char *copy = malloc(piece ? piece : 1); /* so that a byte too far is seen */
        CHECK(copy);
        memcpy(copy, text.p + at, piece);
        (void)json_take_feed(&take, copy, piece);
        free(copy);
        at += piece;
    }
    t->state = json_take_end(&take);
}

static inline bool taken_equal(const struct taken *a, const struct taken *b)
{
    bool same = a->n == b->n && a->state == b->state;
    for (uint32_t i = 0; same && i < a->n; i++) {
        const struct json_value *x = &a->values[i], *y = &b->values[i];
        same = x->found == y->found && (!x->found || str_eq((struct str){x->bytes, x->len},
                                                            (struct str){y->bytes, y->len}));
    }
    return same;
}

static inline size_t depth_of(const json_t *v)
{
    const char *key;
    json_t *child;
    size_t i, most = 0, below;
    json_object_foreach((json_t *)v, key, child)
    {
        below = depth_of(child);
        most = below > most ? below : most;
    }
    json_array_foreach(v, i, child)
    {
        below = depth_of(child);
        most = below > most ? below : most;
    }
    return json_is_object(v) || json_is_array(v) ? most + 1 : 0;
}

static inline const json_t *walk(const json_t *v, const struct json_path *path)
{
    for (uint32_t i = 0; v && i < path->n; i++) {
        const struct json_step *s = &path->steps[i];
        if (!s->name.p)
            v = json_is_array(v) ? json_array_get(v, s->index) : NULL;
        else
            v = json_object_getn(v, s->name.p, s->name.n);
    }
    return v;
}

/* Where jansson has a tree no deeper than ours may be, it has the same values. (It takes a NUL
 * behind a text for its end; RFC 8259 §2 does not.) */
static inline bool agrees_with_jansson(const struct taken *t, struct str text)
{
    json_error_t e;
    if (text.n > 0 && memchr(text.p, '\0', text.n))
        return true;
    json_t *tree = json_loadb(text.p ? text.p : "", text.n, JSON_ALLOW_NUL | JSON_DECODE_ANY, &e);
    if (!tree || depth_of(tree) > JSON_TAKE_DEPTH_MAX) {
        json_decref(tree);
        return true;
    }
    bool same = t->state == JSON_WHOLE;
    for (uint32_t i = 0; same && i < t->n; i++) {
        const struct json_value *v = &t->values[i];
        const json_t *node = walk(tree, v->path);
        struct str got = {v->bytes, v->len};
        char number[32];
        if (json_is_string(node) && json_string_length(node) <= v->cap) {
            same = v->found &&
                   str_eq(got, (struct str){json_string_value(node), json_string_length(node)});
        } else if (json_is_integer(node)) {
            (void)snprintf(number, sizeof(number), "%lld", (long long)json_integer_value(node));
            same = v->found && (str_eq(got, str_of(number)) || str_eq(got, STR("-0")));
        } else if (json_is_boolean(node)) {
            same = v->found && str_eq(got, json_is_true(node) ? STR("true") : STR("false"));
        } else if (json_is_real(node)) {
            same = v->found || v->too_long;
        } else {
            same = !v->found;
        }
    }
    json_decref(tree);
    return same;
}

#endif
