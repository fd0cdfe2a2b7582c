/* jwt.h - is this token one of an issuer that is believed, and is it valid now? (RFC 7519, RFC 7515
 * compact serialization, RFC 8725)
 *
 * Pure: keys, rules and the time are arguments. What is not checked yet is never believed: the
 * algorithm is one of the rules' list and fits the key's type, the signature is verified before a
 * claim is read, and what the header says of keys elsewhere (jku, jwk, x5u, x5c) is not looked at.
 *
 * Bounds: a token of JWT_TOKEN_MAX bytes, in its claims JWT_JSON_VALUES values and JWT_JSON_DEPTH
 * levels; at most JWT_KEYS_TRIED signatures are verified for one token. */
#ifndef SLUICE_POLICIES_JWT_H
#define SLUICE_POLICIES_JWT_H

#include "base/str.h"
#include "policies/json_path.h"
#include "policies/jwt_keys.h"

#include <jansson.h>

enum {
    JWT_TOKEN_MAX = 8192,
    JWT_HEADER_MAX = 2048, /* bytes of its JSON */
    JWT_JSON_DEPTH = 16,
    JWT_JSON_VALUES = 512,
    JWT_KEYS_TRIED = 8,
    JWT_TEXT_MAX = 4096, /* of a claim in a header field */
};

/* X(id, word, what a client is told). The words are those of the metrics. */
#define JWT_RESULT_TABLE(X)                                                                        \
    X(VALID, "valid", "")                                                                          \
    X(NO_KEYS, "no_keys", "No keys to verify tokens with")                                         \
    X(EXPIRED, "expired", "The token has expired")                                                 \
    X(NOT_YET_VALID, "not_yet_valid", "The token is not valid yet")                                \
    X(UNKNOWN_KEY, "unknown_key", "The token is signed by an unknown key")                         \
    X(AUDIENCE, "audience", "The token is for another audience")                                   \
    X(SIGNATURE, "signature", "The token's signature is wrong")                                    \
    X(CLAIMS, "claims", "The token's claims are malformed or incomplete")                          \
    X(ISSUER, "issuer", "The token is of another issuer")                                          \
    X(ALGORITHM, "algorithm", "The token's algorithm is not allowed")                              \
    X(CRITICAL, "critical", "The token has an extension that is not understood")                   \
    X(MALFORMED, "malformed", "The token is malformed")                                            \
    X(NO_MEMORY, "out_of_memory", "")

enum jwt_result {
#define X(id, word, text) JWT_##id,
    JWT_RESULT_TABLE(X)
#undef X
        JWT_RESULTS,
};
const char *jwt_result_word(enum jwt_result r);
/* A literal without quotes or backslashes in it. */
const char *jwt_result_text(enum jwt_result r);

struct jwt_rules {
    struct str issuer; /* what `iss` has to be */
    uint32_t n_audiences;
    struct str *audiences; /* one of which is in `aud`; none: `aud` is not looked at */
    uint32_t algorithms;   /* JWT_BIT() of each that is allowed */
    uint32_t leeway;       /* seconds that clocks may differ; 60 */
    bool require_exp;      /* a token without `exp` is refused; true */
};

/* Of a token that was verified. */
struct jwt_claims {
    json_t *json;          /* an object */
    int64_t exp, nbf, iat; /* seconds since 1970; JWT_NEVER, or 0: there is none */
};
#define JWT_NEVER INT64_MAX

/* `now`: seconds since 1970. JWT_VALID: *ret is to be freed with jwt_claims_free(). */
enum jwt_result jwt_verify(const struct jwt_rules *r, const struct jwt_keys *keys, struct str token,
                           int64_t now, struct jwt_claims *ret);
/* What changes with the time alone: JWT_VALID, JWT_EXPIRED or JWT_NOT_YET_VALID. */
enum jwt_result jwt_check_time(const struct jwt_rules *r, const struct jwt_claims *c, int64_t now);
/* The struct is empty then; an empty one is harmless. */
void jwt_claims_free(struct jwt_claims *c);

/* The claim at that path; NULL: there is none. */
const json_t *jwt_claim(const struct jwt_claims *c, const struct json_path *path);
/* As the value of a header field: a string, a number, true or false; of a list its items, joined by
 * commas. out has JWT_TEXT_MAX bytes. False: there is none, or it can't stand there (an object, a
 * control character, a space at an end, a comma within a list's item, too long). */
bool jwt_claim_text(const struct jwt_claims *c, const struct json_path *path, char *out,
                    size_t *ret_n);

#endif
