/* probe_answer.c - an HTTP request of a check, and what is made of its answer, whatever protocol
 * carries them. */
#include "healthcheck/probe_parts.h"

#include "http/grpc.h"
#include "http/h1_write.h"

#include <errno.h>

static int text(struct message *m, struct str s, struct text *ret)
{
    return message_append(m, s.p ? s.p : "", s.n, ret);
}

static int set_target(struct message *m, struct str target)
{
    const char *mark = memchr(target.p, '?', target.n);
    size_t path = mark ? (size_t)(mark - target.p) : target.n;
    struct text whole;
    int rc = text(m, target, &whole);
    m->path = (struct text){whole.off, (uint32_t)path};
    m->has_query = mark != NULL;
    if (mark)
        m->query = (struct text){whole.off + (uint32_t)path + 1, whole.len - (uint32_t)path - 1};
    return rc;
}

static struct str host_of(const struct probe *p)
{
    if (p->rules->host.n > 0)
        return p->rules->host;
    return p->target->address->u.sa.sa_family == AF_UNIX ? STR("localhost") : p->target->text;
}

static int add_fields(const struct probe *p, struct message *m)
{
    const struct probe_rules *r = p->rules;
    bool named = false;
    int rc = 0;
    for (uint32_t i = 0; rc == 0 && i < r->n_fields; i++) {
        named = named || str_ieq(r->fields[i].name, STR("user-agent"));
        rc = message_add(m, field_id_of(r->fields[i].name), r->fields[i].name, r->fields[i].value);
    }
    if (rc == 0 && !named)
        rc = message_add_known(m, FIELD_USER_AGENT, STR("sluice-health/" SLUICE_VERSION));
    return rc;
}

int probe_make_request(const struct probe *p, struct message *m)
{
    bool grpc = p->rules->kind == PROBE_GRPC;
    struct str method = grpc ? STR("POST") : p->rules->method;
    char timeout[GRPC_TIMEOUT_LEN];
    m->method = (uint8_t)http_method_of(method);
    m->version_minor = 1;
    m->body = grpc ? BODY_CHUNKED : BODY_NONE;
    m->te_trailers = grpc;
    m->grpc = grpc;
    if (text(m, method, &m->method_text) < 0 ||
        set_target(m, grpc ? STR("/grpc.health.v1.Health/Check") : p->rules->target) < 0 ||
        text(m, host_of(p), &m->authority) < 0 || add_fields(p, m) < 0)
        return -ENOMEM;
    if (!grpc)
        return 0;
    if (message_add_known(m, FIELD_CONTENT_TYPE, STR("application/grpc")) < 0 ||
        message_add_known(m, FIELD_GRPC_TIMEOUT,
                          grpc_timeout_format(p->deadline - p->began, timeout)) < 0)
        return -ENOMEM;
    return 0;
}

/* ---- the answer ---- */

static bool wants_body(const struct probe_rules *r)
{
    return r->body.n > 0 || r->body_regex.n > 0 || r->any_answer;
}

void probe_on_head(struct probe *p)
{
    unsigned status = p->answer.status;
    if (p->rules->kind == PROBE_GRPC) {
        if (status != 200)
            probe_decide(p, CHECK_L7STS, status, "no gRPC there");
        return;
    }
    if (!p->rules->any_answer && !probe_status_fits(p->rules, status))
        probe_decide(p, CHECK_L7STS, status, http_status_phrase(status).p);
    else if (!wants_body(p->rules))
        probe_decide(p, CHECK_L7OK, status, NULL);
}

/* All that will be looked at is there. */
static void judge_body(struct probe *p)
{
    const struct probe_rules *r = p->rules;
    struct str body = {buf_data(&p->body), buf_len(&p->body)};
    if (r->body.n > 0 && !(body.n > 0 && memmem(body.p, body.n, r->body.p, r->body.n)))
        probe_decide(p, CHECK_L7RSP, p->answer.status, "the body has not the text in it");
    else if (r->body_regex.n > 0 && !probe_regex_match(p->regex, body))
        probe_decide(p, CHECK_L7RSP, p->answer.status, "the body does not match");
    else
        probe_decide(p, CHECK_L7OK, p->answer.status, NULL);
}

void probe_on_body(struct probe *p, const char *bytes, size_t n)
{
    size_t room = PROBE_BODY_MAX - buf_len(&p->body);
    if (p->decided)
        return;
    if (buf_append(&p->loop->bufs, &p->body, bytes, min_u64(n, room)) < 0) {
        probe_end(p, CHECK_SOCKERR, 0, "out of memory");
        return;
    }
    if (n < room)
        return;
    if (p->rules->kind == PROBE_GRPC)
        probe_end(p, CHECK_L7RSP, 0, "no HealthCheckResponse");
    else
        judge_body(p);
}

void probe_on_whole(struct probe *p)
{
    if (!p->decided && p->rules->kind == PROBE_GRPC)
        probe_grpc_judge(p);
    else if (!p->decided)
        judge_body(p);
    probe_end(p, CHECK_L7RSP, 0, NULL);
}
