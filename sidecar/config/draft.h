/* draft.h - what the schema fills: the configuration's own structs, and beside them what has to
 * be looked up or decided before it can go there. Gone when the configuration is built. */
#ifndef SLUICE_CONFIG_DRAFT_H
#define SLUICE_CONFIG_DRAFT_H

#include "config/conf_authz.h"

struct draft_condition {
    struct str name;
    struct str exact, prefix, regex; /* .p NULL: not given */
    bool present, has_present;
    bool invert;
};

struct draft_match {
    struct str host, path, path_prefix, path_regex, method; /* .p NULL: not given */
    uint32_t n_hosts, n_methods, n_sni;
    struct str *hosts, *methods, *sni;
    uint32_t n_headers, n_query;
    struct draft_condition *headers, *query;
};

struct draft_learn_header {
    struct str name, value;
};

struct draft_learn_take {
    struct str name;
    struct str json, header, cookie, request_json; /* .p NULL: not given */
};

/* acquire and release. */
struct draft_learn_request {
    struct str method, path;
    uint32_t n_headers, n_takes;
    struct draft_learn_header *headers;
    struct draft_learn_take *takes;
};

struct draft_learn {
    struct learn_rule rule;
    struct draft_learn_request acquire, release;
    bool has_release;
    struct str status, key, target, body;
    uint32_t n_takes, n_headers;
    struct draft_learn_take *takes;
    struct draft_learn_header *headers; /* of hold */
};

struct draft_fault {
    bool given;
    struct fault_rules rules;
    struct str delay_percent, abort_percent;
    uint8_t grpc_status;
    bool has_grpc_status;
    uint32_t n_headers;
    struct draft_condition *headers;
};

struct draft_header_write {
    struct str name, value;
};

struct draft_header_rules {
    bool given, dry_run;
    uint32_t n_set, n_set_if_absent, n_add, n_remove;
    struct draft_header_write *set, *set_if_absent, *add;
    struct str *remove;
};

struct draft_backend {
    struct str upstream;
    uint32_t weight;
    bool has_weight;
};

struct draft_retry {
    struct retry_rules rules;
    bool given;
    uint32_t n_on, n_methods; /* 0: not given */
    uint32_t *on;             /* enum retry_condition */
    uint32_t *methods;        /* enum http_method */
};

struct draft_route {
    struct conf_route conf;
    struct draft_match match;
    uint32_t n_backends;
    struct draft_backend *backends;
    struct str upstream;
    bool has_redirect, has_direct, has_upgrades, has_websocket_idle;
    uint32_t n_upgrades;
    uint32_t *upgrades;
    uint32_t n_learn;
    struct draft_learn *learn;
    struct draft_header_rules request_headers, response_headers;
    struct draft_fault fault;
    struct draft_retry retry;
    bool has_authz;
    struct conf_authz authz;
};

struct draft_listener {
    struct conf_listener conf;
    uint32_t n_routes;
    struct draft_route *routes;
    uint32_t n_backends;
    struct draft_backend *backends;
    struct draft_header_rules request_headers, response_headers;
};

struct draft {
    uint32_t version;
    struct conf conf;
    uint32_t n_listeners;
    struct draft_listener *listeners;
};

#endif
