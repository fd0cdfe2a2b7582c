/* watch_files.h - tells when any of several files may have changed.
 *
 * As watch.h does for the configuration: by inotify on every link on the way of each (one instance
 * for all), and by a look at what stat(2) says of them every poll_interval, for file systems that
 * tell nothing. It reads no file: who is told compares what is in them. One thread's (control). */
#ifndef SLUICE_CONFIG_WATCH_FILES_H
#define SLUICE_CONFIG_WATCH_FILES_H

#include "config/config.h"
#include "io/loop.h"

struct files_watch;

enum files_news {
    FILES_BY_EVENT, /* inotify tells of a change */
    FILES_BY_POLL,  /* the times of a file do */
    FILES_LOOK,     /* nothing does: a look to be sure */
};

/* `news` runs on the loop when all files have rested for `debounce` after a change, and at the
 * latest 10 x debounce after the first of many; once soon after files_watch_set(), as a file may
 * have changed before it was watched; and with every tenth poll, for changes that no time of a file
 * tells of. No file is watched yet. NULL when memory is short. */
struct files_watch *files_watch_new(struct loop *loop, void (*news)(void *ctx, enum files_news how),
                                    void *ctx);
/* These are the files from now on, and these the settings; the names are copied. None: nothing is
 * watched, and no poll runs. 0, or -ENOMEM and nothing has changed. */
int files_watch_set(struct files_watch *w, const char *const *files, uint32_t n,
                    const struct conf_reload *conf);
/* NULL is harmless; returns NULL. */
struct files_watch *files_watch_free(struct files_watch *w);

#endif
