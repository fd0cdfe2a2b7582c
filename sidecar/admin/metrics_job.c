/* metrics_job.c - GET /metrics, some thousand series in a turn of the loop: the control thread also
 * answers /livez, looks at endpoints and takes names and reloads in. */
#include "admin/control.h"
#include "admin/exposition.h"

#include "base/mem.h"

enum {
    SERIES_A_TURN = 2000,
    BEGINNINGS = 3, /* when reloads have taken it down so often it is done in one turn */
};

struct metrics_job {
    struct control *control;
    struct http_request *request;
    struct exposition text;
    uint64_t generation; /* that it tells of: its indexes mean something else in the next one */
    uint32_t part, beginnings;
    struct timer timer;
};

static void job_free(struct metrics_job *j)
{
    timer_stop(&j->control->loop, &j->timer);
    free(j->text.p);
    free(j);
}

static void on_gone(struct http_request *req)
{
    job_free(req->user);
}

static void begin(struct metrics_job *j)
{
    metrics_begin(&j->text, j->control);
    j->generation = j->control->config.generation;
    j->part = 0;
    j->beginnings++;
}

static void answer(struct metrics_job *j)
{
    struct http_request *req = j->request;
    struct exposition *t = &j->text;
    metrics_end(t, j->control);
    req->on_gone = NULL;
    if (t->failed)
        http_reply_problem(req, 503, "out_of_memory", NULL);
    else
        http_reply(req, 200, "text/plain; version=0.0.4; charset=utf-8", t->p, t->len);
    job_free(j);
}

static void go_on(struct metrics_job *j)
{
    struct exposition *t = &j->text;
    if (j->generation != j->control->config.generation)
        begin(j);
    t->rest_at = j->beginnings < BEGINNINGS ? t->series + t->dropped + SERIES_A_TURN : 0;
    while (metrics_part(t, j->control, j->part)) {
        if (t->at == 0)
            j->part++;
        if (exposition_rests(t)) {
            timer_set(&j->control->loop, &j->timer, j->control->loop.now);
            return;
        }
    }
    answer(j);
}

static void on_turn(struct timer *t)
{
    go_on(CONTAINER_OF(t, struct metrics_job, timer));
}

void metrics_get(struct http_request *req, void *ctx)
{
    struct metrics_job *j = mem_zalloc(sizeof(*j));
    if (!j) {
        http_reply_problem(req, 503, "out_of_memory", NULL);
        return;
    }
    j->control = ctx;
    j->request = req;
    timer_init(&j->timer, on_turn);
    req->user = j;
    req->on_gone = on_gone;
    begin(j);
    go_on(j);
}
