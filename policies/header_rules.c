/* header_rules.c - header fields that an operator sets, adds and removes as a message goes by. */
#include "policies/header_rules.h"

#include "base/check.h"

#include <errno.h>

/* --- what is out of reach --- */

enum { OF_REQUESTS = 1, OF_RESPONSES = 2, OF_BOTH = 3 };

static const struct {
    const char *name;
    const char *why;
    unsigned where;
} kept[] = {
#define FRAMING    "says where the message ends, which sluice tells each peer itself"
#define CONNECTION "belongs to a connection, and each of ours has its own"
#define HANDSHAKE  "belongs to the handshake of a WebSocket"
#define CALL       "belongs to a gRPC call, which ends by it"
#define OURS       "is written by sluice: what is behind it relies on that"
    {"content-length", FRAMING, OF_BOTH},
    {"transfer-encoding", FRAMING, OF_BOTH},
    {"trailer", FRAMING, OF_BOTH},
    {"connection", CONNECTION, OF_BOTH},
    {"keep-alive", CONNECTION, OF_BOTH},
    {"proxy-connection", CONNECTION, OF_BOTH},
    {"proxy-authenticate", CONNECTION, OF_BOTH},
    {"proxy-authorization", CONNECTION, OF_BOTH},
    {"te", CONNECTION, OF_BOTH},
    {"upgrade", CONNECTION, OF_BOTH},
    {"http2-settings", CONNECTION, OF_BOTH},
    {"expect", CONNECTION, OF_BOTH},
    {"host", "is what \"rewrite\" with \"host\" changes", OF_BOTH},
    {"sec-websocket-key", HANDSHAKE, OF_BOTH},
    {"sec-websocket-accept", HANDSHAKE, OF_BOTH},
    {"sec-websocket-version", HANDSHAKE, OF_BOTH},
    {"sec-websocket-extensions", HANDSHAKE, OF_BOTH},
    {"sec-websocket-protocol", HANDSHAKE, OF_BOTH},
    {"grpc-timeout", CALL, OF_BOTH},
    {"grpc-status", CALL, OF_BOTH},
    {"grpc-message", CALL, OF_BOTH},
    {"via", OURS, OF_BOTH},
    {"forwarded", OURS, OF_REQUESTS},
    {"x-forwarded-for", OURS, OF_REQUESTS},
    {"x-forwarded-proto", OURS, OF_REQUESTS},
    {"x-forwarded-host", OURS, OF_REQUESTS},
    {"x-request-id", OURS, OF_REQUESTS},
    {"traceparent", OURS, OF_REQUESTS},
    {"proxy-status", OURS, OF_RESPONSES},
};

/* An application behind CGI reads Content_Length as Content-Length. */
static bool same_name(struct str name, struct str lower)
{
    if (name.n != lower.n)
        return false;
    for (size_t i = 0; i < name.n; i++) {
        char c = name.p[i] == '_' ? '-' : ascii_lower(name.p[i]);
        if (c != lower.p[i])
            return false;
    }
    return true;
}

const char *header_rules_refuses(struct str name, bool request)
{
    for (size_t i = 0; i < ARRAY_LEN(kept); i++) {
        if ((kept[i].where & (request ? OF_REQUESTS : OF_RESPONSES)) &&
            same_name(name, str_of(kept[i].name)))
            return kept[i].why;
    }
    return NULL;
}

/* --- compiling --- */

const char *header_remove_compile(struct str text, bool request, struct header_remove *ret)
{
    const char *star = text.n ? memchr(text.p, '*', text.n) : NULL;
    struct str name = {text.p, star ? (size_t)(star - text.p) : text.n};
    if (star && star + 1 != text.p + text.n)
        return "a * stands for the rest of a name, in its end only";
    if (name.n == 0)
        return "a name must begin in front of the *";
    const char *why = star ? NULL : header_rules_refuses(name, request);
    if (why)
        return why;
    *ret = (struct header_remove){.name = name, .prefix = star != NULL};
    return NULL;
}

#define HEADER_PREFIX "header."

