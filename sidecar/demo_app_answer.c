/* demo_app_answer.c - the demo application's paths: what each of them answers.
 *
 *   /  /healthz  /stats  /headers  /status?code=N
 *   /delay?ms=N                      answers after N ms
 *   /bytes?n=N                       N bytes with a Content-Length; byte i is '0' + i % 64, and
 *                                    a newline where i % 64 is 63
 *   /chunked?n=N&size=S&ms=M         N chunks of S bytes, M ms apart
 *   /cut?n=N                         announces twice N bytes, sends N, closes
 *   /upload  /echo                   the request's body: counted and summed; sent back as it comes
 *   /early[?close=1]                 answers before it reads the body
 *   /hang  /close  /reset            no answer at all
 *   /websocket                       a WebSocket whose frames come back
 * and those of sessions, in demo_app_session.c, and of leaks, in demo_app_leak.c */
#include "demo_app_conn.h"

#include <inttypes.h>
#include <stdio.h>

enum { MAX_WAIT_MS = 3600 * 1000, STREAM_BYTES = 64 * 1024 /* of chunks in one write */ };

#define UPLOAD_SUM_START 0xcbf29ce484222325u
#define UPLOAD_SUM_PRIME 0x100000001b3u

static const struct {
    struct str path;
    enum app_handler handler;
} paths[] = {
    {{"/", 1}, HANDLE_ROOT},
    {{"/healthz", 8}, HANDLE_HEALTH},
    {{"/delay", 6}, HANDLE_DELAY},
    {{"/bytes", 6}, HANDLE_BYTES},
    {{"/chunked", 8}, HANDLE_CHUNKED},
    {{"/upload", 7}, HANDLE_UPLOAD},
    {{"/echo", 5}, HANDLE_ECHO},
    {{"/status", 7}, HANDLE_STATUS},
    {{"/early", 6}, HANDLE_EARLY},
    {{"/hang", 5}, HANDLE_HANG},
    {{"/close", 6}, HANDLE_CLOSE},
    {{"/reset", 6}, HANDLE_RESET},
    {{"/cut", 4}, HANDLE_CUT},
    {{"/headers", 8}, HANDLE_HEADERS},
    {{"/websocket", 10}, HANDLE_WEBSOCKET},
    {{"/stats", 6}, HANDLE_STATS},
    {{"/login", 6}, HANDLE_LOGIN},
    {{"/logout", 7}, HANDLE_LOGOUT},
    {{"/use", 4}, HANDLE_USE},
    {{"/sessions", 9}, HANDLE_SESSIONS},
    {{"/held", 5}, HANDLE_HELD},
    {{"/exit", 5}, HANDLE_EXIT},
    {{"/abort", 6}, HANDLE_ABORT},
    {{"/oom", 4}, HANDLE_OOM},
    {{"/unlisten", 9}, HANDLE_UNLISTEN},
    {{"/leak", 5}, HANDLE_LEAK},
};

static enum app_handler handler_of(struct str path)
{
    for (size_t i = 0; i < ARRAY_LEN(paths); i++) {
        if (str_eq(path, paths[i].path))
            return paths[i].handler;
    }
    return HANDLE_NOT_FOUND;
}

struct str answer_query_text(struct str query, struct str name)
{
    while (query.n > 0) {
        const char *amp = memchr(query.p, '&', query.n);
        struct str item = {query.p, amp ? (size_t)(amp - query.p) : query.n};
        query = amp ? (struct str){amp + 1, query.n - item.n - 1} : STR_NONE;
        if (item.n > name.n && str_starts(item, name) && item.p[name.n] == '=')
            return (struct str){item.p + name.n + 1, item.n - name.n - 1};
    }
    return STR_NONE;
}

/* The number after `name=` in a query; `otherwise` when it is missing or no number. */
uint64_t answer_query_number(struct str query, struct str name, uint64_t otherwise)
{
    uint64_t value = 0;
    return str_to_u64(answer_query_text(query, name), &value) ? value : otherwise;
}

static const char *phrase_of(unsigned status)
{
    switch (status) {
    case 200:
        return "OK";
    case 201:
        return "Created";
    case 204:
        return "No Content";
    case 301:
        return "Moved Permanently";
    case 302:
        return "Found";
    case 304:
        return "Not Modified";
    case 400:
        return "Bad Request";
    case 401:
        return "Unauthorized";
    case 403:
        return "Forbidden";
    case 404:
        return "Not Found";
    case 409:
        return "Conflict";
    case 429:
        return "Too Many Requests";
    case 500:
        return "Internal Server Error";
    case 502:
        return "Bad Gateway";
    case 503:
        return "Service Unavailable";
    case 504:
        return "Gateway Timeout";
    default:
        return "Other";
    }
}

