/* tls_parts.h - between the files of tls*.c; nobody else includes it, and nobody else sees OpenSSL.
 */
#ifndef SLUICE_IO_TLS_PARTS_H
#define SLUICE_IO_TLS_PARTS_H

#include "base/arena.h"
#include "base/check.h"
#include "base/clock.h"
#include "base/hash_index.h"
#include "base/list.h"
#include "io/address.h"
#include "io/tls.h"

#include <openssl/ssl.h>
#include <pthread.h>

enum { TLS_CONTEXT_MAGIC = 0x544c5343, TLS_SESSIONS_MAX = 256 };

/* --- tls_pair.c: a certificate, what signs it, its key --- */

struct tls_loaded {
    X509 *leaf;
    STACK_OF(X509) * chain; /* what is sent behind it */
    EVP_PKEY *key;
    time_t not_after;
};

/* 0, or -EINVAL or -ENOMEM with the sentence. */
int tls_pair_load(const struct tls_pair *p, time_t now, struct tls_loaded *ret, char *why,
                  size_t why_len);
void tls_pair_unload(struct tls_loaded *l);
/* Adds the CAs of a PEM text to the store and, if not NULL, their names to the list. */
int tls_ca_load(struct str file, struct str pem, X509_STORE *store, STACK_OF(X509_NAME) * names,
                char *why, size_t why_len);
/* Writes a sentence that ends with what OpenSSL's last error says, and clears its queue. */
void tls_explain(char *why, size_t why_len, struct str file, const char *what);

/* --- tls_sni.c: which certificate a client's server name leads to --- */

struct tls_sni_name {
    struct str name; /* lower case; ".a.test" for *.a.test */
    uint32_t ctx;    /* index in tls_context.ctx */
};

struct tls_sni {
    struct arena *arena;
    struct tls_sni_name *names;
    uint32_t n, cap;
    struct hash_index index;
};

void tls_sni_init(struct tls_sni *t, struct arena *a);
/* The certificate's names lead to ctx, unless an earlier one has them. 0 or -ENOMEM. */
int tls_sni_add(struct tls_sni *t, const X509 *leaf, uint32_t ctx);
/* The index in ctx; UINT32_MAX: nobody has that name. */
uint32_t tls_sni_find(const struct tls_sni *t, struct str name);
/* Both are for the same DNS names. */
bool tls_sni_same_names(const X509 *a, const X509 *b);

/* --- tls_verify.c: who the peer has to be --- */

struct tls_rules {
    bool any; /* nothing but the signature is asked for */
    uint32_t n_sans;
    struct str *sans;
    uint32_t n_spiffe_ids;
    struct str *spiffe_ids;
};

/* Copies; 0, -ENOMEM, -EINVAL with the sentence. */
int tls_rules_make(struct tls_rules *r, struct arena *a, const struct str *sans, uint32_t n_sans,
                   const struct str *spiffe_ids, uint32_t n_spiffe_ids, char *why, size_t why_len);
/* X509_V_OK, or why this certificate is not who is meant; name: NULL where there is none. */
int tls_rules_check(const struct tls_rules *r, X509 *leaf, const char *name);
/* The URI SAN, if the certificate is an SVID (it has exactly one URI, with that scheme): a copy, to
 * be freed; NULL. */
char *tls_spiffe_id(X509 *leaf);

/* --- tls_sessions.c: what a client resumes --- */

struct tls_sessions {
    pthread_mutex_t lock;
    struct list recent; /* tls_session.link, latest first */
    struct list *buckets;
    uint32_t n;
};

int tls_sessions_init(struct tls_sessions *s);
void tls_sessions_free(struct tls_sessions *s);
/* Takes the session over. */
void tls_sessions_put(struct tls_sessions *s, uint64_t key, SSL_SESSION *session);
/* A copy, or NULL. */
SSL_SESSION *tls_sessions_get(struct tls_sessions *s, uint64_t key);

/* --- tls_tickets.c --- */

/* Installs the process's keys in a server's context. */
int tls_tickets_use(SSL_CTX *ctx);

/* --- tls_callbacks.c; `context` is the struct tls_context --- */

void tls_on_info(const SSL *ssl, int where, int value);
int tls_on_server_name(SSL *ssl, int *alert, void *context);
int tls_on_alpn(SSL *ssl, const unsigned char **ret, unsigned char *ret_len,
                const unsigned char *offered, unsigned n, void *context);
int tls_on_verify(X509_STORE_CTX *x, void *context);
int tls_on_session(SSL *ssl, SSL_SESSION *session);

/* --- tls_context.c --- */

struct tls_certificate {
    struct str file;
    time_t not_after;
};

struct tls_context {
    uint32_t magic;
    _Atomic uint32_t refs;
    struct arena *arena; /* of this struct and all its texts */
    bool is_server;
    bool insecure; /* client */
    SSL_CTX **ctx; /* server: one for each set of names, the first the default; client: one */
    uint32_t n_ctx;
    struct tls_certificate *certs;
    uint32_t n_certs;
    struct tls_sni sni;
    struct tls_rules rules;
    struct str server_name;
    unsigned char alpn[16]; /* in the extension's form; what we speak, best first */
    unsigned alpn_len;
    struct tls_sessions sessions; /* client */
};

/* --- tls_bio.c: OpenSSL's way to the socket --- */

struct tls_wire {
    int fd;
    int recv_error, send_error; /* errno; 0: none */
    bool may_recv; /* false: the socket has been emptied in this call, or is not to be asked */
    bool starved;  /* what is inside is not enough, and the socket had no more */
    bool eof;      /* FIN */
    bool more;     /* what is written now need not be sent before what comes next */
};

/* NULL when memory is short; `w` is a tls_state's, and outlives it. */
BIO *tls_bio_new(struct tls_wire *w);

/* --- tls_transport.c --- */

enum { TLS_STATE_MAGIC = 0x544c5353 };

struct tls_state {
    uint32_t magic;
    bool handshaken;
    bool broken;       /* nothing is encrypted or decrypted any more */
    bool renegotiated; /* the peer tried to */
    bool flooded;      /* the peer said more of TLS's own than anybody has to say */
    bool has_end;      /* read: `end` is what comes from here on */
    bool end_told;
    bool closing;    /* our close_notify is under way, or sent */
    bool has_buffer; /* client: a ticket came, for which OpenSSL took a buffer for an answer */
    uint8_t alert;   /* that the peer sent, fatal; 0: none */
    uint32_t talk, talk_at; /* messages of TLS's own, less one a second; the second it is as of */
    ssize_t end;
    int verify; /* X509_V_ of the rules */
    SSL *ssl;
    struct tls_context *context;
    struct tls_wire wire;
    char *name;           /* client: who is meant */
    uint64_t session_key; /* client; 0: nothing is resumed */
    enum tls_failure failure;
    const char *failure_text;
    char *spiffe_id, *subject; /* made when asked for */
};

/* From any of OpenSSL's callbacks. */
struct tls_state *tls_state_of(const SSL *ssl);

/* --- tls_failure.c --- */

/* After a failed handshake, before the error queue is cleared. */
void tls_failure_note(struct tls_state *st);

#endif
