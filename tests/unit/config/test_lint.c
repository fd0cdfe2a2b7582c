/* test_lint.c - what can never take effect, and what looks like it and does. */
#include "config/lint.h"
#include "env.h"
#include "mistake.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

#include <cmocka.h>

struct warning {
    const char *rule;
    struct mistake is;
};

#define U0            "upstreams[0]"
#define UPSTREAM_9(x) "version: 1\n" GOOD_LISTENERS "upstreams:\n- name: a\n" x
#define ENDPOINT      "  endpoints: [\"127.0.0.1:9\"]\n"
#define TWO           "  endpoints: [\"127.0.0.1:9\", \"127.0.0.2:9\"]\n"
#define TWO_ROUTES(x) ROUTE_6_5("{match: {path: /t}, upstream: a, timeout: 1s}\n  - " x)
#define RETRY_7_5(x)  FORWARD_7_5("retry: {}") x
#define TCP_ONLY                                                                                   \
    "version: 1\nlisteners:\n- {name: t, address: \"127.0.0.1:1\", protocol: tcp, "                \
    "backends: [{upstream: a}]}\n"

static const struct warning warnings[] = {
    {"exposed-admin",
     {ADMIN_3_3("address: 0.0.0.0:1"), 3, 12, "admin.address", "not a loopback address"}},
    {"admin-off",
     {ADMIN_3_3("address: off\n  tokenFile: /t"), 4, 14, "admin.tokenFile",
      "has no effect: admin.address is off"}},
    {"admin-off",
     {ADMIN_3_3("address: off\n  allowedHosts: [a]"), 4, 17, "admin.allowedHosts", "is off"}},
    {"leak-watch",
     {ROOT_2_1("app: {leakWatch: {enabled: false, threshold: 300}}"), 2, 46,
      "app.leakWatch.threshold", "has no effect: \"enabled\" is false"}},
    {"unreachable-route",
     {ROUTE_6_5("{upstream: a}\n  - {upstream: a}"), 7, 5, "listeners[0].routes[1]",
      "never matches: the route on line 6 takes all of its requests"}},
    {"unreachable-route",
     {ROUTE_6_5("{match: {pathPrefix: /a/}, upstream: a}\n"
                "  - {match: {path: /a/b, method: GET}, upstream: a}"),
      7, 5, "listeners[0].routes[1]", "never matches"}},
    {"unreachable-route",
     {ROUTE_6_5("{match: {hosts: [\"*.b.c\", d]}, upstream: a}\n"
                "  - {match: {host: A.b.C, pathRegex: x}, upstream: a}"),
      7, 5, "listeners[0].routes[1]", "never matches"}},
    {"unreachable-route",
     {ROUTE_6_5("{match: {path: /a, headers: [{name: x, exact: y}]}, upstream: a}\n"
                "  - {match: {path: /a, headers: [{name: X, exact: y}]}, upstream: a}"),
      7, 5, "listeners[0].routes[1]", "never matches"}},
    {"unreachable-route",
     {ROUTE_6_5("{match: {host: b}, upstream: a}\n  - {match: {host: c}, upstream: a}\n"
                "  - {match: {hosts: [b, c]}, upstream: a}"),
      8, 5, "listeners[0].routes[2]",
      "never matches: the route on line 7 and others before it take all of its requests"}},
    {"answering-route",
     {ROUTE_6_5("redirect: {path: /x}\n    timeout: 1s\n    match: {path: /y}\n  - upstream: a"), 7,
      14, R0 ".timeout", "has no effect with \"redirect\""}},
    {"answering-route",
     {ROUTE_6_5("directResponse: {}\n    upgrades: []\n    match: {path: /y}\n  - upstream: a"), 7,
      15, R0 ".upgrades", "has no effect with \"directResponse\""}},
    {"first-byte-timeout",
     {FORWARD_7_5("timeout: 2s\n    firstByteTimeout: 2s"), 8, 23, R0 ".firstByteTimeout",
      "2s has no effect: the route's timeout is 2s"}},
    {"first-byte-timeout",
     {FORWARD_7_5("firstByteTimeout: 16s"), 7, 23, R0 ".firstByteTimeout", "timeout is 15s"}},
    {"first-byte-timeout",
     {FORWARD_7_5("timeout: 0\n    timeoutDryRun: true"), 8, 20, R0 ".timeoutDryRun",
      "has no effect: the route has no timeout"}},
    {"lone-weight",
     {ROUTE_6_5("backends: [{upstream: a, weight: 5}]"), 6, 38, R0 ".backends[0].weight",
      "there is one backend"}},
    {"lone-weight",
     {TCP_6_3("backends: [{upstream: a, weight: 1}]"), 6, 36, IN ".backends[0].weight",
      "there is one backend"}},
    {"upgrade-method",
     {FORWARD_7_5("match: {methods: [POST, PUT]}\n    upgrades: [websocket]"), 8, 15,
      R0 ".upgrades", "an upgrade is a GET"}},
    {"websocket",
     {FORWARD_7_5("upgrades: []\n    websocket: {pingInterval: 1s}"), 8, 16, R0 ".websocket",
      "\"upgrades\" of the route has no websocket"}},
    {"learn",
     {FORWARD_7_5("learn: [{name: d, acquire: {path: /a}, hold: {path: /b}}]"), 7, 12, R0 ".learn",
      "the listener is not outbound"}},
    {"retry",
     {FORWARD_7_5("match: {method: POST}\n    retry: {on: [gateway-error]}"), 8, 12, R0 ".retry",
      "no method of the route may be repeated"}},
    {"retry",
     {FORWARD_7_5("match: {method: POST}\n    retry: {}"), 8, 12, R0 ".retry",
      "only what was not sent is retried"}},
    {"retry",
     {FORWARD_7_5("match: {method: POST}\n    retry: {on: [connect-failure, gateway-error]}"), 8,
      17, R0 ".retry.on", "only what was not sent is retried"}},
    {"retry",
     {FORWARD_7_5("match: {method: POST}\n    retry: {on: [5xx]}"), 8, 17, R0 ".retry.on",
      "only what was not sent is retried"}},
    {"retry",
     {RETRY_7_5("  retryBudget: {percent: 0, minPerSecond: 0}\n"), 7, 12, R0 ".retry",
      "no upstream of the route lets a retry through"}},
    {"retry",
     {RETRY_7_5("  circuitBreaker: {maxRetries: 0}\n"), 7, 12, R0 ".retry",
      "no upstream of the route lets a retry through"}},
    {"retry",
     {FORWARD_7_5("match: {method: POST}\n    retry: {methods: [GET]}"), 8, 22, R0 ".retry.methods",
      "the route matches none of these methods"}},
    {"retry",
     {FORWARD_7_5("timeout: 1s\n    retry: {perTryTimeout: 1s}"), 8, 28, R0 ".retry.perTryTimeout",
      "1s has no effect: the route's timeout is 1s"}},
    {"retry-budget",
     {UPSTREAM_9(ENDPOINT "  retryBudget: {percent: 5}\n"), 10, 16, "upstreams[0].retryBudget",
      "no route to this upstream has \"retry\""}},
    {"retry-budget",
     {UPSTREAM_9(ENDPOINT "  circuitBreaker: {maxRetries: 5}\n"), 10, 32,
      "upstreams[0].circuitBreaker.maxRetries", "no route to this upstream has \"retry\""}},
    {"deadline",
     {FORWARD_7_5("timeout: 0\n    passDeadline: true"), 8, 19, R0 ".passDeadline",
      "the route has no timeout"}},
    {"deadline",
     {FORWARD_7_5("timeoutDryRun: true\n    passDeadline: true"), 8, 19, R0 ".passDeadline",
      "the route has no timeout that holds"}},
    {"jwt",
     {ROOT_2_1("jwt: [{name: i, issuer: u, audiences: [b], jwks: {file: f}}]"), 2, 14,
      "jwt[0].name", "no route uses this issuer"}},
    {"jwt",
     {"version: 1\njwt: [{name: i, issuer: u, audiences: [b], jwks: {url: \"http://a\"}}]\n"
      "listeners:\n- name: in\n  address: 127.0.0.1:1\n"
      "  routes: [{upstream: a, authz: {jwt: [i]}}]\n" TAIL,
      2, 56, "jwt[0].jwks.url", "use https"}},
    {"jwt",
     {"version: 1\njwt: [{name: i, issuer: u, audiences: [b], jwks: {url: \"http://[::1]:80/\", "
      "caFile: c}}]\nlisteners:\n- name: in\n  address: 127.0.0.1:1\n"
      "  routes: [{upstream: a, authz: {jwt: [i]}}]\n" TAIL,
      2, 84, "jwt[0].jwks.caFile", "has no effect: the url is not https"}},
    {"jwt",
     {"version: 1\njwt: [{name: i, issuer: u, jwks: {file: f}}]\nlisteners:\n- name: in\n"
      "  address: 127.0.0.1:1\n  routes: [{upstream: a, authz: {jwt: [i]}}]\n" TAIL,
      2, 25, "jwt[0].issuer", "made for another service"}},
    {"authz-rules",
     {FORWARD_7_5("authz: {rules: [{action: allow}, {action: deny}]}"), 7, 38, R0 ".authz.rules[1]",
      "is never reached: the rule on line 7"}},
    {"authz-rules",
     {"version: 1\nlisteners:\n- name: in\n  address: 127.0.0.1:1\n  protocol: auto\n"
      "  backends: [{upstream: a}]\n"
      "  routes: [{upstream: a, authz: {rules: [{action: deny, methods: [GET]}]}}]\n" TAIL,
      6, 13, "listeners[0].backends", "passes the \"authz\" of the route on line 7"}},
    {"same-prefix",
     {FORWARD_7_5("match: {pathPrefix: /v1}\n    rewrite: {prefix: /v1}"), 8, 23,
      R0 ".rewrite.prefix", "it is what pathPrefix matched"}},
    {"socket-mode", {LISTENER_5_3("socketMode: \"0600\""), 5, 15, IN ".socketMode", "not a Unix"}},
    {"listener-connections",
     {"version: 1\nlimits: {maxConnections: 5}\nlisteners:\n- name: in\n  address: 127.0.0.1:1\n"
      "  maxConnections: 6\n  routes: [{upstream: a}]\n" TAIL,
      6, 19, IN ".maxConnections", "6 has no effect: limits.maxConnections is 5"}},
    {"trusted-proxies",
     {HTTP_6_5("{trustedHops: 1, trustedProxies: [10.0.0.0/8]}"), 6, 38, IN ".http.trustedProxies",
      "trustedHops on line 6 believes every peer"}},
    {"unused-upstream",
     {UPSTREAMS_8_1("- {name: a, endpoints: [\"127.0.0.1:80\"]}\n"
                    "- {name: b, endpoints: [\"127.0.0.1:81\"], pool: {minIdle: 3}}"),
      9, 10, "upstreams[1].name", "no route uses this upstream"}},
    {"upstream-timeout",
     {UPSTREAM_9(ENDPOINT "  connectTimeout: 16s\n"), 10, 19, U0 ".connectTimeout",
      "16s is never waited for: of the routes to this upstream, the one on line 6"}},
    {"upstream-timeout",
     {UPSTREAM_9(ENDPOINT "  circuitBreaker: {queueTimeout: 15s}\n"), 10, 34,
      U0 ".circuitBreaker.queueTimeout", "15s is never waited for"}},
    {"queue-timeout",
     {UPSTREAM_9(ENDPOINT "  circuitBreaker: {maxPendingRequests: 0, queueTimeout: 2s}\n"), 10, 57,
      U0 ".circuitBreaker.queueTimeout", "maxPendingRequests is 0"}},
    {"queue-timeout",
     {UPSTREAM_9(ENDPOINT "  circuitBreaker: {limitsDryRun: true, queueTimeout: 2s}\n"), 10, 54,
      U0 ".circuitBreaker.queueTimeout", "with limitsDryRun nobody waits"}},
    {"queue-timeout",
     {UPSTREAM_9(ENDPOINT "  circuitBreaker: {limitsDryRun: true, maxPendingRequests: 2}\n"), 10,
      60, U0 ".circuitBreaker.maxPendingRequests", "with limitsDryRun nobody waits"}},
    {"health-check",
     {UPSTREAM_9(ENDPOINT "  healthCheck: {tcp: {}, interval: 1s, unhealthyInterval: 2s}\n"), 10,
      59, U0 ".healthCheck.unhealthyInterval",
      "2s has no effect: it is never more than interval, 1s"}},
    {"upstream-timeout",
     {UPSTREAM_9(ENDPOINT "  circuitBreaker: {slowCallDuration: 15s}\n"), 10, 38,
      U0 ".circuitBreaker.slowCallDuration", "15s is never waited for"}},
    {"upstream-timeout",
     {UPSTREAM_9(ENDPOINT "  circuitBreaker: {halfOpenTimeout: 15s}\n"), 10, 37,
      U0 ".circuitBreaker.halfOpenTimeout", "15s is never waited for"}},
    {"breaker",
     {UPSTREAM_9(ENDPOINT "  circuitBreaker: {consecutiveErrors: 0, errorRate: 0}\n"), 10, 19,
      U0 ".circuitBreaker", "it never opens"}},
    {"breaker",
     {UPSTREAM_9(ENDPOINT "  circuitBreaker: {window: 5s, errorRate: 0}\n"), 10, 28,
      U0 ".circuitBreaker.window", "has no effect: errorRate and slowCallDuration are 0"}},
    {"concurrency",
     {TCP_ONLY TAIL "  concurrency: {}\n", 7, 16, U0 ".concurrency", "only tcp listeners"}},
    {"concurrency",
     {UPSTREAM_9(ENDPOINT "  concurrency: {maxLimit: 2000}\n"), 10, 27, U0 ".concurrency.maxLimit",
      "maxLimit 2000 is never reached: circuitBreaker.maxRequests is 1024"}},
    {"concurrency",
     {UPSTREAM_9(ENDPOINT "  circuitBreaker: {maxRequests: 999}\n  concurrency: {}\n"), 10, 33,
      U0 ".circuitBreaker.maxRequests", "maxLimit 1000 is never reached"}},
    {"concurrency",
     {UPSTREAM_9(ENDPOINT "  concurrency: {minLimit: 9, maxLimit: 9}\n"), 10, 16, U0 ".concurrency",
      "the limit never changes"}},
    {"tcp-requests",
     {TCP_ONLY TAIL "  circuitBreaker: {slowCallDuration: 1s}\n", 7, 38,
      U0 ".circuitBreaker.slowCallDuration", "only tcp listeners"}},
    {"tcp-requests",
     {TCP_ONLY "upstreams:\n- name: a\n  endpoints: [\"127.0.0.1:7\", \"127.0.0.1:8\", "
               "\"127.0.0.1:9\"]\n  outlierDetection: {latency: {}}\n",
      7, 31, U0 ".outlierDetection.latency", "only tcp listeners"}},
    {"endpoint-limits",
     {UPSTREAM_9(ENDPOINT "  circuitBreaker: {maxRequestsPerEndpoint: 1025}\n"), 10, 44,
      U0 ".circuitBreaker.maxRequestsPerEndpoint", "1025 is never reached: maxRequests is 1024"}},
    {"endpoint-limits",
     {UPSTREAM_9(ENDPOINT "  circuitBreaker: {maxConnections: 3, maxConnectionsPerEndpoint: 4}\n"),
      10, 66, U0 ".circuitBreaker.maxConnectionsPerEndpoint", "4 is never reached"}},
    {"pool-lifetime",
     {UPSTREAM_9(ENDPOINT "  pool: {idleTimeout: 5s, maxLifetime: 2s}\n"), 10, 23,
      U0 ".pool.idleTimeout", "5s is longer than maxLifetime 2s"}},
    {"min-idle",
     {"workers: 4\n" UPSTREAM_9(ENDPOINT "  pool: {minIdle: 300}\n"), 11, 19, U0 ".pool.minIdle",
      "300 in each of 4 workers is more than circuitBreaker.maxConnections 1024"}},
    {"tcp-requests",
     {TCP_ONLY TAIL "  pool: {maxRequestsPerConnection: 9}\n", 7, 36,
      U0 ".pool.maxRequestsPerConnection", "only tcp listeners"}},
    {"upstream-http2",
     {UPSTREAM_9(ENDPOINT "  http2: {pingInterval: 1s}\n"), 10, 10, U0 ".http2",
      "has no effect: protocol is http1"}},
    {"upstream-http2",
     {TCP_ONLY "upstreams:\n- {name: a, endpoints: [\"127.0.0.1:9\"], protocol: http2}\n", 5, 51,
      U0 ".protocol", "only tcp listeners use this upstream"}},
    {"upstream-http2",
     {TCP_ONLY "upstreams:\n- {name: a, endpoints: [\"127.0.0.1:9\"], http2: {}}\n", 5, 48,
      U0 ".http2", "only tcp listeners use this upstream"}},
    {"client-ca",
     {LISTENER_5_3("tls: {certificates: [{certFile: c, keyFile: k}], caFile: f}"), 5, 60,
      IN ".tls.caFile", "has no effect: clientAuth is none"}},
    {"fault",
     {FORWARD_7_5("fault: {delay: {duration: 1s, percent: 0}}"), 7, 20, R0 ".fault.delay",
      "has no effect: it is 0 percent"}},
    {"fault",
     {FORWARD_7_5("fault: {abort: {percent: 0.0}}"), 7, 20, R0 ".fault.abort",
      "has no effect: it is 0 percent"}},
    {"fault",
     {FORWARD_7_5("fault: {maxActive: 3, abort: {percent: 1}}"), 7, 24, R0 ".fault.maxActive",
      "has no effect without \"delay\""}},
    {"fault",
     {FORWARD_7_5("fault: {delay: {duration: 15s, percent: 1}}"), 7, 31, R0 ".fault.delay.duration",
      "15s ends in a timeout: the route's timeout is 15s"}},
    {"answering-route",
     {ROUTE_6_5("directResponse: {}\n    fault: {abort: {percent: 1}}\n    match: {path: /y}\n"
                "  - upstream: a"),
      7, 12, R0 ".fault", "has no effect with \"directResponse\""}},
    {"redact",
     {ROOT_2_1("accessLog: {redact: {parameters: [], saltFile: /s}}"), 2, 48,
      "accessLog.redact.saltFile", "has no effect: nothing is redacted"}},
    {"rate-limits",
     {FORWARD_7_5("rateLimits: [{name: a, requests: 1, burst: 2, algorithm: fixedWindow}]"), 7, 48,
      R0 ".rateLimits[0].burst", "\"algorithm\" is not tokenBucket"}},
    {"rate-limits",
     {FORWARD_7_5("rateLimits: [{name: a, requests: 1, maxKeys: 100}]"), 7, 50,
      R0 ".rateLimits[0].maxKeys", "there is no \"key\""}},
    {"rate-limits",
     {FORWARD_7_5("rateLimits: [{name: a, requests: 1, key: {header: b}, ipv6Prefix: 48}]"), 7, 71,
      R0 ".rateLimits[0].ipv6Prefix", "\"key\" is not clientAddress"}},
    {"rate-limits",
     {FORWARD_7_5("rateLimits: [{name: a, requests: 1, key: {claim: sub}}]"), 7, 54,
      R0 ".rateLimits[0].key.claim", "verifies no token"}},
    {"overload",
     {ROOT_2_1("overload: {loopLag: {noKeepAlive: 0}}"), 2, 21, "overload.loopLag",
      "has no effect: all thresholds are 0"}},
    {"header-rules",
     {FORWARD_7_5("requestHeaderModifier: {}"), 7, 28, R0 ".requestHeaderModifier",
      "has no effect: it names no field"}},
    {"header-rules",
     {LISTENER_5_3("responseHeaderModifier: {remove: [X-b, X-A], set: [{name: x-a, value: b}]}"), 5,
      42, IN ".responseHeaderModifier.remove[1]", "has no effect: \"set\" replaces the field"}},
    {"header-rules",
     {FORWARD_7_5("requestHeaderModifier: {set: [{name: x-a, value: b}],"
                  " setIfAbsent: [{name: X-A, value: c}]}"),
      7, 73, R0 ".requestHeaderModifier.setIfAbsent[0]", "has no effect: \"set\" writes"}},
    {"answering-route",
     {ROUTE_6_5("redirect: {path: /x}\n    requestHeaderModifier: {remove: [a]}\n    match: {path: "
                "/y}\n  - upstream: a"),
      7, 28, R0 ".requestHeaderModifier", "has no effect with \"redirect\""}},
    {"insecure-upstream",
     {UPSTREAM_9(ENDPOINT "  tls: {insecureSkipVerify: true}\n"), 10, 29,
      U0 ".tls.insecureSkipVerify", "nothing is verified"}},
    {"tls-in-tls",
     {"version: 1\nlisteners:\n- {name: t, address: \"127.0.0.1:1\", protocol: tls, "
      "routes: [{upstream: a}]}\n" TAIL "  tls: {}\n",
      7, 8, U0 ".tls", "only tls listeners use this upstream"}},
    {"upstream-alpn",
     {UPSTREAM_9(ENDPOINT "  protocol: auto\n"), 10, 13, U0 ".protocol",
      "without \"tls\" there is no ALPN"}},
    {"lone-endpoint",
     {UPSTREAM_9(ENDPOINT "  balance: roundRobin\n"), 10, 12, U0 ".balance", "one endpoint"}},
    {"lone-endpoint",
     {UPSTREAM_9(ENDPOINT "  slowStart: {}\n"), 10, 14, U0 ".slowStart", "one endpoint"}},
    {"lone-endpoint",
     {UPSTREAM_9(ENDPOINT "  panicThreshold: 10\n"), 10, 19, U0 ".panicThreshold", "one endpoint"}},
    {"outlier",
     {UPSTREAM_9(ENDPOINT "  outlierDetection: {}\n"), 10, 21, U0 ".outlierDetection",
      "the last is never ejected"}},
    {"outlier",
     {UPSTREAM_9(TWO "  outlierDetection: {maxEjectionPercent: 49}\n"), 10, 21,
      U0 ".outlierDetection", "one of 2 endpoints is more than maxEjectionPercent 49"}},
    {"outlier",
     {UPSTREAM_9(TWO "  outlierDetection: {latency: {}}\n"), 10, 31, U0 ".outlierDetection.latency",
      "there are 2 endpoints, fewer than minimumEndpoints 3"}},
    {"outlier",
     {UPSTREAM_9("  endpoints: [\"a.example:9\"]\n  outlierDetection: {consecutive5xx: 0, "
                 "consecutiveGatewayErrors: 0, consecutiveLocalErrors: 0, "
                 "successRate: {stdevFactor: 0}, latency: {factorPercent: 0}}\n"),
      10, 21, U0 ".outlierDetection", "nothing is looked at"}},
    {"outlier",
     {UPSTREAM_9(TWO "  outlierDetection: {consecutive5xx: 0, consecutiveGatewayErrors: 0, "
                     "consecutiveLocalErrors: 0}\n"),
      10, 21, U0 ".outlierDetection",
      "there are 2 endpoints, too few to compare, and nothing else is looked at"}},
    {"outlier",
     {UPSTREAM_9(TWO "  outlierDetection: {consecutiveGatewayErrors: 10}\n"), 10, 48,
      U0 ".outlierDetection.consecutiveGatewayErrors",
      "10 in a row are never reached: \"consecutive5xx\" is 5, and counts them too"}},
    {"outlier",
     {UPSTREAM_9(TWO "  outlierDetection: {consecutiveLocalErrors: 6, consecutive5xx: 9}\n"), 10,
      46, U0 ".outlierDetection.consecutiveLocalErrors",
      "6 in a row are never reached: \"consecutiveGatewayErrors\" is 5"}},
    {"failover",
     {UPSTREAM_9("  endpoints: [{address: \"127.0.0.1:9\", priority: 2}]\n"), 9, 50,
      U0 ".endpoints[0].priority", "has no effect: all endpoints have priority 2"}},
    {"failover",
     {UPSTREAM_9(
          "  endpoints: [{address: \"127.0.0.1:9\"}, {address: \"127.0.0.1:8\", priority: 2}]"
          "\n"),
      9, 76, U0 ".endpoints[1].priority", "no endpoint has priority 1"}},
    {"failover",
     {UPSTREAM_9(TWO "  failover: {overprovisioningPercent: 200}\n"), 10, 39,
      U0 ".failover.overprovisioningPercent", "has no effect: all endpoints have priority 0"}},
    {"failover",
     {UPSTREAM_9(TWO "  failover: {dryRun: true}\n"), 10, 22, U0 ".failover.dryRun",
      "neither priorities nor zones decide anything"}},
    {"lone-endpoint",
     {UPSTREAM_9(ENDPOINT "  unreachableDryRun: true\n"), 10, 22, U0 ".unreachableDryRun",
      "there is one endpoint"}},
    {"upstream-timeout",
     {UPSTREAM_9(TWO "  unreachableAfter: 0\n  unreachableDryRun: true\n"), 11, 22,
      U0 ".unreachableDryRun", "unreachableAfter is 0"}},
    {"failover",
     {UPSTREAM_9(TWO "  failover: {preferOwnZone: true}\n"), 10, 29, U0 ".failover.preferOwnZone",
      "no endpoint has a zone"}},
    {"failover",
     {UPSTREAM_9("  endpoints: [{address: \"127.0.0.1:9\", zone: a}, \"127.0.0.1:8\"]\n"), 9, 46,
      U0 ".endpoints[0].zone", "our own zone is not given"}},
    {"failover",
     {ROOT_2_1("locality: {zone: a}"), 2, 18, "locality.zone", "no endpoint has this zone"}},
    {"link-local",
     {ROOT_2_1("allowLinkLocal: true"), 2, 17, "allowLinkLocal", "no endpoint is link-local"}},
};

