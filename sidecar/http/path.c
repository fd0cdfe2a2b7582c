/* path.c - one reading of a path: what is routed is what is forwarded (RFC 3986 §6.2.2). */
#include "http/path.h"

/* How a byte of a path is to be taken. */
enum {
    P_PLAIN = 0, /* stands for itself */
    P_LOOK,      /* '.' and '%': may be all right */
    P_FORBIDDEN, /* controls, space, DEL, above ASCII; '?' and '#' cannot be in a path */
    P_BACKSLASH, /* some servers take it for a slash: not one reading */
};

static const uint8_t kinds[256] = {
    [0x00 ... ' '] = P_FORBIDDEN,
    ['#'] = P_FORBIDDEN,
    ['%'] = P_LOOK,
    ['.'] = P_LOOK,
    ['?'] = P_FORBIDDEN,
    ['\\'] = P_BACKSLASH,
    [0x7f] = P_FORBIDDEN,
    [0x80 ... 0xff] = P_FORBIDDEN,
};

static int hex_value(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c = ascii_lower(c);
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* RFC 3986 §2.3 */
static bool is_unreserved(int c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' ||
           c == '.' || c == '_' || c == '~';
}

/* The octet that "%XX" at p stands for; -1 when that is not what is there. */
static int octet_at(const char *p, const char *end)
{
    if (end - p < 3)
        return -1;
    int high = hex_value(p[1]), low = hex_value(p[2]);
    return high < 0 || low < 0 ? -1 : high << 4 | low;
}

static bool is_capital_hex(char c)
{
    return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'F');
}

/* Is the segment [p, end) "." or ".."? Their number, 0 for any other. */
static unsigned dot_segment(const char *p, const char *end)
{
    if (end - p == 1 && p[0] == '.')
        return 1;
    return end - p == 2 && p[0] == '.' && p[1] == '.' ? 2 : 0;
}

enum look { LOOK_NORMAL, LOOK_CHANGE, LOOK_BAD };

/* One pass, no writing: is it normal already? */
static enum look look(const char *begin, const char *end, const char **detail)
{
    enum look found = LOOK_NORMAL;
    for (const char *p = begin; p < end; p++) {
        unsigned kind = kinds[(unsigned char)*p];
        if (kind == P_PLAIN)
            continue;
        if (kind == P_FORBIDDEN) {
            *detail = "a byte of the path is not allowed";
            return LOOK_BAD;
        }
        if (kind == P_BACKSLASH) {
            *detail = "the path has a backslash";
            return LOOK_BAD;
        }
        if (*p == '.') {
            /* A dot segment begins behind a slash and has nothing but dots. */
            if (p > begin && p[-1] == '/') {
                const char *q = p + 1;
                q += q < end && *q == '.';
                if (q == end || *q == '/')
                    found = LOOK_CHANGE;
            }
            continue;
        }
        int octet = octet_at(p, end);
        if (octet <= 0) {
            *detail = octet == 0 ? "the path has %00" : "a % without two hex digits";
            return LOOK_BAD;
        }
        if (is_unreserved(octet) || !is_capital_hex(p[1]) || !is_capital_hex(p[2]))
            found = LOOK_CHANGE;
        p += 2;
    }
    return found;
}

/* Ends the segment [segment, out) of what was written from `begin`; returns where the next one is
 * written, NULL when ".." climbs above the root. `slash` says whether a '/' follows. */
static char *end_segment(char *begin, char *segment, char *out, bool slash)
{
    unsigned dots = dot_segment(segment, out);
    if (dots == 0) {
        if (slash)
            *out++ = '/';
        return out;
    }
    out = segment; /* behind a slash, which stays */
    if (dots == 2) {
        if (out - 1 == begin)
            return NULL;
        do
            out--;
        while (out[-1] != '/');
    }
    return out;
}

/* [begin, end) begins with '/' and look() found nothing bad. Returns its new end, or NULL. */
static char *normalise(char *begin, char *end)
{
    static const char capital[] = "0123456789ABCDEF";
    char *out = begin + 1, *segment = out;
    for (const char *p = begin + 1; p < end; p++) {
        if (*p == '/') {
            out = segment = end_segment(begin, segment, out, true);
            if (!out)
                return NULL;
        } else if (*p == '%') {
            int octet = octet_at(p, end);
            CHECK(octet > 0);
            if (is_unreserved(octet)) {
                *out++ = (char)octet;
            } else {
                *out++ = '%';
                *out++ = capital[octet >> 4];
                *out++ = capital[octet & 15];
            }
            p += 2;
        } else {
            *out++ = *p;
        }
    }
    return end_segment(begin, segment, out, false);
}

static enum reason check_as_is(const char *p, const char *end, const char **ret_detail)
{
    for (; p < end; p++) {
        bool nul = *p == '%' && octet_at(p, end) == 0;
        if (nul || kinds[(unsigned char)*p] == P_FORBIDDEN) {
            *ret_detail = nul ? "the path has %00" : "a byte of the path is not allowed";
            return REASON_BAD_REQUEST;
        }
    }
    return REASON_NONE;
}

enum reason path_apply(struct message *req, enum path_policy policy, const char **ret_detail)
{
    CHECK_OBJ(req, MESSAGE_MAGIC);
    char *begin = req->buf + req->path.off, *end = begin + req->path.len;
    if (req->asterisk)
        return REASON_NONE;
    if (begin == end || *begin != '/') {
        *ret_detail = "the path does not begin with /";
        return REASON_BAD_REQUEST;
    }
    if (policy == PATH_AS_IS)
        return check_as_is(begin, end, ret_detail);
    switch (look(begin, end, ret_detail)) {
    case LOOK_NORMAL:
        return REASON_NONE;
    case LOOK_CHANGE:
        break;
    case LOOK_BAD:
        return REASON_BAD_REQUEST;
    }
    if (policy == PATH_REFUSE) {
        *ret_detail = "the path is not in its normal form";
        return REASON_BAD_REQUEST;
    }
    char *new_end = normalise(begin, end);
    if (!new_end) {
        *ret_detail = "the path climbs above the root";
        return REASON_BAD_REQUEST;
    }
    req->path.len = (uint32_t)(new_end - begin);
    return REASON_NONE;
}
