/* cleanup_action.c - what a release consists of: copied, compared, shown. */
#include "lifecycle/cleanup.h"

#include "base/check.h"
#include "base/mem.h"

#include <stdio.h>

/* Texts behind the struct, in one block: measured first, then laid down. */
struct block {
    char *at; /* NULL: only measured */
    size_t bytes;
};

static const char *put(struct block *b, const char *s)
{
    size_t n = s ? strlen(s) + 1 : 0;
    char *to = b->at;
    b->bytes += n;
    if (!to || !s)
        return NULL;
    memcpy(to, s, n);
    b->at += n;
    return to;
}

static void put_texts(struct block *b, const struct cleanup_action *from, struct cleanup_action *to,
                      struct cleanup_field *fields, char **command)
{
    struct cleanup_action a = *from;
    a.method = put(b, from->method);
    a.url = put(b, from->url);
    a.connect_to = put(b, from->connect_to);
    a.unix_path = put(b, from->unix_path);
    a.sans = put(b, from->sans);
    a.spiffe_ids = put(b, from->spiffe_ids);
    a.ca_file = put(b, from->ca_file);
    a.cert_file = put(b, from->cert_file);
    a.key_file = put(b, from->key_file);
    a.idempotency_key = put(b, from->idempotency_key);
    a.fields = fields;
    a.command = from->command ? command : NULL;
    for (uint32_t i = 0; i < from->n_fields; i++) {
        struct cleanup_field f = {put(b, from->fields[i].name), put(b, from->fields[i].value)};
        if (fields)
            fields[i] = f;
    }
    for (size_t i = 0; from->command && from->command[i]; i++) {
        const char *word = put(b, from->command[i]);
        if (command)
            memcpy(&command[i], &word, sizeof(word)); /* posix_spawn() writes to none of them */
    }
    if (b->at && from->body.n > 0) {
        memcpy(b->at, from->body.p, from->body.n);
        a.body.p = b->at;
        b->at += from->body.n;
    }
    b->bytes += from->body.n;
    if (to)
        *to = a;
}

static size_t words(const struct cleanup_action *a)
{
    size_t n = 0;
    while (a->command && a->command[n])
        n++;
    return n;
}

struct cleanup_action *cleanup_action_copy(const struct cleanup_action *a)
{
    size_t fields = a->n_fields * sizeof(struct cleanup_field);
    size_t command = a->command ? (words(a) + 1) * sizeof(char *) : 0;
    struct block b = {0};
    put_texts(&b, a, NULL, NULL, NULL);
    char *p = mem_zalloc(sizeof(*a) + fields + command + b.bytes);
    if (!p)
        return NULL;
    struct cleanup_action *copy = (struct cleanup_action *)(void *)p;
    void *at_fields = p + sizeof(*a), *at_command = p + sizeof(*a) + fields;
    b = (struct block){.at = p + sizeof(*a) + fields + command};
    put_texts(&b, a, copy, at_fields, at_command);
    return copy;
}

static bool same(const char *a, const char *b)
{
    return a == b || (a && b && strcmp(a, b) == 0);
}

/* But for the idempotency key. */
bool cleanup_action_equal(const struct cleanup_action *a, const struct cleanup_action *b)
{
    size_t n = words(a);
    if (!same(a->method, b->method) || !same(a->url, b->url) ||
        !same(a->connect_to, b->connect_to) || !same(a->unix_path, b->unix_path) ||
        !same(a->sans, b->sans) || !same(a->spiffe_ids, b->spiffe_ids) || a->http2 != b->http2 ||
        a->insecure != b->insecure || a->tls_1_3 != b->tls_1_3 || !same(a->ca_file, b->ca_file) ||
        !same(a->cert_file, b->cert_file) || !same(a->key_file, b->key_file) ||
        a->n_fields != b->n_fields || !str_eq(a->body, b->body) || n != words(b) ||
        !a->command != !b->command || a->timeout != b->timeout || a->retries != b->retries)
        return false;
    for (uint32_t i = 0; i < a->n_fields; i++) {
        if (!same(a->fields[i].name, b->fields[i].name) ||
            !same(a->fields[i].value, b->fields[i].value))
            return false;
    }
    for (size_t i = 0; i < n; i++) {
        if (!same(a->command[i], b->command[i]))
            return false;
    }
    return true;
}

char *cleanup_action_shown(const struct cleanup_action *a, char out[CLEANUP_SHOWN_MAX])
{
    if (a->command) {
        (void)snprintf(out, CLEANUP_SHOWN_MAX, "command %s", a->command[0]);
        return out;
    }
    const char *host = strstr(a->url, "://");
    size_t n = host ? (size_t)(host - a->url) + 3 + strcspn(host + 3, "/?#") : 0;
    (void)snprintf(out, CLEANUP_SHOWN_MAX, "%s %.*s", a->method, (int)n, a->url);
    return out;
}
