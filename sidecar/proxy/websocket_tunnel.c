/* websocket_tunnel.c - what watches over a stream that is a WebSocket. */
#include "proxy/websocket_tunnel.h"

#include "proxy/listener.h"
#include "proxy/stream_steps.h"

#include <errno.h>

#define CLOSE_WAIT (5 * USEC_PER_SEC) /* for an echo, or the end of a message */
#define END_WAIT   (2 * USEC_PER_SEC) /* for the peers' ends, after ours */

enum { MISSED_MAX = 2 };

static const struct conf_websocket *conf_of(const struct websocket_tunnel *t)
{
    return &t->stream->route->websocket;
}

static enum websocket_who other(enum websocket_who who)
{
    return who == WEBSOCKET_CLIENT ? WEBSOCKET_SERVER : WEBSOCKET_CLIENT;
}

static struct side *side_of(const struct websocket_tunnel *t, enum websocket_who who)
{
    return who == WEBSOCKET_CLIENT ? t->stream->down : t->stream->up;
}

static struct relay *relay_from(const struct websocket_tunnel *t, enum websocket_who who)
{
    return who == WEBSOCKET_CLIENT ? &t->stream->request : &t->stream->response;
}

static bool finished(const struct websocket_tunnel *t)
{
    return t->stream->step == STREAM_FINISHED;
}

static void note_code(struct websocket_tunnel *t, enum websocket_code code)
{
    if (t->first_code == 0)
        t->first_code = (uint16_t)code;
}

/* --- frames of ours --- */

/* A server's frames are not masked, a client's are, and we are one to the server. */
static const uint8_t *mask_for(struct websocket_tunnel *t, enum websocket_who to, uint8_t mask[4])
{
    if (to == WEBSOCKET_CLIENT)
        return NULL;
    uint64_t bits = rng_next(&t->stream->worker->loop.rng);
    memcpy(mask, &bits, 4);
    return mask;
}

/* False where nothing can be sent any more. */
static bool send_frame(struct websocket_tunnel *t, enum websocket_who to, const char *frame,
                       size_t n)
{
    struct side *side = side_of(t, to);
    if (!side || side->ended)
        return false;
    side->ops->body(side, frame, n);
    side->ops->flush(side);
    return true;
}

static void send_close(struct websocket_tunnel *t, enum websocket_who to)
{
    char frame[WEBSOCKET_CONTROL_MAX];
    uint8_t mask[4];
    size_t n =
        websocket_write_close(frame, (enum websocket_code)t->code, STR_NONE, mask_for(t, to, mask));
    note_code(t, (enum websocket_code)t->code);
    t->peers[to].close_pending = t->peers[to].ping_pending = false;
    t->peers[to].closed = true;
    (void)send_frame(t, to, frame, n);
    /* What the other one still says goes nowhere, however slowly this one reads. */
    relay_discard(relay_from(t, other(to)), &t->stream->worker->loop.bufs);
}

static void send_ping(struct websocket_tunnel *t, enum websocket_who to)
{
    char frame[WEBSOCKET_CONTROL_MAX];
    uint8_t mask[4];
    struct websocket_peer *p = &t->peers[to];
    size_t n = websocket_write_control(frame, WEBSOCKET_PING, &t->ping_tag, sizeof(t->ping_tag),
                                       mask_for(t, to, mask));
    p->ping_pending = false;
    if (!send_frame(t, to, frame, n))
        return;
    p->pinged = true;
    p->ping_at = p->beat = t->stream->worker->loop.now;
}

/* What waits for a boundary of what goes to that peer, if there is one now. */
static void send_pending(struct websocket_tunnel *t, enum websocket_who to)
{
    struct websocket_peer *p = &t->peers[to];
    struct websocket_reader *r = &t->peers[other(to)].reader;
    if (p->close_pending &&
        (t->at_frame ? websocket_between_frames(r) : websocket_between_messages(r)))
        send_close(t, to);
    if (p->ping_pending && websocket_between_frames(r))
        send_ping(t, to);
    r->stop = p->close_pending  ? t->at_frame ? WEBSOCKET_STOP_AT_FRAME : WEBSOCKET_STOP_AT_MESSAGE
              : p->ping_pending ? WEBSOCKET_STOP_AT_FRAME
                                : WEBSOCKET_STOP_NEVER;
}

/* --- closing --- */

