/* address_table.h - endpoints, found by their address, while a list of them is made. */
#ifndef SLUICE_PROXY_ADDRESS_TABLE_H
#define SLUICE_PROXY_ADDRESS_TABLE_H

#include "io/address.h"

struct endpoint_shared;

struct address_slot {
    struct endpoint_shared *endpoint; /* NULL: free */
    bool listed;                      /* in the new list */
};

struct address_table {
    uint64_t seed; /* addresses come from outside: nobody may choose ones that collide */
    uint32_t mask;
    struct address_slot *slots; /* freed with free() */
};

/* With room for so many. 0 or -ENOMEM. */
int address_table_init(struct address_table *t, uint64_t entries);
/* Where the address is, or the free slot where it would be. */
struct address_slot *address_table_find(const struct address_table *t, const struct address *a);

#endif
