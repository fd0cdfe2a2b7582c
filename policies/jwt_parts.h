/* jwt_parts.h - what the files of jwt*.c share. Not for others. */
#ifndef SLUICE_POLICIES_JWT_PARTS_H
#define SLUICE_POLICIES_JWT_PARTS_H

#include "base/check.h"
#include "policies/jwt.h"

#include <openssl/evp.h>
#include <stdatomic.h>

struct jwt_key {
    uint32_t algorithms; /* that it may be used with; never both of a kind and of another */
    char *kid;           /* NULL: none */
    size_t kid_len;
    EVP_PKEY *public; /* NULL: a secret */
    unsigned char *secret;
    size_t secret_len;
};

struct jwt_keys {
    _Atomic uint32_t refs;
    uint32_t n, ignored;
    struct jwt_key keys[JWT_KEYS_MAX];
};

/* Does the signature fit? JWT_VALID, JWT_SIGNATURE or JWT_NO_MEMORY. The algorithm is one of the
 * key's. */
enum jwt_result jwt_signature_verify(const struct jwt_key *key, enum jwt_algorithm algorithm,
                                     struct str signed_part, const unsigned char *signature,
                                     size_t n);

/* RFC 7515 §2: no padding, no white space, no bits left over. The bytes, at most 3/4 of the text,
 * go to `out`; false: it is none, or longer than cap. */
bool jwt_base64(struct str text, unsigned char *out, size_t cap, size_t *ret_n);

/* An object, without names that stand twice, within our bounds. NULL: it is none of those;
 * *ret_no_memory says that it could not be looked at. */
json_t *jwt_json(const char *p, size_t n, bool *ret_no_memory);

#endif