static void end_to(struct websocket_tunnel *t, enum websocket_who to)
{
    struct side *side = side_of(t, to);
    t->peers[to].ended = true;
    if (side && !side->ended)
        side->ops->end(side, NULL);
}

/* An HTTP/2 stream that both have ended is gone, and our stream with it: the server's end comes
 * before ours to such a client, unless nothing is expected of the server. */
static bool may_end_to(const struct websocket_tunnel *t, enum websocket_who to)
{
    const struct stream *s = t->stream;
    return !t->peers[to].ended && (to == WEBSOCKET_SERVER || !s->req.http2 ||
                                   s->response.from_ended || t->peers[WEBSOCKET_SERVER].lost);
}

static bool is_over(const struct websocket_peer *p)
{
    return p->closed && p->said_close;
}

/* All is said: both get our end, if they have not; then theirs are waited for, once. */
static void end_both(struct websocket_tunnel *t)
{
    if (t->ending) {
        stream_finish(t->stream, t->reason, true, false);
        return;
    }
    t->ending = true;
    t->give_up_at = t->stream->worker->loop.now + END_WAIT;
    for (int who = WEBSOCKET_CLIENT; who <= WEBSOCKET_SERVER; who++) {
        if (may_end_to(t, (enum websocket_who)who))
            end_to(t, (enum websocket_who)who);
    }
    stream_check_tunnel(t->stream);
}

/* How far is it? A peer whose Close came, and that has got one, gets our end where it is us who
 * close; where it is the peers, one of them ends, as if we were not there. */
static void settle(struct websocket_tunnel *t)
{
    struct websocket_peer *client = &t->peers[WEBSOCKET_CLIENT];
    struct websocket_peer *server = &t->peers[WEBSOCKET_SERVER];
    if (finished(t))
        return;
    if (!t->closing) {
        if (is_over(client) && is_over(server) && t->give_up_at == 0)
            t->give_up_at = t->stream->worker->loop.now + CLOSE_WAIT;
        return;
    }
    for (int who = WEBSOCKET_CLIENT; who <= WEBSOCKET_SERVER; who++) {
        if (is_over(&t->peers[who]) && may_end_to(t, (enum websocket_who)who))
            end_to(t, (enum websocket_who)who);
    }
    if (is_over(client) && is_over(server) && !t->ending)
        end_both(t);
}

static void set_give_up(struct websocket_tunnel *t)
{
    if (t->ending)
        return;
    bool pending =
        t->peers[WEBSOCKET_CLIENT].close_pending || t->peers[WEBSOCKET_SERVER].close_pending;
    /* The drain has its own time for a message to end. */
    if (pending && t->reason == REASON_DRAINING)
        t->give_up_at = 0;
    else
        t->give_up_at = t->stream->worker->loop.now + CLOSE_WAIT;
}

static void begin_close(struct websocket_tunnel *t, enum websocket_code code, enum reason reason,
                        bool at_frame)
{
    struct stream *s = t->stream;
    if (finished(t))
        return;
    t->at_frame = t->at_frame || at_frame;
    if (!t->closing) {
        t->closing = true;
        t->code = (uint16_t)code;
        t->reason = reason;
        list_remove(&t->link);
        for (int who = WEBSOCKET_CLIENT; who <= WEBSOCKET_SERVER; who++) {
            t->peers[who].close_pending = !t->peers[who].closed;
            t->peers[who].ping_pending = false;
        }
    }
    send_pending(t, WEBSOCKET_CLIENT);
    send_pending(t, WEBSOCKET_SERVER);
    set_give_up(t);
    settle(t);
    if (!finished(t) && s->deadline_changed)
        s->deadline_changed(s);
}

void websocket_tunnel_close(struct websocket_tunnel *t, enum websocket_code code,
                            enum reason reason)
{
    CHECK_OBJ(t, WEBSOCKET_TUNNEL_MAGIC);
    if (!t->closing)
        begin_close(t, code, reason, false);
}

void websocket_tunnel_last_call(struct websocket_tunnel *t)
{
    CHECK_OBJ(t, WEBSOCKET_TUNNEL_MAGIC);
    begin_close(t, WEBSOCKET_GOING_AWAY, REASON_DRAINING, true);
}

/* Nothing that it says is waited for any more. */
static void forget(struct websocket_tunnel *t, enum websocket_who who)
{
    t->peers[who].said_close = t->peers[who].lost = true;
}

