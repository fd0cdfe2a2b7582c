/* fuzz_websocket.c - frames from the input: whole, byte by byte, and cut as the first byte says,
 * they come out the same.
 *
 * The first byte also chooses the direction and the extension. */
#include "http/websocket.h"

#include "base/check.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* What came out, so far as it can differ. */
struct reading {
    size_t n;
    uint64_t sum, messages, controls;
    enum websocket_code code;
    bool between_frames, between_messages;
};

static uint64_t add(uint64_t sum, const char *p, size_t n)
{
    for (size_t i = 0; i < n; i++)
        sum = (sum ^ (uint8_t)p[i]) * 0x100000001b3u;
    return sum;
}

static struct reading read_in(const char *p, size_t n, uint8_t how, size_t step)
{
    struct websocket_reader r;
    struct reading g = {0};
    websocket_reader_init(&r, how & 1);
    if (how & 2)
        websocket_reader_extensions(&r, STR("permessage-deflate"));
    uint64_t max_payload = (how & 4) ? 1000 : 0;
    r.stop = (how & 8) ? WEBSOCKET_STOP_AT_FRAME : WEBSOCKET_STOP_NEVER;
    for (size_t at = 0; at < n && !g.code;) {
        size_t left = n - at < step ? n - at : step, taken = 0;
        struct websocket_piece piece;
        enum websocket_result got = websocket_read(&r, max_payload, p + at, left, &taken, &piece);
        CHECK(taken <= left && (taken > 0 || got == WEBSOCKET_BAD));
        if (got == WEBSOCKET_BAD) {
            g.code = piece.code;
        } else if (got != WEBSOCKET_MORE) {
            CHECK(piece.n > 0);
            g.sum = add(g.sum, piece.p, piece.n);
            g.n += piece.n;
        }
        if (got == WEBSOCKET_CONTROL) {
            CHECK(websocket_between_frames(&r));
            g.sum = add(g.sum, (const char *)piece.payload, WEBSOCKET_PEEK);
            g.sum = add(g.sum, (const char *)&g.n, sizeof(g.n));
        }
        /* In a held head the bytes are taken one after the other: the rest is another call's. */
        at += taken;
    }
    g.messages = r.messages;
    g.controls = r.controls;
    g.between_frames = websocket_between_frames(&r);
    g.between_messages = websocket_between_messages(&r);
    websocket_reader_free(&r);
    return g;
}

static void same(const struct reading *a, const struct reading *b)
{
    CHECK(a->n == b->n && a->sum == b->sum && a->messages == b->messages);
    CHECK(a->controls == b->controls && a->code == b->code);
    CHECK(a->between_frames == b->between_frames && a->between_messages == b->between_messages);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 2)
        return 0;
    const char *p = (const char *)data + 1;
    size_t n = size - 1;
    struct reading whole = read_in(p, n, data[0], n);
    struct reading bytes = read_in(p, n, data[0], 1);
    struct reading cut = read_in(p, n, data[0], 1 + (data[0] >> 4));
    same(&whole, &bytes);
    same(&whole, &cut);
    CHECK(whole.n <= n);
    return 0;
}
