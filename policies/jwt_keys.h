/* jwt_keys.h - the keys that tokens are verified with: a JWK set (RFC 7517, RFC 7518 §6, RFC 8037).
 *
 * Immutable once made, shared by all workers, counted by references. Keys that are for something
 * else (`use`, `key_ops`), or of a type, curve or algorithm that is not known here, are left out
 * (RFC 7517 §5); a key that is one of ours and broken, or weak, refuses the whole set. */
#ifndef SLUICE_POLICIES_JWT_KEYS_H
#define SLUICE_POLICIES_JWT_KEYS_H

#include "base/str.h"

enum {
    JWT_KEYS_MAX = 100,
    JWT_KID_MAX = 256,
    JWT_RSA_BITS_MIN = 2048,
    JWT_RSA_BITS_MAX = 8192,
};

/* X(id, name (RFC 7518 §3.1, RFC 8037 §3.1)) */
#define JWT_ALGORITHM_TABLE(X)                                                                     \
    X(RS256, "RS256")                                                                              \
    X(RS384, "RS384")                                                                              \
    X(RS512, "RS512")                                                                              \
    X(PS256, "PS256")                                                                              \
    X(PS384, "PS384")                                                                              \
    X(PS512, "PS512")                                                                              \
    X(ES256, "ES256")                                                                              \
    X(ES384, "ES384")                                                                              \
    X(ES512, "ES512")                                                                              \
    X(EDDSA, "EdDSA")                                                                              \
    X(HS256, "HS256")                                                                              \
    X(HS384, "HS384")                                                                              \
    X(HS512, "HS512")

enum jwt_algorithm {
#define X(id, name) JWT_##id,
    JWT_ALGORITHM_TABLE(X)
#undef X
        JWT_ALGORITHMS,
};

#define JWT_BIT(algorithm) ((uint32_t)1 << (algorithm))
#define JWT_SYMMETRIC      (JWT_BIT(JWT_HS256) | JWT_BIT(JWT_HS384) | JWT_BIT(JWT_HS512))
/* What is allowed where nothing is said: those whose verifier cannot sign. */
#define JWT_ASYMMETRIC ((JWT_BIT(JWT_ALGORITHMS) - 1) & ~JWT_SYMMETRIC)

/* JWT_ALGORITHMS: none of ours ("none" never is). Case-sensitive. */
enum jwt_algorithm jwt_algorithm_of(struct str name);

struct jwt_keys;

/* The set with one reference. NULL with a sentence in `why` that has nothing of a key in it but its
 * place in the list. `text` may hold secrets, and is left to the caller to clear. */
struct jwt_keys *jwt_keys_parse(struct str text, char *why, size_t why_len);
struct jwt_keys *jwt_keys_ref(struct jwt_keys *k);
/* NULL is harmless; returns NULL. From any thread. */
struct jwt_keys *jwt_keys_unref(struct jwt_keys *k);

uint32_t jwt_keys_count(const struct jwt_keys *k);
/* Of the set as written, those that were left out. */
uint32_t jwt_keys_ignored(const struct jwt_keys *k);
/* Empty where it has none; valid as long as the set. */
struct str jwt_keys_kid(const struct jwt_keys *k, uint32_t i);

#endif
