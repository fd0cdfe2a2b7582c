/* hpack_static.c - what both ends know of header compression from the start (RFC 7541,
 * Appendix A). */
#include "http/hpack.h"

#include "base/check.h"

/* One slot for each name, by its length, first and last byte. Two names in one would not compile
 * (-Woverride-init). */
enum { SLOTS = 256 };
#define SLOT(n, first, last) (((n) + 10 * (first) + 4 * (last)) & (SLOTS - 1))

struct name {
    char text[28];
    uint8_t n;
};

#define NAME(s)                                                                                    \
    {                                                                                              \
        s, sizeof(s) - 1                                                                           \
    }
static const struct name names[HPACK_STATIC + 1] = {
    [1] = NAME(":authority"),
    [2] = NAME(":method"),
    [4] = NAME(":path"),
    [6] = NAME(":scheme"),
    [8] = NAME(":status"),
    [15] = NAME("accept-charset"),
    [16] = NAME("accept-encoding"),
    [17] = NAME("accept-language"),
    [18] = NAME("accept-ranges"),
    [19] = NAME("accept"),
    [20] = NAME("access-control-allow-origin"),
    [21] = NAME("age"),
    [22] = NAME("allow"),
    [23] = NAME("authorization"),
    [24] = NAME("cache-control"),
    [25] = NAME("content-disposition"),
    [26] = NAME("content-encoding"),
    [27] = NAME("content-language"),
    [28] = NAME("content-length"),
    [29] = NAME("content-location"),
    [30] = NAME("content-range"),
    [31] = NAME("content-type"),
    [32] = NAME("cookie"),
    [33] = NAME("date"),
    [34] = NAME("etag"),
    [35] = NAME("expect"),
    [36] = NAME("expires"),
    [37] = NAME("from"),
    [38] = NAME("host"),
    [39] = NAME("if-match"),
    [40] = NAME("if-modified-since"),
    [41] = NAME("if-none-match"),
    [42] = NAME("if-range"),
    [43] = NAME("if-unmodified-since"),
    [44] = NAME("last-modified"),
    [45] = NAME("link"),
    [46] = NAME("location"),
    [47] = NAME("max-forwards"),
    [48] = NAME("proxy-authenticate"),
    [49] = NAME("proxy-authorization"),
    [50] = NAME("range"),
    [51] = NAME("referer"),
    [52] = NAME("refresh"),
    [53] = NAME("retry-after"),
    [54] = NAME("server"),
    [55] = NAME("set-cookie"),
    [56] = NAME("strict-transport-security"),
    [57] = NAME("transfer-encoding"),
    [58] = NAME("user-agent"),
    [59] = NAME("vary"),
    [60] = NAME("via"),
    [61] = NAME("www-authenticate"),
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
    return names[i].n == name.n && memcmp(names[i].text, p, name.n) == 0 ? i : HPACK_NAME_OTHER;
}

uint8_t hpack_static_field(const struct hpack_field *f)
{
    static const struct {
        uint8_t index, name;
        struct str value;
    } fields[] = {
        {2, HPACK_METHOD, {"GET", 3}},  {3, HPACK_METHOD, {"POST", 4}},
        {4, HPACK_PATH, {"/", 1}},      {5, HPACK_PATH, {"/index.html", 11}},
        {6, HPACK_SCHEME, {"http", 4}}, {7, HPACK_SCHEME, {"https", 5}},
        {8, HPACK_STATUS, {"200", 3}},  {9, HPACK_STATUS, {"204", 3}},
        {10, HPACK_STATUS, {"206", 3}}, {11, HPACK_STATUS, {"304", 3}},
        {12, HPACK_STATUS, {"400", 3}}, {13, HPACK_STATUS, {"404", 3}},
        {14, HPACK_STATUS, {"500", 3}},
    };
    for (size_t i = f->name_id - 2u; i < ARRAY_LEN(fields) && fields[i].name == f->name_id; i++) {
        if (str_eq(fields[i].value, (struct str){f->value, f->value_len}))
            return fields[i].index;
    }
    return 0;
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
