/* stream_steps.h - what the files of the stream's state machine share. Not for others. */
#ifndef SLUICE_PROXY_STREAM_STEPS_H
#define SLUICE_PROXY_STREAM_STEPS_H

#include "proxy/stream.h"

/* The driver: runs steps until one waits. */
void stream_run(struct stream *s);

/* Answers in the upstream's place with problem+json (or cuts what has begun), and finishes. */
void stream_reply(struct stream *s, enum reason reason, const char *detail);
/* A redirect or a direct response, as the route says. Finishes. */
void stream_answer(struct stream *s);

/* The end: lets go of both sides, tells the outcome, frees at the end of the turn. `clean`: the
 * side may carry another exchange. */
void stream_finish(struct stream *s, enum reason reason, bool down_clean, bool up_clean);
/* Lets go of the upstream side, for another try or because it is no longer needed. */
void stream_drop_upstream(struct stream *s, bool clean, enum reason reason);

/* Makes the request ready for the next hop (once). 0 or -ENOMEM. */
int stream_prepare(struct stream *s);
/* The client asked for an upgrade that the route lets through. */
bool stream_wants_upgrade(const struct stream *s);
/* A tunnel ends when both directions have, and all is sent. */
void stream_check_tunnel(struct stream *s);

#endif
