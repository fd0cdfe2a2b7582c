/* h1_parse.c - HTTP/1 heads from bytes.
 *
 * What comes is appended to the message's buffer and lines are parsed there, in place, once they
 * are whole; so a head that arrives in one read costs one copy and one pass, and one that comes in
 * pieces costs the same copy and a second look at the lines that were cut.
 *
 * The byte behind what has been read is always NUL, which is in none of the character classes: the
 * scanning loops need no bound. Whatever stops a loop where it should not is looked at again, with
 * care, by fault(). Its order (first too long, then incomplete, then malformed) gives every cut of
 * the same bytes the same answer. */
#include "http/h1_parse.h"

#include "http/authority.h"
#include "http/field_rules.h"
#include "http/websocket_handshake.h"

enum {
    C_NAME = 1,   /* tchar without '_' (RFC 9110 §5.6.2) */
    C_TOKEN = 2,  /* tchar */
    C_VALUE = 4,  /* field-vchar, SP, HTAB; a reason phrase has the same */
    C_PATH = 8,   /* VCHAR without '?' and '#' */
    C_TARGET = 16 /* VCHAR without '#' */
};

#define VCHAR (C_VALUE | C_PATH | C_TARGET)
#define TCHAR (C_NAME | C_TOKEN | VCHAR)

static const uint8_t classes[256] = {
    ['\t'] = C_VALUE,
    [' '] = C_VALUE,
    ['!'] = TCHAR,
    ['"'] = VCHAR,
    ['#'] = C_NAME | C_TOKEN | C_VALUE,
    ['$' ... '\''] = TCHAR,
    ['(' ... ')'] = VCHAR,
    ['*' ... '+'] = TCHAR,
    [','] = VCHAR,
    ['-' ... '.'] = TCHAR,
    ['/'] = VCHAR,
    ['0' ... '9'] = TCHAR,
    [':' ... '>'] = VCHAR,
    ['?'] = C_VALUE | C_TARGET,
    ['@'] = VCHAR,
    ['A' ... 'Z'] = TCHAR,
    ['[' ... ']'] = VCHAR,
    ['^'] = TCHAR,
    ['_'] = C_TOKEN | VCHAR,
    ['`' ... 'z'] = TCHAR,
    ['{'] = VCHAR,
    ['|'] = TCHAR,
    ['}'] = VCHAR,
    ['~'] = TCHAR,
    [0x80 ... 0xff] = C_VALUE,
};

/* Bits of h1_head.seen */
enum {
    SEEN_HOST = 1,
    SEEN_LENGTH = 2,
    SEEN_CODING = 4,
    SEEN_CLOSE = 8,
    SEEN_KEEP_ALIVE = 16,
    SEEN_ABSOLUTE = 32, /* the target was in absolute-form */
};

enum { METHOD_MAX = 32, STEP_MIN = 512 };

typedef const unsigned char *bytes;

static inline bool is(unsigned char c, unsigned class)
{
    return (classes[c] & class) != 0;
}

static inline bytes skip(bytes p, unsigned class)
{
    while (is(*p, class))
        p++;
    return p;
}

/* Values are most of a head, so eight bytes at once: the lowest bit that is left in `stop` stands
 * for the first byte that is a control. A tab is one that is allowed. */
static inline bytes skip_value(bytes p, bytes end)
{
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
    const uint64_t ones = 0x0101010101010101u, tops = ones << 7;
    while (end - p >= 8) {
        uint64_t w, del;
        memcpy(&w, p, 8);
        del = w ^ ones * 0x7f;
        uint64_t stop = (((w - ones * ' ') & ~w) | ((del - ones) & ~del)) & tops;
        if (stop == 0) {
            p += 8;
            continue;
        }
        p += __builtin_ctzll(stop) / 8;
        if (*p != '\t')
            return p;
        p++;
    }
#endif
    (void)end;
    return skip(p, C_VALUE);
}

static enum h1_result fail(struct h1_head *h, const struct message *m, enum reason reason,
                           const char *detail)
{
    if (!m->is_request && reason != REASON_OUT_OF_MEMORY) {
        bool large = reason == REASON_HEADERS_TOO_LARGE || reason == REASON_TARGET_TOO_LONG;
        reason = large ? REASON_UPSTREAM_HEADERS_TOO_LARGE : REASON_UPSTREAM_PROTOCOL;
    }
    h->reason = reason;
    h->detail = detail;
    return H1_ERROR;
}

