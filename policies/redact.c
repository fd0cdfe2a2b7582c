/* redact.c - what of a request a log may tell: sensitive values as salted hashes. */
#include "policies/redact.h"

#include "base/check.h"

#define NAME(text)                                                                                 \
    {                                                                                              \
        (text), sizeof(text) - 1                                                                   \
    }

/* What OAuth 2, OpenID Connect and SAML, links that carry their own right, and usual frameworks put
 * there. */
const struct str redact_default_names[] = {
    NAME("access_token"),
    NAME("refresh_token"),
    NAME("id_token"),
    NAME("id_token_hint"),
    NAME("token"),
    NAME("auth_token"),
    NAME("csrf_token"),
    NAME("code"),
    NAME("code_verifier"),
    NAME("client_secret"),
    NAME("client_assertion"),
    NAME("assertion"),
    NAME("SAMLRequest"),
    NAME("SAMLResponse"),
    NAME("jwt"),
    NAME("password"),
    NAME("passwd"),
    NAME("pwd"),
    NAME("passphrase"),
    NAME("secret"),
    NAME("otp"),
    NAME("auth"),
    NAME("authorization"),
    NAME("credential"),
    NAME("credentials"),
    NAME("api_key"),
    NAME("apikey"),
    NAME("api-key"),
    NAME("access_key"),
    NAME("key"),
    NAME("session"),
    NAME("session_id"),
    NAME("sessionid"),
    NAME("session-id"),
    NAME("sid"),
    NAME("jsessionid"),
    NAME("phpsessid"),
    NAME("sig"),
    NAME("signature"),
    NAME("X-Amz-Signature"),
    NAME("X-Amz-Credential"),
    NAME("X-Amz-Security-Token"),
    NAME("AWSAccessKeyId"),
    NAME("X-Goog-Signature"),
    NAME("X-Goog-Credential"),
};
const uint32_t redact_default_names_n = ARRAY_LEN(redact_default_names);

/* --- names --- */

static unsigned hex_value(char c)
{
    if (c >= '0' && c <= '9')
        return (unsigned)(c - '0');
    c = ascii_lower(c);
    return c >= 'a' && c <= 'f' ? (unsigned)(c - 'a') + 10 : 16;
}

/* Takes one byte off the front of what is encoded; s is not empty. */
static char take_decoded(struct str *s)
{
    char c = s->p[0];
    size_t used = 1;
    if (c == '%' && s->n >= 3 && hex_value(s->p[1]) < 16 && hex_value(s->p[2]) < 16) {
        c = (char)(hex_value(s->p[1]) * 16 + hex_value(s->p[2]));
        used = 3;
    }
    *s = (struct str){s->p + used, s->n - used};
    return c;
}

static bool same_name(struct str encoded, struct str name)
{
    for (size_t i = 0; i < name.n; i++) {
        if (encoded.n == 0 || ascii_lower(take_decoded(&encoded)) != ascii_lower(name.p[i]))
            return false;
    }
    return encoded.n == 0;
}

static bool is_sensitive(const struct redact_rules *r, struct str encoded)
{
    for (uint32_t i = 0; i < r->n_names; i++) {
        if (same_name(encoded, r->names[i]))
            return true;
    }
    return false;
}

/* --- texts --- */

struct redaction {
    const struct redact_rules *rules;
    const struct redact_hash *hash;
    char *out;
    size_t n;
    uint64_t redacted;
};

static void put(struct redaction *x, struct str s)
{
    if (s.n > 0)
        memcpy(x->out + x->n, s.p, s.n);
    x->n += s.n;
}

static void put_hash(struct redaction *x, struct str value)
{
    put(x, STR("sha256:"));
    x->hash->fn(x->hash->ctx, value, x->out + x->n);
    x->n += REDACT_HASH_LEN;
    x->redacted++;
}

/* What is up to the next `end`. */
static struct str take_until(struct str *rest, char end)
{
    const char *at = rest->n ? memchr(rest->p, end, rest->n) : NULL;
    struct str s = {rest->p, at ? (size_t)(at - rest->p) : rest->n};
    *rest = (struct str){rest->p + s.n, rest->n - s.n};
    return s;
}

/* a=1;b=2 from its beginning. To some applications a `;` ends a parameter, to others it is a part
 * of its value: a sensitive one is redacted to the end of all. */
static void put_parameters(struct redaction *x, struct str s)
{
    while (s.n > 0) {
        struct str rest = s;
        struct str one = take_until(&rest, ';');
        struct str value = one;
        struct str name = take_until(&value, '=');
        if (value.n > 1 && is_sensitive(x->rules, name)) {
            value = (struct str){value.p + 1, (size_t)(s.p + s.n - value.p) - 1};
            put(x, (struct str){name.p, name.n + 1});
            put_hash(x, value);
            return;
        }
        put(x, one);
        if (rest.n > 0) {
            put(x, STR(";"));
            rest = (struct str){rest.p + 1, rest.n - 1};
        }
        s = rest;
    }
}

static void put_segments(struct redaction *x, struct str text, char separator, bool path)
{
    while (text.n > 0) {
        struct str segment = take_until(&text, separator);
        if (path) {
            put(x, take_until(&segment, ';'));
            if (segment.n > 0) {
                put(x, STR(";"));
                segment = (struct str){segment.p + 1, segment.n - 1};
            }
        }
        put_parameters(x, segment);
        if (text.n > 0) {
            put(x, (struct str){&separator, 1});
            text = (struct str){text.p + 1, text.n - 1};
        }
    }
}

struct str redact(const struct redact_rules *r, const struct redact_hash *h,
                  enum redact_field field, struct str text, char *out, uint64_t *redacted)
{
    struct redaction x = {.rules = r, .hash = h, .out = out};
    if (text.n == 0)
        return text;
    if (r->fields >> field & 1)
        put_hash(&x, text);
    else if ((field == REDACT_QUERY || field == REDACT_PATH) && r->n_names > 0 &&
             memchr(text.p, '=', text.n))
        put_segments(&x, text, field == REDACT_PATH ? '/' : '&', field == REDACT_PATH);
    *redacted += x.redacted;
    return x.redacted > 0 ? (struct str){out, x.n} : text;
}
