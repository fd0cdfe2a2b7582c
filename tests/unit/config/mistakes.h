/* mistakes.h - what operators get wrong, and what they are told, where. */
#ifndef SLUICE_TESTS_MISTAKES_H
#define SLUICE_TESTS_MISTAKES_H

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
#define MATCH_8_7(x)   FORWARD_7_5("match:\n      " x)
#define UPSTREAM_7_3(x)                                                                            \
    "version: 1\nupstreams:\n- name: b\n  endpoints: [\"127.0.0.1:9\"]\n"                          \
    "- name: a\n  endpoints: [\"127.0.0.1:9\"]\n  " x "\n" GOOD_LISTENERS
#define UPSTREAMS_8_1(x) "version: 1\n" GOOD_LISTENERS "upstreams:\n" x "\n"

struct mistake {
    const char *text;
    uint32_t line, column;
    const char *path;
    const char *message; /* a part of it */
};

#define IN "listeners[0]"
#define R0 "listeners[0].routes[0]"

static const struct mistake mistakes[] = {
    /* YAML itself */
    {"", 1, 1, "", "the file is empty"},
    {"# nothing\n", 1, 1, "", "the file is empty"},
    {"---\n", 1, 1, "", "the file is empty"},
    {"- a\n", 1, 1, "", "expected keys (\"key: value\"), got a list"},
    {"hello\n", 1, 1, "", "expected keys (\"key: value\"), got \"hello\""},
    {"a: b: c\n", 1, 5, "", "no key can be here"},
    {"a: [1, 2\n", 2, 1, "", "expected \",\" or \"]\""},
    {"a: {b: 1\n", 2, 1, "", "expected \",\" or \"}\""},
    {"a: \"b\n", 2, 1, "", "a quoted string has no end"},
    {"a:\n\t- b\n", 2, 1, "", "a tab does not indent"},
    {"a: @b\n", 1, 4, "", "put it in quotes"},
    {"a: \"\\q\"\n", 1, 5, "", "unknown escape"},
    {"a: 1\n  b: 2\n", 2, 4, "", "no key can be here"},
    {"a:\n  - b\n c\n", 3, 2, "",
     "expected a key: check the indentation (of what begins on line 1)"},
    {"a: \x01\n", 1, 4, "", "control character 0x01"},
    {"a: \xff\n", 1, 4, "", "not UTF-8"},
    {"a: \xc3\n", 1, 5, "", "not UTF-8"},
    {ROOT_2_1("version: 1"), 2, 1, "version", "the key is there twice; the first is on line 1"},
    {GOOD "---\nversion: 1\n", 10, 1, "", "a second document begins here"},
    {GOOD "...\n---\n", 11, 1, "", "a second document begins here"},
    {ROOT_2_1("workers: &w 2"), 2, 10, "workers", "anchors (&) are not supported"},
    {ROOT_2_1("workers: *w"), 2, 10, "workers", "aliases (*) are not supported"},
    {ROOT_2_1("workers: !!int 2"), 2, 10, "workers", "tags (!) are not supported"},
    {ROOT_2_1("<<: {workers: 2}"), 2, 1, "", "merge keys (<<) are not supported"},
    {ROOT_2_1("[a, b]: 1"), 2, 1, "", "a key is a word"},
    {ROOT_2_1("? {a: b}\n: 1"), 2, 3, "", "a key is a word"},
    {"a: "
     "[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[",
     1, 35,
     "a"
     "[0][0][0][0][0][0][0][0][0][0][0][0][0][0][0][0][0][0][0][0][0][0][0][0][0][0][0][0][0][0]["
     "0]",
     "nested more than 32 deep"},

    /* keys */
    {GOOD "wieght: 1\n", 10, 1, "wieght", "unknown key \"wieght\""},
    {ROOT_2_1("worker: 2"), 2, 1, "worker", "(did you mean \"workers\"?)"},
    {ROOT_2_1("Workers: 2"), 2, 1, "Workers", "(did you mean \"workers\"?)"},
    {ROOT_2_1("life: {}"), 2, 1, "life", "(did you mean \"lifecycle\"?)"},
    {ROOT_2_1("allow_link_local: true"), 2, 1, "allow_link_local",
     "(did you mean \"allowLinkLocal\"?)"},
    {ROOT_2_1("\"a\\tb\": 1"), 2, 1, "a\\x09b", "unknown key \"a\\x09b\""},
    {ROUTE_6_5("backends:\n    - {upstream: a, wieght: 2}"), 7, 21, R0 ".backends[0].wieght",
     "unknown key \"wieght\" (did you mean \"weight\"?)"},
    {UPSTREAM_7_3("healthCheck: {}"), 7, 3, "upstreams[1].healthCheck",
     "unknown key \"healthCheck\""},
    {UPSTREAM_7_3("circuitBreaker: {consecutiveErrors: 5}"), 7, 20,
     "upstreams[1].circuitBreaker.consecutiveErrors", "unknown key \"consecutiveErrors\""},
    {GOOD_LISTENERS TAIL, 1, 1, "", "required key \"version\" is missing"},
    {"version: 1\n" TAIL, 1, 1, "", "required key \"listeners\" is missing"},
    {LISTENERS_3_1("- address: 127.0.0.1:1\n  routes: [{upstream: a}]"), 3, 3, IN,
     "required key \"name\" is missing"},
    {LISTENERS_3_1("- name: in\n  routes: [{upstream: a}]"), 3, 3, IN,
     "required key \"address\" is missing"},
    {LISTENERS_3_1("- name: in\n  address: 127.0.0.1:1"), 3, 3, IN,
     "required key \"routes\" is missing (protocol: http)"},
    {UPSTREAMS_8_1("- name: a"), 8, 3, "upstreams[0]", "required key \"endpoints\" is missing"},
    {ROUTE_6_5("match: {}"), 6, 5, R0,
     "one of \"backends\", \"upstream\", \"redirect\", \"directResponse\" is missing"},
    {FORWARD_7_5("redirect: {path: /x}"), 7, 5, R0 ".redirect",
     "cannot be together with \"upstream\" on line 6"},
    {FORWARD_7_5("backends: [{upstream: a}]"), 7, 5, R0 ".backends",
     "cannot be together with \"upstream\" on line 6"},
    {MATCH_8_7("path: /a\n      pathPrefix: /b"), 9, 7, R0 ".match.pathPrefix",
     "cannot be together with \"path\" on line 8"},
    {MATCH_8_7("{host: a, hosts: [b]}"), 8, 17, R0 ".match.hosts", "cannot be together"},
    {MATCH_8_7("{methods: [GET], method: GET}"), 8, 24, R0 ".match.method", "cannot be together"},

    /* values of the wrong kind */
    {ROOT_2_1("lifecycle:"), 2, 11, "lifecycle", "there is no value (leave the key out"},
    {ROOT_2_1("workers: ~"), 2, 10, "workers", "there is no value"},
    {LISTENERS_3_1("- name:\n  address: 127.0.0.1:1\n  routes: [{upstream: a}]"), 3, 8, IN ".name",
     "there is no value"},
    {ROOT_2_1("lifecycle: 5s"), 2, 12, "lifecycle", "expected keys (\"key: value\"), got \"5s\""},
    {ROOT_2_1("lifecycle: [5s]"), 2, 12, "lifecycle", "got a list"},
    {ROOT_2_1("workers: [2]"), 2, 10, "workers", "expected one value, got a list"},
    {ROOT_2_1("workers: {a: 2}"), 2, 10, "workers", "expected one value, got a map"},
    {"version: 1\nlisteners: in\n" TAIL, 2, 12, "listeners", "expected a list"},
    {"version: 1\nlisteners: {name: in}\n" TAIL, 2, 12, "listeners", "put \"- \" before each item"},
    {"version: 1\nlisteners: []\n", 2, 12, "listeners", "expected at least 1 item, got none"},
    {LISTENERS_3_1("- in"), 3, 3, IN, "expected keys (\"key: value\"), got \"in\""},
    {LISTENERS_3_1("-\n"), 3, 2, IN, "there is no value"},
    {LISTENERS_3_1("- name: in\n  address: 127.0.0.1:1\n  routes: []"), 5, 11, IN ".routes",
     "expected at least 1 item"},

    /* words, numbers, durations, sizes */
    {"version: 2\n" GOOD_LISTENERS TAIL, 1, 10, "version", "expected 1, got \"2\""},
    {"version: \"1\"\n" GOOD_LISTENERS TAIL, 1, 10, "version", "got \"1\" (without quotes)"},
    {ROOT_2_1("workers: -1"), 2, 10, "workers", "expected a whole number from 0 to 64, got \"-1\""},
    {ROOT_2_1("workers: 65"), 2, 10, "workers", "from 0 to 64, got \"65\""},
    {ROOT_2_1("workers: 2.5"), 2, 10, "workers", "expected a whole number"},
    {ROOT_2_1("workers: 010"), 2, 10, "workers", "(without leading zeros)"},
    {ROOT_2_1("workers: 0x10"), 2, 10, "workers", "expected a whole number"},
    {ROOT_2_1("workers: 1_0"), 2, 10, "workers", "expected a whole number"},
    {ROOT_2_1("workers: 99999999999999999999"), 2, 10, "workers", "expected a whole number"},
    {ROOT_2_1("allowLinkLocal: yes"), 2, 17, "allowLinkLocal",
     "expected true or false, got \"yes\" (yes, no, on and off are plain words"},
    {ROOT_2_1("allowLinkLocal: On"), 2, 17, "allowLinkLocal", "write true or false)"},
    {ROOT_2_1("allowLinkLocal: off"), 2, 17, "allowLinkLocal", "write true or false)"},
    {ROOT_2_1("allowLinkLocal: No"), 2, 17, "allowLinkLocal", "write true or false)"},
    {ROOT_2_1("allowLinkLocal: True"), 2, 17, "allowLinkLocal", "(in small letters)"},
    {ROOT_2_1("allowLinkLocal: \"true\""), 2, 17, "allowLinkLocal", "(without quotes)"},
    {ROOT_2_1("allowLinkLocal: 1"), 2, 17, "allowLinkLocal", "expected true or false, got \"1\""},
    {ROOT_2_1("log: {level: verbose}"), 2, 14, "log.level",
     "expected one of error warn info debug, got \"verbose\""},
    {ROOT_2_1("log: {level: warning}"), 2, 14, "log.level", "(did you mean \"warn\"?)"},
    {ROOT_2_1("log: {level: INFO}"), 2, 14, "log.level", "(did you mean \"info\"?)"},
    {LIFE_3_3("noticePeriod: 5"), 3, 17, "lifecycle.noticePeriod",
     "expected a duration such as 250ms or 5s, got \"5\" (the unit is missing)"},
    {LIFE_3_3("noticePeriod: \"5\""), 3, 17, "lifecycle.noticePeriod",
     "expected a duration such as 250ms or 5s, got \"5\""},
    {LIFE_3_3("noticePeriod: 5sec"), 3, 17, "lifecycle.noticePeriod",
     "(one number, one unit: us ms s m h)"},
    {LIFE_3_3("noticePeriod: 1m30s"), 3, 17, "lifecycle.noticePeriod",
     "(one number, one unit: us ms s m h)"},
    {LIFE_3_3("noticePeriod: 5 s"), 3, 17, "lifecycle.noticePeriod", "got \"5 s\""},
    {LIFE_3_3("noticePeriod: -5s"), 3, 17, "lifecycle.noticePeriod", "got \"-5s\""},
    {LIFE_3_3("noticePeriod: .5s"), 3, 17, "lifecycle.noticePeriod", "got \".5s\""},
    {LIFE_3_3("noticePeriod: 1.s"), 3, 17, "lifecycle.noticePeriod", "got \"1.s\""},
    {LIFE_3_3("noticePeriod: 1.5us"), 3, 17, "lifecycle.noticePeriod", "got \"1.5us\""},
    {LIFE_3_3("noticePeriod: 1d"), 3, 17, "lifecycle.noticePeriod", "got \"1d\""},
    {LIFE_3_3("noticePeriod: soon"), 3, 17, "lifecycle.noticePeriod", "got \"soon\""},
    {LIFE_3_3("noticePeriod: 169h"), 3, 17, "lifecycle.noticePeriod",
     "expected a duration from 0s to 168h, got \"169h\""},
    {LIFE_3_3("noticePeriod: 99999999999999999999h"), 3, 17, "lifecycle.noticePeriod",
     "expected a duration"},
    {UPSTREAM_7_3("connectTimeout: 0s"), 7, 19, "upstreams[1].connectTimeout",
     "expected a duration from 1ms to 168h, got \"0s\""},
    {ROOT_2_1("accessLog: {bufferSize: 64KB}"), 2, 25, "accessLog.bufferSize",
     "expected a size such as 64KiB or 1MiB, got \"64KB\" (units: B KiB MiB GiB)"},
    {ROOT_2_1("accessLog: {bufferSize: 64kib}"), 2, 25, "accessLog.bufferSize", "(units:"},
    {ROOT_2_1("accessLog: {bufferSize: big}"), 2, 25, "accessLog.bufferSize", "got \"big\""},
    {ROOT_2_1("accessLog: {bufferSize: 1KiB}"), 2, 25, "accessLog.bufferSize",
     "expected a size from 4KiB to 64MiB, got \"1KiB\""},
    {ROOT_2_1("accessLog: {bufferSize: 0.3KiB}"), 2, 25, "accessLog.bufferSize", "got \"0.3KiB\""},
    {ROOT_2_1("accessLog: {path: \"\"}"), 2, 19, "accessLog.path", "expected some text"},
    {ROOT_2_1("accessLog: {path: \"a\\0b\"}"), 2, 19, "accessLog.path",
     "without control characters"},
    {ROOT_2_1("limits: {maxConnections: many}"), 2, 26, "limits.maxConnections",
     "from 0 to 10000000"},

    /* lifecycle, admin, health */
    {LIFE_3_3("terminationGracePeriod: 30s"), 3, 27, "lifecycle.terminationGracePeriod",
     "noticePeriod 5s + drainTimeout 20s + appCleanup 10s = 35s is more than "
     "terminationGracePeriod 30s"},
    {LIFE_3_3("terminationGracePeriod: 0s"), 3, 27, "lifecycle.terminationGracePeriod",
     "expected a duration from 1ms"},
    {LIFE_3_3("lastCall: 20s"), 3, 13, "lifecycle.lastCall",
     "lastCall 20s is the end of drainTimeout 20s, and must be shorter"},
    {LIFE_3_3("drainTimeout: 500ms"), 3, 17, "lifecycle.drainTimeout",
     "lastCall 1s is the end of drainTimeout 500ms"},
    {LIFE_3_3("closeListeners: atdrain"), 3, 19, "lifecycle.closeListeners",
     "(did you mean \"atDrain\"?)"},
    {ADMIN_3_3("address: localhost:15900"), 3, 12, "admin.address",
     "expected an address such as 127.0.0.1:8080 or off, got \"localhost:15900\": not an IPv4"},
    {ADMIN_3_3("address: unix:/run/a.sock"), 3, 12, "admin.address", "expected an address"},
    {ADMIN_3_3("address: 127.0.0.1"), 3, 12, "admin.address", "address:port"},
    {ADMIN_3_3("address: 127.0.0.1:15901\nhealth: {address: 127.0.0.1:15901}"), 4, 19,
     "health.address", "admin.address is the same address"},
    {ADMIN_3_3("socket: admin.sock"), 3, 11, "admin.socket", "a path that begins with /"},
    {ADMIN_3_3("tokenFile: \"\""), 3, 14, "admin.tokenFile", "expected some text"},
    {ADMIN_3_3("allowedHosts: [a b]"), 3, 18, "admin.allowedHosts[0]", "a host such as"},
    {ADMIN_3_3("allowedHosts: [ok, \"a:80\"]"), 3, 22, "admin.allowedHosts[1]",
     "a host without port"},
    {ROOT_2_1("health: {address: 0.0.0.0:0}"), 2, 19, "health.address", "from 1 to 65535"},

    /* listeners */
    {LISTENERS_3_1("- {name: In, address: \"127.0.0.1:1\", routes: [{upstream: a}]}"), 3, 10,
     IN ".name", "expected 1 to 63 of a-z 0-9 -, got \"In\""},
    {LISTENERS_3_1("- {name: \"\", address: \"127.0.0.1:1\", routes: [{upstream: a}]}"), 3, 10,
     IN ".name", "expected 1 to 63"},
    {LISTENERS_3_1("- {name: in, address: 80, routes: [{upstream: a}]}"), 3, 23, IN ".address",
     "expected an address"},
    {LISTENERS_3_1("- {name: in, address: \"127.0.0.1:65536\", routes: [{upstream: a}]}"), 3, 23,
     IN ".address", "from 1 to 65535"},
    {LISTENERS_3_1("- {name: in, address: \"::1:80\", routes: [{upstream: a}]}"), 3, 23,
     IN ".address", "[address]:port"},
    {LISTENERS_3_1("- {name: in, address: \"unix:run/x\", routes: [{upstream: a}]}"), 3, 23,
     IN ".address", "begins with /"},
    {LISTENERS_3_1("- {name: in, address: \"127.0.0.1:1\", routes: [{upstream: a}]}\n"
                   "- {name: in, address: \"127.0.0.1:2\", routes: [{upstream: a}]}"),
     4, 10, "listeners[1].name", "the listener on line 3 has the same name"},
    {LISTENERS_3_1("- {name: in, address: \"127.0.0.1:1\", routes: [{upstream: a}]}\n"
                   "- {name: on, address: \"127.0.0.1:1\", routes: [{upstream: a}]}"),
     4, 23, "listeners[1].address", "the listener on line 3 has the same address"},
    {LISTENERS_3_1("- {name: in, address: \"127.0.0.1:15900\", routes: [{upstream: a}]}"), 3, 23,
     IN ".address", "admin.address is the same address"},
    {LISTENERS_3_1("- {name: in, address: \"0.0.0.0:15901\", routes: [{upstream: a}]}"), 3, 23,
     IN ".address", "health.address is the same address"},
    {LISTENERS_3_1("- {name: in, address: \"unix:/run/sluice/admin.sock\", "
                   "routes: [{upstream: a}]}"),
     3, 23, IN ".address", "admin.socket is the same address"},
    {LISTENER_5_3("direction: in"), 5, 14, IN ".direction", "one of inbound outbound"},
    {LISTENER_5_3("protocol: https"), 5, 13, IN ".protocol", "(did you mean \"http\"?)"},
    {LISTENER_5_3("backlog: 0"), 5, 12, IN ".backlog", "from 1 to 65535"},
    {LISTENER_5_3("maxConnections: 0"), 5, 19, IN ".maxConnections", "from 1 to"},
    {LISTENER_5_3("socketMode: rw"), 5, 15, IN ".socketMode", "a file mode such as \"0660\""},
    {LISTENER_5_3("socketMode: \"0888\""), 5, 15, IN ".socketMode", "a file mode"},
    {LISTENER_5_3("socketMode: \"1777\""), 5, 15, IN ".socketMode", "a file mode"},
    {LISTENER_5_3("idleTimeout: 1h"), 5, 3, IN ".idleTimeout",
     "only a listener of protocol: tcp has \"idleTimeout\""},
    {LISTENER_5_3("backends: [{upstream: a}]"), 5, 3, IN ".backends", "only a listener of"},
    {TCP_6_3("routes: [{upstream: a}]\n  backends: [{upstream: a}]"), 6, 3, IN ".routes",
     "only a listener of protocol: http has \"routes\""},
    {TCP_6_3("http: {}\n  backends: [{upstream: a}]"), 6, 3, IN ".http", "only a listener of"},
    {TCP_6_3("backlog: 1"), 3, 3, IN, "required key \"backends\" is missing (protocol: tcp)"},
    {TCP_6_3("backends: [{upstream: b}]"), 6, 25, IN ".backends[0].upstream",
     "there is no upstream \"b\""},
    {"version: 1\nlisteners:\n- name: in\n  address: 127.0.0.1:1\n  routes:\n  - upstream: ap\n"
     "upstreams:\n- {name: app, endpoints: [\"127.0.0.1:9\"]}\n",
     6, 15, R0 ".upstream", "there is no upstream \"ap\" (did you mean \"app\"?)"},
    {HTTP_6_5("maxRequestLine: 10"), 6, 21, IN ".http.maxRequestLine", "from 256B to 1MiB"},
    {HTTP_6_5("maxHeaders: 0"), 6, 17, IN ".http.maxHeaders", "from 1 to 10000"},
    {HTTP_6_5("headerTimeout: 0"), 6, 20, IN ".http.headerTimeout", "from 1ms"},
    {HTTP_6_5("pathPolicy: merge"), 6, 17, IN ".http.pathPolicy",
     "one of normalise refuse asIs, got"},
    {HTTP_6_5("via: a b"), 6, 10, IN ".http.via", "a name without spaces, got \"a b\" (or off)"},
    {HTTP_6_5("trustedProxies: [10.0.0.0/33]"), 6, 22, IN ".http.trustedProxies[0]",
     "a network such as 10.0.0.0/8"},
    {HTTP_6_5("trustedHops: -1"), 6, 18, IN ".http.trustedHops", "from 0 to 100"},

    /* routes */
    {ROUTE_6_5("upstream: b"), 6, 15, R0 ".upstream", "there is no upstream \"b\""},
    {ROUTE_6_5("{name: a b, upstream: a}"), 6, 12, R0 ".name", "1 to 63 of a-z A-Z 0-9"},
    {ROUTE_6_5("{name: r, match: {path: /x}, upstream: a}\n  - {name: r, upstream: a}"), 7, 12,
     "listeners[0].routes[1].name", "the route on line 6 has the same name"},
    {ROUTE_6_5("backends: []"), 6, 15, R0 ".backends", "expected at least 1 item"},
    {ROUTE_6_5("backends: [{upstream: a, weight: 0}]"), 6, 15, R0 ".backends", "all weights are 0"},
    {ROUTE_6_5("backends: [{upstream: a, weight: 1000001}]"), 6, 38, R0 ".backends[0].weight",
     "from 0 to 1000000"},
    {ROUTE_6_5("backends: [{weight: 1}]"), 6, 16, R0 ".backends[0]",
     "required key \"upstream\" is missing"},
    {ROUTE_6_5("backends: [{upstream: a, weight: 1}, {upstream: a, weight: 1}]"), 6, 53,
     R0 ".backends[1].upstream", "the upstream is in this list twice"},
    {FORWARD_7_5("timeout: 5"), 7, 14, R0 ".timeout", "the unit is missing"},
    {FORWARD_7_5("upgrades: [h2c]"), 7, 16, R0 ".upgrades[0]", "expected websocket, got \"h2c\""},
    {FORWARD_7_5("rewrite: {}"), 7, 14, R0 ".rewrite",
     "one of \"host\", \"path\", \"prefix\" is missing"},
    {FORWARD_7_5("rewrite: {prefix: /x}"), 7, 15, R0 ".rewrite.prefix", "needs \"pathPrefix\""},
    {FORWARD_7_5("rewrite: {path: x}"), 7, 21, R0 ".rewrite.path", "a path that begins with /"},
    {FORWARD_7_5("rewrite: {host: \"a/b\"}"), 7, 21, R0 ".rewrite.host", "a host such as"},
    {FORWARD_7_5("rewrite: {host: \"a:0\"}"), 7, 21, R0 ".rewrite.host", "a port from 1"},
    {FORWARD_7_5("rewrite: {host: \"a\\r\\nb\"}"), 7, 21, R0 ".rewrite.host",
     "got \"a\\x0d\\x0ab\""},
    {ROUTE_6_5("redirect: {}"), 6, 15, R0 ".redirect", "is missing"},
    {ROUTE_6_5("redirect: {path: /x, status: 304}"), 6, 34, R0 ".redirect.status",
     "one of 301 302 303 307 308, got \"304\""},
    {ROUTE_6_5("redirect: {scheme: ftp}"), 6, 24, R0 ".redirect.scheme", "one of http https"},
    {ROUTE_6_5("redirect: {path: \"/x?y\"}"), 6, 22, R0 ".redirect.path", "without query"},
    {ROUTE_6_5("redirect: {prefix: /x}"), 6, 16, R0 ".redirect.prefix", "needs \"pathPrefix\""},
    {ROUTE_6_5("redirect: {path: /x}\n    rewrite: {path: /y}"), 7, 5, R0 ".rewrite",
     "has no meaning with \"redirect\""},
    {ROUTE_6_5("directResponse: {status: 100}"), 6, 30, R0 ".directResponse.status",
     "from 200 to 599"},
    {ROUTE_6_5("directResponse: {status: 204, body: x}"), 6, 35, R0 ".directResponse.body",
     "an answer of status 204 has no body"},
    {ROUTE_6_5("directResponse: {contentType: html}"), 6, 35, R0 ".directResponse.contentType",
     "a media type"},
    {MATCH_8_7("path: a"), 8, 13, R0 ".match.path", "a path that begins with /"},
    {MATCH_8_7("path: /a b"), 8, 13, R0 ".match.path", "a path of URL characters"},
    {MATCH_8_7("path: /%2f"), 8, 13, R0 ".match.path", "two capital hex digits"},
    {MATCH_8_7("path: /%"), 8, 13, R0 ".match.path", "two capital hex digits"},
    {MATCH_8_7("path: /a/../b"), 8, 13, R0 ".match.path", "without . and .. segments"},
    {MATCH_8_7("pathPrefix: /a?b"), 8, 19, R0 ".match.pathPrefix", "without query"},
    {MATCH_8_7("pathRegex: \"(\""), 8, 18, R0 ".match.pathRegex", "not a regular expression"},
    {MATCH_8_7("host: \"*\""), 8, 13, R0 ".match.host", "leave the key out"},
    {MATCH_8_7("host: \"a:80\""), 8, 13, R0 ".match.host", "a host without port"},
    {MATCH_8_7("host: \"*a\""), 8, 13, R0 ".match.host", "*.example.com"},
    {MATCH_8_7("method: get"), 8, 15, R0 ".match.method", "a method in capitals, such as GET"},
    {MATCH_8_7("methods: [GET, CONNECT]"), 8, 22, R0 ".match.methods[1]", "are refused"},
    {MATCH_8_7("methods: []"), 8, 16, R0 ".match.methods", "expected at least 1 item"},
    {MATCH_8_7("headers: [{name: x}]"), 8, 17, R0 ".match.headers[0]",
     "one of \"exact\", \"prefix\", \"regex\", \"present\" is missing"},
    {MATCH_8_7("headers: [{name: x, exact: a, prefix: b}]"), 8, 37, R0 ".match.headers[0].prefix",
     "cannot be together with \"exact\""},
    {MATCH_8_7("headers: [{exact: a}]"), 8, 17, R0 ".match.headers[0]",
     "required key \"name\" is missing"},
    {MATCH_8_7("headers: [{name: \"a:\", exact: b}]"), 8, 24, R0 ".match.headers[0].name",
     "no space, no colon"},
    {MATCH_8_7("headers: [{name: a, regex: \"[\"}]"), 8, 34, R0 ".match.headers[0].regex",
     "not a regular expression"},
    {MATCH_8_7("query: [{name: a, regex: \"*\"}]"), 8, 32, R0 ".match.query[0].regex",
     "not a regular expression"},
    {MATCH_8_7("query: [{name: a, present: false}]"), 8, 34, R0 ".match.query[0].present",
     "expected true, got \"false\""},

    /* upstreams */
    {UPSTREAMS_8_1("- {name: a, endpoints: []}"), 8, 24, "upstreams[0].endpoints",
     "expected at least 1 item"},
    {UPSTREAMS_8_1("- {name: a, endpoints: [\"app:80\"]}"), 8, 25, "upstreams[0].endpoints[0]",
     "names are not resolved yet"},
    {UPSTREAMS_8_1("- {name: a, endpoints: 127.0.0.1:80}"), 8, 24, "upstreams[0].endpoints",
     "expected a list"},
    {UPSTREAMS_8_1("- {name: a, endpoints: [\"127.0.0.1:80\", \"127.0.0.1:80\"]}"), 8, 41,
     "upstreams[0].endpoints[1]", "the endpoint is there twice; the first is on line 8"},
    {UPSTREAMS_8_1("- {name: a, endpoints: [\"169.254.169.254:80\"]}"), 8, 25,
     "upstreams[0].endpoints[0]", "a link-local address"},
    {UPSTREAMS_8_1("- {name: a, endpoints: [\"[fe80::1]:80\"]}"), 8, 25,
     "upstreams[0].endpoints[0]", "a link-local address"},
    {UPSTREAM_7_3("name: x"), 7, 3, "upstreams[1].name", "the key is there twice"},
    {UPSTREAMS_8_1("- {name: a, endpoints: [\"127.0.0.1:80\"]}\n"
                   "- {name: a, endpoints: [\"127.0.0.1:81\"]}"),
     9, 10, "upstreams[1].name", "the upstream on line 8 has the same name"},
    {UPSTREAMS_8_1("- {name: a b, endpoints: [\"127.0.0.1:80\"]}\n"
                   "- {name: a, endpoints: [\"127.0.0.1:81\"]}"),
     8, 10, "upstreams[0].name", "expected 1 to 63"},
    {UPSTREAM_7_3("balance: random"), 7, 12, "upstreams[1].balance",
     "one of leastRequest roundRobin"},
    {UPSTREAM_7_3("pool: {idleTimeout: 0}"), 7, 23, "upstreams[1].pool.idleTimeout", "from 1ms"},
    {UPSTREAM_7_3("pool: {minIdle: 2000}"), 7, 19, "upstreams[1].pool.minIdle",
     "2000 is more than circuitBreaker.maxConnections 1024"},
    {UPSTREAM_7_3("circuitBreaker: {maxConnections: 0}"), 7, 36,
     "upstreams[1].circuitBreaker.maxConnections", "from 1 to"},
};

