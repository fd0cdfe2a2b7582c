/* jwt.c - a compact token: its parts, its key, its claims. */
#include "policies/jwt.h"

#include "policies/jwt_parts.h"

#include <math.h>
#include <stdio.h>

enum { SIGNATURE_MAX = JWT_RSA_BITS_MAX / 8 };

#define DATE_MAX 9007199254740992.0 /* 2^53: what a JSON number holds exactly everywhere */

static const struct {
    const char *word, *text;
} results[] = {
#define X(id, word, text) [JWT_##id] = {(word), (text)},
    JWT_RESULT_TABLE(X)
#undef X
};

const char *jwt_result_word(enum jwt_result r)
{
    return results[r].word;
}

const char *jwt_result_text(enum jwt_result r)
{
    return results[r].text;
}

/* The bytes of the parts; what is signed is the token's own text. */
struct parts {
    struct str signed_part;
    size_t n_header, n_claims, n_signature;
    unsigned char header[JWT_HEADER_MAX], claims[JWT_TOKEN_MAX], signature[SIGNATURE_MAX];
};

static bool cut(struct str token, struct parts *p)
{
    const char *end = token.p + token.n;
    if (token.n > JWT_TOKEN_MAX || token.n == 0)
        return false;
    const char *one = memchr(token.p, '.', token.n);
    const char *two = one ? memchr(one + 1, '.', (size_t)(end - one - 1)) : NULL;
    if (!two)
        return false;
    p->signed_part = (struct str){token.p, (size_t)(two - token.p)};
    /* A third dot is no digit of base64url. */
    return jwt_base64((struct str){token.p, (size_t)(one - token.p)}, p->header, sizeof(p->header),
                      &p->n_header) &&
           jwt_base64((struct str){one + 1, (size_t)(two - one - 1)}, p->claims, sizeof(p->claims),
                      &p->n_claims) &&
           jwt_base64((struct str){two + 1, (size_t)(end - two - 1)}, p->signature,
                      sizeof(p->signature), &p->n_signature);
}

static struct str text_of(const json_t *v)
{
    return (struct str){json_string_value(v), json_string_length(v)};
}

/* --- the header and the key --- */

struct head {
    enum jwt_algorithm algorithm;
    struct str kid; /* .p NULL: none; of the JSON */
};

static enum jwt_result read_head(const struct jwt_rules *r, const json_t *json, struct head *ret)
{
    const json_t *alg = json_object_get(json, "alg"), *kid = json_object_get(json, "kid");
    if (!json_is_string(alg) || (kid && !json_is_string(kid)))
        return JWT_MALFORMED;
    if (json_object_get(json, "crit")) /* we understand none (RFC 7515 §4.1.11) */
        return JWT_CRITICAL;
    ret->algorithm = jwt_algorithm_of(text_of(alg));
    if (ret->algorithm == JWT_ALGORITHMS || !(r->algorithms & JWT_BIT(ret->algorithm)))
        return JWT_ALGORITHM;
    ret->kid = kid ? text_of(kid) : STR_NONE;
    return JWT_VALID;
}

/* `kid` is a hint (RFC 7515 §4.1.4): a key without one may be meant. */
static bool may_be(const struct jwt_key *key, const struct head *h)
{
    struct str kid = {key->kid, key->kid_len};
    return (key->algorithms & JWT_BIT(h->algorithm)) &&
           (!h->kid.p || !kid.p || str_eq(h->kid, kid));
}

static enum jwt_result verify_signature(const struct jwt_keys *keys, const struct head *h,
                                        const struct parts *p)
{
    enum jwt_result result = JWT_UNKNOWN_KEY;
    uint32_t tried = 0;
    for (uint32_t i = 0; i < keys->n && tried < JWT_KEYS_TRIED; i++) {
        if (!may_be(&keys->keys[i], h))
            continue;
        tried++;
        result = jwt_signature_verify(&keys->keys[i], h->algorithm, p->signed_part, p->signature,
                                      p->n_signature);
        if (result != JWT_SIGNATURE)
            break;
    }
    return result;
}

/* --- the claims --- */

/* A NumericDate (RFC 7519 §2), `up`: a part of a second counts as a whole one. */
static bool date_of(const json_t *json, const char *name, bool up, int64_t *ret)
{
    const json_t *v = json_object_get(json, name);
    if (!v)
        return true;
    if (!json_is_number(v))
        return false;
    double d = json_number_value(v);
    if (!(d >= 0 && d <= DATE_MAX))
        return false;
    *ret = (int64_t)(up ? ceil(d) : floor(d));
    return true;
}

static bool is_one_of(const json_t *v, const struct str *all, uint32_t n)
{
    for (uint32_t i = 0; i < n && json_is_string(v); i++) {
        if (str_eq(text_of(v), all[i]))
            return true;
    }
    return false;
}

static enum jwt_result check_audience(const struct jwt_rules *r, const json_t *aud)
{
    const json_t *item;
    size_t i;
    bool found = is_one_of(aud, r->audiences, r->n_audiences);
    if (aud && !json_is_string(aud) && !json_is_array(aud))
        return JWT_CLAIMS;
    json_array_foreach(aud, i, item)
    {
        if (!json_is_string(item))
            return JWT_CLAIMS;
        found = found || is_one_of(item, r->audiences, r->n_audiences);
    }
    return r->n_audiences == 0 || found ? JWT_VALID : JWT_AUDIENCE;
}

