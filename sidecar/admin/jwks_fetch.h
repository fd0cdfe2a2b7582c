/* jwks_fetch.h - one fetch of an issuer's keys from its URL. */
#ifndef SLUICE_ADMIN_JWKS_FETCH_H
#define SLUICE_ADMIN_JWKS_FETCH_H

#include "config/conf_authz.h"
#include "io/curl_loop.h"

enum { JWKS_FETCH_BYTES = 1 << 20, JWKS_FETCH_DIGEST = 32 /* as JWKS_DIGEST_BYTES */ };

/* Embedded by who asks. */
struct jwks_fetch {
    struct curl_request request;
    /* Once, on the loop, never from within start. */
    void (*done)(struct jwks_fetch *f);
    /* What came, for `done` to take; NULL: see why */
    struct jwt_keys *keys;
    unsigned char digest[JWKS_FETCH_DIGEST]; /* of the text: SHA-256 */
    bool answered; /* why not: what was answered is no set of keys; else nothing of use was */
    char why[160]; /* nothing of the URL, nor of a key but its place in the list */
};

/* `conf` is alive until it is done or cancelled; so is f, whose `done` is set. 0, or -errno with
 * a text in f->why. */
int jwks_fetch_start(struct jwks_fetch *f, struct curl_loop *c, const struct conf_jwt *conf,
                     bool allow_link_local);
/* Harmless when it is done, or was never started (zeros). */
void jwks_fetch_cancel(struct jwks_fetch *f);

#endif
