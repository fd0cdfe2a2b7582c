/* cidr.h - IP addresses and networks, without a port and without a socket. */
#ifndef SLUICE_BASE_CIDR_H
#define SLUICE_BASE_CIDR_H

#include "base/str.h"

/* In 17 bytes where a socket's address takes 116. */
struct ip {
    uint8_t bytes[16]; /* IPv4 as ::ffff:a.b.c.d */
    bool known;        /* false: there is none, as of a Unix socket */
};
/* 10.0.0.1, fd00::1; nothing before or behind it. 0 or -EINVAL. */
int ip_parse(struct str text, struct ip *ret);

/* 10.0.0.0/8, fd00::/8, a bare address. */
struct cidr {
    uint8_t bytes[16]; /* IPv4 as ::ffff:a.b.c.d */
    uint8_t bits;      /* of the 128 */
};
/* 0 or -EINVAL. */
int cidr_parse(struct str text, struct cidr *ret);
/* Never of an address that is not known. */
bool cidr_contains(const struct cidr *c, const struct ip *ip);

#endif
