/* http_reply.c - what the control servers answer. */
#include "admin/http_conn.h"
#include "http/h1_write.h"

#include <stdio.h>

enum { MAX_REPLY = 256 << 20 };

static int write_reply(struct http_conn *c, unsigned status, const char *type, const char *body,
                       size_t n)
{
    struct http_server *s = c->server;
    bool empty = status == 204 || status == 304;
    bool head = c->msg.method == METHOD_HEAD;
    char date[CLOCK_HTTP_LEN];
    struct h1_framing f = {
        .body = empty || head ? BODY_NONE : BODY_LENGTH,
        .content_length = n,
        .declare_length = head && !empty,
        .connection_close = c->last,
        .connection_keep_alive = !c->last && c->msg.version_minor == 0,
    };

    c->reply.status = (uint16_t)status;
    clock_format_http(clock_wall(), date);
    int rc = message_add_known(&c->reply, FIELD_DATE, str_of(date));
    if (rc == 0 && type)
        rc = message_add_known(&c->reply, FIELD_CONTENT_TYPE, str_of(type));
    if (rc == 0)
        rc = message_add_known(&c->reply, FIELD_CACHE_CONTROL, STR("no-store"));
    if (rc == 0)
        rc = message_add(&c->reply, FIELD_OTHER, STR("X-Content-Type-Options"), STR("nosniff"));
    if (rc == 0)
        rc = h1_write_response(&s->pool, &c->out, &c->reply, &f);
    if (rc == 0 && f.body == BODY_LENGTH)
        rc = buf_append(&s->pool, &c->out, body, n);
    return rc;
}

/* Ends the request, whoever answers it. */
void http_conn_answer(struct http_conn *c, unsigned status, const char *type, const char *body,
                      size_t n)
{
    c->state = CONN_REPLYING;
    c->req.magic = 0;
    if (n > MAX_REPLY || write_reply(c, status, type, body, n) < 0)
        http_conn_close(c);
    else if (!c->pumping)
        http_conn_pump(c);
}

/* What goes into a JSON string; cut where it does not fit. */
static void json_escape(const char *in, char *out, size_t cap)
{
    size_t o = 0;
    for (; *in && o + 7 < cap; in++) {
        unsigned char c = (unsigned char)*in;
        if (c == '"' || c == '\\') {
            out[o++] = '\\';
            out[o++] = (char)c;
        } else if (c < 0x20 || c >= 0x7f) {
            o += (size_t)snprintf(out + o, cap - o, "\\u%04x", c);
        } else {
            out[o++] = (char)c;
        }
    }
    out[o] = '\0';
}

enum { PROBLEM_MAX = 640 };

/* RFC 9457; returns its length. */
static size_t write_problem(unsigned status, const char *code, const char *detail, char *out)
{
    char text[384] = "";
    struct str title = http_status_phrase(status);

    if (detail)
        json_escape(detail, text, sizeof(text));
    int n = snprintf(out, PROBLEM_MAX,
                     "{\"type\":\"about:blank\",\"title\":\"%.*s\",\"status\":%u,"
                     "\"code\":\"%s\"%s%s%s}\n",
                     STR_FMT(title), status, code, detail ? ",\"detail\":\"" : "", text,
                     detail ? "\"" : "");
    return n < PROBLEM_MAX ? (size_t)n : PROBLEM_MAX - 1;
}

void http_conn_refuse(struct http_conn *c, unsigned status, const char *code, const char *detail)
{
    char body[PROBLEM_MAX];
    http_conn_answer(c, status, "application/problem+json", body,
                     write_problem(status, code, detail, body));
}

void http_reply(struct http_request *req, unsigned status, const char *content_type,
                const char *body, size_t n)
{
    CHECK_OBJ(req, HTTP_REQUEST_MAGIC);
    struct http_conn *c = req->conn;
    CHECK_OBJ(c, HTTP_CONN_MAGIC);
    if (c->state == CONN_DEAD) {
        req->magic = 0;
        list_remove(&c->node);
        list_push_back(&c->server->dead, &c->node);
        return;
    }
    CHECK(c->state == CONN_HANDLING);
    http_conn_answer(c, status, content_type, body, n);
}

void http_reply_text(struct http_request *req, unsigned status, const char *text)
{
    http_reply(req, status, "text/plain; charset=utf-8", text, strlen(text));
}

void http_reply_problem(struct http_request *req, unsigned status, const char *code,
                        const char *detail)
{
    char body[PROBLEM_MAX];
    http_reply(req, status, "application/problem+json", body,
               write_problem(status, code, detail, body));
}

void http_reply_forbidden(struct http_request *req)
{
    const struct http_server *s = req->conn->server;
    if ((s->options.flags & HTTP_SERVER_MUTATIONS) && s->options.token_file) {
        (void)http_reply_field(req, "WWW-Authenticate", "Bearer");
        http_reply_problem(req, 401, "token_required",
                           "This changes something: it needs the token, or the Unix socket.");
    } else {
        http_reply_problem(req, 403, "mutation_refused",
                           "This changes something: it goes over the Unix socket only.");
    }
}

int http_reply_field(struct http_request *req, const char *name, const char *value)
{
    CHECK_OBJ(req, HTTP_REQUEST_MAGIC);
    return message_add(&req->conn->reply, field_id_of(str_of(name)), str_of(name), str_of(value));
}

struct str http_request_field(const struct http_request *req, const char *name)
{
    CHECK_OBJ(req, HTTP_REQUEST_MAGIC);
    const struct field *f = message_find_name(req->head, str_of(name));
    return f ? field_value(req->head, f) : STR_NONE;
}
