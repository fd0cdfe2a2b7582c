/* curl_loop.h - sluice's own HTTP requests: libcurl's multi interface on a libev loop.
 *
 * For threads that serve no traffic: libcurl reads files of CAs as it connects. http and https,
 * HTTP/1.1 unless HTTP/2 is asked for: no redirects, no proxy of the environment, no cookies, no
 * connection or TLS session kept. Names are resolved by libcurl's own threads. The library is
 * loaded when the first curl_loop is made, and not linked: it brings some 20 others, whose
 * relocations would cost each process 1.1 MB that few configurations need. */
#ifndef SLUICE_IO_CURL_LOOP_H
#define SLUICE_IO_CURL_LOOP_H

#include "io/loop.h"

#include <stdbool.h>

enum {
    CURL_ANSWER_MAX = 64 * 1024
}; /* of a response's body that nobody keeps: so far it is read */

struct curl_loop;

struct curl_field {
    const char *name, *value;
};

/* Embedded by who asks; the texts are alive until it is done or cancelled. */
struct curl_request {
    const char *method;
    const char *url;
    const char
        *connect_to;       /* "HOST:PORT:ADDR:PORT", as CURLOPT_CONNECT_TO; NULL: as the URL says */
    const char *unix_path; /* of a socket: instead of where the URL says; NULL: none */
    bool http2;            /* over http from the first byte; over https where the server takes it */
    const char *ca_file;   /* https; NULL: the system's */
    const char *cert_file, *key_file; /* NULL: none */
    /* https: whom the certificate is for, as tls_peer_new() has it; both NULL: the URL's host */
    const char *sans, *spiffe_ids;
    bool insecure; /* https: nothing is verified */
    bool tls_1_3;  /* https: not by TLS 1.2 */
    const struct curl_field *fields;
    uint32_t n_fields;
    struct str body;
    size_t keep;           /* bytes of the response's body, at most; 0: it is dropped */
    usec_t timeout;        /* of the whole; at least 1 ms */
    bool allow_link_local; /* else no connection is made to 169.254/16 and the like */
    /* Once, on the loop, never from within start. New requests may be started from it. */
    void (*done)(struct curl_request *r);
    /* The answer: */
    unsigned status;    /* 0: there was none */
    usec_t retry_after; /* as the server said; 0: it did not */
    char error[96];     /* where status is 0; says nothing of URL, fields or body */
    /* The body, whole, where `keep` is set (else status is 0): to be freed by who asked. Cleared
     * with the request when that is cancelled. */
    char *answer;
    size_t answer_n;
    /* curl_loop.c's: */
    struct curl_loop *loop;
    void *easy;
    void *headers, *connects; /* struct curl_slist */
    struct tls_peer *peer;
    uint64_t received;
    bool link_local;
};

/* NULL: memory is short, or the library is not there (*ret_why: a text for the log). */
struct curl_loop *curl_loop_new(struct loop *l, const char **ret_why);
/* None of its requests is under way. */
struct curl_loop *curl_loop_free(struct curl_loop *c);

/* 0; -ENOMEM, -EINVAL (the library takes no such request), -ENOTSUP (it has another TLS library
 * than we, so that sans and spiffe_ids could not be verified). */
int curl_loop_start(struct curl_loop *c, struct curl_request *r);
/* Harmless when it is done, or was never started (zeros). */
void curl_loop_cancel(struct curl_request *r);

#endif
