/* diff.c - two configurations beside each other. */
#include "config/diff.h"

#include "base/mem.h"

#include <errno.h>

/* ---- each setting and its like ---- */

/* One side: its settings in order, and for each by its index the like of the other side; NULL:
 * there is none. */
struct side {
    size_t n;
    const struct setting **sorted, **like;
};

static int by_path(const void *a, const void *b)
{
    struct str x = (*(const struct setting *const *)a)->path;
    struct str y = (*(const struct setting *const *)b)->path;
    int order = memcmp(x.p, y.p, x.n < y.n ? x.n : y.n);
    return order != 0 ? order : (x.n > y.n) - (x.n < y.n);
}

static void side_free(struct side *s)
{
    free(s->sorted);
    free(s->like);
}

static int side_init(struct side *s, const struct setting *list)
{
    *s = (struct side){0};
    for (const struct setting *it = list; it; it = it->next)
        s->n++;
    s->sorted = mem_alloc((s->n + 1) * sizeof(const struct setting *));
    s->like = mem_zalloc((s->n + 1) * sizeof(const struct setting *));
    if (!s->sorted || !s->like)
        return -ENOMEM;
    for (const struct setting *it = list; it; it = it->next)
        s->sorted[it->index] = it;
    qsort(s->sorted, s->n, sizeof(const struct setting *), by_path);
    return 0;
}

static void pair_up(struct side *was, struct side *is)
{
    size_t i = 0, k = 0;
    while (i < was->n && k < is->n) {
        int order = by_path(&was->sorted[i], &is->sorted[k]);
        if (order == 0) {
            was->like[was->sorted[i]->index] = is->sorted[k];
            is->like[is->sorted[k]->index] = was->sorted[i];
        }
        i += order <= 0;
        k += order >= 0;
    }
}

/* It is in an item that the other side has not. */
static bool in_lone_item(const struct side *side, const struct setting *s)
{
    for (s = s->item; s; s = s->item) {
        if (!side->like[s->index])
            return true;
    }
    return false;
}

/* It waits for a restart, or what is new around it does. */
static bool added_waits(const struct side *side, const struct setting *s)
{
    bool waits = s->restart;
    for (s = s->item; s && !waits; s = s->item)
        waits = !side->like[s->index] && s->restart;
    return waits;
}

/* ---- order ---- */

/* From *at on, the next item of the list that both sides have; NULL: that was all. */
static const struct setting *next_common(const struct side *side, const struct setting **at,
                                         const struct setting *order)
{
    struct str list = order->path;
    for (; *at; *at = (*at)->next) {
        const struct setting *s = *at;
        if (s->path.n <= list.n || s->path.p[list.n] != '[' || !str_starts(s->path, list))
            return NULL;
        if (s->kind == SETTING_ITEM && s->item == order->item && side->like[s->index]) {
            *at = s->next;
            return s;
        }
    }
    return NULL;
}

static bool reordered(const struct side *was, const struct side *is, const struct setting *old,
                      const struct setting *new)
{
    const struct setting *a = old->next, *b = new->next;
    for (;;) {
        const struct setting *x = next_common(was, &a, old);
        const struct setting *y = next_common(is, &b, new);
        if (!x || was->like[x->index] != y)
            return x != NULL;
    }
}

/* ---- the difference ---- */

static int append(struct config_diff *d, struct config_change c)
{
    if (d->n == d->cap) {
        uint32_t cap = d->cap ? d->cap * 2 : 32;
        struct config_change *more = mem_realloc(d->items, cap * sizeof(*more));
        if (!more)
            return -ENOMEM;
        d->items = more;
        d->cap = cap;
    }
    d->items[d->n++] = c;
    if (!c.inside && c.restart)
        d->restart++;
    else if (!c.inside)
        d->live++;
    return 0;
}

static int removed(struct config_diff *d, const struct side *was, const struct setting *s)
{
    if (was->like[s->index] || s->kind == SETTING_ORDER || in_lone_item(was, s))
        return 0;
    return append(d, (struct config_change){CHANGE_REMOVED, s->restart, false, s, NULL});
}

static int added_or_changed(struct config_diff *d, const struct side *was, const struct side *is,
                            const struct setting *s)
{
    const struct setting *old = is->like[s->index];
    if (!old && s->kind == SETTING_ORDER)
        return 0;
    if (!old)
        return append(d, (struct config_change){CHANGE_ADDED, added_waits(is, s),
                                                in_lone_item(is, s), NULL, s});
    if (s->kind == SETTING_ORDER && reordered(was, is, old, s))
        return append(d, (struct config_change){CHANGE_REORDERED, s->restart, false, old, s});
    if (s->kind == SETTING_VALUE && !str_eq(old->value, s->value))
        return append(d, (struct config_change){CHANGE_CHANGED, s->restart, false, old, s});
    d->unchanged += s->kind == SETTING_VALUE;
    return 0;
}

int config_diff(const struct setting *was, const struct setting *is, struct config_diff *ret)
{
    struct config_diff d = {0};
    struct side old = {0}, new = {0};
    int rc = side_init(&old, was);

    if (rc == 0)
        rc = side_init(&new, is);
    if (rc == 0)
        pair_up(&old, &new);
    for (const struct setting *s = was; s && rc == 0; s = s->next)
        rc = removed(&d, &old, s);
    for (const struct setting *s = is; s && rc == 0; s = s->next)
        rc = added_or_changed(&d, &old, &new, s);
    side_free(&old);
    side_free(&new);
    if (rc < 0)
        config_diff_free(&d);
    *ret = d;
    return rc;
}

void config_diff_free(struct config_diff *d)
{
    free(d->items);
    *d = (struct config_diff){0};
}

/* ---- a running process ---- */

int config_pending_restart(const struct conf *at_start, const struct conf *now, char ***ret_paths,
                           uint32_t *ret_n)
{
    struct config_diff d;
    char **paths = NULL;
    uint32_t n = 0;
    int rc = config_diff(at_start->restart, now->restart, &d);

    if (rc < 0)
        return rc;
    if (d.restart > 0 && !(paths = mem_zalloc(d.restart * sizeof(char *))))
        rc = -ENOMEM;
    for (uint32_t i = 0; i < d.n && rc == 0; i++) {
        const struct config_change *c = &d.items[i];
        if (!c->restart || c->inside)
            continue;
        paths[n] = mem_strndup(c->is ? c->is->path : c->was->path);
        if (!paths[n])
            rc = -ENOMEM;
        else
            n++;
    }
    config_diff_free(&d);
    if (rc < 0) {
        config_pending_free(paths, n);
        return rc;
    }
    *ret_paths = paths;
    *ret_n = n;
    return 0;
}

void config_pending_free(char **paths, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++)
        free(paths[i]);
    free(paths);
}
