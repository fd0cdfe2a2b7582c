/* app_proof.c - is it certain that an application has gone which is not our child? */
#include "lifecycle/app_proof.h"

void app_proof_init(struct app_proof *p)
{
    *p = (struct app_proof){.state = APP_UNKNOWN};
}

void app_proof_gone(struct app_proof *p, const struct app_sight *s, usec_t now)
{
    p->state = APP_GONE;
    p->seen = true;
    p->left = s->open;
    p->opened = s->opened;
    p->last = now;
}

static bool lives(const struct app_proof *p, const struct app_sight *s)
{
    bool opened = p->last != 0 && s->opened != p->opened;
    return s->ports == APP_PROBE_ACCEPTS || opened || s->open > p->left;
}

enum app_state app_proof_look(struct app_proof *p, const struct app_sight *s, usec_t grace,
                              usec_t now)
{
    bool alive = lives(p, s);
    usec_t passed = p->last != 0 && now > p->last ? now - p->last : 0;
    bool was_silent = p->last != 0 && p->state != APP_ALIVE && p->state != APP_UNKNOWN;

    p->opened = s->opened;
    p->left = alive ? 0 : min_u64(p->left, s->open);
    p->last = now;
    if (s->ports == APP_PROBE_NONE) {
        p->silent = 0;
        p->state = APP_UNKNOWN;
    } else if (alive) {
        p->seen = true;
        p->silent = 0;
        p->state = APP_ALIVE;
    } else if (s->ports == APP_PROBE_NO_ANSWER) {
        if (p->state == APP_UNKNOWN)
            p->state = APP_ALIVE;
    } else if (p->state != APP_GONE) {
        usec_t whole = p->seen ? grace : grace * APP_PROOF_UNSEEN;
        if (was_silent && !s->held)
            p->silent += min_u64(passed, grace / APP_PROOF_LOOKS);
        p->state = p->silent >= whole ? APP_GONE : APP_DOUBTFUL;
    }
    return p->state;
}
