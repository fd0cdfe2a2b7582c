/* jwks_fetch.c - one fetch of an issuer's keys from its URL. */
#include "admin/jwks_fetch.h"

#include "base/check.h"

#include <errno.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <strings.h>

static void parse(struct jwks_fetch *f, struct str text)
{
    f->keys = jwt_keys_parse(text, f->why, sizeof(f->why));
    if (!f->keys)
        return;
    if (EVP_Digest(text.p, text.n, f->digest, NULL, EVP_sha256(), NULL) == 1)
        return;
    (void)snprintf(f->why, sizeof(f->why), "out of memory");
    f->keys = jwt_keys_unref(f->keys);
}

static void on_answer(struct curl_request *r)
{
    struct jwks_fetch *f = CONTAINER_OF(r, struct jwks_fetch, request);
    if (r->status == 200) {
        f->answered = true;
        parse(f, (struct str){r->answer ? r->answer : "", r->answer_n});
    } else if (r->status > 0) {
        (void)snprintf(f->why, sizeof(f->why), "status %u", r->status);
    } else {
        (void)snprintf(f->why, sizeof(f->why), "%s", r->error);
    }
    if (r->answer)
        explicit_bzero(r->answer, r->answer_n); /* there may be secrets in it */
    free(r->answer);
    r->answer = NULL;
    f->done(f);
}

int jwks_fetch_start(struct jwks_fetch *f, struct curl_loop *c, const struct conf_jwt *conf,
                     bool allow_link_local)
{
    static const struct curl_field accept = {"Accept",
                                             "application/jwk-set+json, application/json"};
    f->keys = NULL;
    f->answered = false;
    f->why[0] = '\0';
    f->request = (struct curl_request){
        .method = "GET",
        .url = conf->jwks_url.p,
        .ca_file = conf->jwks_ca.path.p,
        .fields = &accept,
        .n_fields = 1,
        .keep = JWKS_FETCH_BYTES,
        .timeout = conf->jwks_timeout,
        .allow_link_local = allow_link_local,
        .done = on_answer,
    };
    int rc = curl_loop_start(c, &f->request);
    if (rc < 0)
        (void)snprintf(f->why, sizeof(f->why), "%s",
                       rc == -ENOMEM ? "out of memory" : "libcurl takes no such request");
    return rc;
}

void jwks_fetch_cancel(struct jwks_fetch *f)
{
    curl_loop_cancel(&f->request);
}
