/* access_redact.c - the salted hash by which the access log tells what it must not tell. */
#include "proxy/access_redact.h"

#include "base/mem.h"
#include "config/file_text.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/rand.h>

enum { RANDOM_SALT = 32 };

struct access_redact {
    struct redact_rules rules;
    struct redact_hash hash;
    char *texts; /* of rules.names: the configuration goes with a reload */
    struct str *names;
    bool random;        /* the salt is nobody's but ours */
    bool stands_in;     /* for that of a file */
    EVP_MD_CTX *salted; /* has taken the salt; copied for each value */
    EVP_MD_CTX *scratch;
    uint64_t redacted;
};

/* What cannot be hashed, for want of memory, is not told either. */
static void hash(const void *ctx, struct str value, char out[REDACT_HASH_LEN])
{
    static const char hex[] = "0123456789abcdef";
    const struct access_redact *a = ctx;
    unsigned char digest[EVP_MAX_MD_SIZE];
    if (EVP_MD_CTX_copy_ex(a->scratch, a->salted) != 1 ||
        EVP_DigestUpdate(a->scratch, value.p, value.n) != 1 ||
        EVP_DigestFinal_ex(a->scratch, digest, NULL) != 1) {
        memset(out, '-', REDACT_HASH_LEN);
        return;
    }
    for (int i = 0; i < REDACT_HASH_LEN; i++)
        out[i] = hex[i % 2 ? digest[i / 2] & 15 : digest[i / 2] >> 4];
}

static bool take_salt(struct access_redact *a, const void *salt, size_t n)
{
    a->salted = EVP_MD_CTX_new();
    a->scratch = EVP_MD_CTX_new();
    return a->salted && a->scratch && EVP_DigestInit_ex(a->salted, EVP_sha256(), NULL) == 1 &&
           EVP_DigestUpdate(a->salted, salt, n) == 1;
}

/* NULL, or what is wrong. */
static const char *salt_from_file(struct access_redact *a, const char *path)
{
    size_t n = 0;
    int error = 0;
    char *text = file_text_read(path, REDACT_SALT_MAX, &n, &error);
    if (!text)
        return strerror(-error);
    size_t all = n;
    if (n > 0 && text[n - 1] == '\n')
        n--;
    const char *why = n < REDACT_SALT_MIN     ? "the salt is shorter than 16 bytes"
                      : take_salt(a, text, n) ? NULL
                                              : "out of memory";
    OPENSSL_cleanse(text, all);
    free(text);
    return why;
}

static const char *salt_at_random(struct access_redact *a)
{
    unsigned char salt[RANDOM_SALT];
    if (RAND_bytes(salt, sizeof(salt)) != 1)
        return "no random numbers";
    const char *why = take_salt(a, salt, sizeof(salt)) ? NULL : "out of memory";
    OPENSSL_cleanse(salt, sizeof(salt));
    return why;
}

static bool copy_names(struct access_redact *a, const struct str *names, uint32_t n)
{
    size_t bytes = 0;
    for (uint32_t i = 0; i < n; i++)
        bytes += names[i].n;
    a->names = mem_alloc((n + 1) * sizeof(*a->names));
    a->texts = mem_alloc(bytes + 1);
    if (!a->names || !a->texts)
        return false;
    char *at = a->texts;
    for (uint32_t i = 0; i < n; i++) {
        memcpy(at, names[i].p, names[i].n);
        a->names[i] = (struct str){at, names[i].n};
        at += names[i].n;
    }
    a->rules.names = a->names;
    a->rules.n_names = n;
    return true;
}

static void forget_salt(struct access_redact *a)
{
    EVP_MD_CTX_free(a->salted);
    EVP_MD_CTX_free(a->scratch);
    a->salted = a->scratch = NULL;
}

struct access_redact *access_redact_new(const struct conf_access_log *conf, bool lenient,
                                        const char **ret_why)
{
    struct access_redact *a = mem_zalloc(sizeof(*a));
    *ret_why = "out of memory";
    if (!a)
        return NULL;
    a->hash = (struct redact_hash){hash, a};
    if (!copy_names(a, conf->parameters_given ? conf->parameters : redact_default_names,
                    conf->parameters_given ? conf->n_parameters : redact_default_names_n))
        return access_redact_free(a);
    for (uint32_t i = 0; i < conf->n_redacted; i++)
        a->rules.fields |= (uint32_t)1 << conf->redacted[i];
    const char *why = conf->salt_file.n > 0 ? salt_from_file(a, conf->salt_file.p) : NULL;
    *ret_why = why;
    a->stands_in = why != NULL;
    a->random = why || conf->salt_file.n == 0;
    if (!why && !a->random)
        return a;
    if (!why || lenient) {
        forget_salt(a);
        const char *none = salt_at_random(a);
        if (!none)
            return a;
        *ret_why = none;
    }
    return access_redact_free(a);
}

struct access_redact *access_redact_free(struct access_redact *a)
{
    if (!a)
        return NULL;
    forget_salt(a);
    free(a->names);
    free(a->texts);
    free(a);
    return NULL;
}

void access_redact_follow(struct access_redact *a, struct access_redact *was)
{
    a->redacted += was->redacted;
    if (!a->random || !was->random)
        return;
    EVP_MD_CTX *salted = a->salted;
    a->salted = was->salted;
    was->salted = salted;
}

struct str access_redact(struct access_redact *a, enum redact_field field, struct str text,
                         char *out)
{
    return redact(&a->rules, &a->hash, field, text, out, &a->redacted);
}

bool access_redact_stands_in(const struct access_redact *a)
{
    return a->stands_in;
}

uint64_t access_redact_count(const struct access_redact *a)
{
    return a->redacted;
}
