/* lease_body.c - the body of POST /v1/leases, checked: what is wrong is said so that it can be put
 * right, without a value of a header, a key or a body in it. */
#include "admin/lease_api.h"

#include "config/format.h"
#include "config/scalar.h"

#include <stdio.h>
#include <stdlib.h>

enum { RELEASE_BODY_MAX = 32 * 1024, RETRIES_MAX = 20 };

struct reading {
    struct lease_body *b;
    char *why;
    usec_t max_ttl;
};

/* A NUL would cut what libcurl sees. */
static bool text_of(const json_t *v, struct str *ret)
{
    if (!json_is_string(v))
        return false;
    *ret = (struct str){json_string_value(v), json_string_length(v)};
    return !memchr(ret->p, '\0', ret->n);
}

static const char *say(struct reading *r, const char *member, const char *expected)
{
    (void)snprintf(r->why, LEASE_WHY_MAX, "%s: expected %s", member, expected);
    return r->why;
}

/* So that a typo is not taken for a default. */
static const char *only_these(struct reading *r, const json_t *o, const char *where,
                              const char *const *names)
{
    const char *key;
    json_t *v;
    json_object_foreach((json_t *)(uintptr_t)o, key, v)
    {
        size_t i = 0;
        while (names[i] && strcmp(names[i], key) != 0)
            i++;
        if (names[i])
            continue;
        char shown[64];
        size_t n = 0;
        for (; n < sizeof(shown) - 1 && key[n]; n++)
            shown[n] = key[n] < ' ' || key[n] > '~' || key[n] == '"' ? '?' : key[n];
        shown[n] = '\0';
        (void)snprintf(r->why, LEASE_WHY_MAX, "%s%sunknown member \"%s\"", where,
                       where[0] ? ": " : "", shown);
        return r->why;
    }
    return NULL;
}

static const char *read_duration(struct reading *r, const json_t *o, const char *member,
                                 usec_t most, usec_t *ret)
{
    struct str text;
    char expected[96];
    const json_t *v = json_object_get(o, member);
    if (!v)
        return NULL;
    if (!text_of(v, &text) || !scalar_duration(text, ret))
        return say(r, member, "a duration such as \"30s\"");
    if (*ret >= USEC_PER_SEC / 100 && *ret <= most)
        return NULL;
    char most_text[SCALAR_TEXT_MAX];
    (void)snprintf(expected, sizeof(expected), "a duration from 10ms to %s",
                   scalar_duration_text(most, most_text));
    return say(r, member, expected);
}

static const char *read_field(struct reading *r, const char *name, const json_t *value)
{
    static const char *const ours[] = {"connection", "content-length",    "expect",
                                       "keep-alive", "idempotency-key",   "te",
                                       "trailer",    "transfer-encoding", "upgrade"};
    struct cleanup_action *a = &r->b->action;
    struct str text;
    if (a->n_fields == LEASE_FIELDS_MAX)
        return say(r, "release.headers", "at most 31 of them");
    if (format_check(FORMAT_TOKEN, str_of(name)))
        return say(r, "release.headers", "names of letters, digits and -");
    for (size_t i = 0; i < sizeof(ours) / sizeof(ours[0]); i++) {
        if (str_ieq(str_of(name), str_of(ours[i])))
            return say(r, "release.headers",
                       "none that sluice sets itself (Connection, "
                       "Content-Length, Idempotency-Key, ...)");
    }
    if (!text_of(value, &text) || format_check(FORMAT_VALUE, text))
        return say(r, "release.headers", "values that are text without control characters");
    r->b->fields[a->n_fields++] = (struct cleanup_field){name, text.p};
    return NULL;
}

static const char *read_fields(struct reading *r, const json_t *o)
{
    const json_t *headers = json_object_get(o, "headers");
    const char *name, *wrong = NULL;
    json_t *value;
    if (headers && !json_is_object(headers))
        return say(r, "release.headers", "an object of names and values");
    if (json_object_size(headers) >= LEASE_FIELDS_MAX)
        return say(r, "release.headers", "at most 31 of them");
    json_object_foreach((json_t *)(uintptr_t)headers, name, value)
    {
        wrong = wrong ? wrong : read_field(r, name, value);
    }
    return wrong;
}