/* Near to a warning, and none: each of them does something. */
static const char *const effective[] = {
    GOOD,
    ADMIN_3_3("address: 127.0.0.9:1\n  tokenFile: /t"),
    ADMIN_3_3("address: \"[::1]:1\""),
    ADMIN_3_3("address: off"),
    ROOT_2_1("reload: {watch: false, debounce: 1s}"),
    ROUTE_6_5("{match: {path: /a}, upstream: a}\n  - {match: {pathPrefix: /a}, upstream: a}"),
    ROUTE_6_5("{match: {pathPrefix: /a}, upstream: a}\n  - {match: {path: /ab}, upstream: a}"),
    ROUTE_6_5("{match: {path: /a, method: GET}, upstream: a}\n"
              "  - {match: {path: /a}, upstream: a}"),
    ROUTE_6_5("{match: {path: /a, headers: [{name: x, present: true}]}, upstream: a}\n"
              "  - {match: {path: /a}, upstream: a}"),
    ROUTE_6_5("{match: {host: \"*.b.c\"}, upstream: a}\n  - {match: {host: b.c}, upstream: a}"),
    FORWARD_7_5("timeout: 0\n    firstByteTimeout: 1h"),
    FORWARD_7_5("timeout: 2s\n    firstByteTimeout: 1999ms"),
    FORWARD_7_5("match: {methods: [POST, GET]}\n    upgrades: [websocket]"),
    FORWARD_7_5("match: {method: POST}\n    upgrades: []"),
    FORWARD_7_5("upgrades: [websocket]\n    websocket: {pingInterval: 1s}"),
    FORWARD_7_5("websocket: {maxFrameSize: 1MiB}"),
    FORWARD_7_5("match: {method: POST}\n    retry: {on: [connect-failure, refused-stream]}"),
    FORWARD_7_5("match: {method: POST}\n    retry: {methods: [POST]}"),
    RETRY_7_5("  retryBudget: {percent: 0}\n"),
    RETRY_7_5("  retryBudget: {minPerSecond: 0}\n"),
    UPSTREAM_9(ENDPOINT "  circuitBreaker: {maxPendingRequests: 1, queueTimeout: 2s}\n"),
    UPSTREAM_9(ENDPOINT "  healthCheck: {tcp: {}, interval: 500ms}\n"),
    FORWARD_7_5("match: {methods: [POST, GET]}\n    retry: {on: [gateway-error]}"),
    FORWARD_7_5("timeout: 0\n    retry: {perTryTimeout: 1h}"),
    FORWARD_7_5("timeout: 0\n    passDeadline: false"),
    FORWARD_7_5("timeout: 0\n    passDeadline: true\n    retry: {perTryTimeout: 1s}"),
    FORWARD_7_5("timeoutDryRun: true\n    passDeadline: true\n    retry: {perTryTimeout: 1s}"),
    FORWARD_7_5("match: {pathPrefix: /v1}\n    rewrite: {prefix: /}"),
    FORWARD_7_5("requestHeaderModifier: {remove: [X-*], set: [{name: X-A, value: \"{path}\"}]}"),
    ROUTE_6_5("{redirect: {path: /x}, responseHeaderModifier: {remove: [a]}, match: {path: /y}}\n"
              "  - upstream: a"),
    HTTP_6_5("{trustedHops: 0, trustedProxies: [10.0.0.0/8]}"),
    HTTP_6_5("{trustedHops: 1, trustedProxies: []}"),
    "version: 1\nlisteners:\n- name: in\n  address: 127.0.0.1:1\n  protocol: auto\n"
    "  backends: [{upstream: a}]\n  routes: [{upstream: a}]\n" TAIL,
    "version: 1\nlisteners:\n- name: in\n  address: 127.0.0.1:1\n  protocol: auto\n"
    "  backends: [{upstream: a}]\n  routes: [{upstream: b, authz: {rules: [{action: "
    "deny}]}}]\n" TAIL "- {name: b, endpoints: [\"127.0.0.1:9\"]}\n",
    /* another route, or a tcp listener, waits for longer */
    TWO_ROUTES("upstream: a") "  connectTimeout: 14s\n",
    TWO_ROUTES("upstream: a") "  unreachableAfter: 0\n",
    TWO_ROUTES("{upstream: a, timeout: 0}") "  connectTimeout: 1h\n",
    TCP_ONLY TAIL "  connectTimeout: 1h\n",
    /* nor does what is only counted end anything before */
    FORWARD_7_5("timeoutDryRun: true") "  connectTimeout: 1h\n",
    FORWARD_7_5("timeoutDryRun: true\n    retry: {perTryTimeout: 1h}"),
    FORWARD_7_5("timeoutDryRun: true\n    fault: {delay: {duration: 15s, percent: 1}}"),
    UPSTREAM_9(ENDPOINT "  circuitBreaker: {maxRequests: 9, limitsDryRun: true}\n"
                        "  concurrency: {initialLimit: 100}\n"),
    UPSTREAM_9(ENDPOINT "  protocol: auto\n  tls: {}\n  http2: {pingInterval: 1s}\n"),
    UPSTREAM_9(ENDPOINT "  pool: {idleTimeout: 2s, maxLifetime: 2s}\n"),
    UPSTREAM_9(ENDPOINT "  pool: {idleTimeout: 2h, maxLifetime: 0}\n"),
    "workers: 4\n" UPSTREAM_9(ENDPOINT "  pool: {minIdle: 256}\n"),
    "workers: 0\n" UPSTREAM_9(ENDPOINT "  pool: {minIdle: 1024}\n"),
    UPSTREAM_9(ENDPOINT "  pool: {maxRequestsPerConnection: 9}\n"),
    UPSTREAM_9("  balance: roundRobin\n  endpoints: [\"app.example:80\"]\n"),
    UPSTREAM_9("  outlierDetection: {}\n  slowStart: {}\n  panicThreshold: 9\n"
               "  endpoints: [\"app.example:80\"]\n"),
    UPSTREAM_9(TWO "  outlierDetection: {}\n  slowStart: {}\n  panicThreshold: 0\n"),
    UPSTREAM_9(TWO "  outlierDetection: {latency: {minimumEndpoints: 2}}\n"),
    UPSTREAM_9(TWO "  outlierDetection: {latency: {minimumEndpoints: 2}, consecutive5xx: 0, "
                   "consecutiveGatewayErrors: 0, consecutiveLocalErrors: 0}\n"),
    UPSTREAM_9(TWO "  outlierDetection: {consecutive5xx: 0, consecutiveGatewayErrors: 9, "
                   "consecutiveLocalErrors: 9}\n"),
    UPSTREAM_9(TWO "  outlierDetection: {consecutive5xx: 9, consecutiveGatewayErrors: 4, "
                   "consecutiveLocalErrors: 4}\n"),
    UPSTREAM_9("  endpoints: [\"127.0.0.1:9\", {address: \"127.0.0.1:8\", priority: 1}]\n"
               "  failover: {overprovisioningPercent: 200}\n"),
    "locality: {zone: a}\n" UPSTREAM_9(
        "  endpoints: [\"127.0.0.1:9\", {address: \"127.0.0.1:8\", zone: a}]\n"
        "  failover: {preferOwnZone: true}\n"),
    "locality: {zone: off}\n" UPSTREAM_9(
        "  endpoints: [\"127.0.0.1:9\", {address: \"127.0.0.1:8\", zone: a}]\n"),
    UPSTREAM_9(ENDPOINT "  concurrency: {initialLimit: 1000}\n"),
    ROOT_2_1("allowLinkLocal: false"),
    "allowLinkLocal: true\n" UPSTREAM_9("  endpoints: [\"app.example:80\"]\n"),
};