static enum h1_result bad(struct h1_head *h, const struct message *m, const char *detail)
{
    return fail(h, m, REASON_BAD_REQUEST, detail);
}

static enum h1_result no_memory(struct h1_head *h, const struct message *m)
{
    return fail(h, m, REASON_OUT_OF_MEMORY, "out of memory");
}

static inline bytes begin_of(const struct message *m)
{
    return (bytes)m->buf;
}

static inline struct text text_of(const struct message *m, bytes from, bytes to)
{
    return (struct text){(uint32_t)(from - begin_of(m)), (uint32_t)(to - from)};
}

/* A line's length without its CRLF, as far as it has come; never more than it will turn out. */
static size_t content_length_of(bytes line, bytes to)
{
    size_t n = (size_t)(to - line);
    return n > 0 && line[n - 1] == '\r' ? n - 1 : n;
}

static enum h1_result check_line_length(struct h1_head *h, const struct message *m, size_t n)
{
    if (!h->first_line_done) {
        if (n > h->limits.max_line)
            return fail(h, m, REASON_TARGET_TOO_LONG, "the first line is too long");
    } else if (n > 0 && h->field_bytes + n > h->limits.max_field_bytes) {
        return fail(h, m, REASON_HEADERS_TOO_LARGE, "the fields are too large");
    }
    return H1_DONE;
}

/* The line is not what it should be: too long, not yet whole, or, then, what `detail` says. */
static enum h1_result fault(struct h1_head *h, const struct message *m, bytes line,
                            enum reason reason, const char *detail)
{
    bytes end = begin_of(m) + m->len;
    bytes lf = memchr(line, '\n', (size_t)(end - line));
    enum h1_result r = check_line_length(h, m, content_length_of(line, lf ? lf : end));
    if (r != H1_DONE)
        return r;
    if (!lf)
        return H1_MORE;
    if (lf == line || lf[-1] != '\r')
        detail = "a line ends in a bare LF";
    return fail(h, m, reason, detail);
}

/* ---- the request line ---- */

/* http://authority[path][?query]; the target then reads as if it were in origin-form. */
static enum h1_result absolute_form(struct h1_head *h, struct message *m, bytes target, bytes end)
{
    struct str t = {(const char *)target, (size_t)(end - target)};
    size_t scheme = 0;
    if (t.n > 7 && str_ieq((struct str){t.p, 7}, STR("http://")))
        scheme = 7;
    else if (t.n > 8 && str_ieq((struct str){t.p, 8}, STR("https://")))
        scheme = 8;
    else
        return bad(h, m, "the target is neither a path nor an http URI");
    bytes a = target + scheme, p = a;
    while (p < end && *p != '/' && *p != '?')
        p++;
    if (!http_authority_valid((struct str){(const char *)a, (size_t)(p - a)}))
        return bad(h, m, "the target's authority is not valid");
    m->authority = text_of(m, a, p);
    h->seen |= SEEN_ABSOLUTE;
    bytes mark = memchr(p, '?', (size_t)(end - p));
    if (p < end && *p == '/') {
        m->path = text_of(m, p, mark ? mark : end);
    } else {
        /* No path: the last slash of "://" will do for it; for OPTIONS it becomes the asterisk
         * (RFC 9112 §3.2.4). */
        m->path = text_of(m, a - 1, a);
        if (m->method == METHOD_OPTIONS && !mark) {
            m->buf[m->path.off] = '*';
            m->asterisk = 1;
        }
    }
    if (mark) {
        m->has_query = 1;
        m->query = text_of(m, mark + 1, end);
    }
    return H1_DONE;
}

static enum h1_result other_forms(struct h1_head *h, struct message *m, bytes target, bytes end)
{
    if (end - target == 1 && *target == '*') {
        if (m->method != METHOD_OPTIONS)
            return bad(h, m, "the target * is for OPTIONS only");
        m->asterisk = 1;
        m->path = text_of(m, target, end);
        return H1_DONE;
    }
    return absolute_form(h, m, target, end);
}

