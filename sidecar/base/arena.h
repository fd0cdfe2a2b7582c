/* arena.h - memory that is freed all at once: a configuration and what hangs on it. */
#ifndef SLUICE_BASE_ARENA_H
#define SLUICE_BASE_ARENA_H

#include "base/str.h"

struct arena;

struct arena *arena_new(void);
struct arena *arena_free(struct arena *a);
/* Cleared, aligned to 16; NULL when memory is short. */
void *arena_alloc(struct arena *a, size_t bytes);
/* A copy terminated by NUL; .p NULL when memory is short. */
struct str arena_str(struct arena *a, struct str s);
size_t arena_bytes(const struct arena *a);

#endif
