/* lease_api.c - /v1/leases. */
#include "admin/lease_api.h"

#include "admin/control.h"
#include "base/mem.h"

#include <errno.h>
#include <stdio.h>

enum { LIMIT_DEFAULT = 1000, LIMIT_MAX = 10000 }; /* of a page */

static const char prefix[] = "/v1/leases/";

static void reply_json(struct http_request *req, unsigned status, json_t *o)
{
    char *text = o ? json_dumps(o, JSON_INDENT(1)) : NULL;
    json_decref(o);
    if (text)
        http_reply(req, status, "application/json", text, strlen(text));
    else
        http_reply_problem(req, 503, "out_of_memory", NULL);
    free(text);
}

static void reply_error(struct http_request *req, int rc)
{
    char detail[160];
    switch (rc) {
    case -ENOMEM:
        http_reply_problem(req, 503, "out_of_memory", NULL);
        break;
    case -EUSERS:
        http_reply_problem(req, 503, "too_many_leases", "as many are held as leases.max allows");
        break;
    case -EMSGSIZE:
        http_reply_problem(req, 413, "lease_too_large", "a lease and its release take 64 KiB");
        break;
    case -ESHUTDOWN:
        http_reply_problem(req, 503, "draining", "what is held is being released");
        break;
    case -ELIBACC:
        http_reply_problem(req, 503, "no_client",
                           "libcurl.so.4 is not there: nothing can be "
                           "released");
        break;
    default:
        (void)snprintf(detail, sizeof(detail), "the journal: %s", strerror(-rc));
        http_reply_problem(req, 503, "journal_failed", detail);
    }
}

/* --- the list ----------------------------------------------------------------------------- */

void leases_get(struct http_request *req, void *ctx)
{
    struct control *c = ctx;
    uint64_t limit = LIMIT_DEFAULT, after = 0;
    char text[32];
    if (http_query_get(req, "limit", text, sizeof(text)) &&
        (!str_to_u64(str_of(text), &limit) || limit < 1 || limit > LIMIT_MAX))
        http_reply_problem(req, 400, "bad_request", "limit is a number from 1 to 10000");
    else if (http_query_get(req, "after", text, sizeof(text)) && !str_to_u64(str_of(text), &after))
        http_reply_problem(req, 400, "bad_request", "after is the \"next\" of the page before");
    else
        reply_json(req, 200, leases_json(c->leases, after, (uint32_t)limit));
}

static void reply_lease(struct http_request *req, struct control *c, uint64_t id, unsigned status)
{
    json_t *o = leases_json_one(c->leases, id);
    if (!o)
        http_reply_problem(req, 404, "no_lease", "it has been released meanwhile");
    else
        reply_json(req, status, o);
}

static void on_acquired(void *ctx, uint64_t id, int rc)
{
    struct http_request *req = ctx;
    char location[64];
    CHECK_OBJ(req, HTTP_REQUEST_MAGIC);
    if (rc < 0) {
        reply_error(req, rc);
        return;
    }
    (void)snprintf(location, sizeof(location), "%s%016llx", prefix, (unsigned long long)id);
    (void)http_reply_field(req, "Location", location);
    reply_lease(req, req->user, id, 201);
}

void leases_post(struct http_request *req, void *ctx)
{
    struct control *c = ctx;
    struct lease_body body;
    char why[LEASE_WHY_MAX];
    const char *wrong = lease_body_read(req->body, leases_max_ttl(c->leases), &body, why);
    if (wrong) {
        http_reply_problem(req, 400, "bad_lease", wrong);
        return;
    }
    req->user = c;
    int rc = leases_acquire(c->leases, &body.lease, on_acquired, req);
    lease_body_free(&body);
    if (rc < 0)
        reply_error(req, rc);
}

/* --- one of them -------------------------------------------------------------------------- */

/* The 16 hex digits behind the prefix, and what is behind them. False: there are none. */
static bool read_id(const struct http_request *req, uint64_t *ret, struct str *ret_rest)
{
    struct str s = {req->path.p + sizeof(prefix) - 1, req->path.n - (sizeof(prefix) - 1)};
    uint64_t id = 0;
    if (s.n < 16)
        return false;
    for (size_t i = 0; i < 16; i++) {
        char ch = ascii_lower(s.p[i]);
        int digit = ch >= '0' && ch <= '9' ? ch - '0' : ch >= 'a' && ch <= 'f' ? ch - 'a' + 10 : -1;
        if (digit < 0)
            return false;
        id = id << 4 | (uint64_t)digit;
    }
    *ret = id;
    *ret_rest = (struct str){s.p + 16, s.n - 16};
    return true;
}