/* p is behind the target and does not begin " HTTP/1.0" or " HTTP/1.1" and CRLF. */
static enum h1_result bad_version(struct h1_head *h, const struct message *m, bytes line, bytes p)
{
    bytes end = begin_of(m) + m->len;
    if (*p != ' ')
        return fault(h, m, line, REASON_BAD_REQUEST,
                     *p == '\r' ? "the request line has no version"
                                : "a byte of the target is not allowed");
    if (end - p >= 11 && memcmp(p, " HTTP/", 6) == 0 && p[6] >= '2' && p[6] <= '9' && p[7] == '.' &&
        p[8] >= '0' && p[8] <= '9' && p[9] == '\r' && p[10] == '\n')
        return fault(h, m, line, REASON_VERSION_NOT_SUPPORTED, "this is a port for HTTP/1");
    return fault(h, m, line, REASON_BAD_REQUEST, "the version is not HTTP/1.0 or HTTP/1.1");
}

static enum h1_result request_line(struct h1_head *h, struct message *m, bytes line)
{
    bytes p = skip(line, C_TOKEN);
    if (*p != ' ' || p == line || p - line > METHOD_MAX)
        return fault(h, m, line, REASON_BAD_REQUEST, "the method is not valid");
    bytes target = p + 1, mark = NULL;
    p = skip(target, C_PATH);
    if (*p == '?') {
        mark = p;
        p = skip(p, C_TARGET);
    }
    bytes end = p;
    if (begin_of(m) + m->len - p < 11 || memcmp(p, " HTTP/1.", 8) != 0 ||
        (p[8] != '1' && p[8] != '0') || p[9] != '\r' || p[10] != '\n')
        return bad_version(h, m, line, p);
    enum h1_result r = check_line_length(h, m, (size_t)(p + 9 - line));
    if (r != H1_DONE)
        return r;
    m->version_minor = (uint8_t)(p[8] - '0');
    m->method_text = text_of(m, line, target - 1);
    m->method = (uint8_t)http_method_of(message_str(m, m->method_text));
    if (m->method == METHOD_CONNECT || m->method == METHOD_TRACE)
        return fail(h, m, REASON_METHOD_NOT_ALLOWED, "CONNECT and TRACE are not served");
    if (*target == '/') {
        m->path = text_of(m, target, mark ? mark : end);
        if (mark) {
            m->has_query = 1;
            m->query = text_of(m, mark + 1, end);
        }
    } else {
        r = other_forms(h, m, target, end);
        if (r != H1_DONE)
            return r;
    }
    h->first_line_done = 1;
    h->line_start = (uint32_t)(p + 11 - begin_of(m));
    return H1_DONE;
}

/* ---- the status line ---- */

/* What is wrong with it, told from left to right, so that what stands behind it plays no part. */
static const char *bad_status_line(bytes line)
{
    static const char begin[] = "HTTP/1.";
    for (size_t i = 0; begin[i] != '\0'; i++) {
        if (line[i] != (unsigned char)begin[i])
            return "the status line does not begin HTTP/1.";
    }
    bytes p = line + sizeof(begin) - 1;
    if ((p[0] != '1' && p[0] != '0') || p[1] != ' ')
        return "the version is not HTTP/1.0 or HTTP/1.1";
    return "the status is not three digits";
}

/* "HTTP/1.1 200 OK". The space behind the status is required by RFC 9112 §4, but servers leave it
 * out together with the phrase, and there is no second way to read that. */
static enum h1_result status_line(struct h1_head *h, struct message *m, bytes line)
{
    bytes end = begin_of(m) + m->len;
    /* A line that is shorter than the shortest cannot say what it lacks before it is whole. */
    if (end - line < 14 || memcmp(line, "HTTP/1.", 7) != 0 || (line[7] != '1' && line[7] != '0') ||
        line[8] != ' ')
        return fault(h, m, line, REASON_BAD_REQUEST, bad_status_line(line));
    unsigned a = line[9] - '0', b = line[10] - '0', c = line[11] - '0';
    if (a < 1 || a > 9 || b > 9 || c > 9 || (line[12] != ' ' && line[12] != '\r'))
        return fault(h, m, line, REASON_BAD_REQUEST, "the status is not three digits");
    bytes phrase = line + 12 + (line[12] == ' '), p = skip_value(phrase, end);
    if (*p != '\r' || p[1] != '\n')
        return fault(h, m, line, REASON_BAD_REQUEST, "a byte of the reason is not allowed");
    enum h1_result r = check_line_length(h, m, (size_t)(p - line));
    if (r != H1_DONE)
        return r;
    m->version_minor = (uint8_t)(line[7] - '0');
    m->status = (uint16_t)(a * 100 + b * 10 + c);
    m->reason = text_of(m, phrase, p);
    h->first_line_done = 1;
    h->line_start = (uint32_t)(p + 2 - begin_of(m));
    return H1_DONE;
}

