/* config.h - what the operator asked for: an immutable snapshot, built by build.h.
 *
 * Everything in it lives in one arena and is freed with it. Workers read it without locks. What
 * changes at run time (pools, counters, splits) is keyed by name and lives beside it. */
#ifndef SLUICE_CONFIG_CONFIG_H
#define SLUICE_CONFIG_CONFIG_H

#include "base/clock.h"
#include "base/log.h"
#include "base/str.h"
#include "canary/split.h"
#include "healthcheck/health.h"
#include "healthcheck/probe.h"
#include "http/h1_parse.h"
#include "http/h2.h"
#include "http/path.h"
#include "io/address.h"
#include "io/tls.h"
#include "policies/failover.h"
#include "policies/fault.h"
#include "policies/header_rules.h"
#include "policies/circuit_breaker.h"
#include "policies/concurrency_limit.h"
#include "policies/json_path.h"
#include "policies/leak.h"
#include "policies/learn.h"
#include "policies/redact.h"
#include "policies/outlier.h"
#include "policies/overload.h"
#include "policies/priority.h"
#include "policies/rate_keys.h"
#include "policies/retry.h"
#include "policies/retry_budget.h"
#include "policies/route.h"
#include "policies/slow_start.h"

enum balance { BALANCE_LEAST_REQUEST, BALANCE_ROUND_ROBIN };

enum endpoint_kind {
    ENDPOINT_ADDRESS, /* an IP address and port, or a Unix socket */
    ENDPOINT_NAME,    /* host:port, by A and AAAA */
    ENDPOINT_SRV,     /* srv:_service._proto.name, by SRV and then A and AAAA */
};

struct conf_endpoint {
    struct str text; /* as written */
    enum endpoint_kind kind;
    struct address address; /* ENDPOINT_ADDRESS */
    struct str host;        /* the others: the name to ask for */
    uint16_t port;          /* ENDPOINT_NAME */
    uint32_t priority;      /* 0, the best, to FAILOVER_LEVELS_MAX - 1 */
    struct str zone;        /* empty: none */
};

enum dns_family { DNS_ANY, DNS_IPV4, DNS_IPV6 };
/* What becomes of the addresses of a name that the server says has none. */
enum dns_policy { DNS_KEEP, DNS_REMOVE };

/* How the names among an upstream's endpoints are resolved. */
struct conf_upstream_dns {
    enum dns_family family;
    usec_t min_ttl;               /* never asked again sooner; 5 s */
    usec_t max_ttl;               /* nor later; 5 min */
    usec_t srv_ttl;               /* of an SRV answer; 30 s */
    enum dns_policy on_not_found; /* the name does not exist (NXDOMAIN); keep */
    enum dns_policy on_empty;     /* it exists without an address; keep */
    bool allow_link_local;        /* conf.allow_link_local */
};

/* The client of DNS. Needs a restart. */
struct conf_dns {
    uint32_t n_servers;
    struct address *servers; /* asked in this order; none: those of /etc/resolv.conf */
    usec_t timeout; /* for a server's answer, and for names at start and at a reload; 2 s */
    uint32_t tries; /* of each server; 2 */
};

enum upstream_protocol {
    UPSTREAM_HTTP1,
    UPSTREAM_HTTP2, /* from the first byte ("prior knowledge", RFC 9113 §3.3), or by ALPN */
    UPSTREAM_AUTO,  /* over TLS what the server chooses by ALPN; HTTP/1.1 else */
};

/* Connections to an upstream that speak HTTP/2. */
struct conf_upstream_http2 {
    uint32_t max_concurrent_streams; /* of ours on a connection, the server's limit below; 100 */
    uint32_t stream_window;          /* body bytes a response may send ahead; 64 KiB */
    uint32_t connection_window;      /* of all of them on the wire; 1 MiB */
    usec_t ping_interval; /* without a byte, while streams are open; as long again for the answer;
                           * 0: none; 0 */
};

/* A file, and where its name stands: what is wrong with it is told there. */
struct conf_file {
    struct str path; /* with a NUL behind it; .p NULL: none */
    uint32_t line, column;
};

struct conf_tls_pair {
    struct conf_file cert, key;
};

enum { TLS_CERTIFICATES_MAX = 64 };

