/* learn.h - learned sessions, the deciding part: does this exchange acquire or give back something,
 * which values name it, and what request gives it back (DESIGN §4)? Pure: bytes in, bytes out.
 *
 * A rule (compiled with the configuration) on a route of an outbound listener:
 *
 *   learn:
 *     - name: device
 *       acquire: { method: POST, path: "/login?user={user}", status: 2xx }
 *       take:
 *         - { name: session, json: $.session }       # or header:, cookie:, requestJson:
 *       hold: { method: POST, path: "/logout?session={session}" }   # and headers, body
 *       key: "{session}"
 *
 * `{name}` is the same everywhere: in what is matched (acquire, release) it takes a value out, in
 * what is sent (hold) it puts one in, escaped for its place (template.h). What the application
 * itself sends to give a session back looks as `hold`, unless `release` says how it looks.
 *
 * A value that is missing, empty or too long: nothing is learned, which is counted. Paths are those
 * that the upstream sees, behind a route's rewrite. */
#ifndef SLUICE_POLICIES_LEARN_H
#define SLUICE_POLICIES_LEARN_H

#include "base/clock.h"
#include "policies/json_take.h"
#include "policies/template.h"

enum {
    LEARN_VALUES_MAX = JSON_TAKE_PATHS_MAX, /* of a rule */
    LEARN_VALUE_MAX = 1024,                 /* bytes of one */
    LEARN_BODY_MAX = 1 << 20,               /* a body is looked at that far at most */
    LEARN_KEY_MAX = 2048,
    LEARN_RULES_MAX = 16, /* of a route */
};

/* A value of the rule that is under way: v[i] for names[i]; .p NULL: there is none. */
struct learn_values {
    struct str v[LEARN_VALUES_MAX];
    char bytes[LEARN_VALUES_MAX][LEARN_VALUE_MAX];
};

/* `name=value` of a query, or a field's name and its value. */
struct learn_pair {
    struct str name;
    struct template value;
};

/* What a request looks like, and where values stand in it. */
struct learn_pattern {
    struct str method;    /* empty: any */
    bool any_path;        /* path is not looked at */
    struct template path; /* a value is part of one segment */
    uint32_t n_query, n_headers, n_cookies;
    struct learn_pair *query, *headers, *cookies; /* each is there, in any order */
};

enum learn_from { LEARN_JSON, LEARN_HEADER, LEARN_COOKIE, LEARN_REQUEST_JSON };

struct learn_take {
    enum learn_from from;
    uint32_t value;        /* which one */
    struct str field;      /* LEARN_HEADER, LEARN_COOKIE (a Set-Cookie's name) */
    struct json_path path; /* the others */
};

/* The request that gives it back. */
struct learn_hold {
    struct str method;
    struct template target; /* path and query */
    uint32_t n_headers;
    struct learn_pair *headers;
    bool has_body;
    struct template body;
    struct str content_type;
    usec_t timeout; /* of one try; 5 s */
    uint32_t retries;
};

enum learn_duplicate { LEARN_REPLACE, LEARN_ADD, LEARN_COUNT };

struct learn_rule {
    struct str name;
    uint32_t n_values;
    struct str names[LEARN_VALUES_MAX];
    struct learn_pattern acquire;
    uint16_t status_min, status_max; /* of the answer */
    uint32_t n_takes;
    struct learn_take *takes;
    struct learn_hold hold;
    struct learn_pattern release;
    uint32_t n_release_takes; /* LEARN_REQUEST_JSON */
    struct learn_take *release_takes;
    struct learn_pattern use; /* any request of the session; without a value: none is known */
    struct template key;
    enum learn_duplicate duplicate;
    usec_t ttl;              /* 0: none */
    usec_t disconnect_grace; /* 0: a disconnect means nothing */
    usec_t journal_timeout;  /* the response waits so long for the journal; 5 s */
    uint32_t max_body;       /* of a body that is looked at, and held back meanwhile */
};

struct learn_rules {
    uint32_t n;
    struct learn_rule *rules;
    bool any_use; /* one of them has a disconnect_grace */
};

/* A message's head. field: the i-th; false: there are fewer. */
struct learn_head {
    struct str method, path, query; /* of a request */
    bool (*field)(const void *ctx, uint32_t i, struct str *ret_name, struct str *ret_value);
    const void *ctx;
};

/* text: "/path/{x}?name={y}", "?name={y}" where any path will do. names[0..n) are what it may use.
 * 0; -EINVAL with *problem filled (what or name); -ENOMEM. Headers are added by
 * learn_pattern_header(). */
int learn_pattern_compile(struct arena *a, struct str text, const struct str *names, uint32_t n,
                          struct learn_pattern *ret, struct template_problem *problem);
/* Room for n headers has been made in p->headers and, for Cookie, n crumbs in p->cookies. */
int learn_pattern_header(struct arena *a, struct str name, struct str value,
                         const struct str *names, uint32_t n, struct learn_pattern *p,
                         struct template_problem *problem);
/* The values in it, as bits. */
uint32_t learn_pattern_gives(const struct learn_pattern *p);

void learn_values_clear(struct learn_values *v);
/* Does the request look like that? The values in it are added to v; whatever it says, v may have
 * got some. */
bool learn_matches(const struct learn_pattern *p, const struct learn_head *request,
                   struct learn_values *v);
/* Values of a response's head. */
void learn_take_head(const struct learn_rule *r, const struct learn_head *response,
                     struct learn_values *v);
/* A body is looked at for these: json[] is filled for json_take_init(), how many are returned. */
uint32_t learn_body_values(const struct learn_take *takes, uint32_t n, enum learn_from from,
                           struct learn_values *v, struct json_value json[LEARN_VALUES_MAX]);
/* What was found there is taken into v; takes as above. */
void learn_take_body(const struct learn_take *takes, uint32_t n, enum learn_from from,
                     const struct json_value *json, struct learn_values *v);

static inline bool learn_status_fits(const struct learn_rule *r, unsigned status)
{
    return status >= r->status_min && status <= r->status_max;
}

/* It was there, or is not there any more: what gave it back needs no repetition. */
static inline bool learn_status_gone(unsigned status)
{
    return (status >= 200 && status <= 299) || status == 404 || status == 410;
}

#endif
