/* curl_library.c - libcurl loaded at run time. Its memory comes through base/mem.h. */
#include "io/curl_library.h"

#include "base/check.h"
#include "base/mem.h"

#include <dlfcn.h>
#include <pthread.h>
#include <string.h>

static char *duplicate(const char *s)
{
    return mem_strndup(str_of(s));
}

static void *cleared(size_t n, size_t bytes)
{
    size_t all;
    return __builtin_mul_overflow(n, bytes, &all) ? NULL : mem_zalloc(all ? all : 1);
}

static bool find_all(void *handle, struct curl_library *found)
{
    static const char *const names[] = {
#define CURL_NAME(name) "curl_" #name,
        CURL_FUNCTIONS(CURL_NAME)
#undef CURL_NAME
    };
    _Static_assert(sizeof(*found) == sizeof(names), "one pointer for each name");
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        void *p = dlsym(handle, names[i]);
        if (!p)
            return false;
        memcpy((char *)found + i * sizeof(p), &p, sizeof(p));
    }
    return true;
}

static const struct curl_library *load(const char **ret_why)
{
    static struct curl_library library;
    static bool ready;
    struct curl_library found;

    if (ready)
        return &library;
    void *handle = dlopen("libcurl.so.4", RTLD_NOW | RTLD_LOCAL);
    if (!handle) {
        *ret_why = "libcurl.so.4 cannot be loaded (Debian: libcurl4)";
        return NULL;
    }
    if (!find_all(handle, &found)) {
        *ret_why = "libcurl.so.4 is not the libcurl that is needed (7.87 or newer)";
        (void)dlclose(handle);
        return NULL;
    }
    if (found.global_init_mem(CURL_GLOBAL_DEFAULT, mem_alloc, free, mem_realloc, duplicate,
                              cleared) != CURLE_OK) {
        *ret_why = "libcurl.so.4 cannot be initialised";
        return NULL;
    }
    library = found;
    ready = true;
    return &library;
}

const struct curl_library *curl_library(const char **ret_why)
{
    static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
    (void)pthread_mutex_lock(&lock);
    const struct curl_library *library = load(ret_why);
    (void)pthread_mutex_unlock(&lock);
    return library;
}
