/* conf_authz.h - who issues tokens, and who may pass a route, as the operator wrote it. */
#ifndef SLUICE_CONFIG_CONF_AUTHZ_H
#define SLUICE_CONFIG_CONF_AUTHZ_H

#include "config/config.h"
#include "policies/authz.h"

enum {
    CONF_JWTS_MAX = 64,
    CONF_JWT_FROM_MAX = 8,
    CONF_JWT_HEADERS_MAX = 32,
    CONF_AUTHZ_RULES_MAX = 256,
    CONF_AUTHZ_JWTS_MAX = 8, /* of a route */
};

/* Where a token is looked for. Not in the query: it is in logs, here and elsewhere (RFC 9700
 * §4.3.2). */
struct conf_jwt_from {
    struct str header; /* .p NULL: a cookie */
    struct str scheme; /* in front of the token, and a space; .p NULL: none */
    struct str cookie;
};

struct conf_jwt_header {
    struct str claim; /* as written */
    struct str header;
    struct json_path path;
};

/* An issuer. */
struct conf_jwt {
    struct str name;
    uint32_t index; /* in conf.jwts */
    struct jwt_rules rules;
    struct conf_file jwks;    /* .path.p NULL: by URL; its place is the URL's then */
    struct str jwks_url;      /* with a NUL behind it; .p NULL: a file */
    struct conf_file jwks_ca; /* of https; none: the system's CAs */
    usec_t jwks_interval;     /* from one fetch to the next; 5 min */
    usec_t jwks_timeout;      /* of one; 2 s */
    usec_t
        jwks_unknown_after; /* from one to the next that a token with an unknown key asks for; 10 s
                             */
    uint32_t n_algorithms;  /* as written; 0: those that are asymmetric */
    uint32_t *algorithms;
    usec_t leeway;   /* rules.leeway; 60 s */
    uint32_t n_from; /* the first that has a token decides; Authorization: Bearer */
    struct conf_jwt_from *from;
    uint32_t n_headers; /* claimsToHeaders */
    struct conf_jwt_header *headers;
    bool forward_token;  /* false */
    uint32_t cache_size; /* tokens, of each worker; 1024 */
    uint64_t identity;   /* a hash of what decides whether a token is valid */
};

/* Of a route. */
struct conf_authz {
    uint32_t n_names;
    struct str *names; /* as written */
    uint32_t n_jwts;
    const struct conf_jwt **jwts; /* any one of which the token is of */
    bool optional;                /* a request without a token passes on to the rules */
    bool dry_run;
    bool asks_spiffe, asks_source; /* a rule does */
    struct authz_rules rules;
};

/* By its name; NULL where there is none. There are few. */
const struct conf_jwt *conf_find_jwt(const struct conf *c, struct str name);

#endif