/* --- what comes --- */

/* Bytes that go on in one piece. */
struct run {
    const char *p;
    size_t n;
};

static void flush_run(struct websocket_tunnel *t, enum websocket_who from, struct run *run)
{
    struct relay *r = relay_from(t, from);
    if (run->n > 0 && r->to && !r->to->ended) {
        t->stream->active_at = t->stream->worker->loop.now;
        r->to->ops->body(r->to, run->p, run->n);
    }
    run->n = 0;
}

static void pass(struct websocket_tunnel *t, enum websocket_who from, struct run *run,
                 const struct websocket_piece *piece)
{
    if (t->peers[other(from)].closed)
        return; /* behind a Close nothing comes */
    if (run->n > 0 && run->p + run->n == piece->p) {
        run->n += piece->n;
        return;
    }
    flush_run(t, from, run);
    *run = (struct run){piece->p, piece->n};
    /* The reader's own bytes are gone with its next call. */
    const struct websocket_reader *r = &t->peers[from].reader;
    if (piece->p == r->held)
        flush_run(t, from, run);
}

static void on_control(struct websocket_tunnel *t, enum websocket_who from, struct run *run,
                       const struct websocket_piece *piece)
{
    struct websocket_peer *x = &t->peers[from], *y = &t->peers[other(from)];
    switch ((enum websocket_opcode)piece->opcode) {
    case WEBSOCKET_CLOSE:
        note_code(t, websocket_close_code(piece));
        x->said_close = true;
        pass(t, from, run, piece);
        y->closed = true;
        y->close_pending = y->ping_pending = false;
        break;
    case WEBSOCKET_PONG:
        if (piece->payload_len == sizeof(t->ping_tag) &&
            memcmp(piece->payload, &t->ping_tag, sizeof(t->ping_tag)) == 0)
            x->pong_at = t->stream->worker->loop.now;
        else
            pass(t, from, run, piece);
        break;
    default:
        pass(t, from, run, piece);
        break;
    }
}

/* The generic cell rate algorithm: a burst of a second's worth is let through. */
static bool over_rate(struct websocket_tunnel *t, uint64_t n)
{
    uint64_t rate = conf_of(t)->max_message_rate;
    usec_t now = t->stream->worker->loop.now;
    if (rate == 0 || n == 0)
        return false;
    t->rate_at = max_u64(t->rate_at, now - USEC_PER_SEC) + n * USEC_PER_SEC / rate;
    return t->rate_at > now;
}

static void on_bad(struct websocket_tunnel *t, enum websocket_who from,
                   const struct websocket_piece *piece)
{
    enum reason reason = REASON_WEBSOCKET_PROTOCOL;
    if (piece->code == WEBSOCKET_TOO_BIG)
        reason = REASON_WEBSOCKET_FRAME_SIZE;
    else if (piece->code == WEBSOCKET_INTERNAL_ERROR)
        reason = REASON_OUT_OF_MEMORY;
    t->stream->detail = piece->detail;
    forget(t, from);
    begin_close(t, piece->code, reason, true);
}

static void count_messages(struct websocket_tunnel *t, enum websocket_who from, uint32_t messages,
                           uint32_t controls)
{
    const struct websocket_reader *r = &t->peers[from].reader;
    uint32_t n = r->messages - messages;
    if (n > 0)
        count_add(&t->stream->worker->stats.websocket_messages[from], n);
    if (from == WEBSOCKET_CLIENT && !t->closing && over_rate(t, n + (r->controls - controls)))
        begin_close(t, WEBSOCKET_POLICY_VIOLATION, REASON_WEBSOCKET_MESSAGE_RATE, false);
}

static void read_frames(struct websocket_tunnel *t, enum websocket_who from, const char *p,
                        size_t n)
{
    struct websocket_peer *x = &t->peers[from], *y = &t->peers[other(from)];
    struct run run = {0};
    while (n > 0 && !x->said_close && !finished(t)) {
        struct websocket_piece piece;
        size_t taken = 0;
        switch (websocket_read(&x->reader, conf_of(t)->max_frame_size, p, n, &taken, &piece)) {
        case WEBSOCKET_MORE:
            break;
        case WEBSOCKET_DATA:
            pass(t, from, &run, &piece);
            break;
        case WEBSOCKET_CONTROL:
            on_control(t, from, &run, &piece);
            break;
        case WEBSOCKET_BAD:
            flush_run(t, from, &run);
            on_bad(t, from, &piece);
            return;
        }
        p += taken;
        n -= taken;
        if (y->close_pending || y->ping_pending) {
            flush_run(t, from, &run);
            send_pending(t, other(from));
            if (t->closing)
                set_give_up(t);
        }
    }
    flush_run(t, from, &run);
}

