/* probe.h - one look at one endpoint: what is asked, and what came of it.
 *
 * By a command, or by a connection of its own, over the upstream's own TLS, with our own codecs and
 * not by libcurl: libcurl reads a file of CAs again for each connection, does not know the layer at
 * which one of ours would fail, and costs memory that a health check need not. On the control loop.
 */
#ifndef SLUICE_HEALTHCHECK_PROBE_H
#define SLUICE_HEALTHCHECK_PROBE_H

#include "base/str.h"
#include "healthcheck/health.h"
#include "io/address.h"

#include <stdbool.h>
#include <stdint.h>

struct loop;
struct message;
struct probe;
struct probe_regex;
struct tls_slot;

enum probe_kind { PROBE_NONE, PROBE_HTTP, PROBE_TCP, PROBE_GRPC, PROBE_EXEC };

/* Of an answer, this much is looked at; what comes behind it changes nothing. */
enum { PROBE_BODY_MAX = 64 * 1024, PROBE_FIELDS_MAX = 32, PROBE_RANGES_MAX = 16 };

struct probe_field {
    struct str name, value;
};

struct probe_range {
    uint16_t from, to;
};

/* What is asked and expected. All texts are the owner's. */
struct probe_rules {
    enum probe_kind kind;
    /* http */
    struct str method; /* GET */
    struct str target; /* path, and query behind a '?' */
    struct str host;   /* of http and grpc; empty: the endpoint's address, or its TLS name */
    uint32_t n_fields;
    struct probe_field *fields;
    uint32_t n_ranges;
    struct probe_range *ranges; /* 200-399 */
    struct str body;            /* is in the answer's body; empty: any */
    struct str body_regex;      /* matches somewhere in it; empty: any */
    bool any_answer; /* whatever it says is as expected, and its body is kept for `done` */
    /* grpc: of grpc.health.v1.HealthCheckRequest; empty: the whole server */
    struct str service;
    /* tcp */
    struct str send, expect; /* empty: nothing */
    /* exec: without a shell; NULL at its end */
    char *const *command;
};

bool probe_rules_equal(const struct probe_rules *a, const struct probe_rules *b);

/* "200-399,404" into at most PROBE_RANGES_MAX; how many, or -EINVAL. */
int probe_ranges_parse(struct str text, struct probe_range *ret);
bool probe_status_fits(const struct probe_rules *r, unsigned status);

enum probe_protocol { PROBE_HTTP1, PROBE_HTTP2, PROBE_BY_ALPN };

/* Whom. Referenced, with all in it, until the look is over. */
struct probe_target {
    struct str upstream; /* its name, for a command */
    struct str text;     /* "10.0.0.7:8080": whom HTTP asks for */
    const struct address *address;
    struct tls_slot *tls; /* NULL: plain */
    struct str tls_name;  /* its server's name; empty: none is given */
    enum probe_protocol protocol;
};

/* What was answered, while `done` runs. */
struct probe_answer {
    const struct message *head; /* status 0: none came */
    struct str body;            /* the first PROBE_BODY_MAX bytes of it, where it was looked at */
};

typedef void probe_done_fn(void *ctx, const struct check_result *result, const char *detail,
                           const struct probe_answer *answer);

/* Begins; `done` comes once, on the loop and never from within, at `timeout` at the latest. It may
 * begin the next one. `regex`: of rules->body_regex, alive as long. NULL when memory is short. */
struct probe *probe_start(struct loop *l, const struct probe_rules *rules,
                          const struct probe_regex *regex, const struct probe_target *target,
                          usec_t timeout, probe_done_fn *done, void *ctx);
/* Equal rules at another place. */
void probe_move(struct probe *p, const struct probe_rules *rules, const struct probe_regex *regex);
/* `done` is not called. NULL is harmless; returns NULL. */
struct probe *probe_cancel(struct probe *p);

/* ---- a pattern in a body (probe_regex.c) ---- */

/* 0; -ENOMEM; or -EINVAL with why[] (why_cap bytes). */
int probe_regex_new(struct str pattern, struct probe_regex **ret, char *why, size_t why_cap);
struct probe_regex *probe_regex_free(struct probe_regex *r);
/* Somewhere in the text. A pattern that gets lost in it does not match: some ms are the most that
 * it may take. */
bool probe_regex_match(const struct probe_regex *r, struct str text);

#endif