static void reply_none(struct http_request *req)
{
    http_reply_problem(req, 404, "no_lease", "there is no such lease, or its release has begun");
}

void lease_get(struct http_request *req, void *ctx)
{
    struct control *c = ctx;
    struct str rest;
    uint64_t id;
    json_t *o = read_id(req, &id, &rest) && rest.n == 0 ? leases_json_one(c->leases, id) : NULL;
    if (o)
        reply_json(req, 200, o);
    else
        reply_none(req);
}

static void on_renewed(void *ctx, uint64_t id, int rc)
{
    struct http_request *req = ctx;
    CHECK_OBJ(req, HTTP_REQUEST_MAGIC);
    if (rc < 0)
        reply_error(req, rc);
    else
        reply_lease(req, req->user, id, 200);
}

static void renew(struct http_request *req, struct control *c, uint64_t id)
{
    char why[LEASE_WHY_MAX];
    usec_t ttl;
    const char *wrong = lease_renewal_read(req->body, leases_max_ttl(c->leases), &ttl, why);
    if (wrong) {
        http_reply_problem(req, 400, "bad_lease", wrong);
        return;
    }
    req->user = c;
    int rc = leases_renew(c->leases, id, ttl, on_renewed, req);
    if (rc == -ENOENT)
        reply_none(req);
    else if (rc < 0)
        reply_error(req, rc);
}

void lease_put(struct http_request *req, void *ctx)
{
    struct str rest;
    uint64_t id;
    if (read_id(req, &id, &rest) && rest.n == 0)
        renew(req, ctx, id);
    else
        reply_none(req);
}

void lease_post(struct http_request *req, void *ctx)
{
    struct str rest;
    uint64_t id;
    if (read_id(req, &id, &rest) && str_eq(rest, STR("/renew")))
        renew(req, ctx, id);
    else
        reply_none(req);
}

/* --- released now ------------------------------------------------------------------------- */

struct waiting {
    struct lease_waiter waiter;
    struct http_request *request;
    struct control *control;
    uint64_t id;
};

static void on_released(struct lease_waiter *lw, const struct cleanup_run *r)
{
    struct waiting *w = CONTAINER_OF(lw, struct waiting, waiter);
    char id[20], detail[192];
    struct http_request *req = w->request;
    if (r->result == CLEANUP_FAILED) {
        if (r->error[0])
            (void)snprintf(detail, sizeof(detail), "after %u tries: %s", r->tries, r->error);
        else
            (void)snprintf(detail, sizeof(detail), "after %u tries: status %u", r->tries,
                           r->status);
        http_reply_problem(req, 502, "release_failed", detail);
    } else {
        json_t *o = json_object();
        (void)snprintf(id, sizeof(id), "%016llx", (unsigned long long)w->id);
        (void)json_object_set_new(o, "id", json_string(id));
        (void)json_object_set_new(o, "result", json_string(cleanup_result_word(r->result)));
        (void)json_object_set_new(o, "tries", json_integer(r->tries));
        (void)json_object_set_new(o, "status", json_integer(r->status));
        reply_json(req, 200, o);
    }
    free(w);
}

/* The client does not wait any more; the release goes on. */
static void on_client_gone(struct http_request *req)
{
    struct waiting *w = req->user;
    leases_unwait(w->control->leases, w->id, &w->waiter);
    free(w);
}

static void release(struct http_request *req, struct control *c, uint64_t id)
{
    struct waiting *w = mem_zalloc(sizeof(*w));
    if (!w) {
        http_reply_problem(req, 503, "out_of_memory", NULL);
        return;
    }
    *w = (struct waiting){{NULL, on_released}, req, c, id};
    req->user = w;
    req->on_gone = on_client_gone;
    if (leases_release(c->leases, id, &w->waiter) == 0)
        return;
    req->on_gone = NULL;
    free(w);
    reply_none(req);
}

void lease_delete(struct http_request *req, void *ctx)
{
    struct control *c = ctx;
    struct str rest;
    uint64_t id;
    char run[8];
    if (!read_id(req, &id, &rest) || rest.n != 0) {
        reply_none(req);
    } else if (!http_query_get(req, "run", run, sizeof(run)) || strcmp(run, "1") == 0) {
        release(req, c, id);
    } else if (strcmp(run, "0") != 0) {
        http_reply_problem(req, 400, "bad_request", "run is 0 (forget it) or 1 (release it now)");
    } else if (leases_drop(c->leases, id) < 0) {
        reply_none(req);
    } else {
        http_reply(req, 204, NULL, NULL, 0);
    }
}
