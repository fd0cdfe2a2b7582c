/* json_take.c - values out of a JSON text that comes in pieces: a state machine over its bytes. */
#include "policies/json_take.h"

#include "base/check.h"

enum state {
    VALUE,          /* a value must come */
    VALUE_OR_CLOSE, /* behind '[' */
    KEY_OR_CLOSE,   /* behind '{' */
    KEY,            /* behind ',' in an object */
    COLON,
    BEHIND, /* a value: ',' or the container's end */
    STRING,
    ESCAPE,
    HEX,
    LOW_BACKSLASH, /* of the low surrogate that must follow a high one */
    LOW_U,
    LITERAL,
    /* Of a number (RFC 8259 §6), by what has come. */
    NUMBER_SIGN,
    NUMBER_ZERO,
    NUMBER_INTEGER,
    NUMBER_POINT,
    NUMBER_FRACTION,
    NUMBER_E,
    NUMBER_E_SIGN,
    NUMBER_EXPONENT,
    DONE,
    MALFORMED,
};

static const char *const literals[] = {"true", "false", "null"};
enum { LITERAL_NULL = 2 };

void json_take_init(struct json_take *t, struct json_value *values, uint32_t n)
{
    CHECK(n <= JSON_TAKE_PATHS_MAX);
    *t = (struct json_take){.n = n, .values = values, .state = VALUE};
    for (uint32_t i = 0; i < n; i++) {
        values[i].found = values[i].too_long = false;
        values[i].len = 0;
    }
}

