/* discovery.h - the names among the endpoints of all upstreams, and the addresses they have now.
 *
 * On the control thread; nothing waits. A name is asked for once, however many upstreams use it,
 * and outlives reloads: it keeps its addresses, its timer and its counters while some upstream has
 * it (same kind, name and `family`).
 *
 * A reload: prepare the new configuration, and when that is done take discovery_addresses() of its
 * upstreams, swap, and commit; or abandon it. From commit on `changed` tells of its upstreams. */
#ifndef SLUICE_PROXY_DISCOVERY_H
#define SLUICE_PROXY_DISCOVERY_H

#include "config/config.h"
#include "proxy/dns_name.h"
#include "proxy/upstream_shared.h"

struct discovery;

/* The addresses of the upstream may not be what discovery_addresses() said last. Called on the
 * loop, once for all changes of a turn; may call discovery_addresses(). */
typedef void discovery_changed_fn(void *ctx, const struct conf_upstream *u);
typedef void discovery_done_fn(void *ctx);

/* `dns` is copied: a change of it needs a restart. The resolver begins with the first name, so
 * that without one nothing is read or opened. NULL when memory is short. */
struct discovery *discovery_new(struct loop *l, const struct conf_dns *dns,
                                discovery_changed_fn *changed, void *ctx);
/* Not from within `changed` or `done`. */
struct discovery *discovery_free(struct discovery *d);

/* Asks for the names of conf that are not known yet. `done` is called once, on the loop and never
 * before this returns: when each of them has been answered or has failed, or after dns.timeout.
 * conf stays alive until it is abandoned or another one is committed. Takes the place of a
 * configuration that was prepared and not committed. 0; -ENOMEM; or -EIO: resolv.conf cannot be
 * read. Then nothing has changed. */
int discovery_prepare(struct discovery *d, const struct conf *conf, discovery_done_fn *done,
                      void *ctx);
/* The prepared configuration is in force; names that only the one before had are forgotten. */
void discovery_commit(struct discovery *d, const struct conf *conf);
/* It is refused; names that only it had are forgotten, and `done` is not called any more. */
void discovery_abandon(struct discovery *d, const struct conf *conf);

/* What the upstream, of the prepared or of the committed configuration, has at this moment, those
 * of the file included: in the file's order, each once, at most 1,024. Valid until the next call
 * and as long as the configuration is. */
void discovery_addresses(struct discovery *d, const struct conf_upstream *u,
                         const struct endpoint_address **ret, uint32_t *ret_n);

/* One name, for who shows it. */
struct discovery_status {
    const struct dns_name *name;
    uint32_t addresses, refused; /* what it has; those among them that are not used */
    bool asking;
    usec_t now;
};
typedef void discovery_status_fn(void *ctx, const struct discovery_status *s);
void discovery_walk(const struct discovery *d, discovery_status_fn *fn, void *ctx);
uint32_t discovery_names(const struct discovery *d);

#endif