static bool is_name_char(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' ||
           c == '_' || c == '.';
}

/* `{header.X}`s of a text: X into w->headers, the whole names behind those of the variables. */
static int collect_headers(struct str text, struct header_write *w, struct str *names,
                           struct template_problem *problem)
{
    const size_t skip = sizeof(HEADER_PREFIX) - 1;
    for (size_t i = 0; i < text.n; i++) {
        if (text.p[i] != '{')
            continue;
        struct str rest = {text.p + i + 1, text.n - i - 1};
        if (rest.n > 0 && rest.p[0] == '{') {
            i++;
            continue;
        }
        size_t n = 0;
        while (n < rest.n && is_name_char(rest.p[n]))
            n++;
        struct str name = {rest.p, n};
        if (n == rest.n || rest.p[n] != '}' || n <= skip || !str_starts(name, STR(HEADER_PREFIX)))
            continue;
        uint32_t k = 0;
        while (k < w->n_headers && !str_eq(names[HEADER_VARIABLES + k], name))
            k++;
        if (k < w->n_headers)
            continue;
        if (k == HEADER_NAMES_MAX) {
            *problem = (struct template_problem){.what = "more than 8 headers in a value", .at = i};
            return -EINVAL;
        }
        names[HEADER_VARIABLES + k] = name;
        w->headers[k] = (struct str){name.p + skip, name.n - skip};
        w->n_headers++;
    }
    return 0;
}

int header_write_compile(struct arena *a, struct str text, struct header_write *ret,
                         struct template_problem *problem)
{
    struct str names[HEADER_VARIABLES + HEADER_NAMES_MAX] = {
#define X(id, name) [HEADER_##id] = {name, sizeof(name) - 1},
        HEADER_VARIABLE_TABLE(X)
#undef X
    };
    ret->n_headers = 0;
    int rc = collect_headers(text, ret, names, problem);
    return rc < 0 ? rc
                  : template_compile(a, text, TEMPLATE_HEADER, names,
                                     HEADER_VARIABLES + ret->n_headers, &ret->value, problem);
}

/* --- acting --- */

/* The value of each write; .p NULL: it is left out. What is not the rule's own text is in bytes. */
struct rendered {
    struct str value[HEADER_WRITES_MAX];
    uint32_t n_values;
    size_t n; /* written, or to be written */
    char bytes[HEADER_WRITTEN_MAX];
};

static int render_values(const struct header_write *w, const struct header_values *v, char *to,
                         size_t room, size_t *ret_n)
{
    struct str values[HEADER_VARIABLES + HEADER_NAMES_MAX];
    uint32_t variables = w->value.uses & ((UINT32_C(1) << HEADER_VARIABLES) - 1);
    for (; variables != 0; variables &= variables - 1) {
        unsigned i = (unsigned)__builtin_ctz(variables);
        values[i] = v->variable(v->ctx, (enum header_variable)i);
    }
    for (uint32_t i = 0; i < w->n_headers; i++)
        values[HEADER_VARIABLES + i] = v->header(v->ctx, w->headers[i]);
    return template_render(&w->value, values, to, room, ret_n);
}

static int render(const struct header_write *w, const struct header_values *v, struct rendered *out,
                  struct str *ret)
{
    const size_t around = w->name.n + 4;
    size_t room = sizeof(out->bytes) - out->n;
    struct str value;
    *ret = STR_NONE;
    if (around > room)
        return -EMSGSIZE;
    if (w->value.uses == 0) {
        value = template_literal(&w->value);
        if (value.n > room - around)
            return -EMSGSIZE;
    } else {
        value.p = out->bytes + out->n;
        int rc = render_values(w, v, out->bytes + out->n, room - around, &value.n);
        if (rc < 0)
            return rc;
    }
    out->n += value.n + around;
    /* No space may stand at its ends (RFC 9113 §8.2.1). */
    value = str_trim(value);
    if (value.n == 0)
        return -ENOENT;
    *ret = value;
    return 0;
}

