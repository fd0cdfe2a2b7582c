/* jwks_files.c - the JWK sets that a configuration names, read and made into keys. */
#include "config/jwks_files.h"

#include "base/mem.h"
#include "config/file_text.h"
#include "config/problems.h"

#include <errno.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <strings.h>

static void problem(struct config_problems *problems, const struct conf_jwt *j, const char *what)
{
    char where[48];
    (void)snprintf(where, sizeof(where), "jwt[%u].jwks.file", j->index);
    problem_add(problems, j->jwks.line, j->jwks.column, where, false, "%.*s: %s",
                STR_FMT(j->jwks.path), what);
}

static const char *why_unread(int error)
{
    return error == -EFBIG    ? "larger than 1 MiB"
           : error == -EINVAL ? "not a regular file"
           : error == -EBUSY  ? "it changed again and again while it was read"
           : error == -ENOMEM ? "out of memory"
                              : strerror(-error);
}

/* The keys of the text; what is not changed is taken from `was`. */
static void settle(const struct conf_jwt *j, const char *text, size_t n,
                   const struct jwks_entry *was, struct jwks_entry *e,
                   struct config_problems *problems)
{
    char why[256] = "";
    if (was && was->keys && memcmp(was->digest, e->digest, sizeof(e->digest)) == 0) {
        e->state = JWKS_ENTRY_SAME;
        e->keys = jwt_keys_ref(was->keys);
        return;
    }
    e->keys = jwt_keys_parse((struct str){text, n}, why, sizeof(why));
    e->state = e->keys ? JWKS_ENTRY_NEW : JWKS_ENTRY_REFUSED;
    if (!e->keys)
        problem(problems, j, why);
}

static bool digest(const char *text, size_t n, int error, unsigned char *out)
{
    return text ? EVP_Digest(text, n, out, NULL, EVP_sha256(), NULL) == 1
                : EVP_Digest(&error, sizeof(error), out, NULL, EVP_sha256(), NULL) == 1;
}

/* libcurl reads it, with each fetch, and has few words for what is wrong. */
static void look_at_ca(const struct conf_jwt *j, struct config_problems *problems)
{
    size_t n = 0;
    int error = 0;
    char where[48];
    char *text =
        j->jwks_ca.path.p ? file_text_read(j->jwks_ca.path.p, JWKS_FILE_BYTES, &n, &error) : NULL;
    bool good = !j->jwks_ca.path.p || (text && strstr(text, "-----BEGIN "));
    free(text);
    if (good)
        return;
    (void)snprintf(where, sizeof(where), "jwt[%u].jwks.caFile", j->index);
    problem_add(problems, j->jwks_ca.line, j->jwks_ca.column, where, false, "%.*s: %s",
                STR_FMT(j->jwks_ca.path), error ? why_unread(error) : "no certificate in it");
}

static void load(const struct conf_jwt *j, const struct jwks_entry *was, struct jwks_entry *e,
                 struct config_problems *problems)
{
    size_t n = 0;
    int error = 0;
    if (j->jwks_url.p) {
        e->state = JWKS_ENTRY_URL;
        look_at_ca(j, problems);
        return;
    }
    char *text = file_text_read(j->jwks.path.p, JWKS_FILE_BYTES, &n, &error);
    e->state = JWKS_ENTRY_REFUSED;
    if (!digest(text, n, error, e->digest))
        problem_out_of_memory(problems);
    else if (!text)
        problem(problems, j, why_unread(error));
    else
        settle(j, text, n, was, e, problems);
    if (text)
        explicit_bzero(text, n); /* there may be secrets in it */
    free(text);
}

int jwks_files_load(const struct conf *c, const struct conf *in_force, const struct jwks_set *have,
                    struct jwks_set *ret, struct config_problems *problems)
{
    *ret = (struct jwks_set){0};
    if (c->n_jwts == 0)
        return 0;
    ret->entries = mem_zalloc(c->n_jwts * sizeof(*ret->entries));
    if (!ret->entries) {
        problem_out_of_memory(problems);
        return -ENOMEM;
    }
    ret->n = c->n_jwts;
    for (uint32_t i = 0; i < c->n_jwts; i++) {
        const struct conf_jwt *j = &c->jwts[i];
        const struct conf_jwt *was = in_force ? conf_find_jwt(in_force, j->name) : NULL;
        load(j, was && have && was->index < have->n ? &have->entries[was->index] : NULL,
             &ret->entries[i], problems);
    }
    return 0;
}

void jwks_set_free(struct jwks_set *s)
{
    for (uint32_t i = 0; i < s->n; i++)
        (void)jwt_keys_unref(s->entries[i].keys);
    free(s->entries);
    *s = (struct jwks_set){0};
}