/* TLS with clients. Its files are read by tls_files.h. */
struct conf_listener_tls {
    bool enabled;
    uint32_t n_certificates;
    struct conf_tls_pair *certificates; /* the first: for names that none of them has */
    enum tls_version min_version;       /* 1.2 */
    enum tls_client_auth client_auth;   /* none */
    struct conf_file ca;                /* there unless client_auth is none */
    uint32_t n_spiffe_ids;              /* rules, tls.h; 0: every verified client */
    struct str *spiffe_ids;
};

/* TLS with an upstream. */
struct conf_upstream_tls {
    bool enabled;
    struct conf_file ca;    /* none: the system's CAs */
    struct str server_name; /* empty: the endpoint's own address */
    uint32_t n_sans;        /* any of which the certificate carries; 0: server_name */
    struct str *sans;
    uint32_t n_spiffe_ids; /* in place of names */
    struct str *spiffe_ids;
    bool insecure;             /* nothing is verified */
    struct conf_tls_pair pair; /* ours; none: no paths */
    enum tls_version min_version;
};

/* How each endpoint of an upstream is looked at. */
struct conf_health_check {
    bool enabled;
    bool http, tcp, grpc, exec; /* which of them is given */
    uint32_t n_command;
    struct str *command; /* as written; in probe.command */
    struct str status;   /* as written; in probe.ranges */
    struct health_rules rules;
    struct probe_rules probe;
};

/* How much there may be at once for an upstream, over all workers. */
struct conf_limits {
    uint32_t connections;              /* 1024 */
    uint32_t requests;                 /* in flight; 1024 */
    uint32_t connections_per_endpoint; /* 0: no bound of its own; so */
    uint32_t requests_per_endpoint;    /* this */
    uint32_t pending;                  /* waiting for a connection, or to be in flight; 1024 */
    uint32_t retries;                  /* requests in flight that are retried; 1024 */
};

struct conf_upstream {
    struct str name;
    uint32_t index; /* in conf.upstreams */
    bool used;      /* by a route, a listener's own backends included */
    uint32_t n_endpoints;
    struct conf_endpoint *endpoints;
    enum upstream_protocol protocol; /* http1 */
    enum balance balance;
    uint32_t panic_threshold;                    /* percent; 50 */
    uint32_t overprovisioning;                   /* percent; 140 */
    bool prefer_own_zone;                        /* true */
    bool failover_dry_run;                       /* false */
    struct str own_zone;                         /* conf.zone, if it is preferred and known */
    const struct outlier_rules *outlier;         /* NULL: nothing is ejected */
    const struct slow_start_rules *slow_start;   /* NULL: none */
    const struct concurrency_rules *concurrency; /* NULL: no adaptive limit */
    bool has_outlier, has_slow_start, has_concurrency;
    struct outlier_rules outlier_rules; /* these three: through the pointers only */
    struct slow_start_rules slow_start_rules;
    struct concurrency_rules concurrency_rules;
    usec_t connect_timeout;   /* 5 s */
    usec_t unreachable_after; /* of silence, while there are others; 1 s; 0: never */
    bool unreachable_dry_run; /* false */
    /* pool */
    usec_t idle_timeout;                  /* of an idle upstream connection; 1.5 s */
    usec_t max_lifetime;                  /* of an upstream connection; 0: no bound */
    uint32_t min_idle;                    /* kept open per worker, never below; 0 */
    uint64_t max_requests_per_connection; /* 0: no bound */
    /* circuitBreaker: for the whole process */
    struct conf_limits limits; /* as they are written */
    bool limits_dry_run;       /* they are only counted; false */
    struct conf_limits bounds; /* those that hold: `limits`, or with limits_dry_run none */
    usec_t queue_timeout;      /* longest wait there; 1 s */
    struct breaker_rules breaker;
    struct retry_budget_rules retry_budget;
    struct conf_upstream_http2 http2;
    struct conf_upstream_tls tls;
    struct conf_upstream_dns dns;
    struct conf_health_check health_check;
};

/* The newest snapshot is looked at for the file's changes. */
struct conf_reload {
    bool watch;           /* the file's directory; true */
    usec_t poll_interval; /* the file's hash is compared so often besides; 0: never,
                           * else at least 100 ms; 30 s */
    usec_t debounce;      /* the file is read when it has rested for so long; 100 ms */
};

