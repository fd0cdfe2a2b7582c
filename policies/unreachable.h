/* unreachable.h - are packets to an endpoint lost, or is its application just slow?
 *
 * What the kernel knows of a connection tells them apart: a slow application's kernel acknowledges
 * what it is sent, and answers a probe; behind a path that drops packets there is silence. Pure:
 * what the kernel says is an argument, and so is the time. */
#ifndef SLUICE_POLICIES_UNREACHABLE_H
#define SLUICE_POLICIES_UNREACHABLE_H

#include "base/clock.h"

#include <stdbool.h>
#include <stdint.h>

/* Of one established connection on which somebody waits. */
struct unreachable_facts {
    usec_t quiet;         /* nothing at all has come from its peer, and somebody has waited */
    uint32_t unacked;     /* segments under way */
    uint32_t retransmits; /* in a row that were not acknowledged */
    uint32_t probes;      /* keep-alive or window probes, the same */
    bool known;           /* the endpoint is known to be unreachable by another connection */
};

enum unreachable_verdict {
    UNREACHABLE_NO,      /* it acknowledges, or it is too early to say */
    UNREACHABLE_ASK,     /* nothing is under way that it could acknowledge: a probe is */
    UNREACHABLE_SUSPECT, /* a probe was not answered: a new connection would tell */
    UNREACHABLE_YES,
};

/* `after`: the silence that it takes, with two transmissions in a row unanswered: one packet is
 * lost anywhere. Where the endpoint is known to be unreachable one will do. Probes alone never say
 * YES: what drops only these drops nothing that matters. */
enum unreachable_verdict unreachable_judge(usec_t after, const struct unreachable_facts *f);

/* Is it to be given up on? `repeatable`: it goes to another endpoint, and is none the worse for it.
 * Else it fails, which takes longer, and others that have answered meanwhile: where nobody answers
 * the silence is ours. */
bool unreachable_gives_up(usec_t after, const struct unreachable_facts *f, bool repeatable,
                          bool others_answer);

/* A connection that is being made, `age` after its SYN, while there is somewhere else to go. */
static inline bool unreachable_connect(usec_t after, usec_t age)
{
    return after > 0 && age >= after;
}

/* When to look at a connection again on which somebody has waited for so long: often at first,
 * then no more than `after` apart. */
usec_t unreachable_next_look(usec_t after, usec_t waited);

/* How long an idle connection may be without a sign of life until its peer is probed, in seconds:
 * soon while this has just begun or something is known, else seldom, as thousands may wait for
 * slow answers. */
uint32_t unreachable_probe_after(usec_t after, const struct unreachable_facts *f);

#endif