enum jwt_result jwt_check_time(const struct jwt_rules *r, const struct jwt_claims *c, int64_t now)
{
    int64_t leeway = r->leeway;
    if (c->exp != JWT_NEVER && now >= c->exp + leeway)
        return JWT_EXPIRED;
    return now + leeway < c->nbf || now + leeway < c->iat ? JWT_NOT_YET_VALID : JWT_VALID;
}

static enum jwt_result check_claims(const struct jwt_rules *r, int64_t now, struct jwt_claims *c)
{
    const json_t *iss = json_object_get(c->json, "iss");
    c->exp = JWT_NEVER;
    c->nbf = c->iat = 0;
    if (!date_of(c->json, "exp", false, &c->exp) || !date_of(c->json, "nbf", true, &c->nbf) ||
        !date_of(c->json, "iat", false, &c->iat) || (r->require_exp && c->exp == JWT_NEVER))
        return JWT_CLAIMS;
    if (!is_one_of(iss, &r->issuer, 1))
        return JWT_ISSUER;
    enum jwt_result result = check_audience(r, json_object_get(c->json, "aud"));
    return result == JWT_VALID ? jwt_check_time(r, c, now) : result;
}

void jwt_claims_free(struct jwt_claims *c)
{
    json_decref(c->json);
    *c = (struct jwt_claims){0};
}

/* --- all of it --- */

enum jwt_result jwt_verify(const struct jwt_rules *r, const struct jwt_keys *keys, struct str token,
                           int64_t now, struct jwt_claims *ret)
{
    struct parts p;
    struct head h;
    bool no_memory;
    if (!keys)
        return JWT_NO_KEYS;
    if (!cut(token, &p))
        return JWT_MALFORMED;
    json_t *head = jwt_json((const char *)p.header, p.n_header, &no_memory);
    if (!head)
        return no_memory ? JWT_NO_MEMORY : JWT_MALFORMED;
    enum jwt_result result = read_head(r, head, &h);
    if (result == JWT_VALID)
        result = verify_signature(keys, &h, &p);
    json_decref(head);
    if (result != JWT_VALID)
        return result;
    struct jwt_claims c = {.json = jwt_json((const char *)p.claims, p.n_claims, &no_memory)};
    if (!c.json)
        return no_memory ? JWT_NO_MEMORY : JWT_CLAIMS;
    result = check_claims(r, now, &c);
    if (result == JWT_VALID)
        *ret = c;
    else
        jwt_claims_free(&c);
    return result;
}

/* --- what is asked of them --- */

const json_t *jwt_claim(const struct jwt_claims *c, const struct json_path *path)
{
    const json_t *v = c->json;
    for (uint32_t i = 0; v && i < path->n; i++) {
        const struct json_step *s = &path->steps[i];
        v = s->name.p ? json_object_getn(v, s->name.p, s->name.n) : json_array_get(v, s->index);
    }
    return v;
}

struct field_text {
    char *out;
    size_t n;
};

/* `item`: of a list, whose end a comma would move. */
static bool put(struct field_text *t, struct str s, bool item)
{
    if (s.n > JWT_TEXT_MAX - t->n || str_has_control(s) ||
        (item && s.n > 0 && memchr(s.p, ',', s.n)))
        return false;
    if (s.n > 0)
        memcpy(t->out + t->n, s.p, s.n);
    t->n += s.n;
    return true;
}

/* Who reads the field does not see these (RFC 9110 §5.5), and takes it for another value. */
static bool has_space_at_an_end(struct str s)
{
    return s.n > 0 && (s.p[0] == ' ' || s.p[s.n - 1] == ' ');
}

static bool put_value(struct field_text *t, const json_t *v, bool item)
{
    char number[32];
    if (json_is_string(v))
        return !has_space_at_an_end(text_of(v)) && put(t, text_of(v), item);
    if (json_is_boolean(v))
        return put(t, json_is_true(v) ? STR("true") : STR("false"), false);
    if (!json_is_number(v))
        return false;
    int n = json_is_integer(v)
                ? snprintf(number, sizeof(number), "%" JSON_INTEGER_FORMAT, json_integer_value(v))
                : snprintf(number, sizeof(number), "%.17g", json_real_value(v));
    return n > 0 && put(t, (struct str){number, (size_t)n}, false);
}

bool jwt_claim_text(const struct jwt_claims *c, const struct json_path *path, char *out,
                    size_t *ret_n)
{
    const json_t *v = jwt_claim(c, path), *item;
    struct field_text t = {.out = out};
    bool ok = true;
    size_t i;
    if (json_is_array(v)) {
        json_array_foreach(v, i, item)
        {
            ok = ok && (i == 0 || put(&t, STR(","), false)) && put_value(&t, item, true);
        }
    } else {
        ok = put_value(&t, v, false);
    }
    if (ok)
        *ret_n = t.n;
    return ok && t.n > 0;
}
