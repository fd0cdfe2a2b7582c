/* schema_cleanup.c - the keys of what is released: cleanups, leases, hooks. */
#include "config/schema_rows.h"

#include "base/check.h"
#include "config/config.h"

/* ---- a request of ours ---- */

#define HEADER(member) MEMBER(struct conf_header, member)
static const struct schema_key header_keys[] = {
    {"name", "of the header", SCHEMA_STRING, FORMAT_TOKEN, KEY_REQUIRED, HEADER(name)},
    {"value", "of it; ${VARIABLE} keeps a secret out of the file", SCHEMA_STRING, FORMAT_VALUE,
     KEY_REQUIRED, HEADER(value)},
};
static const struct schema_map header_map = {MAP(header_keys), .size = sizeof(struct conf_header)};
static const struct schema_key header_item = {.type = SCHEMA_MAP, .map = &header_map};

#define REQUEST(member) MEMBER(struct conf_request, member)
static const struct schema_key request_keys[] = {
    {"method", "of the request", SCHEMA_STRING, FORMAT_METHOD, REQUEST(method), .preset = "POST"},
    {"url", "http:// or https://, whole", SCHEMA_STRING, FORMAT_URL, KEY_REQUIRED, REQUEST(url),
     .max = 8 * KIB},
    {"headers", "sent with it", SCHEMA_LIST, ITEMS(struct conf_request, headers, n_headers),
     .of = &header_item, .max = CONF_HEADERS_MAX},
    {"body", "sent with it", SCHEMA_STRING, FORMAT_TEXT, REQUEST(body), .preset = "",
     .max = 32 * KIB},
    {"caFile", "the CAs that sign the server; PEM; the system's", SCHEMA_STRING, FORMAT_FILE,
     REQUEST(ca.path)},
    {"certFile", "our certificate, for servers that ask for one; PEM", SCHEMA_STRING, FORMAT_FILE,
     REQUEST(pair.cert.path)},
    {"keyFile", "its private key; PEM, not encrypted", SCHEMA_STRING, FORMAT_FILE,
     REQUEST(pair.key.path)},
};
static const struct schema_case request_cases[] = {
    {"certFile", NULL, "keyFile", {NULL}},
    {"keyFile", NULL, "certFile", {NULL}},
};
static const struct schema_map request_map = {MAP(request_keys), CASES(request_cases)};

/* ---- cleanups ---- */

static const struct schema_key name_item = {
    .type = SCHEMA_STRING, .width = sizeof(struct str), .format = FORMAT_NAME};
static const struct schema_key word_item = {
    .type = SCHEMA_STRING, .width = sizeof(struct str), .format = FORMAT_LINE};

#define CLEANUP(member) MEMBER(struct conf_cleanup, member)
static const struct schema_key cleanup_keys[] = {
    {"name", "for metrics, logs and \"after\"", SCHEMA_STRING, FORMAT_NAME,
     KEY_REQUIRED | KEY_IDENTITY, CLEANUP(name)},
    {"after", "cleanups that end before this one begins", SCHEMA_LIST,
     ITEMS(struct conf_cleanup, after, n_after), .of = &name_item, .max = CONF_AFTER_MAX},
    {"timeout", "of one try", SCHEMA_DURATION, CLEANUP(timeout), .preset = "5s", .min = 10 * MSEC,
     .max = 3600 * SECOND},
    {"retries", "besides the first try", SCHEMA_INT, CLEANUP(retries), .preset = "3", .max = 20},
    {"request", "2xx: released; 404, 410: already gone", SCHEMA_MAP, CLEANUP(request),
     .flag_at = AT(struct conf_cleanup, request.given), .map = &request_map},
    {"command", "a program and its arguments, without a shell; exit code 0: released", SCHEMA_LIST,
     ITEMS(struct conf_cleanup, command, n_command), .of = &word_item, .min = 1, .max = 64},
};
static const struct schema_choice cleanup_choices[] = {
    {CHOICE_EXACTLY_ONE, {"request", "command"}},
};
static const struct schema_map cleanup_map = {MAP(cleanup_keys), CHOICES(cleanup_choices),
                                              .size = sizeof(struct conf_cleanup)};
