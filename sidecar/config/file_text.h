/* file_text.h - a small file as one piece of memory, read without ever waiting for a peer.
 *
 * What is opened is O_NONBLOCK and must be a regular file: a FIFO or a device given as a
 * configuration would hold the thread that reads it, and with it signals and probes. */
#ifndef SLUICE_CONFIG_FILE_TEXT_H
#define SLUICE_CONFIG_FILE_TEXT_H

#include <stddef.h>

/* The text, with a NUL behind it, to be freed. NULL with *ret_error:
 *   -EISDIR    a directory
 *   -EINVAL    neither a file nor a directory: a FIFO, a device, a socket
 *   -EFBIG     more than `max` bytes
 *   -EBUSY     it changed each time while it was read, so that no text of it is whole
 *   -ENOMEM    memory is short
 *   and what open(2) and read(2) say. */
char *file_text_read(const char *path, size_t max, size_t *ret_n, int *ret_error);

#endif