static int render_all(const struct header_rules *r, const struct header_values *v,
                      struct rendered *out, struct header_changes *changes)
{
    CHECK(r->n_writes <= HEADER_WRITES_MAX);
    for (uint32_t i = 0; i < r->n_writes; i++) {
        int rc = render(&r->writes[i], v, out, &out->value[i]);
        out->n_values++;
        if (rc == -EMSGSIZE)
            return rc;
        changes->left_out += rc < 0;
    }
    return 0;
}

bool header_removes(const struct header_remove *r, struct str name, bool request)
{
    if (!r->prefix)
        return str_ieq(name, r->name);
    return name.n >= r->name.n && str_ieq((struct str){name.p, r->name.n}, r->name) &&
           !header_rules_refuses(name, request);
}

bool header_is_wanted(const struct header_wanted *w, struct str name)
{
    if (w->prefix ? name.n < w->name.n : name.n != w->name.n)
        return false;
    for (size_t i = 0; i < w->name.n; i++) {
        char want = ascii_lower(w->name.p[i]), is = ascii_lower(name.p[i]);
        if (is != want && !(w->loosely && want == '-' && is == '_'))
            return false;
    }
    return true;
}

/* What goes. Of a request, what its client could mean it by goes too; one of a response's is the
 * upstream's, which we believe. */
static struct header_wanted that_goes(const struct header_rules *r, struct str name, bool prefix)
{
    return (struct header_wanted){name, prefix, r->request};
}

static void remove_all(const struct header_rules *r, const struct header_fields *f,
                       struct header_changes *changes)
{
    for (uint32_t k = 0; k < r->n_removes; k++) {
        const struct header_remove *remove = &r->removes[k];
        const struct header_wanted wanted = that_goes(r, remove->name, remove->prefix);
        struct str name;
        for (uint32_t i = 0; f->find(f->ctx, &wanted, &i, &name); i++) {
            if (remove->prefix && header_rules_refuses(name, r->request))
                continue;
            changes->removed++;
            if (!r->dry_run)
                f->drop(f->ctx, i);
        }
    }
}

/* How many there are; with `drop` they go. */
static uint32_t find(const struct header_fields *f, const struct header_wanted *wanted, bool drop)
{
    uint32_t found = 0;
    struct str its;
    for (uint32_t i = 0; f->find(f->ctx, wanted, &i, &its); i++) {
        found++;
        if (drop)
            f->drop(f->ctx, i);
    }
    return found;
}

/* Under dry_run what would have been removed is still there. */
static bool is_there(const struct header_rules *r, struct str name, const struct header_fields *f)
{
    for (uint32_t i = 0; i < r->n_removes && r->dry_run; i++) {
        if (header_removes(&r->removes[i], name, r->request))
            return false;
    }
    return find(f, &(struct header_wanted){.name = name}, false) > 0;
}

static int write_one(const struct header_rules *r, const struct header_write *w, struct str value,
                     const struct header_fields *f, struct header_changes *changes)
{
    if (w->op == HEADER_SET) {
        const struct header_wanted its = that_goes(r, w->name, false);
        uint32_t gone = find(f, &its, !r->dry_run);
        changes->removed += value.p ? 0 : gone;
    } else if (w->op == HEADER_SET_IF_ABSENT && is_there(r, w->name, f)) {
        return 0;
    }
    if (!value.p)
        return 0;
    changes->written++;
    return r->dry_run ? 0 : f->add(f->ctx, w->name, value);
}

int header_rules_apply(const struct header_rules *r, const struct header_values *v,
                       const struct header_fields *f, struct header_changes *ret)
{
    struct rendered out;
    struct header_changes changes = {0};
    out.n_values = 0;
    out.n = 0;
    int rc = render_all(r, v, &out, &changes);
    if (rc == 0)
        remove_all(r, f, &changes);
    for (uint32_t i = 0; i < out.n_values && rc == 0; i++)
        rc = write_one(r, &r->writes[i], out.value[i], f, &changes);
    if (rc == 0)
        *ret = changes;
    return rc;
}
