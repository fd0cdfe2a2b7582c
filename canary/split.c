/* split.c - stratified picks.
 *
 * Requests are laid end to end, each `share` long, and cut into stretches `whole` long. In each
 * stretch a point is chosen at random, and the request under it is the pick. A request that lies
 * across a cut could be hit from both sides; so its chances on the far side are conditioned on
 * what happened on the near side (Deville's systematic sampling), which keeps the chance of every
 * request at exactly share/whole and never asks for it twice. As each stretch has exactly one
 * pick, the picks up to request n are always n x share / whole, rounded down or up.
 *
 * All of it is integers relative to the last pick: nothing grows, nothing drifts. */
#include "canary/split.h"

#include "base/check.h"

#include <errno.h>
#include <stdbool.h>

/* In stretches of an even number of requests (50 %, 25 %, 10 %), picks at odd places may outnumber
 * those at even places, or the other way, by this much before the next place is mirrored in its
 * stretch. It bounds what alternating traffic can see, and comes into play seldom enough not to be
 * a pattern of its own. Elsewhere mirroring would favour some places. */
enum { TILT_MAX = 8 };

/* The place of a point that is uniform in what the stretch has beyond the request at its start;
 * counted from that request. */
static uint32_t place_of(const struct split_pick *k, uint32_t point)
{
    return 1 + point / k->share;
}

static bool stretch_is_even(const struct split_pick *k)
{
    return k->over == 0 && k->per % 2 == 0;
}

static bool tilts_too_far(const struct split_pick *k, uint32_t left)
{
    if (!stretch_is_even(k))
        return false;
    bool odd = (k->odd ^ (left + 1)) & 1;
    return odd ? k->tilt >= TILT_MAX : k->tilt <= -TILT_MAX;
}

/* From a pick (or from before the first request, with to_end, carry and odd 0) to the next. */
static void pick_draw(struct split_pick *k, struct rng *rng)
{
    uint64_t bits = rng_next(rng);
    uint32_t room = k->whole - k->carry;
    uint32_t place;

    /* Not the pick of its near side, which `share - carry` of it belong to? Then it may be ours. */
    uint32_t chances = k->whole - (k->share - k->carry);
    if (k->carry > 0 && k->to_end > 0 && (uint32_t)(((bits >> 32) * chances) >> 32) < k->carry) {
        place = 0;
    } else {
        uint32_t point = (uint32_t)(((bits & UINT32_MAX) * room) >> 32);
        place = place_of(k, point);
        if (tilts_too_far(k, k->to_end + place - 1))
            place = place_of(k, room - 1 - point);
    }
    k->left = k->to_end + place - 1;
    k->odd = (uint8_t)((k->odd ^ (k->left + 1)) & 1);
    if (stretch_is_even(k))
        k->tilt = (int8_t)(k->tilt + (k->odd ? 1 : -1));

    /* The requests that begin in this stretch: room / share, rounded up. */
    bool one_more = k->over > k->carry;
    k->to_end = k->per + one_more - place;
    k->carry = k->carry - k->over + (one_more ? k->share : 0);
}

static void pick_init(struct split_pick *k, uint32_t backend, uint32_t share, uint32_t whole,
                      struct rng *rng)
{
    CHECK(share > 0 && share <= whole / 2);
    *k = (struct split_pick){
        .share = share,
        .whole = whole,
        .per = whole / share,
        .over = whole % share,
        .backend = (uint8_t)backend,
    };
    pick_draw(k, rng);
}

void split_init(struct split *s, const uint32_t *ppm, uint32_t n, struct rng *rng)
{
    uint8_t order[SPLIT_MAX];
    uint32_t used = 0, sum = 0;

    CHECK(n >= 1 && n <= SPLIT_MAX);
    *s = (struct split){.n = n};
    for (uint32_t i = 0; i < n; i++) {
        s->ppm[i] = ppm[i];
        sum += ppm[i];
        if (ppm[i] == 0)
            continue;
        uint32_t at = used++;
        for (; at > 0 && ppm[order[at - 1]] > ppm[i]; at--)
            order[at] = order[at - 1];
        order[at] = (uint8_t)i;
    }
    CHECK(sum == SPLIT_WHOLE_PPM);
    for (uint32_t i = 0; i + 1 < used; i++) {
        pick_init(&s->pick[i], order[i], ppm[order[i]], sum, rng);
        sum -= ppm[order[i]];
    }
    s->picks = (uint8_t)(used - 1);
    s->rest = order[used - 1];
}

void split_set(struct split *s, const uint32_t *ppm, uint32_t n, struct rng *rng)
{
    split_init(s, ppm, n, rng);
}

uint32_t split_next(struct split *s, struct rng *rng)
{
    for (uint32_t i = 0; i < s->picks; i++) {
        struct split_pick *k = &s->pick[i];
        if (k->left == 0) {
            pick_draw(k, rng);
            return k->backend;
        }
        k->left--;
    }
    return s->rest;
}

int split_normalise(const uint32_t *weights, uint32_t n, uint32_t *ret_ppm)
{
    uint32_t ppm[SPLIT_MAX];
    uint64_t remainder[SPLIT_MAX];
    uint64_t sum = 0;
    uint32_t given = 0;

    if (n < 1 || n > SPLIT_MAX)
        return -EINVAL;
    for (uint32_t i = 0; i < n; i++) {
        if (weights[i] > SPLIT_WHOLE_PPM)
            return -EINVAL;
        sum += weights[i];
    }
    if (sum == 0)
        return -EINVAL;
    for (uint32_t i = 0; i < n; i++) {
        uint64_t parts = (uint64_t)weights[i] * SPLIT_WHOLE_PPM;
        ppm[i] = (uint32_t)(parts / sum);
        remainder[i] = parts % sum;
        if (ppm[i] == 0 && weights[i] > 0) {
            ppm[i] = 1;
            remainder[i] = 0;
        }
        given += ppm[i];
    }
    while (given != SPLIT_WHOLE_PPM) {
        uint32_t best = 0;
        for (uint32_t i = 1; i < n; i++) {
            if (given < SPLIT_WHOLE_PPM ? remainder[i] > remainder[best] : ppm[i] > ppm[best])
                best = i;
        }
        if (given < SPLIT_WHOLE_PPM) {
            ppm[best]++;
            remainder[best] = 0;
            given++;
        } else { /* the smallest were raised to 1: the largest pays */
            ppm[best]--;
            given--;
        }
    }
    for (uint32_t i = 0; i < n; i++)
        ret_ppm[i] = ppm[i];
    return 0;
}
