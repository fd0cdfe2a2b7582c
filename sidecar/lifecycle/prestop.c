/* prestop.c - what the calls of GET /prestop mean. */
#include "lifecycle/prestop.h"

/* At a pod's deletion both calls arrive within 14 ms of each other; at a restart of a container
 * only the application's does. */
#define SELF_WITHIN USEC_PER_SEC
/* An application may take its whole grace before its port refuses. */
#define GRACE_USUAL   (30 * USEC_PER_SEC)
#define LEAVING_SPARE (10 * USEC_PER_SEC)

const char *prestop_state_word(enum prestop_state s)
{
    static const char *const words[PRESTOP_STATES] = {"idle",    "asked", "restart",
                                                      "leaving", "away",  "end"};
    return words[s];
}

void prestop_init(struct prestop *p)
{
    *p = (struct prestop){.until = USEC_NEVER};
}

static void enter(struct prestop *p, enum prestop_state s, usec_t until)
{
    p->state = s;
    p->until = until;
}

static void note_configured(struct prestop *p, const struct prestop_facts *f)
{
    p->restart_drain = f->restart_drain;
    p->leaving_max = (f->grace > 0 ? f->grace : GRACE_USUAL) + LEAVING_SPARE;
}

/* The grace clock starts with the first call of those that belong together. */
static void begin(struct prestop *p, enum prestop_state s, usec_t until,
                  const struct prestop_facts *f, usec_t now)
{
    p->asked_at = now;
    note_configured(p, f);
    enter(p, s, until);
}

enum prestop_verdict prestop_called(struct prestop *p, bool self, bool may_begin,
                                    const struct prestop_facts *f, usec_t now)
{
    bool runs = f->drain_runs || p->state == PRESTOP_ASKED || p->state == PRESTOP_RESTART ||
                p->state == PRESTOP_END;

    if (self && may_begin && p->state != PRESTOP_END) {
        if (p->state == PRESTOP_ASKED)
            enter(p, PRESTOP_END, USEC_NEVER);
        else
            begin(p, PRESTOP_END, USEC_NEVER, f, now);
    }
    if (self)
        return may_begin || runs ? PRESTOP_ANSWER : PRESTOP_REFUSE;
    if (!runs && !may_begin)
        return PRESTOP_REFUSE;
    if (f->released)
        return PRESTOP_ANSWER;
    if (!runs)
        begin(p, PRESTOP_ASKED, now + SELF_WITHIN, f, now);
    return PRESTOP_HOLD;
}

enum prestop_state prestop_step(struct prestop *p, enum prestop_port port, usec_t now,
                                usec_t *ret_next)
{
    *ret_next = USEC_NEVER;
    if (p->state == PRESTOP_ASKED && now >= p->until)
        enter(p, PRESTOP_RESTART, p->until + p->restart_drain);
    if (p->state == PRESTOP_RESTART && now >= p->until)
        enter(p, PRESTOP_LEAVING, now + p->leaving_max);
    if ((p->state == PRESTOP_RESTART || p->state == PRESTOP_LEAVING) &&
        port == PRESTOP_PORT_REFUSES)
        enter(p, PRESTOP_AWAY, USEC_NEVER);
    bool back = p->state == PRESTOP_AWAY && port != PRESTOP_PORT_REFUSES;
    /* Where there is no port to be asked, nothing would tell when it is back. */
    bool never = p->state == PRESTOP_LEAVING && (port == PRESTOP_PORT_UNKNOWN || now >= p->until);
    if (back || never)
        enter(p, PRESTOP_IDLE, USEC_NEVER);
    *ret_next = p->until;
    return p->state;
}

bool prestop_lets_go(const struct prestop *p)
{
    return p->state == PRESTOP_LEAVING || p->state == PRESTOP_AWAY || p->state == PRESTOP_IDLE;
}

bool prestop_unready(const struct prestop *p)
{
    return p->state == PRESTOP_RESTART || p->state == PRESTOP_LEAVING || p->state == PRESTOP_AWAY;
}

void prestop_give_way(struct prestop *p)
{
    if (p->state != PRESTOP_END)
        enter(p, PRESTOP_IDLE, USEC_NEVER);
}

void prestop_resume(struct prestop *p, enum prestop_state s, usec_t asked_at, usec_t until,
                    const struct prestop_facts *f)
{
    note_configured(p, f);
    p->asked_at = asked_at;
    enter(p, s, until > 0 ? until : USEC_NEVER);
}
