/* header_rules.h - header fields that an operator sets, adds and removes as a message goes by.
 *
 *   requestHeaderModifier:
 *     remove: [X-Debug, "X-Internal-*"]
 *     set: [{name: X-Client, value: "{client.address}"}]
 *     setIfAbsent: [{name: X-Tenant, value: none}]
 *     add: [{name: X-Seen-By, value: edge}]
 *
 * In this order: what is removed goes first, then fields are set, set where there is none, added.
 * Values see the message as it came, so that a field which is removed can live on under another
 * name. A value of which a part is not there writes no field; `set` still takes the old one away:
 * what the operator wanted to say must not be what the peer said.
 *
 * Pure: the caller has the message, this decides what becomes of it. What frames the message or
 * belongs to the connection is out of its reach (header_rules_refuses). */
#ifndef SLUICE_POLICIES_HEADER_RULES_H
#define SLUICE_POLICIES_HEADER_RULES_H

#include "policies/template.h"

enum {
    HEADER_WRITES_MAX = 64, /* of a modifier: set, setIfAbsent and add together */
    HEADER_REMOVES_MAX = 64,
    HEADER_NAMES_MAX = 8,           /* header.… in a value */
    HEADER_WRITTEN_MAX = 16 * 1024, /* bytes that a modifier writes into a message */
};

/* X(id, name) */
#define HEADER_VARIABLE_TABLE(X)                                                                   \
    X(CLIENT_ADDRESS, "client.address") /* behind the trusted proxies */                           \
    X(REQUEST_ID, "request.id")                                                                    \
    X(TRACE_ID, "trace.id")                                                                        \
    X(LISTENER, "listener")                                                                        \
    X(ROUTE, "route")                                                                              \
    X(UPSTREAM, "upstream")                                                                        \
    X(METHOD, "method")                                                                            \
    X(HOST, "host") /* as the client asked, in front of the route's rewrite */                     \
    X(PATH, "path") /* the same, without query */

enum header_variable {
#define X(id, name) HEADER_##id,
    HEADER_VARIABLE_TABLE(X)
#undef X
        HEADER_VARIABLES,
};

enum header_op { HEADER_SET, HEADER_SET_IF_ABSENT, HEADER_ADD };

struct header_write {
    enum header_op op;
    struct str name;
    struct template value; /* value i: variable i, then request headers */
    uint32_t n_headers;
    struct str headers[HEADER_NAMES_MAX]; /* those of header.… */
};

struct header_remove {
    struct str name;
    bool prefix; /* and what follows it */
};

struct header_rules {
    bool request; /* of requests; else of responses */
    bool dry_run;
    bool uses_request; /* a value is made of the request's head */
    uint32_t n_removes, n_writes;
    struct header_remove *removes;
    struct header_write *writes; /* in the order of enum header_op */
};

/* Why no rule may touch a field of that name (in any case, `_` for `-` too): a literal to stand
 * behind the name; NULL: it may. */
const char *header_rules_refuses(struct str name, bool request);
/* "X-A", or "X-A*". NULL, or a literal: what is wrong with it. */
const char *header_remove_compile(struct str text, bool request, struct header_remove *ret);
/* Fills value and headers of *ret; text outlives it. 0; -EINVAL with *problem filled; -ENOMEM. */
int header_write_compile(struct arena *a, struct str text, struct header_write *ret,
                         struct template_problem *problem);
bool header_removes(const struct header_remove *r, struct str name, bool request);

/* Of the request, while a message is changed. .p NULL: there is none. Taken once for each modifier,
 * before anything changes. */
struct header_values {
    struct str (*variable)(const void *ctx, enum header_variable v);
    struct str (*header)(const void *ctx, struct str name);
    const void *ctx;
};

/* Which of a message's fields: those of that name, or whose names begin so. Without case. */
struct header_wanted {
    struct str name;
    bool prefix;
    bool loosely; /* with _ in place of a - as well: some applications take them for the same */
};

/* Is a field of that name one of them? */
bool header_is_wanted(const struct header_wanted *w, struct str name);

/* The message's fields by their index; those that are added come behind the others. */
struct header_fields {
    /* The first one at *i or behind it, with its name; false: there is none. */
    bool (*find)(const void *ctx, const struct header_wanted *wanted, uint32_t *i, struct str *ret);
    void (*drop)(void *ctx, uint32_t i);
    int (*add)(void *ctx, struct str name, struct str value); /* 0 or -ENOMEM */
    void *ctx;
};

struct header_changes {
    uint32_t removed, written;
    uint32_t left_out; /* values with a part that is not there, or cannot stand in a field */
};

/* 0 with *ret filled, under dry_run with what it would have been; -EMSGSIZE: more than
 * HEADER_WRITTEN_MAX would be written, and nothing has changed; -ENOMEM, the message is then of no
 * use. */
int header_rules_apply(const struct header_rules *r, const struct header_values *v,
                       const struct header_fields *f, struct header_changes *ret);

#endif
