/* tls_identity.c - what a handshake proved about the peer. */
#include "base/mem.h"
#include "io/tls_parts.h"

#include <openssl/bio.h>
#include <openssl/err.h>

static char *subject_of(const X509 *cert)
{
    char *text = NULL, *p = NULL;
    BIO *b = BIO_new(BIO_s_mem());
    if (b && X509_NAME_print_ex(b, X509_get_subject_name(cert), 0, XN_FLAG_RFC2253) >= 0) {
        long n = BIO_get_mem_data(b, &p);
        text = mem_strndup((struct str){p, n > 0 ? (size_t)n : 0});
    }
    BIO_free(b);
    ERR_clear_error();
    return text;
}

void transport_tls_identity(const struct transport *t, struct tls_identity *ret)
{
    struct tls_state *st = t->state;
    CHECK_OBJ(st, TLS_STATE_MAGIC);
    const unsigned char *alpn = NULL;
    unsigned alpn_len = 0;
    SSL_get0_alpn_selected(st->ssl, &alpn, &alpn_len);
    X509 *cert = SSL_get0_peer_certificate(st->ssl);
    if (cert && !st->subject) {
        st->subject = subject_of(cert);
        st->spiffe_id = tls_spiffe_id(cert);
    }
    *ret = (struct tls_identity){
        .alpn = {(const char *)alpn, alpn_len},
        .sni = str_of(SSL_get_servername(st->ssl, TLSEXT_NAMETYPE_host_name)),
        .spiffe_id = str_of(st->spiffe_id),
        .subject = str_of(st->subject),
        .version = SSL_get_version(st->ssl),
        .cipher = SSL_get_cipher_name(st->ssl),
        .resumed = SSL_session_reused(st->ssl) == 1,
    };
}
