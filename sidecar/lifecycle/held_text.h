/* held_text.h - text that the supervisor keeps for the next serving process, in a memfd among its
 * sockets. */
#ifndef SLUICE_LIFECYCLE_HELD_TEXT_H
#define SLUICE_LIFECYCLE_HELD_TEXT_H

#include "lifecycle/channel.h"

#include <stddef.h>

/* In place of what is held under that name (of less than CHANNEL_NAME_MAX bytes; no name of a
 * service manager has a colon). NULL for ch: no supervisor, nothing is done. 0 or a negative errno:
 * the old text is still held then. */
int held_text_put(struct channel *ch, const char *name, const char *text, size_t n);
/* What was held when this process was started, with a NUL behind it; the caller's to free(). Once,
 * at start. NULL: nothing, or memory is short. */
char *held_text_take(const char *name, size_t *ret_n);

#endif
