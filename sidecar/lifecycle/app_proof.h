/* app_proof.h - is it certain that an application has gone which is not our child (DESIGN §4)?
 *
 * It has when each of its ports refuses and no connection of it with us is open, both for
 * deathGrace without a break. A port that accepts, a connection that is open, or one that was
 * opened and closed again since the last look, is a sign of life, and the grace begins anew: a
 * server that has only closed its listener goes on living by its outbound connections. No answer is
 * a sign of nothing: on a busy machine a refusal is late, too.
 *
 * Our own start breaks all connections, and so their absence means less behind it: until a first
 * sign of life has been seen by this process, the grace is APP_PROOF_UNSEEN times as long. An
 * application that lives comes back in that time, by its port or by a connection.
 *
 * Pure: the caller looks, and passes the time. Looks that come late (a process that was stopped, a
 * machine that slept) count for a part of the grace only, so that a gap proves nothing. */
#ifndef SLUICE_LIFECYCLE_APP_PROOF_H
#define SLUICE_LIFECYCLE_APP_PROOF_H

#include "base/clock.h"
#include "lifecycle/app.h"

#include <stdbool.h>

enum {
    APP_PROOF_UNSEEN = 10,
    APP_PROOF_LOOKS = 4, /* a look counts for this part of the grace at most */
};

enum app_probed {
    APP_PROBE_NONE, /* not one is known */
    APP_PROBE_REFUSES,
    APP_PROBE_ACCEPTS,   /* one of them; also where that could not be found out */
    APP_PROBE_NO_ANSWER, /* neither, in the time that a look may take */
};

/* What was seen at one look. */
struct app_sight {
    enum app_probed ports;
    uint64_t open;   /* connections of it with us, in either direction */
    uint64_t opened; /* of these ever; only its changes count */
    bool held;       /* another proof is to come: silence counts for nothing meanwhile */
};

struct app_proof {
    enum app_state state;
    bool seen;     /* a sign of life, in this process's time */
    usec_t last;   /* the look before; 0: there was none */
    usec_t silent; /* how long, as far as it counts */
    uint64_t opened;
    uint64_t left; /* open behind its end, and ours to see the end of */
};

void app_proof_init(struct app_proof *p);
/* It has gone, by whatever proof; s->ports does not count. What it left open is no sign of its
 * return: only a port that accepts is, or a connection that is opened from now on. */
void app_proof_gone(struct app_proof *p, const struct app_sight *s, usec_t now);
/* A look. Returns the state: APP_UNKNOWN without ports, however few connections there are. */
enum app_state app_proof_look(struct app_proof *p, const struct app_sight *s, usec_t grace,
                              usec_t now);

#endif
