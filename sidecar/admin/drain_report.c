/* drain_report.c - the drain's report: gathered from the workers for who asks, and told without
 * being asked for in the log and by the termination message. */
#include "admin/control.h"

#include "base/mem.h"
#include "lifecycle/termination_message.h"

#include <errno.h>

/* text: as JSON; NULL: memory was short. */
static void write_message(struct control *c, const char *text)
{
    const struct str path = c->snapshot->conf->lifecycle.termination_message_path;
    json_t *report = text && path.n > 0 ? json_loads(text, 0, NULL) : NULL;
    char message[TERMINATION_MESSAGE_MAX];
    if (!report || c->process.drain.started == 0 || c->retiring) {
        json_decref(report);
        return;
    }
    int rc = termination_message_write(path.p, message, termination_message(report, message));
    json_decref(report);
    if (rc < 0 && rc != -ENOENT)
        log_warn("termination message: cannot write %.*s: %s", STR_FMT(path), strerror(-rc));
}

static char *report_text(struct control *c, const struct drain_tally *t)
{
    return drain_report_json(&c->process.drain, t, leases_results_json(c->leases),
                             control_app_json(c), atomic_load(&c->process.connections),
                             clock_mono());
}

void control_report_end(struct control *c)
{
    for (uint32_t i = 0; i < c->process.n_workers; i++)
        drain_tally_merge(&c->tally, &c->workers[i].tally);
    char *text = report_text(c, &c->tally);
    char *line = text ? drain_report_line(text, LOG_TEXT_MAX - strlen("drain report ")) : NULL;
    log_info("drain report %s", line ? line : "{\"truncated\":true}");
    write_message(c, text);
    free(line);
    free(text);
}

/* On the worker. */
static void copy_tally(struct gather_part *part)
{
    struct drain_tally *t = mem_alloc(sizeof(*t));
    if (t)
        *t = part->worker->tally;
    part->user = t;
}

/* What copy_tally() has copied; the caller frees it. NULL when memory is short. */
static char *gathered_text(struct gather *g)
{
    struct drain_tally *sum = mem_zalloc(sizeof(*sum));
    for (uint32_t i = 0; i < g->n; i++) {
        if (sum && g->parts[i].user)
            drain_tally_merge(sum, g->parts[i].user);
        free(g->parts[i].user);
    }
    char *text = sum ? report_text(g->control, sum) : NULL;
    free(sum);
    return text;
}

static void gathered_for_request(struct gather *g)
{
    char *text = gathered_text(g);
    if (g->request && text)
        http_reply(g->request, 200, "application/json", text, strlen(text));
    else if (g->request)
        http_reply_problem(g->request, 503, "out_of_memory", NULL);
    free(text);
}

void control_report_get(struct http_request *req, void *ctx)
{
    if (gather_start(ctx, req, copy_tally, gathered_for_request) < 0)
        http_reply_problem(req, 503, "out_of_memory", NULL);
}

static void gathered_for_message(struct gather *g)
{
    char *text = gathered_text(g);
    write_message(g->control, text);
    free(text);
}

void control_report_message(struct control *c)
{
    (void)gather_start(c, NULL, copy_tally, gathered_for_message);
}
