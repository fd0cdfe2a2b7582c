/* schema.c - every key of the configuration, in one table. */
#include "config/schema_rows.h"

#include "base/check.h"
#include "config/draft.h"
#include "config/snapshot.h"

/* ---- routes ---- */

static const struct schema_key host_pattern = {
    .type = SCHEMA_STRING, .width = sizeof(struct str), .format = FORMAT_HOST_PATTERN};
static const struct schema_key method = {
    .type = SCHEMA_STRING, .width = sizeof(struct str), .format = FORMAT_METHOD};

#define CONDITION(member) MEMBER(struct draft_condition, member)
#define CONDITION_KEYS(name_format)                                                                \
    {"name",         "of the header or query parameter", SCHEMA_STRING, name_format, KEY_REQUIRED, \
     CONDITION(name)},                                                                             \
        {"exact", "its whole value", SCHEMA_STRING, FORMAT_VALUE, CONDITION(exact)},               \
        {"prefix", "the beginning of its value", SCHEMA_STRING, FORMAT_LINE, CONDITION(prefix)},   \
        {"regex", "a regular expression (PCRE2) that is found in its value", SCHEMA_STRING,        \
         FORMAT_LINE, CONDITION(regex)},                                                           \
        {"present",          "true: it is there, whatever its value",                              \
         SCHEMA_BOOL,        .flags = KEY_ONLY_TRUE,                                               \
         CONDITION(present), .flag_at = AT(struct draft_condition, has_present)},                  \
    {                                                                                              \
        "invert", "holds where the condition does not", SCHEMA_BOOL, CONDITION(invert),            \
            .preset = "false"                                                                      \
    }

static const struct schema_key header_keys[] = {CONDITION_KEYS(FORMAT_TOKEN)};
static const struct schema_key query_keys[] = {CONDITION_KEYS(FORMAT_LINE)};

static const struct schema_choice condition_choices[] = {
    {CHOICE_EXACTLY_ONE, {"exact", "prefix", "regex", "present"}},
};
static const struct schema_map header_map = {MAP(header_keys), CHOICES(condition_choices),
                                             .size = sizeof(struct draft_condition), .draft = true};
static const struct schema_map query_map = {MAP(query_keys), CHOICES(condition_choices),
                                            .size = sizeof(struct draft_condition), .draft = true};
const struct schema_key schema_header_condition = {.type = SCHEMA_MAP, .map = &header_map};
static const struct schema_key query_item = {.type = SCHEMA_MAP, .map = &query_map};

#define MATCH(member) MEMBER(struct draft_match, member)
static const struct schema_key match_keys[] = {
    {"host", "Host of the request, without port; *.example.com takes any label in front",
     SCHEMA_STRING, FORMAT_HOST_PATTERN, MATCH(host)},
    {"hosts", "any one of these hosts", SCHEMA_LIST, ITEMS(struct draft_match, hosts, n_hosts),
     .of = &host_pattern, .min = 1},
    {"sni", "of a tls listener: the server that the client asks for is any one of these",
     SCHEMA_LIST, ITEMS(struct draft_match, sni, n_sni), .of = &host_pattern, .min = 1},
    {"path", "the whole path", SCHEMA_STRING, FORMAT_PATH, MATCH(path)},
    {"pathPrefix", "the first segments of the path: /a takes /a and /a/b, not /ab", SCHEMA_STRING,
     FORMAT_PATH, MATCH(path_prefix)},
    {"pathRegex", "a regular expression (PCRE2) for the path", SCHEMA_STRING, FORMAT_LINE,
     MATCH(path_regex)},
    {"method", "the request's method", SCHEMA_STRING, FORMAT_METHOD, MATCH(method)},
    {"methods", "any one of these methods", SCHEMA_LIST,
     ITEMS(struct draft_match, methods, n_methods), .of = &method, .min = 1},
    {"headers", "conditions on headers; all of them hold", SCHEMA_LIST,
     ITEMS(struct draft_match, headers, n_headers), .of = &schema_header_condition},
    {"query", "conditions on query parameters; all of them hold", SCHEMA_LIST,
     ITEMS(struct draft_match, query, n_query), .of = &query_item},
};
static const struct schema_choice match_choices[] = {
    {CHOICE_AT_MOST_ONE, {"host", "hosts"}},
    {CHOICE_AT_MOST_ONE, {"path", "pathPrefix", "pathRegex"}},
    {CHOICE_AT_MOST_ONE, {"method", "methods"}},
};
static const struct schema_map match_map = {MAP(match_keys), CHOICES(match_choices)};

static const struct schema_key backend_keys[] = {
    {"upstream", "the name of an upstream", SCHEMA_STRING, FORMAT_LINE, KEY_REQUIRED | KEY_IDENTITY,
     MEMBER(struct draft_backend, upstream)},
    {"weight", "its share of the requests, against the other weights; 1 where it is alone",
     SCHEMA_INT, .flags = KEY_NEEDED_BY_MANY, MEMBER(struct draft_backend, weight),
     .flag_at = AT(struct draft_backend, has_weight), .max = 1000000},
};
static const struct schema_map backend_map = {MAP(backend_keys),
                                              .size = sizeof(struct draft_backend), .draft = true};
static const struct schema_key backend_item = {.type = SCHEMA_MAP, .map = &backend_map};

#define ROUTE(member) MEMBER(struct draft_route, conf.member)
static const struct schema_name redirect_statuses[] = {
    WORD("301", 301), WORD("302", 302), WORD("303", 303), WORD("307", 307), WORD("308", 308), {0}};
