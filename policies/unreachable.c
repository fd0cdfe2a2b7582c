/* unreachable.c - are packets to an endpoint lost, or is its application just slow? */
#include "policies/unreachable.h"

enum {
    UNANSWERED = 2,    /* transmissions in a row */
    PROBE_SOON_S = 1,  /* the shortest that there is */
    PROBE_LATER_S = 5, /* when it has answered */
    EARLY = 3,         /* times `after` */
};

enum unreachable_verdict unreachable_judge(usec_t after, const struct unreachable_facts *f)
{
    if (f->unacked == 0 && f->probes == 0)
        return UNREACHABLE_ASK;
    if (f->quiet < after)
        return UNREACHABLE_NO;
    if (f->known && (f->retransmits > 0 || f->probes > 0))
        return UNREACHABLE_YES;
    if (f->retransmits >= UNANSWERED)
        return UNREACHABLE_YES;
    return f->probes > 0 ? UNREACHABLE_SUSPECT : UNREACHABLE_NO;
}

bool unreachable_gives_up(usec_t after, const struct unreachable_facts *f, bool repeatable,
                          bool others_answer)
{
    if (repeatable)
        return f->quiet >= after;
    return others_answer && f->quiet >= after + after / 2;
}

usec_t unreachable_next_look(usec_t after, usec_t waited)
{
    return waited < EARLY * after ? after / 2 : after;
}

uint32_t unreachable_probe_after(usec_t after, const struct unreachable_facts *f)
{
    return f->known || f->quiet < EARLY * after ? PROBE_SOON_S : PROBE_LATER_S;
}
