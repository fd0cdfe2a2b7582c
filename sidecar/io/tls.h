/* tls.h - TLS by OpenSSL, as a transport (transport.h).
 *
 * Three things: tls_context is what files and settings made (certificates, CAs, rules); immutable,
 * counted, shared by all workers. tls_slot holds the context in force of one listener or upstream,
 * and is what connections are made from: new certificates are put in there, and connections that
 * stand are not touched. tls_identity is what a handshake proved about the peer. */
#ifndef SLUICE_IO_TLS_H
#define SLUICE_IO_TLS_H

#include "base/str.h"
#include "io/address.h"
#include "io/transport.h"

#include <stdbool.h>
#include <stdint.h>
#include <time.h>

struct tls_context;
struct tls_slot;

enum tls_version { TLS_1_2, TLS_1_3 };
enum tls_client_auth {
    TLS_CLIENT_NONE,     /* no certificate is asked for; the default */
    TLS_CLIENT_OPTIONAL, /* verified if there is one */
    TLS_CLIENT_REQUIRE,
};

/* A certificate chain and its key: PEM files, named for messages and read by the caller, off the
 * workers' loops. */
struct tls_pair {
    struct str cert_file, key_file; /* names */
    struct str cert, key;           /* their contents */
};

struct tls_server_settings {
    uint32_t n_pairs; /* the first is for clients without a (known) SNI */
    const struct tls_pair *pairs;
    enum tls_version min_version; /* TLS_1_2; ciphers are Mozilla's intermediate list */
    enum tls_client_auth client_auth;
    struct str ca_file, ca; /* client_auth: who signs clients */
    uint32_t n_spiffe_ids;  /* allow rules; none: every verified client. "spiffe://td/ns/x" for one;
                             * a star as the last part of the path for all that begin so */
    const struct str *spiffe_ids;
    bool http2;      /* offer h2 before http/1.1 by ALPN */
    bool only_http2; /* and not http/1.1 */
    bool alpn;       /* false: no ALPN (protocol: tcp) */
};

struct tls_client_settings {
    struct str ca_file, ca; /* both empty: the system's CAs (OpenSSL's default places) */
    struct str server_name; /* SNI, and the name to verify unless `sans` are given; empty: the
                             * endpoint's own host name or address */
    uint32_t n_sans;        /* DNS names or IP addresses, any of which the certificate must carry */
    const struct str *sans;
    uint32_t n_spiffe_ids; /* as above, in place of names */
    const struct str *spiffe_ids;
    bool insecure; /* nothing is verified (a warning of `sluice validate`) */
    bool has_pair; /* mTLS */
    struct tls_pair pair;
    enum tls_version min_version;
    bool http1, http2; /* ALPN: what is offered */
};

/* May it stand in spiffe_ids? */
bool tls_is_spiffe_rule(struct str s);

/* What makes a context: the time is for validity. NULL with a sentence in why[] that names the
 * file: unreadable PEM, key that does not match, expired or not yet valid, weak (RSA < 2048), no
 * memory. */
struct tls_context *tls_context_server(const struct tls_server_settings *s, time_t now, char *why,
                                       size_t why_len);
struct tls_context *tls_context_client(const struct tls_client_settings *s, time_t now, char *why,
                                       size_t why_len);
struct tls_context *tls_context_ref(struct tls_context *c);
/* NULL is harmless; returns NULL. */
struct tls_context *tls_context_unref(struct tls_context *c);
/* Certificates in it, for certificate_expiry_seconds: the i-th leaf's file and its notAfter; false
 * when there are fewer. */
bool tls_context_certificate(const struct tls_context *c, uint32_t i, struct str *ret_file,
                             time_t *ret_not_after);

/* References 1. Takes the context over (it may be NULL: then no connection can be made). */
struct tls_slot *tls_slot_new(struct tls_context *c);
struct tls_slot *tls_slot_ref(struct tls_slot *s);
struct tls_slot *tls_slot_unref(struct tls_slot *s);
/* From any thread: new connections get this context from now on. Takes it over. */
void tls_slot_set(struct tls_slot *s, struct tls_context *c);
/* A reference; NULL: none is set. */
struct tls_context *tls_slot_get(struct tls_slot *s);

/* A transport over fd (whose connect() may be under way), whose handshake is to be done
 * (transport_ops.handshake). `name` (client): the endpoint's host name or address, where the
 * settings have no server_name. `peer`: where it is; the last session with that name there is
 * resumed (NULL: none is, or kept). 0, -ENOMEM, -ENOKEY: the slot holds no context (fd is the
 * caller's still). */
int transport_tls_server(struct transport *t, int fd, struct tls_slot *slot);
int transport_tls_client(struct transport *t, int fd, struct tls_slot *slot, struct str name,
                         const struct address *peer);

