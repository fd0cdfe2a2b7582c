/* tls_failure.c - why a handshake failed: a sentence for people, a word for metrics.
 *
 * Literals only: what a peer sent never gets into a message or a label. */
#include "io/tls_parts.h"

#include <openssl/err.h>
#include <openssl/sslerr.h>

struct cause {
    int code;
    enum tls_failure failure;
    const char *text;
};

static const struct cause verify_causes[] = {
    {X509_V_ERR_CERT_HAS_EXPIRED, TLS_FAILURE_CERTIFICATE_EXPIRED,
     "the peer's certificate has expired"},
    {X509_V_ERR_CERT_NOT_YET_VALID, TLS_FAILURE_CERTIFICATE_NOT_YET_VALID,
     "the peer's certificate is not valid yet"},
    {X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT, TLS_FAILURE_CERTIFICATE_UNKNOWN_CA,
     "the peer's certificate is signed by a CA that is not trusted here"},
    {X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY, TLS_FAILURE_CERTIFICATE_UNKNOWN_CA,
     "the peer's certificate is signed by a CA that is not trusted here"},
    {X509_V_ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE, TLS_FAILURE_CERTIFICATE_UNKNOWN_CA,
     "the peer's certificate is signed by a CA that is not trusted here"},
    {X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT, TLS_FAILURE_CERTIFICATE_UNKNOWN_CA,
     "the peer's certificate is signed by itself, and not trusted here"},
    {X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN, TLS_FAILURE_CERTIFICATE_UNKNOWN_CA,
     "the peer's certificate is signed by a CA that is not trusted here"},
    {X509_V_ERR_HOSTNAME_MISMATCH, TLS_FAILURE_NAME_MISMATCH,
     "the peer's certificate is for another name or address"},
    {X509_V_ERR_APPLICATION_VERIFICATION, TLS_FAILURE_SPIFFE_ID_REFUSED,
     "the peer's certificate has no SPIFFE id that is allowed"},
    {X509_V_ERR_INVALID_PURPOSE, TLS_FAILURE_CERTIFICATE_PURPOSE,
     "the peer's certificate is for another purpose (extendedKeyUsage)"},
    {X509_V_ERR_EE_KEY_TOO_SMALL, TLS_FAILURE_CERTIFICATE_WEAK,
     "the peer's certificate has a weak key"},
    {X509_V_ERR_CA_KEY_TOO_SMALL, TLS_FAILURE_CERTIFICATE_WEAK,
     "a CA of the peer's chain has a weak key"},
    {X509_V_ERR_CA_MD_TOO_WEAK, TLS_FAILURE_CERTIFICATE_WEAK,
     "the peer's certificate is signed with a weak digest"},
    {X509_V_ERR_OUT_OF_MEM, TLS_FAILURE_NO_MEMORY, "not enough memory"},
};

/* TLS alerts (RFC 8446 §6.2). */
static const struct cause alert_causes[] = {
    {SSL_AD_HANDSHAKE_FAILURE, TLS_FAILURE_PEER_HANDSHAKE_FAILURE,
     "the peer found no common parameters"},
    {SSL_AD_BAD_CERTIFICATE, TLS_FAILURE_PEER_REFUSED_CERTIFICATE,
     "the peer refuses our certificate"},
    {SSL_AD_UNSUPPORTED_CERTIFICATE, TLS_FAILURE_PEER_REFUSED_CERTIFICATE,
     "the peer does not support our certificate"},
    {SSL_AD_CERTIFICATE_REVOKED, TLS_FAILURE_PEER_REFUSED_CERTIFICATE,
     "the peer says that our certificate is revoked"},
    {SSL_AD_CERTIFICATE_EXPIRED, TLS_FAILURE_PEER_REFUSED_CERTIFICATE,
     "the peer says that our certificate has expired"},
    {SSL_AD_CERTIFICATE_UNKNOWN, TLS_FAILURE_PEER_REFUSED_CERTIFICATE,
     "the peer refuses our certificate"},
    {SSL_AD_UNKNOWN_CA, TLS_FAILURE_PEER_UNKNOWN_CA,
     "the peer does not trust our certificate's CA"},
    {SSL_AD_ACCESS_DENIED, TLS_FAILURE_PEER_REFUSED_CERTIFICATE,
     "the peer denies our certificate access"},
    {SSL_AD_PROTOCOL_VERSION, TLS_FAILURE_PEER_VERSION, "the peer speaks no version that we speak"},
    {SSL_AD_UNRECOGNIZED_NAME, TLS_FAILURE_PEER_UNKNOWN_NAME,
     "the peer does not know the server name"},
    {TLS13_AD_CERTIFICATE_REQUIRED, TLS_FAILURE_PEER_WANTS_CERTIFICATE,
     "the peer asks for a client certificate"},
    {SSL_AD_NO_APPLICATION_PROTOCOL, TLS_FAILURE_PEER_NO_ALPN,
     "the peer speaks none of the protocols that were offered (ALPN)"},
};