static const struct schema_name schemes[] = {WORD("http", 0), WORD("https", 0), {0}};

static const struct schema_key redirect_keys[] = {
    {"status", "of the answer", SCHEMA_ENUM, ROUTE(redirect_status), .preset = "302",
     .names = redirect_statuses},
    {"scheme", "http or https; as it came", SCHEMA_STRING, FORMAT_LINE, ROUTE(redirect_scheme),
     .names = schemes},
    {"host", "another host, perhaps with :port", SCHEMA_STRING, FORMAT_HOST_PORT,
     ROUTE(redirect_host)},
    {"path", "another path", SCHEMA_STRING, FORMAT_PATH, ROUTE(redirect_path)},
    {"prefix", "in place of the matched pathPrefix", SCHEMA_STRING, FORMAT_PATH,
     ROUTE(redirect_prefix)},
};
static const struct schema_choice redirect_choices[] = {
    {CHOICE_AT_MOST_ONE, {"path", "prefix"}},
    {CHOICE_AT_LEAST_ONE, {"scheme", "host", "path", "prefix"}},
};
static const struct schema_map redirect_map = {MAP(redirect_keys), CHOICES(redirect_choices)};

static const struct schema_key direct_keys[] = {
    {"status", "of the answer", SCHEMA_INT, ROUTE(direct_status), .preset = "200", .min = 200,
     .max = 599},
    {"body", "of the answer", SCHEMA_STRING, FORMAT_TEXT, ROUTE(direct_body), .max = MIB,
     .preset = ""},
    {"contentType", "of the body", SCHEMA_STRING, FORMAT_MEDIA_TYPE, ROUTE(direct_content_type),
     .preset = "text/plain; charset=utf-8"},
};
static const struct schema_map direct_map = {MAP(direct_keys)};

static const struct schema_key rewrite_keys[] = {
    {"host", "the Host that the upstream sees", SCHEMA_STRING, FORMAT_HOST_PORT,
     ROUTE(rewrite_host)},
    {"path", "the path that the upstream sees", SCHEMA_STRING, FORMAT_PATH, ROUTE(rewrite_path)},
    {"prefix", "in place of the matched pathPrefix", SCHEMA_STRING, FORMAT_PATH,
     ROUTE(rewrite_prefix)},
};
static const struct schema_choice rewrite_choices[] = {
    {CHOICE_AT_MOST_ONE, {"path", "prefix"}},
    {CHOICE_AT_LEAST_ONE, {"host", "path", "prefix"}},
};
static const struct schema_map rewrite_map = {MAP(rewrite_keys), CHOICES(rewrite_choices)};

static const struct schema_key websocket_keys[] = {
    {"pingInterval",
     "a peer that is silent for so long is pinged, and is gone after two pings "
     "without an answer; 0: never",
     SCHEMA_DURATION, ROUTE(websocket.ping_interval), .preset = "30s", .max = WEEK},
    {"maxFrameSize", "payload of a frame, either way; closed with 1009 above; 0: no bound",
     SCHEMA_SIZE, ROUTE(websocket.max_frame_size), .preset = "0", .max = (uint64_t)1 << 62},
    {"maxMessageRate",
     "messages, pings and pongs a second from the client, as many at once; closed with 1008 above; "
     "0: no bound",
     SCHEMA_INT, ROUTE(websocket.max_message_rate), .preset = "0", .max = 1000000},
    {"maxLifetime", "closed with 1001 after it; 0: no bound", SCHEMA_DURATION,
     ROUTE(websocket.max_lifetime), .preset = "0", .max = WEEK},
    {"idleTimeout", "no frame of the peers' either way; closed with 1001 after it; the route's",
     SCHEMA_DURATION, ROUTE(websocket.idle_timeout),
     .flag_at = AT(struct draft_route, has_websocket_idle), .max = WEEK},
};
static const struct schema_map websocket_map = {MAP(websocket_keys)};

static const struct schema_name upgrade_names[] = {WORD("websocket", 1), {0}};
static const struct schema_key upgrade = {
    .type = SCHEMA_ENUM, .width = sizeof(uint32_t), .names = upgrade_names};

static const struct schema_name priorities[] = {
#define X(id, word) WORD(word, PRIORITY_##id),
    PRIORITY_TABLE(X)
#undef X
        {0}};