/* The head of an answer; `framing` is "Content-Length: 5\r\n" or the like. */
static void send_head(struct app *a, struct app_conn *c, unsigned status, const char *type,
                      const char *framing)
{
    char head[512];
    int n = snprintf(head, sizeof(head), "HTTP/1.1 %u %s\r\n%s%s%sX-Version: %.*s\r\n%s%s\r\n",
                     status, phrase_of(status), type ? "Content-Type: " : "", type ? type : "",
                     type ? "\r\n" : "", STR_FMT(a->version), framing,
                     c->keep_alive ? "" : "Connection: close\r\n");
    demo_conn_send(a, c, head, (size_t)n);
}

static void send_length(struct app *a, struct app_conn *c, unsigned status, const char *type,
                        uint64_t length)
{
    char framing[48];
    bool bodiless = status == 204 || status == 304;
    (void)snprintf(framing, sizeof(framing), "Content-Length: %" PRIu64 "\r\n", length);
    send_head(a, c, status, bodiless ? NULL : type, bodiless ? "" : framing);
}

/* A whole answer that is at hand. One send for head and body where it is small. */
void answer_text(struct app *a, struct app_conn *c, unsigned status, const char *type,
                 const char *body, size_t n)
{
    bool bodiless = status == 204 || status == 304;
    char whole[1024];
    int head = snprintf(
        whole, sizeof(whole), "HTTP/1.1 %u %s\r\n%s%s%sX-Version: %.*s\r\n%s", status,
        phrase_of(status), bodiless ? "" : "Content-Type: ", bodiless ? "" : type,
        bodiless ? "" : "\r\n", STR_FMT(a->version), c->keep_alive ? "" : "Connection: close\r\n");
    size_t used = (size_t)head;
    if (!bodiless)
        used += (size_t)snprintf(whole + used, sizeof(whole) - used, "Content-Length: %zu\r\n", n);
    whole[used++] = '\r';
    whole[used++] = '\n';
    bool with_body = !bodiless && !c->is_head && n > 0;
    if (with_body && n <= sizeof(whole) - used) {
        memcpy(whole + used, body, n);
        used += n;
        with_body = false;
    }
    demo_conn_send(a, c, whole, used);
    if (with_body)
        demo_conn_send(a, c, body, n);
    demo_conn_answered(c);
}

static void send_text(struct app *a, struct app_conn *c, unsigned status, const char *text)
{
    answer_text(a, c, status, "text/plain", text, strlen(text));
}

static void send_root(struct app *a, struct app_conn *c)
{
    if (c->keep_alive && !c->is_head) {
        demo_conn_send(a, c, a->ready, a->ready_bytes);
        demo_conn_answered(c);
        return;
    }
    answer_text(a, c, 200, "text/plain", a->body, a->body_bytes);
}

static void send_stats(struct app *a, struct app_conn *c)
{
    char text[192];
    int n = snprintf(text, sizeof(text),
                     "{\"version\":\"%.*s\",\"requests\":%" PRIu64 ",\"connections\":%" PRIu64
                     ",\"open\":%" PRIu64 "}\n",
                     STR_FMT(a->version), a->requests, a->connections, a->open);
    answer_text(a, c, 200, "application/json", text, (size_t)n);
}

/* FNV-1a over little-endian words of 8 bytes, the last one filled with zeros: fast enough not to
 * be what an upload's bench measures, and the same for every cut of the stream. */
static void upload_sum(struct app_conn *c, const char *p, size_t n)
{
    size_t i = 0;
    uint64_t at = c->body_bytes;
    for (; i < n && (at & 7) != 0; i++, at++) {
        c->word |= (uint64_t)(uint8_t)p[i] << (8 * (at & 7));
        if ((at & 7) == 7) {
            c->sum = (c->sum ^ c->word) * UPLOAD_SUM_PRIME;
            c->word = 0;
        }
    }
    uint64_t sum = c->sum;
    for (; i + 8 <= n; i += 8) {
        uint64_t word;
        memcpy(&word, p + i, 8);
        sum = (sum ^ word) * UPLOAD_SUM_PRIME;
    }
    c->sum = sum;
    for (unsigned shift = 0; i < n; i++, shift += 8)
        c->word |= (uint64_t)(uint8_t)p[i] << shift;
    c->body_bytes += n;
}

