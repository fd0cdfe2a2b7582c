/* lease_text.c - an entry as JSON, for the journal. Times are wall-clock, for another process reads
 * them. What is no UTF-8 stands as {"hex": "..."}. */
#include "lifecycle/lease_parts.h"

#include "base/mem.h"
#include "config/format.h"

#include <errno.h>

enum { TEXT_VERSION = 1 };

/* --- writing ------------------------------------------------------------------------------ */

static json_t *bytes_json(struct str s)
{
    static const char digits[] = "0123456789abcdef";
    json_t *text = json_stringn(s.n ? s.p : "", s.n);
    if (text)
        return text;
    char *hex = mem_alloc(2 * s.n + 1);
    if (!hex)
        return NULL;
    for (size_t i = 0; i < s.n; i++) {
        hex[2 * i] = digits[(unsigned char)s.p[i] >> 4];
        hex[2 * i + 1] = digits[(unsigned char)s.p[i] & 15];
    }
    json_t *o = json_object();
    (void)json_object_set_new(o, "hex", json_stringn(hex, 2 * s.n));
    free(hex);
    return o;
}

static void set_bytes(json_t *o, const char *key, struct str s, bool *bad)
{
    *bad = json_object_set_new(o, key, bytes_json(s)) < 0 || *bad;
}

static void set_text(json_t *o, const char *key, const char *z, bool *bad)
{
    if (z)
        set_bytes(o, key, str_of(z), bad);
}

static void set_number(json_t *o, const char *key, uint64_t v, bool *bad)
{
    if (v > 0)
        *bad = json_object_set_new(o, key, json_integer((json_int_t)v)) < 0 || *bad;
}

static json_t *action_json(const struct cleanup_action *a, bool *bad)
{
    json_t *o = json_object(), *fields = json_array();
    set_text(o, "method", a->method, bad);
    set_text(o, "url", a->url, bad);
    set_text(o, "connect", a->connect_to, bad);
    set_text(o, "unix", a->unix_path, bad);
    set_number(o, "http2", a->http2, bad);
    set_text(o, "sans", a->sans, bad);
    set_text(o, "spiffe", a->spiffe_ids, bad);
    set_number(o, "insecure", a->insecure, bad);
    set_number(o, "tls13", a->tls_1_3, bad);
    set_text(o, "ca", a->ca_file, bad);
    set_text(o, "cert", a->cert_file, bad);
    set_text(o, "certKey", a->key_file, bad);
    set_text(o, "idempotency", a->idempotency_key, bad);
    set_bytes(o, "body", a->body, bad);
    set_number(o, "timeout", a->timeout, bad);
    *bad = json_object_set_new(o, "retries", json_integer(a->retries)) < 0 || *bad;
    for (uint32_t i = 0; i < a->n_fields; i++) {
        json_t *f = json_array();
        *bad = json_array_append_new(f, bytes_json(str_of(a->fields[i].name))) < 0 || *bad;
        *bad = json_array_append_new(f, bytes_json(str_of(a->fields[i].value))) < 0 || *bad;
        *bad = json_array_append_new(fields, f) < 0 || *bad;
    }
    *bad = json_object_set_new(o, "fields", fields) < 0 || *bad;
    return o;
}

char *lease_text(const struct lease *l, usec_t now, usec_t wall, size_t *ret_n)
{
    json_t *o = json_object(), *after = json_array();
    bool bad = false;
    set_number(o, "v", TEXT_VERSION, &bad);
    set_text(o, "kind", lease_kind_word(l->kind), &bad);
    set_text(o, "name", l->name, &bad);
    set_bytes(o, "key", l->key, &bad);
    set_number(o, "duplicate", l->duplicate, &bad);
    set_number(o, "refs", l->refs, &bad);
    set_number(o, "rounds", l->rounds, &bad);
    set_number(o, "ttl", l->ttl, &bad);
    if (l->expires != 0)
        set_number(o, "expires", wall + (l->expires > now ? l->expires - now : 0), &bad);
    set_number(o, "acquired", l->acquired_wall, &bad);
    set_number(o, "grace", l->disconnect_grace, &bad);
    for (uint32_t i = 0; i < l->item.n_after; i++)
        bad = json_array_append_new(after, bytes_json(l->after[i])) < 0 || bad;
    bad = json_object_set_new(o, "after", after) < 0 || bad;
    bad = json_object_set_new(o, "release", action_json(l->action, &bad)) < 0 || bad;
    char *text = bad ? NULL : json_dumps(o, JSON_COMPACT);
    json_decref(o);
    if (text)
        *ret_n = strlen(text);
    return text;
}