static const struct schema_key route_keys[] = {
    {"name", "for metrics and logs; <listener>/<index>", SCHEMA_STRING, FORMAT_NAME, KEY_IDENTITY,
     ROUTE(name)},
    {"match", "which requests; all of its conditions hold; none: every request", SCHEMA_MAP,
     MEMBER(struct draft_route, match), .map = &match_map},
    {"backends", "the upstreams that take the requests, by weight", SCHEMA_LIST,
     ITEMS(struct draft_route, backends, n_backends), .of = &backend_item, .min = 1,
     .max = SPLIT_MAX},
    {"upstream", "the upstream that takes all requests", SCHEMA_STRING, FORMAT_LINE,
     MEMBER(struct draft_route, upstream)},
    {"redirect", "answer with another place", SCHEMA_MAP,
     .flag_at = AT(struct draft_route, has_redirect), .map = &redirect_map},
    {"directResponse", "answer at once", SCHEMA_MAP, .flag_at = AT(struct draft_route, has_direct),
     .map = &direct_map},
    {"rewrite", "what the upstream sees instead", SCHEMA_MAP, .map = &rewrite_map},
    {"timeout", "the whole request until the response's headers; 0: none", SCHEMA_DURATION,
     ROUTE(timeout), .preset = "15s", .max = WEEK},
    {"firstByteTimeout", "from the request sent to the response's first byte; 0: none",
     SCHEMA_DURATION, ROUTE(first_byte_timeout), .preset = "0", .max = WEEK},
    {"timeoutDryRun",
     "timeout and firstByteTimeout are only counted: a request that takes longer goes on",
     SCHEMA_BOOL, ROUTE(timeout_dry_run), .preset = "false"},
    {"idleTimeout", "no byte either way while a response goes on; 0: none", SCHEMA_DURATION,
     ROUTE(idle_timeout), .preset = "5m", .max = WEEK},
    {"passDeadline",
     "the upstream is told in X-Request-Deadline until when it has to answer, even where the "
     "client "
     "gave no deadline",
     SCHEMA_BOOL, ROUTE(pass_deadline), .preset = "false"},
    {"abortOnClose", "a client that half-closes an HTTP/1 connection behind its request has gone",
     SCHEMA_BOOL, ROUTE(abort_on_close), .preset = "false"},
    {"priority",
     "whose requests are refused first where not all can be served: low, and critical last",
     SCHEMA_ENUM, ROUTE(priority), .preset = "normal", .names = priorities},
    {"retry", "a request that fails is sent once more", SCHEMA_MAP,
     .flag_at = AT(struct draft_route, retry.given), .map = &schema_retry},
    {"upgrades", "protocols that a client may change to; [websocket]", SCHEMA_LIST,
     ITEMS(struct draft_route, upgrades, n_upgrades),
     .flag_at = AT(struct draft_route, has_upgrades), .of = &upgrade},
    {"websocket", "limits and heartbeat of its WebSockets", SCHEMA_MAP, .map = &websocket_map},
    {"requestHeaderModifier", "header fields of its requests, behind the listener's", SCHEMA_MAP,
     MEMBER(struct draft_route, request_headers),
     .flag_at = AT(struct draft_route, request_headers.given), .map = &schema_header_rules},
    {"responseHeaderModifier", "header fields of its responses, behind the listener's", SCHEMA_MAP,
     MEMBER(struct draft_route, response_headers),
     .flag_at = AT(struct draft_route, response_headers.given), .map = &schema_header_rules},
    {"fault", "faults that are injected: requests that wait, or get an error", SCHEMA_MAP,
     MEMBER(struct draft_route, fault), .flag_at = AT(struct draft_route, fault.given),
     .map = &schema_fault},
    {"rateLimits", "how many requests come through; all of them must let one pass; 429 above",
     SCHEMA_LIST, ITEMS(struct draft_route, conf.rate_limits, conf.n_rate_limits),
     .of = &schema_rate_limit_item, .min = 1, .max = RATE_LIMITS_MAX},
    {"authz", "who may pass: tokens and rules", SCHEMA_MAP,
     .flag_at = AT(struct draft_route, has_authz), .map = &schema_authz},
    {"learn", "what the application acquires there, and how it is given back", SCHEMA_LIST,
     ITEMS(struct draft_route, learn, n_learn), .of = &schema_learn_item, .min = 1,
     .max = LEARN_RULES_MAX},
};
static const struct schema_choice route_choices[] = {
    {CHOICE_EXACTLY_ONE, {"backends", "upstream", "redirect", "directResponse"}},
};
static const struct schema_case route_cases[] = {
    {"redirect", NULL, NULL, {"rewrite"}},
    {"directResponse", NULL, NULL, {"rewrite"}},
    {"redirect.prefix", NULL, "match.pathPrefix", {NULL}},
    {"rewrite.prefix", NULL, "match.pathPrefix", {NULL}},
};
static const struct schema_map route_map = {MAP(route_keys), CHOICES(route_choices),
                                            CASES(route_cases), .size = sizeof(struct draft_route),
                                            .draft = true};
static const struct schema_key route_item = {.type = SCHEMA_MAP, .map = &route_map};

/* ---- listeners ---- */

static const struct schema_key cidr_item = {.type = SCHEMA_CIDR, .width = sizeof(struct cidr)};
static const struct schema_name path_policies[] = {
    WORD("normalise", PATH_NORMALISE),
    WORD("refuse", PATH_REFUSE),
    WORD("asIs", PATH_AS_IS),
    {.name = "normalize", .value = PATH_NORMALISE, .hidden = true},
    {0}};

