/* hooks.h - who is told that we serve, and that we cease: registries such as Consul. On the control
 * thread.
 *
 * onReady is sent once the listeners serve, again and again until it is answered with 2xx;
 * heartbeats follow it until the drain; onDrain is sent when the drain begins. A heartbeat that is
 * answered with 404 or 410 has met a registry that forgot us: onReady is sent again. */
#ifndef SLUICE_LIFECYCLE_HOOKS_H
#define SLUICE_LIFECYCLE_HOOKS_H

#include "config/config.h"
#include "io/loop.h"
#include "lifecycle/cleanup.h"

#include <jansson.h>

struct hooks;

enum hook_event { HOOK_READY, HOOK_HEARTBEAT, HOOK_DRAIN, HOOK_EVENTS };
const char *hook_event_word(enum hook_event e); /* ready, heartbeat, drain */

/* NULL when memory is short. `engine` is only used. */
struct hooks *hooks_new(struct loop *l, struct cleanup_engine *engine);
struct hooks *hooks_free(struct hooks *hs);
/* A configuration is in force: hooks that are new or changed begin (again) with onReady, those that
 * are gone end with onDrain. 0 or -ENOMEM (the old ones stay). */
int hooks_configure(struct hooks *hs, const struct conf *conf);
/* The listeners serve. */
void hooks_start(struct hooks *hs);
/* The drain begins. onDrain ends by `deadline`. */
void hooks_drain(struct hooks *hs, usec_t deadline);
/* Another process serves from now on (SIGUSR2), and has told so itself: nothing more is sent. */
void hooks_retire(struct hooks *hs);
/* `done` is called once no request of a drain is under way any more: perhaps from within. */
void hooks_wait(struct hooks *hs, void (*done)(void *ctx), void *ctx);

/* For metrics. */
typedef void hook_each(void *ctx, const char *name, enum hook_event e, uint64_t good, uint64_t bad);
void hooks_each(const struct hooks *hs, hook_each *each, void *ctx);

#endif
