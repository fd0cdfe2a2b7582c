/* generation_jwt.h - the issuers of a generation: slots for their keys, and what each worker knows
 * of them. Between generation.c and generation_jwt.c. */
#ifndef SLUICE_ADMIN_GENERATION_JWT_H
#define SLUICE_ADMIN_GENERATION_JWT_H

#include "admin/generation.h"

/* g->jwts: those of the same name in `in_force` (NULL: there is none) stay. 0 or -ENOMEM. */
int generation_jwt_slots(struct generation *g, const struct generation *in_force);
void generation_jwt_slots_free(struct generation *g);
/* v->jwts, likewise of the worker's view in force. 0 or -ENOMEM. */
int generation_jwt_states(struct view *v, const struct generation *in_force);
/* The view names them no more: those that nobody does are freed. */
void generation_jwt_states_drop(struct view *v);

#endif
