/* generation_jwt.c - the issuers of a generation: what has the same name stays, the rest is made.
 */
#include "admin/generation_jwt.h"

#include "base/mem.h"
#include "proxy/jwt_state.h"
#include "proxy/worker.h"

#include <errno.h>

static const struct conf_jwt *was_of(const struct generation *in_force, struct str name)
{
    return in_force ? conf_find_jwt(in_force->snapshot->conf, name) : NULL;
}

int generation_jwt_slots(struct generation *g, const struct generation *in_force)
{
    const struct conf *c = g->snapshot->conf;
    g->jwts = mem_zalloc((c->n_jwts + 1) * sizeof(struct jwt_slot *));
    if (!g->jwts)
        return -ENOMEM;
    for (uint32_t i = 0; i < c->n_jwts; i++) {
        const struct conf_jwt *was = was_of(in_force, c->jwts[i].name);
        g->jwts[i] = was ? jwt_slot_ref(in_force->jwts[was->index]) : jwt_slot_new();
        if (!g->jwts[i])
            return -ENOMEM;
    }
    return 0;
}

void generation_jwt_slots_free(struct generation *g)
{
    for (uint32_t i = 0; g->jwts && i < g->snapshot->conf->n_jwts; i++)
        (void)jwt_slot_unref(g->jwts[i]);
    free(g->jwts);
    g->jwts = NULL;
}

int generation_jwt_states(struct view *v, const struct generation *in_force)
{
    const struct conf *c = v->snapshot->conf;
    v->jwts = mem_zalloc((c->n_jwts + 1) * sizeof(struct jwt_state *));
    if (!v->jwts)
        return -ENOMEM;
    for (uint32_t i = 0; i < c->n_jwts; i++) {
        const struct conf_jwt *was = was_of(in_force, c->jwts[i].name);
        v->jwts[i] = was ? in_force->views[v->worker->id]->jwts[was->index]
                         : jwt_state_new(v->generation->jwts[i]);
        if (!v->jwts[i])
            return -ENOMEM;
        v->jwts[i]->views++;
    }
    return 0;
}

void generation_jwt_states_drop(struct view *v)
{
    for (uint32_t i = 0; v->jwts && i < v->snapshot->conf->n_jwts; i++) {
        if (v->jwts[i] && --v->jwts[i]->views == 0)
            (void)jwt_state_free(v->jwts[i]);
    }
    free(v->jwts);
    v->jwts = NULL;
}
