/* app_forward.c - GET /app-probe/NAME: what a kubelet asks of an application that listens on
 * loopback only, passed on to it, and its answer back. Only what health.appProbes names can be
 * asked for, and nothing of the request goes on: the port is open to others, too. */
#include "admin/control.h"

#include "base/mem.h"
#include "healthcheck/probe.h"

#include <arpa/inet.h>
#include <stdio.h>

enum { FORWARDS_MAX = 32, TYPE_MAX = 128, PREFIX_LEN = sizeof("/app-probe/") - 1 };

/* In one block with its texts: the configuration may go before it ends. */
struct forward {
    struct control *control;
    struct http_request *request;
    struct probe *probe;
    struct probe_rules rules;
    struct probe_target target;
    struct address address;
    usec_t deadline;
    uint16_t port;
    bool six; /* [::1] is being asked */
};

static void forward_free(struct forward *f)
{
    f->control->app_forwards--;
    f->probe = probe_cancel(f->probe);
    free(f);
}

static void on_gone(struct http_request *req)
{
    forward_free(req->user);
}

/* ---- the answer ---- */

static void pass_on(struct http_request *req, const struct probe_answer *answer)
{
    const struct message *head = answer->head;
    const struct field *f = message_find(head, FIELD_CONTENT_TYPE);
    struct str type = f ? field_value(head, f) : STR_NONE;
    bool bodiless = head->status == 204 || head->status == 304;
    char text[TYPE_MAX];
    if (type.n > 0 && type.n < sizeof(text))
        (void)snprintf(text, sizeof(text), "%.*s", STR_FMT(type));
    else
        text[0] = '\0';
    http_reply(req, head->status, text[0] ? text : NULL, answer->body.p ? answer->body.p : "",
               bodiless ? 0 : answer->body.n);
}

static void fail(struct http_request *req, const struct check_result *result, const char *detail)
{
    bool late = result->word == CHECK_L4TOUT || result->word == CHECK_L7TOUT;
    char text[CHECK_TEXT_MAX], why[160];
    (void)snprintf(why, sizeof(why), "%s%s%s", check_text(result, text), detail ? ": " : "",
                   detail ? detail : "");
    http_reply_problem(req, late ? 504 : 503, "app_probe_failed", why);
}

static bool ask(struct forward *f);

static void on_done(void *ctx, const struct check_result *result, const char *detail,
                    const struct probe_answer *answer)
{
    struct forward *f = ctx;
    struct http_request *req = f->request;
    f->probe = NULL;
    if (result->word == CHECK_L4CON && !f->six) {
        f->six = true;
        if (ask(f))
            return;
    }
    req->on_gone = NULL;
    if (check_well(result->word))
        pass_on(req, answer);
    else
        fail(req, result, detail);
    forward_free(f);
}

/* ---- the question ---- */

/* Of the one that it does not listen on a connection is refused at once. */
static bool ask(struct forward *f)
{
    usec_t now = clock_mono();
    struct address *a = &f->address;
    memset(a, 0, sizeof(*a));
    if (f->six) {
        a->u.in6.sin6_family = AF_INET6;
        a->u.in6.sin6_addr = in6addr_loopback;
        a->u.in6.sin6_port = htons(f->port);
        a->len = sizeof(a->u.in6);
    } else {
        a->u.in.sin_family = AF_INET;
        a->u.in.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        a->u.in.sin_port = htons(f->port);
        a->len = sizeof(a->u.in);
    }
    f->target = (struct probe_target){.text = STR("localhost"), .address = a};
    f->probe = now < f->deadline ? probe_start(&f->control->loop, &f->rules, NULL, &f->target,
                                               f->deadline - now, on_done, f)
                                 : NULL;
    return f->probe != NULL;
}

static struct forward *forward_new(struct control *c, struct http_request *req,
                                   const struct conf_app_probe *conf)
{
    struct forward *f = mem_zalloc(sizeof(*f) + conf->path.n + conf->host.n);
    if (!f)
        return NULL;
    char *path = (char *)(f + 1), *host = path + conf->path.n;
    memcpy(path, conf->path.p, conf->path.n);
    if (conf->host.n > 0)
        memcpy(host, conf->host.p, conf->host.n);
    c->app_forwards++;
    f->control = c;
    f->request = req;
    f->port = (uint16_t)conf->port;
    f->deadline = clock_mono() + conf->timeout;
    f->rules = (struct probe_rules){
        .kind = PROBE_HTTP,
        .method = STR("GET"),
        .target = {path, conf->path.n},
        .host = {host, conf->host.n},
        .any_answer = true,
    };
    return f;
}

static const struct conf_app_probe *find(const struct conf *c, struct str path)
{
    struct str name = {path.p + PREFIX_LEN, path.n - PREFIX_LEN};
    for (uint32_t i = 0; i < c->n_app_probes; i++) {
        if (str_eq(c->app_probes[i].name, name))
            return &c->app_probes[i];
    }
    return NULL;
}

void app_forward_get(struct http_request *req, void *ctx)
{
    struct control *c = ctx;
    const struct conf_app_probe *conf = find(c->snapshot->conf, req->path);
    if (!conf) {
        http_reply_problem(req, 404, "not_found", "health.appProbes has no probe of that name");
        return;
    }
    if (c->app_forwards >= FORWARDS_MAX) {
        http_reply_problem(req, 503, "app_probe_limit", "too many probes at once");
        return;
    }
    struct forward *f = forward_new(c, req, conf);
    if (f && ask(f)) {
        req->user = f;
        req->on_gone = on_gone;
        return;
    }
    if (f)
        forward_free(f);
    http_reply_problem(req, 503, "out_of_memory", NULL);
}
