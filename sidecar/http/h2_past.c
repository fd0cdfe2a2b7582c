/* h2_past.c - what became of the streams that a client has opened lately. */
#include "http/h2_past.h"

void h2_past_init(struct h2_past *p)
{
    *p = (struct h2_past){0};
}

static bool is_remembered(const struct h2_past *p, int32_t id)
{
    return id > 0 && (id & 1) && id <= p->last && (p->last - id) / 2 < H2_PAST_STREAMS;
}

static void set(struct h2_past *p, int32_t id, enum h2_past_state state)
{
    uint32_t at = (uint32_t)id / 2 % H2_PAST_STREAMS, shift = at % 4 * 2;
    uint8_t *byte = &p->state[at / 4];
    *byte = (uint8_t)((*byte & ~(3u << shift)) | (uint32_t)state << shift);
}

static void advance(struct h2_past *p, int32_t id)
{
    /* Those in between take the places of older ones; all places, when it jumps far. */
    int32_t from = p->last + 2 - (p->last == 0);
    if ((id - from) / 2 >= H2_PAST_STREAMS)
        from = id - 2 * (H2_PAST_STREAMS - 1);
    for (int32_t skipped = from; skipped < id; skipped += 2)
        set(p, skipped, H2_PAST_SKIPPED);
    p->last = id;
}

void h2_past_opened(struct h2_past *p, int32_t id)
{
    if (!(id & 1) || id < p->last)
        return;
    if (id > p->last)
        advance(p, id);
    set(p, id, H2_PAST_OPENED);
}

void h2_past_reset(struct h2_past *p, int32_t id)
{
    bool first = (id & 1) && id > p->last;
    if (first)
        advance(p, id);
    if (first || (is_remembered(p, id) && h2_past_of(p, id) != H2_PAST_RESET_BY_PEER))
        set(p, id, H2_PAST_RESET);
}

void h2_past_reset_by_peer(struct h2_past *p, int32_t id)
{
    if (is_remembered(p, id))
        set(p, id, H2_PAST_RESET_BY_PEER);
}

enum h2_past_state h2_past_of(const struct h2_past *p, int32_t id)
{
    uint32_t at = (uint32_t)id / 2 % H2_PAST_STREAMS;
    if (!is_remembered(p, id))
        return H2_PAST_NONE;
    return (enum h2_past_state)(p->state[at / 4] >> at % 4 * 2 & 3);
}
