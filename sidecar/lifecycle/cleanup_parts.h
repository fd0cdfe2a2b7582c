/* cleanup_parts.h - a run's inside, for the files of cleanup*.c. */
#ifndef SLUICE_LIFECYCLE_CLEANUP_PARTS_H
#define SLUICE_LIFECYCLE_CLEANUP_PARTS_H

#include "io/child.h"
#include "io/curl_loop.h"
#include "lifecycle/cleanup.h"

struct cleanup_engine {
    struct loop *loop;
    struct curl_loop *curl; /* NULL: not needed yet */
    bool allow_link_local;
    uint32_t runs;
};

/* A command under way. */
struct cleanup_command {
    struct child child;
    struct ev_timer late;
};

/* Freed at the end of the loop turn. */
struct cleanup_inner {
    struct reap reap;
    struct cleanup_engine *engine;
    struct cleanup_run *run;
    usec_t began, deadline;
    struct timer timer; /* the next try, or the first from within start */
    struct curl_request request;
    struct curl_field *fields; /* the action's, and the key */
    struct cleanup_command command;
};

/* A try has ended. status 0: without an answer, run->error says why. */
void cleanup_tried(struct cleanup_inner *in, unsigned status, usec_t retry_after);
/* A command gives no status: what its exit says is the result. */
void cleanup_exited(struct cleanup_inner *in, bool released);

/* cleanup_command.c: 0, or -errno and no try was made. */
int cleanup_command_start(struct cleanup_inner *in, usec_t timeout);
void cleanup_command_kill(struct cleanup_inner *in);

#endif
