/* stream_grpc.c - what is different for a gRPC call: its deadline, and how it is told of its end.
 *
 * A call is what a message calls gRPC (message.h): it came by HTTP/2, so trailers can end it at any
 * point of its response. */
#include "proxy/stream_steps.h"

#include "http/grpc.h"

#include <stdio.h>

enum { MESSAGE_MOST = 256 };

/* --- deadlines --- */

/* In two fields, or in none that the specification knows: who reads it behind us could take another
 * time from it than we did. */
static const char *read_timeout(struct stream *s)
{
    const struct message *m = &s->req;
    unsigned seen = 0;
    for (uint32_t i = 0; i < m->n_fields; i++) {
        const struct field *f = &m->fields[i];
        usec_t t;
        if (f->id != FIELD_GRPC_TIMEOUT || f->dropped)
            continue;
        if (++seen > 1)
            return "more than one grpc-timeout";
        if (grpc_timeout_parse(field_value(m, f), &t) < 0)
            return "invalid grpc-timeout";
        if (s->call_deadline == 0 || s->began + t < s->call_deadline)
            s->call_deadline = s->began + t;
    }
    return NULL;
}

bool stream_grpc_begin(struct stream *s)
{
    const char *wrong = read_timeout(s);
    if (wrong) {
        stream_reply(s, REASON_BAD_REQUEST, wrong);
        return false;
    }
    if (s->request_ended)
        stream_timeout_set(s, s->began, s->call_deadline);
    else
        s->deadline = s->call_deadline;
    if (s->deadline != 0 && clock_mono() >= s->deadline) {
        stream_reply(s, REASON_DEADLINE, NULL);
        return false;
    }
    return true;
}

void stream_grpc_request_ended(struct stream *s)
{
    if (s->step == STREAM_RECEIVE || s->step == STREAM_FINISHED || s->response_begun)
        return;
    stream_timeout_set(s, s->worker->loop.now, s->call_deadline);
    if (s->deadline_changed)
        s->deadline_changed(s);
}

bool stream_grpc_pass_timeout(struct stream *s)
{
    char text[GRPC_TIMEOUT_LEN];
    usec_t now = clock_mono();
    if (s->call_deadline == 0)
        return true;
    if (now >= s->call_deadline) {
        stream_reply(s, REASON_DEADLINE, NULL);
        return false;
    }
    (void)message_drop(&s->req, FIELD_GRPC_TIMEOUT);
    if (message_add_known(&s->req, FIELD_GRPC_TIMEOUT,
                          grpc_timeout_format(s->call_deadline - now, text)) == 0)
        return true;
    stream_reply(s, REASON_OUT_OF_MEMORY, NULL);
    return false;
}

/* --- the end --- */

static enum grpc_code code_of(const struct stream *s, enum reason reason)
{
    const struct fault_rules *fault = reason == REASON_FAULT_ABORT ? s->route->fault : NULL;
    if (!fault)
        return grpc_code_of_reason(reason);
    return fault->abort_grpc >= 0 ? (enum grpc_code)fault->abort_grpc
                                  : grpc_code_of_http(fault->abort_status);
}

/* grpc-message: the reason's word and, behind a colon, what was wrong. 0 or -ENOMEM. */
static int add_status(const struct stream *s, struct message *m, enum reason reason)
{
    char number[12], text[MESSAGE_MOST], encoded[3 * MESSAGE_MOST];
    int n = snprintf(text, sizeof(text), "%s%s%s", reason_word(reason), s->detail ? ": " : "",
                     s->detail ? s->detail : "");
    (void)snprintf(number, sizeof(number), "%u", (unsigned)code_of(s, reason));
    struct str message = {text, min_u64(n > 0 ? (size_t)n : 0, sizeof(text) - 1)};
    int rc = message_add_known(m, FIELD_GRPC_STATUS, str_of(number));
    return rc < 0 ? rc
                  : message_add_known(m, FIELD_GRPC_MESSAGE,
                                      grpc_message_encode(message, encoded, sizeof(encoded)));
}

void stream_grpc_answer(struct stream *s, enum reason reason)
{
    (void)message_add_known(&s->exchange->res, FIELD_CONTENT_TYPE, STR("application/grpc"));
    (void)add_status(s, &s->exchange->res, reason);
}

/* Else its client makes a status of that of HTTP, and looks for no other behind the head. */
static bool head_is_grpc(const struct stream *s)
{
    const struct field *type = message_find(&s->exchange->res, FIELD_CONTENT_TYPE);
    return s->exchange->res.status == 200 && type &&
           grpc_is_content_type(field_value(&s->exchange->res, type));
}

bool stream_grpc_can_end(const struct stream *s)
{
    if (!s->req.grpc || s->tunnel || !s->response_begun || s->response_ended || s->down->ended)
        return false;
    /* A length that was promised would not be kept. */
    return s->exchange->res.body == BODY_CHUNKED && head_is_grpc(s);
}

bool stream_grpc_end(struct stream *s, enum reason reason)
{
    stream_tell_result(s, reason);
    stream_drop_upstream(s, false, reason);
    struct message *trailers = stream_trailers(s, false);
    if (!trailers)
        return false;
    message_free(trailers);
    message_init(trailers, false);
    if (add_status(s, trailers, reason) < 0)
        return false;
    s->response_ended = true;
    s->down->ops->end(s->down, trailers);
    stream_finish(s, reason, s->request_ended, false);
    return true;
}

int stream_grpc_status(const struct stream *s, enum reason reason)
{
    if (!s->req.grpc)
        return -1;
    if (reason != REASON_NONE && (s->status == 0 || head_is_grpc(s)))
        return (int)code_of(s, reason);
    const struct message *where = s->trailers[1];
    const struct field *f = where ? message_find(where, FIELD_GRPC_STATUS) : NULL;
    if (!f) {
        where = &s->exchange->res; /* the head was all */
        f = message_find(where, FIELD_GRPC_STATUS);
    }
    return (int)(f ? grpc_code_parse(field_value(where, f)) : grpc_code_of_http(s->status));
}
