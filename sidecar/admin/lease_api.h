/* lease_api.h - /v1/leases: what is held, and how the application or an operator holds more. */
#ifndef SLUICE_ADMIN_LEASE_API_H
#define SLUICE_ADMIN_LEASE_API_H

#include "admin/http_server.h"
#include "lifecycle/lease.h"

/* ctx: the struct control. */
http_handler leases_get, leases_post;
http_handler lease_get, lease_put, lease_post, lease_delete; /* /v1/leases/ID[/renew] */

/* lease_body.c: what POST /v1/leases says. */
struct lease_body {
    struct lease_new lease;
    struct cleanup_action action;
    struct cleanup_field fields[LEASE_FIELDS_MAX];
    struct str after[LEASE_AFTER_MAX];
    json_t *json; /* the texts are in it */
    char *body;   /* of a release whose body is JSON; NULL */
};
/* NULL: it is right, and lease_body_free() is owed. Else why it is not, a literal or in `why`. */
enum { LEASE_WHY_MAX = 256 };
const char *lease_body_read(struct str text, usec_t max_ttl, struct lease_body *ret,
                            char why[LEASE_WHY_MAX]);
void lease_body_free(struct lease_body *b);
/* {"ttl": "30s"} or nothing: 0. As above. */
const char *lease_renewal_read(struct str text, usec_t max_ttl, usec_t *ret_ttl,
                               char why[LEASE_WHY_MAX]);

#endif
