/* stream_deadline.c - the point in time that a request itself brings, and that goes on with it. */
#include "proxy/stream_steps.h"

#include "policies/deadline.h"

/* Ours and theirs differ by rounding only: theirs stays as it is. */
enum { SAME_US = 1000 };

/* In two fields: who reads it behind us could take another one than we did. */
static const char *read_field(const struct message *m, usec_t *ret_wall)
{
    bool seen = false;
    for (uint32_t i = 0; i < m->n_fields; i++) {
        const struct field *f = &m->fields[i];
        if (f->id != FIELD_X_REQUEST_DEADLINE || f->dropped)
            continue;
        if (seen)
            return "more than one X-Request-Deadline";
        seen = true;
        if (deadline_parse(field_value(m, f), ret_wall) < 0)
            return "invalid X-Request-Deadline";
    }
    return NULL;
}

bool stream_deadline_read(struct stream *s)
{
    usec_t wall = 0, now = clock_mono();
    const char *wrong = read_field(&s->req, &wall);
    if (wrong) {
        stream_reply(s, REASON_BAD_REQUEST, wrong);
        return false;
    }
    usec_t at = deadline_mono(wall, clock_wall(), now);
    if (at <= now) {
        stream_reply(s, REASON_DEADLINE, NULL);
        return false;
    }
    if (s->req.grpc)
        s->call_deadline = at;
    else
        s->deadline = at;
    return true;
}

static usec_t earliest(const struct stream *s)
{
    usec_t at = s->deadline != 0 ? s->deadline : s->call_deadline;
    usec_t of_try = s->retries ? s->exchange->retry.try_deadline : 0;
    return of_try != 0 && (at == 0 || of_try < at) ? of_try : at;
}

bool stream_deadline_pass(struct stream *s)
{
    char text[DEADLINE_LEN];
    usec_t at = earliest(s), now = clock_mono(), wall = clock_wall(), theirs = 0;
    if (at == 0)
        return true;
    usec_t ours = at > now ? wall + (at - now) : wall - (now - at);
    if (s->req.has_deadline && !read_field(&s->req, &theirs) && theirs < ours + SAME_US)
        return true;
    (void)message_drop(&s->req, FIELD_X_REQUEST_DEADLINE);
    if (message_add_known(&s->req, FIELD_X_REQUEST_DEADLINE, deadline_format(ours, text)) == 0) {
        s->req.has_deadline = true;
        return true;
    }
    stream_reply(s, REASON_OUT_OF_MEMORY, NULL);
    return false;
}
