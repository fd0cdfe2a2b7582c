/* inherited.h - sockets that were open when we were started: LISTEN_FDS (sd_listen_fds(3)).
 *
 * Read from the environment once, at the first call; LISTEN_PID must be ours. Names are compared
 * after percent-decoding, because ':' parts them in LISTEN_FDNAMES. One thread, at start. */
#ifndef SLUICE_LIFECYCLE_INHERITED_H
#define SLUICE_LIFECYCLE_INHERITED_H

#include "io/address.h"
#include "lifecycle/channel.h"

/* The fd passed under that name, with CLOEXEC set; the caller's from now on. -ENOENT when there is
 * none, or it was taken. */
int inherited_take(const char *name);

/* The listening socket that is bound to this address, whatever its name: socket activation with
 * units that name nothing. The name that it came under is copied to ret_name (NULL: not wanted).
 * -ENOENT. */
int inherited_take_address(const struct address *a, char *ret_name, size_t cap);

/* How many have been passed and not taken yet; name of number i of them, NULL past the end. */
size_t inherited_left(void);
const char *inherited_left_name(size_t i);

/* Closes what nobody took, and has the supervisor drop it too (ch may be NULL). Returns how many.
 */
size_t inherited_close_rest(struct channel *ch);

/* Is this Unix socket's path the service manager's? Then nobody unlinks it but that. */
bool inherited_path_is_activated(const struct address *a);

/* The way a name stands in LISTEN_FDNAMES: [A-Za-z0-9./_-@] as they are, the rest as %XX. Returns
 * the length written, 0 when it does not fit. */
size_t inherited_encode_name(const char *name, char *out, size_t cap);

#endif