static void send_upload(struct app *a, struct app_conn *c)
{
    if ((c->body_bytes & 7) != 0)
        c->sum = (c->sum ^ c->word) * UPLOAD_SUM_PRIME;
    char text[192];
    int n = snprintf(text, sizeof(text),
                     "{\"version\":\"%.*s\",\"bytes\":%" PRIu64 ",\"sum\":\"%016" PRIx64 "\"}\n",
                     STR_FMT(a->version), c->body_bytes, c->sum);
    answer_text(a, c, 200, "application/json", text, (size_t)n);
}

static void begin_stream(struct app *a, struct app_conn *c)
{
    if (c->handler == HANDLE_CHUNKED) {
        send_head(a, c, 200, "text/plain", "Transfer-Encoding: chunked\r\n");
    } else if (c->handler == HANDLE_CUT) {
        c->keep_alive = false;
        send_length(a, c, 200, "text/plain", 2 * c->stream_left);
    } else {
        send_length(a, c, 200, "text/plain", c->stream_left);
    }
    if (c->is_head) {
        demo_conn_answered(c);
        return;
    }
    c->state = APP_STREAM;
    c->stream_at = 0;
    answer_stream(a, c);
}

/* What answers once the body was read: at once where there is none. */
static void answer_whole(struct app *a, struct app_conn *c)
{
    switch ((enum app_handler)c->handler) {
    case HANDLE_ROOT:
        send_root(a, c);
        break;
    case HANDLE_HEALTH:
        send_text(a, c, 200, "ok\n");
        break;
    case HANDLE_UPLOAD:
        send_upload(a, c);
        break;
    case HANDLE_STATUS:
        send_text(a, c, c->code, phrase_of(c->code));
        break;
    case HANDLE_STATS:
        send_stats(a, c);
        break;
    case HANDLE_BYTES:
    case HANDLE_CHUNKED:
    case HANDLE_CUT:
        begin_stream(a, c);
        break;
    case HANDLE_DELAY:
        c->state = APP_TIMER;
        demo_conn_set_timer(a, c, c->stream_ms);
        break;
    case HANDLE_HANG:
        c->state = APP_HANG;
        break;
    case HANDLE_CLOSE:
        demo_conn_die(c, false);
        break;
    case HANDLE_RESET:
        demo_conn_die(c, true);
        break;
    default:
        if (!answer_session(a, c))
            send_text(a, c, 404, "no such path\n");
        break;
    }
}

void answer_begin(struct app *a, struct app_conn *c, const struct app_request *r)
{
    bool has_body = r->chunked || r->content_length > 0;
    a->requests++;
    c->handler = (uint8_t)handler_of(r->path);
    c->keep_alive = r->keep_alive && !c->peer_done;
    c->is_head = str_eq(r->method, STR("HEAD"));
    c->body_chunked = r->chunked;
    c->body_left = r->chunked ? 0 : r->content_length;
    c->body_bytes = 0;
    c->sum = UPLOAD_SUM_START;
    c->word = 0;
    c->chunk = CHUNK_SIZE;
    c->answered = false;
    if (has_body && r->expects_continue && c->handler != HANDLE_EARLY)
        demo_conn_send(a, c, "HTTP/1.1 100 Continue\r\n\r\n", 25);
    c->state = has_body ? APP_BODY : APP_HEAD;

    switch ((enum app_handler)c->handler) {
    case HANDLE_DELAY:
        c->stream_ms =
            (uint32_t)min_u64(answer_query_number(r->query, STR("ms"), 100), MAX_WAIT_MS);
        break;
    case HANDLE_STATUS:
        c->code = (uint32_t)answer_query_number(r->query, STR("code"), 200);
        if (c->code < 200 || c->code > 599)
            c->code = 400;
        break;
    case HANDLE_BYTES:
    case HANDLE_CHUNKED:
    case HANDLE_CUT:
        c->stream_left =
            answer_query_number(r->query, STR("n"), c->handler == HANDLE_CHUNKED ? 10 : 1024);
        c->stream_size =
            (uint32_t)min_u64(answer_query_number(r->query, STR("size"), 16), APP_READ_BYTES);
        c->stream_size += c->stream_size == 0;
        c->stream_ms = (uint32_t)min_u64(answer_query_number(r->query, STR("ms"), 0), MAX_WAIT_MS);
        break;
    case HANDLE_ECHO:
        if (r->chunked)
            send_head(a, c, 200, "application/octet-stream", "Transfer-Encoding: chunked\r\n");
        else
            send_length(a, c, 200, "application/octet-stream", r->content_length);
        if (!has_body)
            demo_conn_answered(c);
        return;
    case HANDLE_EARLY:
        c->answered = true;
        if (answer_query_number(r->query, STR("close"), 0) != 0)
            c->keep_alive = false;
        send_text(a, c, 200,
                  "early\n"); /* demo_conn_answered() sees that the body is still to come */
        return;
    case HANDLE_HEADERS: /* the head is not kept, so this too does not wait for the body */
        c->answered = true;
        answer_text(a, c, 200, "text/plain", r->head.p, r->head.n);
        return;
    case HANDLE_LEAK:
        c->answered = true;
        answer_leak(a, c, r->query);
        return;
    case HANDLE_WEBSOCKET:
        demo_websocket_begin(a, c, r);
        return;
    default:
        if (answer_session_begin(a, c, r))
            return;
        break;
    }
    if (!has_body)
        answer_whole(a, c);
}

