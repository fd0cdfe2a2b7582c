/* jwt_text.c - base64url and JSON, as strict as tokens have to be: one text for each value. */
#include "policies/jwt_parts.h"

static int digit(char c)
{
    if (c >= 'A' && c <= 'Z')
        return c - 'A';
    if (c >= 'a' && c <= 'z')
        return c - 'a' + 26;
    if (c >= '0' && c <= '9')
        return c - '0' + 52;
    return c == '-' ? 62 : c == '_' ? 63 : -1;
}

bool jwt_base64(struct str text, unsigned char *out, size_t cap, size_t *ret_n)
{
    uint32_t bits = 0, have = 0;
    size_t n = 0;
    if (text.n % 4 == 1 || text.n / 4 * 3 + (text.n % 4 ? text.n % 4 - 1 : 0) > cap)
        return false;
    for (size_t i = 0; i < text.n; i++) {
        int d = digit(text.p[i]);
        if (d < 0)
            return false;
        bits = (bits << 6 | (uint32_t)d) & 0xffff;
        have += 6;
        if (have >= 8) {
            have -= 8;
            out[n++] = (unsigned char)(bits >> have);
        }
    }
    if (bits & ((1U << have) - 1))
        return false;
    *ret_n = n;
    return true;
}

/* Before a tree is made of it: jansson's own bound of depth is for ordinary documents. */
static bool within_bounds(const char *p, size_t n)
{
    uint32_t depth = 0, values = 0;
    bool quoted = false;
    for (size_t i = 0; i < n; i++) {
        if (quoted) {
            if (p[i] == '\\')
                i++;
            else if (p[i] == '"')
                quoted = false;
            continue;
        }
        switch (p[i]) {
        case '"':
            quoted = true;
            break;
        case '{':
        case '[':
            values++;
            if (++depth > JWT_JSON_DEPTH)
                return false;
            break;
        case '}':
        case ']':
            depth -= depth > 0;
            break;
        case ',':
            values++;
            break;
        default:
            break;
        }
    }
    return values <= JWT_JSON_VALUES;
}

json_t *jwt_json(const char *p, size_t n, bool *ret_no_memory)
{
    json_error_t error;
    *ret_no_memory = false;
    if (!within_bounds(p, n))
        return NULL;
    json_t *json = json_loadb(p, n, JSON_REJECT_DUPLICATES, &error);
    if (!json) {
        *ret_no_memory = json_error_code(&error) == json_error_out_of_memory;
        return NULL;
    }
    if (json_is_object(json))
        return json;
    json_decref(json);
    return NULL;
}
