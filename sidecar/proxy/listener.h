/* listener.h - a listening socket as one worker sees it. */
#ifndef SLUICE_PROXY_LISTENER_H
#define SLUICE_PROXY_LISTENER_H

#include "config/config.h"
#include "io/loop.h"
#include "proxy/stats.h"

struct worker;

struct listener {
    struct worker *worker;
    const struct conf_listener *conf; /* of the worker's current snapshot */
    int fd;                           /* shared by all workers; not closed here */
    bool accepting;
    struct ev_io io;
    struct listener_stats stats;
};

void listener_init(struct listener *l, struct worker *w, const struct conf_listener *conf, int fd);
void listener_start(struct listener *l);
void listener_stop(struct listener *l);
/* Takes in all that waits, regardless of fairness: before the socket is closed. */
void listener_empty(struct listener *l);

#endif
