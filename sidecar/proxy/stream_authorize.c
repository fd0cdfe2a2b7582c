/* stream_authorize.c - authorize: whose token is it, and may its bearer pass?
 *
 * Where the route allows it, the request goes on without what a client could have made up: the
 * headers that carry claims are removed whether a token is there or not, and set from one that was
 * verified. Neither a token nor a claim is ever in a log, a metric or an answer. */
#include "proxy/stream_steps.h"

#include "config/conf_authz.h"
#include "proxy/authz_audit.h"
#include "proxy/jwt_state.h"
#include "proxy/route_state.h"
#include "proxy/view.h"

/* --- where tokens are --- */

static bool is_header(const struct message *m, const struct field *f, struct str name)
{
    return !f->dropped && f->name_len == name.n && str_ieq(field_name(m, f), name);
}

/* The token behind the scheme; false: the value is of another scheme. */
static bool behind_scheme(struct str value, struct str scheme, struct str *ret)
{
    if (!scheme.p) {
        *ret = value;
        return true;
    }
    if (value.n < scheme.n || !str_ieq((struct str){value.p, scheme.n}, scheme))
        return false;
    /* A tab is none by RFC 9110 §11.4, but who splits at white space takes it for one. */
    if (value.n > scheme.n && value.p[scheme.n] != ' ' && value.p[scheme.n] != '\t')
        return false;
    *ret = str_trim((struct str){value.p + scheme.n, value.n - scheme.n});
    return true;
}

/* The next piece of a Cookie (RFC 6265 §4.2.1) off the front: as it stands, and `name=value` in it.
 */
static bool next_crumb(struct str *rest, struct str *ret_piece, struct str *ret_name,
                       struct str *ret_value)
{
    if (rest->n == 0)
        return false;
    const char *end = memchr(rest->p, ';', rest->n);
    size_t n = end ? (size_t)(end - rest->p) : rest->n;
    const char *equals = memchr(rest->p, '=', n);
    size_t name = equals ? (size_t)(equals - rest->p) : n;
    *ret_piece = (struct str){rest->p, n};
    *ret_name = str_trim((struct str){rest->p, name});
    *ret_value = equals ? str_trim((struct str){equals + 1, n - name - 1}) : STR_NONE;
    n += end ? 1 : 0;
    *rest = (struct str){rest->p + n, rest->n - n};
    return true;
}

/* How many there are; *ret is the first, of field *ret_at. */
static uint32_t tokens_in_header(const struct message *m, const struct conf_jwt_from *from,
                                 struct str *ret, uint32_t *ret_at)
{
    uint32_t n = 0, others = 0;
    for (uint32_t i = 0; i < m->n_fields; i++) {
        const struct field *f = &m->fields[i];
        struct str token;
        if (!is_header(m, f, from->header))
            continue;
        if (!behind_scheme(field_value(m, f), from->scheme, &token)) {
            others++;
        } else if (n++ == 0) {
            *ret = token;
            *ret_at = i;
        }
    }
    /* Beside one of another scheme: who reads them behind us may take that one. */
    return n > 0 ? n + others : 0;
}

static uint32_t tokens_in_cookies(const struct message *m, const struct conf_jwt_from *from,
                                  struct str *ret)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < m->n_fields; i++) {
        const struct field *f = &m->fields[i];
        struct str rest = field_value(m, f), piece, name, value;
        if (f->id != FIELD_COOKIE || f->dropped)
            continue;
        while (next_crumb(&rest, &piece, &name, &value)) {
            if (str_eq(name, from->cookie) && n++ == 0)
                *ret = value;
        }
    }
    return n;
}

/* --- whose token it is --- */

struct finding {
    enum reason reason; /* REASON_NONE: it may pass */
    const char *detail;
    struct jwt_claims own;           /* where no cache holds them */
    const struct jwt_claims *claims; /* NULL: no token */
    const struct conf_jwt *jwt;      /* whose */
    const struct conf_jwt *refused;  /* by whose rules the token is none; NULL: there is no token */
    const struct conf_jwt_from *from;
    uint32_t at; /* of a header: the field, which is the only one of that name if it is valid */
};

/* False: that issuer's place has no token. The first that has one decides. */
static bool try_issuer(struct stream *s, const struct conf_jwt *jwt, int64_t now,
                       struct finding *ret, enum jwt_result *ret_result)
{
    for (uint32_t i = 0; i < jwt->n_from; i++) {
        const struct conf_jwt_from *from = &jwt->from[i];
        struct str token = STR_NONE;
        uint32_t n = from->header.p ? tokens_in_header(&s->req, from, &token, &ret->at)
                                    : tokens_in_cookies(&s->req, from, &token);
        if (n == 0)
            continue;
        *ret_result = n > 1 ? JWT_MALFORMED
                            : jwt_state_check(s->view->jwts[jwt->index], jwt, token, now, &ret->own,
                                              &ret->claims);
        ret->jwt = jwt;
        ret->from = from;
        if (*ret_result == JWT_UNKNOWN_KEY && jwt->jwks_url.p)
            jwt_slot_ask(s->view->jwts[jwt->index]->slot, s->worker->process->control,
                         s->worker->process->on_unknown_key);
        return true;
    }
    return false;
}

