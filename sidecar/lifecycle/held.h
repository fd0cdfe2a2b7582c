/* held.h - the sockets that the supervisor keeps open over the lives of serving processes. */
#ifndef SLUICE_LIFECYCLE_HELD_H
#define SLUICE_LIFECYCLE_HELD_H

#include "lifecycle/channel.h"

#include <stdbool.h>
#include <sys/types.h>

struct held {
    int fd;
    bool activated; /* it came from the service manager */
    bool unlink;    /* a Unix socket that our child has bound */
    dev_t dev;      /* of its path then */
    ino_t ino;
    char name[CHANNEL_NAME_MAX];
};

/* Between the places of held sockets, from 3 on, and `base` below. */
enum { HELD_ROOM = 2 };

/* Zero is a valid empty set. */
struct held_set {
    size_t n;
    struct held at[CHANNEL_MAX_HELD];
};

/* A copy of fd that is at least `base`, CLOEXEC; fd is closed. Or a negative errno. */
int held_fd_above(int fd, int base);

/* Takes the fd, also when it fails; it is moved to `base` or above. `bound`: our child has bound
 * it and gave it that name, which then replaces what was held under it, and its path is ours to
 * unlink; one that is held under another name gets the new name. Otherwise names may repeat. 0;
 * -ENOSPC, -EMFILE. */
int held_add(struct held_set *s, const char *name, int fd, int base, bool bound);
/* 0 or -ENOENT. */
int held_drop(struct held_set *s, const char *name);
/* Closes all, and unlinks the paths of those that our child has bound; but for the paths of sockets
 * that are in `others` too (NULL: none). */
void held_close_all(struct held_set *s, const struct held_set *others);
/* A set of its own with the same sockets, at `base` or above; `to` is empty. 0 or -EMFILE. */
int held_copy(const struct held_set *from, struct held_set *to, int base);
/* Whether they are open behind an exec. */
void held_set_cloexec(const struct held_set *s, bool cloexec);

#endif
