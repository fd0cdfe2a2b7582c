/* curl_library.h - libcurl's functions, found when they are first needed. */
#ifndef SLUICE_IO_CURL_LIBRARY_H
#define SLUICE_IO_CURL_LIBRARY_H

#define CURL_DISABLE_TYPECHECK /* its macros take no pointers to the functions */
#include <curl/curl.h>

#define CURL_FUNCTIONS(X)                                                                          \
    X(global_init_mem)                                                                             \
    X(version_info)                                                                                \
    X(easy_init)                                                                                   \
    X(easy_setopt)                                                                                 \
    X(easy_getinfo)                                                                                \
    X(easy_cleanup)                                                                                \
    X(easy_strerror)                                                                               \
    X(slist_append)                                                                                \
    X(slist_free_all)                                                                              \
    X(multi_init)                                                                                  \
    X(multi_setopt)                                                                                \
    X(multi_add_handle)                                                                            \
    X(multi_remove_handle)                                                                         \
    X(multi_socket_action)                                                                         \
    X(multi_assign)                                                                                \
    X(multi_info_read)                                                                             \
    X(multi_cleanup)

struct curl_library {
#define CURL_MEMBER(name) __typeof__(&curl_##name) name;
    CURL_FUNCTIONS(CURL_MEMBER)
#undef CURL_MEMBER
};

/* Loads and initialises it, once for the process; from any thread. NULL with *ret_why. */
const struct curl_library *curl_library(const char **ret_why);

#endif