#define LISTENER(member) MEMBER(struct draft_listener, conf.member)
static const struct schema_key http_keys[] = {
    {"maxRequestLine", "longest request line; 414 above", SCHEMA_SIZE, LISTENER(limits.max_line),
     .preset = "8KiB", .min = 256, .max = MIB},
    {"maxHeaderBytes", "all header lines of a request; 431 above", SCHEMA_SIZE,
     LISTENER(limits.max_field_bytes), .preset = "32KiB", .min = KIB, .max = MIB},
    {"maxHeaders", "header lines of a request; 431 above", SCHEMA_INT, LISTENER(limits.max_fields),
     .preset = "100", .min = 1, .max = 10000},
    {"headerTimeout", "first byte of a request to its last header byte", SCHEMA_DURATION,
     LISTENER(header_timeout), .preset = "10s", .min = MSEC, .max = WEEK},
    {"bodyIdleTimeout", "between two pieces of a request's body", SCHEMA_DURATION,
     LISTENER(body_idle_timeout), .preset = "30s", .min = MSEC, .max = WEEK},
    {"writeTimeout", "the client takes no byte of a response", SCHEMA_DURATION,
     LISTENER(write_timeout), .preset = "30s", .min = MSEC, .max = WEEK},
    {"keepAliveTimeout", "idle between two requests", SCHEMA_DURATION, LISTENER(keep_alive_timeout),
     .preset = "60s", .min = MSEC, .max = WEEK},
    {"maxRequests", "on one connection; 0: no bound", SCHEMA_INT, LISTENER(max_requests),
     .preset = "0"},
    {"pathPolicy", "dot segments and the like: normalise, refuse with 400, or pass as they are",
     SCHEMA_ENUM, LISTENER(path_policy), .preset = "normalise", .names = path_policies},
    {"via", "our name in Via, or off", SCHEMA_STRING, FORMAT_PSEUDONYM, KEY_OFF, LISTENER(via),
     .preset = "sluice"},
    {"trustedHops", "proxies in front whose X-Forwarded-For entries are believed", SCHEMA_INT,
     LISTENER(trusted_hops), .preset = "0", .max = 100},
    {"trustedProxies", "networks whose forwarding headers are believed", SCHEMA_LIST,
     ITEMS(struct draft_listener, conf.trusted, conf.n_trusted), .of = &cidr_item},
};
static const struct schema_map http_map = {MAP(http_keys)};

static const struct schema_key http2_keys[] = {
    {"enabled", "HTTP/2 is spoken with clients that begin it", SCHEMA_BOOL, LISTENER(http2),
     .preset = "true"},
    {"maxConcurrentStreams", "requests at once on a connection", SCHEMA_INT,
     LISTENER(h2.max_concurrent_streams), .preset = "100", .min = 1, .max = 10000},
    {"streamWindow", "bytes of a request's body that may wait here", SCHEMA_SIZE,
     LISTENER(h2.stream_window), .preset = "64KiB", .min = 16 * KIB, .max = 16 * MIB},
    {"connectionWindow", "bytes of all bodies of a connection on their way", SCHEMA_SIZE,
     LISTENER(h2.connection_window), .preset = "1MiB", .min = 64 * KIB, .max = 64 * MIB},
};
static const struct schema_map http2_map = {MAP(http2_keys)};

static const struct schema_name directions[] = {
    WORD("inbound", DIRECTION_INBOUND), WORD("outbound", DIRECTION_OUTBOUND), {0}};
static const struct schema_name protocols[] = {
    WORD("http", PROTOCOL_HTTP), WORD("http2", PROTOCOL_HTTP2), WORD("tcp", PROTOCOL_TCP),
    WORD("tls", PROTOCOL_TLS),   WORD("auto", PROTOCOL_AUTO),   {0}};

static const struct schema_key listener_keys[] = {
    {"name", "for metrics, logs and reloads", SCHEMA_STRING, FORMAT_LABEL,
     KEY_REQUIRED | KEY_IDENTITY, LISTENER(name)},
    {"direction", "inbound: to the application; outbound: from it", SCHEMA_ENUM,
     LISTENER(direction), .preset = "inbound", .names = directions},
    {"address", "ip:port, [ipv6]:port or unix:/path", SCHEMA_ADDRESS, .flags = KEY_REQUIRED,
     LISTENER(address), .text_at = AT(struct draft_listener, conf.address_text)},
    {"protocol",
     "http: HTTP/1.1, and HTTP/2 where the client begins it; http2: that alone; tcp: bytes; tls: "
     "bytes, by the name that the client asks for; auto: what the first bytes say",
     SCHEMA_ENUM, LISTENER(protocol), .preset = "http", .names = protocols},
    {"backlog", "connections that wait to be accepted", SCHEMA_INT, LISTENER(backlog),
     .preset = "4096", .min = 1, .max = 65535},
    {"maxConnections", "open at once; more wait in the backlog", SCHEMA_INT,
     LISTENER(max_connections), .preset = "10000", .min = 1, .max = 10000000},
    {"socketMode", "of a Unix socket's file, octal", SCHEMA_MODE, .flags = KEY_RESTART,
     LISTENER(socket_mode), .preset = "0660", .max = 0777},
    {"tls", "clients speak TLS, which ends here", SCHEMA_MAP,
     .flag_at = AT(struct draft_listener, conf.tls.enabled), .map = &schema_listener_tls},
    {"http", "limits and timeouts of HTTP", SCHEMA_MAP, .map = &http_map},
    {"http2", "connections that speak HTTP/2", SCHEMA_MAP, .map = &http2_map},
    {"requestHeaderModifier", "header fields of all requests", SCHEMA_MAP,
     MEMBER(struct draft_listener, request_headers),
     .flag_at = AT(struct draft_listener, request_headers.given), .map = &schema_header_rules},
    {"responseHeaderModifier", "header fields of all responses", SCHEMA_MAP,
     MEMBER(struct draft_listener, response_headers),
     .flag_at = AT(struct draft_listener, response_headers.given), .map = &schema_header_rules},
    {"routes", "the first that matches takes the request, or (tls) the connection", SCHEMA_LIST,
     .flags = KEY_ORDERED, ITEMS(struct draft_listener, routes, n_routes), .of = &route_item,
     .min = 1},
    {"backends",
     "of tcp, and of auto for bytes: the upstreams that take the connections, by weight",
     SCHEMA_LIST, ITEMS(struct draft_listener, backends, n_backends), .of = &backend_item, .min = 1,
     .max = SPLIT_MAX},
    {"idleTimeout", "of connections that carry bytes: none either way", SCHEMA_DURATION,
     LISTENER(tcp_idle_timeout), .preset = "1h", .min = MSEC, .max = WEEK},
    {"autoTimeout", "of auto: a client that is silent for so long waits for the server to speak",
     SCHEMA_DURATION, LISTENER(auto_timeout), .preset = "1s", .min = MSEC, .max = 60 * SECOND},
};
static const struct schema_case listener_cases[] = {
    {"protocol", "http", "routes", {"backends", "idleTimeout", "autoTimeout"}},
    {"protocol", "http2", "routes", {"backends", "idleTimeout", "autoTimeout"}},
    {"protocol", "tcp", "backends", {"http", "http2", "routes", "autoTimeout"}},
    {"protocol", "tls", "routes", {"http", "http2", "backends", "tls", "autoTimeout"}},
    {"protocol", "tcp", NULL, {"requestHeaderModifier", "responseHeaderModifier"}},
    {"protocol", "tls", NULL, {"requestHeaderModifier", "responseHeaderModifier"}},
    {"protocol", "auto", "routes", {NULL}},
    {"protocol", "auto", "backends", {NULL}},
};
static const struct schema_map listener_map = {MAP(listener_keys), CASES(listener_cases),
                                               .size = sizeof(struct draft_listener),
                                               .draft = true};
