/* stream_deadline.c - the point in time that a request itself brings, and that goes on with it; and
 * its route's, which may be only counted. */
#include "proxy/stream_steps.h"

#include "policies/deadline.h"
#include "proxy/route_state.h"

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
    usec_t of_try = s->retries && stream_retry_decides(s) ? s->exchange->retry.try_deadline : 0;
    return of_try != 0 && (at == 0 || of_try < at) ? of_try : at;
}

bool stream_deadline_pass(struct stream *s)
{
    char text[DEADLINE_LEN];
    usec_t at = earliest(s), now = clock_mono(), wall = clock_wall(), theirs = 0;
    if (at == 0)
        return true;
    usec_t ours = at > now ? wall + (at - now) : wall - (now - at);
    if (s->req.has_deadline && !s->deadline_told && !read_field(&s->req, &theirs) &&
        theirs < ours + SAME_US)
        return true;
    (void)message_drop(&s->req, FIELD_X_REQUEST_DEADLINE);
    if (message_add_known(&s->req, FIELD_X_REQUEST_DEADLINE, deadline_format(ours, text)) == 0) {
        s->req.has_deadline = s->deadline_told = true;
        return true;
    }
    stream_reply(s, REASON_OUT_OF_MEMORY, NULL);
    return false;
}

/* --- the route's timeouts --- */

void stream_timeout_set(struct stream *s, usec_t from, usec_t own)
{
    usec_t timeout = s->route->timeout;
    s->deadline = own;
    if (timeout == 0 || (own != 0 && own <= from + timeout))
        return;
    if (s->route->timeout_dry_run)
        s->exchange->timeout_dry_run = from + timeout;
    else
        s->deadline = from + timeout;
}

usec_t stream_first_byte_end(const struct stream *s)
{
    usec_t after = s->route->first_byte_timeout;
    return after > 0 && s->step == STREAM_RESPOND && s->sent != 0 && s->first_byte == 0
               ? s->sent + after
               : USEC_NEVER;
}

static usec_t whole_end(const struct stream *s)
{
    bool waits = !s->response_begun && s->exchange && s->exchange->timeout_dry_run != 0;
    return waits ? s->exchange->timeout_dry_run : USEC_NEVER;
}

static usec_t first_byte_end(const struct stream *s)
{
    return s->first_byte_told ? USEC_NEVER : stream_first_byte_end(s);
}

usec_t stream_timeout_dry_run(const struct stream *s)
{
    return min_u64(whole_end(s), first_byte_end(s));
}

static void count(const struct stream *s, enum timeout_kind kind)
{
    count_add(&s->route_state->stats.timeouts_dry_run[kind], 1);
}

void stream_timeout_dry_run_check(struct stream *s, usec_t now)
{
    if (now >= whole_end(s)) {
        s->exchange->timeout_dry_run = 0;
        count(s, TIMEOUT_WHOLE);
    }
    if (now >= first_byte_end(s)) {
        s->first_byte_told = true;
        count(s, TIMEOUT_FIRST_BYTE);
    }
}
