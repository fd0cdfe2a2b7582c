/* address.h - socket addresses as operators write them: 127.0.0.1:80, [::1]:80, unix:/run/x.sock.
 */
#ifndef SLUICE_IO_ADDRESS_H
#define SLUICE_IO_ADDRESS_H

#include "base/cidr.h"
#include "base/str.h"

#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/un.h>

struct address {
    union {
        struct sockaddr sa;
        struct sockaddr_in in;
        struct sockaddr_in6 in6;
        struct sockaddr_un un;
    } u;
    socklen_t len;
};

enum { ADDRESS_TEXT_MAX = 128, ADDRESS_IP_MAX = 46 };

/* 0, or -EINVAL with *ret_why a literal that says what is wrong. Names are not resolved. */
int address_parse(struct str text, struct address *ret, const char **ret_why);
/* The same form back; out has ADDRESS_TEXT_MAX bytes. Returns out. */
char *address_format(const struct address *a, char *out);
/* The IP alone ("192.0.2.1", "2001:db8::1"; IPv4-mapped as IPv4; "unix" for a Unix socket), into
 * ADDRESS_IP_MAX bytes. Returns its length. */
size_t address_format_ip(const struct address *a, char *out);
uint16_t address_port(const struct address *a); /* 0 for a Unix socket */
bool address_equal(const struct address *a, const struct address *b);

/* .known is false of a Unix socket. */
struct ip address_ip(const struct address *a);

/* 127.0.0.0/8, ::1; not a Unix socket. */
bool address_is_loopback(const struct address *a);
/* 169.254.0.0/16, fe80::/10, fd00:ec2::254: where clouds keep instance metadata. */
bool address_is_link_local(const struct address *a);

#endif
