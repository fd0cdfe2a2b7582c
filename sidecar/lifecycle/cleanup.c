/* cleanup.c - a release from its first try to its result. */
#include "lifecycle/cleanup_parts.h"

#include "base/mem.h"
#include "lifecycle/cleanup_try.h"

#include <errno.h>
#include <stdio.h>

static void free_inner(struct reap *r)
{
    struct cleanup_inner *in = CONTAINER_OF(r, struct cleanup_inner, reap);
    free(in->fields);
    free(in);
}

static void leave(struct cleanup_inner *in)
{
    curl_loop_cancel(&in->request);
    cleanup_command_kill(in);
    timer_stop(in->engine->loop, &in->timer);
    in->run->inner = NULL;
    in->engine->runs--;
    loop_reap(in->engine->loop, &in->reap, free_inner);
}

static void end(struct cleanup_inner *in, enum cleanup_result result)
{
    struct cleanup_run *r = in->run;
    r->result = result;
    r->took = clock_mono() - in->began;
    leave(in);
    r->done(r);
}

static void say(struct cleanup_run *r, const char *why)
{
    (void)snprintf(r->error, sizeof(r->error), "%s", why);
}

static void again(struct cleanup_inner *in, usec_t retry_after)
{
    struct cleanup_run *r = in->run;
    usec_t at = cleanup_try_again(r->action, r->tries, clock_mono(), in->deadline, retry_after,
                                  rng_next(&in->engine->loop->rng));
    if (at == 0)
        end(in, CLEANUP_FAILED);
    else
        timer_set(in->engine->loop, &in->timer, at);
}

void cleanup_tried(struct cleanup_inner *in, unsigned status, usec_t retry_after)
{
    in->run->status = status;
    switch (cleanup_judge(status)) {
    case CLEANUP_SAYS_RELEASED:
        end(in, CLEANUP_RELEASED);
        break;
    case CLEANUP_SAYS_GONE:
        end(in, CLEANUP_ALREADY_GONE);
        break;
    case CLEANUP_SAYS_AGAIN:
        again(in, retry_after);
        break;
    case CLEANUP_SAYS_NO:
        end(in, CLEANUP_FAILED);
        break;
    }
}

void cleanup_exited(struct cleanup_inner *in, bool released)
{
    if (released)
        end(in, CLEANUP_RELEASED);
    else
        again(in, 0);
}

static void on_answer(struct curl_request *q)
{
    struct cleanup_inner *in = CONTAINER_OF(q, struct cleanup_inner, request);
    if (q->status == 0)
        say(in->run, q->error);
    cleanup_tried(in, q->status, q->retry_after);
}

static int send_request(struct cleanup_inner *in, usec_t timeout)
{
    const struct cleanup_action *a = in->run->action;
    const char *why = NULL;
    if (!cleanup_engine_ready(in->engine, &why)) {
        say(in->run, why);
        return -ELIBACC;
    }
    in->request = (struct curl_request){
        .method = a->method,
        .url = a->url,
        .connect_to = in->run->tries == 1 || a->insecure ? a->connect_to : NULL,
        .unix_path = a->unix_path,
        .http2 = a->http2,
        .sans = a->sans,
        .spiffe_ids = a->spiffe_ids,
        .insecure = a->insecure,
        .tls_1_3 = a->tls_1_3,
        .ca_file = a->ca_file,
        .cert_file = a->cert_file,
        .key_file = a->key_file,
        .fields = in->fields,
        .n_fields = a->n_fields + (a->idempotency_key ? 1 : 0),
        .body = a->body,
        .timeout = timeout,
        .allow_link_local = in->engine->allow_link_local,
        .done = on_answer,
    };
    int rc = curl_loop_start(in->engine->curl, &in->request);
    if (rc == -ENOTSUP)
        say(in->run, "libcurl has another TLS library than sluice: the server cannot be verified");
    return rc;
}

/* The next try; or the deadline has come, which is told by the timer too. */
static void on_timer(struct timer *t)
{
    struct cleanup_inner *in = CONTAINER_OF(t, struct cleanup_inner, timer);
    struct cleanup_run *r = in->run;
    usec_t now = clock_mono();
    if (now >= in->deadline) {
        say(r, r->tries == 0 ? "no time was left for it" : "its time was over");
        end(in, CLEANUP_FAILED);
        return;
    }
    usec_t timeout = min_u64(r->action->timeout, in->deadline - now);
    r->tries++;
    r->status = 0;
    r->error[0] = '\0';
    int rc = r->action->command ? cleanup_command_start(in, timeout) : send_request(in, timeout);
    if (rc == 0)
        return; /* each try ends by its own timeout, which is within the deadline */
    if (r->error[0] == '\0')
        (void)snprintf(r->error, sizeof(r->error), "cannot be started: %s", strerror(-rc));
    again(in, 0);
}

/* The engine's pointers, not the caller's array: the key is one more field. */
static int gather_fields(struct cleanup_inner *in, const struct cleanup_action *a)
{
    in->fields = mem_zalloc((a->n_fields + 1) * sizeof(*in->fields));
    if (!in->fields)
        return -ENOMEM;
    for (uint32_t i = 0; i < a->n_fields; i++)
        in->fields[i] = (struct curl_field){a->fields[i].name, a->fields[i].value};
    if (a->idempotency_key)
        in->fields[a->n_fields] = (struct curl_field){"Idempotency-Key", a->idempotency_key};
    return 0;
}

int cleanup_start(struct cleanup_engine *e, struct cleanup_run *r, usec_t deadline)
{
    struct cleanup_inner *in = mem_zalloc(sizeof(*in));
    if (!in)
        return -ENOMEM;
    if (gather_fields(in, r->action) < 0) {
        free(in);
        return -ENOMEM;
    }
    in->engine = e;
    in->run = r;
    in->began = clock_mono();
    in->deadline = deadline;
    timer_init(&in->timer, on_timer);
    timer_set(e->loop, &in->timer, in->began);
    e->runs++;
    r->inner = in;
    r->result = CLEANUP_PENDING;
    r->tries = 0;
    r->status = 0;
    r->error[0] = '\0';
    r->took = 0;
    return 0;
}

/* A try that is under way was given a timeout by the old deadline: the timer cuts it. */
void cleanup_shorten(struct cleanup_run *r, usec_t deadline)
{
    struct cleanup_inner *in = r->inner;
    if (!in || deadline >= in->deadline)
        return;
    in->deadline = deadline;
    if (in->timer.at == 0 || in->timer.at > deadline)
        timer_set(in->engine->loop, &in->timer, deadline);
}

void cleanup_cancel(struct cleanup_run *r)
{
    if (r->inner)
        leave(r->inner);
}

/* --- the engine --- */

struct cleanup_engine *cleanup_engine_new(struct loop *l)
{
    struct cleanup_engine *e = mem_zalloc(sizeof(*e));
    if (!e)
        return NULL;
    e->loop = l;
    return e;
}

struct cleanup_engine *cleanup_engine_free(struct cleanup_engine *e)
{
    if (!e)
        return NULL;
    CHECK(e->runs == 0);
    e->curl = curl_loop_free(e->curl);
    free(e);
    return NULL;
}

bool cleanup_engine_ready(struct cleanup_engine *e, const char **ret_why)
{
    if (!e->curl)
        e->curl = curl_loop_new(e->loop, ret_why);
    return e->curl != NULL;
}

void cleanup_engine_allow_link_local(struct cleanup_engine *e, bool allow)
{
    e->allow_link_local = allow;
}