static enum reason reason_of(enum jwt_result r)
{
    switch (r) {
    case JWT_NO_KEYS:
        return REASON_JWT_NO_KEYS;
    case JWT_EXPIRED:
        return REASON_JWT_EXPIRED;
    case JWT_NO_MEMORY:
        return REASON_OUT_OF_MEMORY;
    default:
        return REASON_JWT_INVALID;
    }
}

/* By which of the issuers is it? Of several failures the one that tells most (the order of
 * JWT_RESULT_TABLE) is given. */
static void find_token(struct stream *s, const struct conf_authz *a, struct finding *ret)
{
    enum jwt_result worst = JWT_RESULTS;
    int64_t now = clock_wall_seconds();
    for (uint32_t i = 0; i < a->n_jwts; i++) {
        enum jwt_result result;
        if (!try_issuer(s, a->jwts[i], now, ret, &result))
            continue;
        if (result == JWT_VALID) {
            ret->refused = NULL;
            return;
        }
        if (result < worst) {
            worst = result;
            ret->refused = a->jwts[i];
        }
    }
    if (worst < JWT_RESULTS) {
        ret->reason = reason_of(worst);
        ret->detail = jwt_result_text(worst);
    } else if (a->n_jwts > 0 && !a->optional) {
        ret->reason = REASON_JWT_MISSING;
    }
}

static void look_at_rules(const struct stream *s, const struct conf_authz *a, struct finding *ret)
{
    const struct message *m = &s->req;
    struct authz_request q = {
        .method = message_str(m, m->method_text),
        .path = m->asterisk ? STR("/") : message_str(m, m->path), /* as it was routed */
        .claims = ret->claims,
    };
    if (a->asks_spiffe && s->client && transport_is_tls(s->client)) {
        struct tls_identity id;
        transport_tls_identity(s->client, &id);
        q.spiffe_id = id.spiffe_id;
    }
    if (a->asks_source)
        q.source = stream_client_ip(s);
    if (!authz_allows(&a->rules, &q))
        ret->reason = REASON_FORBIDDEN;
}

/* --- what goes on --- */

/* Some applications take _ and - in a header's name for the same. */
static bool is_header_loosely(const struct message *m, const struct field *f, struct str name)
{
    struct str is = field_name(m, f);
    if (is.n != name.n)
        return false;
    for (size_t i = 0; i < is.n; i++) {
        char a = is.p[i] == '_' ? '-' : ascii_lower(is.p[i]);
        char b = name.p[i] == '_' ? '-' : ascii_lower(name.p[i]);
        if (a != b)
            return false;
    }
    return true;
}

static void drop_claims(struct message *m, const struct conf_jwt *jwt)
{
    for (uint32_t k = 0; k < jwt->n_headers; k++) {
        for (uint32_t i = 0; i < m->n_fields; i++) {
            if (is_header_loosely(m, &m->fields[i], jwt->headers[k].header))
                m->fields[i].dropped = 1;
        }
    }
}

/* In trailers, which some servers merge into the head (RFC 9110 §6.5.1), it is no better. */
static void drop_from_trailers(struct message *m, const struct conf_jwt *jwt)
{
    drop_claims(m, jwt);
    for (uint32_t k = 0; k < jwt->n_from; k++) {
        for (uint32_t i = 0; i < m->n_fields && jwt->from[k].header.p; i++) {
            if (is_header_loosely(m, &m->fields[i], jwt->from[k].header))
                m->fields[i].dropped = 1;
        }
    }
}

static void drop_from_headers(struct message *m, const struct conf_jwt_from *from)
{
    for (uint32_t i = 0; i < m->n_fields; i++) {
        struct field *f = &m->fields[i];
        struct str token;
        if (is_header(m, f, from->header) && behind_scheme(field_value(m, f), from->scheme, &token))
            f->dropped = 1;
    }
}

/* The other pieces of a field, one behind the other, where they stand: never longer than before. */
static void drop_crumb(struct message *m, struct field *f, struct str cookie)
{
    struct str rest = field_value(m, f), piece, name, value;
    char *out = m->buf + f->value;
    size_t n = 0;
    while (next_crumb(&rest, &piece, &name, &value)) {
        if (str_eq(name, cookie))
            continue;
        if (n > 0)
            out[n++] = ';';
        memmove(out + n, piece.p, piece.n);
        n += piece.n;
    }
    struct str left = str_trim((struct str){out, n});
    f->value = (uint32_t)(left.p - m->buf);
    f->value_len = (uint32_t)left.n;
    f->dropped = left.n == 0;
}

