/* guard.h - who may ask the control servers: the Host that a browser sends, the token for
 * mutations. */
#ifndef SLUICE_ADMIN_GUARD_H
#define SLUICE_ADMIN_GUARD_H

#include "base/str.h"

#include <sys/types.h>
#include <time.h>

/* Against DNS rebinding: a page whose name was pointed at 127.0.0.1 sends its own name as Host.
 * True for localhost, IP addresses and what `allowed` names (with or without a port). */
bool guard_host_allowed(struct str authority, const struct str *allowed, size_t n);

enum { GUARD_TOKEN_MAX = 4096 };

/* The content of a token file without the white space around it; read again when the file has
 * changed. */
struct guard_token {
    const char *path; /* NULL: no token is right */
    struct timespec mtime;
    off_t size;
    ino_t ino;
    size_t n; /* 0: no token is right */
    char text[GUARD_TOKEN_MAX];
};

void guard_token_init(struct guard_token *t, const char *path);
/* An Authorization field's value: "Bearer TOKEN". */
bool guard_token_matches(struct guard_token *t, struct str authorization);

#endif
