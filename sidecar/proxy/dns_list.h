/* dns_list.h - the addresses of one upstream: those in the file and those of its names, in the
 * file's order, each once. Pure. */
#ifndef SLUICE_PROXY_DNS_LIST_H
#define SLUICE_PROXY_DNS_LIST_H

#include "proxy/dns_name.h"
#include "proxy/upstream_shared.h"

enum { DNS_LIST_MAX = 1024, DNS_LIST_SLOTS = 2 * DNS_LIST_MAX };

/* Freed with free(). */
struct dns_list {
    uint32_t n;
    uint32_t left_out; /* above DNS_LIST_MAX */
    struct endpoint_address at[DNS_LIST_MAX];
    char text[DNS_LIST_MAX][56];    /* of those that came from names */
    uint16_t slots[DNS_LIST_SLOTS]; /* by hash of the address: index + 1 */
};

struct dns_list *dns_list_new(void);
void dns_list_clear(struct dns_list *l);
/* As written in the file; text is not copied. */
void dns_list_add(struct dns_list *l, struct str text, const struct address *a);
/* The addresses of a name that count for this upstream: interleaved by family, IPv6 first
 * (RFC 8305 §4); of SRV those of the lowest priority that has any. */
void dns_list_add_name(struct dns_list *l, const struct dns_name *n, uint16_t port,
                       const struct conf_upstream_dns *u);

/* How many addresses the name has, and how many of them are refused: link-local ones unless they
 * are allowed; unspecified, multicast and broadcast addresses always. */
void dns_name_count(const struct dns_name *n, bool allow_link_local, uint32_t *ret_n,
                    uint32_t *ret_refused);

#endif