static bool is_typed(const struct cleanup_action *a)
{
    for (uint32_t i = 0; i < a->n_fields; i++) {
        if (str_ieq(str_of(a->fields[i].name), STR("content-type")))
            return true;
    }
    return false;
}

/* Text as it is; an object or array as JSON. */
static const char *read_content(struct reading *r, const json_t *o)
{
    struct cleanup_action *a = &r->b->action;
    const json_t *body = json_object_get(o, "body");
    if (json_is_string(body)) {
        a->body = (struct str){json_string_value(body), json_string_length(body)};
    } else if (json_is_object(body) || json_is_array(body)) {
        r->b->body = json_dumps(body, JSON_COMPACT);
        a->body = str_of(r->b->body);
        if (!a->body.p)
            return "out of memory";
        if (!is_typed(a) && a->n_fields < LEASE_FIELDS_MAX)
            r->b->fields[a->n_fields++] =
                (struct cleanup_field){"Content-Type", "application/json"};
    } else if (body) {
        return say(r, "release.body", "a string, or an object or array that is sent as JSON");
    }
    return a->body.n <= RELEASE_BODY_MAX ? NULL : say(r, "release.body", "at most 32 KiB");
}

static const char *read_release(struct reading *r, const json_t *o)
{
    static const char *const members[] = {"method", "url", "headers", "body", "caFile", NULL};
    struct cleanup_action *a = &r->b->action;
    struct str method = STR("POST"), url, ca = STR_NONE;
    const char *wrong;
    if (!json_is_object(o))
        return say(r, "release", "{\"method\", \"url\", \"headers\", \"body\"}");
    if ((wrong = only_these(r, o, "release", members)) != NULL)
        return wrong;
    if (json_object_get(o, "method") &&
        (!text_of(json_object_get(o, "method"), &method) || method.n > 32 ||
         (wrong = format_check(FORMAT_METHOD, method)) != NULL))
        return say(r, "release.method", wrong ? wrong : "a method in capitals, such as POST");
    if (!text_of(json_object_get(o, "url"), &url) || url.n > LEASE_URL_MAX)
        return say(r, "release.url", "a URL of at most 8192 bytes");
    if ((wrong = format_check(FORMAT_URL, url)) != NULL)
        return say(r, "release.url", wrong);
    if (json_object_get(o, "caFile") &&
        (!text_of(json_object_get(o, "caFile"), &ca) || format_check(FORMAT_FILE, ca)))
        return say(r, "release.caFile", "a file's path");
    a->method = method.p;
    a->url = url.p;
    a->ca_file = ca.p;
    a->fields = r->b->fields;
    wrong = read_fields(r, o);
    return wrong ? wrong : read_content(r, o);
}

static const char *read_duplicate(struct reading *r, const json_t *o)
{
    static const char *const words[] = {[LEASE_DUPLICATE_REPLACES] = "replace",
                                        [LEASE_DUPLICATE_ADDS] = "add",
                                        [LEASE_DUPLICATE_COUNTS] = "count"};
    const json_t *v = json_object_get(o, "onDuplicate");
    struct lease_new *n = &r->b->lease;
    /* Without a key there is nothing by which two could be the same. */
    n->duplicate = n->key.n > 0 ? LEASE_DUPLICATE_REPLACES : LEASE_DUPLICATE_ADDS;
    if (!v)
        return NULL;
    for (int i = 0; json_is_string(v) && i <= LEASE_DUPLICATE_COUNTS; i++) {
        if (strcmp(json_string_value(v), words[i]) != 0)
            continue;
        n->duplicate = (enum lease_duplicate)i;
        return NULL;
    }
    return say(r, "onDuplicate", "\"replace\", \"add\" or \"count\"");
}