struct conf_backend {
    const struct conf_upstream *upstream;
    uint32_t weight; /* as written */
    uint32_t ppm;    /* of the route's requests */
};

/* What a tunnel that is a WebSocket has to keep to. */
struct conf_websocket {
    usec_t ping_interval;      /* silence after which a peer is pinged; 30 s; 0: never */
    uint64_t max_frame_size;   /* payload of a data frame, either way; 0: no bound */
    uint32_t max_message_rate; /* from the client, a second; 0: no bound */
    usec_t max_lifetime;       /* 0: no bound */
    usec_t idle_timeout;       /* no frame of the peers' either way; the route's idle_timeout
                                * unless given; 0: none */
};

/* What becomes of header fields: the listener's rules, then the route's; NULL: there are none. */
struct conf_headers {
    const struct header_rules *request[2], *response[2];
    bool response_uses_request; /* whose head has to stay until the response's */
};

enum { RATE_LIMITS_MAX = 4 }; /* of a route */

/* How many requests come through. */
struct conf_rate_limit {
    struct str name;
    struct rate_rule rule;
    struct str header; /* a limit for each of its values; empty: not by that */
    struct str claim;  /* the same of the verified token's, as written */
    struct json_path claim_path;
    bool by_client; /* a limit for each client; none of these: one for all */
    uint32_t ipv6_prefix;
    uint32_t max_keys;
    bool dry_run;
};

enum route_action { ACTION_FORWARD, ACTION_REDIRECT, ACTION_DIRECT };

struct conf_authz;
struct conf_jwt;

struct conf_route {
    struct str name; /* as written, or "<listener>/<index>" */
    uint32_t index;  /* in the whole configuration: key of per-worker run-time state */
    uint32_t line;
    struct route_match match;
    enum route_action action;
    /* forward */
    uint32_t n_backends;
    struct conf_backend *backends;
    uint32_t ppm[SPLIT_MAX];         /* of the backends, for split_init() */
    struct str rewrite_host;         /* empty: kept */
    struct str rewrite_path;         /* whole path; empty: kept */
    struct str rewrite_prefix;       /* in place of the matched prefix; .p == NULL: kept */
    usec_t timeout;                  /* whole request until the response's head; 15 s; 0: none */
    usec_t first_byte_timeout;       /* request sent to response's first byte; 0: none */
    bool timeout_dry_run;            /* these two are only counted; false */
    usec_t idle_timeout;             /* no byte either way while a stream is open; 5 min */
    bool pass_deadline;              /* the upstream is told X-Request-Deadline; false */
    bool abort_on_close;             /* a client that half-closes has gone; false */
    enum priority priority;          /* normal */
    const struct retry_rules *retry; /* NULL: none */
    bool upgrade_websocket;          /* Upgrade: websocket is let through; true */
    struct conf_websocket websocket;
    const struct conf_authz *authz;     /* conf_authz.h; NULL: everybody may pass */
    const struct learn_rules *learn;    /* NULL: none, or none that can have an effect */
    struct fault_rules *fault;          /* NULL: none */
    const struct conf_headers *headers; /* NULL: none */
    uint32_t n_rate_limits;
    struct conf_rate_limit *rate_limits;
    /* redirect */
    uint16_t redirect_status;   /* 301 302 303 307 308 */
    struct str redirect_scheme; /* empty: as it came */
    struct str redirect_host;   /* empty: as it came; may carry :port */
    struct str redirect_path;   /* empty: as it came */
    struct str redirect_prefix; /* .p == NULL: not used */
    /* direct response */
    uint16_t direct_status;
    struct str direct_body;
    struct str direct_content_type;
};

/* How long a request of it may take at most; USEC_NEVER: no timeout holds. */
static inline usec_t conf_route_ends(const struct conf_route *r)
{
    return r->timeout > 0 && !r->timeout_dry_run ? r->timeout : USEC_NEVER;
}