/* After the handshake; each text is valid while the transport lives. */
struct tls_identity {
    struct str alpn;      /* "h2", "http/1.1", empty */
    struct str sni;       /* what the client asked for, as it came */
    struct str spiffe_id; /* the peer's, if it has one; empty else */
    struct str subject;   /* RFC 2253; empty: no certificate */
    const char *version;  /* "TLSv1.3" */
    const char *cipher;
    bool resumed;
};
bool transport_is_tls(const struct transport *t);
/* Reading failed (-EPROTO) because the peer sent nothing but messages of TLS's own (KeyUpdate), too
 * many of them. */
bool transport_tls_flooded(const struct transport *t);
void transport_tls_identity(const struct transport *t, struct tls_identity *ret);
/* Why a handshake failed: the word for metrics. "peer_": the other side says so (an alert). */
#define TLS_FAILURE_TABLE(X)                                                                       \
    X(NONE, "none")                                                                                \
    X(NOT_TLS, "not_tls")                                                                          \
    X(PROTOCOL, "protocol_error")                                                                  \
    X(VERSION, "protocol_version")                                                                 \
    X(NO_SHARED_CIPHER, "no_shared_cipher")                                                        \
    X(NO_ALPN, "no_application_protocol")                                                          \
    X(NO_CLIENT_CERTIFICATE, "no_client_certificate")                                              \
    X(CERTIFICATE_EXPIRED, "certificate_expired")                                                  \
    X(CERTIFICATE_NOT_YET_VALID, "certificate_not_yet_valid")                                      \
    X(CERTIFICATE_UNKNOWN_CA, "certificate_unknown_ca")                                            \
    X(CERTIFICATE_PURPOSE, "certificate_purpose")                                                  \
    X(CERTIFICATE_WEAK, "certificate_weak")                                                        \
    X(CERTIFICATE_INVALID, "certificate_invalid")                                                  \
    X(NAME_MISMATCH, "name_mismatch")                                                              \
    X(SPIFFE_ID_REFUSED, "spiffe_id_refused")                                                      \
    X(PEER_CLOSED, "peer_closed")                                                                  \
    X(PEER_ALERT, "peer_alert")                                                                    \
    X(PEER_HANDSHAKE_FAILURE, "peer_handshake_failure")                                            \
    X(PEER_VERSION, "peer_protocol_version")                                                       \
    X(PEER_REFUSED_CERTIFICATE, "peer_refused_certificate")                                        \
    X(PEER_UNKNOWN_CA, "peer_unknown_ca")                                                          \
    X(PEER_UNKNOWN_NAME, "peer_unknown_name")                                                      \
    X(PEER_WANTS_CERTIFICATE, "peer_wants_certificate")                                            \
    X(PEER_NO_ALPN, "peer_no_application_protocol")                                                \
    X(NO_CONTEXT, "no_certificate") /* the slot is empty; the caller's, as the next two */         \
    X(TIMEOUT, "timeout")                                                                          \
    X(NO_MEMORY, "out_of_memory")

enum tls_failure {
#define X(id, word) TLS_FAILURE_##id,
    TLS_FAILURE_TABLE(X)
#undef X
        TLS_FAILURES,
};
const char *tls_failure_word(enum tls_failure f);
/* Our certificate, or the peer's, is what it failed for. */
bool tls_failure_is_certificate(enum tls_failure f);
/* Why this handshake failed, with a sentence for people (a literal); TLS_FAILURE_NONE: it did not.
 */
enum tls_failure transport_tls_failure(const struct transport *t, const char **ret_text);

/* Whom a TLS client that is not ours (libcurl) has to meet: names or addresses, or SPIFFE ids, as
 * in tls_client_settings; parted by spaces, NULL: none. One of both is given. NULL with *ret_error:
 * -EINVAL, -ENOMEM. */
struct tls_peer;
struct tls_peer *tls_peer_new(const char *sans, const char *spiffe_ids, int *ret_error);
/* NULL is harmless; returns NULL. On one thread, as all of it and of the contexts' use. */
struct tls_peer *tls_peer_unref(struct tls_peer *p);
/* Into its SSL_CTX, which takes a reference: connections are made only with who has a valid
 * certificate that says so. 0 or -ENOMEM. */
int tls_peer_use(struct tls_peer *p, void *ssl_ctx);
/* "OpenSSL/3.0.17": the library that such a context has to be of. Returns out. */
enum { TLS_LIBRARY_MAX = 64 };
const char *tls_peer_library(char out[TLS_LIBRARY_MAX]);

/* Session tickets' keys (RFC 5077, RFC 8446 §4.6.1), of the whole process: the first is made with
 * the first server's context. The control thread makes a new one every TLS_TICKETS_PERIOD_S; the
 * one before still opens tickets. From any thread. 0 or -errno. */
enum { TLS_TICKETS_PERIOD_S = 3600 };
int tls_tickets_init(void);
int tls_tickets_rotate(void);

#endif