static const struct schema_key listener_item = {.type = SCHEMA_MAP, .map = &listener_map};

/* ---- upstreams ---- */

#define UPSTREAM(member) MEMBER(struct conf_upstream, member)
static const struct schema_name balances[] = {
    WORD("leastRequest", BALANCE_LEAST_REQUEST), WORD("roundRobin", BALANCE_ROUND_ROBIN), {0}};

static const struct schema_key pool_keys[] = {
    {"idleTimeout", "of an unused connection; shorter than the application's own", SCHEMA_DURATION,
     UPSTREAM(idle_timeout), .preset = "1.5s", .min = MSEC, .max = WEEK},
    {"maxLifetime", "of a connection; 0: no bound", SCHEMA_DURATION, UPSTREAM(max_lifetime),
     .preset = "0", .max = WEEK},
    {"minIdle", "unused connections kept open by each worker", SCHEMA_INT, UPSTREAM(min_idle),
     .preset = "0", .max = 100000},
    {"maxRequestsPerConnection", "0: no bound", SCHEMA_INT, UPSTREAM(max_requests_per_connection),
     .preset = "0"},
};
static const struct schema_map pool_map = {MAP(pool_keys)};

static const struct schema_name dns_families[] = {
    WORD("any", DNS_ANY), WORD("ipv4", DNS_IPV4), WORD("ipv6", DNS_IPV6), {0}};
static const struct schema_name dns_policies[] = {
    WORD("keep", DNS_KEEP), WORD("remove", DNS_REMOVE), {0}};
static const struct schema_key upstream_dns_keys[] = {
    {"family", "which addresses of a name are used", SCHEMA_ENUM, UPSTREAM(dns.family),
     .preset = "any", .names = dns_families},
    {"minTtl", "a name is not asked for again sooner", SCHEMA_DURATION, UPSTREAM(dns.min_ttl),
     .preset = "5s", .min = SECOND, .max = WEEK},
    {"maxTtl", "nor later", SCHEMA_DURATION, UPSTREAM(dns.max_ttl), .preset = "5m", .min = SECOND,
     .max = WEEK},
    {"srvTtl", "of an SRV answer, whose own is not known", SCHEMA_DURATION, UPSTREAM(dns.srv_ttl),
     .preset = "30s", .min = SECOND, .max = WEEK},
    {"onNotFound", "what becomes of the addresses of a name that no longer exists (NXDOMAIN)",
     SCHEMA_ENUM, UPSTREAM(dns.on_not_found), .preset = "keep", .names = dns_policies},
    {"onEmpty", "what becomes of them when the name exists and has no address", SCHEMA_ENUM,
     UPSTREAM(dns.on_empty), .preset = "keep", .names = dns_policies},
};
static const struct schema_map upstream_dns_map = {MAP(upstream_dns_keys)};

static const struct schema_name upstream_protocols[] = {
    WORD("http1", UPSTREAM_HTTP1), WORD("http2", UPSTREAM_HTTP2), WORD("auto", UPSTREAM_AUTO), {0}};
static const struct schema_key upstream_http2_keys[] = {
    {"maxConcurrentStreams", "requests at once on a connection; the server may allow fewer",
     SCHEMA_INT, UPSTREAM(http2.max_concurrent_streams), .preset = "100", .min = 1, .max = 10000},
    {"streamWindow", "of a response's body, sent ahead of what the client has taken", SCHEMA_SIZE,
     UPSTREAM(http2.stream_window), .preset = "64KiB", .min = 16 * KIB, .max = 16 * MIB},
    {"connectionWindow", "of all responses of a connection, on the wire", SCHEMA_SIZE,
     UPSTREAM(http2.connection_window), .preset = "1MiB", .min = 64 * KIB, .max = 64 * MIB},
    {"pingInterval",
     "without a byte while requests are open, then a PING; no answer in the same time again: the "
     "connection is dead; 0: none",
     SCHEMA_DURATION, UPSTREAM(http2.ping_interval), .preset = "0", .max = WEEK},
};
static const struct schema_map upstream_http2_map = {MAP(upstream_http2_keys)};

