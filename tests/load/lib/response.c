/* response.c - HTTP/1.1 answers from bytes. */
#include "response.h"

#include "base/str.h"

#include <stdlib.h>

enum { MAX_HEAD = 256 * 1024 };

void response_begin(struct response *r, bool to_head)
{
    r->state = RESPONSE_HEAD;
    r->to_head = to_head;
    r->close = r->by_sluice = false;
    r->status = 0;
    r->left = 0;
    r->version[0] = r->proxy_status[0] = '\0';
    r->held_bytes = 0;
}

void response_free(struct response *r)
{
    free(r->held);
    r->held = NULL;
    r->held_bytes = r->held_room = 0;
}

static void copy_text(char *to, size_t room, struct str from)
{
    size_t n = from.n < room - 1 ? from.n : room - 1;
    memcpy(to, from.p, n);
    to[n] = '\0';
}

static bool read_length(struct str s, uint64_t *ret)
{
    uint64_t v = 0;
    if (s.n == 0 || s.n > 18)
        return false;
    for (size_t i = 0; i < s.n; i++) {
        if (s.p[i] < '0' || s.p[i] > '9')
            return false;
        v = v * 10 + (uint64_t)(s.p[i] - '0');
    }
    *ret = v;
    return true;
}

static bool list_has(struct str s, struct str word)
{
    for (size_t i = 0; i + word.n <= s.n; i++) {
        if (str_ieq((struct str){s.p + i, word.n}, word))
            return true;
    }
    return false;
}

struct framing {
    bool has_length, chunked, keep_alive;
};

static bool read_field(struct response *r, struct str name, struct str value, struct framing *f)
{
    switch (name.p[0] | 0x20) {
    case 'c':
        if (str_ieq(name, STR("content-length"))) {
            if (f->has_length || !read_length(value, &r->left))
                return false;
            f->has_length = true;
        } else if (str_ieq(name, STR("connection"))) {
            if (list_has(value, STR("close")))
                r->close = true;
            f->keep_alive = list_has(value, STR("keep-alive"));
        }
        break;
    case 't':
        if (str_ieq(name, STR("transfer-encoding"))) {
            if (!str_ieq(value, STR("chunked")))
                return false;
            f->chunked = true;
        }
        break;
    case 'x':
        if (str_ieq(name, STR("x-version")))
            copy_text(r->version, sizeof(r->version), value);
        break;
    case 'p':
        if (str_ieq(name, STR("proxy-status"))) {
            r->by_sluice = str_starts(value, STR("sluice"));
            const char *semicolon = memchr(value.p, ';', value.n);
            if (semicolon)
                value = str_trim(
                    (struct str){semicolon + 1, value.n - (size_t)(semicolon + 1 - value.p)});
            copy_text(r->proxy_status, sizeof(r->proxy_status), value);
        }
        break;
    default:
        break;
    }
    return true;
}

/* A whole head at p. Interim responses (1xx) are skipped, but for 101. */
static enum response_result read_head(struct response *r, const char *p, size_t n)
{
    const char *end = p + n, *eol = memchr(p, '\n', n);
    if (eol - p < 13 || memcmp(p, "HTTP/1.", 7) != 0 || p[8] != ' ')
        return RESPONSE_BAD;
    unsigned status = 0;
    for (size_t i = 9; i < 12; i++) {
        if (p[i] < '0' || p[i] > '9')
            return RESPONSE_BAD;
        status = status * 10 + (unsigned)(p[i] - '0');
    }
    struct framing f = {0};
    bool http10 = p[7] == '0';
    for (p = eol + 1; p < end; p = eol + 1) {
        eol = memchr(p, '\n', (size_t)(end - p));
        if (!eol || eol - p <= 1)
            break;
        const char *colon = memchr(p, ':', (size_t)(eol - p));
        if (!colon || colon == p ||
            !read_field(r, (struct str){p, (size_t)(colon - p)},
                        str_trim((struct str){colon + 1, (size_t)(eol - colon - 2)}), &f))
            return RESPONSE_BAD;
    }
    if (f.chunked && f.has_length)
        return RESPONSE_BAD;
    if (status < 200 && status != 101) {
        response_begin(r, r->to_head);
        return RESPONSE_MORE;
    }
    r->status = (uint16_t)status;
    if (http10 && !f.keep_alive)
        r->close = true;
    if (r->to_head || status == 204 || status == 304 || status == 101)
        return RESPONSE_DONE;
    if (f.chunked) {
        r->state = RESPONSE_CHUNK_SIZE;
        r->size_digits = 0;
        r->left = 0;
        return RESPONSE_MORE;
    }
    if (f.has_length) {
        r->state = RESPONSE_LENGTH;
        return r->left == 0 ? RESPONSE_DONE : RESPONSE_MORE;
    }
    r->state = RESPONSE_UNTIL_CLOSE;
    r->close = true;
    return RESPONSE_MORE;
}

