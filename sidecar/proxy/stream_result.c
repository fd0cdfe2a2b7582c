/* stream_result.c - what a try says about the endpoint that it was made at. */
#include "proxy/stream_steps.h"

#include "http/grpc.h"
#include "proxy/endpoint.h"
#include "proxy/stream_flight.h"
#include "proxy/stream_permit.h"

static enum result of_grpc(int code)
{
    switch (code) {
    case GRPC_UNKNOWN:
    case GRPC_INTERNAL:
    case GRPC_DATA_LOSS:
        return RESULT_ERROR;
    case GRPC_UNAVAILABLE:
    case GRPC_DEADLINE_EXCEEDED:
        return RESULT_GATEWAY;
    case GRPC_RESOURCE_EXHAUSTED:
        return RESULT_LIMITED;
    default:
        return RESULT_SUCCESS;
    }
}

static enum result of_status(unsigned status)
{
    if (status == 502 || status == 503 || status == 504)
        return RESULT_GATEWAY;
    return status == 429 ? RESULT_LIMITED : status >= 500 ? RESULT_ERROR : RESULT_SUCCESS;
}

/* Nobody but the server was late: it had the whole request, and the client took what came. */
static bool waited_for_server(const struct stream *s)
{
    return s->sent != 0 && !(s->response_begun && s->down && s->down->blocked);
}

static enum result of_stream(const struct stream *s, enum reason reason)
{
    switch (reason) {
    case REASON_NONE:
        /* Of another status a client makes UNAVAILABLE, INTERNAL or UNKNOWN, a 4xx's too. */
        return s->req.grpc && s->status == 200 ? of_grpc(stream_grpc_status(s, reason))
                                               : of_status(s->status);
    case REASON_CONNECT_REFUSED:
    case REASON_CONNECT_FAILED:
    case REASON_CONNECT_TIMEOUT:
    case REASON_UPSTREAM_TLS:
    case REASON_UPSTREAM_CERTIFICATE:
        return RESULT_CONNECT;
    case REASON_UPSTREAM_CLOSED:
    case REASON_UPSTREAM_RESET:
    case REASON_UPSTREAM_UNREACHABLE:
    case REASON_UPSTREAM_TRUNCATED:
    case REASON_UPSTREAM_PROTOCOL:
    case REASON_UPSTREAM_HEADERS_TOO_LARGE:
    case REASON_UPGRADE_FAILED:
        return RESULT_RESET;
    case REASON_DEADLINE:
    case REASON_FIRST_BYTE_TIMEOUT:
    case REASON_TRY_TIMEOUT:
    case REASON_IDLE_TIMEOUT:
        return waited_for_server(s) ? RESULT_TIMEOUT : RESULT_NOTHING;
    default:
        return RESULT_NOTHING;
    }
}

/* It has no connection: nobody could be reached, or its time ended while one was being made. */
static enum result of_waiting(const struct stream *s, enum reason reason)
{
    if (reason == REASON_DEADLINE)
        return s->exchange && s->exchange->wait.making ? RESULT_CONNECT : RESULT_NOTHING;
    enum result r = of_stream(s, reason);
    return r == RESULT_CONNECT ? r : RESULT_NOTHING;
}

/* What the client does with a response, or is late with of a request, is not in it. */
static usec_t latency_of(const struct stream *s, enum result r)
{
    usec_t end = s->first_byte > 0 ? s->first_byte : s->worker->loop.now;
    if (s->sent == 0 || s->tunnel || end <= s->sent || (s->first_byte == 0 && r != RESULT_TIMEOUT))
        return 0;
    return end - s->sent;
}

void stream_tell_result(struct stream *s, enum reason reason)
{
    if (!s->up && s->permit_held)
        stream_permit_report(s, of_waiting(s, reason));
    if (!s->up || !s->endpoint || s->result_told)
        return;
    s->result_told = true;
    /* A tunnel is told as it opens: how long peers talk, and who hangs up, says nothing. */
    enum result r = s->tunnel ? RESULT_SUCCESS : of_stream(s, reason);
    if (r != RESULT_NOTHING)
        endpoint_on_result(s->endpoint, r, latency_of(s, r));
    if (s->in_flight)
        stream_flight_tried(s, r, reason);
    if (s->permit_held)
        stream_permit_report(s, r);
}