/* --- reading ------------------------------------------------------------------------------ */

/* Texts that a JSON value does not hold as they are. */
struct reading {
    bool bad, no_memory;
    char *held[2 * LEASE_FIELDS_MAX + LEASE_AFTER_MAX + 16];
    size_t n;
};

static int nibble(char c)
{
    return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static struct str from_hex(struct reading *r, const char *hex, size_t n)
{
    char *to = n % 2 == 0 && r->n < ARRAY_LEN(r->held) ? mem_alloc(n / 2 + 1) : NULL;
    if (!to) {
        r->bad = true;
        return STR_NONE;
    }
    r->held[r->n++] = to;
    for (size_t i = 0; i < n / 2; i++) {
        int high = nibble(hex[2 * i]), low = nibble(hex[2 * i + 1]);
        r->bad = r->bad || high < 0 || low < 0;
        to[i] = (char)((high & 15) << 4 | (low & 15));
    }
    to[n / 2] = '\0';
    return (struct str){to, n / 2};
}

static struct str bytes_of(struct reading *r, const json_t *v)
{
    const json_t *hex = json_object_get(v, "hex");
    if (json_is_string(v))
        return (struct str){json_string_value(v), json_string_length(v)};
    if (json_is_string(hex))
        return from_hex(r, json_string_value(hex), json_string_length(hex));
    return STR_NONE;
}

/* NULL: it is not there. A NUL within is a fault. */
static const char *text_of(struct reading *r, const json_t *v)
{
    struct str s = bytes_of(r, v);
    if (s.p && memchr(s.p, '\0', s.n))
        r->bad = true;
    return s.p;
}

static uint64_t number_of(const json_t *o, const char *key)
{
    const json_t *v = json_object_get(o, key);
    return json_is_integer(v) && json_integer_value(v) > 0 ? (uint64_t)json_integer_value(v) : 0;
}

static void read_action(struct reading *r, const json_t *o, struct cleanup_action *a,
                        struct cleanup_field fields[LEASE_FIELDS_MAX])
{
    const json_t *list = json_object_get(o, "fields");
    size_t n = json_array_size(list);
    *a = (struct cleanup_action){
        .method = text_of(r, json_object_get(o, "method")),
        .url = text_of(r, json_object_get(o, "url")),
        .connect_to = text_of(r, json_object_get(o, "connect")),
        .unix_path = text_of(r, json_object_get(o, "unix")),
        .http2 = number_of(o, "http2") != 0,
        .sans = text_of(r, json_object_get(o, "sans")),
        .spiffe_ids = text_of(r, json_object_get(o, "spiffe")),
        .insecure = number_of(o, "insecure") != 0,
        .tls_1_3 = number_of(o, "tls13") != 0,
        .ca_file = text_of(r, json_object_get(o, "ca")),
        .cert_file = text_of(r, json_object_get(o, "cert")),
        .key_file = text_of(r, json_object_get(o, "certKey")),
        .idempotency_key = text_of(r, json_object_get(o, "idempotency")),
        .body = bytes_of(r, json_object_get(o, "body")),
        .timeout = number_of(o, "timeout"),
        .retries = (uint32_t)min_u64(number_of(o, "retries"), 20),
        .fields = fields,
        .n_fields = (uint32_t)n,
    };
    r->bad = r->bad || n > LEASE_FIELDS_MAX || !a->method || !a->url || !a->idempotency_key ||
             a->timeout == 0 || a->timeout > 3600 * USEC_PER_SEC ||
             format_check(FORMAT_URL, str_of(a->url)) ||
             format_check(FORMAT_METHOD, str_of(a->method));
    for (size_t i = 0; i < n && !r->bad; i++) {
        const json_t *f = json_array_get(list, i);
        fields[i].name = text_of(r, json_array_get(f, 0));
        fields[i].value = text_of(r, json_array_get(f, 1));
        r->bad = r->bad || !fields[i].name || !fields[i].value;
    }
}

/* The kind by its word; LEASE_KINDS: none that stands in a journal. */
static enum lease_kind kind_of(const json_t *v)
{
    const char *word = json_string_value(v);
    for (int k = LEASE_LEASED; word && k < LEASE_KINDS; k++) {
        if (strcmp(word, lease_kind_word((enum lease_kind)k)) == 0)
            return (enum lease_kind)k;
    }
    return LEASE_KINDS;
}

/* What time says of it here. A clock that was set back gives it no more than its TTL. */
static void take_times(struct lease *l, const json_t *o, usec_t now, usec_t wall)
{
    usec_t expires = number_of(o, "expires");
    l->ttl = min_u64(number_of(o, "ttl"), USEC_PER_SEC * 3600 * 24 * 366);
    l->expires = 0;
    if (l->ttl > 0)
        l->expires = now + min_u64(expires > wall ? expires - wall : 0, l->ttl);
    l->acquired_wall = number_of(o, "acquired");
    l->disconnect_grace = min_u64(number_of(o, "grace"), USEC_PER_SEC * 3600 * 24 * 366);
    l->rounds = (uint32_t)min_u64(number_of(o, "rounds"), LEASE_ROUNDS);
    l->refs = (uint32_t)max_u64(min_u64(number_of(o, "refs"), UINT32_MAX), 1);
    l->duplicate = (enum lease_duplicate)min_u64(number_of(o, "duplicate"), LEASE_DUPLICATE_COUNTS);
    if (l->rounds > 0) {
        l->state = LEASE_RETRYING;
        l->why = LEASE_BY_HOLDER;
        l->retry_at = now + USEC_PER_SEC;
    } else {
        l->state = LEASE_HELD;
    }
}

static int take(struct leases *ls, uint64_t id, struct reading *r, const json_t *o, usec_t now,
                usec_t wall)
{
    struct cleanup_action action;
    struct cleanup_field fields[LEASE_FIELDS_MAX];
    struct str after[LEASE_AFTER_MAX], name = bytes_of(r, json_object_get(o, "name")),
                                       key = bytes_of(r, json_object_get(o, "key"));
    const json_t *list = json_object_get(o, "after");
    enum lease_kind kind = kind_of(json_object_get(o, "kind"));
    size_t n = json_array_size(list);
    for (size_t i = 0; i < n && i < LEASE_AFTER_MAX; i++) {
        after[i] = bytes_of(r, json_array_get(list, i));
        r->bad = r->bad || !after[i].p;
    }
    read_action(r, json_object_get(o, "release"), &action, fields);
    if (r->bad || kind == LEASE_KINDS || n > LEASE_AFTER_MAX || format_check(FORMAT_NAME, name) ||
        key.n > LEASE_KEY_MAX || number_of(o, "v") != TEXT_VERSION || id == 0)
        return -EBADMSG;
    struct lease *l = lease_find(ls, id);
    if (l && (l->state == LEASE_WAITING || l->state == LEASE_RELEASING))
        return 0; /* too late for news of it */
    /* The connection that carried it is not told: it is ours, or it was another process's and says
     * nothing of its holder here. */
    uint64_t holder = l ? l->holder : 0;
    usec_t grace_at = l ? l->grace_at : 0;
    if (l)
        lease_free(l);
    l = lease_add(ls, id, kind, name, key);
    if (!l)
        return -ENOMEM;
    l->holder = holder;
    l->grace_at = grace_at;
    if (lease_set_after(l, after, (uint32_t)n) < 0 ||
        lease_set_action(l, &action, action.idempotency_key) < 0) {
        lease_free(l);
        return -ENOMEM;
    }
    take_times(l, o, now, wall);
    leases_look_at(ls, lease_due(l));
    return 0;
}

int lease_from_text(struct leases *ls, uint64_t id, struct str text, usec_t now, usec_t wall)
{
    struct reading r = {0};
    json_t *o =
        json_loadb(text.p ? text.p : "", text.n, JSON_ALLOW_NUL | JSON_REJECT_DUPLICATES, NULL);
    int rc = json_is_object(o) ? take(ls, id, &r, o, now, wall) : -EBADMSG;
    json_decref(o);
    for (size_t i = 0; i < r.n; i++)
        free(r.held[i]);
    return rc;
}