/* Puts a chunk behind what is to be sent; demo_conn_flush() sends it. */
static void add_chunk(struct app *a, struct app_conn *c, const char *p, size_t n)
{
    char head[24];
    int head_bytes = snprintf(head, sizeof(head), "%zx\r\n", n);
    if (buf_append(&a->pool, &c->out, head, (size_t)head_bytes) < 0 ||
        buf_append(&a->pool, &c->out, p, n) < 0 || buf_append(&a->pool, &c->out, "\r\n", 2) < 0)
        c->dead = true;
}

void answer_body_bytes(struct app *a, struct app_conn *c, const char *p, size_t n)
{
    if (c->handler == HANDLE_UPLOAD) {
        upload_sum(c, p, n);
    } else if (c->handler == HANDLE_ECHO && c->body_chunked) {
        add_chunk(a, c, p, n);
        demo_conn_flush(a, c);
    } else if (c->handler == HANDLE_ECHO) {
        demo_conn_send(a, c, p, n);
    }
}

void answer_body_done(struct app *a, struct app_conn *c)
{
    c->state = APP_HEAD;
    if (c->handler == HANDLE_ECHO) {
        if (c->body_chunked)
            demo_conn_send(a, c, "0\r\n\r\n", 5);
        demo_conn_answered(c);
    } else if (c->answered) {
        demo_conn_answered(c);
    } else {
        answer_whole(a, c);
    }
}

void answer_timer(struct app *a, struct app_conn *c)
{
    if (c->handler == HANDLE_CHUNKED) {
        c->state = APP_STREAM;
        answer_stream(a, c);
        return;
    }
    if (c->handler == HANDLE_LOGIN)
        answer_session_timer(a, c);
    else
        answer_text(a, c, 200, "text/plain", a->body, a->body_bytes);
}

void answer_stream(struct app *a, struct app_conn *c)
{
    while (c->stream_left > 0 && buf_len(&c->out) == 0 && !c->dead) {
        if (c->handler == HANDLE_CHUNKED) {
            do {
                add_chunk(a, c, a->pattern, c->stream_size);
                c->stream_left--;
            } while (c->stream_ms == 0 && c->stream_left > 0 && !c->dead &&
                     buf_len(&c->out) < STREAM_BYTES);
            demo_conn_flush(a, c);
            if (c->stream_ms > 0 && c->stream_left > 0) {
                c->state = APP_TIMER;
                demo_conn_set_timer(a, c, c->stream_ms);
                return;
            }
            continue;
        }
        size_t n = (size_t)min_u64(c->stream_left, APP_READ_BYTES - APP_PATTERN);
        size_t sent = demo_conn_send_some(c, a->pattern + c->stream_at, n);
        c->stream_at = (c->stream_at + sent) % APP_PATTERN;
        c->stream_left -= sent;
        if (sent < n)
            return;
    }
    if (c->stream_left > 0 || c->dead)
        return;
    if (c->handler == HANDLE_CHUNKED)
        demo_conn_send(a, c, "0\r\n\r\n", 5);
    demo_conn_answered(c);
}

void answer_bad_request(struct app *a, struct app_conn *c)
{
    c->keep_alive = false;
    c->is_head = false;
    send_text(a, c, 400, "bad request\n");
}