enum listener_protocol {
    PROTOCOL_HTTP,  /* HTTP/1, and HTTP/2 by its preface or ALPN */
    PROTOCOL_HTTP2, /* from the first byte */
    PROTOCOL_TCP,   /* bytes */
    PROTOCOL_TLS,   /* bytes, for whom a ClientHello asks */
    PROTOCOL_AUTO,  /* what the first bytes say: HTTP/2, HTTP/1, or bytes */
};

/* Its routes are for requests. */
static inline bool listener_speaks_http(enum listener_protocol p)
{
    return p != PROTOCOL_TCP && p != PROTOCOL_TLS;
}

enum direction { DIRECTION_INBOUND, DIRECTION_OUTBOUND };

struct conf_listener {
    struct str name;
    uint32_t index;
    enum direction direction;
    enum listener_protocol protocol;
    uint32_t line, column; /* of its address: where it cannot be bound is told there */
    struct str address_text;
    struct address address;
    uint32_t socket_mode;     /* of a Unix socket's file; 0660 */
    uint32_t backlog;         /* 4096 */
    uint32_t max_connections; /* 10000 */
    /* http */
    struct h1_limits limits;
    bool http2;                /* by preface or ALPN; true */
    struct h2_settings h2;     /* its limits of fields are those above */
    usec_t header_timeout;     /* first byte of a request to its last header byte; 10 s */
    usec_t body_idle_timeout;  /* between two reads of a request body; 30 s */
    usec_t write_timeout;      /* the client takes no byte of a response; 30 s */
    usec_t keep_alive_timeout; /* idle between requests; 60 s */
    uint64_t max_requests;     /* on one connection; 0: no bound; 0 */
    enum path_policy path_policy;
    struct str via;        /* "sluice"; empty: no Via */
    uint32_t trusted_hops; /* 0 */
    uint32_t n_trusted;    /* trustedProxies */
    struct cidr *trusted;
    struct conf_listener_tls tls;
    struct str scheme; /* "http" or "https": how its clients come */
    uint32_t n_routes; /* with that of its own backends, the last */
    struct conf_route *routes;
    struct route_table *route_table; /* without it; tls: by the server's name */
    /* bytes */
    uint32_t raw_route;      /* in routes: tcp, auto: the listener's own backends */
    usec_t tcp_idle_timeout; /* 1 h */
    usec_t auto_timeout;     /* auto: for the first bytes; after it they are the server's; 1 s */
};

enum close_listeners { CLOSE_LISTENERS_AUTO, CLOSE_LISTENERS_AT_DRAIN, CLOSE_LISTENERS_AT_EXIT };

struct conf_lifecycle {
    usec_t notice_period;     /* 5 s */
    usec_t drain_timeout;     /* 20 s, with last_call in its end */
    usec_t last_call;         /* 1 s */
    usec_t app_cleanup;       /* 10 s: EGRESS_ONLY and CLEANUP together */
    usec_t termination_grace; /* 0: not told */
    enum close_listeners close_listeners;
    bool notice_quiet;                   /* NOTICE ends when nobody comes any more; true */
    usec_t restart_drain;                /* a container that restarts is held for this long; 2 s */
    struct str prestop_token_file;       /* empty: SLUICE_PRESTOP_TOKEN, or nobody may */
    struct str termination_message_path; /* /dev/termination-log; empty: off */
};

/* The application that we serve (lifecycle/app.h). */
struct conf_app {
    uint32_t n_command; /* 0: we don't run it. Needs a restart */
    struct str *command;
    struct str process; /* whose end is its end, in a shared PID namespace; empty: none */
    uint32_t n_ports;   /* 0: those of loopback endpoints behind inbound listeners */
    uint32_t *ports;
    usec_t death_grace; /* 1 s */
    struct leak_rules leak;
    /* Where it listens: of the ports, or of the endpoints. */
    uint32_t n_addresses;
    struct address *addresses;
};

struct conf_admin {
    bool tcp_enabled;         /* admin.address: off */
    struct address tcp;       /* 127.0.0.1:15900 */
    struct str socket_path;   /* /run/sluice/admin.sock; empty: off */
    struct str token_file;    /* empty: mutations over the Unix socket only */
    uint32_t n_allowed_hosts; /* besides localhost and loopback addresses */
    struct str *allowed_hosts;
};

