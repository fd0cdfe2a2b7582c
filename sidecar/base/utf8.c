/* utf8.c - bytes of any origin as UTF-8, for JSON. */
#include "base/utf8.h"

#include "base/mem.h"

static const char replacement[] = "\xef\xbf\xbd"; /* U+FFFD */

size_t utf8_char(struct str s)
{
    const unsigned char *p = (const unsigned char *)s.p;
    unsigned char low = 0x80, high = 0xbf; /* of the second byte */
    size_t n;

    if (s.n == 0)
        return 0;
    if (p[0] < 0x80)
        return 1;
    if (p[0] < 0xc2 || p[0] > 0xf4)
        return 0;
    n = p[0] < 0xe0 ? 2 : p[0] < 0xf0 ? 3 : 4;
    if (p[0] == 0xe0)
        low = 0xa0;
    else if (p[0] == 0xed)
        high = 0x9f;
    else if (p[0] == 0xf0)
        low = 0x90;
    else if (p[0] == 0xf4)
        high = 0x8f;
    if (s.n < n || p[1] < low || p[1] > high)
        return 0;
    for (size_t i = 2; i < n; i++) {
        if ((p[i] & 0xc0) != 0x80)
            return 0;
    }
    return n;
}

char *utf8_clean(struct str s)
{
    char *out = mem_alloc(s.n * (sizeof(replacement) - 1) + 1);
    size_t o = 0;

    if (!out)
        return NULL;
    while (s.n > 0) {
        size_t n = utf8_char(s);
        size_t skip = n ? n : 1, put = n ? n : sizeof(replacement) - 1;
        memcpy(out + o, n ? s.p : replacement, put);
        o += put;
        s = (struct str){s.p + skip, s.n - skip};
    }
    out[o] = '\0';
    return out;
}