/* ---- fields ---- */

static enum h1_result field_host(struct h1_head *h, struct message *m, const struct field *f)
{
    struct str v = field_value(m, f);
    if (!m->is_request)
        return H1_DONE;
    if (h->seen & SEEN_HOST)
        return bad(h, m, "Host is there twice");
    h->seen |= SEEN_HOST;
    if (!http_authority_valid(v))
        return bad(h, m, "Host is not valid");
    if ((h->seen & SEEN_ABSOLUTE) && !str_ieq(v, message_str(m, m->authority)))
        return bad(h, m, "Host is not the target's authority");
    m->authority = (struct text){f->value, f->value_len};
    return H1_DONE;
}

static enum h1_result field_content_length(struct h1_head *h, struct message *m,
                                           const struct field *f)
{
    if (h->seen & SEEN_LENGTH)
        return bad(h, m, "Content-Length is there twice");
    h->seen |= SEEN_LENGTH;
    if (!str_to_u64(field_value(m, f), &m->content_length))
        return bad(h, m, "Content-Length is not a number");
    return H1_DONE;
}

static void field_connection(struct h1_head *h, struct message *m, const struct field *f)
{
    struct str list = field_value(m, f), item;
    while (str_list_next(&list, &item)) {
        if (str_ieq(item, STR("close")))
            h->seen |= SEEN_CLOSE;
        else if (str_ieq(item, STR("keep-alive")))
            h->seen |= SEEN_KEEP_ALIVE;
        else if (str_ieq(item, STR("upgrade")))
            m->connection_upgrade = 1;
        else
            m->connection_named = 1;
    }
}

static void field_te(struct message *m, const struct field *f)
{
    struct str list = field_value(m, f), item;
    while (str_list_next(&list, &item)) {
        if (str_ieq(item, STR("trailers")))
            m->te_trailers = 1;
    }
}

static enum h1_result field_expect(struct h1_head *h, struct message *m, const struct field *f)
{
    if (!m->is_request || m->version_minor == 0) /* RFC 9110 §10.1.1 */
        return H1_DONE;
    if (!str_ieq(field_value(m, f), STR("100-continue")))
        return fail(h, m, REASON_EXPECTATION_FAILED, "only 100-continue can be expected");
    m->expect_continue = 1;
    return H1_DONE;
}

#define BIT(id) ((uint64_t)1 << (id))
#define INTERESTING                                                                                \
    (BIT(FIELD_HOST) | BIT(FIELD_CONTENT_LENGTH) | BIT(FIELD_TRANSFER_ENCODING) |                  \
     BIT(FIELD_CONNECTION) | BIT(FIELD_TE) | BIT(FIELD_EXPECT) | BIT(FIELD_X_REQUEST_DEADLINE))

static enum h1_result interesting(struct h1_head *h, struct message *m, const struct field *f)
{
    switch (f->id) {
    case FIELD_HOST:
        return field_host(h, m, f);
    case FIELD_CONTENT_LENGTH:
        return field_content_length(h, m, f);
    case FIELD_TRANSFER_ENCODING:
        h->seen |= SEEN_CODING;
        return H1_DONE;
    case FIELD_CONNECTION:
        field_connection(h, m, f);
        return H1_DONE;
    case FIELD_TE:
        field_te(m, f);
        return H1_DONE;
    case FIELD_EXPECT:
        return field_expect(h, m, f);
    case FIELD_X_REQUEST_DEADLINE:
        m->has_deadline |= m->is_request != 0;
        return H1_DONE;
    default:
        return H1_DONE;
    }
}

/* `p` stopped the scan of a field line's name (at_value: value) and should not have. */
static enum h1_result field_fault(struct h1_head *h, const struct message *m, bytes line, bytes p,
                                  bool at_value)
{
    const char *detail;
    if (at_value)
        detail = "a byte of a field value is not allowed";
    else if (p == line && (*p == ' ' || *p == '\t'))
        detail = "a field line is folded";
    else if (p == line && *p == ':')
        detail = "a field name is empty";
    else if (*p == ' ' || *p == '\t')
        detail = "there is space before a colon";
    else if (*p == '\r')
        detail = "a field line has no colon";
    else
        detail = "a byte of a field name is not allowed";
    return fault(h, m, line, REASON_BAD_REQUEST, detail);
}

