/* journal_seal.c - XAES-256-GCM over the records of the journal (c2sp.org/XAES-256-GCM). */
#include "lifecycle/journal_seal.h"

#include "base/mem.h"
#include "config/file_text.h"

#include <errno.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/rand.h>
#include <sys/stat.h>

enum { BLOCK = 16, KEY_FILE_MAX = 1024, HALF = 12 };

struct seal {
    EVP_CIPHER_CTX *ecb; /* of the key */
    EVP_CIPHER_CTX *gcm; /* of one record's key at a time */
    unsigned char k1[BLOCK];
};

void secret_free(void *p, size_t n)
{
    if (p)
        OPENSSL_cleanse(p, n);
    free(p);
}

static bool encrypt_block(struct seal *s, const unsigned char *in, unsigned char *out)
{
    int n = 0;
    return EVP_EncryptUpdate(s->ecb, out, &n, in, BLOCK) == 1 && n == BLOCK;
}

/* CMAC's first subkey: the encrypted zero block, doubled (NIST SP 800-38B §6.1). */
static bool make_k1(struct seal *s)
{
    unsigned char l[BLOCK] = {0};

    if (!encrypt_block(s, l, l))
        return false;
    for (unsigned i = 0; i < BLOCK; i++)
        s->k1[i] = (unsigned char)(l[i] << 1 | (i + 1 < BLOCK ? l[i + 1] >> 7 : 0));
    if (l[0] & 0x80)
        s->k1[BLOCK - 1] ^= 0x87;
    OPENSSL_cleanse(l, sizeof(l));
    return true;
}

struct seal *seal_new(const char *key)
{
    struct seal *s = mem_zalloc(sizeof(*s));

    if (!s)
        return NULL;
    s->ecb = EVP_CIPHER_CTX_new();
    s->gcm = EVP_CIPHER_CTX_new();
    if (s->ecb && s->gcm &&
        EVP_EncryptInit_ex(s->ecb, EVP_aes_256_ecb(), NULL, (const unsigned char *)key, NULL) ==
            1 &&
        EVP_CIPHER_CTX_set_padding(s->ecb, 0) == 1 && make_k1(s))
        return s;
    return seal_free(s);
}

struct seal *seal_free(struct seal *s)
{
    if (!s)
        return NULL;
    EVP_CIPHER_CTX_free(s->ecb);
    EVP_CIPHER_CTX_free(s->gcm);
    secret_free(s, sizeof(*s));
    return NULL;
}

/* ---- the key file ---- */

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c = ascii_lower(c);
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static bool read_hex(struct str text, char *out)
{
    while (text.n > 0 && strchr(" \t\r\n", text.p[text.n - 1]))
        text.n--;
    if (text.n != (size_t)2 * SEAL_KEY_BYTES)
        return false;
    for (size_t i = 0; i < SEAL_KEY_BYTES; i++) {
        int high = hex_digit(text.p[2 * i]), low = hex_digit(text.p[2 * i + 1]);
        if (high < 0 || low < 0)
            return false;
        out[i] = (char)(unsigned char)(high << 4 | low);
    }
    return true;
}

int seal_key_read(const char *path, char *ret_key, bool *ret_open_to_others)
{
    char key[SEAL_KEY_BYTES];
    struct stat state;
    size_t n = 0;
    int rc = 0;
    char *text = file_text_read(path, KEY_FILE_MAX, &n, &rc);

    if (!text)
        return rc == -EFBIG ? -EINVAL : rc;
    if (n == SEAL_KEY_BYTES)
        memcpy(key, text, sizeof(key));
    else if (!read_hex((struct str){text, n}, key))
        rc = -EINVAL;
    secret_free(text, n);
    if (rc == 0) {
        memcpy(ret_key, key, sizeof(key));
        *ret_open_to_others = stat(path, &state) == 0 && (state.st_mode & S_IROTH);
    }
    OPENSSL_cleanse(key, sizeof(key));
    return rc;
}

/* ---- records ---- */

/* The record's key: two blocks of a CMAC that counts (NIST SP 800-108 §4.1). */
static bool derive(struct seal *s, const char *nonce, unsigned char *key)
{
    for (unsigned half = 0; half < 2; half++) {
        unsigned char m[BLOCK] = {0, (unsigned char)(half + 1), 'X', 0};
        memcpy(m + BLOCK - HALF, nonce, HALF);
        for (unsigned i = 0; i < BLOCK; i++)
            m[i] ^= s->k1[i];
        if (!encrypt_block(s, m, key + (size_t)half * BLOCK))
            return false;
    }
    return true;
}

static bool begin(struct seal *s, const char *nonce, bool encrypt)
{
    unsigned char key[SEAL_KEY_BYTES];
    bool ok = derive(s, nonce, key) &&
              EVP_CipherInit_ex(s->gcm, EVP_aes_256_gcm(), NULL, key,
                                (const unsigned char *)nonce + HALF, encrypt) == 1;
    OPENSSL_cleanse(key, sizeof(key));
    return ok;
}

/* Of one record: its length is an int's. */
static bool update(struct seal *s, char *out, struct str in)
{
    int n = 0;
    return in.n == 0 || EVP_CipherUpdate(s->gcm, (unsigned char *)out, &n,
                                         (const unsigned char *)in.p, (int)in.n) == 1;
}

int seal_close(struct seal *s, const char *nonce, struct str text, struct str aad, char *out)
{
    char *tag = out + SEAL_NONCE_BYTES + text.n;
    unsigned char none[BLOCK];
    int n = 0;

    if (nonce)
        memcpy(out, nonce, SEAL_NONCE_BYTES);
    else if (RAND_bytes((unsigned char *)out, SEAL_NONCE_BYTES) != 1)
        return -ENOMEM;
    if (begin(s, out, true) && update(s, NULL, aad) && update(s, out + SEAL_NONCE_BYTES, text) &&
        EVP_CipherFinal_ex(s->gcm, none, &n) == 1 &&
        EVP_CIPHER_CTX_ctrl(s->gcm, EVP_CTRL_AEAD_GET_TAG, SEAL_TAG_BYTES, tag) == 1)
        return 0;
    return -ENOMEM;
}

int seal_open(struct seal *s, struct str sealed, struct str aad, char *out)
{
    char tag[SEAL_TAG_BYTES];
    unsigned char none[BLOCK];
    int n = 0;

    if (sealed.n < SEAL_NONCE_BYTES + SEAL_TAG_BYTES)
        return -EKEYREJECTED;
    struct str text = {sealed.p + SEAL_NONCE_BYTES, sealed.n - SEAL_NONCE_BYTES - SEAL_TAG_BYTES};
    memcpy(tag, text.p + text.n, sizeof(tag));
    if (!begin(s, sealed.p, false) || !update(s, NULL, aad) || !update(s, out, text) ||
        EVP_CIPHER_CTX_ctrl(s->gcm, EVP_CTRL_AEAD_SET_TAG, SEAL_TAG_BYTES, tag) != 1)
        return -ENOMEM;
    if (EVP_CipherFinal_ex(s->gcm, none, &n) == 1)
        return 0;
    if (text.n > 0)
        OPENSSL_cleanse(out, text.n); /* not vouched for: nobody may use it */
    return -EKEYREJECTED;
}