static const struct schema_key upstream_keys[] = {
    {"name", "what routes call it", SCHEMA_STRING, FORMAT_NAME, KEY_REQUIRED | KEY_IDENTITY,
     UPSTREAM(name)},
    {"endpoints",
     "ip:port, [ipv6]:port, unix:/path, name:port or srv:_service._tcp.name; or a map with more",
     SCHEMA_LIST, .flags = KEY_REQUIRED, ITEMS(struct conf_upstream, endpoints, n_endpoints),
     .of = &schema_endpoint_item, .min = 1},
    {"failover", "how endpoints with a priority or a zone share what comes", SCHEMA_MAP,
     .map = &schema_failover},
    {"protocol", "http1; http2 without asking; auto: by ALPN over TLS, http1 without TLS",
     SCHEMA_ENUM, UPSTREAM(protocol), .preset = "http1", .names = upstream_protocols},
    {"http2", "connections that speak HTTP/2", SCHEMA_MAP, .map = &upstream_http2_map},
    {"tls", "connections to it speak TLS", SCHEMA_MAP,
     .flag_at = AT(struct conf_upstream, tls.enabled), .map = &schema_upstream_tls},
    {"balance", "which endpoint takes the next request", SCHEMA_ENUM, UPSTREAM(balance),
     .preset = "leastRequest", .names = balances},
    {"outlierDetection", "endpoints that fail, or are slow, are left alone for a while", SCHEMA_MAP,
     .flag_at = AT(struct conf_upstream, has_outlier), .map = &schema_outlier},
    {"slowStart", "endpoints that are new, or well again, get their share step by step", SCHEMA_MAP,
     .flag_at = AT(struct conf_upstream, has_slow_start), .map = &schema_slow_start},
    {"panicThreshold",
     "percent of endpoints that are well; below it all are used, ejected and unhealthy ones too",
     SCHEMA_INT, UPSTREAM(panic_threshold), .preset = "50", .max = 100},
    {"connectTimeout", "for a new connection", SCHEMA_DURATION, UPSTREAM(connect_timeout),
     .preset = "5s", .min = MSEC, .max = WEEK},
    {"unreachableAfter",
     "packets to an endpoint go unanswered for so long: others are used while there are some; 0: "
     "never",
     SCHEMA_DURATION, UPSTREAM(unreachable_after), .preset = "1s", .max = WEEK},
    {"unreachableDryRun", "unreachable endpoints are told and counted, and used all the same",
     SCHEMA_BOOL, UPSTREAM(unreachable_dry_run), .preset = "false"},
    {"pool", "connections that are kept", SCHEMA_MAP, .map = &pool_map},
    {"circuitBreaker", "what the upstream is spared", SCHEMA_MAP, .map = &schema_breaker},
    {"concurrency", "a limit of requests in flight that is found out from how long answers take",
     SCHEMA_MAP, .flag_at = AT(struct conf_upstream, has_concurrency), .map = &schema_concurrency},
    {"retryBudget", "how many retries it is sent, over all workers", SCHEMA_MAP,
     .map = &schema_retry_budget},
    {"dns", "how names among the endpoints are resolved", SCHEMA_MAP, .map = &upstream_dns_map},
    {"healthCheck", "each endpoint is looked at; unhealthy ones are the last choice", SCHEMA_MAP,
     .flag_at = AT(struct conf_upstream, health_check.enabled), .map = &schema_health_check},
};
static const struct schema_map upstream_map = {MAP(upstream_keys),
                                               .size = sizeof(struct conf_upstream)};
static const struct schema_key upstream_item = {.type = SCHEMA_MAP, .map = &upstream_map};

/* ---- the rest ---- */

#define LIFECYCLE(member) MEMBER(struct conf_lifecycle, member)
static const struct schema_name close_names[] = {WORD("auto", CLOSE_LISTENERS_AUTO),
                                                 WORD("atDrain", CLOSE_LISTENERS_AT_DRAIN),
                                                 WORD("atExit", CLOSE_LISTENERS_AT_EXIT),
                                                 {0}};
static const struct schema_key prestop_keys[] = {
    {"tokenFile", "file with the token that lets a call begin a drain", SCHEMA_STRING, FORMAT_FILE,
     LIFECYCLE(prestop_token_file)},
};
static const struct schema_map prestop_map = {MAP(prestop_keys)};
static const struct schema_key lifecycle_keys[] = {
    {"noticePeriod", "unready, but still accepting", SCHEMA_DURATION, LIFECYCLE(notice_period),
     .preset = "5s", .max = WEEK},
    {"drainTimeout", "for what is open to end, lastCall in its end", SCHEMA_DURATION,
     LIFECYCLE(drain_timeout), .preset = "20s", .max = WEEK},
    {"lastCall", "the last part of drainTimeout, in which peers are told to end", SCHEMA_DURATION,
     LIFECYCLE(last_call), .preset = "1s", .max = WEEK},
    {"appCleanup", "the application's own end and our releases together", SCHEMA_DURATION,
     LIFECYCLE(app_cleanup), .preset = "10s", .max = WEEK},
    {"terminationGracePeriod", "what the pod is given; the parts must fit in it", SCHEMA_DURATION,
     LIFECYCLE(termination_grace), .min = MSEC, .max = WEEK},
    {"closeListeners", "when a drain closes the listeners", SCHEMA_ENUM, LIFECYCLE(close_listeners),
     .preset = "auto", .names = close_names},
    {"noticeQuiet", "noticePeriod ends early once nobody comes any more", SCHEMA_BOOL,
     LIFECYCLE(notice_quiet), .preset = "true"},
    {"prestop", "GET /prestop on the health port", SCHEMA_MAP, .map = &prestop_map},
    {"restartDrain", "how long a container that restarts is held", SCHEMA_DURATION,
     LIFECYCLE(restart_drain), .preset = "2s", .max = WEEK},
    {"terminationMessagePath", "file that the drain's report is written to, or off", SCHEMA_STRING,
     FORMAT_FILE, KEY_OFF, LIFECYCLE(termination_message_path), .preset = "/dev/termination-log"},
};
static const struct schema_map lifecycle_map = {MAP(lifecycle_keys)};

