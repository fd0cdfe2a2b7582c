/* mem.c - the heap, with failures on demand. */
#include "base/mem.h"

#include <stdatomic.h>

static _Atomic uint64_t fail_at; /* 0: off, which is all that a normal run ever reads */
static _Atomic uint64_t counter;
static _Atomic uint64_t failures;
static _Atomic bool fail_every;

void mem_fail_at(uint64_t nth, bool every)
{
    atomic_store(&counter, 0);
    atomic_store(&fail_every, every);
    atomic_store(&fail_at, nth);
}

void mem_fail_from_env(void)
{
    const char *v = getenv("SLUICE_FAIL_ALLOC");
    if (!v)
        return;
    char *end;
    unsigned long long n = strtoull(v, &end, 10);
    mem_fail_at(n, *end == '+');
}

bool mem_should_fail(void)
{
    uint64_t at = atomic_load_explicit(&fail_at, memory_order_relaxed);
    if (at == 0)
        return false;
    uint64_t n = atomic_fetch_add(&counter, 1) + 1;
    bool fail = n == at || (atomic_load(&fail_every) && n % at == 0);
    if (fail)
        (void)atomic_fetch_add(&failures, 1);
    return fail;
}

uint64_t mem_failures(void)
{
    return atomic_load(&failures);
}

void *mem_alloc(size_t bytes)
{
    return mem_should_fail() ? NULL : malloc(bytes);
}

void *mem_zalloc(size_t bytes)
{
    return mem_should_fail() ? NULL : calloc(1, bytes);
}

void *mem_realloc(void *p, size_t bytes)
{
    /* realloc(p, 0) would free p and return NULL, which reads as a failure that left p alone. */
    return mem_should_fail() ? NULL : realloc(p, bytes ? bytes : 1);
}

char *mem_strndup(struct str s)
{
    char *copy = mem_alloc(s.n + 1);
    if (!copy)
        return NULL;
    if (s.n > 0)
        memcpy(copy, s.p, s.n);
    copy[s.n] = '\0';
    return copy;
}
