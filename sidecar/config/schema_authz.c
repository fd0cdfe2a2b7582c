/* schema_authz.c - the keys of tokens' issuers, and of who may pass a route. */
#include "config/schema_rows.h"

#include "base/check.h"
#include "config/draft.h"

static const struct schema_key text = {
    .type = SCHEMA_STRING, .width = sizeof(struct str), .format = FORMAT_LINE};

/* ---- issuers ---- */

static const struct schema_name algorithm_names[] = {
#define X(id, name) WORD(name, JWT_##id),
    JWT_ALGORITHM_TABLE(X)
#undef X
        {0}};
static const struct schema_key algorithm = {
    .type = SCHEMA_ENUM, .width = sizeof(uint32_t), .names = algorithm_names};

#define JWT(member) MEMBER(struct conf_jwt, member)
static const struct schema_key jwks_keys[] = {
    {"file", "a JWK set (RFC 7517); read again when it changes", SCHEMA_STRING, FORMAT_FILE,
     JWT(jwks.path)},
    {"url", "a JWK set is fetched from there, again and again", SCHEMA_STRING, FORMAT_URL,
     JWT(jwks_url)},
    {"caFile", "PEM: who may have signed the server's certificate; the system's CAs", SCHEMA_STRING,
     FORMAT_FILE, JWT(jwks_ca.path)},
    {"interval", "from one fetch to the next", SCHEMA_DURATION, JWT(jwks_interval), .preset = "5m",
     .min = 1 * SECOND, .max = 86400 * SECOND},
    {"timeout", "of a fetch", SCHEMA_DURATION, JWT(jwks_timeout), .preset = "2s", .min = 10 * MSEC,
     .max = 30 * SECOND},
    {"unknownKeyInterval", "between fetches that tokens with an unknown key ask for",
     SCHEMA_DURATION, JWT(jwks_unknown_after), .preset = "10s", .min = 1 * SECOND,
     .max = 3600 * SECOND},
};
static const struct schema_choice jwks_choices[] = {
    {CHOICE_EXACTLY_ONE, {"file", "url"}},
};
static const struct schema_case jwks_cases[] = {
    {"file", NULL, NULL, {"caFile", "interval", "timeout", "unknownKeyInterval"}}};
static const struct schema_map jwks_map = {MAP(jwks_keys), CHOICES(jwks_choices),
                                           CASES(jwks_cases)};

#define FROM(member) MEMBER(struct conf_jwt_from, member)
static const struct schema_key from_keys[] = {
    {"header", "the name of a header", SCHEMA_STRING, FORMAT_TOKEN, FROM(header)},
    {"scheme", "a word in front of the token, as Bearer is; none, but for Authorization: Bearer",
     SCHEMA_STRING, FORMAT_TOKEN, FROM(scheme)},
    {"cookie", "the name of a cookie", SCHEMA_STRING, FORMAT_TOKEN, FROM(cookie)},
};
static const struct schema_choice from_choices[] = {
    {CHOICE_EXACTLY_ONE, {"header", "cookie"}},
};
static const struct schema_case from_cases[] = {{"cookie", NULL, NULL, {"scheme"}}};
static const struct schema_map from_map = {MAP(from_keys), CHOICES(from_choices), CASES(from_cases),
                                           .size = sizeof(struct conf_jwt_from)};
static const struct schema_key from_item = {.type = SCHEMA_MAP, .map = &from_map};

#define HEADER(member) MEMBER(struct conf_jwt_header, member)
static const struct schema_key header_keys[] = {
    {"claim", "its name, or a path to it: $.realm_access.roles", SCHEMA_STRING, FORMAT_LINE,
     KEY_REQUIRED, HEADER(claim)},
    {"header", "what the upstream gets it in; what a client sends there is removed", SCHEMA_STRING,
     FORMAT_TOKEN, KEY_REQUIRED, HEADER(header)},
};
static const struct schema_map header_map = {MAP(header_keys),
                                             .size = sizeof(struct conf_jwt_header)};
static const struct schema_key header_item = {.type = SCHEMA_MAP, .map = &header_map};

static const struct schema_key jwt_keys[] = {
    {"name", "what routes call it", SCHEMA_STRING, FORMAT_NAME, KEY_REQUIRED | KEY_IDENTITY,
     JWT(name)},
    {"issuer", "what the claim iss has to be", SCHEMA_STRING, FORMAT_LINE, KEY_REQUIRED,
     JWT(rules.issuer)},
    {"audiences", "one of which is in the claim aud; none: aud is not looked at", SCHEMA_LIST,
     ITEMS(struct conf_jwt, rules.audiences, rules.n_audiences), .of = &text, .min = 1, .max = 64},
    {"algorithms", "that a token may be signed by; RS*, PS*, ES* and EdDSA", SCHEMA_LIST,
     ITEMS(struct conf_jwt, algorithms, n_algorithms), .of = &algorithm, .min = 1,
     .max = JWT_ALGORITHMS},
    {"jwks", "the issuer's keys", SCHEMA_MAP, .flags = KEY_REQUIRED, .map = &jwks_map},
    {"from", "where its tokens are looked for, in this order; Authorization: Bearer", SCHEMA_LIST,
     .flags = KEY_ORDERED, ITEMS(struct conf_jwt, from, n_from), .of = &from_item, .min = 1,
     .max = CONF_JWT_FROM_MAX},
    {"leeway", "that its clock and ours may differ by", SCHEMA_DURATION, JWT(leeway),
     .preset = "60s", .max = 600 * SECOND},
    {"requireExp", "a token without the claim exp is refused", SCHEMA_BOOL, JWT(rules.require_exp),
     .preset = "true"},
    {"claimsToHeaders", "claims that the upstream gets", SCHEMA_LIST,
     ITEMS(struct conf_jwt, headers, n_headers), .of = &header_item, .min = 1,
     .max = CONF_JWT_HEADERS_MAX},
    {"forwardToken", "the upstream gets the token too", SCHEMA_BOOL, JWT(forward_token),
     .preset = "false"},
    {"cacheSize", "verified tokens that each worker remembers; 0: none", SCHEMA_INT,
     JWT(cache_size), .preset = "1024", .max = 1000000},
};
static const struct schema_map jwt_map = {MAP(jwt_keys), .size = sizeof(struct conf_jwt)};
const struct schema_key schema_jwt_item = {.type = SCHEMA_MAP, .map = &jwt_map};

