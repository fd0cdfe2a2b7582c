/* hpack_static.c - what both ends know of header compression from the start (RFC 7541,
 * Appendix A). */
#include "http/hpack.h"

#include "base/check.h"

/* One slot for each name, by its length, first and last byte. Two names in one would not compile
 * (-Woverride-init). */
enum { SLOTS = 256 };
#define SLOT(n, first, last) (((n) + 10 * (first) + 4 * (last)) & (SLOTS - 1))

#define LINE(name_id, name, value)                                                                 \
    {                                                                                              \
        name ": " value "\r\n", sizeof(name) - 1, sizeof(value) - 1, name_id                       \
    }
static const struct hpack_static_line lines[HPACK_STATIC + 1] = {
    [0] = LINE(HPACK_NAME_OTHER, "", ""),
    [1] = LINE(1, ":authority", ""),
    [2] = LINE(2, ":method", "GET"),
    [3] = LINE(2, ":method", "POST"),
    [4] = LINE(4, ":path", "/"),
    [5] = LINE(4, ":path", "/index.html"),
    [6] = LINE(6, ":scheme", "http"),
    [7] = LINE(6, ":scheme", "https"),
    [8] = LINE(8, ":status", "200"),
    [9] = LINE(8, ":status", "204"),
    [10] = LINE(8, ":status", "206"),
    [11] = LINE(8, ":status", "304"),
    [12] = LINE(8, ":status", "400"),
    [13] = LINE(8, ":status", "404"),
    [14] = LINE(8, ":status", "500"),
    [15] = LINE(15, "accept-charset", ""),
    [16] = LINE(16, "accept-encoding", "gzip, deflate"),
    [17] = LINE(17, "accept-language", ""),
    [18] = LINE(18, "accept-ranges", ""),
    [19] = LINE(19, "accept", ""),
    [20] = LINE(20, "access-control-allow-origin", ""),
    [21] = LINE(21, "age", ""),
    [22] = LINE(22, "allow", ""),
    [23] = LINE(23, "authorization", ""),
    [24] = LINE(24, "cache-control", ""),
    [25] = LINE(25, "content-disposition", ""),
    [26] = LINE(26, "content-encoding", ""),
    [27] = LINE(27, "content-language", ""),
    [28] = LINE(28, "content-length", ""),
    [29] = LINE(29, "content-location", ""),
    [30] = LINE(30, "content-range", ""),
    [31] = LINE(31, "content-type", ""),
    [32] = LINE(32, "cookie", ""),
    [33] = LINE(33, "date", ""),
    [34] = LINE(34, "etag", ""),
    [35] = LINE(35, "expect", ""),
    [36] = LINE(36, "expires", ""),
    [37] = LINE(37, "from", ""),
    [38] = LINE(38, "host", ""),
    [39] = LINE(39, "if-match", ""),
    [40] = LINE(40, "if-modified-since", ""),
    [41] = LINE(41, "if-none-match", ""),
    [42] = LINE(42, "if-range", ""),
    [43] = LINE(43, "if-unmodified-since", ""),
    [44] = LINE(44, "last-modified", ""),
    [45] = LINE(45, "link", ""),
    [46] = LINE(46, "location", ""),
    [47] = LINE(47, "max-forwards", ""),
    [48] = LINE(48, "proxy-authenticate", ""),
    [49] = LINE(49, "proxy-authorization", ""),
    [50] = LINE(50, "range", ""),
    [51] = LINE(51, "referer", ""),
    [52] = LINE(52, "refresh", ""),
    [53] = LINE(53, "retry-after", ""),
    [54] = LINE(54, "server", ""),
    [55] = LINE(55, "set-cookie", ""),
    [56] = LINE(56, "strict-transport-security", ""),
    [57] = LINE(57, "transfer-encoding", ""),
    [58] = LINE(58, "user-agent", ""),
    [59] = LINE(59, "vary", ""),
    [60] = LINE(60, "via", ""),
    [61] = LINE(61, "www-authenticate", ""),
};

