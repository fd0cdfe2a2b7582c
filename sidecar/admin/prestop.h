/* prestop.h - GET /prestop on the health port: the calls that are held, and what they set going
 * (lifecycle/prestop.h decides what they mean). On the control thread. */
#ifndef SLUICE_ADMIN_PRESTOP_H
#define SLUICE_ADMIN_PRESTOP_H

#include "admin/exposition.h"
#include "admin/http_server.h"
#include "base/list.h"
#include "io/loop.h"
#include "lifecycle/app_ports.h"
#include "lifecycle/prestop.h"
#include "lifecycle/quiet.h"

#include <jansson.h>

struct control;

enum {
    PRESTOP_HELD_MAX = 64, /* calls at once; a pod has one for each of its containers */
};

enum prestop_result {
    PRESTOP_CALL_HELD,        /* until what it waited for was over */
    PRESTOP_CALL_AT_ONCE,     /* there was nothing to wait for, or it is the sidecar's own */
    PRESTOP_CALL_REFUSED,     /* no token, or a wrong one, and nothing runs */
    PRESTOP_CALL_TOO_MANY,    /* over PRESTOP_HELD_MAX */
    PRESTOP_CALL_CALLER_GONE, /* it was held, and did not wait */
    PRESTOP_CALL_RESULTS,
};

struct control_prestop {
    struct prestop rules;
    struct app_ports ports;
    struct list held; /* prestop_call.link, the oldest first */
    uint32_t n_held;
    uint32_t n_ever; /* of this process */
    uint64_t results[PRESTOP_CALL_RESULTS];
    enum prestop_state told; /* the last state that everybody knows of */
    struct timer timer;
};

void control_prestop_init(struct control *c);
/* The handler. */
void prestop_get(struct http_request *req, void *ctx);
/* At a start: calls that a process which died had held, before anything is resumed. */
void control_prestop_adopt(struct control *c);
/* That process was in the middle of a restart, as it had told the supervisor: that goes on. False:
 * the word is no such state's. */
bool control_prestop_resume(struct control *c, const char *word, usec_t asked_at, usec_t until);
/* It has told nothing. Calls that it held all the same are held as if they had come now. */
void control_prestop_forgotten(struct control *c);
/* The drain that was resumed is a pod's end. */
void control_prestop_ends(struct control *c);
/* The drain has come to another phase, or began: who has been held long enough is answered. */
void control_prestop_drained(struct control *c);
/* SIGTERM: does it mean that the grace is over, because a container is still held? */
bool control_prestop_holds(const struct control *c);

/* Between prestop.c (the calls) and prestop_follow.c (what they mean). */
struct prestop_facts control_prestop_facts(const struct control *c);
void control_prestop_step(struct control *c);
void control_prestop_answer_all(struct control *c);

/* prestop_show.c */
void prestop_metrics(const struct control_prestop *p, struct exposition *t);
json_t *prestop_json(const struct control_prestop *p);

#endif
