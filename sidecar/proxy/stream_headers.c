/* stream_headers.c - a route's header rules, on the request that goes up and the response that goes
 * down. */
#include "proxy/stream_steps.h"

#include "http/hop.h"
#include "proxy/listener.h"

#include <errno.h>

/* --- what values are made of: the request --- */

static struct str value_of_field(const struct message *m, enum field_id id)
{
    const struct field *f = message_find(m, id);
    return f ? field_value(m, f) : STR_NONE;
}

static struct str variable(const void *ctx, enum header_variable v)
{
    const struct stream *s = ctx;
    const struct message *m = &s->req;
    switch (v) {
    case HEADER_CLIENT_ADDRESS:
        return hop_client_address(m, s->peer, stream_trusted_hops(s));
    case HEADER_REQUEST_ID:
        return value_of_field(m, FIELD_X_REQUEST_ID);
    case HEADER_TRACE_ID:
        return hop_trace_id(m);
    case HEADER_LISTENER:
        return s->listener->name;
    case HEADER_ROUTE:
        return s->route->name;
    case HEADER_UPSTREAM:
        return s->upstream ? s->upstream->name : STR_NONE;
    case HEADER_METHOD:
        return message_str(m, m->method_text);
    case HEADER_HOST:
        return message_str(m, s->exchange->asked_authority);
    case HEADER_PATH:
        return message_str(m, s->exchange->asked_path);
    case HEADER_VARIABLES:
        break;
    }
    return STR_NONE;
}

static struct str header(const void *ctx, struct str name)
{
    const struct stream *s = ctx;
    const struct field *f = message_find_name(&s->req, name);
    return f ? field_value(&s->req, f) : STR_NONE;
}

/* --- the message that is changed --- */

static bool find(const void *ctx, const struct header_wanted *wanted, uint32_t *i, struct str *ret)
{
    const struct message *m = ctx;
    for (uint32_t k = *i; k < m->n_fields; k++) {
        const struct field *f = &m->fields[k];
        if ((f->name_len != wanted->name.n && !wanted->prefix) || f->dropped)
            continue;
        *ret = field_name(m, f);
        if (header_is_wanted(wanted, *ret)) {
            *i = k;
            return true;
        }
    }
    return false;
}

static void drop(void *ctx, uint32_t i)
{
    ((struct message *)ctx)->fields[i].dropped = 1;
}

static int add(void *ctx, struct str name, struct str value)
{
    return message_add(ctx, field_id_of(name), name, value);
}

/* 0, -EMSGSIZE or -ENOMEM. */
static int apply(struct stream *s, const struct header_rules *r, struct message *m)
{
    const struct header_values values = {variable, header, s};
    const struct header_fields fields = {find, drop, add, m};
    struct header_changes changes = {0};
    counter_t *counts = s->worker->stats.header_rules[r->request ? 0 : 1];
    int rc = header_rules_apply(r, &values, &fields, &changes);
    if (rc < 0) {
        count_add(&counts[HEADER_COUNT_REFUSED], rc == -EMSGSIZE && !r->dry_run);
        return r->dry_run && rc == -EMSGSIZE ? 0 : rc;
    }
    if (changes.removed + changes.written > 0)
        count_add(&counts[r->dry_run ? HEADER_COUNT_DRY_RUN : HEADER_COUNT_CHANGED], 1);
    count_add(&counts[HEADER_COUNT_LEFT_OUT], changes.left_out);
    return 0;
}

static int apply_both(struct stream *s, const struct header_rules *const rules[2],
                      struct message *m)
{
    int rc = rules[0] ? apply(s, rules[0], m) : 0;
    return rc == 0 && rules[1] ? apply(s, rules[1], m) : rc;
}

/* --- when --- */

bool stream_change_request(struct stream *s)
{
    if (!s->route->headers || s->headers_changed)
        return true;
    s->headers_changed = true;
    int rc = apply_both(s, s->route->headers->request, &s->req);
    if (rc == 0)
        return true;
    stream_reply(s, rc == -EMSGSIZE ? REASON_HEADERS_TOO_LARGE : REASON_OUT_OF_MEMORY,
                 rc == -EMSGSIZE ? "requestHeaderModifier writes more than 16 KiB" : NULL);
    return false;
}

bool stream_change_response(struct stream *s)
{
    if (!s->route->headers)
        return true;
    int rc = apply_both(s, s->route->headers->response, &s->exchange->res);
    if (rc == 0)
        return true;
    stream_reply(s, rc == -EMSGSIZE ? REASON_UPSTREAM_HEADERS_TOO_LARGE : REASON_OUT_OF_MEMORY,
                 rc == -EMSGSIZE ? "responseHeaderModifier writes more than 16 KiB" : NULL);
    return false;
}