#define APP(member) MEMBER(struct conf_app, member)
static const struct schema_key app_word = {
    .type = SCHEMA_STRING, .width = sizeof(struct str), .format = FORMAT_LINE};
static const struct schema_key app_port = {
    .type = SCHEMA_INT, .width = sizeof(uint32_t), .min = 1, .max = 65535};
static const struct schema_key app_keys[] = {
    {"command", "run as a child: the program, and its arguments", SCHEMA_LIST,
     .flags = KEY_RESTART | KEY_ORDERED, ITEMS(struct conf_app, command, n_command),
     .of = &app_word, .min = 1, .max = 1024},
    {"process", "its name in a shared PID namespace, or that of its file", SCHEMA_STRING,
     FORMAT_LINE, APP(process)},
    {"ports", "where it listens; those of loopback endpoints behind inbound listeners", SCHEMA_LIST,
     ITEMS(struct conf_app, ports, n_ports), .of = &app_port, .min = 1, .max = 32},
    {"deathGrace", "ports refuse and connections are closed for so long, then it has gone",
     SCHEMA_DURATION, APP(death_grace), .preset = "1s", .min = 100 * MSEC, .max = WEEK},
    {"leakWatch", "descriptors, threads, memory and sockets that only grow are reported",
     SCHEMA_MAP, .map = &schema_leak_watch},
};
static const struct schema_map app_map = {MAP(app_keys)};

static const struct schema_key allowed_host = {
    .type = SCHEMA_STRING, .width = sizeof(struct str), .format = FORMAT_HOST};
static const struct schema_key admin_keys[] = {
    {"address", "ip:port for reads, or off", SCHEMA_ADDRESS, .flags = KEY_OFF | KEY_NO_UNIX,
     MEMBER(struct conf_admin, tcp), .flag_at = AT(struct conf_admin, tcp_enabled),
     .preset = "127.0.0.1:15900"},
    {"socket", "Unix socket for reads and changes, or off", SCHEMA_STRING, FORMAT_SOCKET, KEY_OFF,
     MEMBER(struct conf_admin, socket_path), .preset = "/run/sluice/admin.sock"},
    {"tokenFile", "file with the token that allows changes over the address", SCHEMA_STRING,
     FORMAT_FILE, MEMBER(struct conf_admin, token_file)},
    {"allowedHosts", "Host names that the address answers to, besides localhost", SCHEMA_LIST,
     ITEMS(struct conf_admin, allowed_hosts, n_allowed_hosts), .of = &allowed_host},
};
static const struct schema_map admin_map = {MAP(admin_keys)};

static const struct schema_key health_keys[] = {
    {"address", "ip:port of /livez /readyz /startupz /prestop /metrics, or off", SCHEMA_ADDRESS,
     .flags = KEY_OFF | KEY_NO_UNIX | KEY_RESTART, MEMBER(struct conf, health),
     .flag_at = AT(struct conf, health_enabled), .preset = "0.0.0.0:15901"},
    {"maxProbes", "health checks of endpoints that run at once; others wait for a place",
     SCHEMA_INT, MEMBER(struct conf, max_probes), .preset = "64", .min = 1, .max = 1024},
    {"appProbes", "GET /app-probe/NAME is passed on to the application on loopback", SCHEMA_LIST,
     ITEMS(struct conf, app_probes, n_app_probes), .of = &schema_app_probe_item, .max = 32},
};
static const struct schema_map health_map = {MAP(health_keys)};

static const struct schema_key access_log_keys[] = {
    {"path", "a file, or - for stdout", SCHEMA_STRING, FORMAT_FILE,
     MEMBER(struct conf_access_log, path), .preset = "-"},
    {"bufferSize", "lines that wait to be written, for each worker", SCHEMA_SIZE,
     MEMBER(struct conf_access_log, buffer_bytes), .preset = "256KiB", .min = 4 * KIB,
     .max = 64 * MIB},
    {"redact", "what is told as salted SHA-256 only", SCHEMA_MAP, .flags = KEY_LIVE,
     .map = &schema_redact},
};
static const struct schema_map access_log_map = {MAP(access_log_keys)};

static const struct schema_name log_levels[] = {WORD("error", LOG_ERROR),
                                                WORD("warn", LOG_WARN),
                                                WORD("info", LOG_INFO),
                                                WORD("debug", LOG_DEBUG),
                                                {0}};
static const struct schema_key log_keys[] = {
    {"level", "the least that is told", SCHEMA_ENUM, MEMBER(struct conf, log_level),
     .preset = "info", .names = log_levels},
};
static const struct schema_map log_map = {MAP(log_keys)};

static const struct schema_key limits_keys[] = {
    {"maxConnections", "from clients, over all listeners; 0: from the limit of open files",
     SCHEMA_INT, MEMBER(struct conf, max_connections), .preset = "0", .max = 10000000},
    {"maxAcquisitions", "of learned sessions, under way on a worker (routes[].learn)", SCHEMA_INT,
     MEMBER(struct conf, max_acquisitions), .preset = "1024", .min = 1, .max = 100000},
    {"maxMetricSeries", "that /metrics tells; what is above is left out and counted", SCHEMA_INT,
     MEMBER(struct conf, max_metric_series), .preset = "50000", .min = 1000, .max = 1000000},
};
static const struct schema_map limits_map = {MAP(limits_keys)};

