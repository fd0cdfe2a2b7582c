/* cleanup_conf.c - a configured request or command as an action of its own memory. */
#include "lifecycle/cleanup_conf.h"

#include "base/mem.h"

#include <openssl/evp.h>
#include <stdio.h>
#include <unistd.h>

enum { KEY_BYTES = 16, KEY_TEXT = 2 * KEY_BYTES + 1 };

static struct cleanup_action *copy_request(const struct conf_request *q, usec_t timeout,
                                           uint32_t retries, const char *idempotency_key)
{
    struct cleanup_field fields[CONF_HEADERS_MAX];
    struct cleanup_action a = {
        .method = q->method.p,
        .url = q->url.p,
        .ca_file = q->ca.path.p,
        .cert_file = q->pair.cert.path.p,
        .key_file = q->pair.key.path.p,
        .fields = fields,
        .n_fields = q->n_headers,
        .body = q->body,
        .timeout = timeout,
        .retries = retries,
        .idempotency_key = idempotency_key,
    };
    for (uint32_t i = 0; i < q->n_headers; i++)
        fields[i] = (struct cleanup_field){q->headers[i].name.p, q->headers[i].value.p};
    return cleanup_action_copy(&a);
}

struct cleanup_action *cleanup_from_request(const struct conf_request *q, usec_t timeout,
                                            uint32_t retries)
{
    return copy_request(q, timeout, retries, NULL);
}

/* Our supervisor: its start, its number, and where that is. */
static size_t who(char *out, size_t cap)
{
    char host[128] = "", stat[512] = "", path[64];
    (void)gethostname(host, sizeof(host) - 1);
    (void)snprintf(path, sizeof(path), "/proc/%d/stat", (int)getppid());
    FILE *f = fopen(path, "re");
    if (f) {
        stat[fread(stat, 1, sizeof(stat) - 1, f)] = '\0';
        (void)fclose(f);
    }
    /* Behind the name in brackets: state is field 3, the start field 22 (proc(5)). */
    const char *at = strrchr(stat, ')');
    for (int field = 2; at && field < 22; field++)
        at = strchr(at + 1, ' ');
    int n = snprintf(out, cap, "%s %d %.*s", host, (int)getppid(),
                     at ? (int)strcspn(at + 1, " ") : 0, at ? at + 1 : "");
    return n < 0 ? 0 : (size_t)n < cap ? (size_t)n : cap - 1;
}

static void stable_key(struct str name, char out[KEY_TEXT])
{
    unsigned char digest[EVP_MAX_MD_SIZE] = {0};
    char text[512];
    size_t n = who(text, 256);
    n += (size_t)snprintf(text + n, sizeof(text) - n, " %.*s", STR_FMT(name));
    (void)EVP_Digest(text, n, digest, NULL, EVP_sha256(), NULL);
    for (int i = 0; i < KEY_BYTES; i++)
        (void)snprintf(out + (size_t)2 * (size_t)i, 3, "%02x", digest[i]);
}

struct cleanup_action *cleanup_from_conf(const struct conf_cleanup *c)
{
    char key[KEY_TEXT];
    stable_key(c->name, key);
    if (c->request.given)
        return copy_request(&c->request, c->timeout, c->retries, key);
    char **command = mem_zalloc((c->n_command + 1) * sizeof(char *));
    if (!command)
        return NULL;
    for (uint32_t i = 0; i < c->n_command; i++)
        memcpy(&command[i], &c->command[i].p, sizeof(char *)); /* nothing writes to them */
    const struct cleanup_action a = {.method = "",
                                     .url = "",
                                     .command = command,
                                     .timeout = c->timeout,
                                     .retries = c->retries,
                                     .idempotency_key = key};
    struct cleanup_action *copy = cleanup_action_copy(&a);
    free(command);
    return copy;
}