/* What is allowed and has no effect. */
static const struct mistake warnings[] = {
    {UPSTREAMS_8_1("- {name: a, endpoints: [\"127.0.0.1:80\"]}\n"
                   "- {name: b, endpoints: [\"127.0.0.1:81\"]}"),
     9, 10, "upstreams[1].name", "no route uses this upstream"},
    {ROUTE_6_5("{upstream: a}\n  - {upstream: a}"), 7, 5, "listeners[0].routes[1]",
     "never matches: the route on line 6 takes all of its requests"},
    {ROUTE_6_5("{match: {pathPrefix: /a/}, upstream: a}\n"
               "  - {match: {path: /a/b, method: GET}, upstream: a}"),
     7, 5, "listeners[0].routes[1]", "never matches"},
    {ROUTE_6_5("{match: {hosts: [\"*.b.c\", d]}, upstream: a}\n"
               "  - {match: {host: A.b.C, pathRegex: x}, upstream: a}"),
     7, 5, "listeners[0].routes[1]", "never matches"},
    {FORWARD_7_5("timeout: 2s\n    firstByteTimeout: 2s"), 8, 23, R0 ".firstByteTimeout",
     "2s has no effect: the route's timeout is 2s"},
    {ROUTE_6_5("redirect: {path: /x}\n    timeout: 1s\n    match: {path: /y}\n  - upstream: a"), 7,
     14, R0 ".timeout", "has no effect with \"redirect\""},
    {LISTENER_5_3("socketMode: \"0600\""), 5, 15, IN ".socketMode", "not a Unix socket"},
    {"version: 1\nlimits: {maxConnections: 5}\nlisteners:\n- name: in\n  address: 127.0.0.1:1\n"
     "  maxConnections: 6\n  routes: [{upstream: a}]\n" TAIL,
     6, 19, IN ".maxConnections", "6 has no effect: limits.maxConnections is 5"},
    {ADMIN_3_3("address: 0.0.0.0:1"), 3, 12, "admin.address", "not a loopback address"},
    {"version: 1\n" GOOD_LISTENERS TAIL "  connectTimeout: 16s\n", 10, 19,
     "upstreams[0].connectTimeout", "16s has no effect: the route on line 6 has a timeout of 15s"},
    {"version: 1\n" GOOD_LISTENERS TAIL "  circuitBreaker: {queueTimeout: 15s}\n", 10, 34,
     "upstreams[0].circuitBreaker.queueTimeout", "15s has no effect"},
};

#endif
