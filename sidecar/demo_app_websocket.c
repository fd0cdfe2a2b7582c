/* demo_app_websocket.c - the demo application's /websocket: each frame comes back.
 *
 * A demo, not a guard: what is no frame is not noticed. A ping is answered by a pong, a Close by a
 * Close and the end. */
#include "demo_app_conn.h"

#include "http/websocket.h"
#include "http/websocket_handshake.h"

#include <stdio.h>

enum { PIECE_BYTES = 16 * 1024, LENGTH_BITS = 0x7f, OPCODE_BITS = 0x0f };

void demo_websocket_begin(struct app *a, struct app_conn *c, const struct app_request *r)
{
    char accept[WEBSOCKET_ACCEPT_LEN], head[256];
    if (!r->upgrade_websocket || !websocket_key_ok(r->websocket_key) ||
        !websocket_accept_for(r->websocket_key, accept)) {
        answer_bad_request(a, c);
        return;
    }
    int n = snprintf(head, sizeof(head),
                     "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n"
                     "Connection: Upgrade\r\nSec-WebSocket-Accept: %.*s\r\nX-Version: %.*s\r\n\r\n",
                     WEBSOCKET_ACCEPT_LEN, accept, STR_FMT(a->version));
    demo_conn_send(a, c, head, (size_t)n);
    c->state = APP_WEBSOCKET;
    c->body_left = 0;
    c->websocket = (struct app_websocket){0};
}

static void put(struct app *a, struct app_conn *c, const void *p, size_t n)
{
    if (buf_append(&a->pool, &c->out, p, n) < 0)
        c->dead = true;
}

static size_t head_len(const struct app_websocket *w)
{
    unsigned length = w->n < 2 ? 0 : w->head[1] & LENGTH_BITS;
    return 2 + 4 + (length == 126 ? 2u : length == 127 ? 8u : 0u);
}

/* The head is whole: the same without a mask goes back. */
static void take_head(struct app *a, struct app_conn *c)
{
    struct app_websocket *w = &c->websocket;
    size_t n = head_len(w) - 4, extended = n - 2;
    uint8_t opcode = w->head[0] & OPCODE_BITS;
    c->body_left = w->head[1] & LENGTH_BITS;
    if (extended > 0) {
        c->body_left = 0;
        for (size_t i = 0; i < extended; i++)
            c->body_left = c->body_left << 8 | w->head[2 + i];
    }
    memcpy(w->mask, w->head + n, 4);
    w->silent = opcode == WEBSOCKET_PONG;
    w->closing = opcode == WEBSOCKET_CLOSE;
    w->at = 0;
    w->n = 0;
    if (opcode == WEBSOCKET_PING)
        w->head[0] = (uint8_t)((w->head[0] & ~OPCODE_BITS) | WEBSOCKET_PONG);
    w->head[1] &= LENGTH_BITS;
    if (!w->silent)
        put(a, c, w->head, n);
}

static void take_payload(struct app *a, struct app_conn *c, const char *p, size_t n)
{
    struct app_websocket *w = &c->websocket;
    uint8_t turned[8];
    uint64_t mask, word;
    size_t i = 0;
    if (w->silent)
        return;
    char *to = buf_reserve(&a->pool, &c->out, n);
    if (!to) {
        c->dead = true;
        return;
    }
    for (size_t k = 0; k < sizeof(turned); k++)
        turned[k] = w->mask[(w->at + k) % 4];
    memcpy(&mask, turned, 8);
    for (; i + 8 <= n; i += 8) {
        memcpy(&word, p + i, 8);
        word ^= mask;
        memcpy(to + i, &word, 8);
    }
    for (; i < n; i++)
        to[i] = (char)((uint8_t)p[i] ^ turned[i % 8]);
    buf_commit(&c->out, n);
    w->at = (w->at + n) % 4;
}

static void end_frame(struct app_conn *c)
{
    if (c->websocket.closing) {
        c->state = APP_LINGER;
        c->close_after = true;
    }
}

size_t demo_websocket_step(struct app *a, struct app_conn *c, const char *p, size_t n)
{
    struct app_websocket *w = &c->websocket;
    bool waits = buf_len(&c->out) > 0;
    size_t at = 0;
    while (at < n && c->state == APP_WEBSOCKET && !c->dead) {
        if (c->body_left > 0) {
            size_t take = (size_t)min_u64(min_u64(c->body_left, n - at), PIECE_BYTES);
            take_payload(a, c, p + at, take);
            at += take;
            c->body_left -= take;
            if (c->body_left == 0)
                end_frame(c);
            continue;
        }
        w->head[w->n++] = (uint8_t)p[at++];
        if (w->n < 2 || w->n < head_len(w))
            continue;
        take_head(a, c);
        if (c->body_left == 0)
            end_frame(c);
    }
    if (!waits)
        demo_conn_flush(a, c);
    return c->state == APP_WEBSOCKET ? at : n;
}
