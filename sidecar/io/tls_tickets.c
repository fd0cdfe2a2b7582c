/* tls_tickets.c - the keys that session tickets are sealed with: the process's, rotated.
 *
 * A ticket is the session itself, sealed by us and kept by the client; so any worker resumes what
 * another began. Keys live in memory only. The current key seals; the one before still opens, and
 * what it opened is sealed anew. With TLS 1.3 so is each: clients use a ticket once, so that
 * nobody who listens tells their connections from another's (RFC 8446 §C.4). */
#include "io/tls_parts.h"

#include <errno.h>
#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/params.h>
#include <openssl/rand.h>

enum { NAME_BYTES = 16, AES_BYTES = 32, MAC_BYTES = 32 };

struct ticket_key {
    unsigned char name[NAME_BYTES], aes[AES_BYTES], mac[MAC_BYTES];
};

static struct {
    pthread_mutex_t lock;
    uint32_t n; /* how many there are; the first is the current one */
    struct ticket_key keys[2];
} tickets = {.lock = PTHREAD_MUTEX_INITIALIZER};

int tls_tickets_rotate(void)
{
    struct ticket_key fresh;
    if (RAND_bytes(fresh.name, NAME_BYTES) != 1 || RAND_priv_bytes(fresh.aes, AES_BYTES) != 1 ||
        RAND_priv_bytes(fresh.mac, MAC_BYTES) != 1) {
        ERR_clear_error();
        OPENSSL_cleanse(&fresh, sizeof(fresh));
        return -EIO;
    }
    (void)pthread_mutex_lock(&tickets.lock);
    tickets.keys[1] = tickets.keys[0];
    tickets.keys[0] = fresh;
    if (tickets.n < 2)
        tickets.n++;
    (void)pthread_mutex_unlock(&tickets.lock);
    OPENSSL_cleanse(&fresh, sizeof(fresh));
    return 0;
}

int tls_tickets_init(void)
{
    (void)pthread_mutex_lock(&tickets.lock);
    bool done = tickets.n > 0;
    (void)pthread_mutex_unlock(&tickets.lock);
    return done ? 0 : tls_tickets_rotate();
}

/* Copies the current key (name NULL), or the one of that name. Its place; -1: there is none. */
static int key_for(const unsigned char *name, struct ticket_key *ret)
{
    int found = -1;
    (void)pthread_mutex_lock(&tickets.lock);
    for (uint32_t i = 0; i < tickets.n && found < 0; i++) {
        if (!name || memcmp(tickets.keys[i].name, name, NAME_BYTES) == 0)
            found = (int)i;
    }
    if (found >= 0)
        *ret = tickets.keys[found];
    (void)pthread_mutex_unlock(&tickets.lock);
    return found;
}

static bool set_mac(EVP_MAC_CTX *mac, struct ticket_key *k)
{
    static char digest[] = "SHA256";
    OSSL_PARAM params[] = {
        OSSL_PARAM_construct_octet_string(OSSL_MAC_PARAM_KEY, k->mac, MAC_BYTES),
        OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, digest, 0),
        OSSL_PARAM_construct_end(),
    };
    return EVP_MAC_CTX_set_params(mac, params) == 1;
}

/* SSL_CTX_set_tlsext_ticket_key_evp_cb(3): 1 done, 2 done and the client gets a new one, 0 no such
 * key (a full handshake), -1 failed. */
static int on_ticket(SSL *ssl, unsigned char *name, unsigned char *iv, EVP_CIPHER_CTX *cipher,
                     EVP_MAC_CTX *mac, int sealing)
{
    struct ticket_key k;
    int result = -1;
    int place = key_for(sealing ? NULL : name, &k);
    if (place < 0)
        return sealing ? -1 : 0;
    if (sealing) {
        memcpy(name, k.name, NAME_BYTES);
        if (RAND_bytes(iv, EVP_CIPHER_get_iv_length(EVP_aes_256_cbc())) == 1 &&
            EVP_EncryptInit_ex(cipher, EVP_aes_256_cbc(), NULL, k.aes, iv) == 1 && set_mac(mac, &k))
            result = 1;
    } else if (EVP_DecryptInit_ex(cipher, EVP_aes_256_cbc(), NULL, k.aes, iv) == 1 &&
               set_mac(mac, &k)) {
        result = place == 0 && SSL_version(ssl) != TLS1_3_VERSION ? 1 : 2;
    }
    OPENSSL_cleanse(&k, sizeof(k));
    return result;
}

int tls_tickets_use(SSL_CTX *ctx)
{
    int r = tls_tickets_init();
    if (r < 0)
        return r;
    return SSL_CTX_set_tlsext_ticket_key_evp_cb(ctx, on_ticket) == 1 ? 0 : -ENOMEM;
}
