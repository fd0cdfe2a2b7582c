/* gather.c - a question to every worker, answered on its own thread. */
#include "admin/control.h"

#include "base/mem.h"

#include <errno.h>

static void on_answer(struct mail *m, void *owner)
{
    struct gather_part *part = CONTAINER_OF(m, struct gather_part, mail);
    struct gather *g = part->gather;
    (void)owner;
    if (--g->missing > 0)
        return;
    if (g->request)
        g->request->on_gone = NULL;
    g->done(g);
    free(g);
}

static void on_question(struct mail *m, void *owner)
{
    struct gather_part *part = CONTAINER_OF(m, struct gather_part, mail);
    (void)owner;
    part->gather->each(part);
    mailbox_post(&part->gather->control->mailbox, &part->mail, on_answer);
}

static void on_gone(struct http_request *req)
{
    struct gather *g = req->user;
    g->request = NULL;
}

int gather_start(struct control *c, struct http_request *req, void (*each)(struct gather_part *),
                 void (*done)(struct gather *))
{
    return gather_ask(c, req, each, done, 0, 0);
}

int gather_ask(struct control *c, struct http_request *req, void (*each)(struct gather_part *),
               void (*done)(struct gather *), uint32_t ask0, uint32_t ask1)
{
    uint32_t n = c->process.n_workers;
    struct gather *g = mem_zalloc(sizeof(*g) + n * sizeof(g->parts[0]));
    if (!g)
        return -ENOMEM;
    g->control = c;
    g->request = req;
    g->each = each;
    g->done = done;
    g->ask[0] = ask0;
    g->ask[1] = ask1;
    g->n = g->missing = n;
    if (req) {
        req->user = g;
        req->on_gone = on_gone;
    }
    for (uint32_t i = 0; i < n; i++) {
        g->parts[i].gather = g;
        g->parts[i].worker = &c->workers[i];
        mailbox_post(&c->workers[i].mailbox, &g->parts[i].mail, on_question);
    }
    return 0;
}