/* One field line at `line`; *ret_next is behind it. */
static enum h1_result field_line(struct h1_head *h, struct message *m, bytes line, bytes *ret_next)
{
    bool underscore = false;
    bytes p = skip(line, C_NAME);
    if (*p == '_') {
        underscore = true;
        p = skip(p, C_TOKEN);
    }
    if (*p != ':' || p == line)
        return field_fault(h, m, line, p, false);
    bytes name_end = p++;
    while (*p == ' ' || *p == '\t')
        p++;
    bytes value = p;
    p = skip_value(p, begin_of(m) + m->len);
    if (*p != '\r' || p[1] != '\n')
        return field_fault(h, m, line, p, true);
    enum h1_result r = check_line_length(h, m, (size_t)(p - line));
    if (r != H1_DONE)
        return r;
    h->field_bytes += (uint32_t)(p - line) + 2;
    *ret_next = p + 2;
    while (p > value && (p[-1] == ' ' || p[-1] == '\t'))
        p--;
    if (m->n_fields >= h->limits.max_fields || name_end - line > UINT16_MAX)
        return fail(h, m, REASON_HEADERS_TOO_LARGE, "there are too many fields");
    struct str name = {(const char *)line, (size_t)(name_end - line)};
    struct field f = {
        .name = (uint32_t)(line - begin_of(m)),
        .value = (uint32_t)(value - begin_of(m)),
        .value_len = (uint32_t)(p - value),
        .name_len = (uint16_t)name.n,
        .id = (uint8_t)field_id_of(name),
    };
    if (h->is_trailer) {
        if (field_forbidden_in_trailer(name, (enum field_id)f.id))
            return H1_DONE;
    } else if (INTERESTING & BIT(f.id)) {
        r = interesting(h, m, &f);
        if (r != H1_DONE)
            return r;
    } else if (underscore && m->is_request && field_underscore_double(name)) {
        return bad(h, m, "a field name has an underscore in place of a dash");
    }
    return message_add_slice(m, f) < 0 ? no_memory(h, m) : H1_DONE;
}

/* ---- the whole head ---- */

/* Exactly one coding, which is chunked (RFC 9112 §6.1, §6.3). */
static enum h1_result check_codings(struct h1_head *h, const struct message *m)
{
    unsigned chunked = 0, other = 0;
    bool last_is_chunked = false;
    for (unsigned i = 0; i < m->n_fields; i++) {
        const struct field *f = &m->fields[i];
        if (f->id != FIELD_TRANSFER_ENCODING)
            continue;
        struct str rest = field_value(m, f);
        for (;;) {
            const char *comma = rest.n ? memchr(rest.p, ',', rest.n) : NULL;
            size_t n = comma ? (size_t)(comma - rest.p) : rest.n;
            struct str item = str_trim((struct str){rest.p, n});
            size_t token = 0;
            while (token < item.n && is((unsigned char)item.p[token], C_TOKEN))
                token++;
            struct str parameters = str_trim((struct str){item.p + token, item.n - token});
            last_is_chunked = str_ieq((struct str){item.p, token}, STR("chunked"));
            if (token == 0 || (parameters.n > 0 && (last_is_chunked || parameters.p[0] != ';')))
                return bad(h, m, "Transfer-Encoding is malformed");
            chunked += last_is_chunked;
            other += !last_is_chunked;
            if (!comma)
                break;
            rest = (struct str){rest.p + n + 1, rest.n - n - 1};
        }
    }
    if (chunked > 1 || (chunked == 1 && !last_is_chunked))
        return bad(h, m, "chunked is not the last transfer coding, once");
    if (other > 0)
        return fail(h, m, REASON_CODING_NOT_IMPLEMENTED, "only chunked is implemented");
    return H1_DONE;
}

/* RFC 9112 §6.3, without its repairs. */
static enum h1_result finish_body(struct h1_head *h, struct message *m)
{
    bool bodiless = false;
    if (!m->is_request) {
        bool no_framing = m->status < 200 || m->status == 204;
        if (no_framing && (h->seen & SEEN_CODING))
            return bad(h, m, "Transfer-Encoding in a response that has no body");
        if (no_framing)
            m->content_length = 0;
        bodiless = no_framing || m->status == 304 || h->request_method == METHOD_HEAD;
    }
    if (h->seen & SEEN_CODING) {
        if (m->version_minor == 0)
            return bad(h, m, "Transfer-Encoding in HTTP/1.0");
        if (h->seen & SEEN_LENGTH)
            return bad(h, m, "both Content-Length and Transfer-Encoding");
        enum h1_result r = check_codings(h, m);
        if (r != H1_DONE)
            return r;
        m->body = BODY_CHUNKED;
    } else if (h->seen & SEEN_LENGTH) {
        m->body = BODY_LENGTH;
    } else {
        m->body = m->is_request ? BODY_NONE : BODY_CLOSE;
    }
    if (bodiless)
        m->body = BODY_NONE;
    return H1_DONE;
}