static bool has_crumb(const struct message *m, const struct field *f, struct str cookie)
{
    struct str rest = field_value(m, f), piece, name, value;
    while (next_crumb(&rest, &piece, &name, &value)) {
        if (str_eq(name, cookie))
            return true;
    }
    return false;
}

static void drop_from_cookies(struct message *m, const struct conf_jwt_from *from)
{
    for (uint32_t i = 0; i < m->n_fields; i++) {
        struct field *f = &m->fields[i];
        if (f->id == FIELD_COOKIE && !f->dropped && has_crumb(m, f, from->cookie))
            drop_crumb(m, f, from->cookie);
    }
}

static bool same_place(const struct conf_jwt_from *a, const struct conf_jwt_from *b)
{
    return a->header.p ? b->header.p && str_ieq(a->header, b->header)
                       : !b->header.p && str_eq(a->cookie, b->cookie);
}

/* From every place where one could be, but the verified one that is to go on. */
static void drop_tokens(struct message *m, const struct conf_jwt *jwt, const struct finding *f)
{
    for (uint32_t i = 0; i < jwt->n_from; i++) {
        const struct conf_jwt_from *from = &jwt->from[i];
        if (f->claims && f->jwt->forward_token && same_place(from, f->from))
            continue;
        if (from->header.p && f->claims && from == f->from)
            m->fields[f->at].dropped = 1;
        else if (from->header.p)
            drop_from_headers(m, from);
        else
            drop_from_cookies(m, from);
    }
}

static int add_claims(struct message *m, const struct finding *f)
{
    char text[JWT_TEXT_MAX];
    int rc = 0;
    for (uint32_t i = 0; rc == 0 && f->claims && i < f->jwt->n_headers; i++) {
        const struct conf_jwt_header *h = &f->jwt->headers[i];
        size_t n;
        if (jwt_claim_text(f->claims, &h->path, text, &n))
            rc = message_add(m, FIELD_OTHER, h->header, (struct str){text, n});
    }
    return rc;
}

/* Behind the hop's own work: a client's Connection field could name ours, to have them removed. */
static int pass_on(struct stream *s, const struct conf_authz *a, const struct finding *f)
{
    if (a->n_jwts == 0)
        return 0;
    int rc = stream_prepare(s);
    for (uint32_t i = 0; i < a->n_jwts; i++) {
        drop_claims(&s->req, a->jwts[i]);
        drop_tokens(&s->req, a->jwts[i], f);
    }
    return rc < 0 ? rc : add_claims(&s->req, f);
}

void stream_authorize_trailers(struct stream *s)
{
    const struct conf_authz *a = s->route ? s->route->authz : NULL;
    if (!a || a->dry_run || !s->trailers[0])
        return;
    for (uint32_t i = 0; i < a->n_jwts; i++)
        drop_from_trailers(s->trailers[0], a->jwts[i]);
}

/* --- the step --- */

static void count(struct stream *s, enum authz_decision d)
{
    count_add(&s->route_state->stats.authz[d], 1);
}

static void tell(struct stream *s, const struct conf_authz *a, const struct finding *f)
{
    const struct authz_refusal r = {
        .reason = f->reason,
        .detail = f->detail,
        .issuer = f->refused  ? f->refused->name
                  : f->claims ? f->jwt->name
                              : STR_NONE,
        .dry_run = a->dry_run,
    };
    if (!a->dry_run)
        (void)stream_prepare(s); /* it has a trace then, which its answer tells too */
    authz_audit(s, &r);
}

bool stream_authorize(struct stream *s)
{
    const struct conf_authz *a = s->route->authz;
    struct finding f = {0};
    find_token(s, a, &f);
    if (f.reason == REASON_NONE)
        look_at_rules(s, a, &f);
    int rc = 0;
    if (f.reason == REASON_NONE && !a->dry_run)
        rc = pass_on(s, a, &f);
    if (s->route->n_rate_limits > 0) {
        stream_limit_note_claims(s, f.claims, f.claims ? f.jwt->name : STR_NONE);
        if (f.claims && f.from->header.p)
            stream_limit_note_token(s, &s->req.fields[f.at]);
    }
    jwt_claims_free(&f.own);
    if (f.reason != REASON_NONE)
        tell(s, a, &f);
    count(s, f.reason == REASON_NONE ? AUTHZ_ALLOWED : a->dry_run ? AUTHZ_DRY_RUN : AUTHZ_REFUSED);
    if (rc < 0) {
        f.reason = REASON_OUT_OF_MEMORY;
        f.detail = NULL;
    } else if (a->dry_run) {
        return true;
    }
    if (f.reason != REASON_NONE)
        stream_reply(s, f.reason, f.detail);
    return f.reason == REASON_NONE;
}