/* Keeps the start of a head that goes on in the next read. */
static bool hold(struct response *r, const char *p, size_t n)
{
    if (r->held_bytes + n > r->held_room) {
        size_t room = r->held_room ? r->held_room : 1024;
        while (room < r->held_bytes + n)
            room *= 2;
        char *held = room > MAX_HEAD ? NULL : realloc(r->held, room);
        if (!held)
            return false;
        r->held = held;
        r->held_room = room;
    }
    memcpy(r->held + r->held_bytes, p, n);
    r->held_bytes += n;
    return true;
}

static enum response_result feed_head(struct response *r, const char *p, size_t n, size_t *taken)
{
    size_t before = r->held_bytes;
    const char *all = p;
    size_t all_bytes = n;
    if (before > 0) {
        if (!hold(r, p, n))
            return RESPONSE_BAD;
        all = r->held;
        all_bytes = r->held_bytes;
    }
    const char *empty = memmem(all, all_bytes, "\r\n\r\n", 4);
    if (!empty) {
        *taken = n;
        return before > 0 || hold(r, p, n) ? RESPONSE_MORE : RESPONSE_BAD;
    }
    size_t head = (size_t)(empty - all) + 4;
    *taken = head - before;
    r->held_bytes = 0;
    return read_head(r, all, head);
}

static int hex_digit(char ch)
{
    if (ch >= '0' && ch <= '9')
        return ch - '0';
    ch = (char)(ch | 0x20);
    return ch >= 'a' && ch <= 'f' ? ch - 'a' + 10 : -1;
}

/* One byte of the lines between chunks. */
static enum response_result feed_chunk_byte(struct response *r, char ch)
{
    switch ((enum response_state)r->state) {
    case RESPONSE_CHUNK_SIZE:
        if (hex_digit(ch) >= 0) {
            if (++r->size_digits > 15)
                return RESPONSE_BAD;
            r->left = r->left << 4 | (uint64_t)hex_digit(ch);
            return RESPONSE_MORE;
        }
        if (r->size_digits == 0 || (ch != '\r' && ch != ';' && ch != ' '))
            return RESPONSE_BAD;
        r->state = RESPONSE_CHUNK_EXTENSION;
        return RESPONSE_MORE;
    case RESPONSE_CHUNK_EXTENSION:
        if (ch == '\n') {
            r->state = r->left > 0 ? RESPONSE_CHUNK_DATA : RESPONSE_TRAILER;
            r->line_has_bytes = false;
        }
        return RESPONSE_MORE;
    case RESPONSE_CHUNK_END:
        if (ch == '\n') {
            r->state = RESPONSE_CHUNK_SIZE;
            r->size_digits = 0;
            return RESPONSE_MORE;
        }
        return ch == '\r' ? RESPONSE_MORE : RESPONSE_BAD;
    case RESPONSE_TRAILER:
        if (ch == '\n' && !r->line_has_bytes)
            return RESPONSE_DONE;
        if (ch != '\r')
            r->line_has_bytes = ch != '\n';
        return RESPONSE_MORE;
    default:
        return RESPONSE_BAD;
    }
}

enum response_result response_feed(struct response *r, const char *p, size_t n, size_t *ret_taken)
{
    size_t i = 0;
    enum response_result result = RESPONSE_MORE;
    while (i < n && result == RESPONSE_MORE) {
        size_t take = n - i;
        switch ((enum response_state)r->state) {
        case RESPONSE_HEAD:
            result = feed_head(r, p + i, n - i, &take);
            break;
        case RESPONSE_LENGTH:
        case RESPONSE_CHUNK_DATA:
            if (take > r->left)
                take = (size_t)r->left;
            r->left -= take;
            if (r->left == 0 && r->state == RESPONSE_LENGTH)
                result = RESPONSE_DONE;
            else if (r->left == 0)
                r->state = RESPONSE_CHUNK_END;
            break;
        case RESPONSE_UNTIL_CLOSE:
            break;
        default:
            take = 1;
            result = feed_chunk_byte(r, p[i]);
            break;
        }
        i += take;
    }
    *ret_taken = i;
    return result;
}
