/* mem.h - the one door to the heap, so that a test can make allocation n fail.
 *
 * All return NULL when memory is short; callers answer with 503 or give up what they were
 * about to start, and never abort. Free with free(). */
#ifndef SLUICE_BASE_MEM_H
#define SLUICE_BASE_MEM_H

#include "base/str.h"

#include <stdlib.h>

void *mem_alloc(size_t bytes);
void *mem_zalloc(size_t bytes);
void *mem_realloc(void *p, size_t bytes);
/* A copy, terminated by NUL. */
char *mem_strndup(struct str s);

/* Failing-allocation runs: from now on (counted over all threads) allocation number `nth` fails
 * (1: the next), and with `every` each further multiple too; 0 turns it off. The environment
 * variable SLUICE_FAIL_ALLOC=N (or N+ for every Nth) sets it through mem_fail_from_env(). */
void mem_fail_at(uint64_t nth, bool every);
void mem_fail_from_env(void);
/* For allocators that do not use malloc (slab). */
bool mem_should_fail(void);
uint64_t mem_failures(void);

#endif
