/* tls_callbacks.c - what OpenSSL asks and tells while it works for a connection. */
#include "io/tls_parts.h"

/* What TLS says for itself in a connection that stands, a few bytes that may cost us a new key: 32
 * at once, one a second. A server sends some tickets, and a key is renewed after gigabytes. */
enum { TALK_AT_ONCE = 32 };

static bool talks_too_much(struct tls_state *st)
{
    uint32_t now = (uint32_t)(clock_mono() / USEC_PER_SEC), gone = now - st->talk_at;
    st->talk -= gone < st->talk ? gone : st->talk;
    st->talk_at = now;
    return ++st->talk > TALK_AT_ONCE;
}

/* After a step. Once too often, and the rest of what has been read is thrown away. */
static void on_step(struct tls_state *st)
{
    OSSL_HANDSHAKE_STATE what = SSL_get_state(st->ssl);
    if (what != TLS_ST_SR_KEY_UPDATE && what != TLS_ST_CR_KEY_UPDATE &&
        what != TLS_ST_CR_SESSION_TICKET)
        return;
    if (!talks_too_much(st))
        return;
    st->flooded = true;
    SSL_set_shutdown(st->ssl, SSL_get_shutdown(st->ssl) | SSL_RECEIVED_SHUTDOWN);
}

/* Steps of a handshake; alerts, for the reason of a failure; and the one that refuses a
 * renegotiation. */
void tls_on_info(const SSL *ssl, int where, int value)
{
    enum { WARNING = 1, FATAL = 2 };
    struct tls_state *st = tls_state_of(ssl);
    if ((where & SSL_CB_LOOP) && st->handshaken)
        on_step(st);
    if (!(where & SSL_CB_ALERT))
        return;
    if ((where & SSL_CB_READ) && value >> 8 == FATAL)
        st->alert = (uint8_t)(value & 0xff);
    if ((where & SSL_CB_WRITE) && value == (WARNING << 8 | SSL_AD_NO_RENEGOTIATION))
        st->renegotiated = true;
}

int tls_on_server_name(SSL *ssl, int *alert, void *context)
{
    const struct tls_context *c = context;
    const char *name = SSL_get_servername(ssl, TLSEXT_NAMETYPE_host_name);
    uint32_t i = name ? tls_sni_find(&c->sni, str_of(name)) : UINT32_MAX;
    if (i == UINT32_MAX)
        return SSL_TLSEXT_ERR_OK; /* the first */
    if (i > 0 && !SSL_set_SSL_CTX(ssl, c->ctx[i])) {
        *alert = SSL_AD_INTERNAL_ERROR;
        return SSL_TLSEXT_ERR_ALERT_FATAL;
    }
    return SSL_TLSEXT_ERR_OK;
}

int tls_on_alpn(SSL *ssl, const unsigned char **ret, unsigned char *ret_len,
                const unsigned char *offered, unsigned n, void *context)
{
    const struct tls_context *c = context;
    unsigned char *chosen;
    (void)ssl;
    if (SSL_select_next_proto(&chosen, ret_len, c->alpn, c->alpn_len, offered, n) !=
        OPENSSL_NPN_NEGOTIATED)
        return SSL_TLSEXT_ERR_ALERT_FATAL; /* RFC 7301 §3.2 */
    *ret = chosen;
    return SSL_TLSEXT_ERR_OK;
}

int tls_on_verify(X509_STORE_CTX *x, void *context)
{
    const struct tls_context *c = context;
    const SSL *ssl = X509_STORE_CTX_get_ex_data(x, SSL_get_ex_data_X509_STORE_CTX_idx());
    int ok = X509_verify_cert(x);
    if (ok <= 0)
        return ok;
    int result = tls_rules_check(&c->rules, X509_STORE_CTX_get0_cert(x), tls_state_of(ssl)->name);
    X509_STORE_CTX_set_error(x, result);
    return result == X509_V_OK;
}

/* A copy is kept: nothing that the connection does with its own concerns another. */
int tls_on_session(SSL *ssl, SSL_SESSION *session)
{
    struct tls_state *st = tls_state_of(ssl);
    st->has_buffer = true;
    if (st->session_key == 0)
        return 0;
    SSL_SESSION *copy = SSL_SESSION_dup(session);
    if (copy)
        tls_sessions_put(&st->context->sessions, st->session_key, copy);
    return 0;
}
