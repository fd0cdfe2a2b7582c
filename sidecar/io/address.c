/* address.c - socket addresses as operators write them. */
#include "io/address.h"

#include "base/check.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>

/* It stands in logs, in metrics and in JSON. */
static bool can_be_told(struct str path)
{
    for (size_t i = 0; i < path.n; i++) {
        unsigned char b = (unsigned char)path.p[i];
        if (b < 0x20 || b == 0x7f || b == '"' || b == '\\')
            return false;
    }
    return true;
}

static int parse_unix(struct str path, struct address *ret, const char **ret_why)
{
    if (path.n == 0 || path.p[0] != '/') {
        *ret_why = "the path of a Unix socket begins with /";
        return -EINVAL;
    }
    if (path.n >= sizeof(ret->u.un.sun_path)) {
        *ret_why = "the path of a Unix socket has at most 107 bytes";
        return -EINVAL;
    }
    if (memchr(path.p, '\0', path.n)) {
        *ret_why = "the path of a Unix socket contains a NUL";
        return -EINVAL;
    }
    if (!can_be_told(path)) {
        *ret_why = "the path of a Unix socket contains a quote, a backslash or a control character";
        return -EINVAL;
    }
    *ret = (struct address){0};
    ret->u.un.sun_family = AF_UNIX;
    memcpy(ret->u.un.sun_path, path.p, path.n);
    ret->len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + path.n + 1);
    return 0;
}

int address_parse(struct str text, struct address *ret, const char **ret_why)
{
    char host[INET6_ADDRSTRLEN];
    uint64_t port;
    struct str h, p;
    bool six = false;

    if (str_starts(text, STR("unix:")))
        return parse_unix((struct str){text.p + 5, text.n - 5}, ret, ret_why);
    if (text.n > 0 && memmem(text.p, text.n, "://", 3)) {
        *ret_why = "an address has no http:// in front, and no path behind";
        return -EINVAL;
    }
    if (text.n > 0 && text.p[0] == '[') {
        const char *end = memchr(text.p, ']', text.n);
        if (!end || end + 1 >= text.p + text.n || end[1] != ':') {
            *ret_why = "an IPv6 address is written [address]:port";
            return -EINVAL;
        }
        h = (struct str){text.p + 1, (size_t)(end - text.p) - 1};
        p = (struct str){end + 2, (size_t)(text.p + text.n - end) - 2};
        six = true;
    } else {
        const char *colon = memrchr(text.p, ':', text.n);
        if (!colon) {
            *ret_why = "an address is written address:port or unix:/path";
            return -EINVAL;
        }
        h = (struct str){text.p, (size_t)(colon - text.p)};
        p = (struct str){colon + 1, (size_t)(text.p + text.n - colon) - 1};
    }
    if (!str_to_u64(p, &port) || port > 65535 || port == 0) {
        *ret_why = "the port is a number from 1 to 65535";
        return -EINVAL;
    }
    if (h.n == 0 || h.n >= sizeof(host) || memchr(h.p, '\0', h.n)) {
        *ret_why = "not an IP address";
        return -EINVAL;
    }
    memcpy(host, h.p, h.n);
    host[h.n] = '\0';
    struct address a = {0};
    if (six) {
        a.u.in6.sin6_family = AF_INET6;
        a.u.in6.sin6_port = htons((uint16_t)port);
        a.len = sizeof(a.u.in6);
        if (inet_pton(AF_INET6, host, &a.u.in6.sin6_addr) != 1) {
            *ret_why = "not an IPv6 address";
            return -EINVAL;
        }
    } else {
        a.u.in.sin_family = AF_INET;
        a.u.in.sin_port = htons((uint16_t)port);
        a.len = sizeof(a.u.in);
        if (inet_pton(AF_INET, host, &a.u.in.sin_addr) != 1) {
            *ret_why = memchr(host, ':', h.n) ? "an IPv6 address is written [address]:port"
                                              : "not an IPv4 address";
            return -EINVAL;
        }
    }
    *ret = a;
    return 0;
}

static size_t format_ipv4(const uint8_t *b, char *out)
{
    char *o = out;
    for (int i = 0; i < 4; i++) {
        unsigned v = b[i];
        if (i > 0)
            *o++ = '.';
        if (v >= 100)
            *o++ = (char)('0' + v / 100);
        if (v >= 10)
            *o++ = (char)('0' + v / 10 % 10);
        *o++ = (char)('0' + v % 10);
    }
    *o = '\0';
    return (size_t)(o - out);
}

size_t address_format_ip(const struct address *a, char *out)
{
    if (a->u.sa.sa_family == AF_INET)
        return format_ipv4((const uint8_t *)&a->u.in.sin_addr, out);
    if (a->u.sa.sa_family == AF_INET6) {
        if (IN6_IS_ADDR_V4MAPPED(&a->u.in6.sin6_addr))
            return format_ipv4(a->u.in6.sin6_addr.s6_addr + 12, out);
        if (inet_ntop(AF_INET6, &a->u.in6.sin6_addr, out, ADDRESS_IP_MAX))
            return strlen(out);
    }
    memcpy(out, "unix", 5);
    return 4;
}

char *address_format(const struct address *a, char *out)
{
    char ip[ADDRESS_IP_MAX];
    if (a->u.sa.sa_family == AF_UNIX) {
        (void)snprintf(out, ADDRESS_TEXT_MAX, "unix:%.107s", a->u.un.sun_path);
        return out;
    }
    (void)address_format_ip(a, ip);
    (void)snprintf(out, ADDRESS_TEXT_MAX, strchr(ip, ':') ? "[%s]:%u" : "%s:%u", ip,
                   (unsigned)address_port(a));
    return out;
}

uint16_t address_port(const struct address *a)
{
    if (a->u.sa.sa_family == AF_INET)
        return ntohs(a->u.in.sin_port);
    return a->u.sa.sa_family == AF_INET6 ? ntohs(a->u.in6.sin6_port) : 0;
}

bool address_equal(const struct address *a, const struct address *b)
{
    return a->len == b->len && memcmp(&a->u, &b->u, a->len) == 0;
}

struct ip address_ip(const struct address *a)
{
    struct ip ip = {0};
    if (a->u.sa.sa_family == AF_INET6) {
        memcpy(ip.bytes, a->u.in6.sin6_addr.s6_addr, 16);
        ip.known = true;
    } else if (a->u.sa.sa_family == AF_INET) {
        ip.bytes[10] = ip.bytes[11] = 0xff;
        memcpy(ip.bytes + 12, &a->u.in.sin_addr, 4);
        ip.known = true;
    }
    return ip;
}

bool address_is_loopback(const struct address *a)
{
    struct cidr four, six;
    struct ip ip = address_ip(a);
    CHECK(cidr_parse(STR("127.0.0.0/8"), &four) == 0 && cidr_parse(STR("::1"), &six) == 0);
    return cidr_contains(&four, &ip) || cidr_contains(&six, &ip);
}

bool address_is_link_local(const struct address *a)
{
    struct ip ip = address_ip(a);
    static const char *const nets[] = {"169.254.0.0/16", "fe80::/10", "fd00:ec2::254"};
    for (size_t i = 0; i < sizeof(nets) / sizeof(nets[0]); i++) {
        struct cidr c;
        if (cidr_parse(str_of(nets[i]), &c) == 0 && cidr_contains(&c, &ip))
            return true;
    }
    return false;
}
