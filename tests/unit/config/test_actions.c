/* test_actions.c - header rules, faults and redaction of a configuration: what is built, and what
 * is refused where. */
#include "build_rig.h"

#define RQ          R0 ".requestHeaderModifier"
#define RS          R0 ".responseHeaderModifier"
#define REQUEST(x)  FORWARD_7_5("requestHeaderModifier: {" x "}")
#define RESPONSE(x) FORWARD_7_5("responseHeaderModifier: {" x "}")
#define SET(n, v)   REQUEST("set: [{name: " n ", value: " v "}]")
#define NO_HTTP(x)  TCP_6_3("backends: [{upstream: a}]\n  " x)

#define FT       R0 ".fault"
#define FAULT(x) FORWARD_7_5("fault: {" x "}")

#define REDACT(x) ROOT_2_1("accessLog: {redact: {" x "}}")
#define RD        "accessLog.redact"

static const struct mistake wrong[] = {
    {REDACT("fields: [route]"), 2, 31, RD ".fields[0]", "one of client peer host path query"},
    {REDACT("fields: []"), 2, 30, RD ".fields", "at least 1 item"},
    {REDACT("parameters: [\"\"]"), 2, 35, RD ".parameters[0]", "expected some text"},
    {REDACT("parameters: token"), 2, 34, RD ".parameters", "expected a list"},
    {REDACT("salt: abc"), 2, 22, RD ".salt", "unknown key \"salt\" (did you mean \"saltFile\"?)"},
    {FAULT("maxActive: 1"), 7, 12, FT, "one of \"delay\", \"abort\" is missing"},
    {FAULT("delay: {percent: 1}"), 7, 20, FT ".delay", "required key \"duration\" is missing"},
    {FAULT("abort: {}"), 7, 20, FT ".abort", "required key \"percent\" is missing"},
    {FAULT("abort: {percent: 101}"), 7, 30, FT ".abort.percent",
     "expected a percentage from 0 to 100, such as 5 or 0.25, got \"101\""},
    {FAULT("abort: {percent: 100.0001}"), 7, 30, FT ".abort.percent", "a percentage from 0"},
    {FAULT("abort: {percent: 0.00001}"), 7, 30, FT ".abort.percent", "a percentage from 0"},
    {FAULT("abort: {percent: 5.}"), 7, 30, FT ".abort.percent", "a percentage from 0"},
    {FAULT("abort: {percent: .5}"), 7, 30, FT ".abort.percent", "a percentage from 0"},
    {FAULT("abort: {percent: 5%}"), 7, 30, FT ".abort.percent", "a percentage from 0"},
    {FAULT("abort: {percent: -1}"), 7, 30, FT ".abort.percent", "a percentage from 0"},
    {FAULT("abort: {percent: 1, status: 200}"), 7, 41, FT ".abort.status", "from 400 to 599"},
    {FAULT("abort: {percent: 1, grpcStatus: 0}"), 7, 45, FT ".abort.grpcStatus", "from 1 to 16"},
    {FAULT("delay: {percent: 1, duration: 0}"), 7, 43, FT ".delay.duration", "from 1ms to 10m"},
    {FAULT("delay: {percent: 1, duration: 1s}, headers: [{name: a, regex: (}]"), 7, 75,
     FT ".headers[0].regex", "not a regular expression"},
    {FAULT("delay: {percent: 1, duration: 1s}, headers: [{name: a}]"), 7, 58, FT ".headers[0]",
     "is missing"},
    {SET("Content-Length", "\"1\""), 7, 42, RQ ".set[0].name",
     "Content-Length: says where the message ends"},
    {SET("transfer_encoding", "a"), 7, 42, RQ ".set[0].name", "says where the message ends"},
    {REQUEST("add: [{name: Connection, value: a}]"), 7, 42, RQ ".add[0].name",
     "Connection: belongs to a connection"},
    {REQUEST("setIfAbsent: [{name: host, value: a}]"), 7, 50, RQ ".setIfAbsent[0].name",
     "host: is what \"rewrite\" with \"host\" changes"},
    {REQUEST("remove: [X-A, x-forwarded-for]"), 7, 43, RQ ".remove[1]", "is written by sluice"},
    {RESPONSE("remove: [Via]"), 7, 39, RS ".remove[0]", "Via: is written by sluice"},
    {RESPONSE("remove: [grpc-status]"), 7, 39, RS ".remove[0]", "belongs to a gRPC call"},
    {REQUEST("remove: [Sec-WebSocket-Key]"), 7, 38, RQ ".remove[0]", "handshake of a WebSocket"},
    {REQUEST("remove: [\"*\"]"), 7, 38, RQ ".remove[0]", "*: a name must begin in front"},
    {REQUEST("remove: [\"a*b\"]"), 7, 38, RQ ".remove[0]", "a*b: a * stands for the rest"},
    {REQUEST("remove: [\"a b\"]"), 7, 38, RQ ".remove[0]", "expected a name of letters"},
    {REQUEST("remove: []"), 7, 37, RQ ".remove", "at least 1 item"},
    {SET("\":path\"", "a"), 7, 42, RQ ".set[0].name", "expected a name of letters"},
    {SET("a", "\"a\\r\\nb: c\""), 7, 52, RQ ".set[0].value", "without control characters"},
    {SET("a", "\"${LINES}\""), 7, 52, RQ ".set[0].value", "without control characters"},
    {SET("a", "\"{client}\""), 7, 52, RQ ".set[0].value",
     "there is no variable {client}: there are {client.address} {request.id}"},
    {SET("a", "\"{${SECRET}}\""), 7, 52, RQ ".set[0].value", "there is no variable {...}"},
    {SET("a", "\"x{\""), 7, 52, RQ ".set[0].value", "at character 2: \"{\" begins the name"},
    {REQUEST("set: [{name: a}]"), 7, 35, RQ ".set[0]", "required key \"value\" is missing"},
    {REQUEST("set: [{name: a, value: b}, {name: A, value: c}]"), 7, 63, RQ ".set[1].name",
     "the field is in this list twice; the first is on line 7"},
    {REQUEST("sett: []"), 7, 29, RQ ".sett", "unknown key \"sett\" (did you mean \"set\"?)"},
    {NO_HTTP("requestHeaderModifier: {}"), 7, 3, IN ".requestHeaderModifier",
     "has no meaning with protocol: tcp"},
};

