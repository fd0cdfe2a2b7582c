/* schema_tls.c - the keys of TLS, with clients and with upstreams. */
#include "config/schema_rows.h"

#include "base/check.h"
#include "config/draft.h"

static const struct schema_name versions[] = {WORD("1.2", TLS_1_2), WORD("1.3", TLS_1_3), {0}};

static const struct schema_key spiffe_rule = {
    .type = SCHEMA_STRING, .width = sizeof(struct str), .format = FORMAT_SPIFFE_RULE};
static const struct schema_key host = {
    .type = SCHEMA_STRING, .width = sizeof(struct str), .format = FORMAT_HOST};

enum { RULES_MAX = 256 };

/* ---- listeners ---- */

#define PAIR(member) MEMBER(struct conf_tls_pair, member)
static const struct schema_key pair_keys[] = {
    {"certFile", "the certificate, and behind it those that signed it but the root; PEM",
     SCHEMA_STRING, FORMAT_FILE, KEY_REQUIRED, PAIR(cert.path)},
    {"keyFile", "its private key; PEM, not encrypted", SCHEMA_STRING, FORMAT_FILE, KEY_REQUIRED,
     PAIR(key.path)},
};
static const struct schema_map pair_map = {MAP(pair_keys), .size = sizeof(struct conf_tls_pair)};
static const struct schema_key pair_item = {.type = SCHEMA_MAP, .map = &pair_map};

static const struct schema_name client_auths[] = {WORD("none", TLS_CLIENT_NONE),
                                                  WORD("optional", TLS_CLIENT_OPTIONAL),
                                                  WORD("require", TLS_CLIENT_REQUIRE),
                                                  {0}};

#define LISTENER_TLS(member) MEMBER(struct draft_listener, conf.tls.member)
static const struct schema_key listener_keys[] = {
    {"certificates",
     "chosen by the server name that the client asks for (SNI); the first is for all other names",
     SCHEMA_LIST, .flags = KEY_REQUIRED,
     ITEMS(struct draft_listener, conf.tls.certificates, conf.tls.n_certificates), .of = &pair_item,
     .min = 1, .max = TLS_CERTIFICATES_MAX},
    {"minVersion", "of TLS", SCHEMA_ENUM, LISTENER_TLS(min_version), .preset = "1.2",
     .names = versions},
    {"clientAuth", "clients' certificates: not asked for, verified where there is one, or required",
     SCHEMA_ENUM, LISTENER_TLS(client_auth), .preset = "none", .names = client_auths},
    {"caFile", "the CAs that sign clients; PEM", SCHEMA_STRING, FORMAT_FILE, LISTENER_TLS(ca.path)},
    {"spiffeIds",
     "clients that may connect: spiffe://domain/path, or spiffe://domain/path/* for all below; "
     "none: every verified one",
     SCHEMA_LIST, ITEMS(struct draft_listener, conf.tls.spiffe_ids, conf.tls.n_spiffe_ids),
     .of = &spiffe_rule, .min = 1, .max = RULES_MAX},
};
static const struct schema_case listener_cases[] = {
    {"clientAuth", "none", NULL, {"spiffeIds"}},
    {"clientAuth", "optional", "caFile", {NULL}},
    {"clientAuth", "require", "caFile", {NULL}},
};
const struct schema_map schema_listener_tls = {MAP(listener_keys), CASES(listener_cases)};

/* ---- upstreams ---- */

#define UPSTREAM_TLS(member) MEMBER(struct conf_upstream, tls.member)
static const struct schema_key upstream_keys[] = {
    {"caFile", "the CAs that sign the server; PEM; the system's", SCHEMA_STRING, FORMAT_FILE,
     UPSTREAM_TLS(ca.path)},
    {"serverName",
     "asked for (SNI), and looked for in the certificate; the endpoint's own name or address",
     SCHEMA_STRING, FORMAT_HOST, UPSTREAM_TLS(server_name)},
    {"sans", "names or addresses, one of which the certificate carries; serverName", SCHEMA_LIST,
     ITEMS(struct conf_upstream, tls.sans, tls.n_sans), .of = &host, .min = 1, .max = RULES_MAX},
    {"spiffeIds", "what the server may be, instead of a name; as of a listener", SCHEMA_LIST,
     ITEMS(struct conf_upstream, tls.spiffe_ids, tls.n_spiffe_ids), .of = &spiffe_rule, .min = 1,
     .max = RULES_MAX},
    {"insecureSkipVerify", "whoever answers is believed: for tests", SCHEMA_BOOL,
     UPSTREAM_TLS(insecure), .preset = "false"},
    {"certFile", "our certificate, for servers that ask for one; PEM", SCHEMA_STRING, FORMAT_FILE,
     UPSTREAM_TLS(pair.cert.path)},
    {"keyFile", "its private key; PEM, not encrypted", SCHEMA_STRING, FORMAT_FILE,
     UPSTREAM_TLS(pair.key.path)},
    {"minVersion", "of TLS", SCHEMA_ENUM, UPSTREAM_TLS(min_version), .preset = "1.2",
     .names = versions},
};
static const struct schema_choice upstream_choices[] = {
    {CHOICE_AT_MOST_ONE, {"sans", "spiffeIds"}},
};
static const struct schema_case upstream_cases[] = {
    {"certFile", NULL, "keyFile", {NULL}},
    {"keyFile", NULL, "certFile", {NULL}},
    {"insecureSkipVerify", "true", NULL, {"caFile", "sans", "spiffeIds"}},
};
const struct schema_map schema_upstream_tls = {MAP(upstream_keys), CHOICES(upstream_choices),
                                               CASES(upstream_cases)};