/* ---- routes ---- */

static const struct schema_key method = {
    .type = SCHEMA_STRING, .width = sizeof(struct str), .format = FORMAT_METHOD};
static const struct schema_key value = {
    .type = SCHEMA_STRING, .width = sizeof(struct str), .format = FORMAT_VALUE};
static const struct schema_key spiffe_rule = {
    .type = SCHEMA_STRING, .width = sizeof(struct str), .format = FORMAT_SPIFFE_RULE};
static const struct schema_key network = {.type = SCHEMA_CIDR, .width = sizeof(struct cidr)};
static const struct schema_name actions[] = {WORD("deny", false), WORD("allow", true), {0}};

#define CLAIM(member) MEMBER(struct authz_claim, member)
static const struct schema_key claim_keys[] = {
    {"claim", "its name, or a path to it: $.realm_access.roles", SCHEMA_STRING, FORMAT_LINE,
     KEY_REQUIRED, CLAIM(claim)},
    {"values", "one of which it is, or has among its items (of scope: its words)", SCHEMA_LIST,
     .flags = KEY_REQUIRED, ITEMS(struct authz_claim, values, n_values), .of = &value, .min = 1,
     .max = 256},
};
static const struct schema_map claim_map = {MAP(claim_keys), .size = sizeof(struct authz_claim)};
static const struct schema_key claim_item = {.type = SCHEMA_MAP, .map = &claim_map};

static const struct schema_key rule_keys[] = {
    {"action", "what becomes of a request that fits", SCHEMA_ENUM, .flags = KEY_REQUIRED,
     MEMBER(struct authz_rule, allow), .names = actions},
    {"methods", "the method is one of these", SCHEMA_LIST,
     ITEMS(struct authz_rule, methods, n_methods), .of = &method, .min = 1, .max = 64},
    {"paths", "the path is one of these; /a/* for /a and all below", SCHEMA_LIST,
     ITEMS(struct authz_rule, paths, n_paths), .of = &text, .min = 1, .max = 256},
    {"claims", "each of these fits", SCHEMA_LIST, ITEMS(struct authz_rule, claims, n_claims),
     .of = &claim_item, .min = 1, .max = 64},
    {"spiffeIds", "the client's certificate has one of these; with /* in its end: all below",
     SCHEMA_LIST, ITEMS(struct authz_rule, spiffe_ids, n_spiffe_ids), .of = &spiffe_rule, .min = 1,
     .max = 256},
    {"sourceCidrs",
     "the client's address, behind the proxies that the listener trusts, is in one of these "
     "networks",
     SCHEMA_LIST, ITEMS(struct authz_rule, cidrs, n_cidrs), .of = &network, .min = 1, .max = 256},
};
static const struct schema_map rule_map = {MAP(rule_keys), .size = sizeof(struct authz_rule)};
static const struct schema_key rule_item = {.type = SCHEMA_MAP, .map = &rule_map};

#define AUTHZ(member) MEMBER(struct draft_route, authz.member)
static const struct schema_key authz_keys[] = {
    {"jwt", "issuers, one of which the request has a token of", SCHEMA_LIST,
     ITEMS(struct draft_route, authz.names, authz.n_names), .of = &text, .min = 1,
     .max = CONF_AUTHZ_JWTS_MAX},
    {"optional", "a request without a token goes on to the rules; a wrong one never does",
     SCHEMA_BOOL, AUTHZ(optional), .preset = "false"},
    {"rules", "the first that fits decides; none: refused where one of them allows", SCHEMA_LIST,
     .flags = KEY_ORDERED, ITEMS(struct draft_route, authz.rules.rules, authz.rules.n),
     .of = &rule_item, .min = 1, .max = CONF_AUTHZ_RULES_MAX},
    {"dryRun", "it is decided and counted, and nothing changes", SCHEMA_BOOL, AUTHZ(dry_run),
     .preset = "false"},
};
static const struct schema_choice authz_choices[] = {
    {CHOICE_AT_LEAST_ONE, {"jwt", "rules"}},
};
static const struct schema_case authz_cases[] = {{"optional", "true", "jwt", {NULL}}};
const struct schema_map schema_authz = {MAP(authz_keys), CHOICES(authz_choices),
                                        CASES(authz_cases)};