static void test_mistakes(UNUSED void **state)
{
    assert_mistakes(wrong, ARRAY_LEN(wrong));
}

static struct conf *good(const char *text)
{
    struct config_problems p;
    struct conf *c = build(text, &p);
    if (!c || p.n > 0)
        config_problems_print(&p, "got", STDERR_FILENO);
    assert_true(c && p.n == 0);
    config_problems_free(&p);
    return c;
}

static void test_header_rules(UNUSED void **state)
{
    struct conf *c =
        good("version: 1\nlisteners:\n- name: in\n  address: 127.0.0.1:1\n"
             "  responseHeaderModifier: {remove: [Server]}\n  routes:\n"
             "  - upstream: a\n    match: {path: /a}\n    requestHeaderModifier:\n"
             "      add: [{name: A, value: '{route}'}, {name: A, value: b}]\n"
             "      setIfAbsent: [{name: B, value: b}]\n      set: [{name: C, value: c}]\n"
             "      remove: [D, 'E*']\n      dryRun: true\n"
             "    responseHeaderModifier: {set: [{name: F, value: '{header.x}'}]}\n"
             "  - {upstream: a}\n" TAIL);
    const struct conf_headers *h = c->listeners[0].routes[0].headers;
    const struct header_rules *r = h->request[1];
    assert_null(h->request[0]);
    assert_true(r->request && r->dry_run && !r->uses_request && h->response_uses_request);
    assert_int_equal(r->n_writes, 4);
    assert_int_equal(r->writes[0].op, HEADER_SET);
    assert_int_equal(r->writes[1].op, HEADER_SET_IF_ABSENT);
    assert_int_equal(r->writes[2].op, HEADER_ADD);
    assert_int_equal(r->writes[2].value.uses, 1u << HEADER_ROUTE);
    assert_int_equal(r->n_removes, 2);
    assert_true(!r->removes[0].prefix && r->removes[1].prefix);
    assert_true(h->response[0] && h->response[1] && !h->response[0]->request);
    const struct conf_headers *other = c->listeners[0].routes[1].headers;
    assert_ptr_equal(other->response[0], h->response[0]);
    assert_true(!other->response[1] && !other->request[1] && !other->response_uses_request);
    (void)config_free(c);
    c = good(GOOD);
    assert_null(c->listeners[0].routes[0].headers);
    (void)config_free(c);
}

static void test_fault(UNUSED void **state)
{
    struct conf *c = good(FAULT("delay: {duration: 1.5s, percent: 12.5}, maxActive: 3, "
                                "headers: [{name: x, exact: y}]"));
    const struct fault_rules *r = c->listeners[0].routes[0].fault;
    assert_true(r->delays && !r->aborts && !r->dry_run && r->headers);
    assert_int_equal(r->delay, 1500000);
    assert_int_equal(r->delay_ppm, 125000);
    assert_int_equal(r->max_active, 3);
    (void)config_free(c);
    c = good(FAULT("abort: {percent: 100.0000}, dryRun: true"));
    r = c->listeners[0].routes[0].fault;
    assert_true(!r->delays && r->aborts && r->dry_run && !r->headers);
    assert_int_equal(r->abort_ppm, FAULT_WHOLE_PPM);
    assert_int_equal(r->abort_status, 503);
    assert_int_equal(r->abort_grpc, -1);
    (void)config_free(c);
    c = good(FAULT("abort: {percent: \"0.0001\", status: 429, grpcStatus: 8}"));
    r = c->listeners[0].routes[0].fault;
    assert_int_equal(r->abort_ppm, 1);
    assert_int_equal(r->abort_status, 429);
    assert_int_equal(r->abort_grpc, 8);
    (void)config_free(c);
}

static void test_redact(UNUSED void **state)
{
    struct conf *c = good(ROOT_2_1("accessLog: {}"));
    assert_true(!c->access_log.parameters_given && c->access_log.n_redacted == 0);
    assert_int_equal(c->access_log.salt_file.n, 0);
    (void)config_free(c);
    c = good(REDACT("parameters: []"));
    assert_true(c->access_log.parameters_given && c->access_log.n_parameters == 0);
    (void)config_free(c);
    c = good(REDACT("parameters: [a, b], fields: [spiffe_id, client], saltFile: /s"));
    assert_int_equal(c->access_log.n_parameters, 2);
    assert_true(str_eq(c->access_log.parameters[1], STR("b")));
    assert_int_equal(c->access_log.redacted[0], REDACT_SPIFFE_ID);
    assert_int_equal(c->access_log.redacted[1], REDACT_CLIENT);
    assert_true(str_eq(c->access_log.salt_file, STR("/s")));
    (void)config_free(c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_mistakes),
        cmocka_unit_test(test_header_rules),
        cmocka_unit_test(test_fault),
        cmocka_unit_test(test_redact),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
