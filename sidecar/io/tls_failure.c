/* tls_failure.c - why a handshake failed: a sentence for people, a word for metrics.
 *
 * Literals only: what a peer sent never gets into a message or a label. */
#include "io/tls_parts.h"

#include <openssl/err.h>
#include <openssl/sslerr.h>

struct cause {
    int code;
    const char *word, *text;
};

static const struct cause verify_causes[] = {
    {X509_V_ERR_CERT_HAS_EXPIRED, "certificate_expired", "the peer's certificate has expired"},
    {X509_V_ERR_CERT_NOT_YET_VALID, "certificate_not_yet_valid",
     "the peer's certificate is not valid yet"},
    {X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT, "certificate_unknown_ca",
     "the peer's certificate is signed by a CA that is not trusted here"},
    {X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY, "certificate_unknown_ca",
     "the peer's certificate is signed by a CA that is not trusted here"},
    {X509_V_ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE, "certificate_unknown_ca",
     "the peer's certificate is signed by a CA that is not trusted here"},
    {X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT, "certificate_unknown_ca",
     "the peer's certificate is signed by itself, and not trusted here"},
    {X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN, "certificate_unknown_ca",
     "the peer's certificate is signed by a CA that is not trusted here"},
    {X509_V_ERR_HOSTNAME_MISMATCH, "name_mismatch",
     "the peer's certificate is for another name or address"},
    {X509_V_ERR_APPLICATION_VERIFICATION, "spiffe_id_refused",
     "the peer's certificate has no SPIFFE id that is allowed"},
    {X509_V_ERR_INVALID_PURPOSE, "certificate_purpose",
     "the peer's certificate is for another purpose (extendedKeyUsage)"},
    {X509_V_ERR_EE_KEY_TOO_SMALL, "certificate_weak", "the peer's certificate has a weak key"},
    {X509_V_ERR_CA_KEY_TOO_SMALL, "certificate_weak", "a CA of the peer's chain has a weak key"},
    {X509_V_ERR_CA_MD_TOO_WEAK, "certificate_weak",
     "the peer's certificate is signed with a weak digest"},
    {X509_V_ERR_OUT_OF_MEM, "no_memory", "not enough memory"},
};

/* TLS alerts (RFC 8446 §6.2). */
static const struct cause alert_causes[] = {
    {SSL_AD_HANDSHAKE_FAILURE, "peer_handshake_failure", "the peer found no common parameters"},
    {SSL_AD_BAD_CERTIFICATE, "peer_refused_certificate", "the peer refuses our certificate"},
    {SSL_AD_UNSUPPORTED_CERTIFICATE, "peer_refused_certificate",
     "the peer does not support our certificate"},
    {SSL_AD_CERTIFICATE_REVOKED, "peer_refused_certificate",
     "the peer says that our certificate is revoked"},
    {SSL_AD_CERTIFICATE_EXPIRED, "peer_refused_certificate",
     "the peer says that our certificate has expired"},
    {SSL_AD_CERTIFICATE_UNKNOWN, "peer_refused_certificate", "the peer refuses our certificate"},
    {SSL_AD_UNKNOWN_CA, "peer_unknown_ca", "the peer does not trust our certificate's CA"},
    {SSL_AD_ACCESS_DENIED, "peer_refused_certificate", "the peer denies our certificate access"},
    {SSL_AD_PROTOCOL_VERSION, "peer_protocol_version", "the peer speaks no version that we speak"},
    {SSL_AD_UNRECOGNIZED_NAME, "peer_unknown_name", "the peer does not know the server name"},
    {TLS13_AD_CERTIFICATE_REQUIRED, "peer_wants_certificate",
     "the peer asks for a client certificate"},
    {SSL_AD_NO_APPLICATION_PROTOCOL, "peer_no_application_protocol",
     "the peer speaks none of the protocols that were offered (ALPN)"},
};

static const struct cause own_causes[] = {
    {SSL_R_NO_SHARED_CIPHER, "no_shared_cipher", "no cipher suite in common"},
    {SSL_R_NO_SUITABLE_SIGNATURE_ALGORITHM, "no_shared_cipher", "no signature algorithm in common"},
    {SSL_R_NO_SUITABLE_KEY_SHARE, "no_shared_cipher", "no group in common"},
    {SSL_R_NO_SHARED_GROUPS, "no_shared_cipher", "no group in common"},
    {SSL_R_UNSUPPORTED_PROTOCOL, "protocol_version", "no TLS version in common"},
    {SSL_R_VERSION_TOO_LOW, "protocol_version", "no TLS version in common"},
    {SSL_R_UNKNOWN_SSL_VERSION, "protocol_version", "no TLS version in common"},
    {SSL_R_WRONG_SSL_VERSION, "protocol_version", "no TLS version in common"},
    {SSL_R_INAPPROPRIATE_FALLBACK, "protocol_version",
     "the client fell back to a version below what both speak"},
    {SSL_R_WRONG_VERSION_NUMBER, "not_tls", "the peer does not speak TLS"},
    {SSL_R_HTTP_REQUEST, "not_tls", "plain HTTP where TLS is spoken"},
    {SSL_R_HTTPS_PROXY_REQUEST, "not_tls", "plain HTTP where TLS is spoken"},
    {SSL_R_PEER_DID_NOT_RETURN_A_CERTIFICATE, "no_client_certificate",
     "the client has no certificate, which is required"},
    {SSL_R_NO_APPLICATION_PROTOCOL, "no_application_protocol",
     "no application protocol in common (ALPN)"},
    {ERR_R_MALLOC_FAILURE, "no_memory", "not enough memory"},
};

static const struct cause peer_closed = {0, "peer_closed",
                                         "the peer closed the connection within the handshake"};
static const struct cause peer_alert = {0, "peer_alert", "the peer ended the handshake"};
static const struct cause bad_certificate = {0, "certificate_invalid",
                                             "the peer's certificate cannot be verified"};
static const struct cause protocol_error = {0, "protocol_error", "the peer broke the protocol"};

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
    st->failure = c->text;
    st->failure_word = c->word;
}