static const struct cause own_causes[] = {
    {SSL_R_NO_SHARED_CIPHER, TLS_FAILURE_NO_SHARED_CIPHER, "no cipher suite in common"},
    {SSL_R_NO_SUITABLE_SIGNATURE_ALGORITHM, TLS_FAILURE_NO_SHARED_CIPHER,
     "no signature algorithm in common"},
    {SSL_R_NO_SUITABLE_KEY_SHARE, TLS_FAILURE_NO_SHARED_CIPHER, "no group in common"},
    {SSL_R_NO_SHARED_GROUPS, TLS_FAILURE_NO_SHARED_CIPHER, "no group in common"},
    {SSL_R_UNSUPPORTED_PROTOCOL, TLS_FAILURE_VERSION, "no TLS version in common"},
    {SSL_R_VERSION_TOO_LOW, TLS_FAILURE_VERSION, "no TLS version in common"},
    {SSL_R_UNKNOWN_SSL_VERSION, TLS_FAILURE_VERSION, "no TLS version in common"},
    {SSL_R_WRONG_SSL_VERSION, TLS_FAILURE_VERSION, "no TLS version in common"},
    {SSL_R_INAPPROPRIATE_FALLBACK, TLS_FAILURE_VERSION,
     "the client fell back to a version below what both speak"},
    {SSL_R_WRONG_VERSION_NUMBER, TLS_FAILURE_NOT_TLS, "the peer does not speak TLS"},
    {SSL_R_HTTP_REQUEST, TLS_FAILURE_NOT_TLS, "plain HTTP where TLS is spoken"},
    {SSL_R_HTTPS_PROXY_REQUEST, TLS_FAILURE_NOT_TLS, "plain HTTP where TLS is spoken"},
    {SSL_R_PEER_DID_NOT_RETURN_A_CERTIFICATE, TLS_FAILURE_NO_CLIENT_CERTIFICATE,
     "the client has no certificate, which is required"},
    {SSL_R_NO_APPLICATION_PROTOCOL, TLS_FAILURE_NO_ALPN,
     "no application protocol in common (ALPN)"},
    {ERR_R_MALLOC_FAILURE, TLS_FAILURE_NO_MEMORY, "not enough memory"},
};

static const struct cause peer_closed = {0, TLS_FAILURE_PEER_CLOSED,
                                         "the peer closed the connection within the handshake"};
static const struct cause peer_alert = {0, TLS_FAILURE_PEER_ALERT, "the peer ended the handshake"};
static const struct cause bad_certificate = {0, TLS_FAILURE_CERTIFICATE_INVALID,
                                             "the peer's certificate cannot be verified"};
static const struct cause protocol_error = {0, TLS_FAILURE_PROTOCOL, "the peer broke the protocol"};

static const struct cause *find(const struct cause *all, size_t n, int code,
                                const struct cause *otherwise)
{
    for (size_t i = 0; i < n; i++) {
        if (all[i].code == code)
            return &all[i];
    }
    return otherwise;
}

static const struct cause *cause_of(const struct tls_state *st)
{
    long verified = SSL_get_verify_result(st->ssl);
    unsigned long e;
    if (st->verify != X509_V_OK)
        verified = st->verify;
    if (st->alert != 0)
        return find(alert_causes, ARRAY_LEN(alert_causes), st->alert, &peer_alert);
    if (verified != X509_V_OK && !st->context->insecure)
        return find(verify_causes, ARRAY_LEN(verify_causes), (int)verified, &bad_certificate);
    if (st->wire.eof || st->wire.recv_error != 0)
        return &peer_closed;
    while ((e = ERR_get_error()) != 0) {
        const struct cause *c = find(own_causes, ARRAY_LEN(own_causes), ERR_GET_REASON(e), NULL);
        if (c)
            return c;
    }
    return st->wire.send_error ? &peer_closed : &protocol_error;
}

void tls_failure_note(struct tls_state *st)
{
    const struct cause *c = cause_of(st);
    st->failure = c->failure;
    st->failure_text = c->text;
}

enum tls_failure transport_tls_failure(const struct transport *t, const char **ret_text)
{
    const struct tls_state *st = t->state;
    CHECK_OBJ(st, TLS_STATE_MAGIC);
    *ret_text = st->failure_text;
    return st->failure;
}

const char *tls_failure_word(enum tls_failure f)
{
    static const char *const words[] = {
#define X(id, word) word,
        TLS_FAILURE_TABLE(X)
#undef X
    };
    return words[f];
}

bool tls_failure_is_certificate(enum tls_failure f)
{
    return (f >= TLS_FAILURE_NO_CLIENT_CERTIFICATE && f <= TLS_FAILURE_SPIFFE_ID_REFUSED) ||
           f == TLS_FAILURE_PEER_REFUSED_CERTIFICATE || f == TLS_FAILURE_PEER_UNKNOWN_CA ||
           f == TLS_FAILURE_PEER_WANTS_CERTIFICATE || f == TLS_FAILURE_NO_CONTEXT;
}
