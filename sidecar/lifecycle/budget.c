/* budget.c - one absolute deadline, and every phase's end derived from it. */
#include "lifecycle/budget.h"

#define SAFETY (500 * USEC_PER_MSEC) /* D lies this much before the grace's end */
/* For releases, behind the application's end. */
#define CLEANUP_ROOM (1500 * USEC_PER_MSEC)
/* At a grace's end the kubelet gives up to 2 s more, but not the pod: releases begin by then. */
#define CLEANUP_BEFORE_GRACE (2 * USEC_PER_SEC)
/* kube-proxy follows once a second where many pods go at once: new connections came until 1.0 s
 * after the call. */
#define POD_NOTICE_MIN (2 * USEC_PER_SEC)

static usec_t notice_for(const struct budget *b, const struct conf_lifecycle *c)
{
    if (b->kind == BUDGET_UPGRADE)
        return 0;
    return b->kind == BUDGET_POD ? max_u64(c->notice_period, POD_NOTICE_MIN) : c->notice_period;
}

static usec_t cleanup_for(const struct budget *b, const struct conf_lifecycle *c)
{
    usec_t left = b->deadline > b->since ? b->deadline - b->since : 0;
    if (b->kind == BUDGET_UPGRADE)
        return 0;
    return min_u64(min_u64(CLEANUP_ROOM, c->app_cleanup / 2), left / 2);
}

static void derive(struct budget *b, const struct conf_lifecycle *c)
{
    usec_t notice = notice_for(b, c);
    usec_t wanted = notice + c->drain_timeout;
    usec_t all = b->deadline > b->start ? b->deadline - b->start : 0;
    usec_t grace_end = USEC_NEVER;

    b->cleanup_at = max_u64(b->deadline - min_u64(cleanup_for(b, c), b->deadline), b->start);
    if (b->kind == BUDGET_POD && c->termination_grace > CLEANUP_BEFORE_GRACE)
        grace_end = b->start + c->termination_grace - CLEANUP_BEFORE_GRACE;
    b->cleanup_at = min_u64(min_u64(b->cleanup_at, grace_end), b->deadline);

    /* A budget so much shorter than configured that NOTICE would eat it is shared: requests need
     * time to end more than their senders need to be told. */
    usec_t room = b->cleanup_at > b->start ? b->cleanup_at - b->start : 0;
    if (all + wanted / 20 < wanted && room < notice + 2 * c->last_call)
        notice = min_u64(notice, room / 2);
    b->notice_end = min_u64(b->start + notice, b->cleanup_at);
    b->force_at = min_u64(b->start + notice + c->drain_timeout, b->cleanup_at);
    usec_t last_call = min_u64(c->last_call, c->drain_timeout);
    usec_t at = b->force_at > last_call ? b->force_at - last_call : 0;
    b->last_call_at = max_u64(at, min_u64(b->notice_end, b->force_at));
}

void budget_begin(struct budget *b, const struct conf_lifecycle *c, enum budget_kind kind,
                  usec_t start)
{
    usec_t sum = c->notice_period + c->drain_timeout + c->app_cleanup;
    if (c->termination_grace > 0)
        sum = min_u64(sum, c->termination_grace);
    usec_t safety = min_u64(SAFETY, sum / 20);
    usec_t all = kind == BUDGET_UPGRADE ? c->drain_timeout : sum - safety;
    *b = (struct budget){.kind = kind, .start = start, .since = start, .deadline = start + all};
    derive(b, c);
}

void budget_resume(struct budget *b, const struct conf_lifecycle *c, enum budget_kind kind,
                   usec_t start, usec_t deadline, usec_t now)
{
    start = min_u64(start, now);
    budget_begin(b, c, kind, start);
    b->since = deadline < b->deadline ? now : start;
    b->deadline = deadline;
    derive(b, c);
}

bool budget_shorten(struct budget *b, const struct conf_lifecycle *c, usec_t deadline, usec_t now)
{
    if (deadline >= b->deadline)
        return false;
    b->deadline = deadline;
    b->since = now;
    derive(b, c);
    return true;
}

void budget_becomes_pod(struct budget *b, const struct conf_lifecycle *c)
{
    b->kind = BUDGET_POD;
    derive(b, c);
}