void websocket_tunnel_data(struct websocket_tunnel *t, enum websocket_who from, const char *p,
                           size_t n)
{
    CHECK_OBJ(t, WEBSOCKET_TUNNEL_MAGIC);
    struct stream *s = t->stream;
    struct websocket_peer *x = &t->peers[from];
    uint32_t messages = x->reader.messages, controls = x->reader.controls;
    usec_t give_up_at = t->give_up_at;
    x->beat = s->worker->loop.now;
    x->pinged = false;
    x->missed = 0;
    relay_take(relay_from(t, from), n);
    read_frames(t, from, p, n);
    if (finished(t))
        return;
    count_messages(t, from, messages, controls);
    if (finished(t))
        return;
    relay_drained(relay_from(t, from));
    settle(t);
    if (!finished(t) && t->give_up_at != give_up_at && s->deadline_changed)
        s->deadline_changed(s);
}

bool websocket_tunnel_ended(struct websocket_tunnel *t, enum websocket_who from)
{
    CHECK_OBJ(t, WEBSOCKET_TUNNEL_MAGIC);
    struct websocket_peer *y = &t->peers[other(from)];
    forget(t, from);
    /* What it has begun will not be ended; within a frame nothing can be said. */
    if (y->close_pending && websocket_between_frames(&t->peers[from].reader))
        send_close(t, other(from));
    else if (y->close_pending)
        forget(t, other(from));
    y->close_pending = y->ping_pending = false;
    if (t->closing)
        y->closed = true;
    settle(t);
    return t->closing && !y->said_close;
}

/* --- time --- */

static usec_t min_deadline(usec_t at, usec_t from, usec_t after)
{
    return after > 0 ? min_u64(at, from + after) : at;
}

usec_t websocket_tunnel_deadline(const struct websocket_tunnel *t)
{
    const struct conf_websocket *c = conf_of(t);
    usec_t at = t->give_up_at ? t->give_up_at : USEC_NEVER;
    if (t->closing || t->ending)
        return at;
    at = min_deadline(at, t->stream->first_byte, c->max_lifetime);
    at = min_deadline(at, t->stream->active_at, c->idle_timeout);
    for (int who = WEBSOCKET_CLIENT; who <= WEBSOCKET_SERVER; who++) {
        if (!t->peers[who].said_close)
            at = min_deadline(at, t->peers[who].beat, c->ping_interval);
    }
    return at;
}

/* It is silent, or has not answered. */
static void beat(struct websocket_tunnel *t, enum websocket_who who, usec_t now)
{
    struct websocket_peer *p = &t->peers[who];
    usec_t interval = conf_of(t)->ping_interval;
    const struct side *side = side_of(t, who);
    if (interval == 0 || p->said_close || now < p->beat + interval)
        return;
    p->beat = now;
    /* What it has not read yet lies in front of our ping. */
    if (side->blocked)
        return;
    if (p->pinged) {
        count_add(&t->stream->worker->stats.websocket_pings_missed, 1);
        if (++p->missed >= MISSED_MAX) {
            forget(t, who);
            begin_close(t, WEBSOCKET_GOING_AWAY, REASON_WEBSOCKET_DEAD, true);
            return;
        }
    }
    if (!p->closed) {
        p->ping_pending = true;
        send_pending(t, who);
    }
}

static void check_closing(struct websocket_tunnel *t, usec_t now)
{
    if (now < t->give_up_at)
        return;
    if (t->closing && !t->at_frame &&
        (t->peers[WEBSOCKET_CLIENT].close_pending || t->peers[WEBSOCKET_SERVER].close_pending))
        begin_close(t, (enum websocket_code)t->code, t->reason, true);
    else
        end_both(t);
}

