/* demo_app_device.h - the demo application as a device that lets only so many log in, and keeps a
 * session locked until its logout: what the world outside does not forget when a holder is killed.
 *
 * It counts what a test wants to know: who was let in, when each session ended and how often, and
 * whether a session was used behind its end. */
#ifndef SLUICE_DEMO_APP_DEVICE_H
#define SLUICE_DEMO_APP_DEVICE_H

#include "base/str.h"

enum { DEVICE_SESSIONS_MAX = 4096, DEVICE_ID_BYTES = 40 };

/* limit: how many may be logged in, 1 to DEVICE_SESSIONS_MAX. 0 or -ENOMEM. */
int device_init(uint32_t limit);
bool device_is_one(void);

/* A new session's number, which device_id() turns into its id; 0: all are taken. */
uint64_t device_login(void);
/* Writes "s12-0123456789abcdef" into out (DEVICE_ID_BYTES). */
void device_id(uint64_t number, char *out);

/* HTTP statuses. 204, also for a repetition under the same idempotency key; 404: it is not logged
 * in, or has not been. */
unsigned device_logout(struct str id, struct str idempotency_key);
unsigned device_use(struct str id); /* 200; 403 */

/* JSON, to be freed; NULL: memory is short. All that are logged in, and the counts; or one. */
char *device_list(size_t *ret_n);
char *device_one(struct str id, size_t *ret_n);

#endif