static bool told(const struct config_problems *p, const struct mistake *m)
{
    const struct config_problem *it = p->items;
    return p->n == 1 && it->warning && it->line == m->line && it->column == m->column &&
           strcmp(it->path, m->path) == 0 && strstr(it->message, m->message);
}

static struct conf *build(const char *text, struct config_problems *p)
{
    *p = (struct config_problems){0};
    return config_build_env("lint", text, strlen(text), &test_env, p);
}

static void test_warnings(void **state)
{
    (void)state;
    unsigned wrong = 0;
    for (size_t i = 0; i < ARRAY_LEN(warnings); i++) {
        const struct mistake *m = &warnings[i].is;
        struct config_problems p;
        struct conf *c = build(m->text, &p);
        if (!c || !told(&p, m)) {
            (void)fprintf(stderr, "--- %s: expected %u:%u %s: %s\n%s---\n", warnings[i].rule,
                          m->line, m->column, m->path, m->message, m->text);
            config_problems_print(&p, "got", 2);
            wrong++;
        }
        (void)config_free(c);
        config_problems_free(&p);
    }
    assert_int_equal(wrong, 0);
}

static void test_effective(void **state)
{
    (void)state;
    unsigned wrong = 0;
    for (size_t i = 0; i < ARRAY_LEN(effective); i++) {
        struct config_problems p;
        struct conf *c = build(effective[i], &p);
        if (!c || p.n > 0) {
            (void)fprintf(stderr, "--- expected nothing\n%s---\n", effective[i]);
            config_problems_print(&p, "got", 2);
            wrong++;
        }
        (void)config_free(c);
        config_problems_free(&p);
    }
    assert_int_equal(wrong, 0);
}

/* A rule without a test is none. */
static void test_every_rule(void **state)
{
    (void)state;
    for (uint32_t i = 0; i < lint_rules_n; i++) {
        size_t k = 0;
        while (k < ARRAY_LEN(warnings) && strcmp(warnings[k].rule, lint_rules[i].name) != 0)
            k++;
        if (k == ARRAY_LEN(warnings))
            fail_msg("%s", lint_rules[i].name);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_warnings),
        cmocka_unit_test(test_effective),
        cmocka_unit_test(test_every_rule),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