static const uint8_t slots[SLOTS] = {
    [SLOT(10, ':', 'y')] = 1,  [SLOT(7, ':', 'd')] = 2,   [SLOT(5, ':', 'h')] = 4,
    [SLOT(7, ':', 'e')] = 6,   [SLOT(7, ':', 's')] = 8,   [SLOT(14, 'a', 't')] = 15,
    [SLOT(15, 'a', 'g')] = 16, [SLOT(15, 'a', 'e')] = 17, [SLOT(13, 'a', 's')] = 18,
    [SLOT(6, 'a', 't')] = 19,  [SLOT(27, 'a', 'n')] = 20, [SLOT(3, 'a', 'e')] = 21,
    [SLOT(5, 'a', 'w')] = 22,  [SLOT(13, 'a', 'n')] = 23, [SLOT(13, 'c', 'l')] = 24,
    [SLOT(19, 'c', 'n')] = 25, [SLOT(16, 'c', 'g')] = 26, [SLOT(16, 'c', 'e')] = 27,
    [SLOT(14, 'c', 'h')] = 28, [SLOT(16, 'c', 'n')] = 29, [SLOT(13, 'c', 'e')] = 30,
    [SLOT(12, 'c', 'e')] = 31, [SLOT(6, 'c', 'e')] = 32,  [SLOT(4, 'd', 'e')] = 33,
    [SLOT(4, 'e', 'g')] = 34,  [SLOT(6, 'e', 't')] = 35,  [SLOT(7, 'e', 's')] = 36,
    [SLOT(4, 'f', 'm')] = 37,  [SLOT(4, 'h', 't')] = 38,  [SLOT(8, 'i', 'h')] = 39,
    [SLOT(17, 'i', 'e')] = 40, [SLOT(13, 'i', 'h')] = 41, [SLOT(8, 'i', 'e')] = 42,
    [SLOT(19, 'i', 'e')] = 43, [SLOT(13, 'l', 'd')] = 44, [SLOT(4, 'l', 'k')] = 45,
    [SLOT(8, 'l', 'n')] = 46,  [SLOT(12, 'm', 's')] = 47, [SLOT(18, 'p', 'e')] = 48,
    [SLOT(19, 'p', 'n')] = 49, [SLOT(5, 'r', 'e')] = 50,  [SLOT(7, 'r', 'r')] = 51,
    [SLOT(7, 'r', 'h')] = 52,  [SLOT(11, 'r', 'r')] = 53, [SLOT(6, 's', 'r')] = 54,
    [SLOT(10, 's', 'e')] = 55, [SLOT(25, 's', 'y')] = 56, [SLOT(17, 't', 'g')] = 57,
    [SLOT(10, 'u', 't')] = 58, [SLOT(4, 'v', 'y')] = 59,  [SLOT(3, 'v', 'a')] = 60,
    [SLOT(16, 'w', 'e')] = 61,
};

uint8_t hpack_name_of(struct str name)
{
    if (name.n == 0)
        return HPACK_NAME_OTHER;
    const unsigned char *p = (const unsigned char *)name.p;
    uint8_t i = slots[SLOT((unsigned)name.n, p[0], p[name.n - 1])];
    return lines[i].name_len == name.n && memcmp(lines[i].text, p, name.n) == 0 ? i
                                                                                : HPACK_NAME_OTHER;
}

uint8_t hpack_static_field(const struct hpack_field *f)
{
    for (uint8_t i = f->name_id; lines[i].name_id == f->name_id; i++) {
        const struct hpack_static_line *l = &lines[i];
        if (l->value_len == f->value_len &&
            memcmp(l->text + l->name_len + 2, f->value, f->value_len) == 0)
            return i;
    }
    return 0;
}

const struct hpack_static_line *hpack_static_line(uint32_t index)
{
    CHECK(index > 0 && index <= HPACK_STATIC);
    return &lines[index];
}

enum hpack_how hpack_how_of(uint8_t name_id, size_t value_len)
{
    static const uint8_t how[UINT8_MAX + 1] = {
        [4] = HPACK_PLAIN,  /* :path */
        [21] = HPACK_PLAIN, /* age */
        [23] = HPACK_NEVER, /* authorization */
        [28] = HPACK_PLAIN, /* content-length */
        [34] = HPACK_PLAIN, /* etag */
        [40] = HPACK_PLAIN, /* if-modified-since */
        [41] = HPACK_PLAIN, /* if-none-match */
        [46] = HPACK_PLAIN, /* location */
        [55] = HPACK_PLAIN, /* set-cookie */
    };
    if (name_id == 32 && value_len < 20) /* a cookie so short could be guessed */
        return HPACK_NEVER;
    return (enum hpack_how)how[name_id];
}
