/* watch_places.h - the places of the file system on which paths' meaning depends, by inotify.
 *
 * For /etc/sluice/sluice.yaml in a mounted ConfigMap that is: sluice.yaml and ..data in
 * /etc/sluice (both are links), sluice.yaml in the directory that ..data names, that file itself
 * (it may be written by another name: a bind mount, a hard link), and each directory on the way
 * (it may be moved). Where something is missing, its name in what is there: so the path may come
 * to be at any time. */
#ifndef SLUICE_CONFIG_WATCH_PLACES_H
#define SLUICE_CONFIG_WATCH_PLACES_H

#include "base/str.h"

struct watch_place {
    int wd;
    char *name; /* in the directory; NULL: the watched thing itself */
};

struct watch_places {
    int fd; /* of inotify; -1: closed */
    uint32_t n, cap;
    struct watch_place *items;
};

/* 0, or -errno: -EMFILE when the user's instances or the fds are used up. */
int watch_places_open(struct watch_places *p);
void watch_places_close(struct watch_places *p);

/* Goes along the paths and watches what is on them, in place of what was watched so far. To be done
 * again after each event, before a file is read: what happens later is told then. 0, or -errno when
 * something is not watched (-ENOSPC: the user's watches are used up; -EACCES: a directory that may
 * not be read); all else is. */
int watch_places_walk(struct watch_places *p, const char *const *paths, uint32_t n);

/* Takes the events that have come; true when one of them concerns one of the paths, or some were
 * lost. */
bool watch_places_read(struct watch_places *p);

#endif