static enum h1_result finish(struct h1_head *h, struct message *m)
{
    if (h->is_trailer)
        return H1_DONE;
    if (m->is_request && m->version_minor == 1 && !(h->seen & SEEN_HOST))
        return bad(h, m, "Host is missing");
    m->connection_close =
        (h->seen & SEEN_CLOSE) || (m->version_minor == 0 && !(h->seen & SEEN_KEEP_ALIVE));
    enum h1_result r = finish_body(h, m);
    if (r == H1_DONE && m->connection_upgrade)
        m->websocket = websocket_is_upgrade(m);
    return r;
}

static enum h1_result parse_lines(struct h1_head *h, struct message *m)
{
    enum h1_result r;
    if (!h->first_line_done) {
        bytes line = begin_of(m) + h->line_start;
        r = m->is_request ? request_line(h, m, line) : status_line(h, m, line);
        if (r != H1_DONE)
            return r;
    }
    bytes p = begin_of(m) + h->line_start;
    while (*p != '\r') {
        bytes next = p;
        r = field_line(h, m, p, &next);
        if (r != H1_DONE)
            return r;
        p = next;
        h->line_start = (uint32_t)(p - begin_of(m));
    }
    if (p[1] != '\n')
        return fault(h, m, p, REASON_BAD_REQUEST, "a bare CR");
    h->line_start += 2;
    return finish(h, m);
}

void h1_head_init(struct h1_head *h, const struct h1_limits *limits, enum http_method request)
{
    *h = (struct h1_head){
        .limits = *limits,
        .request_method = (uint8_t)request,
    };
}

/* Before a head's first byte: the empty line that is forgiven (RFC 9112 §2.2), and what cannot
 * begin a head at all, which is better said now than after 8 KiB of it. */
static enum h1_result first_byte(struct h1_head *h, const struct message *m, const char *in,
                                 size_t n, size_t *taken)
{
    size_t i = 0;
    if (m->is_request) {
        if (i < n && h->leading_crlf == 0 && in[i] == '\r') {
            h->leading_crlf = 1;
            i++;
        }
        if (i < n && h->leading_crlf == 1) {
            if (in[i] != '\n')
                return bad(h, m, "a bare CR");
            h->leading_crlf = 2;
            i++;
        }
    }
    *taken = i;
    if (i == n)
        return H1_MORE;
    if (m->is_request ? !is((unsigned char)in[i], C_TOKEN) : in[i] != 'H')
        return bad(h, m, "this is not HTTP/1");
    return H1_DONE;
}

enum h1_result h1_head_feed(struct h1_head *h, struct message *m, const char *in, size_t n,
                            size_t *ret_taken)
{
    enum h1_result r;
    *ret_taken = 0;
    if (n == 0)
        return H1_MORE;
    if (!h->first_line_done && m->len == 0) {
        r = first_byte(h, m, in, n, ret_taken);
        if (r != H1_DONE)
            return r;
    }
    while (*ret_taken < n) {
        uint32_t before = m->len;
        size_t room = m->cap - before, step = n - *ret_taken;
        if (step >= room)
            step = room > STEP_MIN ? room - 1 : min_u64(step, STEP_MIN);
        char *to = message_reserve(m, step + 1);
        if (!to)
            return no_memory(h, m);
        memcpy(to, in + *ret_taken, step);
        to[step] = '\0';
        m->len += (uint32_t)step;
        *ret_taken += step;
        /* The middle of a line that was begun before: nothing to parse until its LF. */
        if (before > h->line_start && !memchr(to, '\n', step)) {
            bytes line = begin_of(m) + h->line_start;
            r = check_line_length(h, m, content_length_of(line, begin_of(m) + m->len));
            if (r != H1_DONE)
                return r;
            continue;
        }
        r = parse_lines(h, m);
        if (r == H1_ERROR)
            return r;
        if (r == H1_DONE) {
            *ret_taken -= m->len - h->line_start;
            m->len = h->line_start;
            return r;
        }
    }
    return H1_MORE;
}
