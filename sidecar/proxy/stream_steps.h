/* stream_steps.h - what the files of the stream's state machine share. Not for others. */
#ifndef SLUICE_PROXY_STREAM_STEPS_H
#define SLUICE_PROXY_STREAM_STEPS_H

#include "proxy/stream.h"

struct jwt_claims; /* policies/jwt.h */

/* The driver: runs steps until one waits. */
void stream_run(struct stream *s);
/* From the choice of an endpoint on, once more: it has no upstream. It may have ended then. */
void stream_send_again(struct stream *s);

/* Answers in the upstream's place with problem+json, for gRPC with a grpc-status (or cuts what has
 * begun), and finishes. */
void stream_reply(struct stream *s, enum reason reason, const char *detail);
/* A redirect or a direct response, as the route says. Finishes. */
void stream_answer(struct stream *s);

/* The end: lets go of both sides, tells the outcome, frees at the end of the turn. `clean`: the
 * side may carry another exchange. */
void stream_finish(struct stream *s, enum reason reason, bool down_clean, bool up_clean);
/* What the try that ends now says of its endpoint and of its upstream (base/result.h), once; where
 * it is to say nothing this is not called. Before stream_drop_upstream(). */
void stream_tell_result(struct stream *s, enum reason reason);
/* Lets go of the upstream side, for another try or because it is no longer needed. */
void stream_drop_upstream(struct stream *s, bool clean, enum reason reason);

/* limit (stream_limit.c): the route's rate limits. False: it was answered, and finished. */
bool stream_limit(struct stream *s);
/* From authorize: by whose token limits for each claim go; NULL: there is none. */
void stream_limit_note_claims(struct stream *s, const struct jwt_claims *claims, struct str issuer);
/* Behind it: the field that the verified token came in, which limits for each value of it still
 * know where it goes no further. */
void stream_limit_note_token(struct stream *s, const struct field *token);
/* The process sheds load, and this request with it. */
void stream_refuse_overloaded(struct stream *s);
/* What a client is told of the limit that refused it. */
void stream_limit_answer(const struct stream *s, struct message *res);
/* stream_authorize.c, of a route with authz. False: it was answered, and finished. */
bool stream_authorize(struct stream *s);
/* Its request's trailers are whole: without what only authorize may say. */
void stream_authorize_trailers(struct stream *s);

/* gRPC (stream_grpc.c). When its route is known: grpc-timeout is for the whole call, the route's
 * timeout for the response's head, from the request's end on: a call that still sends can wait for
 * its answer. False: it was answered, and finished. */
bool stream_grpc_begin(struct stream *s);
void stream_grpc_request_ended(struct stream *s);
/* What is left goes on with the request. False: it was answered, and finished. */
bool stream_grpc_pass_timeout(struct stream *s);
/* Into s->res: the status for that reason, in the head because nothing follows it. */
void stream_grpc_answer(struct stream *s, enum reason reason);
/* A response that has begun can end in trailers of ours. */
bool stream_grpc_can_end(const struct stream *s);
/* It does, and finishes; false when memory is short. The upstream is let go of in any case. */
bool stream_grpc_end(struct stream *s, enum reason reason);
/* enum grpc_code, as the client was told it; -1: not gRPC. */
int stream_grpc_status(const struct stream *s, enum reason reason);

/* X-Request-Deadline (stream_deadline.c) is read when the request has a route, for it shortens that
 * route's time; and given to the upstream. False: it was answered, and finished. */
bool stream_deadline_read(struct stream *s);
bool stream_deadline_pass(struct stream *s);
/* The route's timeout, counted from `from`; the request's `own` (0: none) where that is earlier. */
void stream_timeout_set(struct stream *s, usec_t from, usec_t own);
/* Of a route with timeoutDryRun, as stream_next_deadline() and stream_check(), which ask them: what
 * would have ended it is counted. */
usec_t stream_timeout_dry_run(const struct stream *s);
void stream_timeout_dry_run_check(struct stream *s, usec_t now);
/* Of any route; USEC_NEVER: the first byte is not waited for, or for as long as it takes. */
usec_t stream_first_byte_end(const struct stream *s);

/* stream_unreachable.c. It waits for its server, and its connection is looked at. True: s has gone
 * elsewhere, or has ended. */
bool stream_look_at_upstream(struct stream *s, usec_t now);
/* stream_again.c. It can be sent once more, and nobody is the worse for it (RFC 9110 §9.2.2). */
bool stream_is_repeatable(const struct stream *s);
/* It is, to another endpoint; this one hears of the reason. */
void stream_move(struct stream *s, enum reason reason, enum moved why);

/* Retries (stream_retry.c); but for the first two only where s->retries says so. Its route has
 * them, and its upstream is known. */
void stream_retry_begin(struct stream *s);
/* How it is told: as it is, or that there was no budget for what could have been better. */
enum reason stream_retry_reason(const struct stream *s, enum reason reason);
void stream_retry_keep(struct stream *s, const char *p, size_t n);
void stream_retry_try_begins(struct stream *s);
/* The head of an answer, a failure, or the server's word that it did not look at it. True: s waits
 * for its next try, or has ended. */
bool stream_retry_response(struct stream *s);
bool stream_retry_failed(struct stream *s, enum reason reason);
bool stream_retry_unprocessed(struct stream *s);
/* As stream_next_deadline() and stream_check(), which ask them. */
usec_t stream_retry_deadline(const struct stream *s);
bool stream_retry_check(struct stream *s, usec_t now);
void stream_retry_end(struct stream *s);
/* It has rules for that, and they act: what they don't retry is not sent again. */
bool stream_retry_decides(const struct stream *s);

/* What of a long stream's request is still asked for (access_log.c). */
#define STREAM_KEPT_FIELDS                                                                         \
    ((uint64_t)1 << FIELD_X_FORWARDED_FOR | (uint64_t)1 << FIELD_TRACEPARENT |                     \
     (uint64_t)1 << FIELD_X_REQUEST_ID | (uint64_t)1 << FIELD_USER_AGENT)
/* Of each of its texts: no more than the access log tells. Where memory is short: enough to
 * recognise it. */
enum { STREAM_KEPT_MOST = 1024, STREAM_KEPT_LEAST = 256 };
/* It is a tunnel from now on: the memory of what it needs no more goes to others. */
void stream_end_exchange(struct stream *s);
/* Those of stream_trailers(). */
void stream_free_trailers(struct stream *s, bool request);

/* The route's header rules (stream_headers.c). False: it was answered, and finished. */
bool stream_change_request(struct stream *s);
bool stream_change_response(struct stream *s);

/* The response's head goes to the client. */
void stream_give_response(struct stream *s);

/* The step fault (stream_fault.c), of a route that has any. */
enum stream_next stream_fault(struct stream *s);
/* A stream that is delayed gives its place back. */
void stream_fault_leave(struct stream *s);

/* Makes the request ready for the next hop (once). 0 or -ENOMEM. */
int stream_prepare(struct stream *s);
/* The client asked for an upgrade that the route lets through. */
bool stream_wants_upgrade(const struct stream *s);
/* A tunnel ends when both directions have, and all is sent. */
void stream_check_tunnel(struct stream *s);

#endif
