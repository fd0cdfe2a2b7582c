/* http_route.c - the tiny router of the control servers, and the query's values. */
#include "admin/http_server.h"

#include <stdio.h>

static bool path_matches(const struct http_route *r, struct str path)
{
    struct str want = str_of(r->path);
    if (want.n > 0 && want.p[want.n - 1] == '*')
        return str_starts(path, (struct str){want.p, want.n - 1});
    return str_eq(path, want);
}

static bool method_matches(const struct http_route *r, const struct http_request *req)
{
    return str_eq(req->method_text, str_of(r->method)) ||
           (req->method == METHOD_HEAD && strcmp(r->method, "GET") == 0);
}

/* One route's methods, added to Allow's list unless they are there. */
static void allow_add(char *allow, size_t cap, const char *method)
{
    char have[160], want[32];
    size_t n = strlen(allow);

    (void)snprintf(have, sizeof(have), " %s,", allow);
    (void)snprintf(want, sizeof(want), " %s,", method);
    if (!strstr(have, want) && n + strlen(method) + 3 < cap)
        (void)snprintf(allow + n, cap - n, "%s%s", n > 0 ? ", " : "", method);
}

void http_dispatch(const struct http_route *routes, size_t n, struct http_request *req, void *ctx)
{
    char allow[128] = "";

    for (size_t i = 0; i < n; i++) {
        const struct http_route *r = &routes[i];
        if (!path_matches(r, req->path))
            continue;
        if (method_matches(r, req)) {
            if (r->mutates && !req->may_mutate)
                http_reply_forbidden(req);
            else
                r->fn(req, ctx);
            return;
        }
        allow_add(allow, sizeof(allow), r->method);
        if (strcmp(r->method, "GET") == 0)
            allow_add(allow, sizeof(allow), "HEAD");
    }
    if (allow[0] == '\0') {
        http_reply_problem(req, 404, "not_found", "There is nothing at this path.");
        return;
    }
    (void)http_reply_field(req, "Allow", allow);
    http_reply_problem(req, 405, "method_not_allowed", "This path does not take that method.");
}

static int hex_value(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c = ascii_lower(c);
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static bool decode(struct str s, char *out, size_t cap)
{
    size_t o = 0;
    for (size_t i = 0; i < s.n; i++) {
        char c = s.p[i];
        if (c == '%') {
            int high = i + 2 < s.n ? hex_value(s.p[i + 1]) : -1;
            int low = high >= 0 ? hex_value(s.p[i + 2]) : -1;
            if (low < 0 || high * 16 + low == 0)
                return false;
            c = (char)(high * 16 + low);
            i += 2;
        } else if (c == '+') {
            c = ' ';
        }
        if (o + 1 >= cap)
            return false;
        out[o++] = c;
    }
    if (cap == 0)
        return false;
    out[o] = '\0';
    return true;
}

bool http_query_get(const struct http_request *req, const char *name, char *out, size_t cap)
{
    struct str rest = req->query;

    while (rest.n > 0) {
        const char *amp = memchr(rest.p, '&', rest.n);
        struct str pair = {rest.p, amp ? (size_t)(amp - rest.p) : rest.n};
        rest = amp ? (struct str){amp + 1, rest.n - pair.n - 1} : STR_NONE;
        const char *eq = pair.n > 0 ? memchr(pair.p, '=', pair.n) : NULL;
        struct str key = {pair.p, eq ? (size_t)(eq - pair.p) : pair.n};
        if (!str_eq(key, str_of(name)))
            continue;
        return decode(eq ? (struct str){eq + 1, pair.n - key.n - 1} : STR_NONE, out, cap);
    }
    return false;
}
