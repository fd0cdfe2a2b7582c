/* client.h - how the command line talks to a running sluice: one blocking HTTP request. */
#ifndef SLUICE_ADMIN_CLIENT_H
#define SLUICE_ADMIN_CLIENT_H

#include "base/clock.h"
#include "base/str.h"

#define ADMIN_DEFAULT_SOCKET "/run/sluice/admin.sock"

struct admin_target {
    const char *where;      /* a path, unix:PATH or http://HOST:PORT; NULL: the default socket */
    const char *token_file; /* NULL: no token */
    usec_t timeout;         /* of a whole call; 0: 10 s */
};

struct admin_answer {
    unsigned status; /* HTTP status; 0 when there was no answer */
    char *body;      /* with a NUL behind it; never NULL when status != 0 */
    size_t n;
    char error[512]; /* for people, when the call failed */
};

/* 0 when there was an answer, whatever its status; else a negative errno with ret->error, such as
 * "cannot reach sluice at /run/sluice/admin.sock: No such file or directory (is it running?
 * --admin PATH|URL names another)". body NULL: none; else JSON. Free with admin_answer_free(). */
int admin_call(const struct admin_target *t, const char *method, const char *path, const char *body,
               struct admin_answer *ret);
void admin_answer_free(struct admin_answer *a);

/* For an answer with an error status: "code: detail" of its problem+json, or its status; into
 * out. Returns out. */
char *admin_answer_problem(const struct admin_answer *a, char *out, size_t cap);

#endif