struct conf_access_log {
    bool enabled;
    struct str path;       /* "-": stdout */
    uint32_t buffer_bytes; /* per worker; 256 KiB */
    /* redact */
    bool parameters_given; /* else those of redact_default_names */
    uint32_t n_parameters;
    struct str *parameters;
    uint32_t n_redacted;
    uint32_t *redacted;   /* enum redact_field */
    struct str salt_file; /* empty: a random salt */
};

/* A request that we make by ourselves. Texts have a NUL behind them. */
struct conf_header {
    struct str name, value;
};

enum { CONF_HEADERS_MAX = 32, CONF_AFTER_MAX = 32 };

struct conf_request {
    bool given;
    struct str method, url;
    uint32_t n_headers;
    struct conf_header *headers;
    struct str body;
    struct conf_file ca; /* none: the system's CAs */
    struct conf_tls_pair pair;
};

/* What runs at CLEANUP: a request, or a command. */
struct conf_cleanup {
    struct str name;
    uint32_t n_after; /* names of cleanups */
    struct str *after;
    usec_t timeout;   /* of one try; 5 s */
    uint32_t retries; /* besides the first try; 3 */
    struct conf_request request;
    uint32_t n_command;
    struct str *command;
};

/* A path of the application's, on its loopback, that is asked for through the health port. */
struct conf_app_probe {
    struct str name;
    uint32_t port;
    struct str path, host; /* host empty: localhost */
    usec_t timeout;        /* 5 s */
};

enum journal_failure { JOURNAL_REFUSE, JOURNAL_ALLOW };

struct conf_leases {
    uint32_t max;            /* held at once; 10000 */
    usec_t max_ttl;          /* 24 h */
    uint32_t concurrency;    /* releases at once; 16 */
    struct str journal_path; /* empty: none */
    struct str journal_key_file;
    enum journal_failure on_failure;
    bool journal_given; /* journal.path is in the file */
};

/* Who is told that we serve, such as a registry. */
struct conf_hook {
    struct str name;
    struct conf_request on_ready, heartbeat, on_drain;
    usec_t heartbeat_interval; /* 10 s */
    usec_t timeout;            /* of one try of each; 5 s */
};

struct setting;

/* The supervisor holds a copy of each socket (CHANNEL_MAX_HELD), those that are closing and our
 * own servers' too. */
enum { LISTENERS_MAX = 200 };

struct conf {
    struct str file;
    uint32_t workers;           /* 0: from the CPU quota */
    uint32_t max_connections;   /* downstream, all listeners; 0: from the fd limit */
    uint32_t max_acquisitions;  /* of learned sessions, under way on a worker; 1024 */
    uint32_t max_metric_series; /* that /metrics tells; 50000 */
    struct overload_rules overload;
    struct str zone;       /* that we are in; empty: not known */
    bool allow_link_local; /* endpoints in link-local ranges need this; false */
    enum log_level log_level;
    struct conf_lifecycle lifecycle;
    struct conf_app app;
    struct conf_admin admin;
    bool health_enabled;
    struct address health; /* 0.0.0.0:15901 */
    uint32_t max_probes;   /* health checks that run at once; 64 */
    uint32_t n_app_probes;
    struct conf_app_probe *app_probes;
    struct conf_access_log access_log;
    struct conf_reload reload;
    struct conf_dns dns;
    uint32_t n_cleanups;
    struct conf_cleanup *cleanups;
    struct conf_leases leases;
    uint32_t n_hooks;
    struct conf_hook *hooks;
    uint32_t n_jwts;
    struct conf_jwt *jwts; /* conf_authz.h */
    uint32_t n_listeners;
    struct conf_listener *listeners;
    uint32_t n_upstreams;
    struct conf_upstream *upstreams;
    uint32_t n_routes;             /* of all listeners */
    struct conf_names *names;      /* names.c */
    const struct setting *restart; /* what waits for a restart: diff.h */
    struct arena *arena;
};

/* By name (names.c), in O(1); NULL where there is none. A route's name counts within its listener:
 * the listener's name comes with it. */
const struct conf_upstream *conf_find_upstream(const struct conf *c, struct str name);
const struct conf_listener *conf_find_listener(const struct conf *c, struct str name);
const struct conf_route *conf_find_route(const struct conf *c, struct str listener,
                                         struct str route);

#endif
