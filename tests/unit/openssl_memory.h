/* openssl_memory.h - OpenSSL's allocations go through base/mem.h, so that each of them can fail. */
#ifndef SLUICE_TESTS_OPENSSL_MEMORY_H
#define SLUICE_TESTS_OPENSSL_MEMORY_H

#include "base/mem.h"

#include <openssl/crypto.h>

static inline void *crypto_alloc(size_t n, const char *file, int line)
{
    (void)file;
    (void)line;
    return mem_alloc(n);
}

static inline void *crypto_realloc(void *p, size_t n, const char *file, int line)
{
    (void)file;
    (void)line;
    return mem_realloc(p, n);
}

static inline void crypto_free(void *p, const char *file, int line)
{
    (void)file;
    (void)line;
    free(p);
}

/* Before OpenSSL's first allocation; false: it comes too late. */
static inline bool openssl_memory_is_ours(void)
{
    return CRYPTO_set_mem_functions(crypto_alloc, crypto_realloc, crypto_free) == 1;
}

#endif
