/* downstream_h2_side.c - the side towards an HTTP/2 client: a response becomes frames. */
#include "proxy/downstream_h2.h"

#include "proxy/listener.h"
#include "proxy/stream.h"
#include "proxy/worker_overload.h"

static struct h2_request *of(struct side *s)
{
    struct h2_request *r = CONTAINER_OF(s, struct h2_request, side);
    CHECK_OBJ(r, H2_REQUEST_MAGIC);
    return r;
}

/* Memory was short for frames: told from the turn's end, by which the connection closes. */
static void check(struct h2_request *r, int rc)
{
    if (rc < 0 && r->st.h2)
        r->st.h2->no_memory = true;
}

/* From now on something waits for the client's window. */
static void mark(struct h2_request *r)
{
    const struct downstream *d = r->conn->d;
    if (buf_len(&r->st.out) > 0)
        return; /* it did already */
    r->marked = r->st.sent;
    r->marked_at = d->worker->loop.now;
    downstream_h2_wake_at(r->conn, r->marked_at + d->listener->conf->write_timeout);
}

/* Held back until flush(), so that it can still be recalled. */
static void side_head(struct side *side, const struct message *m, enum side_end end)
{
    struct h2_request *r = of(side);
    r->pending = m;
    r->pending_end = end == SIDE_END;
    side->ended = end == SIDE_END;
    if (side->ended)
        mark(r);
    if (r->conn->goodbye == H2_STAYS && worker_sheds_keep_alive(r->worker))
        r->conn->d->ops->notice(r->conn->d);
}

static void side_interim(struct side *side, const struct message *m)
{
    struct h2_request *r = of(side);
    check(r, h2_interim(&r->st, m));
    downstream_h2_pump_soon(r->conn);
}

static void side_body(struct side *side, const char *p, size_t n)
{
    struct h2_request *r = of(side);
    count_add(&r->conn->d->listener->stats.bytes_out, (int64_t)n);
    mark(r);
    check(r, h2_send(&r->st, p, n));
    side->blocked = r->st.blocked;
    if (!r->pending)
        downstream_h2_pump_soon(r->conn);
}

static void side_end(struct side *side, const struct message *trailers)
{
    struct h2_request *r = of(side);
    side->ended = true;
    mark(r);
    check(r, h2_send_end(&r->st, trailers));
    if (!r->pending)
        downstream_h2_pump_soon(r->conn);
}

static void side_flush(struct side *side)
{
    struct h2_request *r = of(side);
    if (!r->pending)
        return;
    check(r, h2_respond(&r->st, r->pending, r->pending_end));
    r->pending = NULL;
    downstream_h2_pump_soon(r->conn);
}

static bool side_recall(struct side *side)
{
    struct h2_request *r = of(side);
    if (!r->pending)
        return false;
    r->pending = NULL;
    side->ended = side->blocked = false;
    h2_take_back(&r->st);
    return true;
}

static void side_credit(struct side *side, size_t n)
{
    struct h2_request *r = of(side);
    h2_credit(&r->st, n);
    r->since = r->conn->d->worker->loop.now;
    if (!r->st.recv_ended)
        downstream_h2_pump_soon(r->conn);
}

static void side_tunnel(struct side *side)
{
    side_flush(side);
}

/* What a client is told of a response that is cut (RFC 9113 §7). */
static enum h2_error code_of(enum reason reason)
{
    switch (reason) {
    case REASON_CLIENT_ABORT:
    case REASON_CLIENT_TIMEOUT:
    case REASON_FORCED:
    case REASON_ROUTE_REMOVED:
    case REASON_IDLE_TIMEOUT:
        return H2_CANCEL;
    case REASON_NONE:
        return H2_NO_ERROR;
    default:
        return H2_INTERNAL_ERROR;
    }
}

static void side_release(struct side *side, bool clean, enum reason reason)
{
    struct h2_request *r = of(side);
    (void)clean;
    side_flush(side);
    side->stream = NULL;
    list_remove(&r->touched);
    if (r->st.h2) {
        downstream_h2_pump_soon(r->conn);
        if (side->ended) {
            h2_leave(&r->st);
            return;
        }
        h2_reset(&r->st, code_of(reason));
    }
    downstream_h2_free_request(r);
}

const struct side_ops downstream_h2_side = {
    .head = side_head,
    .interim = side_interim,
    .body = side_body,
    .end = side_end,
    .flush = side_flush,
    .recall = side_recall,
    .credit = side_credit,
    .tunnel = side_tunnel,
    .release = side_release,
};