static const char *read_after(struct reading *r, const json_t *o)
{
    const json_t *list = json_object_get(o, "after"), *v;
    size_t i;
    if (list && (!json_is_array(list) || json_array_size(list) > LEASE_AFTER_MAX))
        return say(r, "after", "a list of at most 8 names");
    json_array_foreach(list, i, v)
    {
        if (!text_of(v, &r->b->after[i]) || format_check(FORMAT_NAME, r->b->after[i]))
            return say(r, "after", "names: 1 to 63 of a-z A-Z 0-9 . _ -");
    }
    r->b->lease.after = r->b->after;
    r->b->lease.n_after = (uint32_t)json_array_size(list);
    return NULL;
}

static const char *read_tries(struct reading *r, const json_t *o)
{
    struct cleanup_action *a = &r->b->action;
    const json_t *retries = json_object_get(o, "retries");
    a->timeout = 5 * USEC_PER_SEC;
    a->retries = 3;
    if (retries && (!json_is_integer(retries) || json_integer_value(retries) < 0 ||
                    json_integer_value(retries) > RETRIES_MAX))
        return say(r, "retries", "a number from 0 to 20");
    if (retries)
        a->retries = (uint32_t)json_integer_value(retries);
    return read_duration(r, o, "timeout", 60 * USEC_PER_SEC, &a->timeout);
}

static const char *read_all(struct reading *r, const json_t *o)
{
    static const char *const members[] = {"name",    "key",     "ttl",     "onDuplicate", "after",
                                          "timeout", "retries", "release", NULL};
    struct lease_new *n = &r->b->lease;
    const char *wrong = only_these(r, o, "", members);
    if (wrong)
        return wrong;
    if (!text_of(json_object_get(o, "name"), &n->name) || format_check(FORMAT_NAME, n->name))
        return say(r, "name", "1 to 63 of a-z A-Z 0-9 . _ -");
    if (json_object_get(o, "key") &&
        (!text_of(json_object_get(o, "key"), &n->key) || n->key.n > LEASE_KEY_MAX))
        return say(r, "key", "text of at most 4096 bytes");
    n->kind = LEASE_LEASED;
    n->action = &r->b->action;
    n->ttl = r->max_ttl;
    if ((wrong = read_duration(r, o, "ttl", r->max_ttl, &n->ttl)) != NULL ||
        (wrong = read_duplicate(r, o)) != NULL || (wrong = read_after(r, o)) != NULL ||
        (wrong = read_tries(r, o)) != NULL)
        return wrong;
    return read_release(r, json_object_get(o, "release"));
}

const char *lease_body_read(struct str text, usec_t max_ttl, struct lease_body *ret,
                            char why[LEASE_WHY_MAX])
{
    struct reading r = {.b = ret, .why = why, .max_ttl = max_ttl};
    json_error_t error;
    memset(ret, 0, sizeof(*ret));
    ret->json = json_loadb(text.p ? text.p : "", text.n, JSON_REJECT_DUPLICATES, &error);
    const char *wrong = NULL;
    if (!ret->json) {
        /* jansson's own words quote what it has read. */
        (void)snprintf(why, LEASE_WHY_MAX, "the body is no JSON: line %d, column %d", error.line,
                       error.column);
        wrong = why;
    } else if (!json_is_object(ret->json)) {
        wrong = "the body is {\"name\", \"ttl\", \"release\": {\"method\", \"url\"}}";
    } else {
        wrong = read_all(&r, ret->json);
    }
    if (wrong)
        lease_body_free(ret);
    return wrong;
}

void lease_body_free(struct lease_body *b)
{
    json_decref(b->json);
    free(b->body);
    b->json = NULL;
    b->body = NULL;
}

const char *lease_renewal_read(struct str text, usec_t max_ttl, usec_t *ret_ttl,
                               char why[LEASE_WHY_MAX])
{
    static const char *const members[] = {"ttl", NULL};
    struct reading r = {.why = why};
    const char *wrong = NULL;
    *ret_ttl = 0;
    if (text.n == 0)
        return NULL;
    json_t *o = json_loadb(text.p, text.n, JSON_REJECT_DUPLICATES, NULL);
    if (!json_is_object(o))
        wrong = "the body is {\"ttl\": \"30s\"}, or empty";
    if (!wrong)
        wrong = only_these(&r, o, "", members);
    if (!wrong)
        wrong = read_duration(&r, o, "ttl", max_ttl, ret_ttl);
    json_decref(o);
    return wrong;
}
