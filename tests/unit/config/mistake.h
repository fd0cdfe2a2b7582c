/* mistake.h - one thing that operators get wrong, and the good file that it is put into. */
#ifndef SLUICE_TESTS_MISTAKE_H
#define SLUICE_TESTS_MISTAKE_H

#include <stdint.h>

/* Each puts one text into an otherwise good file. Its line and column are in the name. */
#define TAIL "upstreams:\n- name: a\n  endpoints: [\"127.0.0.1:9\"]\n"
#define GOOD_LISTENERS                                                                             \
    "listeners:\n- name: in\n  address: 127.0.0.1:1\n  routes:\n  - upstream: a\n"
#define GOOD             "version: 1\n" GOOD_LISTENERS TAIL
#define ROOT_2_1(x)      "version: 1\n" x "\n" GOOD_LISTENERS TAIL
#define LIFE_3_3(x)      "version: 1\nlifecycle:\n  " x "\n" GOOD_LISTENERS TAIL
#define ADMIN_3_3(x)     "version: 1\nadmin:\n  " x "\n" GOOD_LISTENERS TAIL
#define LISTENERS_3_1(x) "version: 1\nlisteners:\n" x "\n" TAIL
#define LISTENER_5_3(x)                                                                            \
    "version: 1\nlisteners:\n- name: in\n  address: 127.0.0.1:1\n  " x                             \
    "\n  routes:\n  - upstream: a\n" TAIL
#define TCP_6_3(x)                                                                                 \
    "version: 1\nlisteners:\n- name: in\n  address: 127.0.0.1:1\n  protocol: tcp\n  " x "\n" TAIL
#define HTTP_6_5(x)                                                                                \
    "version: 1\nlisteners:\n- name: in\n  address: 127.0.0.1:1\n  http:\n    " x                  \
    "\n  routes:\n  - upstream: a\n" TAIL
#define ROUTE_6_5(x)                                                                               \
    "version: 1\nlisteners:\n- name: in\n  address: 127.0.0.1:1\n  routes:\n  - " x "\n" TAIL
#define FORWARD_7_5(x) ROUTE_6_5("upstream: a\n    " x)
#define LEARN(x)       FORWARD_7_5("learn:\n    - {name: d, acquire: {path: /in}, " x "}")
#define LEARN_HOLD(x)  LEARN("hold: {path: /out}, " x)
#define JWT(x)         ROOT_2_1("jwt: [{name: i, issuer: u, jwks: {file: f}" x "}]")
#define AUTHZ(x)       FORWARD_7_5("authz: {" x "}")
#define MATCH_8_7(x)   FORWARD_7_5("match:\n      " x)
#define UPSTREAM_7_3(x)                                                                            \
    "version: 1\nupstreams:\n- name: b\n  endpoints: [\"127.0.0.1:9\"]\n"                          \
    "- name: a\n  endpoints: [\"127.0.0.1:9\"]\n  " x "\n" GOOD_LISTENERS
#define UPSTREAMS_8_1(x) "version: 1\n" GOOD_LISTENERS "upstreams:\n" x "\n"
#define ENDPOINT_8_25(x)                                                                           \
    UPSTREAMS_8_1("- {name: a, endpoints: [\"" x "\"]}"), 8, 25, "upstreams[0].endpoints[0]"
#define PAIR     "{certFile: c, keyFile: k}"
#define LABEL_63 "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"

struct mistake {
    const char *text;
    uint32_t line, column;
    const char *path;
    const char *message; /* a part of it */
};

#define IN "listeners[0]"
#define R0 "listeners[0].routes[0]"
#define LE R0 ".learn[0]"

#endif