const struct schema_key schema_cleanup_item = {.type = SCHEMA_MAP, .map = &cleanup_map};

/* ---- leases ---- */

#define LEASES(member) MEMBER(struct conf_leases, member)
static const struct schema_name failures[] = {
    WORD("refuse", JOURNAL_REFUSE), WORD("allow", JOURNAL_ALLOW), {0}};
static const struct schema_key journal_keys[] = {
    {"path", "of the file; beside admin.socket, .leases in place of .sock; or off", SCHEMA_STRING,
     FORMAT_FILE, KEY_OFF | KEY_RESTART, LEASES(journal_path),
     .flag_at = AT(struct conf_leases, journal_given)},
    {"keyFile", "32 bytes, or 64 hex digits: what is in the file is encrypted (AES-256-GCM)",
     SCHEMA_STRING, FORMAT_FILE, KEY_RESTART, LEASES(journal_key_file)},
    {"onFailure", "the disk fails: refuse what is acquired, or allow it in memory", SCHEMA_ENUM,
     LEASES(on_failure), .preset = "refuse", .names = failures},
};
static const struct schema_map journal_map = {MAP(journal_keys)};
static const struct schema_key leases_keys[] = {
    {"max", "held at once, leased and learned", SCHEMA_INT, LEASES(max), .preset = "10000",
     .min = 1, .max = 100000},
    {"maxTtl", "longest that a lease may ask for", SCHEMA_DURATION, LEASES(max_ttl),
     .preset = "24h", .min = SECOND, .max = WEEK},
    {"concurrency", "releases that run at once; 1: strictly one after another", SCHEMA_INT,
     LEASES(concurrency), .preset = "16", .min = 1, .max = 256},
    {"journal", "what outlives a crash of ours", SCHEMA_MAP, LEASES(max), .map = &journal_map},
};
const struct schema_map schema_leases = {MAP(leases_keys)};

/* ---- hooks ---- */

#define HOOK(member) MEMBER(struct conf_hook, member)
static const struct schema_key heartbeat_keys[] = {
    {"interval", "between two of them", SCHEMA_DURATION, HOOK(heartbeat_interval), .preset = "10s",
     .min = 100 * MSEC, .max = WEEK},
    {"request", "what is sent", SCHEMA_MAP, .flags = KEY_REQUIRED, HOOK(heartbeat),
     .flag_at = AT(struct conf_hook, heartbeat.given), .map = &request_map},
};
static const struct schema_map heartbeat_map = {MAP(heartbeat_keys)};
static const struct schema_key hook_keys[] = {
    {"name", "for metrics and logs", SCHEMA_STRING, FORMAT_NAME, KEY_REQUIRED | KEY_IDENTITY,
     HOOK(name)},
    {"onReady", "sent when the listeners serve, until it is answered with 2xx", SCHEMA_MAP,
     HOOK(on_ready), .flag_at = AT(struct conf_hook, on_ready.given), .map = &request_map},
    {"heartbeat", "sent again and again from then on until the drain", SCHEMA_MAP,
     .map = &heartbeat_map},
    {"onDrain", "sent when a drain begins", SCHEMA_MAP, HOOK(on_drain),
     .flag_at = AT(struct conf_hook, on_drain.given), .map = &request_map},
    {"timeout", "of one try of each", SCHEMA_DURATION, HOOK(timeout), .preset = "5s",
     .min = 10 * MSEC, .max = 60 * SECOND},
};
static const struct schema_choice hook_choices[] = {
    {CHOICE_AT_LEAST_ONE, {"onReady", "heartbeat", "onDrain"}},
};
static const struct schema_map hook_map = {MAP(hook_keys), CHOICES(hook_choices),
                                           .size = sizeof(struct conf_hook)};
const struct schema_key schema_hook_item = {.type = SCHEMA_MAP, .map = &hook_map};
