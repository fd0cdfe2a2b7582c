/* watch.h - tells when the configuration's file may have changed.
 *
 * Two ways at once: inotify on the directory of the file (and of what it links to), which sees
 * editors' renames and the swap of a ConfigMap's `..data` link; and a look at the file's identity
 * and hash every poll_interval, for file systems that tell nothing. Neither decides whether the
 * text differs from what is in force: that is the reader's part, by its hash. One thread's
 * (control). */
#ifndef SLUICE_CONFIG_WATCH_H
#define SLUICE_CONFIG_WATCH_H

#include "config/config.h"
#include "io/loop.h"

struct config_watch;

/* `changed` runs on the loop when the file has rested for `debounce` after a change, and at the
 * latest 10 × debounce after the first of many. `file` outlives the watch. NULL when memory is
 * short; without inotify (limits used up, not there) the poll alone stays, which is logged. */
struct config_watch *config_watch_new(struct loop *loop, const char *file,
                                      const struct conf_reload *conf,
                                      void (*changed)(void *ctx, bool by_poll), void *ctx);
/* Other settings from now on. */
void config_watch_configure(struct config_watch *w, const struct conf_reload *conf);
/* The text that was read last, for the poll to compare with; "": it could not be read. Until the
 * first of these there is no poll. */
void config_watch_seen(struct config_watch *w, const char *sha256);
struct config_watch *config_watch_free(struct config_watch *w);

#endif
