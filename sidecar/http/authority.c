/* authority.c - host [":" port], as Host and an absolute-form target carry it. */
#include "http/authority.h"

#include <arpa/inet.h>

/* reg-name but for percent-encoded octets: unreserved and sub-delims (RFC 3986 §3.2.2). */
static const bool in_name[256] = {
    ['0' ... '9'] = true, ['A' ... 'Z'] = true, ['a' ... 'z'] = true, ['-'] = true, ['.'] = true,
    ['_'] = true,         ['~'] = true,         ['!'] = true,         ['$'] = true, ['&'] = true,
    ['\''] = true,        ['('] = true,         [')'] = true,         ['*'] = true, ['+'] = true,
    [','] = true,         [';'] = true,         ['='] = true,
};

static bool is_hex(char c)
{
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F');
}

static bool ipv6_valid(struct str a)
{
    char z[INET6_ADDRSTRLEN];
    struct in6_addr ignored;
    if (a.n >= sizeof(z) || memchr(a.p, '\0', a.n))
        return false;
    memcpy(z, a.p, a.n);
    z[a.n] = '\0';
    return inet_pton(AF_INET6, z, &ignored) == 1;
}

static bool port_valid(struct str p)
{
    uint64_t port;
    return p.n == 0 || (p.n <= 5 && str_to_u64(p, &port) && port <= UINT16_MAX);
}

bool http_authority_valid(struct str a)
{
    size_t i = 0;
    if (a.n > 0 && a.p[0] == '[') {
        const char *close = memchr(a.p, ']', a.n);
        if (!close || !ipv6_valid((struct str){a.p + 1, (size_t)(close - a.p) - 1}))
            return false;
        i = (size_t)(close - a.p) + 1;
    }
    for (; i < a.n && a.p[0] != '[' && a.p[i] != ':'; i++) {
        if (in_name[(unsigned char)a.p[i]])
            continue;
        if (a.p[i] != '%' || a.n - i < 3 || !is_hex(a.p[i + 1]) || !is_hex(a.p[i + 2]))
            return false;
        i += 2;
    }
    if (i == 0)
        return false;
    if (i == a.n)
        return true;
    return a.p[i] == ':' && port_valid((struct str){a.p + i + 1, a.n - i - 1});
}
