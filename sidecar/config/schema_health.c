/* schema_health.c - the keys of an upstream's healthCheck. */
#include "config/schema_rows.h"

#include "base/check.h"
#include "config/config.h"

#define PROBE(member) MEMBER(struct conf_upstream, health_check.probe.member)
#define RULES(member) MEMBER(struct conf_upstream, health_check.rules.member)
#define GIVEN(member) .flag_at = AT(struct conf_upstream, health_check.member)

#define FIELD(member) MEMBER(struct probe_field, member)
static const struct schema_key field_keys[] = {
    {"name", "of the header", SCHEMA_STRING, FORMAT_TOKEN, KEY_REQUIRED, FIELD(name)},
    {"value", "of it; ${VARIABLE} keeps a secret out of the file", SCHEMA_STRING, FORMAT_VALUE,
     KEY_REQUIRED, FIELD(value)},
};
static const struct schema_map field_map = {MAP(field_keys), .size = sizeof(struct probe_field)};
static const struct schema_key field_item = {.type = SCHEMA_MAP, .map = &field_map};

static const struct schema_key http_keys[] = {
    {"path", "of the request; a query may follow", SCHEMA_STRING, FORMAT_TARGET, PROBE(target),
     .preset = "/", .max = 8 * KIB},
    {"method", "of it", SCHEMA_STRING, FORMAT_METHOD, PROBE(method), .preset = "GET"},
    {"host", "its Host; the endpoint's address", SCHEMA_STRING, FORMAT_HOST_PORT, PROBE(host)},
    {"headers", "sent with it", SCHEMA_LIST,
     ITEMS(struct conf_upstream, health_check.probe.fields, health_check.probe.n_fields),
     .of = &field_item, .max = PROBE_FIELDS_MAX},
    {"status", "that is a good answer: ranges and single ones, such as 200-299,404", SCHEMA_STRING,
     FORMAT_LINE, MEMBER(struct conf_upstream, health_check.status), .preset = "200-399"},
    {"body", "a text that must be in the first 64 KiB of the answer's body", SCHEMA_STRING,
     FORMAT_TEXT, PROBE(body), .max = 4 * KIB},
    {"bodyRegex", "a regular expression (PCRE) that must match there", SCHEMA_STRING, FORMAT_LINE,
     PROBE(body_regex), .max = 4 * KIB},
};
static const struct schema_map http_map = {MAP(http_keys)};

static const struct schema_key tcp_keys[] = {
    {"send", "bytes that are sent once connected", SCHEMA_STRING, FORMAT_TEXT, PROBE(send),
     .max = 4 * KIB},
    {"expect", "bytes that must come; without it a connection is enough", SCHEMA_STRING,
     FORMAT_TEXT, PROBE(expect), .max = 4 * KIB},
};
static const struct schema_map tcp_map = {MAP(tcp_keys)};

static const struct schema_key grpc_keys[] = {
    {"service", "that is asked for; without it the whole server", SCHEMA_STRING, FORMAT_LINE,
     PROBE(service), .max = 255},
    {"host", "its :authority; the endpoint's address", SCHEMA_STRING, FORMAT_HOST_PORT,
     PROBE(host)},
};
static const struct schema_map grpc_map = {MAP(grpc_keys)};

static const struct schema_key word_item = {
    .type = SCHEMA_STRING, .width = sizeof(struct str), .format = FORMAT_LINE};
static const struct schema_key exec_keys[] = {
    {"command",
     "a program and its arguments, without a shell; exit code 0: healthy. It finds SLUICE_UPSTREAM "
     "and SLUICE_ENDPOINT in its environment",
     SCHEMA_LIST, .flags = KEY_REQUIRED,
     ITEMS(struct conf_upstream, health_check.command, health_check.n_command), .of = &word_item,
     .min = 1, .max = 64},
};
static const struct schema_map exec_map = {MAP(exec_keys)};

/* ---- /app-probe/NAME ---- */

#define APP_PROBE(member) MEMBER(struct conf_app_probe, member)
static const struct schema_key app_probe_keys[] = {
    {"name", "what the path ends with: /app-probe/NAME", SCHEMA_STRING, FORMAT_NAME,
     KEY_REQUIRED | KEY_IDENTITY, APP_PROBE(name)},
    {"port", "of the application, on 127.0.0.1, or [::1] where nobody listens there", SCHEMA_INT,
     .flags = KEY_REQUIRED, APP_PROBE(port), .min = 1, .max = 65535},
    {"path", "that it is asked for; a query may follow", SCHEMA_STRING, FORMAT_TARGET,
     APP_PROBE(path), .preset = "/", .max = 8 * KIB},
    {"host", "the Host that it sees; localhost", SCHEMA_STRING, FORMAT_HOST_PORT, APP_PROBE(host)},
    {"timeout", "for its answer; 504 after it", SCHEMA_DURATION, APP_PROBE(timeout), .preset = "5s",
     .min = 10 * MSEC, .max = 60 * SECOND},
};
static const struct schema_map app_probe_map = {MAP(app_probe_keys),
                                                .size = sizeof(struct conf_app_probe)};
const struct schema_key schema_app_probe_item = {.type = SCHEMA_MAP, .map = &app_probe_map};

/* ---- healthCheck ---- */

static const struct schema_name initials[] = {WORD("healthy", false), WORD("unhealthy", true), {0}};

static const struct schema_key health_check_keys[] = {
    {"http", "an HTTP request, by the upstream's protocol and TLS", SCHEMA_MAP, GIVEN(http),
     .map = &http_map},
    {"tcp", "a connection, with TLS where the upstream has it", SCHEMA_MAP, GIVEN(tcp),
     .map = &tcp_map},
    {"grpc", "grpc.health.v1.Health/Check answers SERVING", SCHEMA_MAP, GIVEN(grpc),
     .map = &grpc_map},
    {"exec", "a command, on a host", SCHEMA_MAP, GIVEN(exec), .map = &exec_map},
    {"interval", "between two checks of an endpoint", SCHEMA_DURATION, RULES(interval),
     .preset = "5s", .min = 100 * MSEC, .max = WEEK},
    {"unhealthyInterval",
     "the same while it is unhealthy, or its last check said otherwise than its state; never more "
     "than interval",
     SCHEMA_DURATION, RULES(unhealthy_interval), .preset = "1s", .min = 100 * MSEC, .max = WEEK},
    {"timeout", "of one check", SCHEMA_DURATION, RULES(timeout), .preset = "1s", .min = 10 * MSEC,
     .max = 60 * SECOND},
    {"rise", "good checks in a row that make it healthy", SCHEMA_INT, RULES(rise), .preset = "2",
     .min = 1, .max = 100},
    {"fall", "bad checks in a row that make it unhealthy", SCHEMA_INT, RULES(fall), .preset = "3",
     .min = 1, .max = 100},
    {"jitter", "percent of the interval by which a check comes earlier or later", SCHEMA_INT,
     RULES(jitter), .preset = "10", .max = 50},
    {"initial", "what an endpoint is until the checks have said so", SCHEMA_ENUM,
     RULES(initially_unhealthy), .preset = "healthy", .names = initials},
    {"skipWhileServing",
     "where requests succeeded and none failed since the last check, two of three are left out",
     SCHEMA_BOOL, RULES(skip_while_serving), .preset = "true"},
};
static const struct schema_choice health_check_choices[] = {
    {CHOICE_EXACTLY_ONE, {"http", "tcp", "grpc", "exec"}},
};
const struct schema_map schema_health_check = {MAP(health_check_keys),
                                               CHOICES(health_check_choices)};