static const struct schema_key dns_server = {
    .type = SCHEMA_ADDRESS, .flags = KEY_NO_UNIX, .width = sizeof(struct address)};
static const struct schema_key dns_keys[] = {
    {"servers", "ip:port of each, asked in this order; those of /etc/resolv.conf", SCHEMA_LIST,
     ITEMS(struct conf_dns, servers, n_servers), .of = &dns_server, .min = 1, .max = 8},
    {"timeout", "for a server's answer, and for names at start and at a reload", SCHEMA_DURATION,
     MEMBER(struct conf_dns, timeout), .preset = "2s", .min = 10 * MSEC, .max = 60 * SECOND},
    {"tries", "how often each server is asked, the timeout doubling", SCHEMA_INT,
     MEMBER(struct conf_dns, tries), .preset = "2", .min = 1, .max = 10},
};
static const struct schema_map dns_map = {MAP(dns_keys)};

static const struct schema_key reload_keys[] = {
    {"watch", "reload when the file, or a link on its way, changes", SCHEMA_BOOL,
     MEMBER(struct conf_reload, watch), .preset = "true"},
    {"pollInterval", "the file's hash is compared so often besides, at least 100ms; 0: never",
     SCHEMA_DURATION, MEMBER(struct conf_reload, poll_interval), .preset = "30s", .max = WEEK},
    {"debounce", "the file is read when it has rested for so long", SCHEMA_DURATION,
     MEMBER(struct conf_reload, debounce), .preset = "100ms", .min = MSEC, .max = 10 * SECOND},
};
static const struct schema_map reload_map = {MAP(reload_keys)};

static const struct schema_key root_keys[] = {
    {"version", "of this format: 1", SCHEMA_INT, .flags = KEY_REQUIRED,
     MEMBER(struct draft, version), .min = 1, .max = 1},
    {"workers", "threads that serve; 0: from the CPU quota", SCHEMA_INT, .flags = KEY_RESTART,
     MEMBER(struct draft, conf.workers), .preset = "0", .max = WORKERS_MAX},
    {"log", "what is told on stderr", SCHEMA_MAP, MEMBER(struct draft, conf), .map = &log_map},
    {"limits", "of the whole process", SCHEMA_MAP, MEMBER(struct draft, conf), .map = &limits_map},
    {"overload", "load is shed by stages, before the kernel does it", SCHEMA_MAP,
     MEMBER(struct draft, conf.overload), .map = &schema_overload},
    {"allowLinkLocal", "endpoints may be link-local (where clouds keep metadata)", SCHEMA_BOOL,
     MEMBER(struct draft, conf.allow_link_local), .preset = "false"},
    {"locality", "where we are", SCHEMA_MAP, .map = &schema_locality},
    {"lifecycle", "how long each phase of the end takes", SCHEMA_MAP,
     MEMBER(struct draft, conf.lifecycle), .map = &lifecycle_map},
    {"app", "the application that is served, and how its end is known", SCHEMA_MAP,
     MEMBER(struct draft, conf.app), .map = &app_map},
    {"admin", "state and changes, for operators", SCHEMA_MAP, .flags = KEY_RESTART,
     MEMBER(struct draft, conf.admin), .map = &admin_map},
    {"health", "probes and metrics", SCHEMA_MAP, MEMBER(struct draft, conf), .map = &health_map},
    {"accessLog", "a JSON line for each request; off without this key", SCHEMA_MAP,
     .flags = KEY_RESTART, MEMBER(struct draft, conf.access_log),
     .flag_at = AT(struct draft, conf.access_log.enabled), .map = &access_log_map},
    {"dns", "who is asked for names", SCHEMA_MAP, .flags = KEY_RESTART,
     MEMBER(struct draft, conf.dns), .map = &dns_map},
    {"reload", "how changes of this file are noticed", SCHEMA_MAP,
     MEMBER(struct draft, conf.reload), .map = &reload_map},
    {"cleanups", "what is released at the end of a drain", SCHEMA_LIST,
     ITEMS(struct draft, conf.cleanups, conf.n_cleanups), .of = &schema_cleanup_item, .max = 100},
    {"leases", "what is held for the application until it has gone", SCHEMA_MAP,
     MEMBER(struct draft, conf.leases), .map = &schema_leases},
    {"hooks", "who is told that the listeners serve, and that they cease", SCHEMA_LIST,
     ITEMS(struct draft, conf.hooks, conf.n_hooks), .of = &schema_hook_item, .max = 100},
    {"jwt", "who issues tokens, and how they are verified", SCHEMA_LIST,
     ITEMS(struct draft, conf.jwts, conf.n_jwts), .of = &schema_jwt_item, .max = CONF_JWTS_MAX},
    {"listeners", "where connections come in", SCHEMA_LIST, .flags = KEY_REQUIRED,
     ITEMS(struct draft, listeners, n_listeners), .of = &listener_item, .min = 1,
     .max = LISTENERS_MAX},
    {"upstreams", "where requests go", SCHEMA_LIST,
     ITEMS(struct draft, conf.upstreams, conf.n_upstreams), .of = &upstream_item},
};
const struct schema_map schema_root = {MAP(root_keys)};