void websocket_tunnel_check(struct websocket_tunnel *t, usec_t now)
{
    CHECK_OBJ(t, WEBSOCKET_TUNNEL_MAGIC);
    const struct conf_websocket *c = conf_of(t);
    if (t->give_up_at != 0)
        check_closing(t, now);
    if (finished(t) || t->closing || t->ending)
        return;
    if (c->max_lifetime > 0 && now >= t->stream->first_byte + c->max_lifetime) {
        begin_close(t, WEBSOCKET_GOING_AWAY, REASON_WEBSOCKET_LIFETIME, false);
        return;
    }
    if (c->idle_timeout > 0 && now >= t->stream->active_at + c->idle_timeout) {
        begin_close(t, WEBSOCKET_GOING_AWAY, REASON_IDLE_TIMEOUT, false);
        return;
    }
    beat(t, WEBSOCKET_CLIENT, now);
    if (!finished(t) && !t->closing)
        beat(t, WEBSOCKET_SERVER, now);
}

/* --- its life --- */

static void read_extensions(struct websocket_tunnel *t)
{
    const struct message *m = &t->stream->exchange->res;
    for (uint32_t i = 0; i < m->n_fields; i++) {
        const struct field *f = &m->fields[i];
        if (f->dropped || !str_ieq(field_name(m, f), STR("sec-websocket-extensions")))
            continue;
        websocket_reader_extensions(&t->peers[WEBSOCKET_CLIENT].reader, field_value(m, f));
        websocket_reader_extensions(&t->peers[WEBSOCKET_SERVER].reader, field_value(m, f));
    }
}

int websocket_tunnel_begin(struct stream *s)
{
    struct worker *w = s->worker;
    struct websocket_tunnel *t = slab_alloc(&w->websockets);
    if (!t)
        return -ENOMEM;
    memset(t, 0, sizeof(*t));
    t->magic = WEBSOCKET_TUNNEL_MAGIC;
    t->stream = s;
    t->ping_tag = rng_next(&w->loop.rng);
    for (int who = WEBSOCKET_CLIENT; who <= WEBSOCKET_SERVER; who++) {
        websocket_reader_init(&t->peers[who].reader, who == WEBSOCKET_CLIENT);
        t->peers[who].beat = w->loop.now;
    }
    read_extensions(t);
    list_push_back(&w->population[s->listener->direction].websockets, &t->link);
    count_add(&w->stats.websockets, 1);
    s->websocket = t;
    return 0;
}

static enum websocket_close_class class_of(const struct websocket_tunnel *t)
{
    switch (t->first_code) {
    case 0:
        return WEBSOCKET_CLOSE_ABNORMAL;
    case WEBSOCKET_NORMAL:
    case WEBSOCKET_NO_CODE:
        return WEBSOCKET_CLOSE_NORMAL;
    case WEBSOCKET_GOING_AWAY:
        return WEBSOCKET_CLOSE_GOING_AWAY;
    case WEBSOCKET_PROTOCOL_ERROR:
        return WEBSOCKET_CLOSE_PROTOCOL_ERROR;
    case WEBSOCKET_POLICY_VIOLATION:
        return WEBSOCKET_CLOSE_POLICY;
    case WEBSOCKET_TOO_BIG:
        return WEBSOCKET_CLOSE_TOO_BIG;
    default:
        return t->first_code >= 3000 ? WEBSOCKET_CLOSE_APPLICATION : WEBSOCKET_CLOSE_OTHER;
    }
}

void websocket_tunnel_end(struct websocket_tunnel *t)
{
    CHECK_OBJ(t, WEBSOCKET_TUNNEL_MAGIC);
    struct worker_stats *stats = &t->stream->worker->stats;
    const struct websocket_peer *client = &t->peers[WEBSOCKET_CLIENT];
    if (!client->ended && (t->ending || (t->closing && is_over(client))))
        end_to(t, WEBSOCKET_CLIENT); /* it has waited for the server's */
    list_remove(&t->link);
    count_add(&stats->websockets, -1);
    count_add(&stats->websocket_closes[class_of(t)], 1);
}

void websocket_tunnel_free(struct worker *w, struct websocket_tunnel *t)
{
    if (!t)
        return;
    CHECK_OBJ(t, WEBSOCKET_TUNNEL_MAGIC);
    t->magic = 0;
    websocket_reader_free(&t->peers[WEBSOCKET_CLIENT].reader);
    websocket_reader_free(&t->peers[WEBSOCKET_SERVER].reader);
    slab_free(&w->websockets, t);
}
