/* cleanup.h - one release action: an HTTP request (or, on a host, a command) with its deadline,
 * its retries and its result (DESIGN §4). On the control thread. */
#ifndef SLUICE_LIFECYCLE_CLEANUP_H
#define SLUICE_LIFECYCLE_CLEANUP_H

#include "base/clock.h"
#include "base/str.h"

#include <stdbool.h>
#include <stdint.h>

enum cleanup_result {
    CLEANUP_PENDING,
    CLEANUP_RELEASED,     /* 2xx */
    CLEANUP_ALREADY_GONE, /* 404, 410 */
    CLEANUP_FAILED,       /* after all tries, or its time was over */
    CLEANUP_RESULTS,
};
const char *cleanup_result_word(enum cleanup_result r); /* released, already_gone, failed */

/* How it is released. All text is the owner's (NUL-terminated), alive until the end of the run. */
struct cleanup_field {
    const char *name, *value;
};
struct cleanup_action {
    const char *method; /* POST */
    const char *url;    /* http, https, absolute */
    /* "HOST:PORT:ADDR:PORT" for libcurl's CURLOPT_CONNECT_TO: the endpoint that gave what is
     * released; NULL: as the URL says. When it does not answer, later tries go as the URL says,
     * unless nobody would be verified there. */
    const char *connect_to;
    const char *unix_path;                      /* or a Unix socket; NULL: none */
    bool http2;                                 /* not by HTTP/1.1, as io/curl_loop.h has it */
    const char *ca_file, *cert_file, *key_file; /* https; NULL: the system's CAs, no certificate */
    /* https: names or SPIFFE ids, parted by spaces, any of which the certificate carries; both
     * NULL: the URL's host. Where they cannot be verified nothing is sent. */
    const char *sans, *spiffe_ids;
    bool insecure; /* https: nothing is verified */
    bool tls_1_3;  /* https: not by TLS 1.2 */
    const struct cleanup_field *fields;
    uint32_t n_fields;
    struct str body;
    char *const *command; /* instead of a request, NULL-terminated; 0 of its exit: released */
    usec_t timeout;       /* of one try; 5 s */
    uint32_t retries;     /* besides the first try; 3: exponential backoff 100 ms to 5 s, jitter */
    const char *idempotency_key; /* sent as Idempotency-Key; the same for every try and replay */
};

struct cleanup_engine; /* libcurl's multi interface on the control loop (io/curl_loop.h) */
struct loop;

/* NULL when memory is short. libcurl is not loaded yet. */
struct cleanup_engine *cleanup_engine_new(struct loop *l);
/* No run is under way. */
struct cleanup_engine *cleanup_engine_free(struct cleanup_engine *e);
/* Requests can be made: false with *ret_why, a text for the log. Loads libcurl the first time,
 * which costs the process 1.3 MB: so it is asked where something is taken on that will need it. */
bool cleanup_engine_ready(struct cleanup_engine *e, const char **ret_why);
/* Addresses like 169.254.169.254, where clouds keep credentials, are not connected to unless
 * this says so. */
void cleanup_engine_allow_link_local(struct cleanup_engine *e, bool allow);

/* One block of memory with all texts in it; free(). NULL when memory is short. */
struct cleanup_action *cleanup_action_copy(const struct cleanup_action *a);
bool cleanup_action_equal(const struct cleanup_action *a, const struct cleanup_action *b);
/* "POST https://device:8443", "command /usr/bin/umount": what may be shown. Paths, queries, fields
 * and bodies hold what a session is known by. Returns out. */
enum { CLEANUP_SHOWN_MAX = 160 };
char *cleanup_action_shown(const struct cleanup_action *a, char out[CLEANUP_SHOWN_MAX]);

/* A run under way, embedded by its owner; done is called once, never from within start. */
struct cleanup_run {
    const struct cleanup_action *action;
    void (*done)(struct cleanup_run *r);
    enum cleanup_result result;
    uint32_t tries;
    unsigned status; /* of the last answer; 0: none */
    char error[96];  /* of the last try, in words, without secrets; empty: there is a status */
    usec_t took;
    struct cleanup_inner *inner; /* NULL: it does not run */
};
/* Ends by `deadline` (absolute) whatever happens. 0 or -ENOMEM. */
int cleanup_start(struct cleanup_engine *e, struct cleanup_run *r, usec_t deadline);
/* It ends by then, if that is sooner. Harmless where it does not run. */
void cleanup_shorten(struct cleanup_run *r, usec_t deadline);
void cleanup_cancel(struct cleanup_run *r); /* done is not called; harmless likewise */

#endif