static bool is_space(char c)
{
    return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

/* --- where the value under way stands --- */

/* The paths that lead on from the container to the member or element that begins. */
static uint32_t paths_here(const struct json_take *t)
{
    uint32_t all = ((uint32_t)1 << t->n) - 1, here = 0;
    if (t->depth == 0)
        return all;
    uint32_t on = t->stack[t->depth - 1].on;
    for (uint32_t i = 0; on >> i; i++) {
        if (!(on >> i & 1))
            continue;
        const struct json_path *path = t->values[i].path;
        if (path->n < t->depth)
            continue;
        const struct json_step *step = &path->steps[t->depth - 1];
        bool leads;
        if (t->stack[t->depth - 1].object)
            leads = step->name.p && !t->key_too_long &&
                    str_eq(step->name, (struct str){t->key, t->key_len});
        else
            leads = !step->name.p && step->index == t->stack[t->depth - 1].index;
        here |= (uint32_t)leads << i;
    }
    return here;
}

/* A value begins: an earlier one of that name, with all that was in it, does not count. */
static void begin_value(struct json_take *t)
{
    t->here = paths_here(t);
    t->taking = 0;
    for (uint32_t i = 0; t->here >> i; i++) {
        if (!(t->here >> i & 1))
            continue;
        t->values[i].found = t->values[i].too_long = false;
        t->values[i].len = 0;
        if (t->values[i].path->n == t->depth)
            t->taking |= (uint32_t)1 << i;
    }
}

static void take_byte(struct json_take *t, char c)
{
    if (t->is_key) {
        if (t->key_len == sizeof(t->key))
            t->key_too_long = true;
        else
            t->key[t->key_len++] = c;
        return;
    }
    for (uint32_t i = 0; t->taking >> i; i++) {
        struct json_value *v = &t->values[i];
        if (!(t->taking >> i & 1))
            continue;
        if (v->len == v->cap)
            v->too_long = true;
        else
            v->bytes[v->len++] = c;
    }
}

static void end_value(struct json_take *t)
{
    for (uint32_t i = 0; t->taking >> i; i++) {
        if (t->taking >> i & 1)
            t->values[i].found = !t->values[i].too_long;
    }
    t->taking = 0;
    t->state = t->depth > 0 ? BEHIND : DONE;
}

static void begin_key(struct json_take *t)
{
    t->is_key = true;
    t->key_too_long = false;
    t->key_len = 0;
    t->state = STRING;
}

static void open_container(struct json_take *t, bool object)
{
    t->taking = 0;
    if (t->depth == JSON_TAKE_DEPTH_MAX) {
        t->state = MALFORMED;
        return;
    }
    t->stack[t->depth].object = object;
    t->stack[t->depth].on = t->here;
    t->stack[t->depth].index = 0;
    t->depth++;
    t->state = object ? KEY_OR_CLOSE : VALUE_OR_CLOSE;
}

static void close_container(struct json_take *t, bool object)
{
    if (t->stack[t->depth - 1].object != object) {
        t->state = MALFORMED;
        return;
    }
    t->depth--;
    t->state = t->depth > 0 ? BEHIND : DONE;
}

/* --- strings --- */

static void take_code_point(struct json_take *t, uint32_t c)
{
    if (c < 0x80) {
        take_byte(t, (char)c);
    } else if (c < 0x800) {
        take_byte(t, (char)(0xc0 | c >> 6));
        take_byte(t, (char)(0x80 | (c & 0x3f)));
    } else if (c < 0x10000) {
        take_byte(t, (char)(0xe0 | c >> 12));
        take_byte(t, (char)(0x80 | (c >> 6 & 0x3f)));
        take_byte(t, (char)(0x80 | (c & 0x3f)));
    } else {
        take_byte(t, (char)(0xf0 | c >> 18));
        take_byte(t, (char)(0x80 | (c >> 12 & 0x3f)));
        take_byte(t, (char)(0x80 | (c >> 6 & 0x3f)));
        take_byte(t, (char)(0x80 | (c & 0x3f)));
    }
}

/* The first byte of a character (RFC 3629 §4): how many follow, and what the next may be. False:
 * no character begins with it. */
static bool begin_utf8(struct json_take *t, unsigned char c)
{
    t->utf8_min = 0x80;
    t->utf8_max = 0xbf;
    if (c >= 0xc2 && c <= 0xdf) {
        t->utf8_left = 1;
    } else if (c >= 0xe0 && c <= 0xef) {
        t->utf8_left = 2;
        if (c == 0xe0)
            t->utf8_min = 0xa0;
        if (c == 0xed)
            t->utf8_max = 0x9f;
    } else if (c >= 0xf0 && c <= 0xf4) {
        t->utf8_left = 3;
        if (c == 0xf0)
            t->utf8_min = 0x90;
        if (c == 0xf4)
            t->utf8_max = 0x8f;
    } else {
        return false;
    }
    return true;
}

static void in_string(struct json_take *t, unsigned char c)
{
    if (t->utf8_left > 0) {
        if (c < t->utf8_min || c > t->utf8_max) {
            t->state = MALFORMED;
            return;
        }
        t->utf8_left--;
        t->utf8_min = 0x80;
        t->utf8_max = 0xbf;
        take_byte(t, (char)c);
    } else if (c == '"') {
        if (t->is_key)
            t->state = COLON;
        else
            end_value(t);
    } else if (c == '\\') {
        t->state = ESCAPE;
    } else if (c < 0x20 || (c >= 0x80 && !begin_utf8(t, c))) {
        t->state = MALFORMED;
    } else {
        take_byte(t, (char)c);
    }
}

static void in_escape(struct json_take *t, char c)
{
    static const char from[] = "\"\\/bfnrt", to[] = "\"\\/\b\f\n\r\t";
    const char *at = c ? strchr(from, c) : NULL;
    if (c == 'u') {
        t->state = HEX;
        t->hex = 0;
        t->hex_left = 4;
    } else if (at) {
        take_byte(t, to[at - from]);
        t->state = STRING;
    } else {
        t->state = MALFORMED;
    }
}

static int hex_digit(char c)
{
    char low = ascii_lower(c);
    if (c >= '0' && c <= '9')
        return c - '0';
    return low >= 'a' && low <= 'f' ? low - 'a' + 10 : -1;
}

/* A surrogate alone is no character. */
static void end_hex(struct json_take *t)
{
    bool low = t->hex >= 0xdc00 && t->hex <= 0xdfff;
    if (t->high != 0) {
        uint32_t c = 0x10000 + ((uint32_t)(t->high - 0xd800) << 10) + (t->hex & 0x3ffu);
        t->high = 0;
        t->state = low ? STRING : MALFORMED;
        if (low)
            take_code_point(t, c);
    } else if (low) {
        t->state = MALFORMED;
    } else if (t->hex >= 0xd800 && t->hex <= 0xdbff) {
        t->high = t->hex;
        t->state = LOW_BACKSLASH;
    } else {
        take_code_point(t, t->hex);
        t->state = STRING;
    }
}

static void in_hex(struct json_take *t, char c)
{
    int v = hex_digit(c);
    if (v < 0) {
        t->state = MALFORMED;
        return;
    }
    t->hex = (uint16_t)(t->hex << 4 | v);
    if (--t->hex_left == 0)
        end_hex(t);
}

/* --- numbers and words --- */

static bool number_may_end(unsigned state)
{
    return state == NUMBER_ZERO || state == NUMBER_INTEGER || state == NUMBER_FRACTION ||
           state == NUMBER_EXPONENT;
}

/* The state behind one more byte of a number; MALFORMED: it cannot be one of it. */
static enum state number_next(unsigned state, char c)
{
    bool digit = c >= '0' && c <= '9', e = c == 'e' || c == 'E';
    switch (state) {
    case NUMBER_SIGN:
        return c == '0' ? NUMBER_ZERO : digit ? NUMBER_INTEGER : MALFORMED;
    case NUMBER_ZERO:
        return c == '.' ? NUMBER_POINT : e ? NUMBER_E : MALFORMED;
    case NUMBER_INTEGER:
        return digit ? NUMBER_INTEGER : c == '.' ? NUMBER_POINT : e ? NUMBER_E : MALFORMED;
    case NUMBER_POINT:
        return digit ? NUMBER_FRACTION : MALFORMED;
    case NUMBER_FRACTION:
        return digit ? NUMBER_FRACTION : e ? NUMBER_E : MALFORMED;
    case NUMBER_E:
        return c == '+' || c == '-' ? NUMBER_E_SIGN : digit ? NUMBER_EXPONENT : MALFORMED;
    default: /* NUMBER_E_SIGN, NUMBER_EXPONENT */
        return digit ? NUMBER_EXPONENT : MALFORMED;
    }
}

static void in_literal(struct json_take *t, char c)
{
    const char *word = literals[t->literal];
    if (c != word[t->literal_at]) {
        t->state = MALFORMED;
        return;
    }
    if (t->literal != LITERAL_NULL)
        take_byte(t, c);
    if (word[++t->literal_at] != '\0')
        return;
    if (t->literal == LITERAL_NULL)
        t->taking = 0;
    end_value(t);
}

/* --- between values --- */

static void first_of_value(struct json_take *t, char c)
{
    begin_value(t);
    t->is_key = false;
    switch (c) {
    case '{':
    case '[':
        open_container(t, c == '{');
        return;
    case '"':
        t->state = STRING;
        return;
    case 't':
    case 'f':
    case 'n':
        t->literal = c == 't' ? 0 : c == 'f' ? 1 : LITERAL_NULL;
        t->literal_at = 0;
        t->state = LITERAL;
        in_literal(t, c);
        return;
    case '-':
        t->state = NUMBER_SIGN;
        break;
    default:
        t->state = (uint8_t)number_next(NUMBER_SIGN, c);
        break;
    }
    if (t->state != MALFORMED)
        take_byte(t, c);
}

static void between(struct json_take *t, char c)
{
    if (is_space(c))
        return;
    switch (t->state) {
    case VALUE_OR_CLOSE:
        if (c == ']')
            close_container(t, false);
        else
            first_of_value(t, c);
        return;
    case VALUE:
        first_of_value(t, c);
        return;
    case KEY_OR_CLOSE:
    case KEY:
        if (c == '"')
            begin_key(t);
        else if (c == '}' && t->state == KEY_OR_CLOSE)
            close_container(t, true);
        else
            t->state = MALFORMED;
        return;
    case COLON:
        t->state = c == ':' ? VALUE : MALFORMED;
        return;
    case BEHIND:
        if (c == ',') {
            bool object = t->stack[t->depth - 1].object;
            t->stack[t->depth - 1].index++;
            t->state = object ? KEY : VALUE;
        } else if (c == '}' || c == ']') {
            close_container(t, c == '}');
        } else {
            t->state = MALFORMED;
        }
        return;
    default: /* DONE */
        t->state = MALFORMED;
    }
}

static void feed_byte(struct json_take *t, char c)
{
    switch (t->state) {
    case STRING:
        in_string(t, (unsigned char)c);
        return;
    case ESCAPE:
        in_escape(t, c);
        return;
    case HEX:
        in_hex(t, c);
        return;
    case LOW_BACKSLASH:
        t->state = c == '\\' ? LOW_U : MALFORMED;
        return;
    case LOW_U:
        t->state = c == 'u' ? HEX : MALFORMED;
        t->hex = 0;
        t->hex_left = 4;
        return;
    case LITERAL:
        in_literal(t, c);
        return;
    default:
        break;
    }
    if (t->state < NUMBER_SIGN || t->state > NUMBER_EXPONENT) {
        between(t, c);
        return;
    }
    enum state next = number_next(t->state, c);
    if (next != MALFORMED) {
        t->state = (uint8_t)next;
        take_byte(t, c);
    } else if (number_may_end(t->state)) {
        end_value(t);
        between(t, c);
    } else {
        t->state = MALFORMED;
    }
}

enum json_state json_take_feed(struct json_take *t, const char *p, size_t n)
{
    for (size_t i = 0; i < n && t->state != MALFORMED; i++)
        feed_byte(t, p[i]);
    return t->state == MALFORMED ? JSON_MALFORMED : t->state == DONE ? JSON_WHOLE : JSON_MORE;
}

enum json_state json_take_end(struct json_take *t)
{
    if (t->depth == 0 && number_may_end(t->state))
        end_value(t);
    if (t->state == DONE)
        return JSON_WHOLE;
    t->state = MALFORMED;
    for (uint32_t i = 0; i < t->n; i++)
        t->values[i].found = false;
    return JSON_MALFORMED;
}
