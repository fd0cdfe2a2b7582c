/* demo_app_holder.h - the demo application as one that holds a session on a device, and knows
 * nothing of giving it back. */
#ifndef SLUICE_DEMO_APP_HOLDER_H
#define SLUICE_DEMO_APP_HOLDER_H

#include "io/address.h"

/* Logs in at `address` (a sidecar's outbound listener), trying for 20 s while it is not there or
 * every session is taken; the connection stays open. Prints "session ID" and a newline. 0, or a
 * negative errno. */
int holder_login(const struct address *address, uint32_t use_ms);
/* When it is time, asks the device whether the session is still good; another connection when the
 * first has gone. */
void holder_tick(void);
/* ms until the next time; -1: never. */
int holder_wait_ms(void);
const char *holder_session(void); /* "": none */

/* ---- ends, for who asks for one ---- */

_Noreturn void holder_abort(void);
_Noreturn void holder_out_of_memory(void);

#endif
