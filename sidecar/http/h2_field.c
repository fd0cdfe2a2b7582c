/* h2_field.c - what a field of HTTP/2 says by itself, whatever stands around it (RFC 9113 §8.2).
 *
 * Asked once for each new field: the answer stays with it in the table of the decoder. */
#include "http/field_rules.h"
#include "http/h2_parts.h"

enum {
    C_NAME = 1,      /* tchar (RFC 9110 §5.6.2), but no capital */
    C_VALUE = 2,     /* field-vchar, SP, HTAB */
    C_PATH = 4,      /* field-vchar */
    C_TARGET = 8,    /* VCHAR without '#': what HTTP/1 would carry, and not end at */
    C_AUTHORITY = 16 /* with userinfo, which is refused later (RFC 3986 §3.2) */
};

#define VCHAR (C_VALUE | C_PATH | C_TARGET)
#define TCHAR (C_NAME | VCHAR)

static const uint8_t classes[256] = {
    ['\t'] = C_VALUE,
    [' '] = C_VALUE,
    ['!'] = TCHAR | C_AUTHORITY,
    ['"'] = VCHAR,
    ['#'] = C_NAME | C_VALUE | C_PATH,
    ['$' ... '\''] = TCHAR | C_AUTHORITY,
    ['(' ... ')'] = VCHAR | C_AUTHORITY,
    ['*' ... '+'] = TCHAR | C_AUTHORITY,
    [','] = VCHAR | C_AUTHORITY,
    ['-' ... '.'] = TCHAR | C_AUTHORITY,
    ['/'] = VCHAR,
    ['0' ... '9'] = TCHAR | C_AUTHORITY,
    [':' ... ';'] = VCHAR | C_AUTHORITY,
    ['<'] = VCHAR,
    ['='] = VCHAR | C_AUTHORITY,
    ['>' ... '?'] = VCHAR,
    ['@' ... '['] = VCHAR | C_AUTHORITY,
    ['\\'] = VCHAR,
    [']'] = VCHAR | C_AUTHORITY,
    ['^'] = TCHAR,
    ['_'] = TCHAR | C_AUTHORITY,
    ['`'] = TCHAR,
    ['a' ... 'z'] = TCHAR | C_AUTHORITY,
    ['{'] = VCHAR,
    ['|'] = TCHAR,
    ['}'] = VCHAR,
    ['~'] = TCHAR | C_AUTHORITY,
    [0x80 ... 0xff] = C_VALUE | C_PATH,
};

static bool all(struct str s, unsigned class)
{
    unsigned is = class;
    for (size_t i = 0; i < s.n; i++)
        is &= classes[(unsigned char)s.p[i]];
    return is == class;
}

/* The same for methods, which may have capitals. */
static bool is_token(struct str s)
{
    for (size_t i = 0; i < s.n; i++) {
        char c = s.p[i];
        if (!(c >= 'A' && c <= 'Z') && !(classes[(unsigned char)c] & C_NAME))
            return false;
    }
    return s.n > 0;
}

/* RFC 3986 §3.1 */
static bool is_scheme(struct str s)
{
    for (size_t i = 0; i < s.n; i++) {
        char c = ascii_lower(s.p[i]);
        bool later = (c >= '0' && c <= '9') || c == '+' || c == '-' || c == '.';
        if (!(c >= 'a' && c <= 'z') && !(i > 0 && later))
            return false;
    }
    return true;
}

const uint16_t h2_static_notes[HPACK_STATIC + 1] = {
    [1] = H2_MALFORMED, /* :authority, of which the value is missing */
    [2 ... 3] = H2_PSEUDO | HPACK_METHOD,
    [4 ... 5] = H2_PSEUDO | HPACK_PATH,
    [6 ... 7] = H2_PSEUDO | HPACK_SCHEME,
    [8 ... 14] = H2_PSEUDO | HPACK_STATUS,
    [23] = FIELD_AUTHORIZATION,
    [24] = FIELD_CACHE_CONTROL,
    [26] = FIELD_CONTENT_ENCODING,
    [28] = FIELD_CONTENT_LENGTH,
    [30] = FIELD_CONTENT_RANGE,
    [31] = FIELD_CONTENT_TYPE,
    [32] = FIELD_COOKIE,
    [33] = FIELD_DATE,
    [35] = FIELD_EXPECT,
    [38] = FIELD_HOST,
    [47] = FIELD_MAX_FORWARDS,
    [48] = FIELD_PROXY_AUTHENTICATE,
    [49] = FIELD_PROXY_AUTHORIZATION,
    [53] = FIELD_RETRY_AFTER,
    [54] = FIELD_SERVER,
    [55] = FIELD_SET_COOKIE,
    [57] = H2_MALFORMED, /* transfer-encoding (RFC 9113 §8.2.2) */
    [58] = FIELD_USER_AGENT,
    [60] = FIELD_VIA,
};

static uint16_t note_of_pseudo(uint8_t name_id, struct str name, struct str value)
{
    uint16_t note = H2_PSEUDO | name_id;
    if (value.n == 0)
        return H2_MALFORMED;
    switch (name_id) {
    case HPACK_METHOD:
        return is_token(value) ? note : H2_MALFORMED;
    case HPACK_PATH:
        if (!all(value, C_PATH))
            return H2_MALFORMED;
        return all(value, C_TARGET) ? note : note | H2_ODD;
    case HPACK_AUTHORITY:
        return all(value, C_AUTHORITY) ? note : H2_MALFORMED;
    case HPACK_SCHEME:
        if (str_eq(value, STR("http")) || str_ieq(value, STR("http")) ||
            str_ieq(value, STR("https")))
            return note;
        return is_scheme(value) ? note | H2_ODD : H2_MALFORMED;
    case HPACK_STATUS:
        return note;
    default:
        return str_eq(name, STR(":protocol")) ? H2_PSEUDO | H2_PROTOCOL : H2_MALFORMED;
    }
}

uint16_t h2_field_note(uint8_t name_id, struct str name, struct str value)
{
    if (name.n == 0 || !all(value, C_VALUE))
        return H2_MALFORMED;
    if (value.n > 0 && (value.p[0] == ' ' || value.p[0] == '\t' || value.p[value.n - 1] == ' ' ||
                        value.p[value.n - 1] == '\t'))
        return H2_MALFORMED;
    if (name.p[0] == ':')
        return note_of_pseudo(name_id, name, value);
    if (name_id == HPACK_NAME_OTHER && !all(name, C_NAME))
        return H2_MALFORMED;
    /* From 15 on an entry's index is its name's number too. */
    uint16_t known =
        name_id == HPACK_NAME_OTHER ? (uint16_t)field_id_of(name) : h2_static_notes[name_id];
    switch (known) {
    /* §8.2.2 */
    case FIELD_CONNECTION:
    case FIELD_KEEP_ALIVE:
    case FIELD_PROXY_CONNECTION:
    case FIELD_TRANSFER_ENCODING:
    case FIELD_UPGRADE:
        return H2_MALFORMED;
    case FIELD_TE:
        return str_ieq(value, STR("trailers")) ? FIELD_TE : H2_MALFORMED;
    case FIELD_HOST:
        return all(value, C_AUTHORITY) ? FIELD_HOST : FIELD_HOST | H2_ODD;
    case FIELD_OTHER:
        return memchr(name.p, '_', name.n) && field_underscore_double(name) ? H2_ODD : FIELD_OTHER;
    default:
        return known;
    }
}
