/* termination_message.h - the drain's report as a few lines, in the file whose end Kubernetes keeps
 * as a container's termination message.
 *
 * Of that file the last 4,096 bytes are kept, and the controller makes an Event of them: so what
 * matters most comes last, and what does not fit is left out at the beginning, by whole lines. */
#ifndef SLUICE_LIFECYCLE_TERMINATION_MESSAGE_H
#define SLUICE_LIFECYCLE_TERMINATION_MESSAGE_H

#include <jansson.h>
#include <stddef.h>

enum { TERMINATION_MESSAGE_MAX = 4096 };

/* From drain_report_json()'s object. Returns the length; there is no NUL. */
size_t termination_message(const json_t *report, char out[TERMINATION_MESSAGE_MAX]);

/* In place of what the file holds. One that is not there is not made; only a regular file is
 * written. 0 or -errno. */
int termination_message_write(const char *path, const char *text, size_t n);

#endif
